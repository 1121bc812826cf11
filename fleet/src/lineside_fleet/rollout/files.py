"""Where rollout files are: a path, or s3://bucket/key for who has no disk that stays, as a Lambda function has none."""

from pathlib import Path
from typing import Any

from lineside.documents import read_yaml
from lineside.durable_files import replace_file, sync
from lineside.errors import SettingsError
from lineside_fleet.aws.clients import Aws
from lineside_fleet.errors import FleetError, Refused
from lineside_fleet.rollout_file import Rollout, read_rollout, rollout_of
from lineside_fleet.state.s3_objects import S3Objects

S3 = "s3://"


def read(where: str, aws: Aws) -> tuple[Rollout, Path]:
    """Return a rollout and the folder that its recipes are named from; raises SettingsError, Refused, AwsError."""
    if not where.startswith(S3):
        return read_rollout(Path(where)), Path(where).parent
    bucket, key = _object(where)
    found = S3Objects(aws.s3).get(bucket, key)
    if found is None:
        raise Refused(f"{where} is not there", remedy="Correct the address of the rollout file")
    folder = where.rpartition("/")[0]
    rollout = rollout_of(_document(found.body, where), where, lambda name: f"{folder}/{name}")
    with_recipe = [name for name, wanted in rollout.components.items() if wanted.recipe is not None]
    if with_recipe:
        raise Refused(
            f"{where}: component {with_recipe[0]} names a recipe file, and there is no folder beside an object",
            remedy="Make the component version before, or keep the rollout file on a disk",
        )
    return rollout, Path()


def keep(where: str, text: bytes, aws: Aws) -> None:
    """Write a rollout file that is not there yet, or find the same one; raises Refused where another is, FleetError."""
    if where.startswith(S3):
        bucket, key = _object(where)
        is_kept = S3Objects(aws.s3).put(bucket, key, text, expected=None) is not None
    else:
        is_kept = _keep_on_disk(Path(where), text)
    if not is_kept:
        raise Refused(
            f"{where} is there with another content: the template changed since this model was approved",
            remedy="A rollout never changes: register the model again for a new version, or put the template back",
        )


def _keep_on_disk(path: Path, text: bytes) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() != text:
            return False
        replace_file(path, text, mode=0o644)
        sync(path.parent)
    except OSError as error:
        raise FleetError(f"{path} cannot be written: {error.strerror}", remedy="Correct rollouts") from None
    return True


def _object(where: str) -> tuple[str, str]:
    bucket, _, key = where.removeprefix(S3).partition("/")
    if not bucket or not key or key.endswith("/"):
        raise Refused(f"{where!r} is no object", remedy="Give s3://bucket/key")
    return bucket, key


def _document(body: bytes, where: str) -> dict[str, Any]:
    try:
        document = read_yaml(body.decode())
    except ValueError as error:
        raise SettingsError([f"{where}: {error}"]) from None
    if not isinstance(document, dict):
        raise SettingsError([f"{where}: expected a rollout's settings by name, got {type(document).__name__}"])
    return {str(name): value for name, value in document.items()}
