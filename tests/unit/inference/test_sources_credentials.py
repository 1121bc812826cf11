import re
from pathlib import Path

import pytest

from lineside.errors import SettingsError
from lineside_inference.sources.credentials import Credentials, read_password

# RFC 7616, section 3.9.1: the same request under both algorithms.
REALM = 'realm="http-auth@example.org", qop="auth, auth-int"'
NONCES = 'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
OWN = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


def challenge(algorithm: str) -> list[tuple[str, str]]:
    return [("www-authenticate", f"Digest {REALM}, algorithm={algorithm}, {NONCES}")]


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_digest_answers_as_the_standard_says(algorithm: str, response: str) -> None:
    credentials = Credentials("Mufasa", "Circle of Life", nonce=lambda: OWN)
    assert credentials.header("GET", "/dir/index.html") is None
    assert credentials.challenged(challenge(algorithm))
    header = credentials.header("GET", "/dir/index.html") or ""
    assert header.startswith("Digest ")
    assert f'response="{response}"' in header
    assert "nc=00000001" in header
    assert "qop=auth," in header
    assert "nc=00000002" in (credentials.header("GET", "/dir/index.html") or "")


def test_digest_without_qop_is_the_old_one() -> None:
    # RFC 2069 as errata 749 corrects it.
    credentials = Credentials("Mufasa", "CircleOfLife")
    offered = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
    assert credentials.challenged([("www-authenticate", offered)])
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in (credentials.header("GET", "/dir/index.html") or "")


def test_basic_is_sent_only_when_asked_for_and_allowed() -> None:
    basic = [("www-authenticate", 'Basic realm="camera"')]
    credentials = Credentials("Aladdin", "open sesame")
    assert credentials.challenged(basic)
    assert credentials.header("GET", "/") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617, section 2
    assert not Credentials("a", "b", scheme="digest").challenged(basic)
    assert not Credentials("a", "b", scheme="basic").challenged(challenge("MD5"))
    assert not Credentials("a", "b").challenged([("www-authenticate", "Bearer x")])
    assert not Credentials("a", "b").challenged(challenge("MD17"))


def test_digest_goes_before_basic() -> None:
    credentials = Credentials("a", "b")
    assert credentials.challenged([("www-authenticate", "Basic x"), *challenge("MD5")])
    assert (credentials.header("GET", "/") or "").startswith("Digest ")


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(Credentials("a", "secret"))


@pytest.mark.parametrize("content", [None, b"", b"\nx", b"\xff\xfe"])
def test_a_password_file_that_does_not_do_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=re.escape(f"a.password_file: {path}: ")):
        read_password(path, "a.password_file")


def test_a_password_is_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pass word\r\nmore\n")
    assert read_password(tmp_path / "password", "x") == "pass word"
