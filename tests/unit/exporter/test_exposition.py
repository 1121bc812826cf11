import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from lineside_exporter.errors import NoMetrics
from lineside_exporter.exposition import CONFLICT, LABELS, REPEATED, SERIES, TIMESTAMP, Bounds, Parser, join, render

ROOMY = Bounds(series=5000, label_characters=512)
SERVICE = ("service", "forwarder")


def joined(*texts: str) -> str:
    return join(
        [Parser(ROOMY, ("service", f"s{number}")).parse(text).families for number, text in enumerate(texts)]
    ).decode()


def test_each_series_gets_the_label_and_each_family_is_written_once() -> None:
    one = "# HELP x What x is.\n# TYPE x gauge\nx 1\n"
    other = '# HELP x Otherwise said.\n# TYPE x gauge\nx{a="b"} 2.5\nb_total 7\n# TYPE empty gauge\n'
    assert joined(one, other) == (
        '# HELP b_total \n# TYPE b_total untyped\nb_total{service="s1"} 7\n'
        '# HELP x What x is.\n# TYPE x gauge\nx{service="s0"} 1\nx{service="s1",a="b"} 2.5\n'
    )


def test_a_service_label_of_its_own_is_kept_under_another_name() -> None:
    text = 'x{service="a"} 1\nx{service="b",exported_service="c"} 2\n'
    assert Parser(ROOMY, SERVICE).parse(text).families[0].lines == (
        'x{service="forwarder",exported_service="a"} 1',
        'x{service="forwarder",exported_exported_service="b",exported_service="c"} 2',
    )


def test_a_histogram_stays_one_family() -> None:
    registry = CollectorRegistry()
    Histogram("h_seconds", "Time.", buckets=(1, 2), registry=registry).observe(1.5)
    Counter("c_total", "Count.", registry=registry).inc()
    families = {each.name: each for each in render(registry.collect(), Parser(ROOMY)).families}
    assert families["h_seconds"].kind == "histogram"
    assert [line.partition(" ")[0] for line in families["h_seconds"].lines] == [
        'h_seconds_bucket{le="1.0"}',
        'h_seconds_bucket{le="2.0"}',
        'h_seconds_bucket{le="+Inf"}',
        "h_seconds_count",
        "h_seconds_sum",
    ]
    assert families["c_total"].kind == "counter"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<!doctype html>\n<html>", "line 1: not a sample: '<!doctype html>'"),
        ('{"error": "no"}', "line 1: not a sample"),
        ('x{a="1",a="2"} 1\n', "line 1: a label twice"),
        ('x{__name__="y"} 1\n', "line 1: a label that is reserved"),
        ("x one\n", "line 1: not a sample"),
        ("x 1_000\n", "line 1: not a sample"),
        ("x 0x10\n", "line 1: not a sample"),
        ("x +NaN\n", "line 1: not a sample"),
        ("x 1e400\n", "line 1: a number larger than any that can be shown"),
        ("x -" + "9" * 400 + "\n", "line 1: a number larger than any that can be shown"),
        ("\n" * 50_001, "50001 lines; 50000 are read at most"),
        ("x\n", "line 1: not a sample"),
        ("x+1\n", "line 1: not a sample"),
        ("x 1 2 3\n", "line 1: not a sample"),
        ('x{a="b} 1\n', "line 1: not a sample"),
        ('{"utf-8 name"} 1\n', "line 1: not a sample"),
        ("# TYPE x number\n", "line 1: not a type; expected one of counter, gauge, histogram, summary, untyped"),
        ("# TYPE 1x gauge\n", "line 1: not a metric's name"),
        ("a{" + 'b="c",' * 20_000 + "!} 1", "line 1: not a sample"),
        ("a" + " " * 100_000 + "{", "line 1: not a sample"),
        ('a{b="c"' + " " * 100_000 + "!", "line 1: not a sample"),
    ],
)
def test_what_is_no_exposition_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(NoMetrics) as raised:
        Parser(ROOMY, SERVICE).parse(text)
    assert says in raised.value.what
    assert len(raised.value.what) < 250


def test_a_line_is_refused_the_second_time_too() -> None:
    parser = Parser(ROOMY, SERVICE)
    assert parser.parse("x 1\n").families
    with pytest.raises(NoMetrics):
        parser.parse("x 1\r\r1\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('# HELP x a\r\n# TYPE x gauge\r\nx 1\r\n\r\ny{a="b"} 2\r\n', ["gauge x 1", 'untyped y{a="b"} 2']),
        ("# TYPE x unknown\nx 1\n", ["untyped x 1"]),
        ("# TYPE x info\nx_info 1\n", ["untyped x_info 1"]),
        ("# HELP x a\n# HELP x b\nx 1\n", ["untyped x 1"]),
        ("# TYPE x gauge\n# TYPE x gauge\nx 1\n", ["gauge x 1"]),
        ("# TYPE x gauge\n# TYPE x counter\nx 1\n", ["gauge x 1"]),
        ('x 1\n# TYPE x gauge\nx{a="b"} 2\n', ["gauge x 1", 'gauge x{a="b"} 2']),
        ("x 1\n# EOF\n", ["untyped x 1"]),
        ("# TYPE\n# HELP\n# HELP x\nx 1", ["untyped x 1"]),
        ('x{a="\\q"} 1\n', ['untyped x{a="\\\\q"} 1']),
        ('x{a="\\\\q\\n"} 1\n', ['untyped x{a="\\\\q\\n"} 1']),
    ],
)
def test_what_prometheus_takes_is_taken(text: str, shown: list[str]) -> None:
    reading = Parser(ROOMY).parse(text)
    assert [f"{family.kind} {line}" for family in reading.families for line in family.lines] == shown
    assert not reading.dropped
    assert len(list(text_string_to_metric_families(join([reading.families]).decode()))) == len(reading.families)


@pytest.mark.parametrize(
    ("text", "reason", "count"),
    [
        ("x 1\nx 2\ny 1\n", REPEATED, 1),
        ('x{a="1",b="2"} 1\nx{b="2",a="1"} 2\nx{b="2",a="1"} 2\ny 1\n', REPEATED, 2),
        ("# TYPE x histogram\nx 1\ny 1\n", CONFLICT, 1),
        ('# TYPE x histogram\nx_bucket{le="1"} 1\nx_bucket 1\ny 1\n', CONFLICT, 2),
        ("# TYPE x summary\nx 1\nx_sum 1\ny 1\n", CONFLICT, 2),
        ('x 1\n# TYPE x summary\nx{quantile="0.5"} 1\ny 1\n', CONFLICT, 2),
    ],
)
def test_what_one_family_does_wrong_costs_the_others_nothing(text: str, reason: str, count: int) -> None:
    parser = Parser(ROOMY)
    for _again in range(2):
        reading = parser.parse(text)
        families = {family.name: family.lines for family in reading.families}
        assert families.pop("y") == ("y 1",)
        assert [len(lines) for lines in families.values()] == ([1] if reason == REPEATED else [])
        assert reading.dropped == {reason: count}


@pytest.mark.parametrize(
    "value", ["NaN", "+Inf", "-infinity", "1.7976931348623157e308", "1e-400", "1.", ".5", "9" * 300]
)
def test_a_value_is_shown_as_it_was_written(value: str) -> None:
    assert Parser(ROOMY).parse(f"x {value}\n").families[0].lines == (f"x {value}",)


@pytest.mark.parametrize("labels", [{"n": "\ud800"}, {}])
def test_what_cannot_be_written_is_refused(labels: dict[str, str]) -> None:
    metric = GaugeMetricFamily("x", "What x is.", labels=list(labels))
    metric.add_metric(list(labels.values()), 1 if labels else 10**400)
    with pytest.raises(NoMetrics, match="a name or figure of it cannot be written"):
        render([metric], Parser(ROOMY))


def test_a_changed_value_of_a_known_series_is_seen() -> None:
    parser = Parser(ROOMY, SERVICE)
    parser.parse('x{a="b"} 1\ny 1\n')
    assert [each.lines for each in parser.parse('x{a="b"} 2\n').families] == [('x{service="forwarder",a="b"} 2',)]


def test_a_family_beyond_the_bound_is_left_out_whole() -> None:
    text = 'a 1\nb{n="1"} 1\nb{n="2"} 1\nb{n="3"} 1\nc 1\n'
    reading = Parser(Bounds(series=3, label_characters=512)).parse(text)
    assert [each.name for each in reading.families] == ["a", "c"]
    assert reading.dropped == {SERIES: 3}


def test_a_label_that_is_too_long_takes_its_family_with_it() -> None:
    parser = Parser(Bounds(series=10, label_characters=16))
    text = f'a{{n="{"x" * 17}"}} 1\na{{n="y"}} 1\nb{{n="{"x" * 16}"}} 1\n'
    for _again in range(2):
        reading = parser.parse(text)
        assert [each.name for each in reading.families] == ["b"]
        assert reading.dropped == {LABELS: 2}


def test_a_value_with_a_time_of_its_own_is_not_shown_as_if_it_were_of_now() -> None:
    reading = Parser(ROOMY).parse("old 1 1395066363000\nnew 1\n")
    assert [each.name for each in reading.families] == ["new"]
    assert reading.dropped == {TIMESTAMP: 1}


names = st.from_regex(r"[a-z_]{1,6}", fullmatch=True)
label_names = st.from_regex(r"(?!__)[a-z_]{1,6}", fullmatch=True) | st.sampled_from(["service", "exported_service"])
# The reference parser reads a label's text in a way of its own where a control character is in it.
texts = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")) | st.sampled_from(["\n", "\\", '"', ","]), max_size=8
)
values = st.floats() | st.integers(-(10**15), 10**15).map(float)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value!r}".replace("inf", "Inf")


@given(
    st.dictionaries(
        names.map(lambda name: f"m_{name}_x"),
        st.tuples(
            st.sampled_from(["gauge", "untyped"]),
            st.dictionaries(st.frozensets(st.tuples(label_names, texts), max_size=4), values, min_size=1, max_size=4),
        ),
        max_size=6,
    )
)
def test_joined_text_has_exactly_the_samples_that_went_in(families: dict) -> None:
    expected, text = set(), ""
    for name, (kind, series) in families.items():
        text += f"# HELP {name} About {escaped(name)}.\n# TYPE {name} {kind}\n"
        for labels, value in series.items():
            if len({each for each, _ in labels}) < len(labels):
                continue
            inside = ",".join(f'{each}="{escaped(said)}"' for each, said in labels)
            text += f"{name}{{{inside}}} {number(value)}\n"
            own = dict(labels)
            said = own.pop("service", None)
            if said is not None:
                other = "exported_service" if "exported_service" not in own else "exported_exported_service"
                own[other] = said
            expected.add((name, frozenset({**own, "service": "forwarder"}.items()), number(value)))
    parser = Parser(ROOMY, SERVICE)
    for _again in range(2):
        out = join([parser.parse(text).families]).decode()
        found = [
            (sample.name, frozenset(sample.labels.items()), number(sample.value))
            for family in text_string_to_metric_families(out)
            for sample in family.samples
        ]
        assert set(found) == expected
        assert len(found) == len(expected)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reading = Parser(ROOMY, SERVICE).parse(text)
    except NoMetrics:
        return
    assert all(family.lines for family in reading.families)
