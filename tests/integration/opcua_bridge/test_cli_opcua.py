"""`lineside opcua` as the person who commissions the bridge uses it: a program, its output, its exit status."""

import json
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT, SUPPORT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, block_until

LINESIDE = Path(sys.executable).with_name("lineside")
TREE = "nsu=urn:lineside:tree"


@dataclass
class Server:
    """A server's process, and the command run against it."""

    process: subprocess.Popen[str]
    port: int

    @property
    def where(self) -> list[str]:
        return ["--endpoint", f"opc.tcp://127.0.0.1:{self.port}", "--insecure"]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return lineside(*arguments, *self.where)

    def table(self, *arguments: str) -> list[list[str]]:
        """Return the rows of a table that must come, cut at two spaces or more."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return [[cell for cell in line.split("  ") if cell] for line in done.stdout.splitlines()]

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def lineside(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([LINESIDE, "opcua", *arguments], capture_output=True, text=True, timeout=HANG_S, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def listening(server: Server) -> Server:
    """Return the server, once it listens."""

    def listens() -> bool:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            assert server.process.poll() is None, "the server ended"
            return False
        return True

    block_until(listens)
    return server


@pytest.fixture(scope="module")
def tree() -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen([sys.executable, str(SUPPORT / "tree_process.py"), str(port)], text=True)
    try:
        yield listening(Server(process, port))
    finally:
        process.kill()
        process.wait(HANG_S)


@pytest.fixture
def other(node_opcua: Path) -> Iterator[Server]:
    """A server that is not asyncua, for one test, which may stop it."""
    port = free_port()
    process = subprocess.Popen(
        ["node", "server.mjs", json.dumps({"port": port, "nodes": 1})],
        cwd=node_opcua,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert any('"ready":true' in line for line in process.stdout), "the server ended"  # the library talks too
        yield Server(process, port)
    finally:
        process.kill()
        process.communicate()


def test_browse_shows_what_goes_into_the_settings(tree: Server) -> None:
    head, first, *below = tree.table("browse", "/Objects/Press/Station1")
    assert [cell.strip() for cell in head] == ["PATH", "NODE", "CLASS", "TYPE", "ACCESS"]
    assert first[:2] == ["/Objects/Press/Station1", f"{TREE};s=Station1"]
    rows = {row[0]: [cell.strip() for cell in row[1:]] for row in below}
    assert rows["/Objects/Press/Station1/PartId"] == [f"{TREE};s=Station1.PartId", "Variable", "String", "rw"]
    assert rows["/Objects/Press/Station1/PartPresent"][2:] == ["Boolean", "r-"]
    assert rows["/Objects/Press/Station1/A&/B&[1]"][0] == f"{TREE};s=Station1.A/B[1]"
    # A path of the table is found again as it stands there.
    assert tree.json("read", "/Objects/Press/Station1/A&/B&[1]")[0]["value"] == 7


def test_browse_takes_globs_ids_and_a_depth(tree: Server) -> None:
    found = tree.json("browse", "/Objects/**/PartId", "--values")
    assert [each["node"] for each in found] == [f"{TREE};s=Station1.PartId", f"{TREE};s=Station2.PartId"]
    assert {each["value"] for each in found} == {"P-1"}
    assert {each["data_type"] for each in found} == {"String"}
    below = tree.json("browse", f"{TREE};s=Press", "--depth", "2")
    assert f"{TREE};s=Press/Station1/Speed" in {each["path"] for each in below}
    assert len(below) > 3000
    assert len(tree.json("browse", "--depth", "0")) == 1


def test_read_shows_value_type_status_times_and_access(tree: Server) -> None:
    (head, row) = tree.table("read", "/Objects/Press/Station1/Profile")
    assert [cell.strip() for cell in head][:4] == ["NODE", "VALUE", "TYPE", "STATUS"]
    assert [cell.strip() for cell in row][:4] == [
        "/Objects/Press/Station1/Profile",
        "[1.0, 2.0, 3.0]",
        "Double[3]",
        "Good",
    ]
    part, time_now = tree.json("read", f"{TREE};s=Station1.PartId", "i=2258")
    assert (part["value"], part["status"], part["readable"], part["writable"]) == ("P-1", "Good", True, True)
    assert part["path"] is None
    assert time_now["value"].endswith("Z")
    assert time_now["source"] is not None
    assert tree.json("read", "/Objects/Press/Station1/Profile")[0]["array_shape"] == [3]


def test_watch_prints_changes_and_ends_after_a_count(tree: Server) -> None:
    done = tree.run("watch", "/Objects/Press/Station1/Speed", f"{TREE};s=Station2.Speed", "--count", "5", "--json")
    assert done.returncode == 0, done.stderr
    values = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(values) == 5
    assert {value["path"] for value in values} == {"/Objects/Press/Station1/Speed", None}
    counted = [value["value"] for value in values if value["path"]]
    assert counted == [counted[0] + turn for turn in range(4)]
    assert all(value["status"] == "Good" and not value["overflow"] and value["source"] for value in values)


def test_watch_ends_after_a_time(tree: Server) -> None:
    done = tree.run("watch", f"{TREE};s=Station2.PartId", "--for", "0.5")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.endswith(f"{TREE};s=Station2.PartId  P-1")


class Watching:
    """A `lineside opcua watch` that goes on while the test does things."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._out = folder / "out"
        self._error = folder / "error"
        with self._out.open("wb") as out, self._error.open("wb") as error:
            self._process = subprocess.Popen(
                [LINESIDE, "opcua", "watch", *arguments],
                stdout=out,
                stderr=error,
                # As from a person's terminal: what a shell starts in the background inherits that Ctrl-C is ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads here
            )

    def first(self) -> str:
        """Return the first line, once it is there."""
        block_until(lambda: "\n" in self._out.read_text(encoding="utf-8") or self._process.poll() is not None)
        assert self._process.poll() is None, self._error.read_text(encoding="utf-8")
        return self._out.read_text(encoding="utf-8").splitlines()[0]

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def ended(self) -> tuple[int, list[str], str]:
        """Return status, lines and errors, once it has ended."""
        status = self._process.wait(HANG_S)
        return status, self._out.read_text(encoding="utf-8").splitlines(), self._error.read_text(encoding="utf-8")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(HANG_S)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., Watching]]:
    started: list[Watching] = []

    def start(*arguments: str) -> Watching:
        started.append(Watching(tmp_path, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def test_watch_ends_with_ctrl_c(tree: Server, watching: Callable[..., Watching]) -> None:
    watch = watching("/Objects/Press/Station1/Speed", *tree.where)
    assert "/Objects/Press/Station1/Speed" in watch.first()
    watch.interrupt()
    status, _lines, said = watch.ended()
    assert (status, said) == (0, "")


def test_watch_ends_when_the_server_goes(other: Server, watching: Callable[..., Watching]) -> None:
    watch = watching("/Objects/Line/Station1/Speed", *other.where)
    assert "1200.5" in watch.first()
    other.process.kill()
    status, _lines, said = watch.ended()
    assert status == 1
    assert said.count("\n") == 1, said


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["read", f"{TREE};s=Station1.PartIdd"], 1, f"did you mean '{TREE};s=Station1.PartId'"),
        (["browse", "/Objects/Pres"], 1, "/Objects has no 'Pres'. did you mean 'Press'?"),
        (["watch", "/Objects/Press/Station1"], 1, "cannot be watched: BadAttributeIdInvalid"),
        (["browse", "ns=2;s=x"], 2, "write nsu=<namespace URI>;s=x"),
        (["browse", "Press"], 2, "is not a tag"),
        (["read"], 2, "Missing argument"),
        (["browse", "--depth", "99"], 2, "--depth"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_status(tree: Server, arguments: list[str], status: int, says: str) -> None:
    done = tree.run(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr
    if "Usage" not in done.stderr:
        assert done.stderr.count("\n") == 1


def test_a_server_that_is_not_there_is_named() -> None:
    endpoint = f"opc.tcp://127.0.0.1:{free_port()}"
    done = lineside("browse", "--endpoint", endpoint, "--insecure")
    assert done.returncode == 1
    assert endpoint in done.stderr
    assert done.stderr.count("\n") == 1
    wrong = lineside("browse", "--endpoint", "http://127.0.0.1", "--insecure")
    assert wrong.returncode == 2
    assert wrong.stderr == "--endpoint: 'http://127.0.0.1' is not an endpoint: expected opc.tcp://<host>:<port>\n"


def test_the_settings_file_says_where_and_is_checked(tree: Server, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    section = {"endpoint": f"opc.tcp://127.0.0.1:{tree.port}", "security": {"policy": "none"}}
    settings.write_text(yaml.safe_dump({"opcua_bridge": section}))
    done = lineside("read", "/Objects/Press/Station1/PartId", "--config", str(settings))
    assert done.returncode == 0, done.stderr
    assert "P-1" in done.stdout
    settings.write_text(yaml.safe_dump({"opcua_bridge": {"endpont": "x"}}))
    done = lineside("read", "/Objects/Press/Station1/PartId", "--config", str(settings))
    assert done.returncode == 2
    assert "opcua_bridge.endpont: not a setting; did you mean 'endpoint'?" in done.stderr


def test_without_insecure_an_insecure_server_is_refused(tree: Server, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    section = {"endpoint": f"opc.tcp://127.0.0.1:{tree.port}", "security": {"pki_dir": str(tmp_path / "pki")}}
    settings.write_text(yaml.safe_dump({"opcua_bridge": section}))
    done = lineside("browse", "--config", str(settings))
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not offer Basic256Sha256 with SignAndEncrypt; it offers none. " in done.stderr
    assert "--insecure" in done.stderr
    assert not (tmp_path / "pki").exists()
    assert lineside("browse", "--config", str(settings), "--insecure").returncode == 0


def test_the_help_does_not_wait_for_asyncua() -> None:
    program = "import sys; from lineside_opcua_bridge.cli import app; sys.exit('asyncua' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    shown = lineside("--help")
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in ("browse", "read", "watch", "trust"))


BENCH_PLC = """
import asyncio
from lineside_bench.plcs.plc import Plc

async def main():
    async with Plc(port={port}, stations=2, seed=7):
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def bench_plc() -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", BENCH_PLC.format(port=port)], text=True)
    try:
        yield listening(Server(process, port))
    finally:
        process.kill()
        process.wait(HANG_S)


def test_the_guide_shows_what_the_commands_print(bench_plc: Server) -> None:
    guide = (ROOT / "docs/how-to/find-nodes.md").read_text(encoding="utf-8")
    compared = 0
    for block in guide.split("```console\n")[1:]:
        for session in block.split("```")[0].split("$ lineside opcua ")[1:]:
            command, _, shown = session.partition("\n")
            done = lineside(*shlex.split(command.replace(":4840", f":{bench_plc.port}")))
            printed = done.stdout or done.stderr
            if " browse " in f" {command}" or done.returncode:  # the others show times and values
                assert printed == shown
                compared += 1
            else:
                assert [len(line.split()) for line in printed.splitlines()] == [
                    len(line.split()) for line in shown.splitlines()
                ]
    assert compared == 4
