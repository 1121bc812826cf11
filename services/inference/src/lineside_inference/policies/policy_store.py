"""The policy in force: replaced whole or not at all, kept before it counts, with a tag that says which one it is."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from lineside.contract import Policy, to_json
from lineside.errors import LinesideError
from lineside.policy_documents import PolicyFaults, read_policy
from lineside_inference.dataplane.workers import SMALL
from lineside_inference.errors import PolicyChanged, PolicyRefused, StoreError
from lineside_inference.models.store import ModelStore
from lineside_inference.policies.carrying import carry
from lineside_inference.policies.policy_file import Kept, PolicyFile

log = structlog.get_logger("lineside.inference.policy")


def policy_counter(registry: CollectorRegistry | None) -> Counter:
    """Make what counts the policies."""
    return Counter(
        "lineside_inference_policy_changes_total",
        "Policies given, by what came of them: applied or refused.",
        ["outcome"],
        registry=registry,
    )


class PolicyStore:
    """Holds the policy; `apply` is called with each new one, the first too. `settings` is the settings' policy."""

    def __init__(
        self,
        policy: Policy,
        store: ModelStore,
        file: PolicyFile,
        registry: CollectorRegistry | None = None,
        *,
        settings: Policy | None = None,
    ) -> None:
        self.current = policy
        self._settings = settings
        self.etag = etag(policy)
        self.apply: Callable[[Policy], None] = lambda _policy: None
        self._store = store
        self._file = file
        self._turn = asyncio.Lock()
        self._changes = policy_counter(registry)
        Gauge(
            "lineside_inference_policy_enabled", "1 while the policy in force lets parts be judged.", registry=registry
        ).set_function(lambda: float(self.current.enabled))

    async def put(self, payload: bytes, if_match: str | None = None) -> Policy:
        """Put a policy given as JSON into force and return it.

        Raises PolicyRefused with everything that is wrong, PolicyChanged where `if_match` (an If-Match header) names
        another policy, StateNotKept where it cannot be kept; the one in force stays then.
        """
        try:
            async with self._turn:
                self._check_match(if_match)
                policy = await self.check(payload)
                await self._replace(policy)
        except LinesideError as error:
            self._changes.labels("refused").inc()
            log.warning("policy refused", code=error.code, reason=error.what[:600])
            raise
        return policy

    async def check(self, payload: bytes) -> Policy:
        """Return a policy given as JSON that could be put into force; raises PolicyRefused with everything wrong."""
        policy = await asyncio.to_thread(read, payload) if len(payload) > SMALL else read(payload)
        if problems := await asyncio.to_thread(self._store.problems, policy):
            raise PolicyRefused(problems)
        return policy

    async def problems(self, settings: Policy) -> list[str]:
        """Return everything that stands against another policy in the settings."""
        return await asyncio.to_thread(self._store.problems, self._carried(settings))

    async def configure(self, settings: Policy) -> None:
        """Put into force what changed in the settings' policy while the service runs; `problems` comes first.

        Raises StateNotKept where it cannot be kept; the one in force stays then.
        """
        async with self._turn:
            policy, before = self._carried(settings), self._settings
            self._settings = settings
            try:
                await self._write(policy)
            except LinesideError:
                self._settings = before
                raise
            await self._replace(policy)

    def _carried(self, settings: Policy) -> Policy:
        return settings if self._settings is None else carry(self._settings, settings, self.current)

    async def pin(self, model: str, version: str) -> None:
        """Name in the policy a version that was put into force by hand, so that it stays over a restart."""
        async with self._turn:
            if self.current.models.get(model) != version:
                models = {**self.current.models, model: version}
                await self._replace(self.current.model_copy(update={"models": models}))

    async def keep(self) -> None:
        """Keep which versions are in force now; a disk that fails is said, the line goes on."""
        async with self._turn:
            try:
                await self._write(self.current)
            except LinesideError as error:
                log.error("the versions in force are not kept", reason=str(error))  # noqa: TRY400 - its words say it

    async def _replace(self, policy: Policy) -> None:
        tag = etag(policy)
        if tag != self.etag:
            await self._write(policy)
            log.info("policy", **{"etag": tag, **policy.model_dump()})
            self._changes.labels("applied").inc()
        self.current, self.etag = policy, tag
        self.apply(policy)

    async def _write(self, policy: Policy) -> None:
        in_force = {name: model.card.version for name, model in self._store.items()}
        await asyncio.to_thread(self._file.write, Kept(policy=policy, in_force=in_force, settings=self._settings))

    def _check_match(self, if_match: str | None) -> None:
        if if_match is None or if_match.strip() == "*":
            return
        if self.etag not in {tag.strip() for tag in if_match.split(",")}:
            raise PolicyChanged(
                f"the policy in force has ETag {self.etag}, If-Match says {if_match!r:.200}",
                remedy="Get /v1/policy again and change that",
            )


def start(policy: Policy, store: ModelStore, file: PolicyFile) -> Policy:
    """Return the policy to start with and put the versions into force that were so when the service stopped.

    The kept policy comes before the settings'; what changed in the settings' since it was kept is the newer choice. A
    kept one that names what is no longer there is set aside.
    Raises StoreError where the settings' policy is wrong, StateNotKept where the state folder cannot be used.
    """
    kept = file.read()
    if kept is not None:
        chosen = carry(kept.settings or policy, policy, kept.policy)
        try:
            versions = {**_named(chosen.models, store), **_named(kept.in_force, store)}
            store.check(chosen, versions)
            store.start_with(versions)
        except LinesideError as error:
            store.check(policy, policy.models)  # where the settings' are what is wrong, the kept one stays
            file.set_aside(str(error))
        else:
            return chosen
    store.check(policy, policy.models)
    try:
        store.start_with(policy.models)
    except LinesideError as error:
        raise StoreError(f"inference.policy.models: {error}") from None
    return policy


def etag(policy: Policy) -> str:
    """Return a policy's strong ETag: the same for the same choices, in whatever order they were given."""
    same = policy.model_copy(
        update={
            "thresholds": dict(sorted(policy.thresholds.items())),
            "models": dict(sorted(policy.models.items())),
        }
    )
    return f'"{hashlib.sha256(to_json(same)).hexdigest()[:32]}"'


def read(payload: bytes) -> Policy:
    """Read a policy from JSON; raises PolicyRefused with every fault."""
    try:
        return read_policy(payload)
    except PolicyFaults as error:
        raise PolicyRefused(error.faults) from None


def _named(versions: Mapping[str, str], store: ModelStore) -> dict[str, str]:
    return {name: version for name, version in versions.items() if name in store or name in store.out}
