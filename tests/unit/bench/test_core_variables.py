"""Recipe variables, in the dialects of both nuclei."""

from pathlib import Path

import pytest

from lineside_bench.greengrass.core import variables
from lineside_bench.greengrass.core.variables import Place, Scope, Unresolved

SCOPE = Scope(
    own=Place(
        {"topic": "line/1", "limits": {"Score": 0.75, "on": True, "a/b": "slash"}, "list": [1, 2]},
        Path("/g/artifacts/own/1.0.0"),
        Path("/g/unpacked/own/1.0.0"),
        Path("/g/work/own"),
    ),
    root=Path("/g"),
    thing="press-7",
    dependencies={"com.example.Other": Place({"port": 8001}, Path("/g/a/o"), Path("/g/u/o"), Path("/g/w/o"))},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{configuration:/topic}", "line/1"),
        ("{configuration:/limits/Score}", "0.75"),
        ("{configuration:/limits/score}", "0.75"),
        ("{configuration:/limits/on}", "true"),
        ("{configuration:/limits/a~1b}", "slash"),
        ("{configuration:/list}", "[1,2]"),
        ("{configuration:/gone} {configuration:/topic/below}", "{configuration:/gone} {configuration:/topic/below}"),
        ("{artifacts:path}/run.sh", "/g/artifacts/own/1.0.0/run.sh"),
        ("{artifacts:decompressedPath}/x", "/g/unpacked/own/1.0.0/x"),
        ("{work:path} {kernel:rootPath} {iot:thingName}", "/g/work/own /g press-7"),
        ("{com.example.Other:configuration:/port}", "8001"),
        ("{com.example.Other:artifacts:path}", "/g/a/o"),
        ("{com.example.Other:work:path}", "/g/w/o"),
        ("{com.example.Other:iot:thingName}", "{com.example.Other:iot:thingName}"),
        ("{com.example.Stranger:configuration:/port}", "{com.example.Stranger:configuration:/port}"),
        ("{nonsense:path} {artifacts:nonsense}", "{nonsense:path} {artifacts:nonsense}"),
        ("${HOME} {{.State}} f() { :; }", "${HOME} {{.State}} f() { :; }"),
    ],
)
def test_the_classic_dialect_leaves_what_it_does_not_know(text, expected):
    assert variables.expand_classic(text, SCOPE) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {configuration:/topic} b {configuration:/limits/Score}", "a line/1 b 0.75"),
        ("{artifacts:path}run.sh", "/g/artifacts/own/1.0.0/run.sh"),
        ("{work:path}", "/g/work/own/"),
        ("{kernel:rootPath} {iot:thingName}", "/g press-7"),
        ("no variables, $HOME", "no variables, $HOME"),
    ],
)
def test_the_lite_dialect(text, expected):
    assert variables.expand_lite(text, SCOPE) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${HOME}", "every { begins one"),
        ("{{.State}}", "every { begins one"),
        ("f() { :", "every { begins one"),
        ("{configuration:/gone}", "no such key"),
        ("{configuration:/limits/score}", "no such key"),
        ("{configuration:/limits/a~1b}", "no such key"),
        ("{com.example.Other:configuration:/port}", "no such variable"),
    ],
)
def test_the_lite_dialect_fails_for_what_it_does_not_know(text, says):
    with pytest.raises(Unresolved, match=says):
        variables.expand_lite(text, SCOPE)
