"""`lineside edge-manager` against the agent's socket with a real Triton, and against peers that are none."""

import json
import os
import shutil
import signal
import socket as sockets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
import yaml
from typer.testing import CliRunner, Result

from lineside.cli.edge_manager import app
from lineside.spool import Spool, SpoolSettings
from tests.support.agent_client import SERVICE, stubs
from tests.support.agent_service import agent_settings
from tests.support.identity_models import TYPES, write_identity
from tests.support.onnx_models import scaling
from tests.support.paths import ROOT
from tests.support.triton_server import TritonServer, running_triton
from tests.support.variables import missing
from tests.support.waiting import HANG_S, block_until

Start = Callable[..., Any]
Run = Callable[..., Result]
LINESIDE = Path(sys.executable).with_name("lineside")
KINDS = {"UINT8": "u1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
X = np.arange(6, dtype="<f4").reshape(2, 3)
Y = np.arange(4, dtype="<i4")


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "models" / "surface-defect", repository / "surface-defect")
    write_identity(repository, "pair", {"x": ("FP32", [-1, 3]), "y": ("INT32", [4])})
    write_identity(repository, "kinds", {kind.lower(): (kind, [-1, 2]) for kind in TYPES if kind in KINDS})
    with running_triton(tmp_path_factory.mktemp("triton"), repository) as server:
        yield server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's folder, which has a name that an address must not be spoilt by."""
    return tmp_path_factory.mktemp("a%20b ?#")


@pytest.fixture(scope="module")
def service(start_shared: Start, triton: TritonServer, place: Path) -> Any:
    work = place / "work" / "double"
    work.mkdir(parents=True)
    onnx.save(scaling(2.0), work / "model.onnx")
    own = agent_settings(
        place / "agent.sock", model_roots=[str(place / "work")], strict=True, max_message_bytes=4 << 20
    )
    service = start_shared(
        triton={"url": triton.grpc},
        model_repository=str(triton.repository),
        capture={"models": ["pair"]},
        spool={"folder": str(place / "spool")},
        edge_manager=own,
    )
    (place / "settings.yaml").write_text(yaml.safe_dump({"edge_manager": own}))
    block_until((place / "agent.sock").exists)
    return service


@pytest.fixture
def run(service: Any, place: Path) -> Run:
    """Run a command in this process, by the settings that the service has too."""
    assert service.process.poll() is None

    def command(*arguments: Any) -> Result:
        return against(place / "agent.sock", *arguments, "--config", place / "settings.yaml", chosen=False)

    return command


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Files of tensors."""
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return tmp_path


def against(socket: Path, *arguments: Any, chosen: bool = True, timeout: float = HANG_S) -> Result:
    """Run a command against a socket."""
    where = ["--socket", str(socket)] if chosen else []
    result = CliRunner().invoke(app, [*map(str, arguments), "--timeout", f"{timeout:g}", *where])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def good(result: Result) -> Any:
    """Return the JSON of a command that did what was asked."""
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def pair(files: Path) -> tuple[str, ...]:
    return ("pair", "--input", f"x={files / 'x.npy'}", "--input", f"y={files / 'y.npy'}")


def segments_of(pid: int) -> list[str]:
    """Return the permissions of the segments that a process made and that are there still."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    heads = lines[0].split()
    rows = [dict(zip(heads, line.split(), strict=False)) for line in lines[1:]]
    return [row["perms"] for row in rows if row["cpid"] == str(pid)]


def test_models_are_listed_and_described(run: Run) -> None:
    models = {one["name"]: one for one in good(run("list", "--json"))["models"]}
    assert models["pair"]["inputs"] == [
        {"name": "x", "datatype": "FLOAT32", "shape": [-1, 3]},
        {"name": "y", "datatype": "INT32", "shape": [4]},
    ]
    assert good(run("describe", "pair", "--json")) == models["pair"]
    shown = run("list").stdout
    assert "x FLOAT32 [-1, 3], y INT32 [4]" in shown
    assert [line.split()[:2] for line in run("describe", "pair").stdout.splitlines() if "INT32" in line] == [
        ["input", "y"],
        ["output", "y_out"],
    ]


def test_a_model_is_loaded_used_and_unloaded(run: Run, files: Path) -> None:
    loaded = good(run("load", "twice", "double", "--json"))
    assert loaded["url"] == "double"
    again = run("load", "twice", "double")
    assert (again.exit_code, again.stderr.split(":")[:2]) == (1, ["ALREADY_EXISTS", " model-loaded"])
    assert "unload NAME" in again.stderr
    name, wide = loaded["inputs"][0]["name"], np.arange(8, dtype="<f4").reshape(2, 4)
    np.save(files / "wide.npy", wide)
    (found,) = good(run("predict", "twice", "--input", f"{name}={files / 'wide.npy'}", "--json"))["outputs"]
    assert (found["max"], found["first"][:3]) == (14.0, [0.0, 2.0, 4.0])
    assert good(run("unload", "twice", "--json")) == {"unloaded": "twice"}
    gone = run("unload", "twice")
    assert (gone.exit_code, gone.stderr.startswith("NOT_FOUND: model-unknown: ")) == (1, True)
    assert "`lineside edge-manager list`" in gone.stderr


@pytest.mark.parametrize("way", [(), ("--shm",)], ids=["sent", "lent"])
def test_every_datatype_comes_back_bit_for_bit(run: Run, tmp_path: Path, way: tuple[str, ...]) -> None:
    rng = np.random.default_rng(3)
    arguments: list[str] = []
    given = {}
    for kind, dtype in KINDS.items():
        raw = rng.integers(0, 256, 6 * np.dtype(dtype).itemsize, np.uint8).tobytes()
        given[kind.lower()] = raw
        (tmp_path / f"{kind}.raw").write_bytes(raw)
        word = np.dtype(dtype).name
        arguments += ["--input", f"{kind.lower()}={tmp_path / kind}.raw:{word}:3,2"]
    out = tmp_path / "out"
    answer = good(run("predict", "kinds", *arguments, "--output", out, "--json", *way))
    for one in answer["outputs"]:
        saved = np.load(one["file"], allow_pickle=False)
        assert saved.tobytes() == given[one["name"].removesuffix("_out")], one["name"]
        assert (saved.shape, saved.dtype.name.upper()) == ((3, 2), one["datatype"])
    assert segments_of(os.getpid()) == []


def test_an_array_of_another_order_is_sent_as_what_it_is(run: Run, files: Path) -> None:
    np.save(files / "x.npy", np.asfortranarray(X.astype(">f4")))
    for way in ((), ("--shm",)):
        outputs = good(run("predict", *pair(files), "--json", *way))["outputs"]
        assert outputs[0]["first"] == X.ravel().tolist()


def test_what_is_not_finite_is_counted(run: Run, files: Path) -> None:
    np.save(files / "x.npy", np.array([[np.nan, 1, -np.inf], [2, 3, 4]], "<f4"))
    answer = good(run("predict", *pair(files), "--json", "--repeat", "3"))
    assert answer["outputs"][0] | {"file": None} == {
        "name": "x_out",
        "datatype": "FLOAT32",
        "shape": [2, 3],
        "min": 1.0,
        "max": 4.0,
        "not_finite": 2,
        "first": [None, 1.0, None, 2.0, 3.0, 4.0],
        "file": None,
    }
    assert answer["latency"]["calls"] == 3
    assert "3 calls one after the other" in run("predict", *pair(files), "--repeat", "3").stdout


def test_what_the_model_does_not_take_is_said_in_the_agents_words(run: Run, files: Path) -> None:
    np.save(files / "y.npy", np.zeros(5, "<i4"))
    wrong = run("predict", *pair(files))
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("INVALID_ARGUMENT: ")
    assert "Expected [4], got [5]" in wrong.stderr
    both = run("capture", "pair", "--input", f"x={files / 'x.npy'}", "--input", f"x={files / 'x.npy'}:uint8:1")
    assert (both.exit_code, "has 152 bytes" in both.stderr) == (2, True)
    none = run("predict", "pair")
    assert (none.exit_code, "0 tensors for a model of 2 inputs" in none.stderr) == (1, True)


def test_what_is_larger_than_a_message_is_refused_here_and_lent(run: Run, files: Path) -> None:
    np.save(files / "x.npy", np.zeros((400_000, 3), "<f4"))
    wrong = run("predict", *pair(files))
    assert wrong.exit_code == 2
    assert "4,800,016 bytes, and the agent takes messages of 4,194,304" in wrong.stderr
    assert "--shm" in wrong.stderr
    assert good(run("predict", *pair(files), "--shm", "--json"))["outputs"][0]["shape"] == [400_000, 3]


def test_an_agent_with_other_shared_memory_says_so(files: Path, service: Any, place: Path) -> None:
    assert service.process.poll() is None
    if subprocess.run(["unshare", "--ipc", "true"], check=False, capture_output=True).returncode:
        missing("unshare", "this user may not make an IPC namespace")
    where = ("--socket", str(place / "agent.sock"))
    shared = [str(LINESIDE), "edge-manager", "predict", *pair(files), "--shm", *where]
    assert subprocess.run(shared, check=False, capture_output=True).returncode == 0
    apart = subprocess.run(["unshare", "--ipc", *shared], check=False, capture_output=True, text=True)
    assert apart.returncode == 1
    assert "INVALID_ARGUMENT: shared-memory-invalid" in apart.stderr
    assert "ipc: host" in apart.stderr


def test_a_capture_is_kept_and_its_status_followed(run: Run, files: Path, place: Path) -> None:
    (files / "image.jpg").write_bytes(b"\xff\xd8\x00")
    (files / "boxes.json").write_text('{"a": 1}')
    given = ("--input", f"x={files / 'x.npy'}", "--input", f"in.jpg={files / 'image.jpg'}")
    given += ("--output", f"y={files / 'y.npy'}", "--output", f"boxes={files / 'boxes.json'}")
    with Spool.open(SpoolSettings(folder=place / "spool")) as spool:
        spool.register(["cloud"])
        spool.report("cloud", "ONLINE", "")
        kept = good(run("capture", "pair", "--id", "capture-1", *given, "--json"))
        assert kept == {"capture_id": "capture-1", "status": "IN_PROGRESS"}
        again = run("capture", "pair", "--id", "capture-1", *given)
        assert (again.exit_code, again.stderr.startswith("ALREADY_EXISTS: capture-exists")) == (1, True)
        (record,) = spool.iterate()
        about = json.loads(record.body)
        names = [about[f"deviceFleet{side}"][0]["name"] for side in ("Inputs", "Outputs", "AuxiliaryInputs")]
        assert names == ["x", "y", "in.jpg"]
        assert about["deviceFleetAuxiliaryOutputs"][0]["data"] == '{"a": 1}'
        late = run_with_timeout(place, 0.3, "capture", "pair", "--wait")
        assert (late.exit_code, "edge-manager status" in late.stderr) == (3, True)
        with ThreadPoolExecutor(1) as threads:
            waits = threads.submit(run, "capture", "pair", "--id", "capture-2", "--wait", "--json")
            block_until(lambda: any(one.key == "capture-2" for one in spool.iterate()))
            for seal in spool.unsealed():
                spool.seal(seal, 1000, 10**9)
            while lease := spool.lease("cloud"):
                spool.confirm(lease)
            assert good(waits.result())["status"] == "SUCCESS"
        assert run("status", "capture-1").stdout == "capture-1: SUCCESS\n"
    unknown = run("status", "never")
    assert (unknown.exit_code, unknown.stderr.startswith("NOT_FOUND: capture-unknown")) == (1, True)


def run_with_timeout(place: Path, timeout: float, *arguments: Any) -> Result:
    return against(place / "agent.sock", *arguments, timeout=timeout)


def test_status_without_an_id_is_the_agents_health(run: Run, place: Path) -> None:
    assert good(run("status", "--json")) == {"socket": str(place / "agent.sock"), "health": "SERVING"}


def test_as_a_process_it_prints_and_ends_with_its_status(service: Any, place: Path) -> None:
    assert service.process.poll() is None
    command = [str(LINESIDE), "edge-manager"]
    environment = os.environ | {"LINESIDE_CONFIG": str(place / "settings.yaml")}
    for arguments, code in ((["list"], 0), (["describe", "no-such"], 1)):
        done = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, env=environment)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        assert ("pair" in done.stdout) == (code == 0)


class Earlier(grpc.GenericRpcHandler):
    """An agent of 2021, which knows models by name only, and whose answers a test says."""

    def __init__(self) -> None:
        self.of = stubs("2021")
        self.asked: list[Any] = []
        self.answers: dict[str, Any] = {}
        self.held = threading.Event()

    def service(self, details: Any) -> Any:
        call = details.method.rpartition("/")[2]
        if details.method.startswith(f"/{SERVICE}/") and call in self.answers:
            kind, answer = self.of.calls[call]
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: self.answer(call, request, context),
                kind.FromString,
                lambda found: found if isinstance(found, bytes) else answer.SerializeToString(found),
            )
        return None

    def answer(self, call: str, request: Any, context: Any) -> Any:
        self.asked.append(request)
        answer = self.answers[call]
        return answer(context) if callable(answer) else answer


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Earlier]:
    agent = Earlier()
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, (agent,))
        server.add_insecure_port(f"unix:{tmp_path / 'earlier.sock'}")
        server.start()
        yield agent
        agent.held.set()
        server.stop(None).wait()


def test_an_agent_of_2021_is_understood(earlier: Earlier, files: Path, tmp_path: Path) -> None:
    of = earlier.of
    model = of.Model(name="old", url="/old", input_tensor_metadatas=[of.TensorMetadata(name="x", data_type=5)])
    output = of.Tensor(tensor_metadata=of.TensorMetadata(name="../y", data_type=5, shape=[2, 3]), byte_data=X.tobytes())
    earlier.answers = {
        "ListModels": of.ListModelsResponse(models=[model]),
        "Predict": of.PredictResponse(tensors=[output, output]),
    }
    socket = tmp_path / "earlier.sock"
    assert good(against(socket, "list", "--json"))["models"][0]["name"] == "old"
    out = tmp_path / "out"
    done = good(against(socket, "predict", *pair(files), "--json", "--output", out))
    assert earlier.asked[-1].name == "pair"
    assert [Path(one["file"]).name for one in done["outputs"]] == ["output-1.npy", "output-2.npy"]
    assert np.array_equal(np.load(out / "output-2.npy"), X)
    health = against(socket, "status")
    assert (health.exit_code, "It tells no health" in health.stderr) == (1, True)
    other = against(socket, "unload", "old")
    assert (other.exit_code, "UNIMPLEMENTED" in other.stderr) == (1, True)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        ({"tensor_metadata": {"name": "y", "data_type": 5, "shape": [2]}, "byte_data": b"123"}, "3 bytes, as FLOAT32"),
        ({"tensor_metadata": {"name": "y", "data_type": 99}, "byte_data": b""}, "data_type 99"),
        ({"tensor_metadata": {"name": "y", "data_type": 0, "shape": [-1, -3]}, "byte_data": b"123"}, "[-1, -3]"),
        ({"tensor_metadata": {"name": "y\x1b[2J"}, "shared_memory_handle": {"segment_id": 1}}, "y\\x1b[2J"),
    ],
)
def test_an_answer_that_is_none_is_named(earlier: Earlier, files: Path, tmp_path: Path, tensor: Any, says: str) -> None:
    earlier.answers = {"Predict": earlier.of.PredictResponse(tensors=[earlier.of.Tensor(**tensor)])}
    done = against(tmp_path / "earlier.sock", "predict", *pair(files))
    assert (done.exit_code, says in done.stderr.replace("\\\\", "\\")) == (1, True), done.stderr


def test_bytes_that_are_no_answer_are_named_and_nothing_is_logged(
    earlier: Earlier, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    earlier.answers = {"ListModels": b"\x0a\x03\x12\x01\xff"}  # a model whose name is not UTF-8
    done = against(tmp_path / "earlier.sock", "list")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("the agent's answer is not a ListModelsResponse: ")
    assert caplog.records == []


def test_words_of_the_agent_cannot_steer_the_terminal_and_a_late_answer_is_one(
    earlier: Earlier, tmp_path: Path
) -> None:
    earlier.answers = {
        "ListModels": lambda context: context.abort(grpc.StatusCode.INTERNAL, "\x1b[2Jgone"),
        "LoadModel": lambda context: context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "deadline-passed: late"),
        "UnLoadModel": lambda _context: earlier.held.wait(),
    }
    socket = tmp_path / "earlier.sock"
    refused = against(socket, "list")
    assert (refused.exit_code, refused.stderr.startswith("INTERNAL: \\x1b[2Jgone. ")) == (1, True)
    late = against(socket, "load", "a", "b")
    assert (late.exit_code, late.stderr.startswith("DEADLINE_EXCEEDED: deadline-passed: late ")) == (3, True)
    assert "--timeout" in late.stderr
    assert against(socket, "unload", "a", timeout=0.5).exit_code == 3


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_shared_memory_stays_however_it_ends(
    earlier: Earlier, files: Path, tmp_path: Path, how: signal.Signals
) -> None:
    earlier.answers = {"Predict": lambda _context: earlier.held.wait()}
    command = [str(LINESIDE), "edge-manager", "predict", *pair(files), "--shm"]
    where = ["--socket", str(tmp_path / "earlier.sock")]
    process = subprocess.Popen([*command, *where], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        block_until(lambda: earlier.asked)
        assert [int(perms, 8) & 0o777 for perms in segments_of(process.pid)] == [0o440, 0o440]
        process.send_signal(how)
        _out, said = process.communicate(timeout=HANG_S)
    finally:
        process.kill()
    assert process.returncode != 0
    assert "Traceback" not in said
    assert segments_of(process.pid) == []


@contextmanager
def listening(path: Path, serve: Callable[[sockets.socket], None]) -> Iterator[None]:
    """Serve each connection to a unix socket in a thread of its own."""
    with sockets.socket(sockets.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def accept() -> None:
            while True:
                try:
                    connection, _address = server.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(sockets.SHUT_RDWR)
            thread.join()


def test_who_speaks_something_else_is_no_agent(tmp_path: Path) -> None:
    def http(connection: sockets.socket) -> None:
        if connection.recv(4096):
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    with listening(tmp_path / "http.sock", http):
        other = against(tmp_path / "http.sock", "list")
    assert (other.exit_code, "does not speak gRPC" in other.stderr) == (2, True), other.stderr


def test_who_says_nothing_is_given_up(tmp_path: Path) -> None:
    over = threading.Event()

    def silent(connection: sockets.socket) -> None:
        connection.settimeout(0.05)
        while not over.is_set():
            try:
                if not connection.recv(4096):
                    return
            except TimeoutError:
                continue

    with listening(tmp_path / "silent.sock", silent):
        late = against(tmp_path / "silent.sock", "status", timeout=0.5)
        over.set()
    assert (late.exit_code, "said nothing for 0.5 s" in late.stderr) == (3, True), late.stderr


def test_who_takes_no_connection_is_given_up(tmp_path: Path) -> None:
    with sockets.socket(sockets.AF_UNIX) as server:
        server.bind(str(tmp_path / "full.sock"))
        server.listen(0)
        waiting = [sockets.socket(sockets.AF_UNIX) for _ in range(4)]
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(str(tmp_path / "full.sock"))
        late = against(tmp_path / "full.sock", "list", timeout=0.2)
        for one in waiting:
            one.close()
    assert (late.exit_code, "takes no connections" in late.stderr) == (3, True), late.stderr


def test_where_no_socket_is_it_says_which_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with sockets.socket(sockets.AF_UNIX) as gone:
        gone.bind(str(tmp_path / "gone"))
    for name, says in (
        ("none", "there is no socket at"),
        ("file", "is no socket"),
        ("gone", "nobody serves at"),
        ("x" * 100, "has 1"),
        ("file/x", "there is no socket at"),
    ):
        wrong = against(tmp_path / name, "list")
        assert (wrong.exit_code, says in wrong.stderr) == (2, True), wrong.stderr
        assert str(tmp_path / name) in wrong.stderr


@pytest.mark.parametrize(("folder_mode", "mode"), [(0o755, 0o660), (0o750, 0o666)], ids=["socket", "folder"])
def test_who_may_not_connect_is_told_mode_and_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_mode: int, mode: int
) -> None:
    if os.geteuid():
        pytest.skip("only root can ask as another user")
    (tmp_path / "closed").mkdir()
    monkeypatch.chdir(tmp_path / "closed")  # by a relative path the folders of the test above it are not asked
    socket = Path("place/agent.sock")
    socket.parent.mkdir()
    with sockets.socket(sockets.AF_UNIX) as server:
        server.bind(str(socket))
        server.listen()
        socket.chmod(mode)
        socket.parent.chmod(folder_mode)
        told = as_nobody(lambda: against(socket, "list").stderr)
    assert told.startswith("user "), told
    assert ("may not connect to" in told) == (mode == 0o660)
    assert f"mode {mode if mode == 0o660 else folder_mode:04o}, user root and group root" in told


def as_nobody(ask: Callable[[], str]) -> str:
    """Return what a function returns where this process is nobody's."""
    os.setegid(65534)
    os.seteuid(65534)
    try:
        return ask()
    finally:
        os.seteuid(0)
        os.setegid(0)
