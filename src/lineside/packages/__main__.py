"""A package unpacked, verified where roots are named, by a process of its own: a service stays as small as it is.

    python -m lineside.packages PACKAGE INTO [--roots DIR]

One JSON object on stdout: `name`, `version`, `signer` (null where nobody was asked), or `reason`, `what`, `remedy` of
the refusal with exit status 1; INTO is not there then.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lineside.packages import Manifest, PackageRefused, install, unpack


def main(arguments: Sequence[str]) -> int:
    """Do it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lineside.packages", description="Unpack a package of a model.")
    parser.add_argument("package", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("--roots", type=Path, metavar="DIR", help="verify it: who is trusted")
    options = parser.parse_args(arguments)
    try:
        manifest, signer = _unpacked(options.package, options.into, options.roots)
    except PackageRefused as refused:
        _say(reason=refused.reason, what=refused.what, remedy=refused.remedy)
        return 1
    _say(name=manifest.name, version=manifest.version, signer=signer)
    return 0


def _unpacked(package: Path, into: Path, roots: Path | None) -> tuple[Manifest, str | None]:
    if roots is None:
        return unpack(package, into), None
    verified, manifest = install(package, None, roots, into)
    return manifest, verified.signer


def _say(**answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
