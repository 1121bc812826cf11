import pytest

from lineside_bench.errors import BenchError
from lineside_bench.options import Options
from lineside_bench.peers.broker import BrokerKind, BusKind
from lineside_bench.plcs.environment import Stack


@pytest.mark.parametrize("stack", Stack)
def test_the_defaults_are_allowed(stack: Stack) -> None:
    Options(plc=stack).check()
    Options(plc=Stack.o6, parts=5400).check()
    Options(plc=Stack.python_opcua, parts=6000).check()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"parts": 0}, "--parts 0"),
        ({"parts": 20_001}, "from 1 to 20000"),
        ({"rate": -1.0}, "--rate -1"),
        ({"rate": float("nan")}, "--rate nan"),
        ({"rate": 1e9}, "--rate"),
        ({"seed": -1}, "--seed -1"),
        ({"seed": 1_000_000}, "trained on"),
        ({"stations": 0}, "--stations 0"),
        ({"stations": 33}, "from 1 to 32"),
        ({"deadline_ms": 1.0}, "--deadline-ms 1"),
        ({"parts": 5, "rate": 0.0}, "brings no parts"),
        ({"gap_ms": -1.0}, "--gap-ms -1"),
        ({"gap_ms": 1001.0}, "from 0 to 1000"),
        ({"plc": Stack.o6, "parts": 6000}, "at most 5400 parts"),
        ({"bus": BusKind.ipc, "broker": BrokerKind.amqtt}, "--broker amqtt is for --bus mqtt"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(values: dict, named: str) -> None:
    with pytest.raises(BenchError, match=named):
        Options(**values).check()


@pytest.mark.parametrize(("rate", "stations"), [(0.5, 4), (10, 4), (20, 8), (200, 32)])
def test_the_stations_follow_the_rate(rate: float, stations: int) -> None:
    assert Options(rate=rate).station_count == stations
