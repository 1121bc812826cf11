"""`ModelS3URI`: what is a folder in S3, what is one of this machine, and what is said of anything else."""

import pytest

from lineside.greengrass.model_uri import S3Folder, folder, s3_folder


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("s3://your-bucket/models/detector/v1.4/", "your-bucket", "models/detector/v1.4/"),
        ("s3://your-bucket/models/detector/v1.4", "your-bucket", "models/detector/v1.4/"),
        ("s3://plant.models/a b/ä", "plant.models", "a b/ä/"),
        ("s3://abc", "abc", ""),
        ("s3://abc/", "abc", ""),
    ],
)
def test_a_folder_of_s3_is_a_bucket_and_what_its_keys_begin_with(text: str, bucket: str, prefix: str) -> None:
    assert s3_folder(text) == S3Folder(bucket, prefix)
    assert str(s3_folder(text)) == f"s3://{bucket}/{prefix}"
    assert folder(text) == "/models"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("https://your-bucket.s3.amazonaws.com/models/", "expected s3://bucket/folder/"),
        ("S3://your-bucket/models/", "expected s3://bucket/folder/"),
        ("s3:/your-bucket/models/", "expected s3://bucket/folder/"),
        ("s3://Your-Bucket/models/", "the bucket's name as S3 allows it"),
        ("s3://", "the bucket's name as S3 allows it"),
        ("s3:///models/", "the bucket's name as S3 allows it"),
        ("s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/models/", "the bucket's name as S3 allows it"),
        ("s3://your-bucket/models/../secrets/", "without empty names, '.' and '..'"),
        ("s3://your-bucket//models/", "without empty names"),
        ("s3://your-bucket/models//", "without empty names"),
        ("s3://your-bucket/mo\ndels/", "no control characters"),
        ("", "expected s3://bucket/folder/"),
    ],
)
def test_anything_else_is_refused_with_what_is_expected(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="got ") as raised:
        folder(text)
    assert says in str(raised.value)


def test_a_folder_of_this_machine_stays_what_it_is() -> None:
    assert folder("file:///greengrass/models") == folder("/greengrass/models") == "/greengrass/models"
