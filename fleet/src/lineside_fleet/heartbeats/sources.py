"""Where heartbeats are: files with one a line, a bucket with such files, or a broker that retains the latest of each.

FILE or FOLDER                   .json, .jsonl and .ndjson at any depth; `-` is standard input
s3://bucket/prefix               the same files of a bucket
mqtt://host[:port]/topic         a topic filter, heard for some seconds; mqtts:// with TLS
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lineside.heartbeats import MAX_BYTES
from lineside_fleet.heartbeats.broker import BrokerAccess, Take, listen
from lineside_fleet.heartbeats.counting import Counted
from lineside_fleet.heartbeats.errors import HeartbeatsAway

ENDINGS = (".json", ".jsonl", ".ndjson")


def read(place: str, take: Take, access: BrokerAccess) -> None:
    """Hand over every heartbeat of a place; raises HeartbeatsAway."""
    scheme = place.partition("://")[0] if "://" in place else ""
    try:
        if scheme in {"mqtt", "mqtts"}:
            listen(place, take, access)
        elif scheme == "s3":
            _read_bucket(place, take)
        elif scheme:
            raise HeartbeatsAway(
                f"{place!r}: {scheme}:// is no place of heartbeats", remedy="give a file, a folder, s3://, mqtt://"
            )
        else:
            _read_files(place, take)
    except OSError as error:
        raise HeartbeatsAway(f"{place}: {error.strerror or error}") from None


def count(places: Iterable[str], access: BrokerAccess) -> Counted:
    """Return what the heartbeats of all places say; raises HeartbeatsAway where one cannot be read."""
    counted = Counted()
    for place in places:
        read(place, lambda text, where, arrived: counted.take(text, where, time.time(), arrived), access)
    return counted


def _read_files(place: str, take: Take) -> None:
    if place == "-":
        _lines(sys.stdin.buffer, "line", take)
        return
    top = Path(place)
    if not top.exists():
        raise HeartbeatsAway(f"{place} is not there", remedy="give a file or a folder of heartbeats, s3:// or mqtt://")
    files = [top] if not top.is_dir() else sorted(each for each in top.rglob("*") if each.suffix in ENDINGS)
    if not files:
        raise HeartbeatsAway(f"{place} holds no {', '.join(ENDINGS)}")
    for file in files:
        with file.open("rb") as stream:
            _lines(stream, str(file), take)


def _lines(stream: Any, place: str, take: Take) -> None:
    """Hand over each line; a file of one document that is written over many lines is one heartbeat."""
    number, first, rest = 0, True, b""
    while line := stream.readline(MAX_BYTES + 2):
        number += 1
        if first and line.strip() == b"{":
            rest = line + stream.read(MAX_BYTES + 1)
            take(rest, place, None)
            return
        first = first and not line.strip()
        take(line, f"{place}:{number}", None)
        while not line.endswith(b"\n") and len(line) > MAX_BYTES:  # the rest of one that is too long
            line = stream.readline(MAX_BYTES + 2)


def _read_bucket(place: str, take: Take) -> None:
    for where, body in objects(place):
        _lines(body, where, take)


def objects(place: str) -> Iterator[tuple[str, "Body"]]:
    """Yield each file of an s3:// prefix with its address, in the order of their names; raises HeartbeatsAway."""
    import boto3  # noqa: PLC0415 - takes a second to import
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - same

    from lineside.aws_errors import code, message, one_line  # noqa: PLC0415 - same

    parts = urlsplit(place)
    bucket, prefix = parts.netloc, parts.path.removeprefix("/")
    found = False
    try:
        client = boto3.session.Session().client("s3")
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                key = entry["Key"]
                if key.endswith(ENDINGS):
                    found = True
                    with closing(client.get_object(Bucket=bucket, Key=key)["Body"]) as body:
                        yield f"s3://{bucket}/{key}", Body(body)
    except ClientError as error:
        raise HeartbeatsAway(
            f"{place}: S3 answers {error.operation_name} with {code(error)}: {message(error)}",
            remedy="see the bucket's name and region, and s3:ListBucket and s3:GetObject of whoever asks",
        ) from None
    except (BotoCoreError, ValueError) as error:
        raise HeartbeatsAway(f"{place}: {one_line(error)}") from None
    if not found:
        raise HeartbeatsAway(f"{place} holds no {', '.join(ENDINGS)}")


class Body:
    """An answer's body, read as a file is: botocore's own has no `readline` with a bound."""

    def __init__(self, body: Any) -> None:
        self._chunks = body.iter_chunks(64 * 1024)
        self._held = b""

    def readline(self, most: int) -> bytes:
        """Return the next line with its end, at most so many bytes of it; nothing at the end."""
        while b"\n" not in self._held[:most] and len(self._held) < most and (chunk := next(self._chunks, b"")):
            self._held += chunk
        end = self._held.find(b"\n", 0, most) + 1 or min(most, len(self._held))
        line, self._held = self._held[:end], self._held[end:]
        return line

    def read(self, most: int) -> bytes:
        """Return at most so many of the bytes that are left."""
        while len(self._held) < most and (chunk := next(self._chunks, b"")):
            self._held += chunk
        given, self._held = self._held[:most], self._held[most:]
        return given
