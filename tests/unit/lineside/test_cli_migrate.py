"""`lineside migrate`: what it takes for a file of Edge Manager's, its verdicts, and the settings file that it makes."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lineside.cli import config, migrate
from lineside.cli.migrate.source import COMPONENT_KEYS, recognised
from lineside.cli.migrate.verdicts import Verdict, judge
from lineside.edge_manager.agent_file import NAMES, WITHOUT_EFFECT
from lineside.greengrass.configuration import EDGE_MANAGER
from lineside.settings import load
from lineside_inference.settings import Settings
from tests.support.paths import ROOT

SAMPLES = sorted((ROOT / "tests/fixtures/edge_manager").iterdir())
RIGHT = {"DeviceFleetName": "plant", "BucketName": "sagemaker-plant"}


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(migrate.app, [str(each) for each in arguments])


def written(folder: Path, document: Any) -> Path:
    path = folder / "given.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def verdict(key: str, value: Any, **others: Any) -> Verdict:
    return next(one for one in judge(recognised(RIGHT | {key: value} | others)) if one.key == key)


def agents(key: str, value: Any) -> Verdict:
    document = {"sagemaker_edge_core_device_fleet_name": "plant", key: value}
    return next(one for one in judge(recognised(document)) if one.key == key)


@pytest.mark.parametrize(
    "document",
    [
        RIGHT,
        {
            "components": {
                EDGE_MANAGER: {"componentVersion": "1.3.6", "configurationUpdate": {"merge": json.dumps(RIGHT)}}
            }
        },
        {"components": {EDGE_MANAGER: {"configurationUpdate": {"merge": RIGHT}}, "com.example.Other": {}}},
        {EDGE_MANAGER: {"MERGE": RIGHT, "RESET": ["/FolderPrefix"]}},
        {"configurationUpdate": {"merge": json.dumps(RIGHT), "reset": []}},
        {"merge": RIGHT},
        {"MERGE": RIGHT},
    ],
)
def test_a_configuration_is_found_in_every_form_of_a_deployment(document: dict[str, Any]) -> None:
    source = recognised(document)
    assert (source.kind, dict(source.keys)) == ("component", RIGHT)


def test_a_deployments_version_and_resets_are_kept() -> None:
    source = recognised({"components": {EDGE_MANAGER: {"componentVersion": "1.3.6", "reset": ["/DbEnable"]}}})
    assert (source.version, source.resets) == ("1.3.6", ("/DbEnable",))


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "not JSON"),
        ("a: b: c", "not YAML"),
        ("[]", "expected a group of names and values"),
        ({"components": {"com.example.Other": {}}}, f"a deployment without {EDGE_MANAGER}"),
        ({"components": {EDGE_MANAGER: {"configurationUpdate": {"merge": "{"}}}}, "the text of merge: not JSON"),
        ({"components": {EDGE_MANAGER: {"configurationUpdate": {"merge": []}}}}, "merge: expected names and values"),
        ({"components": {EDGE_MANAGER: "1.3.6"}}, "expected a group of names and values"),
        ({"inference": {}}, "nothing of SageMaker Edge Manager"),
        ('{"DeviceFleetName": "a", "DeviceFleetName": "b"}', "given twice"),
    ],
)
@pytest.mark.parametrize("command", ["check", "convert"])
def test_what_is_none_of_edge_managers_is_exit_2(tmp_path: Path, command: str, document: Any, says: str) -> None:
    done = run(command, written(tmp_path, document))
    assert done.exit_code == 2
    assert says in done.stderr


def test_a_file_that_is_not_there_or_no_text_is_exit_2(tmp_path: Path) -> None:
    assert run("check", tmp_path / "none.json").exit_code == 2
    (tmp_path / "image.json").write_bytes(b"\xff\xd8\xff")
    done = run("check", tmp_path / "image.json")
    assert (done.exit_code, "UTF-8" in done.stderr) == (2, True)


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    (tmp_path / "dos.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(RIGHT).encode())
    assert run("check", tmp_path / "dos.json").exit_code == 0


@pytest.mark.parametrize(
    ("key", "value", "says", "needs_a_hand"),
    [
        ("DeviceFleetName", "plant", "same", False),
        ("BucketName", "sagemaker-plant", "same", False),
        ("BucketName", "plant-evidence", "changed", False),
        ("BucketName", "s3://plant", "wrong", True),
        ("CaptureDataBatchSize", "10", "same", False),
        ("CaptureDataBatchSize", 30, "same", False),
        ("CaptureDataBatchSize", 31, "wrong", True),
        ("CaptureDataBufferSize", "40", "changed", False),
        ("CaptureDataDestination", "Cloud", "changed", False),
        ("CaptureDataDestination", "disk", "same", False),
        ("CaptureDataPeriodicUpload", "true", "ignored", False),
        ("CaptureDataPeriodicUpload", "false", "same", False),
        ("CaptureDataPeriodicUploadPeriodSeconds", 8, "same", False),
        ("CaptureDataPushPeriodSeconds", 4.0, "same", False),
        ("CaptureDataBase64EmbedLimit", 20, "same", False),
        ("CaptureDataBase64EmbedLimit", 4096, "changed", False),
        ("CaptureDataBase64EmbedLimit", 0, "wrong", True),
        ("FolderPrefix", "", "same", False),
        ("FolderPrefix", "/a", "wrong", True),
        ("CaptureDataDiskPath", "/data/capture", "same", True),
        ("LocalDataRootPath", "/data", "changed", True),
        ("DbEnable", "true", "changed", False),
        ("DbEnable", False, "changed", False),
        ("DeploymentEnable", "true", "wrong", True),
        ("DeploymentEnable", False, "same", False),
        ("DeploymentPollInterval", 60, "ignored", False),
        ("DLRBackendOptions", "TVM_TENSORRT_CACHE_DIR=/a", "changed", True),
        ("DLRBackendOptions", "TVM_TENSORRT_USE_FP16=1", "ignored", False),
        ("DLRBackendOptions", "", "same", False),
        ("DLRBackendOptions", "fast", "wrong", True),
        ("SagemakerEdgeLogVerbose", "true", "same", False),
        ("SagemakerEdgeLogVerbose", "on", "wrong", True),
        ("UnixSocketName", "/tmp/agent.sock", "same", False),
        ("UnixSocketName", "/run/edge/agent.sock", "same", True),
        ("UnixSocketName", "/" + "s" * 108, "wrong", True),
        ("ModelBucket", "x", "ignored", False),
    ],
)
def test_the_verdict_of_each_key(key: str, value: Any, says: str, needs_a_hand: bool) -> None:
    found = verdict(key, value)
    assert (found.says, bool(found.todo)) == (says, needs_a_hand)
    assert found.what


def test_deployments_by_edge_manager_need_a_hand() -> None:
    found = verdict("DeploymentEnable", "true", DbEnable="true")
    assert (found.says, "deployer.desired" in found.todo) == ("changed", True)
    assert verdict("DeploymentPollInterval", 60, DeploymentEnable="true", DbEnable="true").says == "same"


def test_periodic_upload_with_destination_disk_is_another_thing() -> None:
    assert verdict("CaptureDataPeriodicUpload", "true", CaptureDataDestination="Disk").says == "changed"


def test_what_is_missing_has_a_verdict_by_its_name_in_the_file() -> None:
    (fleet,) = [one for one in judge(recognised({"BucketName": "sagemaker-x"})) if one.key == "DeviceFleetName"]
    assert (fleet.says, fleet.todo) == ("wrong", "Give DeviceFleetName")
    judged = judge(recognised({"sagemaker_edge_core_capture_data_batch_size": 1}))
    assert judged[-1].todo == "Give sagemaker_edge_core_device_fleet_name"


@pytest.mark.parametrize(
    ("key", "value", "says", "needs_a_hand"),
    [
        ("sagemaker_edge_core_device_name", "press-7", "same", False),
        ("sagemaker_edge_core_region", "us-west-2", "same", False),
        ("sagemaker_edge_core_region", "", "same", False),
        ("sagemaker_edge_core_folder_prefix", "", "same", False),
        ("sagemaker_edge_provider_provider", "Aws", "same", False),
        ("sagemaker_edge_provider_provider", "None", "changed", False),
        ("sagemaker_edge_provider_provider", "Custom", "ignored", True),
        ("sagemaker_edge_provider_aws_cert_file", "/a.pem", "ignored", True),
        ("sagemaker_edge_provider_aws_cert_file", "", "ignored", False),
        ("sagemaker_edge_core_root_certs_path", "/a", "ignored", True),
        ("sagemaker_edge_core_root_certs_path", "", "ignored", False),
        ("sagemaker_edge_db_module_path", "/lib/db.so", "changed", False),
        ("sagemaker_edge_core_capture_data_batch_size", "ten", "wrong", True),
        ("sagemaker_edge_strange", 1, "ignored", False),
    ],
)
def test_the_verdict_of_each_of_the_agents_names(key: str, value: Any, says: str, needs_a_hand: bool) -> None:
    found = agents(key, value)
    assert (found.says, bool(found.todo)) == (says, needs_a_hand)


def test_every_known_name_has_a_verdict_of_its_own() -> None:
    everything = recognised(dict.fromkeys((*NAMES, *WITHOUT_EFFECT), ""))
    assert "not a key of Edge Manager" not in " ".join(one.what for one in judge(everything))
    for key in COMPONENT_KEYS:
        assert "not a key of Edge Manager" not in verdict(key, "x").what


def test_two_names_that_differ_need_a_hand() -> None:
    document = {"sagemaker_edge_core_device_name": "a", "sagemaker_edge_core_device_uuid": "b"}
    found = judge(recognised(document | {"sagemaker_edge_core_device_fleet_name": "plant"}))
    assert [one.todo for one in found if one.says == "wrong"] == ["Give one of them"]


@pytest.mark.parametrize(
    ("document", "status"),
    [(RIGHT, 0), (RIGHT | {"BucketName": "s3://a"}, 1), ({"DeviceFleetName": "plant"}, 1)],
)
def test_the_exit_status_says_whether_it_needs_a_hand(tmp_path: Path, document: Any, status: int) -> None:
    file = written(tmp_path, document)
    assert run("check", file).exit_code == status
    told = run("check", file, "--json")
    assert told.exit_code == status
    assert (json.loads(told.stdout)["needs_a_hand"] > 0) is bool(status)


def test_json_has_each_key_with_its_verdict(tmp_path: Path) -> None:
    document = {"components": {EDGE_MANAGER: {"componentVersion": "1.3.6", "merge": RIGHT | {"DbEnable": "true"}}}}
    told = json.loads(run("check", written(tmp_path, document), "--json").stdout)
    assert (told["kind"], told["component_version"]) == ("component", "1.3.6")
    assert [(one["key"], one["verdict"], one["todo"]) for one in told["keys"]] == [
        ("DeviceFleetName", "same", None),
        ("BucketName", "same", None),
        ("DbEnable", "changed", None),
    ]
    assert told["notes"]


def test_a_value_cannot_steer_the_terminal(tmp_path: Path) -> None:
    done = run("check", written(tmp_path, RIGHT | {"Name\x1b[2J": "\x1b[31m"}))
    assert "\x1b" not in done.output


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
@pytest.mark.parametrize("form", ["component.json", "agent.json"])
def test_what_it_makes_is_what_the_services_take(tmp_path: Path, sample: Path, form: str) -> None:
    made = run("convert", sample / form, "--spool", tmp_path / "spool")
    assert made.exit_code == 0, made.output
    path = tmp_path / "settings.yaml"
    path.write_text(made.stdout)
    checked = CliRunner().invoke(config.app, ["check", str(path)])
    assert checked.exit_code == 0, checked.output
    settings, wanted = load(Settings, file=path), load(Settings, file=sample / "settings.yaml")
    ours = (
        settings.edge_manager
        if form == "agent.json"
        else settings.edge_manager.model_copy(update={"region": wanted.edge_manager.region})
    )
    assert ours == wanted.edge_manager
    assert settings.spool.folder == tmp_path / "spool"
    assert form == "component.json" or settings.thing == wanted.thing


def test_nothing_is_made_of_a_wrong_value(tmp_path: Path) -> None:
    done = run("convert", written(tmp_path, RIGHT | {"CaptureDataBatchSize": "ten"}))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "CaptureDataBatchSize: expected a whole number" in done.stderr
