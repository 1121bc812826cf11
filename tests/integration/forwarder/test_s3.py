"""Batches to a store: what is there afterwards, under which names, in which order, how it was sent."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lineside_forwarder.errors import BatchRefused, DestinationAway, NotAllowed
from lineside_forwarder.s3 import S3Destination
from lineside_forwarder.s3_upload import Uploads
from lineside_forwarder.settings import S3Settings
from tests.support.fault_proxy import FaultProxy
from tests.support.forwarding import entry as a_capture
from tests.support.s3_uploads import Blobs, Counting
from tests.support.simulated_s3 import Store
from tests.support.store_front import Answer, Asked, Front
from tests.support.waiting import until

MIB = 1024 * 1024
IMAGE = bytes(range(256)) * 800  # 200 KB
LARGE = IMAGE * 64  # 12.5 MiB: more than one part

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[Blobs]:
    """Blobs; all files that were given out must be closed again."""
    kept = Blobs(tmp_path)
    yield kept
    assert all(file.closed for file in kept.opened)


@asynccontextmanager
async def destination(url: str, bucket: str, **more: object) -> AsyncIterator[S3Destination]:
    settings = S3Settings.model_validate(
        {"name": "cloud", "bucket": bucket, "endpoint_url": url, "timeout_s": 2, **more}
    )
    there = S3Destination(settings)
    await there.start()
    try:
        yield there
    finally:
        await there.close()


async def test_a_batch_arrives_with_its_objects_first(
    moto_server: Store, front: Front, bucket: str, blobs: Blobs
) -> None:
    upload = blobs.upload([a_capture(f"part-{n}", image=IMAGE + bytes([n])) for n in range(6)])
    async with destination(front.url, bucket) as there:
        await there.deliver(upload, blobs, Counting())
    hour = "sme-capture/line/spindle/2026/11/22/02"
    raw = [path for path, _blob in upload.objects()]
    assert all(path.startswith(f"{hour}/raw-data/input-tensors/box.part-") for path in raw)
    assert moto_server.keys(bucket) == [f"{hour}/box.part-0.jsonl", *raw]
    assert list(moto_server.event_ids(bucket).elements()) == [f"part-{n}" for n in range(6)]
    sent = {f"s3://{bucket}/{key}": hashlib.sha256(IMAGE + bytes([n])).digest() for n, key in enumerate(raw)}
    assert moto_server.references(bucket) == sent
    assert front.asked[-1].path.endswith("box.part-0.jsonl")
    assert {asked.method for asked in front.asked} == {"PUT"}
    head = moto_server.client.head_object(Bucket=bucket, Key=f"{hour}/box.part-0.jsonl")
    assert head["ContentType"] == "application/jsonlines"


async def test_a_repetition_changes_nothing(moto_server: Store, bucket: str, blobs: Blobs) -> None:
    upload = blobs.upload([a_capture("part-1", image=IMAGE), a_capture("part-2", image=LARGE)])
    async with destination(moto_server.url, bucket) as there:
        await there.deliver(upload, blobs, Counting())
        before = {key: moto_server.get(bucket, key) for key in moto_server.keys(bucket)}
        await there.deliver(upload, blobs, Counting())
    assert {key: moto_server.get(bucket, key) for key in moto_server.keys(bucket)} == before
    assert moto_server.half_done(bucket) == []


async def test_a_damaged_blob_is_said_and_the_rest_arrives(moto_server: Store, bucket: str, blobs: Blobs) -> None:
    upload = blobs.upload([a_capture("part-1", image=IMAGE), a_capture("part-2", image=IMAGE)], root="")
    blobs.damaged.add(upload.records[0].blobs[0].name)
    async with destination(moto_server.url, bucket) as there:
        await there.deliver(upload, blobs, Counting())
    damaged, whole = moto_server.records(bucket)
    assert "damaged" in damaged["deviceFleetInputs"][0]["data-error"]
    assert whole["deviceFleetInputs"][0]["data-ref"].startswith(f"s3://{bucket}/line/spindle/")


@pytest.mark.parametrize("by_sha256", [True, False])
async def test_a_large_object_goes_in_parts(
    moto_server: Store, front: Front, bucket: str, blobs: Blobs, by_sha256: bool
) -> None:
    upload = blobs.upload([a_capture("part-1", image=LARGE)])
    limiter = Counting()
    async with destination(front.url, bucket, multipart_bytes=5 * MIB) as there:
        there._uploads = Uploads(S3Settings(name="x", bucket=bucket, multipart_bytes=5 * MIB), by_sha256=by_sha256)
        await there.deliver(upload, blobs, limiter)
    (digest,) = moto_server.references(bucket).values()
    assert digest == hashlib.sha256(LARGE).digest()
    parts = [asked.size for asked in front.asked if "partNumber" in asked.query]
    assert parts == [5 * MIB, 5 * MIB, len(LARGE) - 10 * MIB]
    name = "x-amz-checksum-sha256" if by_sha256 else "content-md5"
    assert all(name in asked.headers for asked in front.asked if asked.size and asked.method == "PUT")
    assert max(limiter.spent) <= 64 * 1024
    assert sum(limiter.spent) == sum(asked.size for asked in front.asked if asked.method == "PUT")


async def test_what_is_damaged_on_the_way_is_refused_and_sent_again(
    moto_server: Store, front: Front, bucket: str, blobs: Blobs
) -> None:
    upload = blobs.upload([a_capture("part-1", image=IMAGE)])
    front.damage = lambda _asked, body: body[:-1] + b"\x00" if body.endswith(b"\xff") else body
    async with destination(front.url, bucket) as there:
        with pytest.raises(DestinationAway, match="BadDigest"):
            await there.deliver(upload, blobs, Counting())
        assert moto_server.keys(bucket) == []
        front.damage = lambda _asked, body: body
        await there.deliver(upload, blobs, Counting())
    assert list(moto_server.references(bucket).values()) == [hashlib.sha256(IMAGE).digest()]


async def test_encryption_is_asked_for_whole_and_in_parts(front: Front, bucket: str, blobs: Blobs) -> None:
    upload = blobs.upload([a_capture("part-1", image=LARGE), a_capture("part-2", image=IMAGE)])
    async with destination(front.url, bucket, encryption="sse-s3") as there:
        await there.deliver(upload, blobs, Counting())
    async with destination(front.url, bucket, encryption="sse-kms", kms_key_id="alias/evidence") as there:
        await there.deliver(blobs.upload([a_capture("part-3")]), blobs, Counting())
    asked = [each for each in front.asked if each.headers.get("x-amz-server-side-encryption")]
    assert [each.method for each in asked].count("POST") == 1  # the begin of the upload in parts
    assert {each.headers["x-amz-server-side-encryption"] for each in asked[:-1]} == {"AES256"}
    assert asked[-1].headers["x-amz-server-side-encryption"] == "aws:kms"
    assert asked[-1].headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/evidence"


async def test_an_upload_in_parts_that_fails_is_aborted(
    moto_server: Store, front: Front, bucket: str, blobs: Blobs
) -> None:
    upload = blobs.upload([a_capture("part-1", image=LARGE)])
    front.answer = lambda asked: Answer(500, "InternalError") if "partNumber=2" in asked.query else None
    async with destination(front.url, bucket) as there:
        with pytest.raises(DestinationAway, match="InternalError"):
            await there.deliver(upload, blobs, Counting())
    assert front.count("DELETE") == 1
    assert moto_server.half_done(bucket) == []
    assert moto_server.keys(bucket) == []


async def test_what_a_killed_process_left_half_done_is_aborted_and_nothing_else(
    moto_server: Store, bucket: str, blobs: Blobs
) -> None:
    upload = blobs.upload([a_capture("part-1", image=LARGE)])
    ((key, _blob),) = upload.objects()
    for name in (key, f"{key}-of-another-box"):
        moto_server.client.create_multipart_upload(Bucket=bucket, Key=name)
    async with destination(moto_server.url, bucket) as there:
        await there.deliver(upload, blobs, Counting())
    assert moto_server.half_done(bucket) == [f"{key}-of-another-box"]


async def test_it_needs_no_more_than_to_put_and_to_abort(
    moto_server: Store, front: Front, bucket: str, blobs: Blobs
) -> None:
    def least_privilege(asked: Asked) -> Answer | None:
        puts = asked.method in {"PUT", "POST"} and asked.path != f"/{bucket}"
        return None if puts or "uploadId" in asked.query else Answer(403, "AccessDenied")

    front.answer = least_privilege
    async with destination(front.url, bucket) as there:
        for n in range(2):
            await there.deliver(blobs.upload([a_capture(f"part-{n}", image=LARGE)]), blobs, Counting())
    assert len(moto_server.references(bucket)) == 2
    assert front.count("GET") == 1  # that listing is not allowed is asked once only


@pytest.mark.parametrize(
    "refusal",
    [Answer(404, "NoSuchUpload"), Answer(400, "InvalidArgument"), Answer(501), Answer(200, body=b"<html>oops</html>")],
    ids=lambda answer: f"{answer.status} {answer.code}",
)
async def test_a_store_that_cannot_list_what_is_half_done_gets_large_evidence_all_the_same(
    moto_server: Store, front: Front, bucket: str, blobs: Blobs, refusal: Answer
) -> None:
    front.answer = lambda asked: refusal if asked.method == "GET" else None
    async with destination(front.url, bucket) as there:
        for n in range(2):
            await there.deliver(blobs.upload([a_capture(f"part-{n}", image=LARGE)]), blobs, Counting())
    assert len(moto_server.references(bucket)) == 2
    assert moto_server.half_done(bucket) == []


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (Answer(403, "AccessDenied"), NotAllowed, "Allow this box s3:PutObject"),
        (Answer(404, "NoSuchBucket"), NotAllowed, "Make the bucket"),
        (
            Answer(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"}),
            NotAllowed,
            "the bucket is in region eu-west-1",
        ),
        (
            Answer(
                403,
                "RequestTimeTooSkewed",
                elements={"RequestTime": "20200101T000000Z", "ServerTime": "2026-11-22T02:00:00Z"},
            ),
            NotAllowed,
            "signed at 20200101T000000Z, the store's clock says 2026-11-22T02:00:00Z",
        ),
        (Answer(400, "EntityTooLarge"), BatchRefused, "EntityTooLarge"),
        (Answer(200, body=b"<html>please log in</html>"), DestinationAway, "login page"),
        (Answer(503, body=b"<html>no gateway<br></html>"), DestinationAway, "503"),
    ],
    ids=lambda value: (value.code or str(value.status)) if isinstance(value, Answer) else "",
)
async def test_an_answer_is_understood_and_asked_for_once(
    front: Front, bucket: str, blobs: Blobs, answer: Answer, kind: type[Exception], says: str
) -> None:
    front.answer = lambda asked: answer if asked.method == "PUT" else None
    async with destination(front.url, bucket) as there:
        with pytest.raises(kind, match=says):
            await there.deliver(blobs.upload([a_capture("part-1")]), blobs, Counting())
    assert front.count("PUT") == (2 if answer.status == 301 else 1)  # the region that it named was tried


@pytest.mark.parametrize("fault", ["down", "reset", "half-open", "cut", "cut reply"])
async def test_a_broken_way_is_away_and_heals(moto_server: Store, bucket: str, blobs: Blobs, fault: str) -> None:
    upload = blobs.upload([a_capture("part-1", image=LARGE), a_capture("part-2", image=IMAGE)])
    async with (
        FaultProxy(moto_server.port) as proxy,
        destination(f"http://127.0.0.1:{proxy.port}", bucket, timeout_s=3) as there,
    ):
        match fault:
            case "down":
                await proxy.down()
            case "cut":
                proxy.cut_after = 100_000
            case "cut reply":
                proxy.cut_reply_after = 40
            case "reset" | "half-open":
                proxy.mode = fault  # type: ignore[assignment]
        with pytest.raises(DestinationAway, match=r"cannot be reached|does not speak S3"):
            await there.deliver(upload, blobs, Counting())
        assert moto_server.records(bucket) == []
        if fault == "down":
            await proxy.up()
        proxy.mode, proxy.cut_after, proxy.cut_reply_after = "pass", None, None
        await there.deliver(upload, blobs, Counting())
    assert len(moto_server.references(bucket)) == 2


async def test_a_cancelled_delivery_returns_at_once_and_leaves_nothing_half_done(
    moto_server: Store, bucket: str, blobs: Blobs
) -> None:
    class Stuck(Counting):
        async def spend(self, amount: int) -> None:
            self.spent.append(amount)
            if sum(self.spent) > 6 * MIB:
                await asyncio.sleep(0.01)

    limiter = Stuck()
    async with destination(moto_server.url, bucket, multipart_bytes=5 * MIB) as there:
        upload = blobs.upload([a_capture("part-1", image=LARGE)])
        delivery = asyncio.create_task(there.deliver(upload, blobs, limiter))
        await until(lambda: sum(limiter.spent) > 6 * MIB)
        delivery.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivery
        await until(lambda: all(file.closed for file in blobs.opened))
    assert moto_server.half_done(bucket) == []
    assert moto_server.keys(bucket) == []


def a_certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "store.pem"
    path.write_bytes(key.private_bytes(*plain) + certificate.public_bytes(pem))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    return path


async def test_over_tls_a_stranger_is_not_trusted_and_a_named_authority_is(
    moto_server: Store, bucket: str, blobs: Blobs, tmp_path: Path, aws_environment: pytest.MonkeyPatch
) -> None:
    certificate = a_certificate(tmp_path)
    front = Front(moto_server.port, certificate=certificate)
    try:
        upload = blobs.upload([a_capture("part-1", image=IMAGE)])
        async with destination(front.url, bucket) as there:
            with pytest.raises(NotAllowed, match="AWS_CA_BUNDLE"):
                await there.deliver(upload, blobs, Counting())
        aws_environment.setenv("AWS_CA_BUNDLE", str(certificate))
        async with destination(front.url, bucket) as there:
            await there.deliver(upload, blobs, Counting())
    finally:
        front.close()
    assert len(moto_server.references(bucket)) == 1
    assert all("chunked" not in asked.headers.get("transfer-encoding", "") for asked in front.asked)
    assert all(asked.headers["x-amz-content-sha256"].isalnum() for asked in front.asked)
