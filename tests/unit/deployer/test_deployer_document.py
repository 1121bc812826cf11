"""The desired state is read as Edge Manager's devices got it, or refused as a whole."""

import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from lineside_deployer.desired.document import Rules, read
from lineside_deployer.errors import DocumentRefused

RULES = Rules(("s3://plant-models/released/",), allow_sha1=False)
SUM = "0a" * 32


def definition(handle: str = "surface-defect", **fields: Any) -> dict[str, Any]:
    return {
        "ModelHandle": handle,
        "S3Url": f"s3://plant-models/released/{handle}-2.tar.gz",
        "Checksum": {"Type": "SHA256", "Sum": SUM},
        "State": "DEPLOY",
    } | fields


def deployment(*definitions: dict[str, Any], name: str = "week-48", **fields: Any) -> dict[str, Any]:
    return {
        "DeploymentName": name,
        "Type": "Model",
        "FailureHandlingPolicy": "ROLLBACK_ON_FAILURE",
        "Definitions": list(definitions or (definition(),)),
    } | fields


def document(*deployments: dict[str, Any]) -> bytes:
    return json.dumps({"Deployments": list(deployments or (deployment(),))}).encode()


def test_an_answer_of_get_deployments_is_read_as_it_is() -> None:
    """The judge of its form is botocore's description of the service."""
    sha1 = definition(Checksum={"Type": "SHA1", "Sum": "0b" * 20})
    text = document(deployment(sha1, definition("gone-model", State="UNDEPLOY")))
    shape = botocore.session.get_session().get_service_model("sagemaker-edge").operation_model("GetDeployments")
    assert ParamValidator().validate(json.loads(text), shape.output_shape).generate_report() == ""
    (found,) = read(text, Rules(RULES.allowed, allow_sha1=True))
    assert (found.DeploymentName, found.FailureHandlingPolicy) == ("week-48", "ROLLBACK_ON_FAILURE")
    first, second = found.Definitions
    assert (first.bucket, first.key) == ("plant-models", "released/surface-defect-2.tar.gz")
    assert (second.ModelHandle, second.State) == ("gone-model", "UNDEPLOY")


def test_definitions_alone_are_one_deployment_named_by_its_content() -> None:
    text = json.dumps({"Definitions": [definition()], "Later": 1}).encode()
    (one,), (same,) = read(text, RULES), read(b" " + text, RULES)
    assert one == same
    assert one.DeploymentName.startswith("definitions-")
    (other,) = read(json.dumps({"Definitions": [definition("other")]}).encode(), RULES)
    assert other.DeploymentName != one.DeploymentName


def test_the_digest_is_of_what_is_wanted_and_not_of_how_it_is_written() -> None:
    (one,) = read(document(), RULES)
    turned = {name: deployment()[name] for name in reversed(deployment())} | {"DeploymentArn": "new"}
    assert read(document(turned), RULES)[0].digest == one.digest
    assert read(document(deployment(FailureHandlingPolicy="DO_NOTHING")), RULES)[0].digest != one.digest


def test_taking_out_needs_no_package() -> None:
    plain = {"ModelHandle": "surface-defect", "State": "UNDEPLOY"}
    assert read(document(deployment(plain)), Rules(()))[0].Definitions[0].Checksum is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"[]", "expected a JSON object"),
        (b"{}", "Deployments: Field required"),
        (b" " * 300_000, "262144 at most"),
        (b'{"Deployments": [], "Deployments": []}', "given twice"),
        (document(deployment(definition(State="PAUSE"))), "State: Input should be 'DEPLOY' or 'UNDEPLOY'"),
        (document(deployment(definition(ModelHandle="../etc"))), "ModelHandle"),
        (document(deployment(definition(ModelHandle=".hidden"))), "ModelHandle"),
        (document(deployment(definition(ModelHandle="a" * 64))), "ModelHandle"),
        (document(deployment(definition(S3Url="https://plant-models/x"))), "expected s3://bucket/key"),
        (document(deployment(definition(S3Url="s3://plant-models/released/../x"))), "expected s3://bucket/key"),
        (document(deployment(definition(S3Url="s3://plant-models/released/"))), "expected s3://bucket/key"),
        (document(deployment(definition(S3Url="s3://elsewhere/released/x"))), "is not below what deployer.allowed"),
        (document(deployment(definition(S3Url="s3://plant-models/released-not/x"))), "is not below"),
        (document(deployment(definition(Checksum={"Type": "MD5", "Sum": "0a" * 16}))), "Type"),
        (document(deployment(definition(Checksum={"Type": "SHA256", "Sum": "0a" * 20}))), "has 64 hexadecimal digits"),
        (document(deployment(definition(Checksum={"Type": "SHA256", "Sum": "0g" * 32}))), "hexadecimal digits"),
        (document(deployment(definition(Checksum={"Type": "SHA1", "Sum": "0b" * 20}))), "a checksum of SHA1"),
        (document(deployment(definition(Checksum=None))), "DEPLOY needs S3Url and Checksum"),
        (document(deployment(definition(), definition())), "'surface-defect' is defined 2 times"),
        (document(deployment(), deployment(definition("other"))), "two deployments are named 'week-48'"),
        (document(deployment(), deployment(name="x")), "'surface-defect' is defined 2 times"),
        (document(deployment(Type="Firmware")), "Type"),
        (document(deployment(FailureHandlingPolicy="PRAY")), "FailureHandlingPolicy"),
        (document(deployment(Definitions=[])), "Definitions"),
        (document(deployment(name="a b")), "DeploymentName"),
        (document(*[deployment(definition(f"m{n}"), name=f"d{n}") for n in range(65)]), "Deployments"),
    ],
)
def test_one_fault_refuses_all_of_it(text: bytes, words: str) -> None:
    with pytest.raises(DocumentRefused, match="the desired state") as refused:
        read(text, RULES)
    assert words in str(refused.value)


def test_every_fault_is_named() -> None:
    wrong = definition(S3Url="s3://elsewhere/x", Checksum={"Type": "SHA1", "Sum": "0b" * 20})
    with pytest.raises(DocumentRefused) as refused:
        read(document(deployment(wrong, wrong)), RULES)
    assert str(refused.value).count(";") >= 4


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.text(), st.integers() | st.text()).map(lambda d: json.dumps(d).encode())
)
def test_nothing_else_is_raised(text: bytes) -> None:
    with pytest.raises(DocumentRefused):
        read(text, RULES)
