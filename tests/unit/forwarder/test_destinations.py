from pathlib import Path

import pytest

from lineside.errors import LinesideError
from lineside_forwarder.destinations import Plan, make, plan
from lineside_forwarder.disk import DiskDestination
from lineside_forwarder.settings import DiskSettings, S3Settings, Settings


def settings(**sections: object) -> Settings:
    return Settings.model_validate({"spool": {"folder": "/data/spool"}, **sections})


def planned(**edge_manager: object) -> list[Plan]:
    return plan(settings(edge_manager=edge_manager))


def test_cloud_is_the_bucket() -> None:
    (cloud,) = planned(BucketName="amzn-s3-demo-bucket")
    assert isinstance(cloud.settings, S3Settings)
    assert (cloud.settings.name, cloud.settings.bucket, cloud.period_s) == ("cloud", "amzn-s3-demo-bucket", None)
    assert cloud.is_remote


def test_disk_without_a_path_is_a_folder_beside_the_spool() -> None:
    (disk,) = planned(CaptureDataDestination="Disk")
    assert disk.settings == DiskSettings(name="disk", path=Path("/data/capture"))
    assert disk.make_path
    assert not disk.is_remote
    assert isinstance(make(disk), DiskDestination)


def test_edge_managers_path_is_made_as_its_agent_did() -> None:
    (disk,) = planned(CaptureDataDestination="Disk", CaptureDataDiskPath="/mnt/evidence")
    assert disk.settings == DiskSettings(name="disk", path=Path("/mnt/evidence"))
    assert disk.make_path


@pytest.mark.parametrize(
    "sections",
    [
        {"forwarder": {"destinations": [{"kind": "disk", "name": "d", "path": "/data/spool"}]}},
        {"forwarder": {"destinations": [{"kind": "disk", "name": "d", "path": "/data/x/../spool/blobs"}]}},
        {
            "forwarder": {
                "destinations": [{"kind": "stream-manager", "name": "g", "bucket": "abc", "path": "/data/spool/out"}]
            }
        },
        {
            "forwarder": {"destinations": [{"kind": "disk", "name": "d", "path": "/data"}]},
            "edge_manager": {"FolderPrefix": "spool"},
        },
        {"edge_manager": {"CaptureDataDestination": "Disk", "CaptureDataDiskPath": "/data/spool"}},
        {"edge_manager": {"CaptureDataDestination": "Disk"}, "spool": {"folder": "/data/capture"}},
    ],
)
def test_a_destination_inside_the_spool_stops_the_start(sections: dict[str, object]) -> None:
    with pytest.raises(LinesideError, match=r"inside the spool .* Give it a folder outside"):
        plan(settings(**sections))


def test_a_destination_around_the_spool_is_fine(tmp_path: Path) -> None:
    around = [{"kind": "disk", "name": "d", "path": "/data"}, {"kind": "disk", "name": "e", "path": "/data/spool-2"}]
    assert len(plan(settings(forwarder={"destinations": around}))) == 2
    (tmp_path / "link").symlink_to("/data/spool")
    hidden = [{"kind": "disk", "name": "d", "path": str(tmp_path / "link")}]
    with pytest.raises(LinesideError, match="inside the spool"):
        plan(settings(forwarder={"destinations": hidden}))


def test_periodic_upload_goes_to_both() -> None:
    disk, cloud = planned(
        CaptureDataDestination="Disk",
        CaptureDataPeriodicUpload="true",
        CaptureDataPeriodicUploadPeriodSeconds="30",
        BucketName="amzn-s3-demo-bucket",
    )
    assert disk.period_s is None
    assert (cloud.settings.name, cloud.period_s) == ("cloud", 30)


def test_periodic_upload_means_nothing_with_cloud() -> None:
    (cloud,) = planned(CaptureDataPeriodicUpload=True, BucketName="amzn-s3-demo-bucket")
    assert cloud.period_s is None


@pytest.mark.parametrize(
    "edge_manager", [{}, {"CaptureDataDestination": "Disk", "CaptureDataPeriodicUpload": "true"}], ids=["cloud", "disk"]
)
def test_a_bucket_that_is_missing_stops_the_start(edge_manager: dict[str, object]) -> None:
    with pytest.raises(LinesideError, match="BucketName is not set") as raised:
        planned(**edge_manager)
    assert "CaptureDataDestination: Disk" in raised.value.remedy


def test_the_buckets_region_is_edge_managers() -> None:
    (cloud,) = planned(BucketName="plant-evidence", region="eu-west-1")
    assert isinstance(cloud.settings, S3Settings)
    assert cloud.settings.region == "eu-west-1"


def test_named_destinations_come_first() -> None:
    found = plan(
        settings(
            edge_manager={"BucketName": "amzn-s3-demo-bucket"},
            forwarder={"destinations": [{"kind": "disk", "name": "nas", "path": "/mnt/nas"}]},
        )
    )
    assert [each.settings.name for each in found] == ["nas"]
    assert not found[0].make_path


def test_without_a_spool_there_is_nothing_to_forward() -> None:
    with pytest.raises(LinesideError, match=r"spool.folder is not set"):
        plan(Settings.model_validate({"edge_manager": {"BucketName": "amzn-s3-demo-bucket"}}))


@pytest.mark.parametrize(
    ("forwarder", "said"),
    [
        ({"quiet_hours": ["10-12"]}, "HH:MM-HH:MM"),
        ({"time_zone": "Mars/Olympus"}, "IANA"),
        ({"destinations": [{"kind": "disk", "name": "nas", "path": "nas"}]}, "absolute"),
        ({"bandwidth_bytes_s": 0}, "1024"),
    ],
)
def test_wrong_settings_say_what_is_allowed(forwarder: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(forwarder=forwarder)
