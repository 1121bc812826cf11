"""Which changes of the settings a running service takes, and which end it."""

from typing import Any, ClassVar

import pytest
from pydantic import Field

from lineside.contract import Policy
from lineside.greengrass.changes import AT_ONCE, Change, change, differences
from lineside.settings import BusTlsSettings, Section, Settings


class Own(Section):
    policy: Policy = Field(default_factory=Policy, description="What the operator chose.")
    policies: int = Field(1, description="A name that begins alike.")
    rooms: dict[str, BusTlsSettings] = Field(default_factory=dict, description="By name.")


class Sample(Settings):
    section: ClassVar[str] = "inference"

    inference: Own = Field(default_factory=Own, description="The subject.")


QUICK = AT_ONCE | {"inference.policy"}


@pytest.mark.parametrize(
    ("new", "at_once", "anew"),
    [
        ({}, (), ()),
        ({"log": {"level": "debug"}}, ("log.level",), ()),
        ({"bus": {"host": "other"}}, (), ("bus.host",)),
        ({"bus": {"tls": {}}}, (), ("bus.tls",)),
        ({"inference": {"policy": {"enabled": False}}}, ("inference.policy.enabled",), ()),
        ({"inference": {"policy": {"capture": {"rate": 0.5}}}}, ("inference.policy.capture.rate",), ()),
        ({"inference": {"policies": 2}}, (), ("inference.policies",)),
        ({"inference": {"rooms": {"a": {}}}}, (), ("inference.rooms",)),
        (
            {"thing": "x", "log": {"level": "error", "format": "json"}, "bus": {"port": 1}},
            ("log.level",),
            ("thing", "bus.port", "log.format"),
        ),
    ],
)
def test_a_setting_that_differs_is_applied_or_ends_the_service(
    new: dict[str, Any], at_once: tuple[str, ...], anew: tuple[str, ...]
) -> None:
    assert change(Sample(), Sample(**new), QUICK) == Change(at_once, anew)
    assert change(Sample(**new), Sample(), QUICK) == Change(at_once, anew)  # and back, as by a key that is removed


def test_without_a_service_that_takes_it_a_policy_needs_a_new_start() -> None:
    new = Sample(inference={"policy": {"thresholds": {"default": 0.9}}})
    found = change(Sample(), new)
    assert found == Change((), ("inference.policy.thresholds",))
    assert found.reason == (
        "the configuration changed inference.policy.thresholds: only a new start brings that into force"
    )
    assert change(Sample(), Sample()).reason == ""


def test_the_same_said_in_another_way_is_no_difference() -> None:
    assert list(differences(Sample(bus={"port": 1884}), Sample(bus={"port": "1884.0"}))) == []
