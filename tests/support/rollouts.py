"""Rollouts over the stand-in: a file, a runner with its clock, and a driver that brings one to its end."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from lineside_bench.cloud.sample import FLEET, NEW_MODEL, STAGING
from lineside_bench.cloud.server import Server
from lineside_fleet.aws.clients import Aws
from lineside_fleet.rollout.judging import Judged
from lineside_fleet.rollout.running import Runner
from lineside_fleet.rollout_file import read_rollout
from tests.support.stand_in_cloud import variables

MODEL = "com.lineside.Model.SurfaceDefect"


def document(**more: Any) -> dict[str, Any]:
    """Return a rollout of the new model, by staging and a tenth, without a window."""
    usual = {
        "rollout": "defect-1.1.0",
        "target": FLEET,
        "components": {MODEL: NEW_MODEL},
        "stages": [{"name": "staging", "group": STAGING}, {"name": "tenth", "percentage": 10}],
        "window_minutes": 0,
        "gate": None,
    }
    return {**usual, **more}


def write(folder: Path, **more: Any) -> Path:
    """Write a rollout file."""
    path = folder / "rollout.yaml"
    path.write_text(yaml.safe_dump(document(**more)), encoding="utf-8")
    return path


def at(server: Server, monkeypatch: Any) -> None:
    """Point AWS' clients of this process at the stand-in."""
    for name, value in variables(server).items():
        monkeypatch.setenv(name, value)


def runner(path: Path, server: Server, **more: Any) -> Runner:
    """Return a runner whose clock is the stand-in's."""
    world = server.cloud.world
    more.setdefault("aws", _aws(server.url))  # a client's making costs more than its calls
    return Runner(read_rollout(path), path.parent, now=lambda: world.time().timestamp(), pause=lambda _: None, **more)


@lru_cache(maxsize=1)  # of one server only: each is 20 MB, and every test has a server of its own
def _aws(url: str) -> Aws:
    del url  # the environment names it
    return Aws()


class Says:
    """A gate that says what it is told to, and remembers what it was asked."""

    def __init__(self, *verdicts: str) -> None:
        self.verdicts = list(verdicts)
        self.asked: list[tuple[str, int]] = []

    def judge(self, stage: Any, look: int) -> Judged:
        self.asked.append((stage.name, look))
        verdict = self.verdicts.pop(0) if self.verdicts else "promote"
        return Judged(verdict, [f"stage {stage.name}: p95 says {verdict}"])  # type: ignore[arg-type]


def drive(make: Callable[[], Runner], server: Server, *, minutes: int = 20, most: int = 40) -> Runner:
    """Run the commands in their order, time going by between them, until the rollout has ended."""
    last = make()
    last.start()
    for _ in range(most):
        with server.cloud.lock:
            server.cloud.world.tick(minutes)
        last = make()
        verdict = last.evaluate(None).verdict
        assert verdict != "stop"
        if verdict == "promote":
            state, _said = make().promote()
            if state.phase == "promoted":
                return last
    raise AssertionError("the rollout came to no end")
