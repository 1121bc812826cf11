"""The settings of the containers on a bench: the committed file is what the code makes, and every service takes it."""

import subprocess
import sys

import pytest

from lineside.settings import SECTIONS, Settings, load
from lineside_bench import containers
from lineside_bench.options import Options
from lineside_bench.simulators.settings import CameraSim, PlcSim
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S

FILE = ROOT / "docker" / "config" / "bench.yaml"


def test_the_file_is_what_the_code_makes(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update"):
        FILE.write_text(containers.text(), encoding="utf-8")
    assert containers.text() == FILE.read_text(encoding="utf-8"), (
        "run .venv/bin/python -m lineside_bench.containers docker/config/bench.yaml and read the diff"
    )


def test_the_line_has_the_stations_that_twenty_parts_a_second_need() -> None:
    document = containers.document()
    assert len(document["inference"]["cameras"]) == Options(rate=20).station_count
    assert len(document["opcua_bridge"]["triggers"]) == Options(rate=20).station_count + 1


def test_no_peer_is_looked_for_on_loopback() -> None:
    assert "127.0.0.1" not in containers.text()
    assert "localhost" not in containers.text()


def test_every_service_takes_it() -> None:
    check = (sys.executable, "-m", "lineside", "config", "check", str(FILE))
    done = subprocess.run(check, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr
    for section in SECTIONS:
        assert section in done.stdout


@pytest.mark.parametrize("kind", [PlcSim, CameraSim])
def test_the_simulators_take_it_and_have_the_lines_stations(kind: type[Settings]) -> None:
    settings = load(kind, file=FILE)
    assert getattr(settings, kind.section).stations == len(containers.document()["inference"]["cameras"])
    assert settings.bus.host == "broker"


def test_the_parts_deadline_is_that_of_the_triggers() -> None:
    document = containers.document()
    deadlines = {trigger["deadline_ms"] for trigger in document["opcua_bridge"]["triggers"]}
    assert deadlines == {document["plc_sim"]["deadline_ms"]}
