"""What a model's component asks the inference service, and how it ends."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lineside_inference.deploying import Answer, Fate, judge, judge_gone, main
from lineside_inference.deploying import ask as ask_judged
from tests.support.paths import ROOT

SERVES = {
    "version": "2",
    "default": "2",
    "wanted": "2",
    "state": "ONLINE",
    "detail": "",
    "changing": False,
    "refused": None,
}


def ask(url: str, name: str, version: str, token: str | None) -> Answer:
    return ask_judged(url, name, token, partial(judge, version=version))


@pytest.fixture
def service() -> Iterator[Any]:
    """A server that answers with `.answer`, and notes who asked with which token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.seen.append((self.path, self.headers.get("Authorization")))
            status, body = self.server.answer
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Be quiet."""

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_service_is_asked_with_the_token(service: Any) -> None:
    service.answer = 200, json.dumps(SERVES).encode()
    assert ask(service.url, "surface-defect", "2", "the-token").fate is Fate.DONE
    assert service.seen == [("/v1/models/surface-defect", "Bearer the-token")]


@pytest.mark.parametrize(
    ("answer", "fate", "words"),
    [
        ((404, b"{}"), Fate.WAITS, "does not know it yet"),
        ((401, b"no token"), Fate.TROUBLE, "answers 401: no token"),
        ((200, b"<html>"), Fate.TROUBLE, "is no inference service"),
        ((200, b"{}"), Fate.TROUBLE, "is no inference service"),
    ],
)
def test_other_answers(service: Any, answer: tuple[int, bytes], fate: Fate, words: str) -> None:
    service.answer = answer
    said = ask(service.url, "surface-defect", "2", None)
    assert said.fate is fate
    assert words in said.says


def test_nobody_there_is_waited_for(closed_port: int) -> None:
    said = ask(f"http://127.0.0.1:{closed_port}", "surface-defect", "2", None)
    assert said.fate is Fate.WAITS
    assert "does not answer" in said.says


def card(repository: Path) -> None:
    folder = repository / "surface-defect"
    folder.mkdir()
    text = (ROOT / "models" / "surface-defect" / "card.yaml").read_text()
    (folder / "card.yaml").write_text(text.replace('version: "1"', 'version: "2"'))


def test_a_refusal_is_the_last_line_and_the_exit_status(
    service: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card(tmp_path)
    refused = {"version": "2", "reason": "version 2 of model 'surface-defect' failed, version 1 stays in force: NaN"}
    service.answer = 200, json.dumps(SERVES | {"version": "1", "refused": refused}).encode()
    assert main(["--repository", str(tmp_path), "confirm", "surface-defect", service.url]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == refused["reason"]
    service.answer = 200, json.dumps(SERVES | {"version": "1", "wanted": "1"}).encode()
    token = tmp_path / "token"
    token.write_text("of-a-file\n")
    words = ["confirm", "surface-defect", service.url, "--token-file", str(token)]
    assert main(["--repository", str(tmp_path), *words]) == 0
    assert capsys.readouterr().out == "2 1\n"
    assert service.seen[-1][1] == "Bearer of-a-file"


def test_what_does_not_come_in_time_is_said(service: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card(tmp_path)
    service.answer = 200, json.dumps(SERVES | {"version": "1", "changing": True, "detail": "loading"}).encode()
    assert main(["--repository", str(tmp_path), "confirm", "surface-defect", service.url, "--within", "0"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "waits: loading",
        "version 2 does not serve within 0 s: loading",
    ]
    assert main(["--repository", str(tmp_path), "confirm", "other", service.url]) == 1
    assert "other/card.yaml cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        ((404, b"{}"), Fate.DONE),
        ((200, json.dumps(SERVES | {"state": "unloaded", "version": None}).encode()), Fate.DONE),
        ((200, json.dumps(SERVES).encode()), Fate.WAITS),
        ((500, b"oops"), Fate.TROUBLE),
    ],
)
def test_a_model_that_was_taken_out_is_gone_when_the_service_says_so(
    service: Any, answer: tuple[int, bytes], fate: Fate
) -> None:
    service.answer = answer
    unknown = Answer(Fate.DONE, "the service does not know it any more")
    assert ask_judged(service.url, "surface-defect", None, judge_gone, unknown).fate is fate
    status = main(["gone", "surface-defect", service.url, "--within", "0"])
    assert status == (0 if fate is Fate.DONE else 1)
