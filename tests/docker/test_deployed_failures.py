"""The line deployed on a core device, on a real engine: bad deployments give way, and crashes recover, without help."""

import json
import os
import random
import secrets
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.recipes.rendering import model_component
from lineside_bench.config import MODEL
from lineside_bench.deployable import CONTAINERS
from lineside_bench.greengrass.core.nucleus import Status
from tests.support.constant_models import graph
from tests.support.deployed_line import DeployedLine, docker
from tests.support.model_folders import like_the_benchs
from tests.support.paths import ROOT
from tests.support.variables import LONG, SEED
from tests.support.waiting import HANG_S, PATIENCE_S, block_until

pytestmark = pytest.mark.xdist_group("docker")

COMPONENT = model_component(MODEL).removeprefix("com.lineside.")
ASK = """
import sys, urllib.request
token = open("/run/secrets/lineside/tokens").read().split()[0]
request = urllib.request.Request("http://127.0.0.1:8080" + sys.argv[1], headers={"Authorization": "Bearer " + token})
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""
KILLS = 20 if LONG else 5
Figure = Callable[[str, Any], None]


def ask(line: DeployedLine, path: str) -> Any:
    """Ask the inference service, from inside its container."""
    return json.loads(docker("exec", line.container("Inference"), "python", "-c", ASK, path))


def versions(line: DeployedLine) -> list[str]:
    """Return the versions of the model that lie in the volume."""
    said = docker("exec", line.container("Inference"), "sh", "-c", f"cd /models/{MODEL} && ls -d [1-9]*")
    return said.split()


def without_numbers() -> bytes:
    """Return a model that Triton loads and runs, and whose outputs are no numbers."""
    made = graph({"logits": np.full(5, np.nan, np.float32)}, (3, 160, 160), "FP32", 0.0, 0)
    made.graph.input[0].name = "image"
    made.graph.node[0].input[0] = "image"
    return made.SerializeToString()


def unknown(line: DeployedLine, since: int) -> dict[str, int]:
    """Return how many parts got `unknown` since an outcome, by cause."""
    return dict(Counter(each.cause for each in line.outcomes[since:] if each.verdict == "unknown"))


def test_a_model_that_fails_its_warm_up_is_rolled_back_and_the_one_before_judges_on(
    line: DeployedLine, figure: Figure, tmp_path: Path
) -> None:
    assert line.next_verdict().model is not None
    verdicts, outcomes = len(line.verdicts), len(line.outcomes)
    before = line.container_ids()
    marked = 'parameters { key: "bad" value: { string_value: "yes" } }\n'
    bad = like_the_benchs(tmp_path / "bad", "2", without_numbers(), marked)
    line.model(MODEL, "1.1.0", bad)
    line.recipe(COMPONENT, "1.1.0")
    done = line.deploy({COMPONENT: "1.1.0"})
    line.next_verdict()
    figure("model_rollback_s", round(done.seconds, 1))
    figure("model_rollback_gap_ms", round(line.longest_gap_ms(verdicts)))
    figure("model_rollback_unknown", unknown(line, outcomes))
    assert done.status is Status.ROLLED_BACK, f"{done.why}\n{line.said()}"
    assert f"com.lineside.{COMPONENT} is BROKEN: startup ended with exit status 1" in done.why
    said = line.nucleus.logs[f"com.lineside.{COMPONENT}"].read_text()
    assert said.count(f"version 2 of model '{MODEL}' failed, version 1 stays in force: ") == 3, said
    assert "output 'logits' of model 'surface-defect' is not finite" in said
    assert {each.model.version for each in line.verdicts[verdicts:] if each.model} == {"1"}
    assert line.container_ids() == before  # nothing else was touched
    described = ask(line, f"/v1/models/{MODEL}")
    assert (described["version"], described["default"], described["refused"]) == ("1", "1", None)
    assert versions(line) == ["1"]
    assert 'key: "bad"' not in docker("exec", line.container("Inference"), "cat", f"/models/{MODEL}/config.pbtxt")

    # Nor does it come up with another Triton; mended it comes under its number; and the first one comes back.
    kill_container(line, "Triton")
    recovered(line, "Triton", before["Triton"])
    assert [each.model.version for each in (line.next_verdict(), line.next_verdict()) if each.model] == ["1", "1"]
    mended = (ROOT / "models" / MODEL / "1" / "model.onnx").read_bytes()
    line.model(MODEL, "1.2.0", like_the_benchs(tmp_path / "mended", "2", mended))
    line.recipe(COMPONENT, "1.2.0")
    for component, version in (("1.2.0", "2"), ("1.0.0", "1")):
        done = line.deploy({COMPONENT: component})
        assert done.status is Status.SUCCEEDED, f"{done.why}\n{line.said()}"
        judged = line.next_verdict().model
        assert judged is not None
        assert judged.version == version
        assert versions(line) == [version]


@pytest.fixture
def image(images: dict[str, str]) -> Any:
    """Make an image of the opcua-bridge that ends by itself, by what its container does; removed at the end."""
    made: list[str] = []

    def make(script: str) -> str:
        name = f"lineside-test/short-{secrets.token_hex(4)}:1"
        text = f"FROM {images['opcua-bridge']}\nENTRYPOINT {json.dumps(['sh', '-c', script])}\n"
        subprocess.run(
            ["docker", "build", "--quiet", "--tag", name, "-"], input=text.encode(), check=True, timeout=HANG_S
        )
        made.append(name)
        return name

    yield make
    for name in made:
        docker("rmi", "--force", name, check=False)


ENDS = {
    "before-it-is-ready": "sleep 3; echo ends; exit 7",
    "after-it-was-ready": "lineside-service & until lineside-service health; do sleep 0.2; done; sleep 3; exit 7",
}


@pytest.mark.parametrize("when", ENDS)
def test_a_container_that_ends_after_three_seconds_is_rolled_back(
    line: DeployedLine,
    figure: Figure,
    image: Callable[[str], str],
    images: dict[str, str],
    when: str,
) -> None:
    line.next_verdict()
    verdicts, outcomes, before = len(line.verdicts), len(line.outcomes), line.container_ids()
    short = image(ENDS[when])
    version = f"0.1.{1 + len(line.recipes)}"
    line.recipe("OpcUaBridge", version, lambda text: text.replace(images["opcua-bridge"], short))
    done = line.deploy({"OpcUaBridge": version})
    line.next_verdict()
    figure(f"rollback_s {when}", round(done.seconds, 1))
    figure(f"rollback_gap_ms {when}", round(line.longest_gap_ms(verdicts)))
    figure(f"rollback_unknown {when}", unknown(line, outcomes))
    assert done.status is Status.ROLLED_BACK, f"{done.why}\n{line.said()}"
    assert "com.lineside.OpcUaBridge is BROKEN: startup ended with exit status 7" in done.why
    after = line.container_ids()
    assert {name for name in CONTAINERS if after[name] != before[name]} == {"OpcUaBridge"}
    assert line.nucleus.versions["com.lineside.OpcUaBridge"] != version
    assert docker("inspect", "--format", "{{.Config.Image}}", line.container("OpcUaBridge")).strip() != short


def kill_container(line: DeployedLine, component: str) -> None:
    docker("kill", "--signal", "KILL", line.container(component), check=False)


def remove_container(line: DeployedLine, component: str) -> None:
    docker("rm", "--force", line.container(component), check=False)


def kill_script(line: DeployedLine, component: str) -> None:
    for process in line.shells(component):
        os.kill(process, signal.SIGKILL)


WAYS = (kill_container, remove_container, kill_script)
HEAVY, LIGHT = ("Triton", "Inference"), ("TopicBridge", "OpcUaBridge", "Forwarder", "Exporter")


def recovered(line: DeployedLine, component: str, killed: str) -> None:
    """Wait until a component has another container and all are RUNNING, and the line judges."""

    def is_well() -> bool:
        ids = line.container_ids()
        running = all(line.state(name) == "RUNNING" for name in (*CONTAINERS, COMPONENT))
        return ids[component] not in {"", killed} and running and all(ids.values())

    def stands() -> str:
        return f"{component}: {[(name, line.state(name)) for name in CONTAINERS]}\n{line.said()}"

    block_until(is_well, stands, within=5 * PATIENCE_S, every=0.2)
    line.next_verdict()


def left_over(line: DeployedLine) -> list[str]:
    """Return what should not be there while all is well: containers, processes, sockets, shared memory."""
    names = {line.container(name) for name in CONTAINERS}
    volumes = docker("volume", "ls", "--quiet", "--filter", f"name={line.scope}-").split()
    filters = [word for volume in volumes for word in ("--filter", f"volume={volume}")]
    users = set(docker("ps", "--all", "--format", "{{.Names}}", *filters).split())
    scoped = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name={line.scope}-").split()
    found = sorted((users | set(scoped)) - names)
    found += [f"{name} is there twice" for name, count in Counter(scoped).items() if count > 1]
    found += [f"{name} has {len(line.shells(name))} scripts" for name in CONTAINERS if len(line.shells(name)) != 1]
    found += [path.name for path in (line.nucleus.root / "ipc").iterdir() if path.name != "ipc.socket"]
    memory = docker("exec", line.container("Inference"), "ls", "/dev/shm").split()
    ours = [name for name in memory if name.startswith("lineside-")]
    servers = {name.split("_")[2] for name in memory if name.startswith("lineside_bench_")}
    if len(ours) > 1 or len(servers) > 1:
        found += memory
    return found


def test_kills_at_random_points_are_recovered_without_help(line: DeployedLine, figure: Figure) -> None:
    seed = SEED if SEED is not None else secrets.randbelow(1 << 32)
    figure("kills_seed", seed)  # a failure shows it; TESTS_SEED repeats it
    chance = random.Random(seed)  # noqa: S311 - chance, not a secret
    line.next_verdict()
    verdicts, outcomes, count = len(line.verdicts), len(line.outcomes), 0
    while count < KILLS:
        # A core that starts counts errors anew; three of one component within an hour would be BROKEN.
        components = [*HEAVY, *LIGHT, *chance.sample(LIGHT, 3)]
        chance.shuffle(components)
        before = line.container_ids()
        line.kill_and_restart()
        for name in CONTAINERS:
            recovered(line, name, before[name])
        count += 1
        for component in components[: KILLS - count]:
            for _ in range(chance.randrange(3)):
                line.next_verdict()
            killed, way = line.container_id(component), chance.choice(WAYS)
            way(line, component)
            figure(f"kill {count}", f"{component} {way.__name__}")
            recovered(line, component, killed)
            block_until(lambda: not left_over(line), lambda: left_over(line), within=PATIENCE_S, every=0.5)
            count += 1
    figure("kills_longest_gap_ms", round(line.longest_gap_ms(verdicts)))
    figure("kills_unknown", unknown(line, outcomes))
    told = Counter(each.request_id for each in line.outcomes)
    assert max(told.values()) == 1, [each for each, times in told.items() if times > 1]
    status, said, summary = line.attach(30)
    assert status == 0, said
    assert (summary["parts"], summary["missing"], summary["duplicates"], summary["wrong_write_backs"]) == (30, 0, 0, 0)
