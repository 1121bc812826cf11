"""Every kind of trigger and windows of tags through the line's real processes: PLC, both bridges, broker, Triton."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import paho.mqtt.client as paho
import pytest
import yaml

from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC, Request, Tensor, TensorsSource, to_json
from lineside_bench.parts.part import encode_jpeg, make_part
from lineside_bench.parts.spindle import TAGS, WINDOW, make_window
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, block_until

LINESIDE = Path(sys.executable).with_name("lineside")
URI = "urn:lineside:floor"
DEADLINE_MS = 10_000

# The PLC counts turns a second, and its tags are not in the order of the model's card.
PLAYED = ("Temperature", "Vibration", "Load", "SpeedPerS")
SPINDLE = {
    "temperature_c": {"node": f"nsu={URI};s=Temperature", "unit": "°C"},
    "vibration_mm_s": {"node": f"nsu={URI};s=Vibration", "unit": "mm/s"},
    "load_percent": {"node": f"nsu={URI};s=Load", "unit": "%"},
    "speed_rpm": {"node": f"nsu={URI};s=SpeedPerS", "unit": "1/min", "scale": 60},
}
EVERY_MS = 10
MANY = tuple(f"T{number:02}" for number in range(20))


class Floor:
    """The PLC's process, commanded over its stdin."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        with (folder / "floor.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.floor_process", str(self.port)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._answer() == {"ready": True}, (folder / "floor.log").read_text()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline() or '"the PLC has ended"')

    def tell(self, **command: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._answer()["ok"]

    def set(self, **tags: Any) -> str:
        return self.tell(set={name.replace("_", "."): value for name, value in tags.items()})

    def answer(self, station: str) -> SimpleNamespace:
        """Return what was written for a station's part, once done is raised."""
        block_until(lambda: self.tell(read=[f"{station}.Done"])[0])
        verdict, code, request_id = self.tell(read=[f"{station}.{tag}" for tag in ("Verdict", "Code", "RequestId")])
        return SimpleNamespace(verdict=verdict, code=code, request_id=request_id)

    def clear(self, station: str) -> None:
        self.tell(set={f"{station}.Verdict": "", f"{station}.Code": "", f"{station}.Done": False})


class Bus:
    """Sees every request and result."""

    def __init__(self, port: int) -> None:
        self.requests: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        self.client.on_message = self._seen
        ready: list[bool] = []
        self.client.on_subscribe = lambda *_: ready.append(True)
        self.client.on_connect = lambda client, *_: client.subscribe([(REQUEST_TOPIC, 1), (RESULT_TOPIC, 1)])
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        block_until(lambda: ready)

    def _seen(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        kept = self.requests if message.topic == REQUEST_TOPIC else self.results
        kept.append(json.loads(message.payload) | {"bytes": len(message.payload)})

    def request(self, request_id: str) -> dict[str, Any]:
        return block_until(lambda: next((each for each in self.requests if each["id"] == request_id), None))

    def result(self, request_id: str) -> dict[str, Any]:
        return block_until(lambda: next((each for each in self.results if each["request_id"] == request_id), None))

    def of(self, station: str) -> list[dict[str, Any]]:
        """Return the results about a station."""
        return [each for each in self.results if each["context"]["station"] == station]


def part_trigger(kind: str, when: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a trigger that has an image judged and the verdict written to the nodes of its station."""
    node = f"nsu={URI};s={kind}"
    answers = {"verdict": "Verdict", "code": "Code", "request_id": "RequestId", "done": "Done"}
    return {
        "name": kind.lower(),
        "when": when,
        "debounce_ms": 0,
        "station": kind,
        "model": "surface-defect",
        "source": {"kind": "file", "path": "scratch.jpg"},
        "deadline_ms": DEADLINE_MS,
        "write_back": {name: f"{node}.{tag}" for name, tag in answers.items()},
    } | more


def spindle_source() -> dict[str, Any]:
    return {
        "kind": "window",
        "input": "window",
        "tags": SPINDLE,
        "rate_hz": 1000 / EVERY_MS,
        "samples": WINDOW,
        "max_gap_ms": 1000,
    }


def many_source(samples: int) -> dict[str, Any]:
    tags = {name.lower(): f"nsu={URI};s={name}" for name in MANY}
    return {"kind": "window", "input": "window", "tags": tags, "rate_hz": 100, "samples": samples}


def triggers() -> list[dict[str, Any]]:
    signal_of = f"nsu={URI};s={{}}.Signal".format
    window = {"model": "spindle-anomaly", "source": spindle_source()}
    return [
        part_trigger("Edge", {"kind": "edge", "node": signal_of("Edge")}),
        part_trigger("Change", {"kind": "change", "node": signal_of("Change")}),
        part_trigger("Limit", {"kind": "limit", "node": signal_of("Limit"), "above": 100}),
        part_trigger("Counter", {"kind": "counter", "node": signal_of("Counter")}),
        part_trigger("Event", {"kind": "event", "source_name": "floor", "fields": {"part_id": "Message"}}),
        part_trigger("Period", {"kind": "period", "every_ms": 500}, write_back=None),
        part_trigger("Window", {"kind": "window"}, **window),
    ]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Broker, topic-bridge, inference and Triton of the bench, a PLC of our own, and a way to add bridges."""
    folder = tmp_path_factory.mktemp("floor")
    state = folder / "state.json"
    running: list[subprocess.Popen[Any]] = []
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [str(LINESIDE), "up", "--rate", "0", "--state", str(state)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            floor = Floor(folder)
            running.append(floor.process)
            block_until(lambda: state.exists() or up.poll() is not None)
            assert state.exists(), (folder / "up.log").read_text()
            document = json.loads(state.read_text())
            images = Path(document["work"]) / "images"
            (images / "scratch.jpg").write_bytes(encode_jpeg(make_part(33, 5, label="scratch").image))
            mqtt = int(document["endpoints"]["mqtt"].rpartition(":")[2])
            bus = Bus(mqtt)

            def settings(*given: dict[str, Any]) -> tuple[Path, int]:
                http = free_port()
                path = folder / f"bridge-{http}.yaml"
                bridge = {
                    "http": {"port": http},
                    "endpoint": f"opc.tcp://127.0.0.1:{floor.port}",
                    "security": {"policy": "none"},
                    "triggers": given,
                }
                whole = {
                    "thing": f"floor-{http}",
                    "bus": {"port": mqtt, "client_id_prefix": f"floor-{http}"},
                    "opcua_bridge": bridge,
                }
                path.write_text(yaml.safe_dump(json.loads(json.dumps(whole)), sort_keys=False), encoding="utf-8")
                return path, http

            def bridge(*given: dict[str, Any]) -> None:
                path, http = settings(*given)
                log = path.with_suffix(".log")
                with log.open("wb") as out:
                    argv = [sys.executable, "-m", "lineside_opcua_bridge", str(path)]
                    process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT)
                running.append(process)

                def ready() -> bool:
                    assert process.poll() is None, log.read_text()
                    try:
                        return httpx.get(f"http://127.0.0.1:{http}/readyz").status_code == 200
                    except httpx.HTTPError:
                        return False

                block_until(ready)

            inference = document["endpoints"]["inference"]
            yield SimpleNamespace(floor=floor, bus=bus, bridge=bridge, settings=settings, inference=inference)
            bus.client.disconnect()
            bus.client.loop_stop()
        finally:
            for process in running:
                process.kill()
                process.communicate()
            up.send_signal(signal.SIGINT)
            up.wait(HANG_S)


def rows_of(index: int, *, anomalous: bool) -> list[list[float]]:
    """Return the samples of a simulated spindle as this PLC has them: in the order of PLAYED, speed a second."""
    speed, load, vibration, temperature = make_window(5, index, anomalous=anomalous).values.astype(float).T
    return np.stack([temperature, vibration, load, speed / 60]).T.tolist()


def test_every_kind_of_trigger_gets_its_verdict_into_the_plc(line) -> None:
    line.bridge(*triggers())
    floor, bus = line.floor, line.bus
    floor.set(Edge_Signal=True)
    floor.set(Change_Signal="P-1")
    floor.set(Limit_Signal=100.5)
    floor.set(Counter_Signal=8)
    floor.tell(event="P-42")
    for station in ("Edge", "Change", "Limit", "Counter", "Event"):
        answer = floor.answer(station)
        assert (answer.verdict, answer.code) == ("fail", "ok"), station
        assert [result["request_id"] for result in bus.of(station)] == [answer.request_id], station
    assert bus.of("Event")[0]["context"]["part_id"] == "P-42"
    block_until(lambda: len(bus.of("Period")) >= 2)
    assert {result["verdict"] for result in bus.of("Period")} == {"fail"}
    assert not bus.of("Window"), "no window is complete: its tags rest, and nothing was sampled"
    floor.tell(play=rows_of(3, anomalous=False) * 2, tags=PLAYED, every_ms=EVERY_MS)
    answer = floor.answer("Window")
    assert (answer.verdict, answer.code) in {("pass", "ok"), ("fail", "ok")}  # where it begins is not ours to choose
    assert bus.result(answer.request_id)["model"]["name"] == "spindle-anomaly"


@pytest.fixture(scope="module")
def asked(line) -> Callable[..., SimpleNamespace]:
    """Play rows, ask for the window that ends with the last of them, and return what was written for it."""
    ask = {"kind": "edge", "node": f"nsu={URI};s=Ask.Signal"}
    line.bridge(part_trigger("Ask", ask, model="spindle-anomaly", source=spindle_source()))

    def play(rows: list[list[float]]) -> SimpleNamespace:
        line.floor.set(Ask_Signal=False)
        line.floor.clear("Ask")
        times = line.floor.tell(play=rows, tags=PLAYED, every_ms=EVERY_MS)
        line.floor.tell(set={"Ask.Signal": True}, at=times[-1])
        return line.floor.answer("Ask")

    return play


@pytest.mark.parametrize("anomalous", [False, True])
def test_a_window_of_tags_is_judged_as_the_simulators_own_history_is(line, asked, anomalous: bool) -> None:
    rows = rows_of(3, anomalous=anomalous)
    answer = asked(rows)
    assert (answer.verdict, answer.code) == ("fail" if anomalous else "pass", "ok")
    (tensor,) = line.bus.request(answer.request_id)["source"]["tensors"]
    assert tensor["columns"] == list(SPINDLE)
    assert tensor["units"] == ["°C", "mm/s", "%", "1/min"]
    assert tensor["shape"] == [WINDOW, len(TAGS)]
    sent = np.array(tensor["values"]).reshape(tensor["shape"])
    np.testing.assert_allclose(sent, np.array(rows) * [1, 1, 1, 60], rtol=5e-7)
    # The model saw the columns of its card: the same numbers in the card's own order give the same scores.
    result = line.bus.result(answer.request_id)
    assert (result["status"], result["model"]["name"]) == ("ok", "spindle-anomaly")
    assert result["scores"] == direct(line, sent[:, ::-1]) != direct(line, sent)


def direct(line: SimpleNamespace, table: np.ndarray) -> dict[str, float]:
    """Return the scores of a table in the order of the card."""
    tensor = Tensor(name="window", datatype="FP32", shape=table.shape, values=table.ravel().tolist())
    request = Request.new(model="spindle-anomaly", source=TensorsSource(tensors=(tensor,)))
    answer = httpx.post(f"{line.inference}/v1/infer", content=to_json(request))
    assert answer.status_code == 200, answer.text
    return answer.json()["scores"]


def test_a_window_that_fits_no_message_is_refused_by_config_check(line) -> None:
    path, _http = line.settings(part_trigger("Many", {"kind": "window"}, source=many_source(100)))
    check = subprocess.run(
        [str(LINESIDE), "config", "check", str(path)], capture_output=True, text=True, timeout=HANG_S, check=False
    )
    said = " ".join((check.stdout + check.stderr).split())
    assert check.returncode == 1, said
    assert "trigger 'many': 100 samples of 20 tags are 2000 values" in said
    assert "bus.max_message_bytes is 6144" in said


def test_a_window_near_the_bound_goes_or_is_answered_with_its_code(line) -> None:
    """20 tags of 50 samples: with short numbers they fit in one message, with long ones not, which is said at once."""
    ask = {"kind": "edge", "node": f"nsu={URI};s=Many.Signal"}
    line.bridge(part_trigger("Many", ask, model="spindle-anomaly", source=many_source(50)))
    answers = []
    for value in (12.3, 1234.567):
        line.floor.set(Many_Signal=False)
        line.floor.clear("Many")
        rows = [[value] * len(MANY)] * 60
        times = line.floor.tell(play=rows, tags=MANY, every_ms=EVERY_MS)
        line.floor.tell(set={"Many.Signal": True}, at=times[-1])
        answers.append(line.floor.answer("Many"))
    fits, does_not = answers
    request = line.bus.request(fits.request_id)
    assert request["source"]["tensors"][0]["values"] == [12.3] * 1000
    assert 5000 < request["bytes"] <= 6144
    assert (fits.verdict, fits.code) == ("unknown", "tensor-columns")  # it came to the model, which wants others
    assert (does_not.verdict, does_not.code) == ("unknown", "message-too-large")
    assert len(line.bus.of("Many")) == 1
