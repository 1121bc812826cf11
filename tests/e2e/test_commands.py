"""`lineside bench` and `lineside up` as a user runs them: own processes, real peers, the promised JSON."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import paho.mqtt.client as paho
import pytest

from lineside.contract import (
    REQUEST_TOPIC,
    RESULT_TOPIC,
    CameraSource,
    Context,
    InlineSource,
    Request,
    Tensor,
    TensorsSource,
    to_json,
)
from lineside_bench.parts.part import encode_jpeg, make_part
from lineside_bench.parts.spindle import TAGS, WINDOW, make_window
from tests.support.image_files import png_header
from tests.support.processes import is_running
from tests.support.waiting import HANG_S, block_until

LINESIDE = Path(sys.executable).with_name("lineside")


def lineside(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINESIDE), *arguments],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("broker", ["mosquitto", "amqtt"])
def test_the_line_judges_parts_it_was_not_trained_on(broker: str, tmp_path: Path, installed_brokers) -> None:
    if broker not in installed_brokers:
        pytest.skip(f"{broker} is not installed on this machine")
    out = tmp_path / "out.json"
    of_run = ("--parts", "40", "--rate", "10", "--seed", "21", "--deadline-ms", "5000")
    run = lineside("bench", *of_run, "--broker", broker, "--json", str(out))
    assert run.returncode == 0, run.stdout + run.stderr
    summary = json.loads(out.read_text())
    assert summary["parts"] == 40
    assert sum(summary["verdicts"].values()) == 40
    assert (summary["missing"], summary["duplicates"], summary["wrong_write_backs"]) == (0, 0, 0)
    assert summary["accuracy"] >= 0.95, summary["unknown_because"]
    assert set(summary["latency_ms"]) >= {"p50", "p95", "p99", "max"}
    stages = ("trigger", "queue", "source", "decode", "infer", "interpret", "publish", "write_back")
    assert all(summary["stages_ms"][stage]["p50"] >= 0 for stage in stages)
    engine = summary["engine"]
    assert (engine["server"], engine["transport"]) == ("triton", "shared-memory")
    assert engine["version"]
    assert summary["ready_s"] > 0
    assert set(summary["restarts"].values()) == {0}
    assert "PLC to PLC" in run.stdout


def test_the_line_judges_parts_over_greengrass_ipc(tmp_path: Path) -> None:
    """Every service is a component: no settings file, all of it from the core's configuration."""
    out = tmp_path / "out.json"
    of_run = ("--parts", "100", "--rate", "10", "--seed", "22", "--deadline-ms", "5000")
    run = lineside("bench", *of_run, "--bus", "ipc", "--json", str(out))
    assert run.returncode == 0, run.stdout + run.stderr
    summary = json.loads(out.read_text())
    assert summary["parts"] == sum(summary["verdicts"].values()) == 100
    assert (summary["missing"], summary["duplicates"], summary["wrong_write_backs"]) == (0, 0, 0)
    assert summary["accuracy"] >= 0.95, summary["unknown_because"]
    assert all(summary["stages_ms"][stage]["p50"] >= 0 for stage in ("queue", "infer", "publish", "write_back"))
    assert set(summary["restarts"].values()) == {0}
    assert "nucleus" in summary["restarts"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--parts", "0"), "--parts 0 is out of range"),
        (("--rate", "-1"), "--rate -1 is out of range"),
        (("--seed", "1000001"), "models were trained on"),
        (("--json", "/nowhere/out.json"), "/nowhere"),
        (("--broker", "kafka"), "kafka"),
        (("--bus", "ipc", "--broker", "amqtt"), "over IPC there is no broker"),
    ],
)
def test_a_wrong_option_is_named_before_anything_starts(arguments: tuple[str, ...], says: str) -> None:
    run = lineside("bench", *arguments)
    assert run.returncode == 2
    assert says in " ".join((run.stdout + run.stderr).split())
    assert "Starting the line" not in run.stdout or "Ready after" not in run.stdout
    assert "Traceback" not in run.stderr


def test_a_port_in_use_is_named_where_the_usual_ports_are_wanted() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else has it: all the better
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        run = lineside("bench", "--parts", "1", "--ports", "default")
    assert run.returncode == 2
    assert "8080" in run.stderr
    assert "--ports auto" in run.stderr


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A line without parts, and where its peers are."""
    folder = tmp_path_factory.mktemp("up")
    state = folder / "state.json"
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [str(LINESIDE), "up", "--rate", "0", "--state", str(state)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            block_until(lambda: state.exists() or process.poll() is not None)
            assert state.exists(), (folder / "up.log").read_text()
            document = json.loads(state.read_text())
            yield SimpleNamespace(process=process, state=state, log=folder / "up.log", **document)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(HANG_S)


def test_the_state_file_names_every_endpoint(up) -> None:
    assert up.ready is True
    schemes = {"mqtt": "mqtt://", "opcua": "opc.tcp://", "triton_grpc": "127.0.0.1:"}
    for name in ("inference", "triton_http", "triton_grpc", "triton_metrics", "mqtt", "opcua", "camera"):
        assert up.endpoints[name].startswith(schemes.get(name, "http://"))


@pytest.mark.parametrize("service", ["inference", "topic_bridge", "opcua_bridge", "forwarder", "exporter"])
def test_every_service_is_ready_and_has_metrics(up, service: str) -> None:
    assert httpx.get(f"{up.endpoints[service]}/readyz").status_code == 200
    if service == "forwarder":  # nothing is known of a destination before something was brought there
        judge(up, "scratch")

    def states() -> set[str]:
        return {link["state"] for link in httpx.get(f"{up.endpoints[service]}/readyz").json()["connections"]}

    block_until(lambda: states() == {"ONLINE"})  # a service is ready before the peers that it can do without are there
    assert f"lineside_{service}_connection_state" in httpx.get(f"{up.endpoints[service]}/metrics").text


def judge(up, label: str) -> dict:
    """Have a picture of a part with such a defect judged, and return the result."""
    answer = httpx.post(
        f"{up.endpoints['inference']}/v1/models/surface-defect/predict",
        content=encode_jpeg(make_part(33, 5, label=label).image),
        headers={"content-type": "image/jpeg"},
    )
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize(("label", "verdict"), [("good", "pass"), ("scratch", "fail"), ("dent", "fail")])
def test_a_dropped_image_is_judged(up, label: str, verdict: str) -> None:
    result = judge(up, label)
    assert (result["status"], result["verdict"]) == ("ok", verdict)
    assert label in result["reason"]


@pytest.mark.parametrize("anomalous", [False, True])
def test_a_window_of_spindle_tags_is_judged(up, anomalous: bool) -> None:
    window = make_window(5, 3, anomalous=anomalous)
    tensor = Tensor(name="window", datatype="FP32", shape=(WINDOW, len(TAGS)), values=window.values.ravel().tolist())
    request = Request.new(model="spindle-anomaly", source=TensorsSource(tensors=(tensor,)))
    answer = httpx.post(f"{up.endpoints['inference']}/v1/infer", content=to_json(request))
    assert answer.status_code == 200
    assert answer.json()["verdict"] == ("fail" if anomalous else "pass"), answer.text


class Bus:
    """A plain MQTT client on the line's topics."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("mqtt://").partition(":")
        self.messages: list[tuple[str, dict]] = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        self.client.on_message = lambda _client, _data, message: self.messages.append(
            (message.topic, json.loads(message.payload))
        )
        ready: list[bool] = []
        self.client.on_subscribe = lambda *_: ready.append(True)
        self.client.on_connect = lambda client, *_: client.subscribe(f"{RESULT_TOPIC}/#", 1)
        self.client.connect(host, int(port))
        self.client.loop_start()
        block_until(lambda: ready)

    def ask(self, payload: bytes) -> None:
        self.client.publish(REQUEST_TOPIC, payload, qos=1).wait_for_publish(HANG_S)

    def answer(self, topic: str, **match: str | None) -> dict:
        def find() -> list[dict]:
            return [
                document
                for name, document in self.messages
                if name == topic and all(document.get(key) == value for key, value in match.items())
            ]

        block_until(find)
        return find()[0]


@pytest.fixture
def bus(up) -> Iterator[Bus]:
    bus = Bus(up.endpoints["mqtt"])
    yield bus
    bus.client.disconnect()
    bus.client.loop_stop()


TINY = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")


@pytest.mark.parametrize(
    ("source", "model", "status", "code"),
    [
        (CameraSource(camera="nowhere"), "surface-defect", "rejected", "camera-unknown"),
        (CameraSource(camera="station-1"), "no-such-model", "rejected", "model-unknown"),
        (CameraSource(camera="station-1"), "surface-defect", "failed", "camera-failed"),  # no part: the camera says 404
        (
            InlineSource(content_type="image/png", data=b"no image"),
            "surface-defect",
            "rejected",
            "image-undecodable",
        ),
        (
            InlineSource(content_type="image/png", data=png_header(30_000, 30_000)),
            "surface-defect",
            "rejected",
            "image-too-large",
        ),
        (InlineSource(content_type="image/png", data=TINY[:40]), "surface-defect", "rejected", "image-truncated"),
        (
            TensorsSource(tensors=(Tensor(name="window", datatype="FP32", shape=(2, 2), values=[1, 2, 3, 4]),)),
            "spindle-anomaly",
            "rejected",
            "tensor-shape",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_request_on_the_bus_gets_a_result_that_names_the_cause(bus, source, model, status, code) -> None:
    request = Request.new(model=model, source=source, deadline_ms=2000, context=Context(station=f"bad-{code}"))
    bus.ask(to_json(request))
    result = bus.answer(RESULT_TOPIC, request_id=request.id)
    assert (result["status"], result["code"], result["verdict"]) == (status, code, "unknown"), result["reason"]
    assert result["reason"]
    assert result["context"]["station"] == f"bad-{code}"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"{", "not-json"),
        (b'{"schema":"lineside/request/2","id":"abc"}', "schema-unsupported"),
        (b'{"schema":"lineside/request/1","id":"abc","model":"m"}', "message-invalid"),
        (b'{"x":"' + b"y" * 7000 + b'"}', "message-too-large"),
    ],
)
def test_a_message_that_cannot_be_understood_is_answered_on_the_error_topic(bus, payload, code) -> None:
    bus.ask(payload)
    report = bus.answer(f"{RESULT_TOPIC}/error", code=code)
    assert report["reason"]
    assert report["excerpt"] == payload[:256].decode()


def test_an_expired_request_is_not_run(bus) -> None:
    document = json.loads(to_json(Request.new(model="surface-defect", source=CameraSource(camera="station-1"))))
    document |= {"deadline_ms": 100, "time": {"received": "2026-01-01T00:00:00Z"}}
    bus.ask(json.dumps(document).encode())
    result = bus.answer(RESULT_TOPIC, request_id=document["id"])
    assert (result["status"], result["code"], result["verdict"]) == ("expired", "deadline-passed", "unknown")


def test_nothing_was_restarted_by_bad_input_and_ctrl_c_ends_the_line_cleanly(up) -> None:
    """Last of this module: it ends the line."""
    document = json.loads(up.state.read_text())
    assert {process["restarts"] for process in document["processes"].values()} == {0}
    pids = [process["pid"] for process in document["processes"].values()]
    assert all(is_running(pid) for pid in pids)
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(HANG_S) == 0, up.log.read_text()
    assert not any(is_running(pid) for pid in pids)
    assert not up.state.exists()
    assert "Traceback" not in up.log.read_text()


def test_a_killed_bench_leaves_no_process_and_no_file_behind(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(LINESIDE), "up", "--rate", "0", "--state", str(state)], stdout=log, stderr=subprocess.STDOUT
        )
        block_until(lambda: state.exists() or process.poll() is not None)
    document = json.loads(state.read_text())
    pids = [peer["pid"] for peer in document["processes"].values()]
    os.kill(process.pid, signal.SIGKILL)
    process.wait(HANG_S)
    block_until(lambda: not any(is_running(pid) for pid in pids))
    assert document["pid"] == process.pid
    block_until(lambda: not state.exists() and not Path(document["work"]).exists())
