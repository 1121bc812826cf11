"""The manifest of a package, `sagemaker_edge_manifest`: what its model is, and every file with size and SHA-256.

Clients of Edge Manager read `metadata.model_name` and `metadata.model_version`; all else is ours.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lineside.contract import Name
from lineside.documents import read_json
from lineside.packages.errors import PackageRefused
from lineside.packages.paths import CARD_FILE, CONFIG_FILE, MANIFEST_FILE, check_path, check_together
from lineside.variants import VariantError, parse
from lineside.wording import words

FORMAT = "lineside/package/1"
MAX_BYTES = 1024 * 1024
MAX_FILES = 1000
MAX_FILE_BYTES = 8 * 1024**3 - 1
"""What the size field of a tar header holds."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Path = Annotated[str, AfterValidator(check_path)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metadata(_Part):
    """What Edge Manager's clients read."""

    model_name: Name
    """The model's name, and that of its folder in Triton's repository."""
    model_version: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")]
    """The version that the card is for: the folder of its files."""


class PackagedFile(_Part):
    """One file of the package."""

    path: Path
    """Where it lies in the model's folder."""
    size: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES, strict=True)]
    """Bytes."""
    sha256: Sha256
    """Of its content, in lower-case hexadecimal digits."""


class Variant(_Part):
    """Files for one kind of hardware, as the card names it; a condition is absent where it may be anything."""

    variant: Annotated[str, Field(min_length=1, max_length=128)]
    """As it stands in the card: any, or conditions joined by `;`."""
    architecture: str | None = None
    """aarch64 or amd64."""
    gpu: str | None = None
    """Words of the GPU's or the module's name."""
    cc: str | None = None
    """Compute capability."""
    trt: str | None = None
    """What TensorRT's version begins with."""
    jetpack: str | None = None
    """What JetPack's version begins with."""
    files: Annotated[tuple[Path, ...], Field(min_length=1)]
    """The files, each in `files` of the manifest too."""

    @classmethod
    def of(cls, variant: str, files: tuple[str, ...]) -> Self:
        """Return the variant that a card's word means; raises VariantError."""
        conditions = parse(variant)
        return cls(variant=variant, architecture=conditions.pop("arch", None), files=files, **conditions)

    @model_validator(mode="after")
    def _says_what_it_means(self) -> Self:
        try:
            conditions = parse(self.variant)
        except VariantError as error:
            raise ValueError(str(error)) from None
        conditions["architecture"] = conditions.pop("arch", "")
        for key in ("architecture", "gpu", "cc", "trt", "jetpack"):
            if (getattr(self, key) or "") != conditions.get(key, ""):
                raise ValueError(f"variant {self.variant!r} does not say {key} {getattr(self, key)!r}")
        return self


class Manifest(_Part):
    """What a package holds."""

    format: Literal["lineside/package/1"] = "lineside/package/1"
    """Which version of the manifest it is."""
    metadata: Metadata
    files: Annotated[tuple[PackagedFile, ...], Field(min_length=3, max_length=MAX_FILES)]
    """Every file but the manifest itself, in the order of their paths."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1, max_length=256)]
    """The card's files, by the hardware that they are for."""
    card: dict[str, Any]
    """The content of `card.yaml`, for those who read no archive."""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.metadata.model_name

    @property
    def version(self) -> str:
        """The model's version."""
        return self.metadata.model_version

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def archive_name(self) -> str:
        """The package's file name."""
        return f"{self.name}-{self.version}.tar.gz"

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        paths = [file.path for file in self.files]
        check_together((MANIFEST_FILE, *paths))
        for needed in (CARD_FILE, CONFIG_FILE):
            if needed not in paths:
                raise ValueError(f"files has no {needed}")
        for variant in self.variants:
            for path in variant.files:
                if path not in paths:
                    raise ValueError(f"variant {variant.variant!r} has {path!r}, which files has not")
        for key, value in (("name", self.name), ("version", self.version)):
            if self.card.get(key) != value:
                raise ValueError(f"card.{key} is {self.card.get(key)!r}, and metadata says {value!r}")
        return self

    def to_bytes(self) -> bytes:
        """Return it as the package's file: the same bytes each time."""
        return (json.dumps(self.model_dump(exclude_none=True), indent=1, sort_keys=True) + "\n").encode()


def parse_manifest(text: bytes) -> Manifest:
    """Read a manifest; raises PackageRefused that names what is wrong."""
    if len(text) > MAX_BYTES:
        raise PackageRefused("manifest-wrong", f"{MANIFEST_FILE} has more than {MAX_BYTES} bytes")
    try:
        return Manifest.model_validate(read_json(text))
    except ValidationError as error:
        says = "; ".join(_fault(item) for item in error.errors(include_url=False)[:5])
        raise PackageRefused("manifest-wrong", f"{MANIFEST_FILE}: {says}", remedy="Pack the model again") from None
    except ValueError as error:
        raise PackageRefused("manifest-wrong", f"{MANIFEST_FILE} is {error}", remedy="Pack the model again") from None


def _fault(item: Mapping[str, Any]) -> str:
    return f"{'.'.join(map(str, item['loc'])) or 'it'}: {words(item)}"
