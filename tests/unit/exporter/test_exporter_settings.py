from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from lineside_exporter.reading_cache import ReadingCache
from lineside_exporter.settings import OTHER_SOURCES, Settings
from lineside_exporter.sources.plan import plan


def settings(**section: Any) -> Settings:
    return Settings.model_validate({"exporter": section})


def names(given: Settings) -> list[str]:
    return [source.name for source in plan(given, httpx.AsyncClient(), ReadingCache(CollectorRegistry()))]


def test_what_is_read_where_nothing_is_said() -> None:
    assert names(settings()) == [
        "inference",
        "topic-bridge",
        "opcua-bridge",
        "forwarder",
        "triton",
        "triton-models",
        "host",
        "models",
    ]


def test_what_is_not_there_is_no_source() -> None:
    assert names(settings(services={}, triton=None)) == ["host"]


def test_all_there_is() -> None:
    given = settings(docker={}, desired={"components": {"inference": "0.1.0"}})
    found = names(given)
    assert set(found) - set(given.exporter.services) < set(OTHER_SOURCES)
    assert {"containers", "components"} < set(found)


@pytest.mark.parametrize("address", ["http://[::1]:8080", "https://box.plant.example", "http://192.0.2.1:80"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    assert settings(services={"inference": address}).exporter.services == {"inference": address}


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"services": {"triton": "http://127.0.0.1:1"}}, "'triton' is the name of a source already"),
        ({"services": {"Inference": "http://127.0.0.1:1"}}, "String should match pattern"),
        (
            {"services": {"inference": "http://127.0.0.1:1/metrics"}},
            "expected http://<host>:<port>, and nothing behind",
        ),
        ({"services": {"inference": "http://127.0.0.1:99999"}}, "is no base address"),
        ({"services": {"inference": "http://[::1:8080"}}, "is no base address"),
        ({"services": {"inference": "http://box?x=1"}}, "is no base address"),
        ({"services": {"inference": "http://the box:8080"}}, "is no base address"),
        ({"services": {"inference": "ftp://box:8080"}}, "is no base address"),
        ({"services": {"inference": "http://:8080"}}, "is no base address"),
        ({"triton": {"url": "http://me:secret@box:8000"}}, "holds a user name or password"),
        ({"desired": {"components": {"infrence": "1"}}}, "'infrence' is no service; did you mean 'inference'?"),
        ({"docker": {"label": "two words"}}, "String should match pattern"),
        ({"period_s": 0}, "greater than or equal to 0.1"),
    ],
)
def test_a_wrong_setting_is_named(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as raised:
        settings(**section)
    assert says in str(raised.value)
