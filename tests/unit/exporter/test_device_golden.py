"""What `/metrics` shows of each recorded device, byte for byte."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from lineside_exporter.device import tegrastats
from lineside_exporter.device.jetson import JetsonSource
from lineside_exporter.device.nvml import NvmlSource
from tests.support.jetson_tree import RECORDED, grow, recorded
from tests.support.nvml_table import Driver, FakeGpu, load

BOARDS = sorted(path.stem for path in RECORDED.glob("*.txt"))
TREES = {"nano-jetpack-4", "xavier-nx-jetpack-5", "agx-orin-jetpack-6"}


class _Once(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def text(families: Iterable[Metric]) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(families))
    return generate_latest(registry).decode()


@pytest.mark.parametrize("board", BOARDS)
async def test_a_jetson(board: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    """The newest line of tegrastats, over the board's files where there are some."""
    if board in TREES:
        grow(board, tmp_path)
    number = len((RECORDED / f"{board}.txt").read_text(encoding="utf-8").splitlines()) - 2
    line = recorded(board, number)
    assert not tegrastats.is_empty(line)

    golden(f"metrics/device-{board}.txt", text(await JetsonSource(tmp_path, lambda: line).read()))


async def test_discrete_gpus(monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]) -> None:
    driver = load(Driver(), monkeypatch)
    driver.gpus = [
        FakeGpu(load=73, memory=(9 << 30, 24 << 30), celsius=71, milliwatts=301_250, reasons=0x4),
        FakeGpu(load=0, memory=(1 << 20, 8 << 30), celsius=35, milliwatts=None, reasons=0x1),
    ]

    golden("metrics/device-nvml.txt", text(await NvmlSource().read()))
