"""A deployment ends in the old or the new state, wherever a process ends in the middle of it.

The repository is a folder, changed by the functions that the commands call; the inference service and S3 are scripted.
"""

import io
import itertools
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside_deployer.artefacts import Artefact
from lineside_deployer.database import Database
from lineside_deployer.desired.document import Definition, Deployment, Digest
from lineside_deployer.errors import ChangeFailed, PackageAway, PackageRefused, PackageWrong
from lineside_deployer.planning import plan
from lineside_deployer.records import Phase, Record
from lineside_deployer.transaction import STARTS, Transaction
from lineside_inference.models import placing, undoing
from tests.support.model_folders import model_folder


class Killed(BaseException):
    """The process ends here."""


@dataclass
class FakeRepository:
    """The commands, without the processes: `broken` are models whose new version does not serve."""

    folder: Path
    broken: set[str] = field(default_factory=set)
    away: bool = False
    said: list[str] = field(default_factory=list)

    def present(self) -> dict[str, str]:
        cards = self.folder.glob("[!.]*/card.yaml")
        return {each.parent.name: yaml.safe_load(each.read_text())["version"] for each in cards}

    async def keep(self, handle: str) -> None:
        undoing.keep(self.folder, handle)

    async def install(self, handle: str, package: Path, bundle: Path | None) -> str:
        del bundle
        with package.open("rb") as stream:
            return placing.put(self.folder, handle, stream)

    async def confirm(self, handle: str) -> tuple[str, ...]:
        version = placing.version_of(self.folder, handle)
        self.said.append(f"{handle} {version}")
        if self.away:
            raise ChangeFailed(f"version {version} does not serve within 1 s: the inference service does not answer")
        if handle in self.broken and version != "1":
            raise ChangeFailed(f"version {version} failed its warm-up")
        return (version,)

    async def withdraw(self, handle: str) -> None:
        undoing.withdraw(self.folder, handle)

    async def gone(self, handle: str) -> None:
        self.said.append(f"{handle} gone")

    async def restore(self, handle: str) -> str | None:
        is_there = undoing.restore(self.folder, handle)
        return placing.version_of(self.folder, handle) if is_there else None

    async def accept(self, handle: str, versions: Sequence[str]) -> None:
        placing.accept(self.folder, handle, versions)

    async def settle(self, handle: str) -> None:
        undoing.settle(self.folder, handle)


@dataclass
class FakeArtefacts:
    """Packages that are there, or fail as `failing` says by handle."""

    folder: Path
    failing: dict[str, Exception] = field(default_factory=dict)

    def get(self, definition: Definition) -> Artefact:
        if error := self.failing.get(definition.ModelHandle):
            raise error
        package = self.folder / f"{definition.ModelHandle}.tar"
        return Artefact(package, None, definition.ModelHandle, "2")


class Scene:
    """A repository with models `changed` and `leaving` in version 1, and packages of `changed` 2 and `fresh` 2."""

    def __init__(self, folder: Path, policy: str = "ROLLBACK_ON_FAILURE") -> None:
        self.folder = folder / "models"
        self.folder.mkdir(parents=True)
        packages = folder / "packages"
        packages.mkdir()
        for name in ("changed", "leaving"):
            model_folder(self.folder / name, name, "1")
        for name in ("changed", "fresh"):
            made = model_folder(packages / name, name, "2")
            stream = io.BytesIO()
            with tarfile.open(fileobj=stream, mode="w") as archive:
                archive.add(made, ".")
            (packages / f"{name}.tar").write_bytes(stream.getvalue())
        self.repository = FakeRepository(self.folder)
        self.artefacts = FakeArtefacts(packages)
        self.file = folder / "deployer.db"
        self.database = Database(self.file)
        digest = Digest(Type="SHA256", Sum="0a" * 32)
        new = {"S3Url": "s3://bucket/key", "Checksum": digest, "State": "DEPLOY"}
        self.deployment = Deployment(
            DeploymentName="d",
            FailureHandlingPolicy=policy,  # type: ignore[arg-type]
            Definitions=(
                Definition(ModelHandle="changed", **new),  # type: ignore[arg-type]
                Definition(ModelHandle="leaving", State="UNDEPLOY"),
                Definition(ModelHandle="fresh", **new),  # type: ignore[arg-type]
            ),
        )

    def transaction(self, **more: Any) -> Transaction | None:
        known = self.database.record("d")
        record = plan(self.deployment, known, self.database.installed(), self.repository.present(), 1.0)
        if record is None:
            return None
        return Transaction(record, self.database, self.repository, self.artefacts, **more)  # type: ignore[arg-type]

    async def run(self, **more: Any) -> Record:
        transaction = self.transaction(**more)
        if transaction is not None:
            await transaction.run()
        record = self.database.record("d")
        assert record is not None
        return record

    def restart(self) -> None:
        self.database.close()
        self.database = Database(self.file)

    def state(self) -> dict[str, str]:
        """Everything in the repository that somebody serves from, by its content."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        shown = {str(path.relative_to(self.folder)): path.read_text() for path in found}
        return {name: text for name, text in shown.items() if not name.startswith(".")}

    def left_over(self) -> list[str]:
        below = (self.folder / name for name in (undoing.BEFORE, undoing.WITHDRAWN, placing.STAGING))
        return [str(path) for folder in below for path in folder.rglob("*") if path.is_file()]


def statuses(record: Record) -> dict[str, tuple[str, str | None]]:
    return {each.handle: (each.status, each.version) for each in record.models}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_all_of_it_comes_about(scene: Scene) -> None:
    record = await scene.run()
    assert (record.status, record.phase) == ("SUCCESS", Phase.DONE)
    assert statuses(record) == {"changed": ("SUCCESS", "2"), "leaving": ("SUCCESS", None), "fresh": ("SUCCESS", "2")}
    assert scene.repository.present() == {"changed": "2", "fresh": "2"}
    assert not (scene.folder / "changed" / "1").exists(), "the version before is needed no more"
    assert scene.left_over() == []
    assert set(scene.database.installed()) == {"changed", "fresh"}
    assert scene.transaction() is None, "nothing is left to do"


@pytest.mark.parametrize("broken", ["changed", "fresh"])
async def test_one_that_fails_brings_all_back(scene: Scene, broken: str) -> None:
    before = scene.state()
    scene.repository.broken = {broken}
    record = await scene.run()
    assert record.status == "FAIL"
    assert statuses(record) == {"changed": ("FAIL", "1"), "leaving": ("FAIL", "1"), "fresh": ("FAIL", None)}
    assert record.message.endswith("version 2 failed its warm-up") or broken == "fresh"
    assert scene.state() == before
    assert scene.left_over() == []
    assert scene.database.installed() == {}
    assert scene.transaction() is None, "the same document is not tried again and again"


async def test_do_nothing_leaves_what_came_about(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "DO_NOTHING")
    scene.repository.broken = {"changed"}
    record = await scene.run()
    assert record.status == "FAIL"
    assert statuses(record) == {"changed": ("FAIL", "1"), "leaving": ("SUCCESS", None), "fresh": ("SUCCESS", "2")}
    assert scene.repository.present() == {"changed": "2", "fresh": "2"}
    assert (scene.folder / "changed" / "1").is_dir(), "what serves stays"
    assert set(scene.database.installed()) == {"fresh"}


async def test_a_package_that_cannot_be_had_now_changes_nothing_and_is_tried_again(scene: Scene) -> None:
    before = scene.state()
    scene.artefacts.failing = {"fresh": PackageAway("the bucket is away")}
    with pytest.raises(PackageAway):
        await scene.run()
    record = scene.database.record("d")
    assert record is not None
    assert (record.phase, record.status, scene.state()) == (Phase.FETCHING, "INPROGRESS", before)
    scene.artefacts.failing = {}
    assert (await scene.run()).status == "SUCCESS"


@pytest.mark.parametrize(
    ("error", "again"), [(PackageWrong("signed by a stranger"), False), (PackageRefused("403"), True)]
)
async def test_a_package_that_is_wrong_changes_nothing(scene: Scene, error: Exception, again: bool) -> None:
    before = scene.state()
    scene.artefacts.failing = {"fresh": error}
    record = await scene.run()
    assert (record.status, scene.state(), scene.left_over()) == ("FAIL", before, [])
    assert statuses(record)["changed"] == ("FAIL", "1")
    assert (scene.transaction() is not None) is again


async def test_what_cannot_be_brought_back_is_said(scene: Scene) -> None:
    scene.repository.broken = {"fresh"}

    def inference_goes(step: str) -> None:
        scene.repository.away |= step == "saved: decide to restore"

    record = await scene.run(boundary=inference_goes)
    assert record.status == "FAIL"
    wrong = {each.handle: each.rollback_failure for each in record.models}
    assert "does not answer" in wrong["changed"]
    assert scene.repository.present() == {"changed": "1", "leaving": "1"}, "the files are back all the same"


async def steps(folder: Path, broken: set[str], policy: str) -> list[str]:
    """Return the names of all steps of a deployment."""
    scene, found = Scene(folder, policy), []
    scene.repository.broken = broken
    await scene.run(boundary=found.append)
    scene.database.close()
    return found


@pytest.mark.parametrize(
    ("broken", "policy"),
    [((), "ROLLBACK_ON_FAILURE"), (("fresh",), "ROLLBACK_ON_FAILURE"), (("changed",), "DO_NOTHING")],
)
async def test_killed_at_every_step_it_ends_as_without(broken: tuple[str, ...], policy: str, tmp_path: Path) -> None:
    whole = Scene(tmp_path / "whole", policy)
    whole.repository.broken = set(broken)
    expected = await whole.run()
    names = await steps(tmp_path / "steps", set(broken), policy)
    assert len(names) > 20
    for number, _name in enumerate(names):
        scene = Scene(tmp_path / str(number), policy)
        scene.repository.broken = set(broken)
        counting = itertools.count()

        def die(step: str, counting: Any = counting, number: int = number) -> None:
            if next(counting) == number:
                raise Killed(step)

        with pytest.raises(Killed):
            await scene.run(boundary=die)
        scene.restart()
        record = await scene.run()
        assert statuses(record) == statuses(expected), _name
        assert scene.state() == whole.state(), _name
        assert scene.left_over() == [], _name
        assert set(scene.database.installed()) == set(whole.database.installed()), _name
        scene.database.close()
    whole.database.close()


async def test_killed_again_and_again_it_gives_up_and_brings_all_back(scene: Scene) -> None:
    before = scene.state()

    def die(step: str) -> None:
        if step == "confirm changed":
            raise Killed(step)

    for _ in range(STARTS):
        with pytest.raises(Killed):
            await scene.run(boundary=die)
        assert scene.state() != before
        scene.restart()
    record = await scene.run(boundary=die)
    assert record.status == "FAIL"
    assert "processes have ended while its models were changed" in record.message
    assert (scene.state(), scene.left_over()) == (before, [])


async def test_without_its_journal_a_kill_leaves_it_between(tmp_path: Path) -> None:
    """The negative control: a deployer that forgets what it has begun ends in neither state."""
    scene = Scene(tmp_path)
    before = scene.state()

    def die(step: str) -> None:
        if step == "withdraw leaving":
            raise Killed(step)

    with pytest.raises(Killed):
        await scene.run(boundary=die)
    scene.database.close()
    scene.file.unlink()
    assert scene.state() != before
    assert scene.repository.present() == {"changed": "2", "leaving": "1"}
    assert scene.left_over() != []
