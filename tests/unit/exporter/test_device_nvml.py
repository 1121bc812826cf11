import asyncio
import threading

import pytest
from prometheus_client.core import Metric

from lineside_exporter.device import nvml
from lineside_exporter.device.nvml import NvmlSource
from lineside_exporter.errors import SourceAway
from tests.support.nvml_table import DRIVER_NOT_LOADED, Driver, FakeGpu, load
from tests.support.waiting import HANG_S


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return load(Driver(), monkeypatch)


def samples(families: list[Metric]) -> dict[str, float]:
    return {
        sample.name.removeprefix("lineside_device_")
        + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


async def read(source: NvmlSource) -> dict[str, float]:
    return samples(list(await source.read()))


def test_without_the_library_there_is_no_such_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("pynvml.nvmlLib", None)
    monkeypatch.setattr("pynvml.CDLL", refuse)

    assert nvml.absence() == "there is no NVML library (libnvidia-ml.so.1)"


def test_without_the_driver_there_is_no_such_source(driver: Driver) -> None:
    driver.status = DRIVER_NOT_LOADED

    assert nvml.absence() == "NVIDIA's driver is not loaded"


def test_with_both_there_is_one(driver: Driver) -> None:
    assert nvml.absence() is None
    assert driver.entered == 0


async def test_each_gpu_by_its_index(driver: Driver) -> None:
    driver.gpus = [FakeGpu(load=37, memory=(3 << 30, 24 << 30), celsius=61, milliwatts=182_500), FakeGpu(load=0)]

    found = await read(NvmlSource())

    assert found["gpu_load_ratio 0"] == 0.37
    assert found["gpu_load_ratio 1"] == 0
    assert found["gpu_memory_used_bytes 0"] == 3 << 30
    assert found["gpu_memory_total_bytes 0"] == 24 << 30
    assert found["temperature_celsius 0 gpu"] == 61
    assert found["power_watts 0 gpu"] == 182.5
    assert driver.entered == 0  # left each time


@pytest.mark.parametrize("knows_event_reasons", [True, False])
async def test_why_it_is_slowed_down(driver: Driver, *, knows_event_reasons: bool) -> None:
    driver.knows_event_reasons = knows_event_reasons
    idle, power_cap, thermal = 0x1, 0x4, 0x20
    driver.gpus = [FakeGpu(reasons=idle | power_cap | thermal), FakeGpu(reasons=idle)]

    found = {name: value for name, value in (await read(NvmlSource())).items() if name.startswith("throttled")}

    assert {name for name, value in found.items() if value} == {"throttled 0 power-cap", "throttled 0 thermal-software"}
    assert len(found) == 10


async def test_what_a_gpu_does_not_say_is_absent(driver: Driver) -> None:
    driver.gpus = [FakeGpu(load=None, memory=None, celsius=None, milliwatts=None, reasons=None), FakeGpu()]

    found = await read(NvmlSource())

    assert not [name for name in found if " 0" in name]
    assert "gpu_load_ratio 1" in found


async def test_what_no_gpu_can_be_is_not_shown(driver: Driver) -> None:
    driver.gpus = [FakeGpu(load=4_294_967, celsius=4_294_967)]

    found = await read(NvmlSource())

    assert found["gpu_load_ratio 0"] == 1
    assert not [name for name in found if name.startswith("temperature")]


async def test_a_lost_gpu_is_said_and_comes_back(driver: Driver) -> None:
    source = NvmlSource()
    driver.gpus = [FakeGpu(), FakeGpu(load=5)]
    assert (await read(source))["gpu_load_ratio 1"] == 0.05

    driver.lost = {1}
    with pytest.raises(SourceAway, match=r"GPU 1: GPU is lost\. see what nvidia-smi says"):
        await source.read()
    assert driver.entered == 0

    driver.lost = set()
    assert (await read(source))["gpu_load_ratio 1"] == 0.05


async def test_a_driver_that_goes_is_said(driver: Driver) -> None:
    driver.status = DRIVER_NOT_LOADED

    with pytest.raises(SourceAway, match="Driver Not Loaded"):
        await NvmlSource().read()


async def test_a_driver_that_hangs_takes_one_thread_and_is_asked_again_when_it_returns(driver: Driver) -> None:
    source, hangs, go_on = NvmlSource(), threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        go_on.wait(HANG_S)

    driver.before_entering = hang
    reading = asyncio.create_task(source.read())
    await asyncio.to_thread(hangs.wait, 60)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(SourceAway, match="has not returned yet"):
        await source.read()

    go_on.set()
    while True:  # until the thread has come back
        try:
            assert (await read(source))["gpu_load_ratio 0"] == 0
        except SourceAway:
            await asyncio.sleep(0)
        else:
            break
