"""The commands on a rollout. Each reads the state under its lock, and writes it after every step."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lineside_fleet.aws import deployments
from lineside_fleet.aws.clients import Aws
from lineside_fleet.errors import Refused
from lineside_fleet.rollout import carrying, planning, standing, versions
from lineside_fleet.rollout.judging import Gate, Judged
from lineside_fleet.rollout.planning import Plan
from lineside_fleet.rollout.standing import Standing
from lineside_fleet.rollout_file import Rollout
from lineside_fleet.state.document import Event, Look, RolloutState, StageState
from lineside_fleet.state.owner import myself
from lineside_fleet.state.store import Store, open_store

_REASONS_ASKED = 5


@dataclass
class Runner:
    """One rollout's file, account and clock; `pause` waits so many seconds."""

    rollout: Rollout
    folder: Path
    aws: Aws = field(default_factory=Aws)
    now: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    take_over: bool = False

    def plan(self) -> Plan:
        """Return what would happen; raises Refused, SettingsError, AwsError."""
        return planning.plan(self.aws, self.rollout, self.folder)

    def start(self) -> RolloutState:
        """Begin with the first stage, or go on where a start was cut off; raises Refused, AwsError."""
        with self._held("start") as store:
            state = store.read()
            if state is None:
                plan = self.plan()
                state = self._begin(plan, store)
            self._same(state)
            if state.stage == 0 and state.current.phase in {"waiting", "deploying"}:
                self._running(state, "start")
                versions.make(self.aws, state, self.rollout, self.folder, self.pause)
                self._deploy(store, state)
            return state

    def status(self) -> tuple[RolloutState, Standing]:
        """Return the state and how the current stage stands; changes nothing. Raises Refused, AwsError."""
        state = self._store().read()
        if state is None:
            raise self._not_started()
        return state, self._standing(state.current)

    def evaluate(self, gate: Gate | None) -> Judged:
        """Return whether the current stage may go on, and remember the verdict; raises Refused, AwsError."""
        with self._held("evaluate") as store:
            state = self._read(store)
            self._running(state, "evaluate")
            stage = state.current
            stands = self._refresh(store, state)
            if stands.state == "running":
                return Judged("hold", [f"stage {stage.name}: {stands.why}"])
            if stands.state == "failed":
                return self._looked(store, state, Judged("stop", [f"stage {stage.name}: {stands.why}"]))
            over = stands.done_at + 60 * self.rollout.window_of(stage.name)
            if self.now() < over:
                return Judged("hold", [f"stage {stage.name}: its window ends at {stamp(over)}"])
            if self.rollout.gate is None:
                said = "the rollout has no gate: it did what it had to on its devices, and nothing was measured"
                return self._looked(store, state, Judged("promote", [f"stage {stage.name}: {said}"]))
            if gate is None:
                raise Refused(
                    f"stage {stage.name}: its window is over, and the gate has nothing to compare",
                    remedy="Name what was observed: --baseline and --staged, or --prometheus, or --cloudwatch",
                )
            number = sum(look.number > 0 for look in stage.looks) + 1
            return self._looked(store, state, gate.judge(stage, number), number)

    def promote(self, because: str = "") -> tuple[RolloutState, str]:
        """Deploy the same to the next stage; return the state and what was done. Raises Refused, AwsError.

        `because` is a person's reason to promote without the gate's verdict; it is remembered.
        """
        with self._held("promote") as store:
            state = self._read(store)
            if state.phase == "promoted":
                return state, "it was promoted to the whole target already"
            self._running(state, "promote")
            if state.current.phase in {"waiting", "deploying"}:
                versions.make(self.aws, state, self.rollout, self.folder, self.pause)
                self._deploy(store, state)
                return state, f"stage {state.current.name} is deployed"
            stands = self._refresh(store, state)
            stage = state.current
            if stands.state == "running":
                return state, f"stage {stage.name} is under way: {stands.why}"
            if state.stage == len(state.stages) - 1 and stands.state == "done":
                state.phase = "promoted"
                self._write(store, state, f"promoted to all {len(stage.things)} devices")
                return state, "it is promoted to the whole target"
            self._may_go_on(state, stands, because)
            if because:
                stage.looks = [*stage.looks, Look(at=stamp(self.now()), verdict="promote", why=f"by hand: {because}")]
            if state.stage == len(state.stages) - 1:
                raise Refused(
                    f"stage {stage.name}: {stands.why}", remedy="It is the last: roll back, or mend the devices"
                )
            state.stage += 1
            state.current.phase = "deploying"
            self._write(store, state, f"stage {stage.name} is promoted")
            versions.hold_still(self.aws, state, self.rollout)
            self._deploy(store, state)
            return state, f"stage {state.current.name} is deployed"

    def abort(self, why: str) -> RolloutState:
        """Cancel what has not begun and leave what is there; raises Refused, AwsError."""
        with self._held("abort") as store:
            state = self._read(store)
            if state.phase == "aborted":
                return state
            self._running(state, "abort")
            for stage in state.stages[: state.stage + 1]:
                if stage.phase in {"deploying", "deployed", "failed"}:
                    carrying.cancel(self.aws, state, stage)
            state.phase = "aborted"
            self._write(store, state, f"aborted: {why}")
            return state

    def rollback(self, why: str) -> tuple[RolloutState, list[str]]:
        """Give each target that was changed its old set back, the newest first; return what was left, and why."""
        with self._held("rollback") as store:
            state = self._read(store)
            left: list[str] = []
            if state.phase == "rolled-back":
                return state, left
            if state.phase != "rolling-back":
                state.phase = "rolling-back"
                self._write(store, state, f"roll back: {why}")
            for stage in reversed(state.stages):
                if stage.phase in {"waiting", "undone"}:
                    continue
                said = f"stage {stage.name} is rolled back"
                if carrying.is_back(state, stage):
                    said = f"stage {stage.name} is rolled back with the target"
                elif isinstance(made := carrying.undo(self.aws, state, stage), str):
                    said = f"stage {stage.name} is left as it is: {made}"
                    left += [said] if stage.deployment_id else []
                else:
                    stage.undo_id, stage.undo_job = made.deployment_id, made.job_id
                stage.phase = "undone"
                self._write(store, state, said)
            state.phase = "rolled-back"
            self._write(store, state, "rolled back")
            return state, left

    def why_failed(self, stage: StageState) -> list[str]:
        """Return what some of the failed devices say; raises AwsError."""
        executions = deployments.executions(self.aws.iot, stage.undo_job or stage.job_id)
        failed = sorted(thing for thing, each in executions.items() if each.status in standing.FAILED)
        told = []
        for thing in failed[:_REASONS_ASKED]:
            reason = deployments.reason(self.aws.greengrass, thing, stage.undo_id or stage.deployment_id)
            told.append(f"{thing}: {executions[thing].status}: {reason}")
        more = len(failed) - _REASONS_ASKED
        return [*told, *([f"and {more} more"] if more > 0 else [])]

    def _store(self) -> Store:
        return open_store(self.rollout.state, self.aws, self.now)

    @contextmanager
    def _held(self, command: str) -> Iterator[Store]:
        store = self._store()
        owner = myself(f"lineside fleet {command}", self.now())
        with store.locked(owner, take_over=self.take_over):
            yield store

    def _begin(self, plan: Plan, store: Store) -> RolloutState:
        state = RolloutState(
            id=self.new_id(),
            name=self.rollout.rollout,
            digest=self.rollout.digest,
            stages=plan.stages,
            recipes=dict(plan.recipes),
        )
        state.current.phase = "deploying"
        self._write(store, state, f"started: {plan.devices} devices in {len(plan.stages)} stages")
        return state

    def _not_started(self) -> Refused:
        return Refused(
            f"rollout {self.rollout.rollout} was not started: {self.rollout.state} is not there",
            remedy="`lineside fleet start` begins it",
        )

    def _read(self, store: Store) -> RolloutState:
        state = store.read()
        if state is None:
            raise self._not_started()
        self._same(state)
        return state

    def _same(self, state: RolloutState) -> None:
        if (state.name, state.digest) != (self.rollout.rollout, self.rollout.digest):
            raise Refused(
                f"{self.rollout.state} is of rollout {state.name} as its file was then; the file has changed since",
                remedy="A rollout never changes: put the file back, or give the changed one another name",
            )

    @staticmethod
    def _running(state: RolloutState, command: str) -> None:
        if state.phase != "running":
            raise Refused(f"rollout {state.name} is {state.phase}, and cannot {command}", remedy="Start a new one")

    def _write(self, store: Store, state: RolloutState, what: str) -> None:
        state.log = [*state.log, Event(at=stamp(self.now()), what=what)]
        store.write(state)

    def _deploy(self, store: Store, state: RolloutState) -> None:
        stage = state.current
        made = carrying.deploy(
            self.aws, state, stage, self.rollout.failures_of(stage.name), self.rollout.job_of(stage.name)
        )
        stage.deployment_id, stage.job_id, stage.phase = made.deployment_id, made.job_id, "deployed"
        stage.deployed_at = stamp(self.now())
        self._write(store, state, f"stage {stage.name} is deployed to {len(stage.things)} devices")

    def _standing(self, stage: StageState) -> Standing:
        job = stage.undo_job or stage.job_id
        if not job:
            return Standing("running", {}, "it is not deployed yet: run the last command again")
        executions = deployments.executions(self.aws.iot, job)
        rules = self.rollout.failures_of(stage.name)
        deployed = datetime.fromisoformat(stage.deployed_at).timestamp()
        return standing.judge(executions, stage.things, rules, deployed_at=deployed, now=self.now())

    def _refresh(self, store: Store, state: RolloutState) -> Standing:
        """Return how the current stage stands, remembered where it has ended."""
        stage = state.current
        stands = self._standing(stage)
        if stands.state != "running" and stage.phase == "deployed":
            stage.phase, stage.counts = stands.state, dict(stands.counts)
            stage.done_at = stamp(stands.done_at or self.now())
            self._write(store, state, f"stage {stage.name}: {stands.why}")
        return stands

    def _looked(self, store: Store, state: RolloutState, judged: Judged, number: int = 0) -> Judged:
        """Remember a verdict; `number` counts the gate's looks at the stage, 0 is none of them."""
        stage = state.current
        why = judged.sentences[0] if judged.sentences else judged.verdict
        look = Look(at=stamp(self.now()), verdict=judged.verdict, why=why, number=number if judged.is_look else 0)
        stage.looks = [*stage.looks, look]
        self._write(store, state, f"stage {stage.name}: {judged.verdict}")
        return judged

    def _may_go_on(self, state: RolloutState, stands: Standing, because: str) -> None:
        stage = state.current
        if because:
            return
        if stands.state == "failed":
            raise Refused(
                f"stage {stage.name}: {stands.why}",
                remedy="`lineside fleet rollback` takes it back; --because promotes all the same",
            )
        last = stage.looks[-1] if stage.looks else None
        if last is None or last.verdict != "promote":
            said = f"the gate says {last.verdict}: {last.why}" if last else "the gate was not asked"
            raise Refused(
                f"stage {stage.name}: {said}",
                remedy="`lineside fleet evaluate` asks it; --because promotes by your own reason",
            )


def stamp(moment: float) -> str:
    """Return a time as the state has it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
