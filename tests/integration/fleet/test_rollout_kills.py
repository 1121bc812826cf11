"""A rollout that is cut off anywhere and run again comes to the same end as one that is not."""

import asyncio
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from lineside_bench.cloud.faults import Fault, Kind
from lineside_bench.cloud.sample import Sizes, make_world
from lineside_bench.cloud.server import Server
from lineside_fleet.aws.clients import Api
from lineside_fleet.rollout import carrying
from lineside_fleet.state.store import FileStore
from tests.support import rollouts
from tests.support.rollouts import runner, write
from tests.support.stand_in_cloud import serving, variables
from tests.support.variables import LONG
from tests.support.waiting import HANG_S, until

DEATHS = 500 if LONG else 50
STAGES = [{"name": "staging", "group": "line-staging"}, {"name": "tenth", "percentage": 30}]
SIZES = {"devices": 10, "away_every": 0, "slow_every": 0, "lite_every": 0}


class Died(BaseException):
    """The process ends here."""


@dataclass
class Death:
    """Dies at one boundary: before or after the so-manieth call of an API or write of the state."""

    at: int | None = None
    passed: int = 0
    places: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.passed += 1
        self.places.append(name)
        if self.passed == self.at:
            raise Died(name)


@pytest.fixture
def death(monkeypatch):
    one = Death()
    call, write_state = Api.call, FileStore.write

    def dying_call(self, operation: str, **more: Any):
        one.step(f"before {operation}")
        answer = call(self, operation, **more)
        one.step(f"after {operation}")
        return answer

    def dying_write(self, state):
        one.step("before write")
        write_state(self, state)
        one.step("after write")

    monkeypatch.setattr(Api, "call", dying_call)
    monkeypatch.setattr(FileStore, "write", dying_write)
    return one


def again(command):
    """Run a command as often as it dies."""
    while True:
        try:
            return command()
        except Died:
            continue


def carry_through(server: Server, path, *, roll_back: bool) -> dict:
    """Bring a rollout to its end, each command again where it died; return what is there then."""

    def make():
        return runner(path, server, new_id=lambda: "0b7c1f3e-0000-4000-8000-000000000001")

    again(lambda: make().start())
    for _ in range(12):
        server.cloud.world.tick(10)
        if again(lambda: make().evaluate(None)).verdict == "promote":
            state, _ = again(lambda: make().promote())
            if state.phase == "promoted":
                break
    if roll_back:
        again(lambda: make().rollback("back"))
    server.cloud.world.tick(10)
    state = make()._store().read()
    world = server.cloud.world.snapshot()
    phases = [(stage.name, stage.phase, stage.deployment_id, stage.undo_id) for stage in state.stages]
    return {"world": world, "phase": state.phase, "stages": phases}


@pytest.fixture
def server(monkeypatch):
    with serving(**SIZES) as running:
        rollouts.at(running, monkeypatch)
        yield running


def run(server, folder, death, at=None, *, roll_back=True):
    """Carry a rollout through in a new account, with one death."""
    folder.mkdir()
    death.at, death.passed, death.places = at, 0, []
    server.cloud.world = make_world(Sizes(**SIZES))
    return carry_through(server, write(folder, stages=STAGES), roll_back=roll_back)


def test_a_run_that_dies_at_any_boundary_comes_to_the_same_end(server, tmp_path, death):
    undisturbed = run(server, tmp_path / "whole", death)
    assert undisturbed["phase"] == "rolled-back"
    assert len(undisturbed["world"]["deployments"]) == 2 + 3 + 2
    boundaries = death.passed
    assert {"before create_deployment", "after create_deployment", "after write"} <= set(death.places)
    numbers = random.Random(14)  # noqa: S311 - the same each time
    chosen = numbers.sample(range(1, boundaries + 1), min(DEATHS, boundaries))
    for at in sorted(chosen):
        disturbed = run(server, tmp_path / str(at), death, at)
        assert disturbed == undisturbed, f"died at boundary {at} of {boundaries}, {death.places[at - 1]}"


def test_without_looking_at_what_is_there_the_ends_differ(server, tmp_path, death, monkeypatch):
    """The control: a carrier that trusts its memory alone makes a deployment twice."""
    tokens = itertools.count()
    monkeypatch.setattr(carrying, "_ours", lambda *_: None)
    monkeypatch.setattr(carrying, "_hold_still", lambda *_: None)
    monkeypatch.setattr(carrying, "token", lambda *_: f"token-{next(tokens)}")
    undisturbed = run(server, tmp_path / "whole", death, roll_back=False)
    at = death.places.index("after create_deployment") + 1
    disturbed = run(server, tmp_path / "cut", death, at, roll_back=False)
    assert disturbed["phase"] == undisturbed["phase"] == "promoted"
    assert len(disturbed["world"]["deployments"]) == len(undisturbed["world"]["deployments"]) + 1


KILLS = [
    ("start", "CreateThingGroup", 0),
    ("start", "AddThingToThingGroup", 1),
    ("start", "CreateDeployment", 0),
    ("promote", "CreateDeployment", 0),
    ("rollback", "CreateDeployment", 0),
]


async def test_a_process_that_is_killed_is_resumed_by_the_next(tmp_path):
    """Kill -9 of the real command, while AWS has done what was asked and not answered yet."""
    ends = []
    for kill in (None, *KILLS):
        folder = tmp_path / str(KILLS.index(kill) if kill else "none")
        folder.mkdir()
        with serving(**SIZES) as server:
            ends.append(await _by_commands(server, write(folder, stages=STAGES[1:]), kill))
    assert ends[0]["phase"] == "rolled-back"
    for kill, end in zip(KILLS, ends[1:], strict=True):
        assert end == ends[0], kill


def command(name, path):
    return [sys.executable, "-m", "lineside", "fleet", name, str(path)]


async def _by_commands(server, path, kill):
    environment = {**os.environ, **variables(server)}
    for name in ("start", "evaluate", "promote", "rollback"):
        if kill is not None and kill[0] == name:
            await _killed(server, name, path, environment, kill)
        done = await asyncio.to_thread(
            subprocess.run,
            command(name, path),
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        server.cloud.world.tick(10)
    document = json.loads(path.with_name("defect-1.1.0.state.json").read_text(encoding="utf-8"))
    text = json.dumps(server.cloud.world.snapshot(), sort_keys=True).replace(document["id"], "<id>")
    phases = [(stage["name"], stage["phase"], stage["deployment_id"]) for stage in document["stages"]]
    return {"world": json.loads(text), "phase": document["phase"], "stages": phases}


async def _killed(server, name, path, environment, kill):
    cloud = server.cloud
    cloud.release.clear()
    cloud.hanging.clear()
    cloud.faults.planned = [Fault(Kind.hangs, kill[1], skip=kill[2])]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command(name, path), env=environment, stdout=pipe, stderr=pipe, text=True)  # noqa: ASYNC220
    try:
        await until(lambda: cloud.hanging.is_set() or process.poll() is not None, "the call that hangs")
        assert process.poll() is None, process.stderr.read()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        cloud.release.set()
        cloud.faults.planned = []
