"""Of the `lineside` command only what is asked for is loaded, and help knows all."""

import pytest

from lineside.cli import OWN, _commands


@pytest.mark.parametrize("name", [*OWN, "fleet", "bench", "opcua"])
def test_a_command_that_is_named_is_loaded_alone(name: str) -> None:
    commands = _commands([name, "--help"])
    assert list(commands) == [name]
    assert callable(commands[name]())


@pytest.mark.parametrize("given", [[], ["--help"], ["--help", "fleet"], ["--version"], ["flet"]])
def test_where_none_is_named_all_are_known(given: list[str]) -> None:
    assert {*OWN, "fleet", "bench", "opcua"} <= set(_commands(given))
