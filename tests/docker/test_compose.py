"""The whole line in containers, on a real engine: healthy, right, hard, and back after a kill of each of them."""

import json
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.compose_project import Project, project, run
from tests.support.container_hardening import complaints
from tests.support.waiting import PATIENCE_S, Patience, block_until

NETWORKS = {
    "broker": {"inside"},
    "triton": {"engine"},
    "inference": {"plant", "inside", "engine"},
    "topic-bridge": {"inside"},
    "opcua-bridge": {"plant", "inside"},
    "forwarder": {"inside", "outside"},
    "exporter": {"inside", "engine", "watch", "outside"},
    "plc-sim": {"plant", "inside"},
    "camera-sim": {"plant"},
    "prometheus": {"watch"},
    "alertmanager": {"watch"},
    "s3": {"outside"},
}
PUBLISHED = {"inference": "8080", "plc-sim": "8091", "exporter": "9109", "prometheus": "9090", "alertmanager": "9093"}
OURS = ("inference", "topic-bridge", "opcua-bridge", "forwarder", "exporter")
LINE = (*OURS, "plc-sim", "camera-sim")
OTHERS = ("broker", "triton", "prometheus", "alertmanager", "s3")
KILLED = (
    ("inference",),
    ("topic-bridge",),
    ("opcua-bridge",),
    ("broker",),
    ("triton", "alertmanager"),
    ("camera-sim", "exporter"),
    ("plc-sim", "s3"),
    ("forwarder", "prometheus"),
)
"""Two at a time where neither asks the other for anything."""
ACCOUNTS = {"topic-bridge", "opcua-bridge", "exporter", "deployer", "bench", "operator"}
SUMMARY = {"parts", "verdicts", "missing", "duplicates", "late", "accuracy", "evidence", "wrong_write_backs"}


@pytest.fixture(scope="module")
def line(images: dict[str, str], held: dict[str, str]) -> Iterator[Project]:
    """The line with all that looks at it, evidence going to the disk and to S3."""
    del images
    with project(held, profiles=("observability", "s3"), overlays=("docker/compose.s3.yaml",)) as made:
        made.up()
        yield made


def judged(summary: dict) -> int:
    """How many parts the model judged; on a busy machine some come too late, and get `unknown`."""
    count: int = summary["verdicts"]["pass"] + summary["verdicts"]["fail"]
    return count


def recovered(project: Project, folder: Path) -> dict:
    """Return the summary of the first run that is right: what a kill cost may still be seen in the first."""
    patient, number = Patience(3 * PATIENCE_S), 0
    while True:
        number += 1
        status, said, summary = project.attach(8, rate=8, summary=folder / f"summary-{number}.json")
        if status == 0 and judged(summary) > 4:
            return summary
        if patient.is_over():
            pytest.fail(f"the line does not recover; its last run:\n{said}")


def statuses(project: Project) -> dict[str, str]:
    return {name: project.execute(name, "cat", "/proc/1/status") for name in project.running()}


def test_everything_is_up_and_healthy(line: Project) -> None:
    running = line.running()
    assert set(running) == set(NETWORKS)
    assert {each["State"]["Health"]["Status"] for each in running.values()} == {"healthy"}
    setup = line.inspect("setup")
    assert (setup["State"]["Status"], setup["State"]["ExitCode"]) == ("exited", 0)
    assert "<title>" in line.get("PAGE", "/")


def test_a_hundred_parts_are_judged_as_on_the_bench(line: Project, tmp_path: Path) -> None:
    status, said, summary = line.attach(100, rate=10, summary=tmp_path / "summary.json")
    assert status == 0, said
    assert set(summary) >= SUMMARY, sorted(summary)
    assert summary["parts"] == 100
    assert summary["missing"] == summary["duplicates"] == summary["wrong_write_backs"] == 0
    assert sum(summary["verdicts"].values()) == 100
    assert judged(summary) > 50
    assert "shared-memory" in json.dumps(summary)
    assert "PLC to PLC" in said


def test_evidence_is_in_the_bucket_and_on_the_disk(line: Project, tmp_path: Path) -> None:
    status, said, summary = line.attach(20, rate=10, summary=tmp_path / "summary.json")
    assert status == 0, said
    assert summary["evidence"]["lost"] == 0
    listing = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9000/lineside-evidence?list-type=2').read().decode())"

    def delivered() -> bool:
        return ".jsonl</Key>" in line.execute("s3", "python", "-c", listing)

    block_until(delivered, "a batch is in the bucket")
    on_disk = line.execute("forwarder", "sh", "-c", "find /var/lib/lineside/evidence -name '*.jsonl' | head -1")
    assert on_disk.strip().endswith(".jsonl")


def test_every_container_is_hard(line: Project) -> None:
    said = statuses(line)
    soft = {name: complaints(each, said[name]) for name, each in line.running().items()}
    assert soft == {name: set() for name in NETWORKS}


def test_no_root_file_system_can_be_written(line: Project) -> None:
    """Not even by root: permission is not what refuses."""
    for name in NETWORKS:
        refused = line.execute(name, "touch", "/written", user="0", check=False)
        assert "Read-only file system" in refused, (name, refused)


def test_a_soft_container_is_seen_as_such(line: Project, held: dict[str, str]) -> None:
    """The control of the scan: one that is wrong in every way is told so."""
    name = f"{line.name}-soft"
    run("docker", "run", "-d", "--rm", "--name", name, "-p", "0.0.0.0::80", "-v", "/tmp:/host", "-v", "/anonymous",
        "-e", "DATABASE_PASSWORD=x", "--label", "soft", held["PYTHON_IMAGE"], "sleep", "600")  # fmt: skip
    try:
        container = json.loads(run("docker", "inspect", name))[0]
        found = complaints(container, run("docker", "exec", name, "cat", "/proc/1/status"))
    finally:
        run("docker", "rm", "-f", "-v", name)
    assert found == {
        "root writable", "capabilities kept", "new privileges", "memory unbounded", "processors unbounded",
        "processes unbounded", "log unbounded", "not restarted", "tmp executable", "port open to the network",
        "no healthcheck", "not healthy", "no time to drain", "host folder writable", "unnamed volume",
        "secret in the environment", "runs as root", "group of root", "capabilities held", "may gain privileges",
    }  # fmt: skip


def test_networks_ports_and_volumes_are_as_planned(line: Project) -> None:
    running = line.running()
    networks = {
        name: {network.removeprefix(f"{line.name}_") for network in each["NetworkSettings"]["Networks"]}
        for name, each in running.items()
    }
    assert networks == NETWORKS
    published = {
        name: port.removesuffix("/tcp")
        for name, each in running.items()
        for port, bound in each["NetworkSettings"]["Ports"].items()
        if bound
    }
    assert published == PUBLISHED
    volumes: dict[str, set[str]] = {}
    for name, each in running.items():
        for mount in each["Mounts"]:
            if mount["Type"] == "volume":
                volumes.setdefault(mount["Name"].removeprefix(f"{line.name}_"), set()).add(name)
    assert volumes["shared-memory"] == {"triton", "inference"}
    assert volumes["spool"] == {"inference", "forwarder", "exporter"}
    secrets = {name: users for name, users in volumes.items() if name.startswith("secret-")}
    assert secrets == {
        "secret-broker": {"broker"},
        "secret-inference": {"inference"},
        "secret-topic-bridge": {"topic-bridge"},
        "secret-opcua-bridge": {"opcua-bridge"},
        "secret-exporter": {"exporter"},
        "secret-forwarder": {"forwarder"},
        "secret-bench": {"plc-sim"},
    }


def test_who_reaches_whom(line: Project) -> None:
    """By address, not by name: that a name is not known elsewhere protects nothing."""
    running = line.running()
    address = {
        name: next(network["IPAddress"] for network in running[name]["NetworkSettings"]["Networks"].values())
        for name in ("triton", "broker")
    }
    reach = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"

    def reaches(name: str, target: str, port: str) -> bool:
        done = subprocess.run(
            ["docker", "exec", running[name]["Id"], "python", "-c", reach, address[target], port],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    asked = [
        (name, target, port) for target, port in (("triton", "8001"), ("broker", "1883")) for name in (*LINE, "s3")
    ]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = dict(zip(asked, pool.map(lambda each: reaches(*each), asked), strict=True))
    assert {name for (name, target, _), yes in answers.items() if target == "triton" and yes} == {
        "inference",
        "exporter",
    }
    assert {name for (name, target, _), yes in answers.items() if target == "broker" and yes} == {*OURS, "plc-sim"}


def test_only_who_needs_it_has_a_way_out(line: Project) -> None:
    routes = {name: line.execute(name, "cat", "/proc/net/route") for name in NETWORKS}
    out = {
        name for name, table in routes.items() if any(row.split()[1] == "00000000" for row in table.splitlines()[1:])
    }
    assert out == {name for name, networks in NETWORKS.items() if networks & {"plant", "watch", "outside"}}
    assert not out & {"broker", "triton", "topic-bridge"}


def test_the_exporter_sees_how_full_the_spool_is_and_reads_nothing_in_it(line: Project) -> None:
    spool = "/var/lib/lineside/spool"
    assert int(line.execute("exporter", "python", "-c", f"import os; print(os.statvfs('{spool}').f_blocks)")) > 0
    counting = (
        "import os, sys; paths = [os.path.join(f, n) for f, _, names in os.walk(sys.argv[1]) for n in names]; "
        "print(len([p for p in paths if os.access(p, os.R_OK)]))"
    )
    assert int(line.execute("forwarder", "python", "-c", counting, spool)) > 0
    assert int(line.execute("exporter", "python", "-c", counting, spool)) == 0


def test_secrets_are_files_that_their_reader_cannot_change(line: Project) -> None:
    for name in ("topic-bridge", "opcua-bridge", "exporter", "plc-sim"):
        listed = line.execute(name, "stat", "-c", "%u:%g %a", "/run/secrets/lineside/mqtt-password").strip()
        assert listed == f"0:{10002 if name == 'exporter' else 10001} 440", name
    passwords = line.passwords()
    assert set(passwords) == ACCOUNTS
    assert len(set(passwords.values())) == len(passwords)
    assert all(len(each) >= 32 for each in passwords.values())
    documents = json.dumps(line.running()) + line.compose("logs", "setup", "broker")
    assert not [account for account, password in passwords.items() if password in documents]


def test_prometheus_scrapes_the_box_and_its_text_is_clean(line: Project) -> None:
    def answer(query: str) -> list[dict]:
        text = line.get("PROMETHEUS", f"/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        result: list[dict] = json.loads(text)["data"]["result"]
        return result

    block_until(lambda: answer('up{job="lineside"} == 1'), "the exporter is scraped")
    block_until(lambda: len(answer("lineside_exporter_source_up == 1")) >= 6, "the exporter has its sources")
    block_until(lambda: answer('lineside_inference_connection_state{service="inference"}'), "the services are joined")
    rules = json.loads(line.get("PROMETHEUS", "/api/v1/rules"))["data"]["groups"]
    assert rules
    wrong = [rule["name"] for group in rules for rule in group["rules"] if rule["health"] == "err"]
    assert not wrong
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    text = line.get("METRICS", "/metrics")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    # Triton's own names (nv_) break the conventions that promtool holds; they are joined as NVIDIA has them.
    said = [row for row in (done.stdout + done.stderr).splitlines() if row and not row.startswith("nv_")]
    assert not said, said
    assert "lineside_" in text


@pytest.mark.parametrize("killed", KILLED, ids="-and-".join)
def test_after_a_kill_the_line_recovers(
    line: Project, held: dict[str, str], killed: tuple[str, ...], tmp_path: Path
) -> None:
    for service in killed:
        line.kill(service, held["PYTHON_IMAGE"])
    for service in set(killed) - set(LINE):
        block_until(
            lambda each=service: line.inspect(each)["State"]["Health"]["Status"] == "healthy", f"{service} is well"
        )
    line.until_ready(LINE, f"after the kill of {' and '.join(killed)}")
    assert "shared-memory" in json.dumps(recovered(line, tmp_path))


def test_every_service_is_killed() -> None:
    assert sorted(service for killed in KILLED for service in killed) == sorted((*LINE, *OTHERS))


def test_a_line_that_misses_a_service_is_not_taken_for_recovered(line: Project, tmp_path: Path) -> None:
    """The control of the kills: a service that stays away is seen in a run."""
    line.compose("kill", "inference")
    _status, said, summary = line.attach(4, rate=8, summary=tmp_path / "summary.json")
    assert summary["verdicts"]["unknown"] == 4, said
    assert judged(summary) == 0
    line.compose("start", "inference")
    line.until_ready(LINE, "again")
    recovered(line, tmp_path)


def test_what_waits_in_the_broker_and_the_accounts_outlive_its_restart(line: Project) -> None:
    login = ("-u", "operator", "-P", line.passwords()["operator"], "-q", "1")
    listen = ("mosquitto_sub", *login, "-c", "-i", "kept", "-t", "local/inference/result")
    line.execute("broker", *listen, "-E")  # subscribes, for the broker to keep what comes, and leaves
    line.compose("stop", "topic-bridge")
    wanted = {f"kept-{line.name}-{number}" for number in range(3)}
    for name in wanted:
        request = {
            "schema": "lineside/request/1",
            "id": name,
            "model": "surface-defect",
            "source": {"kind": "camera", "camera": "station-1"},
            "context": {"station": "try-it"},
            "deadline_ms": 1,
        }
        line.execute("broker", "mosquitto_pub", *login, "-t", "local/inference/request", "-m", json.dumps(request))
    line.compose("restart", "broker")
    line.compose("start", "topic-bridge")
    block_until(lambda: line.health("topic-bridge"), "the topic-bridge is back")
    command = ["docker", "exec", line.container("broker"), *listen, "-W", "30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        for row in listener.stdout:
            wanted = {name for name in wanted if name not in row}
            if not wanted:
                break
        listener.kill()
    assert not wanted


def test_nobody_without_an_account_is_let_in(line: Project) -> None:
    assert is_refused(line)
    assert is_refused(line, "-u", "exporter", "-P", line.passwords()["bench"])
    assert is_refused(line, "-u", "health", "-P", "")


def is_refused(project: Project, *login: str) -> bool:
    # Without the options of the broker's own healthcheck, which stand where this variable says.
    command = ("env", "-u", "XDG_CONFIG_HOME", "mosquitto_sub")
    said = project.execute("broker", *command, *login, "-t", "x", "-E", check=False)
    return "not authorised" in said.lower()


def test_new_passwords_replace_the_old_ones(line: Project, tmp_path: Path) -> None:
    before = line.passwords()
    line.compose("run", "--rm", "-T", "setup")
    assert line.passwords() == before
    # One that was interrupted left this, which its owner may not even write.
    half = "cd /setup; for each in bench/mqtt-password broker/passwd; do echo x >$each.new; chmod 0400 $each.new; done"
    line.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "setup", "-c", half)
    line.compose("run", "--rm", "-T", "setup", "rotate")
    after = line.passwords()
    assert not set(before.values()) & set(after.values())
    line.compose("restart", "broker", "plc-sim")
    line.until_ready(LINE, "with its new password")
    assert is_refused(line, "-u", "operator", "-P", before["operator"])
    assert not is_refused(line, "-u", "operator", "-P", after["operator"])
    recovered(line, tmp_path)


def test_nothing_is_left_when_it_is_taken_down(line: Project) -> None:
    assert line.left()
    line.down()
    assert line.left() == []
