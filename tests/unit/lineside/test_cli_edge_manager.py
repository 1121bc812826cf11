"""What `lineside edge-manager` makes of files and of what it is told, before any agent is asked."""

import io
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lineside.cli import edge_manager
from lineside.cli.edge_manager import formatting
from lineside.cli.edge_manager.errors import BadInput
from lineside.cli.edge_manager.tensor_files import DTYPES, NamedFile, named_file, read, values, write
from lineside.edge_manager.protocol import agent_pb2 as pb


def header(descr: str, shape: str, body: bytes = b"") -> bytes:
    """Return a .npy file that says so of itself."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def npz() -> bytes:
    made = io.BytesIO()
    np.savez(made, a=np.zeros(2))
    return made.getvalue()


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x=a.npy", NamedFile("x", Path("a.npy"))),
        ("x=a=b:c.npy", NamedFile("x", Path("a=b:c.npy"))),
        ("x=a:b.raw:uint8:1,3", NamedFile("x", Path("a:b.raw"), "uint8", (1, 3))),
        ("x=a.raw:FLOAT32:", NamedFile("x", Path("a.raw"), "FLOAT32", ())),
        ("x=a.raw:uint8", NamedFile("x", Path("a.raw:uint8"))),
    ],
)
def test_an_option_names_a_file_and_what_it_holds(text: str, found: NamedFile) -> None:
    assert named_file(text) == found


@pytest.mark.parametrize("text", ["x.npy", "=x.npy", "x=", ""])
def test_an_option_without_a_name_or_a_file_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"Give NAME=FILE\.npy"):
        named_file(text)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_a_file_is_read_as_it_was_written(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(6, dtype=DTYPES[dtype])[: int(np.prod(shape))].reshape(shape)
    np.save(tmp_path / "a.npy", array)
    (tmp_path / "a.raw").write_bytes(array.tobytes())
    raw = f"x={tmp_path / 'a.raw'}:{dtype.lower()}:{','.join(map(str, shape))}"
    for given in (f"x={tmp_path / 'a.npy'}", raw):
        tensor = read(named_file(given))
        assert (tensor.datatype, tuple(tensor.metadata.shape)) == (dtype, shape)
        assert values(tensor).tobytes() == array.tobytes()
        assert write(tmp_path / "out", [tensor]) == [tmp_path / "out" / "x.npy"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no array that can be sent"),
        (b"\x93NUMPY\x01", "no array that can be sent"),
        (b"not an array at all", "no array that can be sent"),
        (pickle.dumps(Trap()), "no array that can be sent"),
        (header("'|O'", "(1,)", pickle.dumps([Trap()])), "no array that can be sent"),
        (header("'<f4'", "(1000000000000,)", b"1234"), "no array that can be sent"),
        (header("'<f4'", "(-1,)", b"1234"), "no array that can be sent"),
        (header("'<f4'", f"({2**62}, {2**62})", b"1234"), "no array that can be sent"),
        (header("'<f4'", "(0, 99999999999)"), "lengths are 2147483647 at most"),
        (header("'<c8'", "(1,)", bytes(8)), "dtype complex64 is none of the protocol's"),
        (header("'<U2'", "(1,)", bytes(8)), "none of the protocol's. Known are UINT8, "),
        (header("[('a', '<f4')]", "(1,)", bytes(4)), "none of the protocol's"),
        (header("'<u2'", "(1,)", bytes(2)), "array.view('int16')"),
        (header("'|b1'", "(1,)", bytes(1)), "array.view('uint8')"),
        (npz(), "as .npz"),
    ],
)
def test_a_file_that_is_no_tensor_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(BadInput) as refused:
        read(named_file("x=a.npy"))
    assert says in str(refused.value)
    assert not (tmp_path / "trapped").exists()


def test_the_trap_would_have_shut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Trap()))  # noqa: S301 - the negative control
    assert (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("a.raw:uint8:2,3", "has 4 bytes. UINT8 [2, 3] needs 6"),
        ("a.raw:uint8:0,4", "has 4 bytes"),
        ("a.raw:float8:4", "dtype float8 is none of the protocol's. Known are UINT8"),
        ("empty.raw:uint8:0,99999999999", "lengths are 2147483647 at most"),
        ("a.raw", "what it holds is not said"),
        ("none.npy", "there is no such file"),
        (".:uint8:1", "is no file"),
        ("pipe:uint8:1", "is no file"),
        ("x" * 300 + ".npy", "x.npy: "),
    ],
)
def test_raw_values_are_as_many_as_they_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.raw").write_bytes(b"1234")
    Path("empty.raw").touch()
    os.mkfifo("pipe")
    with pytest.raises(BadInput) as refused:
        read(named_file(f"x={given}"))
    assert says in str(refused.value)


def test_outputs_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    for folder in (tmp_path / "a", tmp_path / "none" / "out"):
        with pytest.raises(BadInput, match="cannot be written"):
            write(folder, [])


def test_models_are_shown_by_whichever_name_they_have() -> None:
    described = [pb.TensorMetadata(name=b"x\xff", data_type=5, shape=[-1, 3])]
    text = formatting.models_text(
        [pb.Model(name="old", url="/old"), pb.Model(name="new", handle="new", input_tensor_metadatas=described)]
    )
    assert text.splitlines() == [
        "NAME  INPUTS                 OUTPUTS  URL",
        "old   -                      -        /old",
        r"new   x\xff FLOAT32 [-1, 3]  -        -",
    ]
    assert formatting.models_text([]) == "no models are loaded\n"


def test_latency_is_of_calls_that_were_made() -> None:
    told = formatting.latency([0.001 * number for number in range(100, 0, -1)])
    assert told == {"calls": 100, "min_ms": 1.0, "median_ms": 50.0, "p95_ms": 95.0, "max_ms": 100.0}
    assert formatting.latency([0.002])["p95_ms"] == 2.0


def run(*arguments: str) -> Any:
    return CliRunner().invoke(edge_manager.app, list(arguments))


def test_without_its_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("lineside.cli.edge_manager.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(edge_manager, "commands", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    done = run("list")
    assert (done.exit_code, "lineside[cli,edge-manager]" in done.stderr) == (2, True)
    assert run("list", "--help").exit_code == 0


def test_the_socket_is_that_of_the_settings(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(f"edge_manager: {{UnixSocketName: {tmp_path / 'here.sock'}}}\n")
    by_settings, by_option = run("list", "--config", str(config)), run("list", "--socket", str(tmp_path / "there.sock"))
    assert (by_settings.exit_code, f"{tmp_path / 'here.sock'}" in by_settings.stderr) == (2, True)
    assert (by_option.exit_code, f"{tmp_path / 'there.sock'}" in by_option.stderr) == (2, True)
    config.write_text("edge_manager: {UnixSocket: /here}\n")
    wrong = run("list", "--config", str(config))
    assert (wrong.exit_code, "did you mean 'UnixSocketName'" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [("predict", "a", "--input", "x"), ("capture", "a", "--output", "x=none.npy")])
def test_what_is_given_is_judged_before_the_agent_is_looked_for(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, "--socket", str(tmp_path / "none.sock"))
    assert (done.exit_code, "socket" in done.stderr) == (2, False)
