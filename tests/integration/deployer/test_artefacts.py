"""Packages from a simulated S3 that is slow, cut off, away, or gives something else."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from lineside_deployer.artefacts import RESERVE_BYTES, Artefacts
from lineside_deployer.desired.document import Definition, Digest
from lineside_deployer.errors import PackageAway, PackageRefused, PackageWrong
from lineside_deployer.s3 import make_client
from tests.support.simulated_s3 import Store
from tests.support.store_front import Answer, Asked, Front

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * 4 * 1024 * 3  # 3 MiB
KEY = "released/surface-defect-2.tar.gz"


class Rig:
    """A bucket with one package, behind a front that answers as scripted."""

    def __init__(self, store: Store, front: Front, bucket: str, folder: Path) -> None:
        self.store, self.front, self.bucket, self.folder = store, front, bucket, folder
        self.verified: list[tuple[bytes, bytes | None]] = []
        self.free = 100 * 1024 * MIB
        self.put(CONTENT)

    def put(self, content: bytes, key: str = KEY) -> None:
        self.store.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def artefacts(self) -> Artefacts:
        def verify(package: Path, bundle: Path | None, handle: str) -> tuple[str, str]:
            self.verified.append((package.read_bytes(), bundle.read_bytes() if bundle else None))
            return handle, "2"

        client = make_client(None, self.front.url)
        return Artefacts(self.folder, lambda: client, verify, wait=lambda _s: None, free=lambda _folder: self.free)

    def definition(self, content: bytes = CONTENT, kind: str = "SHA256", **fields: Any) -> Definition:
        total = hashlib.new(kind.lower(), content, usedforsecurity=False).hexdigest()
        given = {"S3Url": f"s3://{self.bucket}/{KEY}", "Checksum": Digest(Type=kind, Sum=total)}  # type: ignore[arg-type]
        return Definition(ModelHandle="surface-defect", State="DEPLOY", **(given | fields))  # type: ignore[arg-type]

    def got(self) -> list[str]:
        return [
            each.headers.get("range", "")
            for each in self.front.asked
            if each.path.endswith(KEY) and each.method == "GET"
        ]


@pytest.fixture
def rig(moto_server: Store, front: Front, bucket: str, tmp_path: Path, aws_environment: pytest.MonkeyPatch) -> Rig:
    del aws_environment
    return Rig(moto_server, front, bucket, tmp_path / "packages")


@pytest.mark.parametrize("kind", ["SHA256", "SHA1"])
def test_a_package_and_its_signature_come_and_are_verified(rig: Rig, kind: str) -> None:
    rig.put(b"signature", f"{KEY}.sig")
    found = rig.artefacts().get(rig.definition(kind=kind))
    assert (found.name, found.version, found.package.read_bytes()) == ("surface-defect", "2", CONTENT)
    assert rig.verified == [(CONTENT, b"signature")]
    rig.artefacts().get(rig.definition(kind=kind))
    assert len(rig.got()) == 1, "what is here is asked of nobody again"
    assert len(rig.verified) == 2, "and verified all the same"


def test_without_a_signature_the_verifier_decides(rig: Rig) -> None:
    rig.artefacts().get(rig.definition())
    assert rig.verified == [(CONTENT, None)]


def test_what_was_cut_off_goes_on_where_it_ended_also_after_a_restart(rig: Rig) -> None:
    half = {"Content-Length": str(len(CONTENT)), "Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}

    def cut(asked: Asked) -> Answer | None:
        if asked.method != "GET" or not asked.path.endswith(KEY):
            return None
        if asked.headers["range"] == "bytes=0-":
            return Answer(206, headers=half, body=CONTENT[: 2 * MIB])
        return Answer(503, "SlowDown")

    rig.front.answer = cut
    with pytest.raises(PackageAway, match="cannot be had now"):
        rig.artefacts().get(rig.definition())
    rig.front.answer = lambda _asked: None
    rig.front.asked.clear()
    assert rig.artefacts().get(rig.definition()).package.read_bytes() == CONTENT
    assert rig.got() == [f"bytes={2 * MIB}-"]


def test_one_that_was_replaced_meanwhile_begins_anew(rig: Rig) -> None:
    half = {"Content-Length": str(len(CONTENT)), "Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}
    other = CONTENT[::-1]

    def replaced(asked: Asked) -> Answer | None:
        if asked.method == "GET" and asked.path.endswith(KEY) and asked.headers["range"] == "bytes=0-":
            rig.put(other)
            return Answer(206, headers=half, body=CONTENT[:MIB])
        return None

    rig.front.answer = replaced
    with pytest.raises(PackageAway, match="replaced while it was fetched"):
        rig.artefacts().get(rig.definition())
    rig.front.answer = lambda _asked: None
    assert rig.artefacts().get(rig.definition(other)).package.read_bytes() == other


def test_another_content_is_refused_and_not_kept(rig: Rig) -> None:
    with pytest.raises(PackageWrong, match=r"has SHA256 .*, the desired state says"):
        rig.artefacts().get(rig.definition(b"something else"))
    assert rig.verified == []
    assert [each for each in rig.folder.rglob("*") if each.is_file()] == []


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", PackageRefused),
        (404, "NoSuchKey", PackageRefused),
        (404, "NoSuchBucket", PackageRefused),
        (500, "InternalError", PackageAway),
        (503, "SlowDown", PackageAway),
    ],
)
def test_what_the_store_says(rig: Rig, status: int, code: str, error: type[Exception]) -> None:
    rig.front.answer = lambda asked: Answer(status, code) if asked.method == "GET" else None
    with pytest.raises(error, match=code):
        rig.artefacts().get(rig.definition())
    assert rig.verified == []


def test_a_store_that_is_away(rig: Rig, closed_port: int) -> None:
    artefacts = rig.artefacts()
    client = make_client(None, f"http://127.0.0.1:{closed_port}")
    artefacts.client = lambda: client
    with pytest.raises(PackageAway, match="cannot be had"):
        artefacts.get(rig.definition())


def test_the_disk_is_looked_at_before_the_first_byte(rig: Rig) -> None:
    rig.free = RESERVE_BYTES + 3 * len(CONTENT) - 1
    with pytest.raises(PackageAway, match="needs 265 MiB until it is in place, and 264 MiB are free"):
        rig.artefacts().get(rig.definition())
    assert rig.got() == []
    rig.free += 1
    rig.artefacts().get(rig.definition())


def test_a_disk_that_fills_is_said_and_what_has_come_is_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from lineside_deployer.artefacts import _Part  # noqa: PLC0415 - replaced below

    written = _Part.write

    def full(part: _Part, chunk: bytes) -> None:
        if part.path.stat().st_size >= MIB:
            raise OSError(28, "No space left on device")
        written(part, chunk)
        part._stream.flush()  # type: ignore[union-attr]

    with monkeypatch.context() as patched:
        patched.setattr(_Part, "write", full)
        with pytest.raises(PackageAway, match="the disk is full"):
            rig.artefacts().get(rig.definition())
    rig.front.asked.clear()
    rig.artefacts().get(rig.definition())
    assert rig.got() == [f"bytes={MIB}-"]


def test_only_what_is_wanted_stays(rig: Rig) -> None:
    artefacts = rig.artefacts()
    artefacts.get(rig.definition())
    artefacts.forget([rig.definition()])
    assert len(list(rig.folder.iterdir())) == 1
    artefacts.forget([])
    assert list(rig.folder.iterdir()) == []


def test_a_model_of_another_name_is_refused(rig: Rig) -> None:
    artefacts = rig.artefacts()
    artefacts.verify = lambda _package, _bundle, _handle: ("another", "1")  # type: ignore[assignment]
    with pytest.raises(PackageWrong, match="holds the model 'another'"):
        artefacts.get(rig.definition())
