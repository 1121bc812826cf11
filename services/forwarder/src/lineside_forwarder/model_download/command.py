"""Fetches the models of a folder in S3: what component.sh calls.

    python -m lineside_forwarder.model_download fetch  s3://bucket/folder/ KEPT REPOSITORY
    python -m lineside_forwarder.model_download placed s3://bucket/folder/ KEPT REPOSITORY

`fetch` leaves in the folder KEPT what the source has, and prints a line `name=folder` for each model that has to be put
into REPOSITORY, the folder below KEPT. What lies there already is asked of nobody. `placed` says that it has been put.
Exit status 1 with one sentence on stderr where it cannot be done, 2 for misuse.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lineside.greengrass.model_uri import S3Folder, s3_folder
from lineside.secrecy import hidden
from lineside_forwarder.model_download.errors import NotFetched
from lineside_forwarder.model_download.failures import NO_REGION, explain
from lineside_forwarder.model_download.kept import Kept
from lineside_forwarder.model_download.listing import CONFIG, Package, entries, model_name, packages, wanted
from lineside_forwarder.model_download.transfer import Source
from lineside_forwarder.s3_client import Clients, endpoint
from lineside_forwarder.settings import S3Settings

_MIB = 1024**2
_ARGUMENTS = 4


class Progress:
    """Says each tenth of the bytes that come, where they take a while."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._total = self._here = self._said = 0

    def expect(self, missing: int) -> None:
        """Begin to count up to so many bytes."""
        self._total = missing

    def __call__(self, more: int) -> None:
        """Count bytes that have come."""
        self._here += more
        tenth = self._here * 10 // self._total if self._total >= _MIB else 0
        if tenth > self._said:
            self._said = tenth
            self._say(f"{self._here // _MIB} of {self._total // _MIB} MiB")


def fetch(folder: S3Folder, root: Path, repository: Path, say: Callable[[str], None]) -> list[tuple[str, str]]:
    """Bring a folder's models below `root`; return each one's name and folder. Raises NotFetched."""
    progress = Progress(say)
    kept = Kept(root, folder, progress)
    if kept.is_in(repository):
        say(f"the models of {folder} are here already")
        kept.use()
        return list(kept.give_back(repository))
    settings = S3Settings(name="models", bucket=folder.bucket)
    if not endpoint(settings) and not any(os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION")):
        raise NO_REGION
    clients = Clients(settings)
    try:
        source = Source(clients.get(), folder, time.sleep)
        listed = entries(folder, source.objects())
        found = packages(folder, listed)
        files = wanted(listed, found)
        progress.expect(kept.begin_anew(files))
        say(f"{folder}: {len(files)} files, {sum(each.size for each in files) / _MIB:.1f} MiB")
        for entry in sorted(files, key=lambda each: each.size):
            if not kept.has(entry):
                source.fetch(entry, kept)
                kept.finish(entry)
    except Exception as error:
        raise explain(error, folder) from error
    finally:
        kept.close()
        clients.close()
    kept.complete(_named(folder, found, kept))
    return list(kept.models())


def _named(folder: S3Folder, found: Sequence[Package], kept: Kept) -> Mapping[str, Package]:
    named: dict[str, Package] = {}
    for package in found:
        name = model_name(folder, package, kept.text(package.inside(CONFIG)))
        if name in named:
            raise NotFetched(
                f"{folder} has two models {name!r}, in {named[name].folder!r} and {package.folder!r}",
                remedy="give each config.pbtxt a name of its own",
            )
        named[name] = package
    return named


def main(arguments: Sequence[str]) -> int:
    """Fetch, or take note; return the exit status."""
    if len(arguments) != _ARGUMENTS or arguments[0] not in {"fetch", "placed"}:
        sys.stderr.write("takes fetch or placed, s3://bucket/folder/, a folder for it, and the model repository\n")
        return 2
    verb, uri, root, repository = arguments
    try:
        folder = s3_folder(uri)
        if verb == "fetch":
            for name, below in fetch(folder, Path(root), Path(repository), _say):
                sys.stdout.write(f"{name}={below}\n")
        else:
            Kept(Path(root), folder).settle()
    except (NotFetched, ValueError) as error:
        _say(f"ModelS3URI: {error}" if isinstance(error, ValueError) else str(error))
        return 1
    except OSError as error:
        _say(str(explain(error, folder)))
        return 1
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{hidden(text)}\n")
