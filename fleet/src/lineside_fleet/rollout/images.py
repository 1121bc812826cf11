"""Whether the images of recipes are pinned, and to the digests that the rollout names. Pure."""

from collections.abc import Iterator, Mapping

from lineside.settings import nearest


def problems(images: Mapping[str, list[str]], wanted: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the images of each component; `wanted` are digests by name without a tag."""
    seen = set()
    for component, references in images.items():
        for reference in references:
            name, _, digest = reference.partition("@")
            seen.add(name)
            if not digest.startswith("sha256:"):
                yield (
                    f"{component}: image {reference} is not pinned by digest: what its tag names can change between "
                    "two stages; render the recipe with name@sha256:..."
                )
            elif name in wanted and wanted[name] != digest:
                yield f"{component}: image {name} is {digest}, and the rollout names {wanted[name]}"
    for name in sorted(set(wanted) - seen):
        yield f"images: no recipe of the set has an image {name!r}{nearest(name, sorted(seen))}"
