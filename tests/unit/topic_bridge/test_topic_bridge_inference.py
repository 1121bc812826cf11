from pathlib import Path

import httpx
import pytest

from lineside.errors import LinesideError
from lineside_topic_bridge.inference import Token


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first-token\nanother line\n")
    return path


def test_the_first_line_is_sent(path: Path) -> None:
    flow = Token(path).auth_flow(httpx.Request("POST", "http://inference/v1/infer"))
    assert next(flow).headers["authorization"] == "Bearer first-token"
    with pytest.raises(StopIteration):
        flow.send(httpx.Response(200))


def test_a_new_one_is_tried_once(path: Path) -> None:
    token = Token(path)
    path.write_text("second-token\n")
    flow = token.auth_flow(httpx.Request("POST", "http://inference/v1/infer"))
    assert next(flow).headers["authorization"] == "Bearer first-token"
    assert flow.send(httpx.Response(401)).headers["authorization"] == "Bearer second-token"
    with pytest.raises(StopIteration):
        flow.send(httpx.Response(401))


@pytest.mark.parametrize("then", ["first-token\n", ""])
def test_without_a_new_one_it_is_left_at_that(path: Path, then: str) -> None:
    token = Token(path)
    path.write_text(then)
    flow = token.auth_flow(httpx.Request("POST", "http://inference/v1/infer"))
    next(flow)
    with pytest.raises(StopIteration):
        flow.send(httpx.Response(401))


@pytest.mark.parametrize("content", ["", "\nsecond line\n", "two words\n", "ü\n"])
def test_a_file_that_will_not_do_stops_the_start(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(LinesideError, match="token file") as caught:
        Token(path)
    assert "inference_token_file" in caught.value.remedy


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(LinesideError, match="cannot be read"):
        Token(tmp_path / "none")
