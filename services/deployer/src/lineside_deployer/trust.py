"""Who signed a package, by the shared library; unsigned ones only where the settings name them."""

from pathlib import Path

from lineside.errors import LinesideError
from lineside_deployer.errors import PackageWrong


class Trust:
    """Verifies packages against the keys and certificates in a folder that only root may write."""

    def __init__(self, roots: Path | None, unsigned: tuple[str, ...]) -> None:
        self._roots = roots
        self._unsigned = unsigned

    def __call__(self, package: Path, bundle: Path | None, handle: str) -> tuple[str, str]:
        """Return the name and version of the model in a package; raises PackageWrong."""
        from lineside import packages  # noqa: PLC0415 - its library takes a second to import

        if handle not in self._unsigned:
            self._refuse_unsigned(bundle, handle)
        try:
            if bundle is not None and self._roots is not None:
                packages.verify(package, bundle, self._roots)
            manifest = packages.read_manifest(package)
        except LinesideError as error:
            raise PackageWrong(f"the package of {handle}: {error.what}", remedy=error.remedy) from None
        return manifest.name, manifest.version

    def _refuse_unsigned(self, bundle: Path | None, handle: str) -> None:
        if bundle is None:
            raise PackageWrong(
                f"the package of {handle} has no signature",
                remedy="Sign it (lineside model sign) and upload the .sig beside it, or name the model in "
                "deployer.unsigned",
            )
        if self._roots is None:
            raise PackageWrong(
                f"the package of {handle} is signed, and deployer.roots names nobody to trust",
                remedy="Name the folder of trusted keys, or the model in deployer.unsigned",
            )
