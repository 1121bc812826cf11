"""Which destinations there are: those of `forwarder.destinations`, else as section `edge_manager` says."""

import os
from dataclasses import dataclass

from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.errors import LinesideError
from lineside_forwarder.destination import Destination
from lineside_forwarder.disk import DiskDestination
from lineside_forwarder.errors import ForwarderError
from lineside_forwarder.settings import DiskSettings, S3Settings, Settings, StreamManagerSettings
from lineside_forwarder.stream_manager.destination import StreamManagerDestination

CLOUD = "cloud"
DISK = "disk"


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned destination: its settings, whether its folder is made, and the seconds between rounds, if any."""

    settings: DiskSettings | S3Settings | StreamManagerSettings
    make_path: bool = False
    period_s: float | None = None

    @property
    def is_remote(self) -> bool:
        """Whether quiet hours and the bandwidth cap hold for it."""
        return not isinstance(self.settings, DiskSettings)


def plan(settings: Settings) -> list[Plan]:
    """Return the destinations of a configuration; raises LinesideError where it lacks something or harms the spool."""
    plans = _plans(settings)
    for each in plans:
        _check_outside(each.settings, settings)
    return plans


def _plans(settings: Settings) -> list[Plan]:
    if settings.spool.folder is None:
        raise LinesideError(
            "spool.folder is not set: there is nothing to forward",
            remedy="Set spool.folder to the folder that the inference service has, or do not run the forwarder",
        )
    if settings.forwarder.destinations:
        return [Plan(each) for each in settings.forwarder.destinations]
    capture = settings.edge_manager
    if capture.CaptureDataDestination == "Cloud":
        return [Plan(_bucket(capture))]
    # As with Edge Manager a folder of its own beside what else the service keeps.
    own = settings.spool.folder.absolute().parent / "capture"
    disk = Plan(DiskSettings(name=DISK, path=capture.CaptureDataDiskPath or own), make_path=True)
    if not capture.CaptureDataPeriodicUpload:
        return [disk]
    upload = _bucket(capture)
    return [disk, Plan(upload, period_s=capture.CaptureDataPeriodicUploadPeriodSeconds)]


def _check_outside(given: DiskSettings | S3Settings | StreamManagerSettings, settings: Settings) -> None:
    """Raise LinesideError where the files of a destination would lie in the spool."""
    if isinstance(given, S3Settings) or settings.spool.folder is None:
        return
    folder = given.path
    if isinstance(given, DiskSettings):
        folder = folder / settings.edge_manager.FolderPrefix / settings.edge_manager.DeviceFleetName
    if folder.resolve().is_relative_to(settings.spool.folder.resolve()):
        raise LinesideError(
            f"destination {given.name} would write to {folder}, inside the spool {settings.spool.folder}",
            remedy="Give it a folder outside of spool.folder",
        )


def _check_folder(disk: DiskDestination) -> None:
    try:
        disk.check()
    except ForwarderError as error:
        raise LinesideError(
            f"edge_manager.CaptureDataDiskPath: captures cannot be written: {error.what}",
            remedy=f"Let user {os.geteuid()}, as which the forwarder runs, write there, or name another folder",
        ) from None


def _bucket(capture: EdgeManagerSettings) -> S3Settings:
    if capture.BucketName is None:
        raise LinesideError(
            f"edge_manager.BucketName is not set, and {capture.why_bucket}",
            remedy="Set it; or keep evidence on this box with edge_manager.CaptureDataDestination: Disk; "
            "or list forwarder.destinations",
        )
    return S3Settings.model_validate({"name": CLOUD, "bucket": capture.BucketName, "region": capture.region})


def make(each: Plan) -> Destination:
    """Return a destination, not started yet; raises LinesideError where Edge Manager's folder cannot be used."""
    match each.settings:
        case DiskSettings(name=name, path=path):
            disk = DiskDestination(name, path, make_path=each.make_path)
            if each.make_path:
                _check_folder(disk)
            return disk
        case S3Settings() as s3:
            from lineside_forwarder.s3 import S3Destination  # noqa: PLC0415 - boto3 takes a second and 30 MB

            return S3Destination(s3)
        case StreamManagerSettings() as stream_manager:
            return StreamManagerDestination(stream_manager)
