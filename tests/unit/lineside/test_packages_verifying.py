"""Who signed a package, and whether it is what was signed: each thing that is wrong is refused in words of its own."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from lineside.packages import PackageRefused, install, make_key, pack, sign, verify
from tests.support.model_packages import NOW, authority, model_folder, packaged, signer, trusting
from tests.support.paths import ROOT

DAY = timedelta(days=1)


class Desk:
    """A package, a key that signs it, and a folder of roots that trusts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = pack(model_folder(folder), folder).archive
        self.key = folder / "team.key"
        self.public = make_key(self.key)
        self.roots = trusting(folder / "roots", self.public)
        self.authority = authority(folder / "ca")

    def sign(self) -> Path:
        return sign(self.archive, key=self.key)

    def refused(self, **given: Any) -> PackageRefused:
        """Verify, and install: both are refused for the same reason, and nothing is there."""
        into, given = self.folder / "into", {"now": NOW} | given
        with pytest.raises(PackageRefused) as by_verify:
            verify(self.archive, None, self.roots, **given)
        with pytest.raises(PackageRefused) as by_install:
            install(self.archive, None, self.roots, into, **given)
        assert not into.exists()
        assert not list(self.folder.glob(".*"))
        assert by_install.value.reason == by_verify.value.reason
        return by_verify.value


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def change(path: Path, edit: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def test_a_package_that_is_signed_by_a_trusted_key_is_installed(desk):
    desk.sign()
    found = verify(desk.archive, None, desk.roots)
    assert (found.signer, found.root) == ("key team.key.pub", desk.roots / "team.key.pub")
    verified, manifest = install(desk.archive, None, desk.roots, desk.folder / "into")
    assert verified == found
    assert manifest.name == "detector"
    assert (desk.folder / "into/3/model.onnx").read_bytes() == b"onnx" * 1000


def test_it_may_be_renamed_and_its_signature_lie_elsewhere(desk):
    bundle = desk.sign().rename(desk.folder / "other")
    archive = desk.archive.rename(desk.folder / "renamed.tar.gz")
    assert verify(archive, bundle, desk.roots).signer == "key team.key.pub"


def test_the_right_one_of_several_keys_is_taken(desk):
    for name in "abc":
        make_key(desk.folder / "more" / name)
        trusting(desk.roots, desk.folder / f"more/{name}.pub")
    desk.sign()
    assert verify(desk.archive, None, desk.roots).signer == "key team.key.pub"


def test_openssfs_own_tool_verifies_what_we_sign_and_we_what_it_signs(desk):
    tool = [sys.executable, "-m", "model_signing"]
    bundle = desk.sign()
    by_key = [*tool, "verify", "key", desk.archive, "--signature", bundle, "--public_key", desk.public]
    assert "succeeded" in subprocess.run(by_key, check=True, capture_output=True, text=True).stdout
    desk.archive.write_bytes(desk.archive.read_bytes() + b"x")
    assert subprocess.run(by_key, check=False, capture_output=True).returncode == 1
    desk.archive.write_bytes(desk.archive.read_bytes()[:-1])

    one = signer(desk.folder / "ca", desk.authority)
    sign(desk.archive, key=one.key, certificate=one.certificate)
    chain = ["--certificate_chain", desk.authority.certificate]
    by_certificate = [*tool, "verify", "certificate", desk.archive, "--signature", bundle, *chain]
    assert "succeeded" in subprocess.run(by_certificate, check=True, capture_output=True, text=True).stdout

    theirs = [*tool, "sign", "key", desk.archive, "--signature", bundle, "--private_key", desk.key]
    subprocess.run(theirs, check=True, capture_output=True)
    assert verify(desk.archive, None, desk.roots).signer == "key team.key.pub"


def test_a_missing_signature_is_refused(desk):
    error = desk.refused()
    assert error.reason == "signature-missing"
    assert f"is not signed: there is no {desk.archive}.sig. Sign it" in str(error)


@pytest.mark.parametrize("place", [30, 600, 5000, -30, -1])
def test_a_changed_byte_is_refused_wherever_it_is(desk, place):
    desk.sign()
    content = bytearray(desk.archive.read_bytes())
    content[place] ^= 1
    desk.archive.write_bytes(content)
    error = desk.refused()
    assert error.reason == "content-changed"
    assert "is not what key team.key.pub signed" in str(error)


def test_a_package_with_anothers_signature_is_refused(desk):
    bundle = desk.sign()
    other = pack(model_folder(desk.folder / "other", content=b"other"), desk.folder / "b.tar.gz").archive
    with pytest.raises(PackageRefused) as refused:
        verify(other, bundle, desk.roots)
    assert refused.value.reason == "content-changed"


def test_what_is_signed_and_lies_about_itself_is_refused_all_the_same(desk):
    packaged(desk.archive, {"3/model.onnx": b"abcd"}, says={"3/model.onnx": b"onnx"})
    desk.sign()
    with pytest.raises(PackageRefused) as refused:
        install(desk.archive, None, desk.roots, desk.folder / "into")
    assert refused.value.reason == "content-differs"
    assert not (desk.folder / "into").exists()


def test_another_key_is_refused(desk):
    make_key(desk.folder / "stranger")
    sign(desk.archive, key=desk.folder / "stranger")
    error = desk.refused()
    assert error.reason == "signer-unknown"
    assert f"by a key that is not in {desk.roots}" in str(error)


def test_a_signature_that_claims_a_trusted_key_is_refused(desk):
    hint = json.loads(desk.sign().read_text())["verificationMaterial"]["publicKey"]["hint"]
    make_key(desk.folder / "stranger")
    bundle = sign(desk.archive, key=desk.folder / "stranger")
    change(bundle, lambda it: it["verificationMaterial"]["publicKey"].update(hint=hint))
    error = desk.refused()
    assert error.reason == "signature-wrong"
    assert "was not made by key team.key.pub, or was changed" in str(error)


def test_a_signature_whose_statement_was_changed_is_refused(desk):
    def claim(document: Any) -> None:
        statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
        statement["predicate"]["resources"][0]["digest"] = "0" * 64
        document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    change(desk.sign(), claim)
    assert desk.refused().reason == "signature-wrong"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is no file of 1 to"),
        ("x" * 1_100_000, "it is no file of 1 to"),
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", ""),
        ("{}", "verificationMaterial"),
    ],
)
def test_a_signature_that_is_none_is_refused(desk, text, says):
    Path(f"{desk.archive}.sig").write_text(text)
    error = desk.refused()
    assert error.reason == "signature-malformed"
    assert says in str(error)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda it: it["verificationMaterial"]["publicKey"].pop("hint"), "does not say by which key"),
        (lambda it: it["verificationMaterial"].pop("publicKey"), "neither by a key nor by a certificate"),
        (lambda it: it["dsseEnvelope"].update(signatures=[]), "it has not one signature"),
        (lambda it: it["dsseEnvelope"].update(payload="!"), ""),
        (lambda it: it["dsseEnvelope"].update(payload=base64.b64encode(b"{}").decode()), "predicateType"),
        (lambda it: it.update(mediaType="text/plain"), "mediaType"),
        (lambda it: it["dsseEnvelope"].update(payloadType="text/plain"), "payload"),
    ],
)
def test_a_signature_of_another_form_is_refused(desk, edit, says):
    change(desk.sign(), edit)
    error = desk.refused()
    assert error.reason == "signature-malformed"
    assert says in str(error)


def test_a_signature_of_a_folder_is_refused(desk):
    (desk.folder / "folder").mkdir()
    (desk.folder / "folder/x").write_text("x")
    tool = [sys.executable, "-m", "model_signing", "sign", "key", desk.folder / "folder", "--private_key", desk.key]
    subprocess.run([*tool, "--signature", f"{desk.archive}.sig"], check=True, capture_output=True)
    assert "of a folder's files" in str(desk.refused())


def by_certificate(desk: Desk, one: Any, *chain: Path) -> None:
    """Sign as one who does not look at times and uses."""
    tool = [sys.executable, "-m", "model_signing", "sign", "certificate", desk.archive, "--private_key", one.key]
    tool += ["--signing_certificate", one.certificate, "--signature", f"{desk.archive}.sig"]
    for each in chain or [one.certificate]:  # the tool fails without any
        tool += ["--certificate_chain", each]
    subprocess.run(tool, check=True, capture_output=True)
    trusting(desk.roots, desk.authority.certificate)


def test_a_certificate_of_a_trusted_authority_is_taken(desk):
    one = signer(desk.folder / "ca", desk.authority)
    sign(desk.archive, key=one.key, certificate=one.certificate)
    trusting(desk.roots, desk.authority.certificate)
    found = verify(desk.archive, None, desk.roots)
    assert (found.signer, found.root) == ("CN=line-team", desk.roots / "plant.pem")


def test_a_chain_of_authorities_is_followed(desk):
    middle = signer(desk.folder / "ca", desk.authority, "department", usage=None, is_authority=True)
    one = signer(desk.folder / "ca", middle)
    sign(desk.archive, key=one.key, certificate=one.certificate, chain=[middle.certificate])
    trusting(desk.roots, desk.authority.certificate)
    assert verify(desk.archive, None, desk.roots).signer == "CN=line-team"
    sign(desk.archive, key=one.key, certificate=one.certificate)
    assert desk.refused().reason == "signer-unknown"


def test_a_signer_is_no_authority(desk):
    one = signer(desk.folder / "ca", desk.authority)
    other = signer(desk.folder / "ca", one, "stranger")
    by_certificate(desk, other, one.certificate)
    assert desk.refused().reason == "signer-unknown"


def test_a_certificate_of_a_strange_authority_is_refused(desk):
    other = authority(desk.folder / "other", "plant")
    by_certificate(desk, signer(desk.folder / "other", other))
    error = desk.refused()
    assert error.reason == "signer-unknown"
    assert f"the certificate of CN=line-team comes from no authority in {desk.roots}" in str(error)


def test_a_certificate_is_refused_where_only_keys_are_trusted(desk):
    one = signer(desk.folder / "ca", desk.authority)
    sign(desk.archive, key=one.key, certificate=one.certificate)
    assert "holds no authority's" in str(desk.refused())


def test_an_expired_certificate_is_refused_though_the_library_takes_it(desk):
    one = signer(desk.folder / "ca", desk.authority, begins=NOW - 9 * DAY, ends=NOW - DAY)
    by_certificate(desk, one)
    error = desk.refused()
    assert error.reason == "certificate-expired"
    assert f"the certificate of CN=line-team has expired on {NOW - DAY:%Y-%m-%d %H:%M} UTC" in str(error)
    assert desk.refused(now=None).reason == error.reason, "by this machine's clock"
    verify(desk.archive, None, desk.roots, now=NOW - 2 * DAY)


def test_a_certificate_of_tomorrow_is_refused_and_the_clock_named(desk):
    by_certificate(desk, signer(desk.folder / "ca", desk.authority, begins=NOW + DAY))
    error = desk.refused()
    assert error.reason == "certificate-not-yet-valid"
    assert f"and this machine's clock says {NOW:%Y-%m-%d %H:%M} UTC" in str(error)
    verify(desk.archive, None, desk.roots, now=NOW + 2 * DAY)


def test_an_expired_authority_is_refused(desk):
    desk.authority = authority(desk.folder / "old", begins=NOW - 9 * DAY, ends=NOW - DAY)
    by_certificate(desk, signer(desk.folder / "ca", desk.authority))
    assert desk.refused().reason == "certificate-expired"


@pytest.mark.parametrize("usage", [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
def test_a_brokers_certificate_of_the_same_authority_signs_no_model(desk, usage):
    one = signer(desk.folder / "ca", desk.authority, "broker", usage=usage)
    by_certificate(desk, one)
    error = desk.refused()
    assert error.reason == "certificate-unsuitable"
    assert "the certificate of CN=broker is not for signing code" in str(error)
    with pytest.raises(PackageRefused, match="is not for signing code"):
        sign(desk.archive, key=one.key, certificate=one.certificate)


def test_roots_that_others_may_write_are_refused_by_name(desk):
    desk.sign()
    file = desk.roots / "team.key.pub"
    file.chmod(0o664)
    error = desk.refused()
    assert error.reason == "roots-unsafe"
    assert f"{file} may be written by others than its owner (mode 664). sudo chmod go-w {file}" in str(error)
    file.chmod(0o644)
    desk.roots.chmod(0o777)
    assert f"{desk.roots} may be written by others" in str(desk.refused())
    desk.roots.chmod(0o755)
    desk.folder.chmod(0o777)
    assert f"{desk.folder} may be written by others" in str(desk.refused())
    desk.folder.chmod(0o755)
    assert verify(desk.archive, None, desk.roots)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_roots_of_another_user_are_refused(desk):
    desk.sign()
    os.chown(desk.roots / "team.key.pub", 4321, 4321)
    assert "belongs to user 4321, who could trust anybody" in str(desk.refused())


def test_links_folders_and_other_files_among_the_roots_are_refused(desk):
    desk.sign()
    (desk.roots / "link.pub").symlink_to(desk.public)
    assert "link.pub cannot be trusted: it is a link" in str(desk.refused())
    (desk.roots / "link.pub").unlink()
    (desk.roots / "more").mkdir()
    assert "more is a folder" in str(desk.refused())
    (desk.roots / "more").rmdir()
    for text, says in ((b"hello", "neither a public key nor"), (desk.key.read_bytes(), "is a private key")):
        (desk.roots / "x").write_bytes(text)
        assert says in str(desk.refused())
    (desk.roots / "x").write_bytes(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    assert "x has a certificate that cannot be read" in str(desk.refused())
    large = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    (desk.roots / "x").write_bytes(large.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert "x is no key of the curves secp256r1" in str(desk.refused())


def test_roots_that_are_missing_empty_or_a_link_are_refused(desk):
    desk.sign()
    (desk.folder / "link").symlink_to(desk.roots)
    for name, reason in (("none", "roots-wrong"), ("empty", "roots-empty"), ("link", "roots-unsafe")):
        (desk.folder / "empty").mkdir(exist_ok=True)
        with pytest.raises(PackageRefused) as refused:
            verify(desk.archive, None, desk.folder / name)
        assert refused.value.reason == reason


def test_a_key_is_made_for_its_owner_only_and_replaces_none(tmp_path):
    public = make_key(tmp_path / "new/team.key", password="secret")  # noqa: S106 - a test's
    assert (tmp_path / "new/team.key").stat().st_mode & 0o777 == 0o600
    assert public.read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----")
    with pytest.raises(PackageRefused, match="is there already"):
        make_key(tmp_path / "new/team.key")


def test_a_key_with_a_password_signs(desk):
    public = make_key(desk.folder / "safe", password="secret")  # noqa: S106 - a test's
    trusting(desk.roots, public)
    sign(desk.archive, key=desk.folder / "safe", password="secret")  # noqa: S106 - same
    assert verify(desk.archive, None, desk.roots).signer == "key safe.pub"
    for password, says in ((None, "has a password"), ("wrong", "its password is another")):
        with pytest.raises(PackageRefused, match=says):
            sign(desk.archive, key=desk.folder / "safe", password=password)


def test_keys_that_cannot_sign_are_refused_and_the_last_signature_stays(desk):
    bundle = desk.sign()
    before = bundle.read_bytes()
    other = desk.folder / "x"
    curve = ec.generate_private_key(ec.SECP256K1())
    other.write_bytes(curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    other.chmod(0o600)
    one = signer(desk.folder / "ca", desk.authority)
    for says, given in (
        ("is of none of the curves", {"key": other}),
        ("cannot be read: No such file", {"key": desk.folder / "none"}),
        ("is no private key in PEM", {"key": one.certificate}),
        ("does not match", {"key": desk.key, "certificate": one.certificate}),
        ("is no certificate in PEM", {"key": one.key, "certificate": one.key}),
        ("open to others", {"key": desk.public}),
    ):
        if says != "open to others":
            one.certificate.chmod(0o600)
        with pytest.raises(PackageRefused, match=says) as refused:
            sign(desk.archive, **given)
        assert refused.value.reason == "key-wrong"
    assert bundle.read_bytes() == before


def test_what_is_no_package_is_not_signed(desk):
    (desk.folder / "x.tar.gz").write_bytes(b"hello")
    with pytest.raises(PackageRefused, match="is no gzip"):
        sign(desk.folder / "x.tar.gz", key=desk.key)


def test_neither_packing_nor_unpacking_brings_the_library_in():
    code = (
        "import sys, lineside.packages; print(sorted({'cryptography', 'model_signing', 'OpenSSL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_verifying_does_without_the_librarys_network_half_which_images_have_not():
    code = "from runpy import run_path; from lineside.packages.library import load; import sys\n"
    code += f"load('verifying'); load('signing'); gone = run_path({str(ROOT / 'docker/trim.py')!r})['KEYLESS']\n"
    code += "print(len(gone), sorted(gone & {name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "18 []\n"
