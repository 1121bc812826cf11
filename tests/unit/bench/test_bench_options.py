import pytest

from lineside_bench.errors import BenchError
from lineside_bench.options import Options


def test_the_defaults_are_allowed() -> None:
    Options().check()


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
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(values: dict, named: str) -> None:
    with pytest.raises(BenchError, match=named):
        Options(**values).check()


@pytest.mark.parametrize(("rate", "stations"), [(0.5, 4), (10, 4), (20, 8), (200, 32)])
def test_the_stations_follow_the_rate(rate: float, stations: int) -> None:
    assert Options(rate=rate).station_count == stations
