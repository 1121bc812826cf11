"""Print the images that are not ours by their digests, as this engine has them: what runs can then not change.

    python docker/pin.py > docker/digests.env
    docker compose --env-file .env --env-file docker/digests.env up -d

The names and versions are those of docker/versions.env; a digest of an index names the image of every architecture.
Pull an image first, and look at what you pin: it is believed from then on. After a new version, pin again.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

VERSIONS = Path(__file__).with_name("versions.env")


def images(text: str) -> dict[str, str]:
    """Return the images of versions.env by their variable."""
    pairs = (line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: image for name, image in pairs if name.endswith("_IMAGE")}


def pinned(wanted: Mapping[str, str], digests: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield a line for each image: pinned, or a comment that says why it is not.

    `digests` are an image's names with digest, as `docker image inspect` has them in RepoDigests: none where it was
    built or loaded here.
    """
    for variable, image in wanted.items():
        repository = image.rpartition(":")[0]
        named = [each.partition("@") for each in digests.get(image, ())]
        found = [digest for name, _at, digest in named if _same(name, repository)]
        if image not in digests:
            yield f"# {variable}: {image} is not on this machine: docker pull {image}"
        elif not found:
            yield f"# {variable}: {image} was built or loaded here and has no digest of a registry"
        else:
            yield f"{variable}={image}@{found[0]}"


def _same(one: str, other: str) -> bool:
    """Whether two names are one repository; an engine leaves out `docker.io/library/`."""
    return one.removeprefix("docker.io/").removeprefix("library/") == other


def _digests(image: str) -> list[str] | None:
    """Ask the engine; None where it does not have the image."""
    argv = ["docker", "image", "inspect", "--format", "{{range .RepoDigests}}{{.}} {{end}}", image]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    return done.stdout.split() if done.returncode == 0 else None


def main() -> int:
    """Print the lines; exit status 1 where an image is not pinned."""
    wanted = images(VERSIONS.read_text(encoding="utf-8"))
    known = {image: found for image in wanted.values() if (found := _digests(image)) is not None}
    lines = list(pinned(wanted, known))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return int(any(line.startswith("#") for line in lines))


if __name__ == "__main__":
    sys.exit(main())
