"""What the doctor says of a GenICam camera that was looked at."""

from dataclasses import replace

import pytest

from lineside_inference.doctor.genicam import Looked, judged

WELL = Looked(
    model="Maker M1",
    interface="eth1",
    mtu=9000,
    packet_size=9000,
    payload=1_310_720,
    rmem_max=8_388_608,
    pixel_format="Mono8",
    temperature=51.0,
)


def test_a_camera_that_is_well_is_said_in_one_line() -> None:
    check = judged("camera c, device", WELL)
    assert check.mark == "ok"
    assert check.what == (
        "Maker M1, control is free, packets of 9000 bytes (eth1 takes 9000), receive buffers of at most 8388608 bytes, "
        "Mono8, 51 °C"
    )


@pytest.mark.parametrize(
    ("changed", "mark", "said"),
    [
        ({"owner": "a program at 192.0.2.7"}, "fail", "a program at 192.0.2.7 controls it"),
        ({"owner": "a program at 192.0.2.7", "is_services": True}, "ok", "the inference service controls it"),
        ({"pixel_format": "Coord3D_ABC32f"}, "fail", "Coord3D_ABC32f"),
        ({"mtu": 1500}, "warn", "packets of 9000 bytes (eth1 takes 1500)"),
        ({"rmem_max": 212_992}, "warn", "receive buffers of at most 212992 bytes"),
        ({"temperature": 80.0}, "warn", "80 °C"),
        ({"packet_size": 1500}, "ok", "packets could have 9000 bytes"),
        ({"packet_size": 1500, "interface": "lo"}, "ok", "Mono8"),
        ({"packet_size": None, "payload": None, "mtu": None, "interface": None, "temperature": None}, "ok", "Mono8"),
    ],
)
def test_what_is_wrong_is_marked_and_has_a_remedy(changed: dict[str, object], mark: str, said: str) -> None:
    check = judged("camera c, device", replace(WELL, **changed))
    assert (check.mark, said in check.what) == (mark, True), check
    assert bool(check.remedy) == (mark != "ok")
