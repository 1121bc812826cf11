"""What may be fetched, by host, port and address; nothing here is fetched."""

import pytest

from lineside_inference.errors import UrlNotAllowed
from lineside_inference.http1.target import Target
from lineside_inference.settings import UrlSettings
from lineside_inference.sources.url_hosts import check_addresses
from lineside_inference.sources.urls import Urls

SETTINGS = UrlSettings.model_validate(
    {"hosts": ["images.plant", "other.plant:8443", {"host": "10.0.0.7", "ports": [80], "private": True}, "::1"]}
)
URLS = Urls(SETTINGS, max_bytes=1000)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://images.plant/a.jpg?x=1&y=%20", "images.plant", 80, "/a.jpg?x=1&y=%20"),
        ("https://IMAGES.plant./a", "images.plant", 443, "/a"),
        ("https://other.plant:8443", "other.plant", 8443, "/"),
        ("http://10.0.0.7/ä", "10.0.0.7", 80, "/%C3%A4"),
        ("http://images.plant/a.jpg#there", "images.plant", 80, "/a.jpg"),
        ("http://[::1]/x", "::1", 80, "/x"),
    ],
)
def test_what_is_on_the_list_is_taken_apart(url: str, host: str, port: int, path: str) -> None:
    target = URLS.check(url)
    assert (target.host, target.port, target.path) == (host, port, path)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://images.plant/a.jpg",
        "file:///etc/passwd",
        "//images.plant/a.jpg",
        "images.plant/a.jpg",
        "http://images.plant:22/",
        "http://other.plant/",
        "http://elsewhere.plant/",
        "http://images.plant.evil/",
        "http://evil-images.plant/",
        "http://images.plant@evil/",
        "http://user:secret@images.plant/",
        "http://evil\\@images.plant/",
        "http://images.plant\\.evil/",
        "http://images.plant /",
        "http://images.plant/\r\nHost: evil",
        "http://images.plant\t.evil/",
        "http://ïmages.plant/",
        "http://images.plant%00.evil/",
        "http://images.plant:99999/",
        "http://images.plant:x/",
        "http://[::1/",
        "http:///a",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://10.0.0.7:8080/",
        "",
    ],
)
def test_what_is_not_on_the_list_is_refused(url: str) -> None:
    with pytest.raises(UrlNotAllowed) as caught:
        URLS.check(url)
    assert caught.value.code == "url-not-allowed"
    assert "secret" not in str(caught.value)


def test_an_empty_list_allows_nothing() -> None:
    with pytest.raises(UrlNotAllowed, match="none"):
        Urls(UrlSettings.model_validate({}), max_bytes=1).check("http://images.plant/")


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::6810:84e5"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert check_addresses("x", [address], private=False) == [address]


PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "::1",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:0a00:1::1",
]
NOWHERE = ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1", "::ffff:0.0.0.0"]  # noqa: S104


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_allowed_only_where_the_entry_says_so(address: str) -> None:
    with pytest.raises(UrlNotAllowed, match="private: true"):
        check_addresses("x", [address], private=False)
    assert check_addresses("x", [address], private=True) == [address]


@pytest.mark.parametrize("address", NOWHERE)
def test_an_address_of_nobody_is_never_allowed(address: str) -> None:
    for private in (False, True):
        with pytest.raises(UrlNotAllowed):
            check_addresses("x", [address], private=private)


@pytest.mark.parametrize("address", PRIVATE + NOWHERE)
def test_one_wrong_address_among_good_ones_refuses_them_all(address: str) -> None:
    for answer in (["93.184.215.14", address], [address, "93.184.215.14"]):
        with pytest.raises(UrlNotAllowed):
            check_addresses("x", answer, private=False)


def test_no_address_is_refused() -> None:
    with pytest.raises(UrlNotAllowed, match="no address"):
        check_addresses("x", [], private=True)


def test_a_query_is_not_shown() -> None:
    assert str(Target.of("https://a:8/p?key=secret")) == "https://a:8/p?..."
    assert str(Target.of("http://[fd00::1]:81/")) == "http://[fd00::1]:81/"
