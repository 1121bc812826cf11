"""What may be a secret in an address is shown nowhere, and what is none stays readable."""

import json
import os
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from lineside.cli import config
from lineside.cli.machine import secret_files
from lineside.connections import Connection
from lineside.secrecy import exposed, hidden
from lineside_inference.settings import Settings as Inference
from lineside_topic_bridge.settings import Settings as TopicBridge

SECRET = "Sesame-7"  # noqa: S105 - nobody's
TRIGGER = "opcua_bridge: {triggers: [{name: a, when: {kind: period, every_ms: 1000}, station: a, model: m, source:"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"rtsp://admin:{SECRET}@cam:554/live", "rtsp://...@cam:554/live"),
        (f"rtsp://{SECRET}@cam/live", "rtsp://...@cam/live"),
        (f"http://admin:a/{SECRET}@cam/a.jpg", "http://...@cam/a.jpg"),
        (f"http://admin:{SECRET}@x@cam/a.jpg", "http://...@cam/a.jpg"),
        (f"http://cam/a.jpg?token={SECRET}&x=1", "http://cam/a.jpg?..."),
        (f"http://cam/a.jpg#{SECRET}", "http://cam/a.jpg#..."),
        (
            f"rtsp://cam:554/user=admin&password={SECRET}&channel=1&stream=0.sdp",
            "rtsp://cam:554/user=...&password=...&channel=1&stream=0.sdp",
        ),
        (f"rtsp://cam:554/user=admin_password={SECRET}_channel=1.sdp", "rtsp://cam:554/user=..."),
        (f"http://cam/PWD={SECRET}/live", "http://cam/PWD=.../live"),
        (f"got 'http://u:{SECRET}@a/' and 'http://b/?k={SECRET}'", "got 'http://...@a/' and 'http://b/?...'"),
        (f"bus.host: wrong (got 'line:{SECRET}@broker')", "bus.host: wrong (got '...@broker')"),
        (f"opc.tcp://op:{SECRET}@plc:4840", "opc.tcp://...@plc:4840"),
    ],
)
def test_a_secret_in_an_address_is_not_shown(text: str, shown: str) -> None:
    assert hidden(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://cam.plant:8080/axis-cgi/jpg/image.cgi",
        "rtsp://[fe80::1]:554/Streaming/Channels/101",
        "http://cam/monkey=1/keyboard.jpg",
        "mqtts://broker:8883",
        "s3://evidence at http://127.0.0.1:9000",
        "nsu=urn:plant:line-1;s=Station1.PartId",
        "triggers.0.when.node: '/Objects/Part?' is not a tag",
        "what is wrong? mail line-1@plant.example",
        "/dev/video0",
    ],
)
def test_what_is_no_secret_is_shown_as_it_is(text: str) -> None:
    assert hidden(text) == text


def test_a_connection_shows_and_logs_no_secret() -> None:
    with structlog.testing.capture_logs() as lines:
        link = Connection("camera/a", f"rtsp://cam/user=a&password={SECRET}&c=1")
        link.backoff(f"no answer of http://cam/x?token={SECRET}")
    assert link.as_dict()["target"] == "rtsp://cam/user=...&password=...&c=1"
    assert link.as_dict()["detail"] == "no answer of http://cam/x?..."
    assert lines
    assert SECRET not in json.dumps(lines)


@pytest.mark.parametrize(
    "text",
    [
        f"bus: {{host: 'line:{SECRET}@broker'}}",
        f"bus: {{host: 'mqtt://line:{SECRET}@broker'}}",
        f"topic_bridge: {{inference_url: 'http://u:{SECRET}@inference:8080'}}",
        f"topic_bridge: {{inference_url: 'http://inference:8080/?token={SECRET}'}}",
        f"opcua_bridge: {{endpoint: 'opc.tcp://u:{SECRET}@plc:4840'}}",
        f"opcua_bridge: {{endpoint: 'opc.tcp://u:{SECRET}@plc'}}",
        f"exporter: {{services: {{inference: 'http://u:{SECRET}@inference:8080'}}}}",
        f"exporter: {{triton: {{url: 'http://u:{SECRET}/x@triton:8000'}}}}",
        f"inference: {{triton: {{url: 'u:{SECRET}@triton:8001'}}}}",
        f"inference: {{cameras: {{a: {{url: 'http://u:{SECRET}@cam/'}}}}}}",
        f"inference: {{cameras: {{a: {{url: 'http://u:{SECRET}/x@cam/'}}}}}}",
        f"inference: {{cameras: {{a: {{kind: stream, url: 'ftp://u:{SECRET}@cam/'}}}}}}",
        f"forwarder: {{destinations: [{{name: s, kind: s3, bucket: abc, endpoint_url: 'http://u:{SECRET}@s3'}}]}}",
        f"{TRIGGER} {{kind: url, url: 'http://u:{SECRET}@cam/'}}}}]}}",
    ],
)
def test_settings_take_no_secret_in_an_address_and_do_not_repeat_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    checked = CliRunner().invoke(config.app, ["check", str(path)])
    assert checked.exit_code == 1, checked.output
    assert checked.stderr.strip()
    assert SECRET not in checked.output + checked.stderr


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("0123456789abcdef\n")
    return path


def reachable(folder: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in folder.resolve().parents)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_file_of_secrets_that_all_can_read_is_named(secret: Path, mode: int) -> None:
    settings = Inference.model_validate(
        {
            "bus": {"username": "a", "password_file": secret},
            "inference": {
                "http": {"token_file": secret},
                "cameras": {"a": {"url": "http://cam/", "username": "u", "password_file": secret}},
            },
        }
    )
    for folder in secret.resolve().parents:
        if str(folder).startswith("/tmp/") and os.access(folder, os.W_OK):  # pytest closes its own to others
            folder.chmod(folder.stat().st_mode | 0o001)
    assert reachable(secret)
    secret.chmod(mode)
    found = {where: found for where, _path, found in exposed(settings)}
    assert found == dict.fromkeys(
        ("bus.password_file", "inference.http.token_file", "inference.cameras.a.password_file"), mode
    )
    said = secret_files.look([settings])
    assert said.mark == "warn"
    assert f"bus.password_file {secret} has mode {mode:03o}" in said.what
    assert "chmod 640" in said.remedy
    secret.parent.chmod(0o700)
    assert not list(exposed(settings))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o440])
def test_a_file_that_owner_and_group_read_is_right(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    settings = TopicBridge.model_validate({"topic_bridge": {"inference_token_file": secret}})
    assert not list(exposed(settings))
    assert secret_files.look([settings]).mark == "ok"
    assert secret_files.look([TopicBridge()]).mark == "skip"
    assert not list(exposed(TopicBridge.model_validate({"bus": {"password_file": "/nowhere"}})))
