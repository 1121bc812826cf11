"""The history of a running service: what it finds, its pages and forms, and what a bad disk or a kill does to it."""

import contextlib
import csv
import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lineside.contract import Outcome, to_json
from tests.support.inference_service import Inference
from tests.support.mounts import UNSHARE, needs_mount
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S, block_until

PARTS = 40


def told(number: int, **more: Any) -> Outcome:
    fields = {
        "request_id": f"r-{number}",
        "trigger": "t",
        "model": "surface-defect",
        "station": f"s{number % 2}",
        "part_id": f"P-{number:03}",
        "verdict": ("pass", "fail", "unknown")[number % 3],
        "origin": "judged",
        "cause": "deadline" if number % 3 == 2 else "ok",
        "reason": "as told",
        "written_at": f"2026-03-01T12:00:{number:02}Z",
    }
    return Outcome.model_validate(fields | more)


def tell(service: Inference, outcome: Outcome) -> None:
    answer = service.http.post("/v1/outcomes", content=to_json(outcome), headers={"content-type": "application/json"})
    assert answer.status_code == 204, answer.text


def start(folder: Path, history: Path | None = None, **more: Any) -> Inference:
    settings = {"history": {"folder": str(history or folder / "history")} | more, "triton": {"shared_memory": "off"}}
    service = Inference(folder, settings)
    service.wait_for("/livez")
    return service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inference]:
    """A service that was told some parts; nothing of it needs Triton."""
    service = start(tmp_path_factory.mktemp("service"))
    try:
        threads = [threading.Thread(target=tell, args=(service, told(number))) for number in range(PARTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG_S)
        yield service
    finally:
        service.stop()


def ask(service: Inference, **params: Any) -> dict[str, Any]:
    answer = service.http.get("/v1/history", params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ids(parts: list[dict[str, Any]]) -> set[int]:
    return {int(part["request_id"].removeprefix("r-")) for part in parts}


@pytest.mark.parametrize(
    ("params", "is_one"),
    [
        ({}, lambda _n: True),
        ({"station": "s1"}, lambda n: n % 2 == 1),
        ({"verdict": "fail,unknown"}, lambda n: n % 3 > 0),
        ({"cause": "deadline"}, lambda n: n % 3 == 2),
        ({"part_id": "P-007"}, lambda n: n == 7),
        ({"part_id": "P-01", "match": "prefix"}, lambda n: 10 <= n < 20),
        ({"part_id": "02", "match": "contains"}, lambda n: n == 2 or 20 <= n < 30),
        ({"from": "2026-03-01T12:00:05", "to": "2026-03-01T12:00:10Z"}, lambda n: 5 <= n < 10),
        ({"model": "surface-defect", "station": "s0", "verdict": "pass"}, lambda n: n % 6 == 0),
        ({"model": "other"}, lambda _n: False),
        ({"label": "scratch"}, lambda _n: False),
        ({"part_id": "零" * 500}, lambda _n: False),
    ],
)
def test_the_filters(service: Inference, params: dict[str, str], is_one: Callable[[int], bool]) -> None:
    page = ask(service, limit=1000, **params)
    assert page["complete"]
    assert page["next"] is None
    assert ids(page["parts"]) == {number for number in range(PARTS) if is_one(number)}


def test_pages_are_stable_while_parts_come(service: Inference) -> None:
    seen, cursor = [], None
    for extra in range(100, 200):
        page = ask(service, limit=7, station="s1", **({"cursor": cursor} if cursor else {}))
        seen += page["parts"]
        cursor = page["next"]
        if cursor is None:
            break
        tell(service, told(1, request_id=f"new-{extra}", station="s3"))
    numbers = [part["number"] for part in seen]
    assert numbers == sorted(numbers, reverse=True)
    assert ids(seen) == {number for number in range(PARTS) if number % 2}
    assert len(seen) == len(ids(seen))


def test_one_part_and_where_its_image_is(service: Inference) -> None:
    part = service.http.get("/v1/history/r-5").json()
    assert (part["part_id"], part["written"], part["image"]) == ("P-005", "unknown", {"here": None, "evidence": None})
    answer = service.http.get("/v1/history/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "part-unknown")


def test_the_pareto_of_causes(service: Inference) -> None:
    counted = service.http.get("/v1/pareto", params={"by": "cause", "station": "s1"}).json()
    late = sum(number % 3 == 2 for number in range(1, PARTS, 2))
    assert counted["counts"] == {"ok": PARTS // 2 - late, "deadline": late}
    assert list(counted["counts"].values()) == sorted(counted["counts"].values(), reverse=True)
    assert (counted["parts"], counted["complete"]) == (PARTS // 2, True)


def test_json_lines_and_csv_say_the_same(service: Inference) -> None:
    params = {"limit": 5, "station": "s0"}
    page = ask(service, **params)
    lines = service.http.get("/v1/history", params=params | {"format": "jsonl"})
    assert [json.loads(line) for line in lines.text.splitlines()] == page["parts"]
    assert lines.headers["lineside-next"] == str(page["next"])
    sheet = service.http.get("/v1/history", params=params | {"format": "csv"})
    assert sheet.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    assert [row["request_id"] for row in rows] == [part["request_id"] for part in page["parts"]]
    assert (sheet.headers["lineside-complete"], sheet.headers["lineside-parts"]) == ("true", "5")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1", "' =1"),
        ("\t=1", "\\x09=1"),
        ("\x1d01\x1e", "\\x1d01\\x1e"),
        ('a"b,c', 'a"b,c'),
        ("零件", "零件"),
    ],
)
def test_a_cell_of_csv_runs_nothing_and_json_has_what_was_scanned(service: Inference, name: str, shown: str) -> None:
    tell(service, told(1, request_id=f"cell-{name.encode().hex()}", part_id=name, station="cells"))
    answer = service.http.get("/v1/history", params={"part_id": name, "format": "csv"})
    assert [row["part_id"] for row in csv.DictReader(io.StringIO(answer.text))] == [shown]
    assert [part["part_id"] for part in ask(service, part_id=name)["parts"]] == [name]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"verdict": "good"}, "pass, fail or unknown"),
        ({"from": "yesterday"}, "datetime"),
        ({"limit": "100000"}, "1000"),
        ({"part_id": "x" * 501}, "500"),
        ({"cursor": "abc"}, "cursor"),
        ({"stations": "s1"}, "did you mean 'station'"),
        ({"format": "parquet"}, "jsonl"),
    ],
)
def test_a_wrong_filter_is_named(service: Inference, params: dict[str, str], says: str) -> None:
    answer = service.http.get("/v1/history", params=params)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_the_command(service: Inference, tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(f"inference: {{http: {{port: {service.port}}}}}\n")

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        given = [sys.executable, "-m", "lineside", "history", "--config", str(config), *arguments]
        return subprocess.run(given, capture_output=True, text=True, timeout=HANG_S, check=False, cwd=ROOT)

    shown = command("--part-id", "P-007")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert [line.split()[:4] for line in shown.stdout.splitlines()] == [
        ["at", "station", "part", "verdict"],
        ["2026-03-01T12:00:07.000Z", "s1", "P-007", "fail"],
    ]
    assert len(json.loads(command("--station", "s0", "--json").stdout)["parts"]) == PARTS // 2
    assert len(list(csv.DictReader(io.StringIO(command("--limit", "3", "--csv").stdout)))) == 3
    assert json.loads(command("r-7").stdout)["part_id"] == "P-007"
    wrong = command("--verdict", "good")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "pass, fail or unknown" in wrong.stderr
    config.write_text("inference: {http: {port: 1}}\n")
    assert "Is it running?" in command().stderr


def test_without_a_folder_the_answer_says_so(tmp_path: Path) -> None:
    service = Inference(tmp_path, {"triton": {"shared_memory": "off"}})
    try:
        service.wait_for("/livez")
        answer = service.http.get("/v1/history")
        assert (answer.status_code, answer.json()["code"]) == (404, "history-off")
        tell(service, told(1))
    finally:
        service.stop()


# Faults.


def connection(service: Inference) -> dict[str, Any]:
    links = service.http.get("/readyz").json()["connections"]
    return dict(next(link for link in links if link["name"] == "history"))


def test_what_was_answered_survives_a_kill_and_comes_once(tmp_path: Path) -> None:
    taken: list[int] = []
    service = start(tmp_path)

    def telling(first: int) -> None:
        for number in range(first, first + 1000):
            try:
                tell(service, told(number % 60, request_id=f"r-{number}"))
            except (httpx.HTTPError, RuntimeError):
                return
            taken.append(number)

    threads = [threading.Thread(target=telling, args=(first,)) for first in (0, 1000, 2000, 3000)]
    for thread in threads:
        thread.start()
    block_until(lambda: len(taken) > 40, lambda: f"{len(taken)} parts are taken", within=HANG_S)
    service.process.send_signal(signal.SIGKILL)
    for thread in threads:
        thread.join(HANG_S)
    service.stop()
    again = start(tmp_path)
    try:
        for number in (0, 1, 2000):  # as the bus brings them again
            tell(again, told(number % 60, request_id=f"r-{number}"))
        found: list[int] = []
        cursor: dict[str, int] = {}
        while True:
            page = ask(again, limit=1000, **cursor)
            found += [int(part["request_id"].removeprefix("r-")) for part in page["parts"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert set(taken) <= set(found)
        assert len(found) == len(set(found))
    finally:
        again.stop()


def test_a_locked_history_holds_up_nobody(tmp_path: Path) -> None:
    service = start(tmp_path)
    try:
        tell(service, told(0))
        (path,) = (tmp_path / "history").glob("*.sqlite")
        link = sqlite3.connect(path, isolation_level=None)
        link.execute("BEGIN IMMEDIATE")
        for number in range(1, 6):
            tell(service, told(number))
        block_until(lambda: connection(service)["state"] != "ONLINE", lambda: "the lock shows", within=HANG_S)
        assert service.http.get("/readyz").json()["connections"]  # not required: the service stays as ready as it was
        assert not connection(service)["required"]
        link.execute("ROLLBACK")
        link.close()
        block_until(lambda: len(ask(service)["parts"]) == 6, lambda: str(ask(service)), within=HANG_S)
        block_until(lambda: connection(service)["state"] == "ONLINE", lambda: str(connection(service)), within=HANG_S)
    finally:
        service.stop()


def test_a_damaged_history_is_set_aside_and_said(tmp_path: Path) -> None:
    service = start(tmp_path)
    tell(service, told(0))
    service.stop()
    (path,) = (tmp_path / "history").glob("*.sqlite")
    path.write_bytes(b"\0" * 50_000)
    again = start(tmp_path)
    try:
        tell(again, told(1))
        assert ids(ask(again)["parts"]) == {1}
        assert f"{path.name}.damaged" in connection(again)["detail"]
        assert again.metric("lineside_inference_history_damaged_files") == 1
        assert "damaged; it was set aside" in again.log.read_text()
    finally:
        again.stop()


FULL = """
import sys
from pathlib import Path
from tests.integration.inference import test_history_service
test_history_service.on_a_full_disk(Path(sys.argv[1]))
"""


@needs_mount
def test_a_full_disk_holds_up_nobody_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    command = [*UNSHARE, sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4 * HANG_S, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def on_a_full_disk(folder: Path) -> None:
    """Fill a small disk below the history, and free it again; run where nobody else sees the mount."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    service = start(folder, disk / "history", queue=16)
    try:
        tell(service, told(0))
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as out, contextlib.suppress(OSError):
            while True:
                out.write(b"\0" * 4096)
        for number in range(1, 51):
            tell(service, told(number % 60, request_id=f"r-{number}", reason="x" * 300, cause="c", part_id="y" * 128))
        block_until(lambda: connection(service)["state"] != "ONLINE", lambda: "it shows", within=HANG_S)
        assert "full" in connection(service)["detail"], connection(service)
        lost = service.metric('lineside_inference_history_parts_total{kind="queue_full"}')
        assert lost > 0
        assert ids(ask(service)["parts"]) >= {0}  # what is there can be read
        ballast.unlink()

        def written() -> int:
            return len(ask(service, limit=1000)["parts"])

        block_until(lambda: written() == 51 - lost, lambda: f"{written()} of {51 - lost}", within=HANG_S)
        block_until(lambda: connection(service)["state"] == "ONLINE", lambda: str(connection(service)), within=HANG_S)
    finally:
        service.stop()
        shutil.rmtree(disk / "history", ignore_errors=True)
