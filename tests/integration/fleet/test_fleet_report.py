"""`lineside fleet report` over files, a bucket and a broker that are there."""

import json
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import typer
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner, Result

from lineside_fleet.commands import fleet
from tests.support.mqtt_broker import Broker
from tests.support.simulated_s3 import Store
from tests.support.waiting import block_until

LINESIDE = typer.Typer()
LINESIDE.add_typer(fleet, name="fleet")


def run(*words: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(LINESIDE, ["fleet", "report", *map(str, words)], input=stdin, catch_exceptions=False)


def line(device: str, ago: float = 5, fleet_name: str = "plant", **more: Any) -> str:
    models = [{"ModelName": "surface-defect", "ModelVersion": "2"}]
    names = {"AgentVersion": "0.1.0", "DeviceName": device, "DeviceFleetName": fleet_name}
    times = {"HeartbeatTime": time.time() - ago, "PeriodSeconds": 60}
    return json.dumps(names | times | {"Models": models} | more) + "\n"


def counts(result: Result) -> tuple[int, int]:
    stats = json.loads(result.stdout)["DeviceStats"]
    return stats["ConnectedDeviceCount"], stats["RegisteredDeviceCount"]


def test_files_of_lines_and_one_of_a_document(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "a.jsonl").write_text(line("a") + line("b", 9999))
    (tmp_path / "below" / "c.json").write_text(json.dumps(json.loads(line("c")), indent=2))
    (tmp_path / "notes.txt").write_text("no heartbeat")
    result = run(tmp_path)
    assert (result.exit_code, counts(result)) == (0, (2, 3))
    table = run(tmp_path, "--table").stdout
    assert table.startswith("plant: 2 of 3 devices connected")
    assert "surface-defect  2              1          2" in table
    assert counts(run("-", stdin=line("a"))) == (1, 1)


def test_what_cannot_be_read_is_named_and_the_exit_status_says_so(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(line("a").encode() + b"\xff{\n" + b"x" * 600_000 + b"\n" + line("b").encode())
    result = run(file)
    assert (result.exit_code, counts(result)) == (1, (2, 2))
    assert f"{file}:2: " in result.stderr
    assert f"{file}:3: " in result.stderr
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("missing",), "missing is not there"),
        (("ftp://x",), "ftp:// is no place of heartbeats"),
        (("empty",), "holds no .json"),
        (("two",), "heartbeats of several fleets: plant, works. choose one by --fleet"),
        (("two", "--fleet", "other"), "no heartbeat of fleet 'other'"),
        (("two", "--fleet", "plant", "--registered", "missing"), "missing cannot be read"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    words: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "x.jsonl").write_text(line("a") + line("b", fleet_name="works"))
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_one_fleet_of_several_against_the_devices_that_should_be_there(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(line("a") + line("b", fleet_name="works"))
    (tmp_path / "names").write_text("a\n# a comment\n\nz\n")
    result = run(tmp_path / "x.jsonl", "--fleet", "plant", "--registered", tmp_path / "names")
    assert counts(result) == (1, 2)
    assert result.stderr == "registered and never heard: z\n"


def test_a_bucket(moto_server: Store, aws_environment: pytest.MonkeyPatch) -> None:
    aws_environment.setenv("AWS_ENDPOINT_URL", moto_server.url)
    aws_environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = moto_server.make_bucket("heartbeats")
    for number in range(3):
        text = "".join(line(f"d{number}-{each}") for each in range(400))  # more than one piece of a body
        moto_server.client.put_object(Bucket=bucket, Key=f"2026/{number}.jsonl", Body=text.encode())
    moto_server.client.put_object(Bucket=bucket, Key="2026/readme.txt", Body=b"no heartbeat")
    assert counts(run(f"s3://{bucket}/2026/")) == (1200, 1200)
    assert counts(run(f"s3://{bucket}/2026/1")) == (400, 400)
    nothing = run(f"s3://{bucket}/2027")
    assert (nothing.exit_code, "holds no .json" in nothing.stderr) == (2, True)
    away = run("s3://no-such-bucket/x")
    assert (away.exit_code, "S3 answers ListObjectsV2 with NoSuchBucket" in away.stderr) == (2, True)


def test_a_broker_gives_what_it_retains(broker: Broker) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)

    def connected() -> bool:
        try:
            client.connect("127.0.0.1", broker.port)
        except OSError:
            return False
        return True

    block_until(connected)
    client.loop_start()
    for name in ("a", "b"):
        client.publish(f"lineside/{name}/heartbeat", line(name), 1, retain=True).wait_for_publish(10)
    client.publish("lineside/c/heartbeat", b"no heartbeat", 1, retain=True).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()
    result = run(f"mqtt://127.0.0.1:{broker.port}", "--seconds", "1")
    assert (result.exit_code, counts(result)) == (1, (2, 2))
    assert result.stderr.startswith("lineside/c/heartbeat: not JSON")
    one = run(f"mqtt://127.0.0.1:{broker.port}/lineside/a/heartbeat", "--seconds", "1")
    assert (one.exit_code, counts(one)) == (0, (1, 1))


def test_a_broker_that_is_not_there(closed_port: int) -> None:
    result = run(f"mqtt://127.0.0.1:{closed_port}", "--seconds", "1")
    assert (result.exit_code, "the broker cannot be reached" in result.stderr) == (2, True)
