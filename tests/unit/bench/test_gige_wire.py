"""The simulated GigE camera's packets, clock and pixels, by the bytes of the standard."""

import io
import struct
import time
import zipfile
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from lineside_bench.gige_camera import description, gvcp, gvsp, pixels
from lineside_bench.gige_camera.clock import DeviceClock
from lineside_bench.gige_camera.gvcp import Command, Refused, Request, Status


def test_a_command_is_read_as_it_is_written() -> None:
    sent = gvcp.command(Command.READREG, 7, bytes.fromhex("00000a00"))
    assert sent.hex() == "42010080000400070000" + "0a00"
    read = gvcp.parse(sent)
    assert read == Request(Command.READREG, 7, bytes.fromhex("00000a00"))
    assert gvcp.addresses(read.payload) == [0x0A00]
    assert gvcp.ack(read, bytes.fromhex("00000002")).hex() == "0000008100040007" + "00000002"
    assert gvcp.ack(read, status=Status.ACCESS_DENIED).hex() == "8006008100000007"


@pytest.mark.parametrize("datagram", ["", "42", "4301008000000001", "4201008000000000", "4201008000080001"])
def test_what_is_no_command_is_none(datagram: str) -> None:
    assert gvcp.parse(bytes.fromhex(datagram)) is None


def test_memory_is_read_and_written_in_words() -> None:
    assert gvcp.memory_read(struct.pack(">IHH", 0x48, 0, 32)) == (0x48, 32)
    assert gvcp.memory_write(struct.pack(">IQ", 0xE8, 5)) == (0xE8, bytes(7) + b"\5")
    assert gvcp.register_writes(struct.pack(">IIII", 1, 2, 3, 4)) == [(1, 2), (3, 4)]
    for wrong, status in (
        (struct.pack(">IHH", 0x49, 0, 32), Status.BAD_ALIGNMENT),
        (struct.pack(">IHH", 0x48, 0, 0), Status.INVALID_PARAMETER),
        (struct.pack(">IHH", 0x48, 0, 540), Status.INVALID_PARAMETER),
        (b"", Status.INVALID_HEADER),
    ):
        with pytest.raises(Refused) as refused:
            gvcp.memory_read(wrong)
        assert refused.value.status is status


def test_a_resend_and_an_action_are_understood() -> None:
    wanted = Request(Command.PACKETRESEND, 1, struct.pack(">HHII", 0, 9, 3, 5), flags=0)
    assert gvcp.resend(wanted) == gvcp.Resend(9, 3, 5)
    assert gvcp.resend(Request(Command.PACKETRESEND, 1, wanted.payload, flags=0x10)) is None
    keys = struct.pack(">III", 1, 2, 3)
    assert gvcp.action(Request(Command.ACTION, 1, keys)) == gvcp.Action(1, 2, 3)
    assert gvcp.action(Request(Command.ACTION, 1, keys + struct.pack(">Q", 99), flags=0x81)) == gvcp.Action(1, 2, 3, 99)
    assert gvcp.action(Request(Command.ACTION, 1, keys, flags=0x81)) is None


def test_a_frame_is_leader_payload_and_trailer() -> None:
    leader = gvsp.Leader(5, 0x1_0000_0002, 0x01080001, 20, 3, 4, 2)
    sent = gvsp.packets(leader, bytes(range(60)), 36 + 32)
    assert [len(each) - 8 for each in sent] == [36, 32, 28, 8]
    assert sent[0].hex() == (
        "0000000501000000" + "00000001" + "0000000100000002" + "01080001" + "00000014" + "00000003"
        "00000004" + "00000002" + "00000000"
    )
    assert sent[1][:8].hex() == "0000000503000001"
    assert sent[1][8:] + sent[2][8:] == bytes(range(60))
    assert sent[3].hex() == "0000000502000003" + "00000001" + "00000003"
    assert gvsp.next_block(65535) == 1


def test_chunks_follow_the_pixels_with_their_ids_and_lengths_behind_them() -> None:
    payload = gvsp.with_chunks(b"\1\2\3", 0x1000, [(0x1001, bytes(8))])
    assert payload.hex() == "01020300" + "0000100000000004" + bytes(8).hex() + "0000100100000008"
    sent = gvsp.packets(gvsp.Leader(1, 0, 0x01080001, 3, 1, is_chunked=True), payload, 1400)
    assert sent[0][10:12].hex() == "4001"
    assert sent[-1][8:].hex() == "00004001" + "00000001" + f"{len(payload):08x}" + "00000001"


def test_the_clock_drifts_wraps_and_is_found_back() -> None:
    clock = DeviceClock(ticks_a_second=8_000_000, offset=(1 << 64) - 16_000_000, drift_ppm=100.0, origin=0.0)
    assert clock.ticks(1.0) == (1 << 64) - 16_000_000 + 8_000_800
    assert clock.ticks(3.0) == 8_002_400
    now = time.monotonic()
    assert clock.instant(clock.ticks(now)) == pytest.approx(now, abs=1e-6)
    clock.follow_host()
    assert clock.ticks_a_second == 10**9
    assert clock.instant(clock.ticks(now)) == pytest.approx(now, abs=1e-6)


def test_formats_have_the_bytes_that_they_are_described_with() -> None:
    picture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    as_bytes = {name: each.encode(picture) for name, each in pixels.FORMATS.items()}
    assert all(len(as_bytes[name]) == each.size(2, 2) for name, each in pixels.FORMATS.items())
    assert as_bytes["RGB8"].hex() == "ff0000" + "00ff00" + "0000ff" + "ffffff"
    assert as_bytes["BGR8"].hex() == "0000ff" + "00ff00" + "ff0000" + "ffffff"
    assert as_bytes["BayerRG8"].hex() == "ff" + "ff" + "00" + "ff"
    assert as_bytes["Mono12p"][3:].hex() == "c1" + "f1" + "ff", "0x1c1, 0xfff"
    assert as_bytes["Mono16"][-2:].hex() == "ffff"


def test_what_the_picture_does_not_cover_is_black() -> None:
    picture = np.full((4, 4), 9, np.uint8)
    assert pixels.placed(picture, offset_x=2, offset_y=3, width=4, height=2).tolist() == [[9, 9, 0, 0], [0, 0, 0, 0]]


def test_the_description_is_well_formed_and_zipped_is_the_same() -> None:
    made = description.xml(ticks_are_ns=True)
    root = ET.fromstring(made)  # noqa: S314 - our own
    names = [each.attrib["Name"] for each in root]
    assert len(names) == len(set(names))
    referred = {each.text for each in root.iter() if each.tag.rpartition("}")[2] in {"pValue", "pFeature", "pMax"}}
    assert referred <= set(names)
    assert b"TimestampLatchValue" not in description.xml(ticks_are_ns=False)
    with zipfile.ZipFile(io.BytesIO(description.zipped(made))) as archive:
        assert archive.read(archive.namelist()[0]) == made
    assert description.url(made, is_zipped=False).endswith(f".xml;100000;{len(made):x}")
