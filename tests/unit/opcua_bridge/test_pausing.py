"""What a report of the policy says about the switch."""

import pytest

from lineside_opcua_bridge.pausing import enabled


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (b'{"enabled":true,"state":"applied"}', True),
        (b'{"enabled":false,"policy":null}', False),
        (b'{"enabled":null,"state":"refused"}', None),
        (b'{"policy":{"enabled":false}}', None),
        (b'{"enabled":"false"}', None),
        (b'{"enabled":0}', None),
        (b"[]", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_only_a_switch_that_is_said_counts(report: bytes, said: bool | None) -> None:
    assert enabled(report) is said
