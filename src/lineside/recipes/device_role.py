"""The rights of a device's role in AWS, which is behind the role alias of its core: what the recipes need, no more.

The nucleus pulls images and reads artifacts with it; before each artifact it asks for the bucket's location (source:
`S3Downloader` of the classic nucleus). The forwarder puts evidence into one bucket with it, and neither reads nor lists
nor deletes.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from lineside.recipes.components import PREFIX
from lineside.recipes.rendering import Place

EVIDENCE = "EVIDENCE"
"""Stands for the bucket of the evidence, which recipes do not know."""
FOLDER = "sme-capture"
"""`edge_manager.FolderPrefix` unless somebody sets another."""
_ECR = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?(?P<path>(/[^/]+)*)")


def documents(place: Place) -> dict[str, str]:
    """Return the role's two documents by their path: what it may do, and who may take it on."""
    made = {"policy": policy(place), "trust": trust()}
    return {f"iam/device-role-{name}.json": json.dumps(each, indent=2) + "\n" for name, each in made.items()}


def policy(place: Place) -> dict[str, Any]:
    """Return what the role may do."""
    return {"Version": "2012-10-17", "Statement": list(_statements(place))}


def trust() -> dict[str, Any]:
    """Return who may take the role on: the credentials provider of AWS IoT."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "credentials.iot.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _statements(place: Place) -> Iterator[dict[str, Any]]:
    found = _ECR.fullmatch(place.registry)
    partition = "aws-cn" if found and found[3] else "aws"
    if found:
        # The login takes no narrower resource.
        yield _allow("Login", ["ecr:GetAuthorizationToken"], "*")
        repositories = f"repository{found['path']}/*"
        yield _allow(
            "Images",
            ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            f"arn:{partition}:ecr:{found['region']}:{found['account']}:{repositories}",
        )
    yield _allow("ArtifactsBucket", ["s3:GetBucketLocation"], f"arn:{partition}:s3:::{place.bucket}")
    yield _allow("Artifacts", ["s3:GetObject"], f"arn:{partition}:s3:::{place.bucket}/{PREFIX}/*")
    yield _allow("Evidence", ["s3:PutObject", "s3:AbortMultipartUpload"], f"arn:{partition}:s3:::{EVIDENCE}/{FOLDER}/*")


def _allow(name: str, actions: list[str], resource: str) -> dict[str, Any]:
    return {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resource}
