import json
from datetime import UTC, datetime

import pytest
from botocore import exceptions
from pydantic import TypeAdapter, ValidationError

from lineside_exporter.cloudwatch.aggregation import Aggregator, Block
from lineside_exporter.cloudwatch.errors import NotAllowed, NotTaken, Refused, Throttled
from lineside_exporter.cloudwatch.outbox import Outbox
from lineside_exporter.cloudwatch.put_metric_data import (
    MAX_BYTES,
    MAX_METRICS,
    PutMetricData,
    data_of,
    explain,
)
from lineside_exporter.cloudwatch.settings import CloudWatchSettings, GreengrassSettings, PutMetricDataSettings
from tests.support.result_messages import result

AT = datetime(2026, 5, 17, 10, 0, tzinfo=UTC)


def blocks(*stations: str, results: int = 1, aggregator: Aggregator | None = None) -> list[Block]:
    """Return a closed period with so many results of each station."""
    one = aggregator or Aggregator(500)
    for number in range(results):
        for station in stations:
            one.add(result("fail", station=station, latency=1.02**number, confidence=0.9 * 0.98**number))
    return one.close(0.0)


def test_the_outbox_keeps_the_newest_periods() -> None:
    aggregator, outbox = Aggregator(10), Outbox(2)
    first = blocks("a", "b", aggregator=aggregator)

    assert outbox.put(first) == []
    assert outbox.put(blocks("a", aggregator=aggregator)) == []
    assert outbox.periods == 2
    assert outbox.put(blocks("a", aggregator=aggregator)) == first
    assert outbox.periods == 2


def test_periods_without_results_age_what_waits() -> None:
    """A line at rest drops nothing until there is something newer to keep."""
    aggregator, outbox = Aggregator(10), Outbox(2)
    first = blocks("a", aggregator=aggregator)
    outbox.put(first)
    for _ in range(5):
        assert outbox.put(aggregator.close(0.0)) == []

    assert outbox.put(blocks("b", aggregator=aggregator)) == first


def test_a_call_takes_the_oldest_that_fit_and_always_one() -> None:
    outbox = Outbox(10)
    waiting = blocks("a", "b", "c")
    outbox.put(waiting)

    assert outbox.first(lambda _block: 0.5) == waiting[:2]
    assert outbox.first(lambda _block: 1.5) == waiting[:1]
    assert outbox.remove(waiting[:2]) == 2
    assert outbox.first(lambda _block: 0.1) == waiting[2:]


def test_what_was_dropped_meanwhile_is_counted_once() -> None:
    aggregator, outbox = Aggregator(10), Outbox(1)
    first = blocks("a", aggregator=aggregator)
    outbox.put(first)

    assert outbox.put(blocks("a", aggregator=aggregator)) == first
    assert outbox.remove(first) == 0


def test_a_block_as_data() -> None:
    (block,) = blocks("station-1", results=2)

    data = {datum["MetricName"]: datum for datum in data_of(block, "box-1", AT)}

    assert list(data) == ["Latency", "Confidence", "Defect", "Unknown", "Error"]
    assert data["Defect"] == {
        "MetricName": "Defect",
        "Dimensions": [
            {"Name": "Thing", "Value": "box-1"},
            {"Name": "Station", "Value": "station-1"},
            {"Name": "Model", "Value": "surface-defect"},
        ],
        "Timestamp": AT,
        "Values": [1.0],
        "Counts": [2.0],
        "Unit": "None",
    }
    assert data["Latency"]["Unit"] == "Milliseconds"
    assert sum(data["Latency"]["Counts"]) == 2


def test_a_call_is_bounded_by_metrics_and_by_bytes() -> None:
    sender = PutMetricData(PutMetricDataSettings(region="eu-central-1"), "box-1")
    (small,), (large,) = blocks("a"), blocks("a", results=300)

    assert all(len(datum["Values"]) <= 150 for datum in data_of(large, "box-1", AT))
    assert 5 / MAX_METRICS < sender.share(small) < 1 / 100
    as_json = json.dumps(data_of(large, "box-1", AT), default=str)
    assert len(as_json) < sender.share(large) * MAX_BYTES < 2 * len(as_json)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "Throttling", Throttled),
        (400, "com.amazonaws.cloudwatch#ThrottlingException", Throttled),
        (429, "anything", Throttled),
        (500, "InternalServiceFault", NotTaken),
        (503, "ServiceUnavailable", NotTaken),
        (408, "RequestTimeout", NotTaken),
        (400, "InvalidParameterValueException", Refused),
        (400, "InvalidParameterCombination", Refused),
        (400, "MissingRequiredParameterException", Refused),
        (413, "RequestEntityTooLarge", Refused),
        (403, "AccessDenied", NotAllowed),
        (400, "IncompleteSignature", NotAllowed),
        (403, "SignatureDoesNotMatch", NotAllowed),
        (404, "UnknownOperationException", NotAllowed),
    ],
)
def test_what_an_answer_means(status: int, code: str, kind: type[Exception]) -> None:
    error = explain(
        exceptions.ClientError(
            {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
            "PutMetricData",
        )
    )

    assert type(error) is kind
    assert f"{status} {code.rpartition('#')[2]}: why" in str(error)
    assert error.remedy or kind is not NotAllowed


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (exceptions.EndpointConnectionError(endpoint_url="http://x"), NotTaken, "cannot be reached"),
        (exceptions.ReadTimeoutError(endpoint_url="http://x"), NotTaken, "cannot be reached"),
        (exceptions.NoCredentialsError(), NotAllowed, "give the container the role"),
        (exceptions.NoRegionError(), NotAllowed, "set exporter.cloudwatch.region or AWS_REGION"),
        (exceptions.SSLError(endpoint_url="https://x", error="CERTIFICATE_VERIFY_FAILED"), NotAllowed, "AWS_CA_BUNDLE"),
        (exceptions.SSLError(endpoint_url="https://x", error="EOF occurred"), NotTaken, "cannot be reached"),
        (exceptions.CredentialRetrievalError(provider="p", error_msg="secret-word"), NotTaken, "no credentials"),
        (exceptions.ParamValidationError(report="bad"), Refused, "cannot be sent"),
        (ValueError("Invalid endpoint"), NotAllowed, "see exporter.cloudwatch"),
    ],
)
def test_what_no_answer_means(error: Exception, kind: type[Exception], says: str) -> None:
    explained = explain(error)

    assert type(explained) is kind
    assert says in str(explained)
    assert "secret-word" not in str(explained)


def test_where_it_sends_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDWATCH"):
        monkeypatch.delenv(name, raising=False)

    def target(**fields: str) -> str:
        return PutMetricData(PutMetricDataSettings(**fields), "box-1").target  # type: ignore[arg-type]

    assert target() == "CloudWatch in no region"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert target() == "CloudWatch in eu-west-1"
    assert target(region="eu-central-1") == "CloudWatch in eu-central-1"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all")
    assert target() == "http://all"
    assert target(endpoint_url="https://ours:8443") == "https://ours:8443"


ADAPTER: TypeAdapter[PutMetricDataSettings | GreengrassSettings] = TypeAdapter(CloudWatchSettings)


def test_the_kind_says_which_settings_there_are() -> None:
    assert isinstance(ADAPTER.validate_python({"kind": "greengrass"}), GreengrassSettings)
    assert isinstance(ADAPTER.validate_python({"kind": "put-metric-data"}), PutMetricDataSettings)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"kind": "statsd"}, "put-metric-data"),
        ({"kind": "greengrass", "region": "eu-west-1"}, "Extra inputs are not permitted"),
        ({"kind": "put-metric-data", "namespace": "AWS/Lambda"}, "begins AWS/, which is kept for AWS's own metrics"),
        ({"kind": "put-metric-data", "namespace": " "}, "should match pattern"),
        ({"kind": "put-metric-data", "period_s": 0.5}, "greater than or equal to 1"),
        ({"kind": "greengrass", "topic": "a/#"}, "should match pattern"),
    ],
)
def test_wrong_settings_are_refused(document: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ADAPTER.validate_python(document)
