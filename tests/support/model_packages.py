"""Models to pack, and the keys and certificates of those who sign them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lineside.packages import Manifest, PackagedFile, Variant
from lineside.packages.archive import ArchiveWriter
from lineside.packages.paths import MANIFEST_FILE

CONFIG = 'name: "detector"\nbackend: "onnxruntime"\nmax_batch_size: 1\noutput [ { label_filename: "labels.txt" } ]\n'
NOW = datetime.now(UTC)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def model_folder(parent: Path, *, content: bytes = b"onnx" * 1000, **card: Any) -> Path:
    """Make a model's folder, `detector`, with files beside it that do not belong to it."""
    folder, version = parent / "detector", "3"
    (folder / version).mkdir(parents=True)
    (folder / version / "model.onnx").write_bytes(content)
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "labels.txt").write_text("good\nbad\n")
    (folder / "train.py").write_text("print()\n")
    files = [{"path": f"{version}/model.onnx", "variant": "any", "sha256": sha256(content)}]
    document = {"schema": "lineside/card/1", "name": "detector", "version": version, "files": files} | card
    (folder / "card.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


def packaged(
    archive: Path, files: Mapping[str, bytes] | None = None, *, says: Mapping[str, bytes] | None = None
) -> Path:
    """Write a package of any files; `says`: other content than the manifest is about, by path."""
    given = dict(files or {})
    card = {"schema": "lineside/card/1", "name": "detector", "version": "3"}
    given.setdefault("card.yaml", yaml.safe_dump(card).encode())
    given.setdefault("config.pbtxt", CONFIG.encode())
    given.setdefault("3/model.onnx", b"onnx")
    told = {**given, **(says or {})}
    manifest = Manifest.model_validate(
        {
            "metadata": {"model_name": "detector", "model_version": "3"},
            "files": [PackagedFile(path=path, size=len(data), sha256=sha256(data)) for path, data in told.items()],
            "variants": [Variant.of("any", ("3/model.onnx",))],
            "card": card,
        }
    )
    write_archive(archive, {MANIFEST_FILE: manifest.to_bytes(), **given})
    return archive


def write_archive(archive: Path, members: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> None:
    """Write an archive of these members, in their order, as packages are written."""
    with archive.open("wb") as out:
        writer = ArchiveWriter(out)
        for path, data in members.items() if isinstance(members, Mapping) else members:
            writer.begin(path, len(data))
            writer.write(data)
            writer.end(len(data))
        writer.close()


def tar_with(manifest: bytes, *entries: tarfile.TarInfo, format: int = tarfile.USTAR_FORMAT) -> bytes:  # noqa: A002
    """Return a tar with a manifest, then entries of any kind, without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        first = tarfile.TarInfo(MANIFEST_FILE)
        first.size = len(manifest)
        tar.addfile(first, io.BytesIO(manifest))
        for entry in entries:
            tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    return out.getvalue()


def manifest_document(**fields: Any) -> dict[str, Any]:
    """Return a manifest that is right, with fields replaced."""
    card = {"schema": "lineside/card/1", "name": "detector", "version": "3"}
    paths = ("3/model.onnx", "card.yaml", "config.pbtxt")
    return {
        "format": "lineside/package/1",
        "metadata": {"model_name": "detector", "model_version": "3"},
        "files": [{"path": path, "size": 0, "sha256": sha256(b"")} for path in paths],
        "variants": [{"variant": "any", "files": ["3/model.onnx"]}],
        "card": card,
    } | fields


def manifest_bytes(**fields: Any) -> bytes:
    return json.dumps(manifest_document(**fields)).encode()


@dataclass(frozen=True)
class Signer:
    """A key and its certificate, in files."""

    key: Path
    certificate: Path
    x509: x509.Certificate
    private: ec.EllipticCurvePrivateKey


def authority(folder: Path, name: str = "plant", **times: datetime) -> Signer:
    """Make an authority's key and certificate."""
    return _issued(folder, name, None, is_authority=True, **times)


def signer(
    folder: Path,
    by: Signer,
    name: str = "line-team",
    *,
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CODE_SIGNING,
    is_authority: bool = False,
    **times: datetime,
) -> Signer:
    """Make a key and a certificate for it from an authority; `usage` None: a certificate that says nothing of it."""
    return _issued(folder, name, by, usage=usage, is_authority=is_authority, **times)


def _issued(
    folder: Path,
    name: str,
    by: Signer | None,
    *,
    usage: x509.ObjectIdentifier | None = None,
    is_authority: bool = False,
    begins: datetime = NOW - timedelta(days=10),
    ends: datetime = NOW + timedelta(days=10),
) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.issuer_name(by.x509.subject if by else subject).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(begins).not_valid_after(ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    may = x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(may, critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    made = builder.sign(by.private if by else key, hashes.SHA256())
    folder.mkdir(parents=True, exist_ok=True)
    private, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    return Signer(private, certificate, made, key)


def trusting(folder: Path, *files: Path) -> Path:
    """Make a folder of roots with these files in it."""
    folder.mkdir(mode=0o755, exist_ok=True)
    for file in files:
        there = folder / file.name
        there.write_bytes(file.read_bytes())
        there.chmod(0o644)
    return folder
