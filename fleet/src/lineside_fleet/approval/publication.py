"""The model's folder becomes a signed package, and that a component version of the account."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lineside import __version__
from lineside.cli.model.aws_clients import S3, Greengrass
from lineside.errors import LinesideError
from lineside.packages import pack, sign
from lineside.recipes import writing
from lineside.recipes.publishing import publish, read_component
from lineside.recipes.rendering import PLATFORMS, SCRIPT, Place, model_recipe, packaged
from lineside.secret_files import read_password
from lineside_fleet.approval.settings import ApprovalSettings, GroupSettings
from lineside_fleet.aws.clients import Aws


@dataclass(frozen=True)
class Published:
    """A component version that the account has."""

    component: str
    version: str
    package: str
    """SHA-256 of the package."""


def publish_model(
    aws: Aws,
    settings: ApprovalSettings,
    group: GroupSettings,
    number: int,
    model: Path,
    work: Path,
    say: Callable[[str], None],
) -> Published:
    """Pack, sign and publish; done again, it changes nothing. Raises LinesideError.

    A signature that is in the bucket already is taken: a new one of the same package would be other bytes.
    """
    packed = pack(model, work)
    place = Place(
        settings.registry,
        settings.bucket,
        settings.lineside_version or __version__,
        tuple(PLATFORMS),
        digests=writing.read_digests(settings.digests) if settings.digests else {},
    )
    brought = packaged(
        packed.manifest.name,
        packed.manifest.archive_name,
        group.version_of(number),
        name=group.component,
        is_signed=True,
    )
    keys = [_key(place.artifact(path)) for path in brought.artifacts]
    signature = _signature(aws, settings, packed.archive, keys[1])
    script = _key(place.artifact(f"{place.version}/{SCRIPT}"))
    out = work / "component"
    out.mkdir()
    texts = {
        f"{brought.name}.yaml": model_recipe(brought, place),
        f"artifacts/{script}": writing.SOURCE.read_text(encoding="utf-8"),
    }
    writing.write(out, texts)
    for key, file in zip(keys, (packed.archive, signature), strict=True):
        there = out / "artifacts" / key
        there.parent.mkdir(parents=True, exist_ok=True)
        file.rename(there)
    component = read_component(out)
    publish(component, S3(aws.s3.client), Greengrass(aws.greengrass.client), say, time.sleep)
    return Published(component.name, component.version, packed.sha256)


def _key(address: str) -> str:
    return address.removeprefix("s3://").partition("/")[2]


def _signature(aws: Aws, settings: ApprovalSettings, archive: Path, key: str) -> Path:
    there = aws.s3.call("get_object", absent=("NoSuchKey", "404"), Bucket=settings.bucket, Key=key)
    if there is not None:
        signature = archive.with_name(f"{archive.name}.sig")
        with aws.s3.reading("get_object"):
            signature.write_bytes(there["Body"].read())
        return signature
    by = settings.sign
    password = read_password(by.password_file) if by.password_file else None
    try:
        return sign(archive, key=by.key, certificate=by.certificate, chain=by.chain, password=password)
    except OSError as error:
        raise LinesideError(f"{by.key} cannot be read: {error.strerror}", remedy="Correct sign.key") from None
