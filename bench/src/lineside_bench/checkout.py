"""Where the repository is: the bench runs from a checkout, because the models and the Triton environment live there."""

from pathlib import Path

from lineside_bench.errors import BenchError

TRITON_ENVIRONMENT = ".venv-triton"


def find_root() -> Path:
    """Return the root of the checkout that this package runs from; raises BenchError where it is not one."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "models").is_dir() or not (root / "bench" / "pyproject.toml").is_file():
        raise BenchError(
            f"the bench is installed at {Path(__file__).parent}, outside a checkout of Lineside: no models there",
            remedy="Clone the repository and run `make setup` there, then use its .venv/bin/lineside",
        )
    return root
