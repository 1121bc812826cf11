"""The approved model's files: where the Model Registry says that they are, fetched and unpacked within bounds."""

import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lineside_fleet.approval.event import Approved
from lineside_fleet.aws.clients import Aws
from lineside_fleet.errors import Refused

CARD = "card.yaml"
_CHUNK = 1024 * 1024
_MOST_FILES = 10_000


def find(aws: Aws, approved: Approved) -> tuple[str, str]:
    """Return bucket and key of the model's archive; raises Refused where it is not approved any more, AwsError."""
    answer = aws.sagemaker.ask("describe_model_package", ModelPackageName=approved.arn)
    what = f"{approved.group} version {approved.version}"
    status = answer.get("ModelApprovalStatus")
    if status != "Approved":
        raise Refused(f"{what} is {status} by now, not Approved", remedy="Nothing was changed")
    if answer.get("ModelPackageGroupName") not in {None, approved.group}:
        raise Refused(f"{approved.arn} is of group {answer.get('ModelPackageGroupName')}", remedy="Nothing was changed")
    containers = (answer.get("InferenceSpecification") or {}).get("Containers") or []
    urls = [str(each["ModelDataUrl"]) for each in containers if each.get("ModelDataUrl")]
    if len(urls) != 1:
        raise Refused(
            f"{what} names {len(urls)} archives; expected one ModelDataUrl",
            remedy="Register the model with its model.tar.gz",
        )
    parts = urlsplit(urls[0])
    if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/"):
        raise Refused(f"{what}: {urls[0]!r} is no s3://bucket/key", remedy="Register the model with its model.tar.gz")
    return parts.netloc, parts.path.lstrip("/")


def fetch(aws: Aws, bucket: str, key: str, folder: Path, most: int) -> Path:
    """Return the folder of the model in it, as Triton's repository has it; raises Refused, AwsError."""
    where = f"s3://{bucket}/{key}"
    archive, there = folder / "model.tar.gz", folder / "unpacked"
    answer = aws.s3.ask("get_object", Bucket=bucket, Key=key)
    taken = 0
    with closing(answer["Body"]) as body, archive.open("wb") as file, aws.s3.reading("get_object"):
        for piece in body.iter_chunks(_CHUNK):
            taken += len(piece)
            if taken > most:
                raise Refused(
                    f"{where} has more than {most} bytes", remedy="Raise artefact_bytes if it may be so large"
                )
            file.write(piece)
    there.mkdir()
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(there, members=_within(tar, most, where), filter="data")  # no link or path leads out of it
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Refused(f"{where} cannot be unpacked: {error}", remedy="Register the model with a whole tar.gz") from None
    cards = sorted(there.glob(f"*/{CARD}")) or sorted(there.glob(CARD))
    if len(cards) != 1:
        raise Refused(
            f"{where} holds {len(cards)} models with a {CARD}; expected one folder, as Triton's repository has it",
            remedy="Put the model's folder into the archive: NAME/card.yaml, NAME/config.pbtxt, NAME/1/model.onnx",
        )
    return cards[0].parent


def _within(tar: Any, most: int, where: str) -> Iterator[tarfile.TarInfo]:
    total = 0
    for count, member in enumerate(tar, 1):
        total += member.size
        if total > most or count > _MOST_FILES:
            raise Refused(
                f"{where} unpacks to more than {most} bytes or {_MOST_FILES} files", remedy="Raise artefact_bytes"
            )
        yield member
