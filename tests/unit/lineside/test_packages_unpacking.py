"""A package unpacked: what lies, leads elsewhere, or would fill the disk is refused, and nothing is there then."""

import contextlib
import gzip
import json
import os
import shutil
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.packages import Limits, PackageRefused, pack, parse_manifest, read_manifest, unpack
from lineside.packages.paths import MANIFEST_FILE
from tests.support.model_packages import (
    manifest_bytes,
    manifest_document,
    model_folder,
    packaged,
    tar_with,
    write_archive,
)


def refused(archive: Path, limits: Limits | None = None) -> PackageRefused:
    """Unpack, and see that nothing of it is left."""
    into = archive.parent / "into"
    with pytest.raises(PackageRefused) as caught:
        unpack(archive, into, limits or Limits())
    assert not into.exists()
    assert not list(archive.parent.glob(".*"))
    return caught.value


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = size
    info.linkname = "/etc/passwd"
    return info


def squeezed(path: Path, tar: bytes) -> Path:
    path.write_bytes(gzip.compress(tar))
    return path


def test_it_is_what_was_packed(tmp_path):
    packed = pack(model_folder(tmp_path / "from"), tmp_path)
    assert unpack(packed.archive, tmp_path / "into") == packed.manifest
    found = {str(path.relative_to(tmp_path / "into")) for path in (tmp_path / "into").rglob("*") if path.is_file()}
    assert found == {"3/model.onnx", "card.yaml", "config.pbtxt", "labels.txt", MANIFEST_FILE}
    assert parse_manifest((tmp_path / "into" / MANIFEST_FILE).read_bytes()) == packed.manifest
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "into").rglob("*") if path.is_file()}
    assert modes == {0o644}


def test_a_package_that_somebody_squeezed_again_is_the_same(tmp_path):
    archive = packaged(tmp_path / "a.tar.gz", {"3/model.onnx": os.urandom(3_000_000)})
    squeezed(archive, gzip.decompress(archive.read_bytes()))
    unpack(archive, tmp_path / "into")


def test_what_is_there_is_not_replaced(tmp_path):
    archive = packaged(tmp_path / "a.tar.gz")
    (tmp_path / "into").mkdir()
    with pytest.raises(PackageRefused, match="into is there already") as caught:
        unpack(archive, tmp_path / "into")
    assert caught.value.reason == "not-written"


def test_what_a_killed_process_left_is_cleared(tmp_path):
    (tmp_path / ".into.incoming").mkdir()
    (tmp_path / ".into.incoming/rubbish").write_text("half")
    unpack(packaged(tmp_path / "a.tar.gz"), tmp_path / "into")
    assert not (tmp_path / "into/rubbish").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../escaped", "leads out of the package"),
        ("/etc/cron.d/x", "is an absolute path"),
        ("3/../../x", "leads out of the package"),
        ("a/b/c/d/e/f/g/h/i", "folders deep"),
        ("/".join(["a" * 77, "b" * 77, "c" * 90]), "is too long"),
        (".hidden", "or begin with ."),
        ("a\\b", "names that are not letters"),
        ("a\x1b[31m", "names that are not letters"),
        ("./card.yaml", "names that are not letters"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name, says):
    tar = tar_with(manifest_bytes(), entry(name), format=tarfile.USTAR_FORMAT)
    error = refused(squeezed(tmp_path / "a.tar.gz", tar))
    assert error.reason == "archive-unsafe"
    assert says in str(error)
    assert "\x1b" not in str(error)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.DIRTYPE, "a folder's own entry"),
        (b"Z", "of a kind b'Z'"),
    ],
)
def test_only_plain_files_are_taken(tmp_path, kind, says):
    error = refused(squeezed(tmp_path / "a.tar.gz", tar_with(manifest_bytes(), entry("3/model.onnx", kind))))
    assert error.reason == "archive-unsafe"
    assert says in str(error)


def test_an_extended_header_of_any_size_costs_no_memory(tmp_path):
    info = entry("x")
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    large = tarfile.TarInfo("pax")
    large.type, large.size = tarfile.XHDTYPE, 8 * 1024**3 - 1
    tar = tar_with(manifest_bytes())[: 1024 + 512] + large.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20) + bytes(header)
    tracemalloc.start()
    try:
        error = refused(squeezed(tmp_path / "a.tar.gz", tar))
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert "an extended header" in str(error)


def test_ten_gigabytes_in_ten_kilobytes_are_refused_at_once(tmp_path):
    size = 8 * 1024**3 - 1
    document = manifest_document()
    document["files"][0]["size"] = size
    text = json.dumps(document).encode()
    squeeze = zlib.compressobj(9, wbits=31)
    path = tmp_path / "a.tar.gz"
    with path.open("wb") as out:
        out.write(squeeze.compress(tar_with(text)[: 512 + len(text) + -len(text) % 512]))
        out.write(squeeze.compress(entry("3/model.onnx", size=size).tobuf(tarfile.USTAR_FORMAT)))
        for _ in range(200):
            out.write(squeeze.compress(bytes(1 << 20)))
        out.write(squeeze.flush())
    assert path.stat().st_size < 300_000
    error = refused(path, Limits(reserve=-(16 * 1024**3)))
    assert error.reason == "archive-too-large"
    assert "more than 100 times as many" in str(error)


def test_more_than_the_limits_is_refused_before_it_is_written(tmp_path):
    archive = packaged(tmp_path / "a.tar.gz", {f"3/{number}": b"x" for number in range(20)})
    assert "has 23 files" in str(refused(archive, Limits(files=22)))
    error = refused(archive, Limits(bytes=10))
    assert error.reason == "archive-too-large"
    assert "at most 1000 of 10 are taken" in str(error)


def test_a_disk_without_room_is_named_before_anything_is_written(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    error = refused(packaged(tmp_path / "a.tar.gz"), Limits(reserve=free + 10**12))
    assert error.reason == "disk-full"
    assert "has 0 for it. Free some of it" in str(error)


@pytest.mark.parametrize(
    ("files", "says", "reason"),
    [
        ({"3/model.onnx": b"other"}, "has 5 bytes, and the manifest says 4", "content-differs"),
        ({"3/model.onnx": b"abcd"}, "'3/model.onnx' has SHA-256 88d4266f", "content-differs"),
    ],
)
def test_a_manifest_that_lies_about_a_file_is_refused(tmp_path, files, says, reason):
    archive = packaged(tmp_path / "a.tar.gz", files, says={"3/model.onnx": b"onnx"})
    error = refused(archive)
    assert error.reason == reason
    assert says in str(error)


def test_a_missing_a_strange_and_a_second_file_are_refused(tmp_path):
    with tarfile.open(packaged(tmp_path / "a.tar.gz")) as tar:
        members = [(each.name, tar.extractfile(each).read()) for each in tar]  # type: ignore[union-attr]
    write_archive(tmp_path / "b.tar.gz", members[:-1])
    assert "the manifest names '3/model.onnx', and the archive does not hold it" in str(refused(tmp_path / "b.tar.gz"))
    write_archive(tmp_path / "c.tar.gz", [*members, ("3/more", b"")])
    assert "holds '3/more' which the manifest does not name" in str(refused(tmp_path / "c.tar.gz"))
    write_archive(tmp_path / "d.tar.gz", [*members, members[-1]])
    assert "holds '3/model.onnx' twice" in str(refused(tmp_path / "d.tar.gz"))
    write_archive(tmp_path / "e.tar.gz", [*members, members[0]])
    assert "holds 'sagemaker_edge_manifest' twice" in str(refused(tmp_path / "e.tar.gz"))
    write_archive(tmp_path / "f.tar.gz", members[1:])
    assert refused(tmp_path / "f.tar.gz").reason == "manifest-missing"


def test_a_card_that_is_not_the_manifests_is_refused(tmp_path):
    archive = packaged(tmp_path / "a.tar.gz", {"card.yaml": b"schema: lineside/card/1\nname: detector\nversion: '2'\n"})
    assert "card.yaml is not the card of the manifest" in str(refused(archive))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "is "),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "given twice"),
        (b"[]", "expected a group"),
        (manifest_bytes(format="lineside/package/2"), "format: must be 'lineside/package/1'"),
        (manifest_bytes(metadata={"model_name": "../x", "model_version": "1"}), "metadata.model_name"),
        (manifest_bytes(metadata={"model_name": "detector", "model_version": "4"}), "card.version is '3'"),
        (manifest_bytes(more=1), "more"),
        (manifest_bytes(variants=[{"variant": "any", "files": ["3/other"]}]), "'3/other', which files has not"),
        (manifest_bytes(variants=[{"variant": "cc=8.7", "files": ["3/model.onnx"]}]), "does not say cc None"),
        (manifest_bytes(variants=[{"variant": "cc", "files": ["3/model.onnx"]}]), "is not a condition"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, text, says):
    write_archive(tmp_path / "a.tar.gz", {MANIFEST_FILE: text})
    error = refused(tmp_path / "a.tar.gz")
    assert error.reason == "manifest-wrong"
    assert says in str(error)
    with pytest.raises(PackageRefused):
        read_manifest(tmp_path / "a.tar.gz")


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["card.yaml", "config.pbtxt", "3/a", "3/A"], "in case only"),
        (["card.yaml", "config.pbtxt", "3/a", "3/a"], "is there twice"),
        (["card.yaml", "config.pbtxt", "3", "3/a"], "'3' is a file, and '3/a' would be in it"),
        (["card.yaml", "config.pbtxt", "Sagemaker_Edge_Manifest"], "in case only"),
        (["card.yaml", "3/a", "3/b"], "files has no config.pbtxt"),
        (["card.yaml", "config.pbtxt", "../a"], "leads out of the package"),
    ],
)
def test_a_manifest_whose_paths_collide_is_refused(paths, says):
    files = [{"path": path, "size": 0, "sha256": "0" * 64} for path in paths]
    with pytest.raises(PackageRefused, match="sagemaker") as caught:
        parse_manifest(manifest_bytes(files=files))
    assert says in str(caught.value)


def test_a_huge_manifest_is_not_read(tmp_path):
    write_archive(tmp_path / "a.tar.gz", {MANIFEST_FILE: b" " * 1_100_000})
    assert "has 1100000 bytes; at most 1048576 are read" in str(refused(tmp_path / "a.tar.gz"))


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        archive = packaged(folder / "a.tar.gz")
        archive.write_bytes(change(archive.read_bytes()))
        return archive

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (changed(lambda _data: b""), "ends too early"),
        (changed(lambda data: data[:-9]), "ends too early"),
        (changed(lambda data: data[:300]), "ends too early"),
        (changed(lambda data: data + b"x"), "bytes behind the archive's end"),
        (changed(lambda data: data + data), "bytes behind the archive's end"),
        (changed(lambda data: gzip.compress(gzip.decompress(data) + b"x")), "bytes behind the archive's end"),
        (changed(lambda data: gzip.compress(gzip.decompress(data) + bytes(20_000))), "bytes behind the archive's end"),
        (changed(lambda data: data[:-6] + bytes(6)), "is no gzip, or a damaged one"),
        (changed(gzip.decompress), "is no gzip"),
        (changed(lambda _data: gzip.compress(b"x" * 2000)), "is no tar"),
        (changed(lambda data: gzip.compress(gzip.decompress(data)[:700])), "ends in the middle of a file"),
    ],
)
def test_a_damaged_archive_is_refused(tmp_path, make, says):
    error = refused(make(tmp_path))
    assert error.reason == "archive-damaged"
    assert says in str(error)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar.gz")
    for name, says in (
        ("none.tar.gz", "cannot be read: No such file"),
        ("pipe.tar.gz", "is not a file"),
        (".", "not a"),
    ):
        with pytest.raises(PackageRefused, match=says) as caught:
            unpack(tmp_path / name, tmp_path / "into")
        assert caught.value.reason == "archive-missing"


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_byte_is_changed_all_of_it_is_there_or_nothing(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    archive = packaged(folder / "a.tar.gz", {"labels.txt": b"good\nbad\n"})
    content = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # the checksum of the gzip fits, so that what is behind it is reached
        with contextlib.suppress(zlib.error):
            content = bytearray(gzip.compress(zlib.decompress(bytes(content[10:-8]), wbits=-15)))
    archive.write_bytes(bytes(content))
    try:
        manifest = unpack(archive, folder / "into")
    except PackageRefused:
        assert [path.name for path in folder.iterdir()] == ["a.tar.gz"]
    else:
        assert (folder / "into/3/model.onnx").read_bytes() == b"onnx"
        assert manifest.name == "detector"
