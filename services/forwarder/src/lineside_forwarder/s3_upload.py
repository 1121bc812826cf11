"""One object to a bucket, whole or in parts; blocking, in bounded memory: bodies are read from their file as they go.

The store compares each request with a checksum, so that what was damaged on the way is refused. Nothing else than
s3:PutObject is needed, and s3:AbortMultipartUpload for what goes in parts.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from lineside_forwarder.errors import DestinationAway
from lineside_forwarder.s3_errors import may_be_left_out
from lineside_forwarder.s3_sending import Body, Meter
from lineside_forwarder.settings import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = structlog.get_logger("lineside_forwarder.s3")

_READ = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """What goes into an object: a file from its start, its bytes and their SHA-256."""

    file: BinaryIO
    size: int
    digest: bytes
    content_type: str


class Uploads:
    """How objects go to one bucket; `by_sha256`: the store knows S3's checksums, else it is given Content-MD5."""

    def __init__(self, settings: S3Settings, *, by_sha256: bool) -> None:
        self._bucket = settings.bucket
        self._part_bytes = settings.multipart_bytes
        self._by_sha256 = by_sha256
        self._encryption = encryption(settings)
        self._may_list = True

    def put(self, client: "S3Client", key: str, content: Content, meter: Meter) -> None:
        """Return when the store has the object; raises what botocore raises, DestinationAway, Abandoned."""
        meter.check()
        if content.size > self._part_bytes:
            self._put_parts(client, key, content, meter)
            return
        answer = client.put_object(
            Bucket=self._bucket,
            Key=key,
            Body=_body(content, 0, content.size, meter),
            ContentType=content.content_type,
            **self._checksum(content, 0, content.size, content.digest),
            **self._encryption,
        )
        self._receipt(answer)

    def _put_parts(self, client: "S3Client", key: str, content: Content, meter: Meter) -> None:
        self._abort_leftovers(client, key)
        algorithm: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"} if self._by_sha256 else {}
        begun = client.create_multipart_upload(
            Bucket=self._bucket,
            Key=key,
            ContentType=content.content_type,
            **algorithm,
            **self._encryption,
        )
        upload = begun["UploadId"]
        try:
            parts: list[Any] = []
            for number, start, size in part_ranges(content.size, self._part_bytes):
                checksum = self._checksum(content, start, size)
                answer = client.upload_part(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload,
                    PartNumber=number,
                    Body=_body(content, start, size, meter),
                    **checksum,
                )
                # Content-MD5 is compared with each part only; SHA-256 is kept with the object.
                kept = checksum if self._by_sha256 else {}
                parts.append({"PartNumber": number, "ETag": self._receipt(answer), **kept})
            done = client.complete_multipart_upload(
                Bucket=self._bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
            )
            self._receipt(done)
        except BaseException:
            self._abort(client, key, upload)
            raise

    def _abort_leftovers(self, client: "S3Client", key: str) -> None:
        """Abort uploads of this key that a dead process left; no other uploads it, and the store charges for them.

        The delivery does not depend on it: where the store cannot list unfinished uploads, it goes on.
        """
        if not self._may_list:
            return
        try:
            found = client.list_multipart_uploads(Bucket=self._bucket, Prefix=key)
        except Exception as error:
            if not may_be_left_out(error):
                raise
            self._may_list = False
            log.info(
                "uploads that were left half done cannot be listed here; let a rule of the bucket remove them",
                bucket=self._bucket,
                error=" ".join(str(error).split())[:300],
            )
            return
        for upload in found.get("Uploads", []):
            if upload.get("Key") == key and "UploadId" in upload:
                self._abort(client, key, upload["UploadId"])

    def _abort(self, client: "S3Client", key: str, upload: str) -> None:
        try:
            client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            # The next try, or a lifecycle rule of the bucket, removes it.
            log.debug("an upload in parts is left half done", bucket=self._bucket, key=key, error=str(error))

    def _checksum(self, content: Content, start: int, size: int, digest: bytes | None = None) -> dict[str, Any]:
        """Return the parameter that has the store compare; `digest` saves reading where it is known."""
        if self._by_sha256:
            digest = digest or _hash(hashlib.sha256(), content.file, start, size)
            return {"ChecksumSHA256": base64.b64encode(digest).decode()}
        md5 = _hash(hashlib.md5(usedforsecurity=False), content.file, start, size)
        return {"ContentMD5": base64.b64encode(md5).decode()}

    def _receipt(self, answer: Mapping[str, Any]) -> str:
        """Return the ETag that every store gives for what it took.

        A 200 without one comes from something else on the way, for instance a login page.
        """
        etag = answer.get("ETag")
        if not etag:
            raise DestinationAway(
                f"what answers for bucket {self._bucket!r} says 200 without an ETag: that is no S3 store",
                remedy="Look for a proxy or a login page between this box and the store",
            )
        return str(etag)


def encryption(settings: S3Settings) -> dict[str, Any]:
    """Return the parameters that ask for encryption at rest."""
    match settings.encryption:
        case "none":
            return {}
        case "sse-s3":
            return {"ServerSideEncryption": "AES256"}
    key = {"SSEKMSKeyId": settings.kms_key_id} if settings.kms_key_id else {}
    return {"ServerSideEncryption": "aws:kms", **key}


def part_ranges(size: int, part: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and size of each part of `size` bytes; all but the last have `part` bytes."""
    for number, start in enumerate(range(0, size, part), 1):
        yield number, start, min(part, size - start)


def _body(content: Content, start: int, size: int, meter: Meter) -> "BinaryIO | bytes":
    return cast("BinaryIO", Body(content.file, start, size, meter)) if size else b""


def _hash(digest: "hashlib._Hash", file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    while size > 0:
        data = file.read(min(_READ, size))
        if not data:
            raise OSError(f"the file ends {size} bytes before it should")
        digest.update(data)
        size -= len(data)
    return digest.digest()
