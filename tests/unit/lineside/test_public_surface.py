import ast
import importlib
from importlib.metadata import distribution
from pathlib import Path

import pytest

import lineside

ROOT = Path(__file__).parents[3]
OTHERS = ("inference", "topic_bridge", "opcua_bridge", "forwarder", "exporter", "deployer", "bench")


@pytest.mark.parametrize("package", ["lineside", *(f"lineside_{name}" for name in OTHERS)])
def test_what_a_distribution_states_as_public_is_there_and_holds_its_entry_points(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__ == sorted(module.__all__)
    assert module.__version__ == lineside.__version__ == distribution(package).version
    for name in set(module.__all__) - {"__version__"}:
        importlib.import_module(f"{package}.{name}")
        assert name in module.__doc__
    if package != "lineside":
        for entry in distribution(package).entry_points:
            assert entry.module.split(".")[1] in module.__all__, entry


def test_services_and_the_bench_import_only_public_modules_of_the_library() -> None:
    for path in (path for folder in ("services", "bench/src") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.ImportFrom(module="lineside"):
                    names = [alias.name for alias in node.names]
                case ast.ImportFrom(module=str(module)) if module.startswith("lineside."):
                    names = [module.split(".")[1]]
                case ast.Import():
                    names = [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lineside.")]
                case _:
                    continue
            assert set(names) <= set(lineside.__all__), path
