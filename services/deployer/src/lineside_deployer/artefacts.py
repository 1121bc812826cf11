"""Packages on the disk: downloaded where they are not, compared with their checksum, their signature verified.

A folder for each package, named by what the desired state says of it. What was cut off goes on where it ended, also
after a restart; the disk is looked at before the first byte.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from botocore import exceptions

from lineside.aws_errors import code
from lineside.durable_files import replace_file, sync
from lineside.s3_download import RemoteObject, fetch
from lineside_deployer.desired.document import Definition
from lineside_deployer.errors import PackageAway, PackageWrong
from lineside_deployer.s3 import explain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOM = 3
"""A package needs its size so many times: itself, unpacked beside the repository, and in its place."""
RESERVE_BYTES = 256 * 1024**2
SIGNATURE_BYTES = 1024**2
_MIB = 1024**2


@dataclass(frozen=True)
class Artefact:
    """A package as it lies here: its file, its signature's where it has one, and the model in it."""

    package: Path
    bundle: Path | None
    name: str
    version: str


class Verify(Protocol):
    """Says which model a package holds, once it is known who signed it; raises PackageWrong."""

    def __call__(self, package: Path, bundle: Path | None, handle: str) -> tuple[str, str]:
        """Return the model's name and version."""


@dataclass
class Artefacts:
    """The packages below a folder."""

    folder: Path
    client: Callable[[], "S3Client"]
    verify: Verify
    wait: Callable[[float], None] = time.sleep
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free
    fetched_bytes: Callable[[int], None] = field(default=lambda _bytes: None)

    def get(self, definition: Definition) -> Artefact:
        """Return a package that is whole and trusted; raises PackageAway, PackageWrong."""
        folder = self.folder / _mark(definition)
        package, bundle = folder / "package", folder / "package.sig"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not package.exists():
                self._download(definition, folder)
            has_bundle = bundle.exists() or self._signature(definition, bundle)
        except Exception as error:  # botocore, urllib3, sockets and disks each have their own
            raise explain(error, definition.S3Url) from error
        name, version = self.verify(package, bundle if has_bundle else None, definition.ModelHandle)
        if name != definition.ModelHandle:
            raise PackageWrong(
                f"{definition.S3Url} holds the model {name!r}, and its ModelHandle is {definition.ModelHandle!r}",
                remedy="Name the model as its package does",
            )
        return Artefact(package, bundle if has_bundle else None, name, version)

    def forget(self, definitions: Collection[Definition]) -> None:
        """Remove everything but what these need."""
        wanted = {_mark(each) for each in definitions}
        for folder in self.folder.glob("*"):
            if folder.is_dir() and folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    def _download(self, definition: Definition, folder: Path) -> None:
        head = self.client().head_object(Bucket=definition.bucket, Key=definition.key)
        wanted = RemoteObject(definition.bucket, definition.key, head["ContentLength"], head["ETag"])
        part = _Part(folder, wanted, self.fetched_bytes)
        needed, free = ROOM * wanted.size - part.here() + RESERVE_BYTES, self.free(folder)
        if free < needed:
            raise PackageAway(
                f"{definition.S3Url} needs {needed // _MIB} MiB until it is in place, and {free // _MIB} MiB are free",
                remedy="Make room on the disk",
            )
        try:
            fetch(self.client(), wanted, part, self.wait)
        finally:
            part.close()
        self._compare(definition, part)
        part.path.replace(folder / "package")
        sync(folder)

    def _compare(self, definition: Definition, part: "_Part") -> None:
        """Compare with the checksum; what is another is removed, to be fetched anew. Raises PackageWrong."""
        assert definition.Checksum is not None  # noqa: S101 - of a DEPLOY it is there
        kind, wanted = definition.Checksum.Type, definition.Checksum.Sum.lower()
        sync(part.path)
        with part.path.open("rb") as stream:
            found = hashlib.file_digest(stream, lambda: hashlib.new(kind.lower(), usedforsecurity=False)).hexdigest()
        if found != wanted:
            part.forget()
            raise PackageWrong(
                f"{definition.S3Url} has {kind} {found}, the desired state says {wanted}",
                remedy="Upload the package that was meant, under a key of its own, or correct Sum",
            )

    def _signature(self, definition: Definition, bundle: Path) -> bool:
        """Bring the signature beside the package; return whether there is one."""
        try:
            answer = self.client().get_object(Bucket=definition.bucket, Key=f"{definition.key}.sig")
        except exceptions.ClientError as error:
            if code(error) in {"NoSuchKey", "404"}:
                return False  # whether it may be without is the verifier's to say
            raise
        with closing(answer["Body"]) as body:
            content = body.read(SIGNATURE_BYTES + 1)
        if len(content) > SIGNATURE_BYTES:
            raise PackageWrong(f"{definition.S3Url}.sig is above {SIGNATURE_BYTES} bytes: that is no signature")
        replace_file(bundle, content)
        return True


class _Part:
    """What has come of a package: its bytes, and beside them of which content they are."""

    def __init__(self, folder: Path, wanted: RemoteObject, more: Callable[[int], None]) -> None:
        self.path = folder / "part"
        self._note = folder / "part.json"
        self._mark = json.dumps([wanted.etag, wanted.size]).encode()
        self._more = more
        self._stream: BinaryIO | None = None

    def here(self) -> int:
        """Return how many bytes of this content are there."""
        is_same = self._note.exists() and self._note.read_bytes() == self._mark and self.path.exists()
        return self.path.stat().st_size if is_same else 0

    def begin(self) -> int:
        """Return how many bytes of this content are there already, and take the next ones behind them."""
        self.close()
        here = self.here()
        if here == 0:
            self.path.write_bytes(b"")
            replace_file(self._note, self._mark)
        self._stream = self.path.open("ab")
        return here

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        assert self._stream is not None  # noqa: S101 - `begin` comes before it
        self._stream.write(chunk)
        self._more(len(chunk))

    def close(self) -> None:
        """Leave what has come as it is."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def forget(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def _mark(definition: Definition) -> str:
    checksum = definition.Checksum.model_dump_json() if definition.Checksum else ""
    return hashlib.sha256(f"{definition.S3Url}\n{checksum}".encode()).hexdigest()[:24]
