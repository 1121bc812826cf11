"""What a component asks and tells the nucleus about itself, and what comes of answers that are none."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from lineside.greengrass.errors import ConnectionEnded, NotFound, Refused
from lineside.greengrass.nucleus import ComponentNucleus


class Client:
    """A client whose nucleus answers everything with one thing, or with nothing at all."""

    def __init__(self, answer: Any = None, *, is_silent: bool = False) -> None:
        self.component = SimpleNamespace(name="com.lineside.Test")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.listener: Any = None
        self._answer = answer
        self._is_silent = is_silent

    def ask(self, operation: str, **fields: Any) -> Future[Any]:
        self.asked.append((operation, fields))
        future: Future[Any] = Future()
        if isinstance(self._answer, Exception):
            future.set_exception(self._answer)
        elif not self._is_silent:
            future.set_result(self._answer)
        return future

    def listen(self, operation: str, listener: Any, **fields: Any) -> Future[Any]:
        self.listener = listener
        return self.ask(operation, **fields)

    def shape(self, name: str, **fields: Any) -> Any:
        return name, fields


def test_a_component_without_configuration_has_none_of_its_settings() -> None:
    assert ComponentNucleus(Client(NotFound("Key not found"))).configuration() == {}
    assert ComponentNucleus(Client(SimpleNamespace(value=None))).configuration() == {}
    assert ComponentNucleus(Client(SimpleNamespace(value={"a": "1"}))).configuration() == {"a": "1"}


def test_a_number_that_cannot_be_delivered_is_said_with_what_to_do() -> None:
    broken = Refused("the Greengrass nucleus answers GetConfiguration with DeserializeError: Failed to deserialize")
    with pytest.raises(Refused, match=r"configuration of com.lineside.Test cannot be read: .* write it as text"):
        ComponentNucleus(Client(broken)).configuration()
    with pytest.raises(Refused, match=r"^no$"):
        ComponentNucleus(Client(Refused("no"))).configuration()


def test_a_nucleus_that_does_not_answer_counts_as_gone() -> None:
    nucleus = ComponentNucleus(Client(is_silent=True), answer_s=0)
    for call in (nucleus.configuration, nucleus.running, lambda: nucleus.on_change(lambda: None)):
        with pytest.raises(ConnectionEnded, match="did not answer"):
            call()


def test_changes_are_told_also_where_one_could_not_be_read() -> None:
    client, told = Client(), []
    ComponentNucleus(client).on_change(lambda: told.append(1))
    client.listener.event(SimpleNamespace())
    client.listener.unreadable("broken")
    client.listener.closed()
    assert len(told) == 2
    ComponentNucleus(Client(NotFound("no configuration"))).on_change(lambda: None)


def test_proposals_are_told_where_the_nucleus_makes_some() -> None:
    client, told = Client(), []
    assert ComponentNucleus(client).on_proposal(told.append)
    proposed = SimpleNamespace(deployment_id="one", configuration={"a": 1})
    client.listener.event(SimpleNamespace(validate_configuration_update_event=proposed))
    client.listener.event(SimpleNamespace(validate_configuration_update_event=None))
    assert [(each.deployment, each.configuration) for each in told] == [("one", {"a": 1})]
    assert not ComponentNucleus(Client(Refused("no such operation"))).on_proposal(told.append)


def test_a_judgement_says_all() -> None:
    client = Client()
    nucleus = ComponentNucleus(client)
    nucleus.judge("one", [])
    nucleus.judge("two", ["a is wrong", "b is wrong"])
    reports = [fields["configuration_validity_report"][1] for _operation, fields in client.asked]
    assert [(each["deployment_id"], each["status"], each["message"]) for each in reports] == [
        ("one", "ACCEPTED", None),
        ("two", "REJECTED", "a is wrong\nb is wrong"),
    ]
