"""The live edge to what a recipe brings: files from a folder, images of the local engine. Nothing is downloaded.

An image that is not there is refused, as its pull would be without a network. So is one without a version, or with the
tag `latest`: the nucleus pulls it at each deployment. Source: DockerImageDownloader.java.
"""

import asyncio
import shutil
import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from lineside.durable_files import replace_file
from lineside.greengrass.services import DOCKER_MANAGER, PRIVATE_REGISTRY, TOKEN_EXCHANGE
from lineside.reaping import reap
from lineside_bench.greengrass.core.recipe import Artifact, Recipe

_ASKING_S = 60.0


class Unavailable(Exception):
    """An artifact cannot be had; the text says which, why, and what to do."""


def check_image(image: str, needs: Collection[str]) -> None:
    """Raise Unavailable where the nucleus would not even ask for an image; `needs`: what its component depends on."""
    if DOCKER_MANAGER not in needs:
        raise Unavailable(
            f"docker:{image} needs {DOCKER_MANAGER} in ComponentDependencies (MISSING_DOCKER_APPLICATION_MANAGER)"
        )
    if PRIVATE_REGISTRY.match(image) and TOKEN_EXCHANGE not in needs:
        raise Unavailable(
            f"docker:{image} needs {TOKEN_EXCHANGE} in ComponentDependencies (MISSINGTOKEN_EXCHANGE_SERVICE)"
        )
    name, at, _digest = image.partition("@")
    _path, colon, tag = name.rpartition("/")[2].partition(":")
    if at and colon:
        raise Unavailable(f"docker:{image} has a tag and a digest; the nucleus takes one of them")
    if not at and tag in {"", "latest"}:
        raise Unavailable(f"docker:{image} has no version, so it is pulled at each deployment; give a tag or a digest")


async def find_image(image: str) -> None:
    """Raise Unavailable where the engine has no such image, or cannot be asked."""
    try:
        process = await asyncio.create_subprocess_exec(
            "docker", "images", "-q", image, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise Unavailable(f"docker cannot be started: {error.strerror}; install the Docker Engine") from None
    try:
        found, says = await asyncio.wait_for(process.communicate(), _ASKING_S)
    except TimeoutError:
        process.kill()
        await reap(process)
        raise Unavailable(f"the Docker Engine did not answer within {_ASKING_S:g} s; is it running?") from None
    if process.returncode != 0:
        text = " ".join(says.decode(errors="replace").split())
        raise Unavailable(f"docker images: {text}; start the engine, and add the user to the group docker")
    if not found.strip():
        raise Unavailable(
            f"docker:{image} is not on this machine, and nothing is pulled here: run `docker pull {image}`"
        )


def bring_file(artifact: Artifact, recipe: Recipe, source: Path | None, into: Path, unpacked: Path) -> None:
    """Copy a file artifact from a folder, and unpack it where it is an archive. Raises Unavailable.

    It is looked for as `<component>/<version>/<file>`, as the local deployments of Greengrass' CLI have it, then by its
    key in the bucket, then as `<file>`.
    """
    name = artifact.uri.rpartition("/")[2]
    if not name or name in {".", ".."}:
        raise Unavailable(f"{artifact.uri} names no file")
    if source is None:
        raise Unavailable(f"{artifact.uri} is a file; say with --artifacts in which folder the files are")
    places = [source / recipe.name / recipe.version / name, source / name]
    key = PurePosixPath(artifact.uri.removeprefix("s3://")).parts[1:]
    if artifact.uri.startswith("s3://") and ".." not in key:
        places.insert(1, source.joinpath(*key))
    found = next((each for each in places if each.is_file()), None)
    if found is None:
        raise Unavailable(f"{artifact.uri}: none of {', '.join(map(str, places))} is there")
    try:
        into.mkdir(parents=True, exist_ok=True)
        with found.open("rb") as content:
            replace_file(into / name, content, mode=0o755 if artifact.executable else 0o644)
        if artifact.unarchive == "ZIP":
            folder = unpacked / Path(name).stem
            shutil.rmtree(folder, ignore_errors=True)
            with zipfile.ZipFile(found) as archive:
                archive.extractall(folder)
            for each in folder.rglob("*") if artifact.executable else ():
                each.chmod(0o755)
    except zipfile.BadZipFile:
        raise Unavailable(f"{found} is no ZIP archive") from None
    except OSError as error:
        raise Unavailable(f"{found} cannot be copied to {into}: {error.strerror}") from None
