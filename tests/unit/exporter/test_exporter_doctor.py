import pytest

from lineside.checks import Mark, warn
from lineside_exporter.doctor import checks, judge

UP = "# TYPE lineside_exporter_source_up gauge\n"
DROPPED = "# TYPE lineside_exporter_series_dropped_total counter\n"


def up(**sources: int) -> str:
    return UP + "".join(f'lineside_exporter_source_up{{source="{name}"}} {value}\n' for name, value in sources.items())


def dropped(count: int, reason: str = "too-many") -> str:
    return f'lineside_exporter_series_dropped_total{{source="triton",reason="{reason}"}} {count}\n'


@pytest.mark.parametrize(
    ("text", "mark", "says"),
    [
        (up(host=1, triton=1), Mark.OK, "has all 2: host, triton"),
        (up(host=1, triton=0, inference=0), Mark.WARN, "has 1 of 3 sources; away: inference, triton"),
        (up(triton=1) + DROPPED + dropped(0), Mark.OK, "has all 1"),
        (up(triton=1) + DROPPED + dropped(3) + dropped(4, "bad"), Mark.WARN, "left out series: 7 of triton"),
        ("", Mark.WARN, "it reads none"),
    ],
)
def test_the_sources_are_judged_by_the_exporters_own_series(text: str, mark: Mark, says: str) -> None:
    check = judge(text, "127.0.0.1:9109")
    assert check.mark is mark
    assert says in check.what


def test_a_text_that_is_no_exposition_is_an_error() -> None:
    with pytest.raises(ValueError, match="invalid metric name"):
        judge("<html>404</html>", "127.0.0.1:9109")


@pytest.mark.parametrize("before", [{}, {"exporter": warn("exporter", "does not answer on 127.0.0.1:9109")}])
async def test_an_exporter_that_does_not_answer_is_not_asked(before: dict) -> None:
    (check,) = [check async for check in checks(None, before)]
    assert check.mark is Mark.SKIP
