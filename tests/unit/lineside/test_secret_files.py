from pathlib import Path

import pytest

from lineside.secret_files import SecretFileError, read_password, read_token


def file_of(folder: Path, content: bytes) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"secret", "secret"),
        (b"secret\n", "secret"),
        (b"secret\r\nsecond line\n", "secret"),
        (b" with blanks \n", " with blanks "),
        ("Schl\u00fcssel\u2028x\n".encode(), "Schl\u00fcssel\u2028x"),
        (b"right\n\xff", "right"),
    ],
)
def test_a_password_is_the_first_line(tmp_path: Path, content: bytes, password: str) -> None:
    assert read_password(file_of(tmp_path, content)) == password


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "its first line is empty"), (b"\nx", "its first line is empty"), (b"\xff", "is not UTF-8")],
)
def test_a_file_without_a_password_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    path = file_of(tmp_path, content)
    with pytest.raises(SecretFileError, match=why) as caught:
        read_password(path)
    assert str(path) in caught.value.what


def test_a_token_is_the_first_line_without_blanks_around_it(tmp_path: Path) -> None:
    assert read_token(file_of(tmp_path, b" abc.DEF-1 \r\nsecond\n")) == "abc.DEF-1"


@pytest.mark.parametrize("content", [b"", b"\nx", b"two words\n", b"a\x07b\n", "\u00fc\n".encode()])
def test_what_no_header_can_carry_is_no_token(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SecretFileError):
        read_token(file_of(tmp_path, content))


def test_no_error_shows_what_is_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError) as caught:
        read_token(file_of(tmp_path, b"geheim \xff"))
    assert "geheim" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for read in (read_password, read_token):
        with pytest.raises(SecretFileError, match="none: cannot be read: No such file"):
            read(tmp_path / "none")
