"""How requests to a store are set up: checksums, addresses, regions, encryption."""

import pytest
from pydantic import ValidationError

from lineside_forwarder.s3 import S3Destination
from lineside_forwarder.s3_client import Clients, configuration
from lineside_forwarder.s3_upload import encryption, part_ranges
from lineside_forwarder.settings import S3Settings
from tests.support.simulated_s3 import KEYS


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def s3(**more: object) -> S3Settings:
    return S3Settings.model_validate({"name": "cloud", "bucket": "evidence", **more})


def test_a_request_is_sent_once_and_waits_within_bounds() -> None:
    found = configuration(s3(timeout_s=45))
    assert found.retries == {"total_max_attempts": 1, "mode": "standard"}  # type: ignore[attr-defined]
    assert (found.connect_timeout, found.read_timeout) == (10, 45)  # type: ignore[attr-defined]


def test_another_store_gets_paths_and_aws_its_own_names() -> None:
    assert configuration(s3()).s3["addressing_style"] == "auto"  # type: ignore[attr-defined]
    other = configuration(s3(endpoint_url="https://store.plant.example:9000"))
    assert other.s3["addressing_style"] == "path"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"endpoint_url": "https://store.plant.example:9000"}, "https://store.plant.example:9000/evidence/a/b.jpg"),
        (
            {"endpoint_url": "https://store.plant.example/storage/v1/s3"},
            "https://store.plant.example/storage/v1/s3/evidence/a/b.jpg",
        ),
        ({"endpoint_url": "https://store.plant.example/s3/"}, "https://store.plant.example/s3/evidence/a/b.jpg"),
        (
            {"endpoint_url": "https://store.plant.example", "addressing": "virtual"},
            "https://evidence.store.plant.example/a/b.jpg",
        ),
        ({"endpoint_url": "http://[2001:db8::7]:9000"}, "http://[2001:db8::7]:9000/evidence/a/b.jpg"),
        ({"region": "eu-central-1"}, "https://evidence.s3.amazonaws.com/a/b.jpg"),
    ],
)
def test_an_object_is_put_where_the_store_expects_it(
    no_aws: pytest.MonkeyPatch, given: dict[str, object], url: str
) -> None:
    for name, value in KEYS.items():
        no_aws.setenv(name, value)
    clients = Clients(s3(**given))
    signed = clients.get().generate_presigned_url("put_object", Params={"Bucket": "evidence", "Key": "a/b.jpg"})
    assert signed.partition("?")[0] == url
    clients.close()


def test_the_environment_names_a_store_as_for_awss_tools(no_aws: pytest.MonkeyPatch) -> None:
    assert S3Destination(s3()).target == "s3://evidence"
    no_aws.setenv("AWS_ENDPOINT_URL", "http://store.plant.example")
    assert S3Destination(s3()).target == "s3://evidence at http://store.plant.example"
    named = S3Destination(s3(endpoint_url="https://other.plant.example"))
    assert named.target == "s3://evidence at https://other.plant.example"


def test_encryption_is_asked_for_by_its_name() -> None:
    assert encryption(s3()) == {}
    assert encryption(s3(encryption="sse-s3")) == {"ServerSideEncryption": "AES256"}
    assert encryption(s3(encryption="sse-kms")) == {"ServerSideEncryption": "aws:kms"}
    with_key = encryption(s3(encryption="sse-kms", kms_key_id="alias/evidence"))
    assert with_key == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/evidence"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kms_key_id": "alias/evidence"},
        {"kms_key_id": "alias/evidence", "encryption": "sse-s3"},
        {"endpoint_url": "store.plant.example"},
        {"endpoint_url": "https://key:secret@store.plant.example"},
        {"endpoint_url": "https://store.plant.example/path?x=1"},
        {"endpoint_url": "https://store.plant.example/path#x"},
        {"endpoint_url": "https://store.plant.example/storage/v1", "addressing": "virtual"},
        {"endpoint_url": "http://192.0.2.7:9000", "addressing": "virtual"},
        {"endpoint_url": "http://[2001:db8::7]:9000", "addressing": "virtual"},
        {"addressing": "auto"},
        {"bucket": "s3://evidence"},
        {"bucket": "Evidence"},
        {"region": "Frankfurt"},
        {"multipart_bytes": 1024},
        {"timeout_s": 0},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        s3(**wrong)


def test_parts_cover_an_object() -> None:
    assert list(part_ranges(25, 10)) == [(1, 0, 10), (2, 10, 10), (3, 20, 5)]
    assert list(part_ranges(20, 10)) == [(1, 0, 10), (2, 10, 10)]
