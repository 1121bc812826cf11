"""The settings of Edge Manager's agent: defaults, forms, ranges and rules of the component's documentation."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lineside.edge_manager.settings import EdgeManagerSettings

SERVED = {"serve": True, "DeviceFleetName": "plant", "BucketName": "plant-sagemaker"}


def made(**fields: Any) -> EdgeManagerSettings:
    return EdgeManagerSettings.model_validate(fields)


def test_the_defaults_are_the_components() -> None:
    known = {name: value for name, value in made() if name[0].isupper()}
    assert known == {
        "DeviceFleetName": "lineside",
        "BucketName": None,
        "CaptureDataDestination": "Cloud",
        "CaptureDataDiskPath": None,
        "CaptureDataPeriodicUpload": False,
        "CaptureDataPeriodicUploadPeriodSeconds": 8,
        "CaptureDataBatchSize": 10,
        "CaptureDataBufferSize": 30,
        "CaptureDataPushPeriodSeconds": 4,
        "CaptureDataBase64EmbedLimit": 3072,
        "FolderPrefix": "sme-capture",
        "LocalDataRootPath": None,
        "DbEnable": False,
        "DeploymentEnable": False,
        "DeploymentPollInterval": 1440,
        "DLRBackendOptions": "",
        "SagemakerEdgeLogVerbose": False,
        "UnixSocketName": Path("/tmp/aws.greengrass.SageMakerEdgeManager.sock"),
    }


@pytest.mark.parametrize("ten", [10, 10.0, "10", "10.0", " 10 "])
@pytest.mark.parametrize("true", [True, "true", "True"])
def test_numbers_and_booleans_come_in_every_form(ten: Any, true: Any) -> None:
    settings = made(CaptureDataBatchSize=ten, DeploymentPollInterval=ten, DbEnable=true, SagemakerEdgeLogVerbose=true)
    assert (settings.CaptureDataBatchSize, settings.DeploymentPollInterval) == (10, 10)
    assert (settings.DbEnable, settings.SagemakerEdgeLogVerbose) == (True, True)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"DeviceFleetName": ""}, "DeviceFleetName"),
        ({"DeviceFleetName": "plant."}, "DeviceFleetName"),
        ({"DeviceFleetName": "p" * 64}, "DeviceFleetName"),
        ({"BucketName": "s3://sagemaker-plant"}, "the bucket's name alone, without s3://"),
        ({"CaptureDataDestination": "S3"}, "CaptureDataDestination"),
        ({"CaptureDataBatchSize": 0}, "CaptureDataBatchSize"),
        ({"CaptureDataBatchSize": True}, "expected a whole number"),
        ({"CaptureDataBatchSize": "ten"}, "CaptureDataBatchSize"),
        ({"CaptureDataBatchSize": 31}, "CaptureDataBatchSize is 31: must be less than CaptureDataBufferSize, 30"),
        ({"CaptureDataBase64EmbedLimit": 0}, "CaptureDataBase64EmbedLimit"),
        ({"CaptureDataBase64EmbedLimit": "-1"}, "CaptureDataBase64EmbedLimit"),
        ({"CaptureDataPushPeriodSeconds": 0}, "CaptureDataPushPeriodSeconds"),
        ({"CaptureDataPeriodicUpload": "yes"}, "expected true or false"),
        ({"SagemakerEdgeLogVerbose": "1"}, "expected true or false"),
        ({"FolderPrefix": "/a"}, "FolderPrefix"),
        ({"FolderPrefix": "a/../b"}, "no folders"),
        ({"CaptureDataDiskPath": "capture"}, "must be absolute"),
        ({"LocalDataRootPath": "data"}, "must be absolute"),
        ({"DeploymentEnable": "true"}, "DeploymentEnable is true: set DbEnable to true as well"),
        ({"DeploymentPollInterval": 0}, "DeploymentPollInterval"),
        ({"DLRBackendOptions": "fast"}, "DLRBackendOptions: expected NAME=value"),
        ({"UnixSocketName": "agent.sock"}, "must be absolute"),
        ({"UnixSocketName": "/" + "s" * 107}, "has 108 bytes; the path of a socket has 107 at most"),
        ({"UnixSocketName": "/" + "ü" * 54}, "has 109 bytes"),
        ({"socket_mode": "660w"}, "socket_mode"),
        ({"max_message_bytes": 1024}, "max_message_bytes"),
        ({"strict": True, "BucketName": "plant-evidence"}, "with strict it must contain `sagemaker`"),
        ({"serve": True, "BucketName": "sagemaker-plant"}, "DeviceFleetName: must be given where serve is true"),
        (
            {"serve": True, "DeviceFleetName": "plant"},
            "BucketName: must be given where CaptureDataDestination is Cloud",
        ),
        (
            SERVED | {"BucketName": None, "CaptureDataDestination": "Disk", "CaptureDataPeriodicUpload": "true"},
            "BucketName: must be given where CaptureDataPeriodicUpload is true",
        ),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as raised:
        made(**fields)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"UnixSocketName": "/" + "s" * 106},
        {"FolderPrefix": ""},
        {"FolderPrefix": "a/b"},
        {"CaptureDataDestination": " cloud"},
        {"CaptureDataDestination": "DISK"},
        {"serve": "true", "DeviceFleetName": "plant", "CaptureDataDestination": "Disk"},
        {"DeploymentEnable": True, "DbEnable": True},
        SERVED | {"strict": True},
    ],
)
def test_what_the_component_took_is_taken(fields: dict[str, Any]) -> None:
    made(**fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, ""),
        ({"CaptureDataBatchSize": 15}, ""),
        ({"CaptureDataBatchSize": 16}, "CaptureDataBatchSize is 16: at most half of CaptureDataBufferSize, 30"),
        ({"CaptureDataBatchSize": 30}, "CaptureDataBatchSize is 30, as CaptureDataBufferSize"),
        ({"BucketName": "plant-evidence"}, "BucketName is 'plant-evidence'"),
        ({"BucketName": "plant-sagemaker"}, ""),
        ({"CaptureDataPeriodicUpload": True}, "CaptureDataPeriodicUpload is ignored"),
        ({"CaptureDataBase64EmbedLimit": 4096}, "3072 is used"),
        ({"CaptureDataBase64EmbedLimit": 4096, "embed_above_3072": True}, ""),
        ({"DeploymentEnable": True, "DbEnable": True}, ""),
        ({"DLRBackendOptions": "TVM_TENSORRT_CACHE_DIR=/data/trt; TVM_TENSORRT_USE_FP16=1"}, ""),
        ({"DLRBackendOptions": "TVM_TENSORRT_USE_INT8=1"}, "TVM_TENSORRT_USE_INT8 is not known here"),
    ],
)
def test_what_is_allowed_and_not_meant_is_remarked(fields: dict[str, Any], says: str) -> None:
    remarks = made(**fields).remarks()
    assert [remark for remark in remarks if says and says in remark] == remarks
    assert bool(remarks) is bool(says)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, 3072),
        ({"CaptureDataBase64EmbedLimit": "20"}, 20),
        ({"CaptureDataBase64EmbedLimit": 3073}, 3072),
        ({"CaptureDataBase64EmbedLimit": 3073, "embed_above_3072": True}, 3073),
        ({"CaptureDataBase64EmbedLimit": 3073, "embed_above_3072": True, "strict": True}, 3072),
    ],
)
def test_more_is_embedded_only_where_that_was_asked_for(fields: dict[str, Any], limit: int) -> None:
    assert made(**fields).embed_limit == limit


def test_verbose_lowers_the_level_of_the_log() -> None:
    assert made().log_level("warning") == "warning"
    assert made(SagemakerEdgeLogVerbose="true").log_level("warning") == "debug"


def test_a_mode_is_read_as_octal() -> None:
    assert (made().socket_permissions, made(socket_mode="600").socket_permissions) == (0o660, 0o600)
