"""One deployment, step by step: each step is in the database before it is taken, and may be taken again.

    FETCHING > CHANGING > ACCEPTING > DONE
                   └────> RESTORING > DONE

Until CHANGING nothing has changed. A process that ends in it goes on with it at its next start; one that has ended so a
few times brings the models back instead. Once ACCEPTING or RESTORING is in the database it is decided.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from lineside.errors import LinesideError
from lineside_deployer.artefacts import Artefact, Artefacts
from lineside_deployer.database import Database
from lineside_deployer.desired.document import Definition
from lineside_deployer.errors import PackageRefused, PackageWrong
from lineside_deployer.records import Installed, ModelRecord, Phase, Record
from lineside_deployer.repository import Repository

log = structlog.get_logger("lineside.deployer")

STARTS = 3
"""So many processes may begin to change a deployment's models; the one after them brings them back."""


class Transaction:
    """Carries a deployment out. `boundary` is told the name of each step before it is taken: tests end there."""

    def __init__(
        self,
        record: Record,
        database: Database,
        repository: Repository,
        artefacts: Artefacts,
        *,
        now: Callable[[], float] = time.time,
        boundary: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self.record = record
        self._database = database
        self._repository = repository
        self._artefacts = artefacts
        self._now = now
        self._boundary = boundary
        self._packages: dict[str, Artefact] = {}

    async def run(self) -> None:
        """Bring it to its end. Raises PackageAway where a package cannot be had now: nothing has changed then."""
        if self.record.phase is Phase.FETCHING:
            await self._fetch()
        elif self.record.phase is Phase.CHANGING:
            await self._go_on()
        if self.record.phase is Phase.CHANGING:
            await self._change()
        if self.record.phase is Phase.ACCEPTING:
            await self._accept()
        if self.record.phase is Phase.RESTORING:
            await self._restore()

    async def _fetch(self) -> None:
        self._save("begin")
        for model in self.record.models:
            if model.action != "install" or model.status == "FAIL":
                continue
            self._boundary(f"fetch {model.handle}")
            try:
                await self._get(model)
            except PackageWrong as error:
                self._fail(model, error)
                self.record.may_retry |= isinstance(error, PackageRefused)
                if self._rolls_back:
                    self._end()
                    return
        self.record.phase = Phase.CHANGING
        self.record.starts = 1
        self._save("decide to change")

    async def _go_on(self) -> None:
        """Begin anew where another process ended in the middle."""
        self.record.starts += 1
        log.warning(
            "a deployment goes on where a process ended", deployment=self._name, starts=self.record.starts, most=STARTS
        )
        if self.record.starts > STARTS:
            why = f"{STARTS} processes have ended while its models were changed"
            for model in self._to_change():
                self._fail(model, why)
            self.record.phase = Phase.RESTORING
        self._save("go on")

    async def _change(self) -> None:
        for model in self._to_change():
            try:
                await self._change_one(model)
            except LinesideError as error:
                if error.transient and not isinstance(error, PackageWrong) and not model.is_changed:
                    raise
                self._fail(model, error)
                if self._rolls_back:
                    self.record.phase = Phase.RESTORING
                    self._save("decide to restore")
                    return
            self._save(f"changed {model.handle}")
        self.record.phase = Phase.ACCEPTING
        self._save("decide to accept")

    async def _change_one(self, model: ModelRecord) -> None:
        handle = model.handle
        package = await self._get(model) if model.action == "install" else None
        self._boundary(f"keep {handle}")
        await self._repository.keep(handle)
        model.is_changed = True
        self._save(f"kept {handle}")
        if package is not None:
            self._boundary(f"install {handle}")
            version = await self._repository.install(handle, package.package, package.bundle)
            self._boundary(f"confirm {handle}")
            model.needed = tuple(dict.fromkeys((version, *await self._repository.confirm(handle))))
            model.version = version
        else:
            self._boundary(f"withdraw {handle}")
            await self._repository.withdraw(handle)
            self._boundary(f"gone {handle}")
            await self._repository.gone(handle)
            model.version = None
        model.status = "SUCCESS"

    async def _accept(self) -> None:
        for model in self._changed():
            self._boundary(f"accept {model.handle}")
            try:
                if model.status == "SUCCESS" and model.desired == "DEPLOY":
                    await self._repository.accept(model.handle, model.needed)
                await self._repository.settle(model.handle)
            except LinesideError as error:  # it serves as was wanted; what lies beside it costs only room
                log.warning("what is needed no more stays", model=model.handle, reason=str(error))
        self._end()

    async def _restore(self) -> None:
        for model in reversed(self._changed()):
            self._boundary(f"restore {model.handle}")
            try:
                model.version = await self._repository.restore(model.handle)
                self._boundary(f"confirm restored {model.handle}")
                if model.version is not None:
                    await self._repository.confirm(model.handle)
                else:
                    await self._repository.gone(model.handle)
                await self._repository.settle(model.handle)
            except LinesideError as error:
                model.rollback_failure = str(error)
                log.error("a model is not as it was", model=model.handle, reason=str(error))  # noqa: TRY400 - foreseen
            if model.status != "FAIL":
                model.status, model.reason = "FAIL", "brought back, for another model of the deployment failed"
            self._save(f"restored {model.handle}")
        self._end()

    async def _get(self, model: ModelRecord) -> Artefact:
        if model.handle not in self._packages:
            definition = self._definition(model)
            self._packages[model.handle] = await asyncio.to_thread(self._artefacts.get, definition)
        return self._packages[model.handle]

    def _definition(self, model: ModelRecord) -> Definition:
        return next(each for each in self.record.deployment.Definitions if each.ModelHandle == model.handle)

    def _to_change(self) -> Sequence[ModelRecord]:
        return [each for each in self.record.models if each.action != "none" and not each.status]

    def _changed(self) -> list[ModelRecord]:
        return [each for each in self.record.models if each.is_changed]

    @property
    def _name(self) -> str:
        return self.record.deployment.DeploymentName

    @property
    def _rolls_back(self) -> bool:
        return self.record.deployment.FailureHandlingPolicy == "ROLLBACK_ON_FAILURE"

    def _fail(self, model: ModelRecord, why: Exception | str) -> None:
        model.status, model.reason = "FAIL", str(why)
        log.error("a model is not deployed", deployment=self._name, model=model.handle, reason=str(why))

    def _end(self) -> None:
        """Say what became of each model, and what deployments have brought; all at once."""
        failed = [each for each in self.record.models if each.status == "FAIL"]
        for model in self.record.models:
            if model.status:
                continue
            if failed and self._rolls_back:
                model.status, model.reason = "FAIL", "nothing was changed, for another model of the deployment failed"
            else:
                model.status = "SUCCESS"
        self.record.phase = Phase.DONE
        self.record.ended = self._now()
        done = [each for each in self.record.models if each.status == "SUCCESS"]
        brought = [
            Installed(handle=each.handle, checksum=each.checksum, version=each.version or "", deployment=self._name)
            for each in done
            if each.desired == "DEPLOY"
        ]
        self._boundary("end")
        self._database.finish(self.record, brought, [each.handle for each in done if each.desired == "UNDEPLOY"])
        self._boundary("ended")
        log.info("deployment", name=self._name, status=self.record.status, message=self.record.message)

    def _save(self, step: str) -> None:
        self._boundary(f"save: {step}")
        self._database.save(self.record)
        self._boundary(f"saved: {step}")
