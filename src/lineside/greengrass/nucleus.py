"""What a component asks and tells the nucleus about itself: its configuration, its state, what it thinks of a proposal.

Every call blocks until the nucleus has answered. None of them needs a policy in the recipe: they are about ourselves.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from typing import Any, TypeVar

import structlog

from lineside.greengrass.client import Client
from lineside.greengrass.errors import ConnectionEnded, NotFound, Refused
from lineside.greengrass.watch import Proposal

log = structlog.get_logger("lineside.greengrass")

ANSWER_S = 30.0
"""A nucleus that leaves a request unanswered for so long counts as gone."""

T = TypeVar("T")


class ComponentNucleus:
    """The nucleus, for the component that this process is. Its methods raise GreengrassError.

    Callbacks come on the SDK's thread: they must only hand over.
    """

    def __init__(self, client: Client, *, answer_s: float = ANSWER_S) -> None:
        self._client = client
        self._answer_s = answer_s

    @property
    def component(self) -> str:
        """The component's name."""
        return self._client.component.name

    @property
    def is_companion(self) -> bool:
        """Whether another process speaks for the component: tells its state, and judges proposals."""
        return self._client.component.is_companion

    def connect(self) -> None:
        """Connect, unless that is done."""
        self._client.connect()

    def when_ended(self, tell: Callable[[str], None]) -> None:
        """Have the connection's end told, with its reason."""
        self._client.when_ended(tell)

    def configuration(self) -> Mapping[str, Any]:
        """Return the component's configuration; empty where it has none.

        Raises Refused where it cannot be read as it stands: the SDK does not take a whole number of 19 digits from the
        lite nucleus, which sends its last digit as a NUL.
        """
        try:
            response = self._wait(self._client.ask("GetConfiguration", key_path=[]), "GetConfiguration")
        except NotFound:
            return {}
        except Refused as error:
            if "Deserialize" not in error.what:
                raise
            raise Refused(
                f"the configuration of {self.component} cannot be read: {error.what}",
                remedy="a number in it may have too many digits; write it as text, in quotes",
            ) from None
        value = response.value
        return value if isinstance(value, Mapping) else {}

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have each change of the configuration told from now on."""
        listener = _Listener(lambda _event: tell(), tell)
        try:
            self._wait(
                self._client.listen("SubscribeToConfigurationUpdate", listener, key_path=[]),
                "SubscribeToConfigurationUpdate",
            )
        except NotFound:
            log.info("this component has no configuration, so that no change of it will be told")

    def on_proposal(self, tell: Callable[[Proposal], None]) -> bool:
        """Have proposals of deployments told from now on; return False where this nucleus makes none (lite)."""

        def event(events: Any) -> None:
            proposed = events.validate_configuration_update_event
            if proposed is not None:
                tell(Proposal(proposed.deployment_id, proposed.configuration or {}))

        operation = "SubscribeToValidateConfigurationUpdates"
        try:
            self._wait(self._client.listen(operation, _Listener(event, lambda: None)), operation)
        except Refused:
            return False
        return True

    def judge(self, deployment: str, problems: Sequence[str]) -> None:
        """Answer a proposal: ACCEPTED without problems, else REJECTED with all of them."""
        report = self._client.shape(
            "ConfigurationValidityReport",
            status="REJECTED" if problems else "ACCEPTED",
            deployment_id=deployment,
            message="\n".join(problems) if problems else None,
        )
        operation = "SendConfigurationValidityReport"
        self._wait(self._client.ask(operation, configuration_validity_report=report), operation)

    def running(self) -> None:
        """Tell that the component runs."""
        self._wait(self._client.ask("UpdateState", state="RUNNING"), "UpdateState")

    def _wait(self, answer: "Future[T]", operation: str) -> T:
        try:
            return answer.result(self._answer_s)
        except NoAnswer:
            raise ConnectionEnded(
                f"the nucleus did not answer {operation} within {self._answer_s:g} s",
                remedy="see whether the nucleus runs, and its log",
            ) from None


class _Listener:
    """Hands events on; `missed` is called where one could not be read."""

    def __init__(self, event: Callable[[Any], None], missed: Callable[[], None]) -> None:
        self._event = event
        self._missed = missed

    def event(self, event: Any) -> None:
        self._event(event)

    def unreadable(self, reason: str) -> None:
        log.warning("an event of the nucleus could not be read", reason=reason)
        self._missed()

    def closed(self) -> None:
        """Say nothing: the end of the connection is told by itself."""
