"""A configuration of Edge Manager means the same as a component's, as our settings file, and as an agent's file.

The samples in `tests/fixtures/edge_manager` are made after public ones; the first is the component's documentation's.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineside.edge_manager.agent_file import NAMES
from lineside.errors import SettingsError
from lineside.greengrass.changes import Change, change
from lineside.greengrass.configuration import EDGE_MANAGER, layer
from lineside.settings import load
from lineside_forwarder.settings import Settings as ForwarderProcess
from lineside_inference.settings import Settings
from tests.support.paths import ROOT

SAMPLES = sorted((ROOT / "tests/fixtures/edge_manager").iterdir())


def effective(settings: Settings) -> dict[str, Any]:
    return {"thing": settings.thing, "edge_manager": settings.edge_manager.model_dump(mode="json")}


def as_component(configuration: dict[str, Any], thing: str) -> Settings:
    return load(Settings, above=layer(Settings, EDGE_MANAGER, {"thing": thing} | configuration))


def as_agent(path: Path, **document: Any) -> Settings:
    path.write_text(json.dumps(document))
    return load(Settings, file=path)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_all_three_forms_give_the_same_settings(sample: Path, golden: Callable[[str, str], None]) -> None:
    own = effective(load(Settings, file=sample / "settings.yaml"))
    component = as_component(json.loads((sample / "component.json").read_text()), own["thing"])
    assert effective(component) == own
    assert effective(load(Settings, file=sample / "agent.json")) == own
    assert load(ForwarderProcess, file=sample / "agent.json").edge_manager == component.edge_manager
    golden(f"edge_manager/{sample.name}.json", json.dumps(own, indent=2) + "\n")


def test_every_name_of_the_agent_stands_in_a_sample() -> None:
    given = {name for sample in SAMPLES for name in json.loads((sample / "agent.json").read_text())}
    assert set(NAMES) <= given


def test_what_nobody_knows_is_read_over_and_said_once(tmp_path: Path) -> None:
    fleet = {"sagemaker_edge_core_device_fleet_name": "plant"}
    agent = as_agent(tmp_path / "agent.json", **fleet, sagemaker_edge_x=1, sagemaker_edge_provider_provider="None")
    assert agent.remarks() == [f"{tmp_path / 'agent.json'}: ignored, for nothing here knows them: sagemaker_edge_x"]
    component = {"DeviceFleetName": "plant", "CaptureDataDestination": "Disk", "Strange": 1, "AndMore": {"a": 1}}
    assert as_component(component, "box").remarks() == [
        f"configuration of {EDGE_MANAGER}: ignored, for nothing here knows them: Strange, AndMore"
    ]


def test_of_what_looks_like_a_key_edge_managers_component_reads_over_what_another_refuses() -> None:
    slip = {"DeviceFleetName": "plant", "CaptureDataDestination": "Disk", "BucketNam": "b"}
    assert as_component(slip, "box").remarks()[0].endswith("nothing here knows them: BucketNam")
    with pytest.raises(SettingsError, match="BucketNam: not a setting; did you mean 'BucketName'"):
        load(Settings, above=layer(Settings, "com.lineside.Inference", {"BucketNam": "b"}))


def test_another_component_takes_edge_managers_keys_and_serves_nothing() -> None:
    given = {"DeviceFleetName": "plant", "CaptureDataBatchSize": "5"}
    settings = load(Settings, above=layer(Settings, "com.lineside.Inference", given)).edge_manager
    assert (settings.DeviceFleetName, settings.CaptureDataBatchSize, settings.serve) == ("plant", 5, False)


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        ({}, "DeviceFleetName: must be given"),
        ({"DeviceFleetName": "plant"}, "BucketName: must be given"),
        ({"DeviceFleetName": " ", "BucketName": "sagemaker-x"}, "DeviceFleetName: expected letters and digits"),
        ({"DeviceFleetName": "p", "BucketName": "sagemaker-x", "CaptureDataBatchSize": "ten"}, "CaptureDataBatchSize:"),
        ({"DeviceFleetName": "p", "BucketName": "sagemaker-x", "SagemakerEdgeLogVerbose": "on"}, "true or false"),
    ],
)
def test_the_component_refuses_what_edge_manager_refused(configuration: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        as_component(configuration, "box")
    (problem,) = raised.value.problems
    assert problem.startswith(f"configuration of {EDGE_MANAGER}: ")
    assert says in problem


def test_the_verbose_switch_needs_no_new_start() -> None:
    given = {"DeviceFleetName": "plant", "CaptureDataDestination": "Disk"}
    quiet, verbose = as_component(given, "box"), as_component(given | {"SagemakerEdgeLogVerbose": "true"}, "box")
    assert (quiet.log_level, verbose.log_level) == ("info", "debug")
    assert change(quiet, verbose) == Change(at_once=("edge_manager.SagemakerEdgeLogVerbose",))
    assert change(quiet, as_component(given | {"CaptureDataBatchSize": "5"}, "box")).anew


def test_a_wrong_value_is_told_by_the_agents_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        as_agent(
            tmp_path / "agent.json",
            sagemaker_edge_core_device_fleet_name="plant",
            sagemaker_edge_core_capture_data_batch_size="ten",
        )
    assert "sagemaker_edge_core_capture_data_batch_size: expected a whole number (got 'ten')" in str(raised.value)


def test_two_names_of_one_setting_must_agree(tmp_path: Path) -> None:
    same = {"sagemaker_edge_core_device_name": "a", "sagemaker_edge_core_device_fleet_name": "plant"}
    assert as_agent(tmp_path / "agent.json", **same, sagemaker_edge_core_device_uuid="a").thing == "a"
    with pytest.raises(SettingsError, match="device_uuid is 'b' and sagemaker_edge_core_device_name is 'a'"):
        as_agent(tmp_path / "agent.json", **same, sagemaker_edge_core_device_uuid="b")


def test_our_own_names_go_before_the_agents(tmp_path: Path) -> None:
    settings = as_agent(
        tmp_path / "agent.json",
        sagemaker_edge_core_device_name="a",
        sagemaker_edge_core_device_fleet_name="plant",
        sagemaker_edge_core_capture_data_batch_size="ten",
        thing="b",
        spool={"folder": "/var/lib/lineside/spool"},
        edge_manager={"serve": False, "CaptureDataBatchSize": 5},
    )
    assert (settings.thing, settings.edge_manager.serve, settings.edge_manager.CaptureDataBatchSize) == ("b", False, 5)
    assert settings.spool.folder == Path("/var/lib/lineside/spool")


@pytest.mark.parametrize("group", [None, "off", []])
def test_a_group_that_is_none_is_said_as_such(tmp_path: Path, group: Any) -> None:
    with pytest.raises(SettingsError, match="edge_manager: expected a group"):
        as_agent(tmp_path / "agent.json", sagemaker_edge_core_device_fleet_name="plant", edge_manager=group)
