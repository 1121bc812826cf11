"""Take out of an installed site-packages what no service of ours uses: `python trim.py SITE_PACKAGES LOCK`.

Runs while an image is built. Only what is never imported goes: packages' own tests, type stubs, C sources and headers,
symbols that debuggers read, AWS' descriptions of services that we do not call, the nodes that an OPC UA server begins
with, which only the simulated PLC is, sigstore's client with what it brings, for we make no keyless signatures
(lineside/packages/library.py), and of inference's requirements those without which its commands for the deployer do.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TYPES = (".pyi", ".pyx", ".pxd", ".c", ".cpp", ".h", ".hpp", ".a")
AWS = frozenset({"s3", "sts", "sso", "sso-oidc", "cloudwatch"})
"""Services whose description stays: those we call, and those that credentials come from."""
KEYLESS = frozenset(
    {
        "asn1crypto",
        "charset_normalizer",
        "dns",
        "email_validator",
        "id",
        "jwt",
        "markdown_it",
        "mdurl",
        "platformdirs",
        "pycparser",
        "pygments",
        "requests",
        "rfc3161_client",
        "rfc8785",
        "rich",
        "securesystemslib",
        "sigstore",
        "tuf",
    }
)
"""What only signatures by sigstore's servers need; a test holds it against what verifying a package imports."""
JUDGING = frozenset(
    {
        "cv2",
        "fastapi",
        "grpc",
        "grpc_health",
        "ml_dtypes",
        "numpy",
        "numpy.libs",
        "opencv_python_headless.libs",
        "opentelemetry",
        "simplejpeg",
    }
)
"""What inference judges parts with; a test holds it against what the deployer and the commands that it runs import."""
DEPLOYER = "deployer"
"""The lock of the image that changes models and judges no parts."""
SIMULATORS = "bench"
"""The lock of the images that run an OPC UA server."""


def main(site: Path, lock: str) -> None:
    """Trim, and say by how much."""
    before = _bytes(site)
    for folder, names, files in os.walk(site):
        for name in [name for name in names if name == "tests"]:
            shutil.rmtree(Path(folder) / name)
            names.remove(name)
        for name in files:
            if name.endswith(TYPES):
                (Path(folder) / name).unlink()
    for folder in _unused(site, lock):
        shutil.rmtree(folder, ignore_errors=True)
    # Extension modules only: the shared libraries beside them (*.libs) were rewritten when their wheels were made, and
    # do not take well to it.
    modules = [path for path in site.rglob("*.so") if not path.parent.name.endswith(".libs")]
    if modules:
        subprocess.run(["strip", "--strip-unneeded", *modules], check=True)  # noqa: S603, S607 - in our own build stage
    sys.stdout.write(f"trimmed {before // 1_000_000} MB to {_bytes(site) // 1_000_000} MB\n")


def _unused(site: Path, lock: str) -> list[Path]:
    """Return the folders that no service of this lock imports or reads."""
    descriptions = site / "botocore" / "data"
    entries = descriptions.iterdir() if descriptions.is_dir() else ()
    found = [entry for entry in entries if entry.is_dir() and entry.name not in AWS]
    if (site / "sigstore").is_dir():
        found += [site / name for name in KEYLESS]
    if lock == DEPLOYER:
        found += [site / name for name in JUDGING]
    if lock != SIMULATORS:
        found.append(site / "asyncua" / "server" / "standard_address_space")
    return found


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
