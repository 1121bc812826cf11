"""The two commands as a person runs them."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.waiting import HANG_S, block_until


def lineside(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("lineside")), *arguments]


def test_bench_judges_reports_and_writes_the_summary(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    done = subprocess.run(
        lineside(
            *("bench", "--parts", "12", "--seed", "3", "--deadline-ms", "5000", "--json", str(file)),
            *("--plc", "python-opcua", "--gap-ms", "5"),
        ),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(file.read_text())
    assert (summary["parts"], summary["seed"], sum(summary["verdicts"].values())) == (12, 3, 12)
    assert (summary["missing"], summary["duplicates"], summary["wrong_write_backs"]) == (0, 0, 0)
    assert (summary["plc"], summary["gap_ms"]) == ("python-opcua", 5)
    assert set(summary["latency_ms"]) >= {"p50", "p95", "p99", "max"}
    assert summary["engine"]["server"] == "triton"
    assert summary["ready_s"] > 0
    assert "PLC to PLC" in done.stdout


def test_a_port_in_use_is_named_before_anything_starts() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 8090))
            other.listen(1)
        except OSError:
            pass  # somebody else has it: as good
        done = subprocess.run(
            lineside("bench", "--parts", "1", "--ports", "default"),
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )
    assert done.returncode == 2
    assert "8090 (camera)" in done.stderr
    assert "--ports auto" in done.stderr


def test_up_says_where_everything_is_until_it_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with subprocess.Popen(
        lineside("up", "--rate", "0", "--state", str(file)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        block_until(lambda: file.exists() or running.poll() is not None, "the state file", within=HANG_S)
        assert running.poll() is None, running.stdout and running.stdout.read()
        state = json.loads(file.read_text())
        names = {"inference", "triton_http", "triton_grpc", "triton_metrics", "mqtt", "opcua", "camera"}
        assert state["ready"] is True
        assert set(state["endpoints"]) >= names
        assert httpx.get(f"{state['endpoints']['inference']}/readyz").status_code == 200
        assert "There is no part" in httpx.get(f"{state['endpoints']['camera']}/station-1/snapshot.jpg").text
        running.send_signal(signal.SIGINT)
        assert running.wait(HANG_S) == 0
    assert not file.exists()
    assert not Path(state["work"]).exists()
    for process in state["processes"].values():
        assert not Path(f"/proc/{process['pid']}").exists()


def test_attach_refuses_what_is_about_a_line_of_its_own_and_says_where_nothing_listens() -> None:
    nowhere = ("bench", "--attach", "http://127.0.0.1:9")
    for options, said in (
        (("--ports", "auto", "--stations", "4"), ("--stations", "--ports", "--attach")),
        ((), ("nothing answers at --attach http://127.0.0.1:9", "docker compose up")),
        (("--parts", "0"), ("--parts 0 is out of range",)),
    ):
        done = subprocess.run(lineside(*nowhere, *options), capture_output=True, text=True, timeout=HANG_S, check=False)
        assert done.returncode == 2
        assert all(words in done.stderr for words in said), done.stderr
    done = subprocess.run(
        lineside("bench", "--attach", "plc-sim"), capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert (done.returncode, "is no address" in done.stderr) == (2, True)
