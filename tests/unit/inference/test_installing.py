"""A signed package put into the model repository: by whom it may be signed, and what is there when it is refused."""

import io
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside.packages import PackageRefused, make_key, pack, sign
from lineside_inference import deploying
from lineside_inference.errors import StoreError
from lineside_inference.models import placing
from lineside_inference.models.installing import Trust, install, install_streamed
from lineside_inference.models.store import read_store
from lineside_inference.models.variants import UNKNOWN
from tests.support.model_packages import authority, packaged, sha256, signer, trusting

NAME = "detector"


class Rig:
    """A repository, packages of a model, a key that is trusted and a folder of roots."""

    def __init__(self, folder: Path, document: Any) -> None:
        self.folder, self.document = folder, document
        self.repository = folder / "models"
        self.repository.mkdir()
        make_key(folder / "team.key")
        self.roots = trusting(folder / "roots", folder / "team.key.pub")
        self.trust = Trust(self.roots)

    def package(self, version: str = "1", content: bytes = b"onnx", *, is_signed: bool = True) -> Path:
        folder = self.folder / f"from-{version}-{content.decode()}" / NAME
        (folder / version).mkdir(parents=True)
        (folder / version / "model.onnx").write_bytes(content)
        (folder / "config.pbtxt").write_text('backend: "onnxruntime" max_batch_size: 1')
        files = [{"path": f"{version}/model.onnx", "sha256": sha256(content)}]
        card = self.document | {"name": NAME, "version": version, "files": files}
        (folder / "card.yaml").write_text(yaml.safe_dump(card))
        archive = pack(folder, folder.parent).archive
        if is_signed:
            sign(archive, key=self.folder / "team.key")
        return archive

    def refused(self, archive: Path, trust: Trust | None = None, **given: Any) -> PackageRefused:
        before = self.files
        with pytest.raises(PackageRefused) as refused:
            install(self.repository, archive, trust or self.trust, **given)
        assert self.files == before
        return refused.value

    @property
    def files(self) -> dict[str, bytes]:
        found = (path for path in sorted(self.repository.rglob("*")) if path.is_file())
        return {str(path.relative_to(self.repository)): path.read_bytes() for path in found}


@pytest.fixture
def rig(tmp_path: Path, document: Any) -> Rig:
    return Rig(tmp_path, document)


def streamed(*files: Path) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for file in files:
            tar.add(file, file.name)
    stream.seek(0)
    return stream


def test_a_signed_package_is_put_there_and_loads(rig):
    done = install(rig.repository, rig.package(), rig.trust)
    assert (done.name, done.version) == (NAME, "1")
    assert "signed by key team.key.pub, SHA-256 " in done.says
    assert read_store(rig.repository, UNKNOWN, allow_python=False)[NAME].card.version == "1"
    assert set(rig.files) == {
        f"{NAME}/{name}"
        for name in (
            "1/card.yaml",
            "1/config.pbtxt",
            "1/model.onnx",
            "card.yaml",
            "config.pbtxt",
            "sagemaker_edge_manifest",
        )
    }


def test_the_next_version_lies_beside_the_one_that_serves(rig):
    install(rig.repository, rig.package("1"), rig.trust)
    placing.accept(rig.repository, NAME, ["1"])
    install(rig.repository, rig.package("2", b"better"), rig.trust)
    assert rig.files[f"{NAME}/1/model.onnx"] == b"onnx"
    assert rig.files[f"{NAME}/2/model.onnx"] == b"better"
    assert placing.version_of(rig.repository, NAME) == "2"


def test_a_file_that_changes_after_it_was_installed_never_serves(rig):
    install(rig.repository, rig.package(), rig.trust)
    (rig.repository / NAME / "1" / "model.onnx").write_bytes(b"evil")
    store = read_store(rig.repository, UNKNOWN, allow_python=False, may_be_empty=True)
    assert NAME not in store
    assert "has SHA-256" in store.out[NAME]


def test_an_unsigned_package_is_refused_unless_its_name_is_allowed(rig):
    archive = rig.package(is_signed=False)
    error = rig.refused(archive)
    assert error.reason == "signature-missing"
    assert f"model 'detector' comes without a signature, and {rig.roots} says who signs" in str(error)
    assert rig.refused(archive, Trust(rig.roots, frozenset({"other"}))).reason == "signature-missing"
    done = install(rig.repository, archive, Trust(rig.roots, frozenset({NAME})))
    assert done.says == "model detector: it may come without a signature"


def test_a_wrong_signature_is_refused_though_the_name_is_allowed(rig):
    archive = rig.package(is_signed=False)
    make_key(rig.folder / "stranger")
    sign(archive, key=rig.folder / "stranger")
    assert rig.refused(archive, Trust(rig.roots, frozenset({NAME}))).reason == "signer-unknown"


def test_without_roots_nobody_is_asked_and_that_is_said(rig):
    done = install(rig.repository, rig.package(is_signed=False), Trust())
    assert done.says == "model detector: nobody is asked who signed it, for no roots are set"


def test_a_changed_byte_leaves_what_serves(rig):
    install(rig.repository, rig.package("1"), rig.trust)
    archive = rig.package("2")
    content = bytearray(archive.read_bytes())
    content[-2000] ^= 1
    archive.write_bytes(content)
    assert rig.refused(archive).reason == "content-changed"


def test_a_package_of_another_model_is_refused(rig):
    assert "is of model 'detector', and 'other' was expected" in str(rig.refused(rig.package(), model="other"))


def test_a_card_that_triton_could_not_be_told_of_is_refused(rig):
    archive = packaged(rig.folder / "a.tar.gz")  # its card has no input, no output
    sign(archive, key=rig.folder / "team.key")
    with pytest.raises(StoreError, match="description: Field required"):
        install(rig.repository, archive, rig.trust)
    assert not rig.files


def test_a_stream_of_signature_and_package_is_installed_as_it_comes(rig):
    archive = rig.package()
    stream = streamed(archive.with_name(f"{archive.name}.sig"), archive)
    assert install_streamed(rig.repository, NAME, stream, rig.trust).version == "1"
    for files, reason in (([archive], "signature-missing"), ([], "archive-missing")):
        with pytest.raises(PackageRefused) as refused:
            install_streamed(rig.repository, NAME, streamed(*files), rig.trust)
        assert refused.value.reason == reason
    with pytest.raises(PackageRefused, match="no tar of a package"):
        install_streamed(rig.repository, NAME, io.BytesIO(b"x" * 2000), rig.trust)


def test_what_was_accepted_is_installed_again_after_its_certificate_expired_and_nothing_else(rig, monkeypatch):
    plant = authority(rig.folder / "ca")
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    one = signer(rig.folder / "ca", plant, ends=soon)
    trusting(rig.roots, plant.certificate)

    def by_certificate(version: str, content: bytes = b"onnx") -> Path:
        archive = rig.package(version, content, is_signed=False)
        sign(archive, key=one.key, certificate=one.certificate)
        return archive

    first, second, other = by_certificate("1"), by_certificate("2"), by_certificate("1", b"other")
    install(rig.repository, first, rig.trust)
    install(rig.repository, second, rig.trust)
    install(rig.repository, first, rig.trust)
    placing.accept(rig.repository, NAME, ["1"])

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=2)

    monkeypatch.setattr("lineside.packages.verifying.datetime", Later)
    assert "and this version was accepted before" in install(rig.repository, first, rig.trust).says
    assert rig.refused(second).reason == "certificate-expired"
    with pytest.raises(StoreError, match="is there with another content"):
        install(rig.repository, other, rig.trust)
    assert rig.files[f"{NAME}/1/model.onnx"] == b"onnx"


def test_the_command_says_who_signed_and_the_version_or_why_not(rig, capsys):
    archive = rig.package()
    given = ["--repository", str(rig.repository), "install", str(archive), "--roots", str(rig.roots)]
    assert deploying.main(given) == 0
    out, err = capsys.readouterr()
    assert out == "version 1\n"
    assert err.startswith("model detector: signed by key team.key.pub")
    archive.with_name(f"{archive.name}.sig").unlink()
    assert deploying.main(given) == 1
    assert "comes without a signature" in capsys.readouterr().err
    assert deploying.main([*given, "--allow-unsigned", NAME]) == 0
    assert deploying.main(["--repository", str(rig.repository), "install", "-"]) == 1


def test_installing_what_is_not_signed_brings_no_library_in(rig):
    archive = rig.package(is_signed=False)
    code = (
        "import sys; from lineside_inference.deploying import main\n"
        f"main(['--repository', {str(rig.repository)!r}, 'install', {str(archive)!r}])\n"
        "print(sorted({'cryptography', 'model_signing', 'OpenSSL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "version 1\n[]\n"
