"""The work of `lineside model`: one call each, and what came of it in a few lines."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from lineside.errors import LinesideError
from lineside.packages import Manifest, PackageRefused, make_key, pack, read_manifest, sign, verify
from lineside.secret_files import read_password
from lineside.tables import table

_REFUSED = 1


@contextmanager
def refusals() -> Iterator[None]:
    """End with exit status 1 and one sentence, where something is refused."""
    try:
        yield
    except LinesideError as error:
        reason = f" [{error.reason}]" if isinstance(error, PackageRefused) else ""
        sys.stderr.write(f"{error}{reason}\n")
        raise typer.Exit(_REFUSED) from None


def pack_folder(folder: Path, out: Path, *, as_json: bool) -> None:
    """Pack, and say what was left out."""
    with refusals():
        packed = pack(folder, out)
    if as_json:
        _say_json(
            {"archive": str(packed.archive), "sha256": packed.sha256, "size": packed.size, "left_out": packed.left_out}
        )
        return
    sys.stdout.write(f"{packed.archive}: {_what(packed.manifest)}\nSHA-256 {packed.sha256}, {packed.size} bytes\n")
    if packed.left_out:
        sys.stdout.write(f"not in it: {', '.join(packed.left_out)}\n")


def new_key(file: Path, password_file: Path | None) -> None:
    """Make a key pair."""
    with refusals():
        public = make_key(file, password=read_password(password_file) if password_file else None)
    sys.stdout.write(
        f"{file}: the private key; whoever has it signs\n{public}: the public key, for the machines' roots\n"
    )


def sign_package(
    package: Path, key: Path, certificate: Path | None, chain: Sequence[Path], password_file: Path | None
) -> None:
    """Sign."""
    with refusals():
        password = read_password(password_file) if password_file else None
        bundle = sign(package, key=key, certificate=certificate, chain=chain, password=password)
    sys.stdout.write(f"{bundle}\n")


def verify_package(package: Path, bundle: Path | None, roots: Path, *, as_json: bool) -> None:
    """Verify, and say by whom it is signed."""
    with refusals():
        verified = verify(package, bundle, roots)
        manifest = read_manifest(package)
    if as_json:
        _say_json({"signer": verified.signer, "root": str(verified.root), "sha256": verified.sha256})
        return
    sys.stdout.write(
        f"{_what(manifest)}\nsigned by {verified.signer}, trusted by {verified.root}\nSHA-256 {verified.sha256}\n"
    )


def inspect_package(package: Path, *, as_json: bool) -> None:
    """Show a package's manifest."""
    with refusals():
        manifest = read_manifest(package)
    if as_json:
        sys.stdout.write(manifest.to_bytes().decode())
        return
    variants = {path: variant.variant for variant in manifest.variants for path in variant.files}
    rows = [[file.path, variants.get(file.path, ""), str(file.size), file.sha256] for file in manifest.files]
    sys.stdout.write(f"{_what(manifest)}\n\n{table(('file', 'for', 'bytes', 'SHA-256'), rows, right=('bytes',))}")


def _what(manifest: Manifest) -> str:
    hardware = ", ".join(variant.variant for variant in manifest.variants)
    return f"model {manifest.name} version {manifest.version}, for {hardware}"


def _say_json(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
