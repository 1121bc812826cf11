from pathlib import Path
from types import MappingProxyType

import yaml

from lineside.settings import Settings, load
from lineside_bench.config import SPINDLE_MODEL, on_loopback, settings_document, write_settings
from lineside_bench.processes.ports import DEFAULTS, Ports
from lineside_bench.processes.process import clean_environment
from tests.support.paths import ROOT


def document(stations: int = 2, *, without: str | None = None, **more: bool) -> dict:
    chosen = {name: port for name, port in DEFAULTS.items() if name != without}
    ports = Ports(MappingProxyType(chosen), MappingProxyType({}), ())
    place = on_loopback(ports, repository=Path("models"), work=Path("/run"))
    return settings_document(place, stations=stations, deadline_ms=400, **more)


def test_every_station_has_its_camera_trigger_and_nodes() -> None:
    settings = document(stations=3)
    assert list(settings["inference"]["cameras"]) == ["station-1", "station-2", "station-3"]
    third = settings["opcua_bridge"]["triggers"][2]
    assert third["when"]["node"] == "nsu=urn:lineside:bench;s=Station3.PartPresent"
    assert third["source"] == {"kind": "camera", "camera": "station-3"}
    assert all("Station3." in node for node in third["write_back"].values())


def test_the_spindles_windows_are_as_the_models_card_wants_them() -> None:
    card = yaml.safe_load((ROOT / "models" / SPINDLE_MODEL / "card.yaml").read_text())
    wanted = card["input"]
    trigger = document()["opcua_bridge"]["triggers"][-1]
    source = trigger["source"]
    assert (trigger["model"], source["input"]) == (card["name"], wanted["name"])
    assert [source["samples"], len(source["tags"])] == wanted["shape"]
    assert {name: tag["unit"] for name, tag in source["tags"].items()} == dict(
        zip(wanted["columns"], wanted["units"], strict=True)
    )
    assert "write_back" not in trigger


def test_a_line_without_parts_asks_about_nothing_by_itself() -> None:
    kinds = {
        windows: [each["when"]["kind"] for each in document(windows=windows)["opcua_bridge"]["triggers"]]
        for windows in (True, False)
    }
    assert kinds == {True: ["edge", "edge", "window"], False: ["edge", "edge"]}


def test_the_shared_part_is_read_by_the_shared_library(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    write_settings(path, document())
    settings = load(Settings, file=path)
    assert settings.bus.port == DEFAULTS["mqtt"]


def test_without_a_broker_the_messages_go_by_greengrass() -> None:
    assert document(without="mqtt")["bus"] == {"transport": "ipc"}


def test_the_evidence_of_a_run_stays_in_its_folder() -> None:
    settings = document()
    assert settings["spool"]["folder"] == "/run/spool"
    (disk,) = settings["forwarder"]["destinations"]
    assert (disk["kind"], disk["path"]) == ("disk", "/run/capture")
    assert settings["inference"]["policy"]["capture"] == {"rate": 0.05, "always": ["fail", "unknown"]}


def test_settings_of_the_caller_do_not_reach_the_services() -> None:
    assert clean_environment({"LINESIDE_BUS__PORT": "1", "lineside_x": "1", "PATH": "/bin"}) == {"PATH": "/bin"}
