"""Whatever the OpenAPI document allows, and much that it does not: never a 5xx, always an answer that it describes."""

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks, not_a_server_error

from tests.support.paths import ROOT
from tests.support.waiting import HANG_S

load_all_checks()
CHECKED = [
    not_a_server_error,
    *CHECKS.get_by_names(["status_code_conformance", "content_type_conformance", "response_schema_conformance"]),
]
EXAMPLES = 50
# A stream of events has no end, and another test reads it.
SCHEMA = schemathesis.openapi.from_path(ROOT / "docs" / "reference" / "openapi.json").exclude(path="/v1/events")


@pytest.fixture(scope="module")
def service(start_shared: Callable[..., Any], triton_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return start_shared(
        triton={"url": triton_server.grpc},
        default_deadline_ms=300,
        spool={"folder": str(tmp_path_factory.mktemp("fuzz") / "spool")},
        history={"folder": str(tmp_path_factory.mktemp("fuzz-history"))},
        capture={"models": ["0"]},  # a name that is made up soon
    )


# It has no way to make a BMP; the other kinds of image go the same way.
@pytest.mark.filterwarnings("ignore:Skipped test cases with unsupported payload media types. .*image/bmp:UserWarning")
@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_answer_is_one_that_the_document_describes(service: Any, case: Any) -> None:
    case.call_and_validate(base_url=f"http://127.0.0.1:{service.port}", checks=CHECKED, timeout=HANG_S)


def test_nothing_of_it_was_a_surprise(service: Any) -> None:
    assert service.process.poll() is None
    assert "Traceback" not in service.log.read_text()
    assert service.infer(source={"kind": "camera", "camera": "nobody"})["code"] in {"camera-unknown", "disabled"}
