import pytest

from lineside_bench import exit_codes
from lineside_bench.options import Options
from lineside_bench.runner import run_line


def test_a_run_that_cannot_start_ends_with_2_and_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_line.bench(Options(stations=99)) == exit_codes.CANNOT_START
    assert "--stations 99 is out of range. Give a number from 1 to 32." in capsys.readouterr().err
