import os
from datetime import timedelta
from pathlib import Path

import pytest

from lineside.contract import CameraSource, Request
from lineside.errors import SettingsError
from lineside.settings import load
from lineside_inference.deadline import Arrival, Deadline
from lineside_inference.settings import Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LINESIDE_")]:
        monkeypatch.delenv(name)


def test_defaults_work() -> None:
    settings = load(Settings, file=None).inference
    assert (settings.http.port, settings.triton.url, settings.policy.enabled) == (8080, "127.0.0.1:8001", True)


def test_the_file_of_the_box_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIDE_INFERENCE__TRITON__SHARED_MEMORY", "off")
    path = tmp_path / "lineside.yaml"
    path.write_text(
        "inference:\n  cameras: {station-1: {url: 'http://127.0.0.1:8090/x.jpg'}}\n  policy: {enabled: no}\n"
    )
    settings = load(Settings, file=path).inference
    assert settings.cameras["station-1"].timeout_ms == 2000
    assert not settings.policy.enabled
    assert settings.triton.shared_memory == "off"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inference: {triton: {shared_memry: auto}}", "did you mean 'shared_memory'"),
        ("inference: {cameras: {x: {}}}", r"cameras\.x\.url: must be given"),
        ("inference: {cameras: {x: {url: 'rtsp://c'}}}", "cameras"),
        ("inference: {triton: {slots: 2}}", "at least limits.concurrency, 16"),
        ("inference: {policy: {treshold: 1}}", "treshold"),
    ],
)
def test_a_wrong_one_stops_the_start(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "lineside.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said):
        load(Settings, file=path)


def request(**fields: object) -> Request:
    return Request.new(model="m", source=CameraSource(camera="c"), **fields)


def test_the_deadline_counts_from_when_the_plc_asked() -> None:
    arrival = Arrival()
    asked = arrival.wall - timedelta(milliseconds=300)
    deadline = Deadline.of(request(deadline_ms=400, time={"received": asked}), arrival, default_ms=2000, margin_ms=5)
    assert deadline.at - arrival.clock == pytest.approx(0.095)


def test_without_a_deadline_the_default_counts_from_arrival() -> None:
    arrival = Arrival()
    assert Deadline.of(request(), arrival, default_ms=2000, margin_ms=5).at - arrival.clock == pytest.approx(1.995)


def test_the_margin_never_eats_a_short_deadline() -> None:
    arrival = Arrival()
    deadline = Deadline.of(request(deadline_ms=10), arrival, default_ms=2000, margin_ms=5)
    assert deadline.at - arrival.clock == pytest.approx(0.009)


def test_a_deadline_behind_us_has_passed() -> None:
    arrival = Arrival()
    past = arrival.wall - timedelta(seconds=1)
    deadline = Deadline.of(request(deadline_ms=400, time={"received": past}), arrival, default_ms=1, margin_ms=5)
    assert deadline.has_passed
    assert deadline.left() == 0
