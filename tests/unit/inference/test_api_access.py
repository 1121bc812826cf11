from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lineside_inference.api.access import Access, AccessRules
from lineside_inference.api.tokens import TokenFile, TokenFileError, read_tokens
from lineside_inference.settings import InferenceHttpSettings

TOKEN = "0123456789abcdef-one"  # noqa: S105 - made up here
SECOND = "0123456789abcdef-two"
Ask = Callable[..., httpx.AsyncClient]


async def here(_request: Request) -> Response:
    return PlainTextResponse("here")


async def kept(_request: Request) -> Response:
    return PlainTextResponse("kept", headers={"Cache-Control": "max-age=60"})


async def ready(_request: Request) -> Response:
    return JSONResponse({"ready": True, "connections": [{"target": "10.0.0.7"}]})


ROUTES = [
    Route("/", here),
    Route("/livez", here),
    Route("/readyz", ready),
    Route("/metrics", here),
    Route("/page/app.js", kept),
    Route("/v1/thing", here, methods=["GET", "POST", "PUT"]),
]


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"# the topic-bridge\n{TOKEN}\n\n{SECOND}\n")
    return path


@pytest.fixture
def counted() -> list[str]:
    return []


@pytest.fixture
def client(counted: list[str]) -> Ask:
    """Return a client of the application behind the doors of these settings."""

    def make(base: str = "http://127.0.0.1:8080", **http: object) -> httpx.AsyncClient:
        settings = InferenceHttpSettings.model_validate(http)
        tokens = TokenFile(settings.token_file) if settings.token_file else None
        app = Access(Starlette(routes=ROUTES), AccessRules.of(settings), tokens, counted.append)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base)

    return make


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LOCALHOST:9", "[::1]:8080", "[::1]"])
async def test_on_loopback_its_own_names_are_taken(client: Ask, host: str) -> None:
    assert (await client().get("/v1/thing", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8080", "localhost@evil", "", "127.0.0.1:x"])
async def test_on_loopback_a_foreign_name_is_refused(client: Ask, counted: list[str], host: str) -> None:
    answer = await client().get("/v1/thing", headers={"Host": host})
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:lineside:problem:host-not-allowed"
    assert "inference.http.allowed_hosts" in answer.json()["detail"]
    assert counted == ["host-not-allowed"]


async def test_an_allowed_name_is_taken(client: Ask) -> None:
    asking = client(allowed_hosts=("panel-7.plant",))
    assert (await asking.get("/v1/thing", headers={"Host": "Panel-7.plant:8080"})).status_code == 200
    assert (await asking.get("/v1/thing", headers={"Host": "panel-8.plant"})).status_code == 403


async def test_off_loopback_with_tokens_names_are_checked_once_some_are_listed(client: Ask, token_file: Path) -> None:
    anything = {"Host": "inference:8080", "Authorization": f"Bearer {TOKEN}"}
    unlisted = client(host="0.0.0.0", token_file=token_file)  # noqa: S104
    assert (await unlisted.get("/v1/thing", headers=anything)).status_code == 200
    listed = client(host="0.0.0.0", token_file=token_file, allowed_hosts=("box",))  # noqa: S104
    assert (await listed.get("/v1/thing", headers=anything)).status_code == 403


@pytest.mark.parametrize(
    ("host", "listed", "status"),
    [
        ("rebound.evil.example:8080", (), 403),  # a page whose name was made to lead here
        ("10.0.0.7.evil.example", (), 403),
        ("inference:8080", (), 403),
        ("inference:8080", ("inference",), 200),
        ("localhost:8080", ("inference",), 200),
        ("10.0.0.7:8080", (), 200),  # no page of another machine has our address
        ("[fd00::7]:8080", (), 200),
        ("10.0.0.7:8080", ("inference",), 403),
    ],
)
async def test_where_everybody_may_ask_the_name_is_checked_always(
    client: Ask, host: str, listed: tuple[str, ...], status: int
) -> None:
    asking = client(host="0.0.0.0", auth="none", allowed_hosts=listed)  # noqa: S104
    for method in ("GET", "PUT"):
        answer = await asking.request(method, "/v1/thing", headers={"Host": host})
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),  # a link
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403),
        ({"Origin": "http://evil.example"}, 403),  # an EventSource, also where no Sec-Fetch header is sent: no https
    ],
)
async def test_no_page_from_elsewhere_may_hold_a_place(client: Ask, headers: dict[str, str], status: int) -> None:
    assert (await client().get("/v1/thing", headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8080"}, 200),
        ({"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8090"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[bad"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
async def test_no_page_from_elsewhere_may_change_anything(client: Ask, headers: dict[str, str], status: int) -> None:
    for method in ("POST", "PUT"):
        answer = await client().request(method, "/v1/thing", headers=headers)
        assert answer.status_code == status
        assert "access-control-allow-origin" not in answer.headers


async def test_the_origin_of_a_default_port_is_the_same(client: Ask) -> None:
    headers = {"Host": "localhost", "Origin": "http://localhost:80"}
    assert (await client().post("/v1/thing", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/livez", 200), ("/readyz", 200), ("/page/app.js", 200), ("/metrics", 401), ("/v1/thing", 401)],
)
async def test_without_a_token_only_what_says_nothing_is_open(
    client: Ask, token_file: Path, path: str, status: int
) -> None:
    answer = await client(token_file=token_file).get(path)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "token-missing"


async def test_readyz_tells_strangers_no_addresses(client: Ask, token_file: Path) -> None:
    asking = client(token_file=token_file)
    assert (await asking.get("/readyz")).json() == {"ready": True}
    known = await asking.get("/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    assert known.json()["connections"] == [{"target": "10.0.0.7"}]


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {SECOND}", f"Bearer  {TOKEN}"])
async def test_each_token_of_the_file_lets_in(client: Ask, token_file: Path, given: str) -> None:
    answer = await client(token_file=token_file).get("/v1/thing", headers={"Authorization": given})
    assert answer.status_code == 200


@pytest.mark.parametrize("given", ["Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer", f"Bearer {TOKEN}x", "Bearer ü"])
async def test_anything_else_does_not(client: Ask, token_file: Path, counted: list[str], given: str) -> None:
    asking = client(token_file=token_file)
    answer = await asking.get("/v1/thing", headers={"Authorization": given.encode("latin-1")})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert TOKEN not in answer.text
    assert counted == ["token-unknown"]


async def test_metrics_are_open_where_the_setting_says_so(client: Ask, token_file: Path) -> None:
    assert (await client(token_file=token_file, open_metrics=True).get("/metrics")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v1/thing", "/nothing", "/page/app.js"])
async def test_every_answer_has_the_security_headers(client: Ask, path: str) -> None:
    headers = (await client().get(path)).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    expected = {"/v1/thing": "no-store", "/nothing": "no-store", "/page/app.js": "max-age=60", "/": None}
    assert headers.get("cache-control") == expected[path]


def test_a_changed_file_is_read_again_and_a_bad_one_leaves_the_last_good(token_file: Path) -> None:
    now = [0.0]
    tokens = TokenFile(token_file, lambda: now[0])
    token_file.write_text("fedcba9876543210-new\n")
    assert tokens.knows(TOKEN), "it is looked at once a second at most"
    now[0] = 1.0
    assert not tokens.knows(TOKEN)
    assert tokens.knows("fedcba9876543210-new")
    for number, bad in enumerate(("short\n", "", "# nothing\n"), 2):
        token_file.write_text(bad)
        now[0] = float(number)
        assert tokens.knows("fedcba9876543210-new")
    token_file.unlink()
    now[0] = 9.0
    assert tokens.knows("fedcba9876543210-new")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no token"),
        (b"# only this\n", "has no token"),
        (b"short\n", "line 1"),
        (b"0123456789abcdef\nwith a space in it\n", "line 2"),
        ("0123456789abcdefü".encode(), "no token has"),
        (b"a" * 70_000, "above"),
    ],
)
def test_a_token_file_that_will_not_do_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(content)
    with pytest.raises(TokenFileError, match=said) as caught:
        read_tokens(path)
    assert "openssl rand" in caught.value.remedy


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="cannot be read"):
        TokenFile(tmp_path / "none")
