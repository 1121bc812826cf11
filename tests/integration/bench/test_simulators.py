"""The simulated PLC and cameras as processes of their own, beside the real services: `lineside bench --attach`."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.publish
import pytest
import pytest_asyncio

from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC, CameraSource, Request, Result, to_json, utc_now
from lineside_bench import config
from lineside_bench.checkout import TRITON_ENVIRONMENT, find_root
from lineside_bench.config import SERVICES
from lineside_bench.peers import broker, triton
from lineside_bench.processes.ports import DEFAULTS, PortMode, Ports, reserve
from lineside_bench.processes.process import Process, clean_environment
from lineside_bench.reporting.report import RunFacts, summarise
from tests.support.waiting import HANG_S, until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(broker.find_mosquitto() is None, reason="mosquitto is not installed"),
]

BIN = Path(sys.executable).parent
READY_S = 60
PASSWORD = "bench's own"  # noqa: S105 - of the broker that this file starts
DEADLINE_MS = 3000
"""Long enough for a machine that does much else at the same time."""
FIRST_PORT = 18440
NAMES = [*DEFAULTS, "control"]


@dataclass
class Box:
    """A line of processes, as compose starts containers."""

    work: Path
    ports: Ports
    processes: dict[str, Process]
    http: httpx.AsyncClient

    @property
    def control(self) -> str:
        return f"http://127.0.0.1:{self.ports['control']}"

    @property
    def camera(self) -> str:
        return f"http://127.0.0.1:{self.ports['camera']}"

    @property
    def settings(self) -> Path:
        return self.work / "settings.yaml"


def ready(client: httpx.AsyncClient, url: str) -> Callable[[], Awaitable[str | None]]:
    async def ask() -> str | None:
        try:
            answer = await client.get(url)
        except httpx.HTTPError as error:
            return repr(error)
        return None if answer.is_success else answer.text

    return ask


def settings(ports: Ports, work: Path) -> dict[str, Any]:
    """Return the settings of the box: all peers on loopback, a broker with accounts, simulators on their own."""
    place = config.on_loopback(ports, repository=find_root() / "models", work=work)
    document = config.settings_document(place, stations=8, deadline_ms=DEADLINE_MS)
    document["bus"] |= {"username": "bench", "password_file": str(work / "password")}
    document["plc_sim"] = {
        "http": {"port": ports["control"]},
        "opcua": {"host": "0.0.0.0", "port": ports["opcua"]},  # noqa: S104 - as in a container
        "camera_url": place.camera,
        "inference_url": place.inference,
        "evidence": str(place.evidence),
        "rate": 4,
        "deadline_ms": DEADLINE_MS,
    }
    document["camera_sim"] = {"http": {"port": ports["camera"]}}
    return document


def broker_of(work: Path, port: int) -> tuple[str, ...]:
    """Return how to start a broker that lets in whoever knows the password."""
    chosen = broker.prepare(broker.BrokerKind.mosquitto, port=port, folder=work / "broker")
    (work / "password").write_text(f"{PASSWORD}\n")
    accounts = work / "broker" / "accounts"
    subprocess.run(["mosquitto_passwd", "-b", "-c", accounts, "bench", PASSWORD], check=True, timeout=HANG_S)
    file = work / "broker" / "mosquitto.conf"
    words = file.read_text().replace("allow_anonymous true", f"allow_anonymous false\npassword_file {accounts}")
    file.write_text(words)
    return chosen.argv


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Box]:
    work, root = tmp_path_factory.mktemp("box"), find_root()
    defaults = {name: FIRST_PORT + number for number, name in enumerate(NAMES)}
    with reserve(PortMode.auto, defaults=defaults) as ports:
        async with httpx.AsyncClient(timeout=HANG_S, trust_env=False) as client:
            box = Box(work, ports, {}, client)
            for name in (config.IMAGES, config.CAPTURE):
                (work / name).mkdir()
            config.write_settings(box.settings, settings(ports, work))
            launch = triton.launch(
                root / TRITON_ENVIRONMENT,
                repository=root / "models",
                work=work / "triton",
                http_port=ports["triton_http"],
                grpc_port=ports["triton_grpc"],
                metrics_port=ports["triton_metrics"],
            )

            def add(name: str, argv: tuple[str, ...], url: str, env: dict[str, str] | None = None, **more: Any) -> None:
                box.processes[name] = Process(
                    name,
                    argv,
                    env=env or clean_environment(),
                    log=work / f"{name}.log",
                    ready=ready(client, url),
                    ready_s=READY_S,
                    **more,
                )

            add(
                "triton",
                launch.argv,
                f"http://127.0.0.1:{ports['triton_http']}/v2/health/ready",
                launch.env,
                stop_s=3.0,
                after_exit=lambda: triton.clean_shared_memory(launch.shm_prefix),
            )
            for service in SERVICES:
                url = f"http://127.0.0.1:{ports[service]}/readyz"
                add(service, (sys.executable, "-m", f"lineside_{service}", str(box.settings)), url)
            add("camera-sim", (str(BIN / "lineside-camera-sim"), str(box.settings)), f"{box.camera}/readyz")
            add("plc-sim", (str(BIN / "lineside-plc-sim"), str(box.settings)), f"{box.control}/readyz")
            server = Process(
                "broker",
                broker_of(work, ports["mqtt"]),
                env=clean_environment(),
                log=work / "broker.log",
                ready=lambda: answers(ports["mqtt"]),
            )
            box.processes["broker"] = server
            try:
                async with asyncio.TaskGroup() as starting:
                    for process in box.processes.values():
                        starting.create_task(process.start())
                yield box
            finally:
                await asyncio.gather(*(process.stop() for process in box.processes.values()))


async def answers(port: int) -> str | None:
    """Say whether the broker listens; it lets nobody in without a password."""
    try:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        return str(error)
    writer.close()
    return None


async def attach(box: Box, *arguments: str) -> tuple[int, str, str]:
    """Run `lineside bench --attach`; return its exit status and what it said."""
    argv = (str(BIN / "lineside"), "bench", "--attach", box.control, *arguments)
    running = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await asyncio.wait_for(running.communicate(), HANG_S)
    assert running.returncode is not None
    return running.returncode, out.decode(), err.decode()


async def over(box: Box, run: str) -> dict[str, Any]:
    """Return a run once it is over."""

    async def document() -> dict[str, Any] | None:
        found: dict[str, Any] = (await box.http.get(f"{box.control}/v1/runs/{run}")).json()
        return found if found["state"] == "over" else None

    found: dict[str, Any] = await until(document, "the run is over", within=HANG_S)
    return found


async def until_fed(box: Box, run: str, parts: int) -> int:
    """Return how many parts of a run are fed, once it is so many."""

    async def fed() -> int:
        count = int((await box.http.get(f"{box.control}/v1/runs/{run}")).json()["progress"]["fed"])
        return count if count >= parts else 0

    return int(await until(fed, f"{parts} parts are fed", within=HANG_S))


async def test_a_run_is_judged_and_reported_as_that_of_the_bench(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    status, out, err = await attach(box, "--parts", "60", "--rate", "20", "--seed", "3", "--json", str(file))
    assert status == 0, out + err
    summary = json.loads(file.read_text())
    of_the_bench = summarise([], {}, RunFacts(rate=1, seed=1, stations=1, ready_s=None))
    assert set(summary) == set(of_the_bench)
    assert (summary["parts"], sum(summary["verdicts"].values()), summary["seed"]) == (60, 60, 3)
    assert (summary["missing"], summary["duplicates"], summary["wrong_write_backs"], summary["not_shown"]) == (0,) * 4
    assert summary["accuracy"] >= 0.9
    assert summary["engine"]["server"] == "triton"
    assert None not in {quantiles["p50"] for quantiles in summary["stages_ms"].values()}
    fails = summary["verdicts"]["fail"] + summary["verdicts"]["unknown"]
    assert summary["evidence"]["delivered"] >= fails > 0
    assert summary["evidence"]["lost"] == summary["evidence"]["missed"] == summary["evidence"]["repeated"] == 0
    assert "PLC to PLC" in out
    assert re.search(r"^parts \d+/60, rate ", out, re.MULTILINE), "no progress was shown"


async def test_parts_before_a_run_are_in_no_figure_of_it(box: Box) -> None:
    """The slow parts of the same ids go on between the runs: a run counts no evidence of theirs."""
    await slow_parts(box, 8)
    answer = await box.http.post(f"{box.control}/v1/runs", json={"parts": 5, "rate": 20})
    assert answer.status_code == 201
    summary = (await over(box, answer.json()["id"]))["summary"]
    assert summary["parts"] == 5
    assert summary["evidence"]["captured"] <= 5 + summary["windows"]["asked"]


@pytest.mark.parametrize(("ago_s", "missed"), [(38, 0), (None, 0), (0, 1)], ids=["earlier", "of-no-plc", "its-own"])
async def test_a_run_owes_evidence_of_its_own_triggers_only(box: Box, ago_s: float | None, missed: int) -> None:
    """In the middle of a run comes what was asked before it, and what others ask; nobody kept evidence of either."""
    answer = await box.http.post(f"{box.control}/v1/runs", json={"parts": 1000, "rate": 5})
    run = answer.json()["id"]
    fed = await until_fed(box, run, 1)
    now = utc_now()
    source = None if ago_s is None else now - timedelta(seconds=ago_s)
    # No service knows the model: what they answer is no evidence, and the result below is the only one that owes it.
    request = Request.new(
        model="nobody-knows-it", source=CameraSource(camera="station-1"), time={"source": source, "published": now}
    )
    expired = {"status": "expired", "verdict": "unknown", "reason": "made for the test"}
    results = [Result(id=f"of-{name}", request_id=name, **expired) for name in (request.id, f"before-{request.id}")]
    messages = [(REQUEST_TOPIC, request), *((RESULT_TOPIC, result) for result in results)]
    await asyncio.to_thread(
        paho.mqtt.publish.multiple,
        [{"topic": topic, "payload": to_json(message), "qos": 1} for topic, message in messages],
        port=box.ports["mqtt"],
        auth={"username": "bench", "password": PASSWORD},
    )
    await until_fed(box, run, fed + 2)
    await box.http.delete(f"{box.control}/v1/runs/{run}")
    summary = (await over(box, run))["summary"]
    assert summary["parts"] > 0
    assert summary["evidence"]["missed"] == missed


async def slow_parts(box: Box, count: int) -> None:
    """Return when so many of the parts that come between runs were seen by the cameras."""
    seen: set[str] = set()

    async def are_seen() -> bool:
        for number in range(1, 9):
            answer = await box.http.get(f"{box.camera}/station-{number}/snapshot.jpg")
            seen.update({answer.headers["x-part-id"]} if answer.is_success else ())
        return len(seen) >= count

    await until(are_seen, within=HANG_S)


async def test_one_run_at_a_time_and_a_run_can_be_ended(box: Box) -> None:
    answer = await box.http.post(f"{box.control}/v1/runs", json={"parts": 1000, "rate": 5})
    run = answer.json()["id"]
    assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/runs/{run}")
    second = await box.http.post(f"{box.control}/v1/runs", json={"parts": 1})
    assert (second.status_code, second.headers["location"]) == (409, f"/v1/runs/{run}")
    assert second.json()["run"] == run
    assert run in second.json()["detail"]
    status, _out, err = await attach(box, "--parts", "1")
    assert status == 2
    assert run in err
    await until_fed(box, run, 1)
    assert (await box.http.delete(f"{box.control}/v1/runs/{run}")).status_code == 202
    document = await over(box, run)
    assert document["interrupted"] is document["summary"]["interrupted"] is True
    assert 0 < document["summary"]["parts"] < 1000
    assert document["summary"]["missing"] == 0
    assert (await box.http.delete(f"{box.control}/v1/runs/{run}")).status_code == 200


async def test_ctrl_c_ends_the_run_there_and_reports(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    argv = (str(BIN / "lineside"), "bench", "--attach", box.control, "--parts", "1000", "--json", str(file))
    running = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    assert running.stdout is not None
    said = (await asyncio.wait_for(running.stdout.readline(), HANG_S)).decode()
    run = said.split()[1]
    await until_fed(box, run, 1)
    running.send_signal(signal.SIGINT)
    await asyncio.wait_for(running.communicate(), HANG_S)
    assert running.returncode == 128 + signal.SIGINT
    summary = json.loads(file.read_text())
    assert summary["interrupted"] is True
    assert 0 < summary["parts"] < 1000
    assert (await over(box, run))["summary"] == summary


async def test_a_camera_that_is_away_costs_the_verdict_not_the_part_and_the_line_recovers(box: Box) -> None:
    camera = box.processes["camera-sim"]
    await camera.stop()
    try:
        status, out, _err = await attach(box, "--parts", "6", "--rate", "10")
    finally:
        await camera.start()
    assert status == 1
    assert "unknown 6" in out
    assert "its camera did not show it" in out
    status, out, err = await attach(box, "--parts", "6", "--rate", "10")
    assert status == 0, out + err


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{}", 422, "parts: Field required"),
        (b'{"parts": 0}', 422, "parts: Input should be greater than or equal to 1 (got 0)"),
        (b'{"parts": 20001}', 422, "less than or equal to 20000"),
        (b'{"parts": "10"}', 422, "parts: Input should be a valid integer"),
        (b'{"parts": 1, "rate": 0}', 422, "rate: Input should be greater than 0"),
        (b'{"parts": 1, "rate": 20.5}', 422, "rate: 8 stations take 20 a second (got 20.5)"),
        (b'{"parts": 1, "seed": 1000000}', 422, "seed: Input should be less than 1000000"),
        (b'{"parts": 1, "rat": 2}', 422, "known: parts, rate, seed"),
        (b"[1]", 422, "body: Input should be an object"),
        (b"{", 422, "Invalid JSON"),
        (b" " * 5000, 413, "more than 4096 bytes"),
    ],
)
async def test_a_run_that_cannot_be_is_refused_by_name(box: Box, body: bytes, status: int, said: str) -> None:
    answer = await box.http.post(f"{box.control}/v1/runs", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert said in answer.json()["detail"]


async def test_only_json_is_taken_and_only_known_runs_are_shown(box: Box) -> None:
    answer = await box.http.post(
        f"{box.control}/v1/runs", content=b'{"parts": 1}', headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 415
    for method in ("GET", "DELETE"):
        answer = await box.http.request(method, f"{box.control}/v1/runs/nothing")
        assert (answer.status_code, answer.json()["code"]) == (404, "run-unknown")


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("station-9/part", b'{"seed": 7, "index": 1}', 404, "there are: station-1"),
        ("station-1/part", b'{"seed": 7}', 422, "index: Field required"),
        ("station-1/part", b'{"seed": -1, "index": 1}', 422, "seed: Input should be greater than or equal to 0"),
        ("station-1/part", b'{"seed": 7, "index": 3000000000}', 422, "index: Input should be less than 2147483648"),
        ("station-1/part", b"no", 422, "Invalid JSON"),
        ("station-1/part", b" " * 5000, 413, "more than 4096 bytes"),
    ],
)
async def test_a_part_that_cannot_be_shown_is_refused_by_name(
    box: Box, path: str, body: bytes, status: int, said: str
) -> None:
    answer = await box.http.put(f"{box.camera}/{path}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert said in answer.json()["detail"]


async def test_no_part_is_taken_from_a_camera_that_is_not_there(box: Box) -> None:
    assert (await box.http.delete(f"{box.camera}/station-9/part")).status_code == 404
    assert "station-8" in (await box.http.get(f"{box.camera}/station-9/snapshot.jpg")).text


async def test_what_is_no_simulated_plc_is_said_so(box: Box) -> None:
    other = (str(BIN / "lineside"), "bench", "--attach", box.camera)
    done = await asyncio.to_thread(subprocess.run, other, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 2
    assert "is no simulated PLC" in done.stderr


async def test_they_say_how_they_are(box: Box) -> None:
    for name in ("plc-sim", "camera-sim"):
        argv = (str(BIN / f"lineside-{name}"), "health")
        environment = clean_environment() | {"LINESIDE_CONFIG": str(box.settings)}
        done = await asyncio.to_thread(
            subprocess.run, argv, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False
        )
        assert (done.returncode, done.stdout) == (0, "ready\n")


async def test_a_broker_that_lets_it_not_in_is_shown_and_no_run_begins(box: Box, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("not it\n")
    with reserve(PortMode.auto, defaults={"control": FIRST_PORT + 30, "opcua": FIRST_PORT + 31}) as ports:
        url = f"http://127.0.0.1:{ports['control']}"
        environment = clean_environment() | {
            "LINESIDE_BUS__PASSWORD_FILE": str(tmp_path / "password"),
            "LINESIDE_PLC_SIM__HTTP__PORT": str(ports["control"]),
            "LINESIDE_PLC_SIM__OPCUA__PORT": str(ports["opcua"]),
        }
        argv = (str(BIN / "lineside-plc-sim"), str(box.settings))
        stranger = await asyncio.create_subprocess_exec(*argv, env=environment, stderr=subprocess.DEVNULL)
        try:

            async def said() -> str:
                text = await asked(box, f"{url}/readyz")
                return text if "refused" in text else ""

            assert "Not authorized" in await until(said)
            answer = await box.http.post(f"{url}/v1/runs", json={"parts": 1})
            assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
            assert "broker" in answer.json()["detail"]
        finally:
            stranger.terminate()
            assert await asyncio.wait_for(stranger.wait(), HANG_S) == 0


async def asked(box: Box, url: str) -> str:
    try:
        return (await box.http.get(url)).text
    except httpx.HTTPError:
        return ""


async def test_they_end_in_order_in_the_middle_of_a_run(box: Box) -> None:
    """Last of all: it ends the simulators."""
    answer = await box.http.post(f"{box.control}/v1/runs", json={"parts": 100, "rate": 20})
    await until_fed(box, answer.json()["id"], 1)
    for name in ("plc-sim", "camera-sim"):
        process = box.processes[name]
        running = process._running
        assert running is not None
        await process.stop()
        assert running.returncode == 0, process.last_lines()
        assert '"stopped"' in process.last_lines()
