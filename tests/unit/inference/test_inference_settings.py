from datetime import timedelta
from pathlib import Path

import pytest

from lineside.contract import CameraSource, Request
from lineside.errors import SettingsError
from lineside.settings import load
from lineside_inference.deadline import Arrival, Deadline
from lineside_inference.settings import Settings


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
        ("inference: {cameras: {x: {}}}", r"cameras\.x: .*url: must be given with kind snapshot"),
        ("inference: {cameras: {x: {url: 'rtsp://c'}}}", "its scheme is 'rtsp'; kind snapshot takes http, https"),
        ("inference: {cameras: {x: {url: 'http://a:b@c'}}}", "give username and password_file instead"),
        ("inference: {cameras: {x: {url: 'http://c/{1}'}}}", "url: it has a space or a character that no address has"),
        ("inference: {cameras: {x: {kind: stream}}}", "url or path: must be given with kind stream"),
        ("inference: {cameras: {x: {kind: directory, path: a, url: b}}}", "url: does not stand with kind directory"),
        ("inference: {cameras: {x: {url: 'http://c', pattern: b}}}", "pattern: does not stand with kind snapshot"),
        ("inference: {cameras: {x: {url: 'http://c', username: b}}}", "give both or neither"),
        (
            "inference: {cameras: {x: {url: 'http://c', raw: {format: Mono8, width: 8, height: 8}}}}",
            "raw: does not",
        ),
        ("inference: {cameras: {x: {kind: directory, path: a, raw: {format: Mono9, width: 8, height: 8}}}}", "Mono8"),
        (
            "inference: {cameras: {x: {kind: stream, url: 'rtsp://c', exif_orientation: obey}}}",
            "orientation: does not",
        ),
        ("inference: {urls: {hosts: ['*.plant']}}", "hosts"),
        ("inference: {urls: {hosts: ['a:0']}}", "ports"),
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


@pytest.mark.parametrize("more", ["auth: none", "token_file: t", ""])
def test_grpc_is_off_and_off_loopback_only_by_the_rules_of_http(tmp_path: Path, more: str) -> None:
    assert load(Settings, file=None).inference.grpc.port is None
    path = tmp_path / "lineside.yaml"
    path.write_text(f"inference: {{grpc: {{host: 0.0.0.0, port: 9}}, http: {{{more}}}}}")
    if more:
        assert load(Settings, file=path).inference.grpc.port == 9
        return
    with pytest.raises(SettingsError, match=r"grpc.host '0.0.0.0' is reached from the network: give http.token_file"):
        load(Settings, file=path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_on_loopback_no_token_is_needed(tmp_path: Path, host: str) -> None:
    path = tmp_path / "lineside.yaml"
    path.write_text(f"inference: {{http: {{host: '{host}'}}}}")
    assert load(Settings, file=path).inference.http.token_file is None


@pytest.mark.parametrize("given", ["token_file: /run/token", "auth: none"])
def test_off_loopback_one_of_two_must_be_said(tmp_path: Path, given: str) -> None:
    path = tmp_path / "lineside.yaml"
    path.write_text("inference: {http: {host: 0.0.0.0}}")
    with pytest.raises(SettingsError, match=r"inference\.http: .*token_file.*auth to none"):
        load(Settings, file=path)
    path.write_text(f"inference: {{http: {{host: 0.0.0.0, {given}}}}}")
    assert load(Settings, file=path).inference.http.host == "0.0.0.0"  # noqa: S104 - what was given


def test_a_token_and_none_at_once_is_a_contradiction(tmp_path: Path) -> None:
    path = tmp_path / "lineside.yaml"
    path.write_text("inference: {http: {auth: none, token_file: /run/token}}")
    with pytest.raises(SettingsError, match="remove one of them"):
        load(Settings, file=path)
