"""Raw buffers of cameras to pixels: ours against numpy and OpenCV by hand, one thread, 5 megapixels.

The ways are measured in turns, so that a drift of the machine's speed hits all; each figure is the median. What they
make is compared first: all of one task give the same picture.
"""

import statistics
import time
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from report import arguments, table, write

from lineside_inference.imaging.pixel_formats.convert import to_pixels, to_values
from lineside_inference.imaging.pixel_formats.layout import Layout

WIDTH, HEIGHT = 2448, 2048
Ways = Mapping[str, Callable[[], np.ndarray]]


def unpack_by_columns(data: bytes) -> np.ndarray:
    """Mono12p as most scripts have it: three columns of bytes as words."""
    first, second, third = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.uint16).T
    pair = np.stack([first | (second & 0xF) << 8, second >> 4 | third << 4], axis=1)
    return pair.reshape(HEIGHT, WIDTH)


def unpack_by_bits(data: bytes) -> np.ndarray:
    """Mono12p by numpy's own unpacking of bits."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").reshape(-1, 12)
    padded = np.zeros((len(bits), 16), np.uint8)
    padded[:, :12] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u2").reshape(HEIGHT, WIDTH)


def demosaic_by_numpy(data: bytes) -> np.ndarray:
    """BayerRG8 by sums of shifted pictures: bilinear; its outermost pixels are left black."""
    raw = np.frombuffer(data, np.uint8).reshape(HEIGHT, WIDTH).astype(np.uint16)
    out = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    beside = raw[1:-1, :-2] + raw[1:-1, 2:]
    above = raw[:-2, 1:-1] + raw[2:, 1:-1]
    corners = raw[:-2, :-2] + raw[:-2, 2:] + raw[2:, :-2] + raw[2:, 2:]
    horizontal, vertical, cross = (beside + 1) // 2, (above + 1) // 2, (beside + above + 2) // 4
    diagonal, own, inner = (corners + 2) // 4, raw[1:-1, 1:-1], out[1:-1, 1:-1]
    for row, column, blue, green, red in (
        (1, 1, diagonal, cross, own),  # red; counted from the second row and column
        (1, 0, vertical, own, horizontal),
        (0, 1, horizontal, own, vertical),
        (0, 0, own, cross, diagonal),
    ):
        for channel, values in enumerate((blue, green, red)):
            inner[row::2, column::2, channel] = values[row::2, column::2]
    return out


def demosaic_by_opencv(data: bytes) -> np.ndarray:
    raw = np.frombuffer(data, np.uint8).reshape(HEIGHT, WIDTH)
    return cv2.cvtColor(raw, cv2.COLOR_BayerRGGB2BGR)


def deep_by_opencv(data: bytes) -> np.ndarray:
    """BayerRG12p: unpacked by numpy, demosaiced with 16 bits, then scaled to 8."""
    return cv2.convertScaleAbs(cv2.cvtColor(unpack_by_columns(data), cv2.COLOR_BayerRGGB2BGR), alpha=1 / 16)


def tasks() -> dict[str, tuple[Ways, int]]:
    """Return the ways of each task, ours first, and by how much their pictures may differ at a pixel."""
    mono, mosaic, deep = (Layout.of(name, WIDTH, HEIGHT) for name in ("Mono12p", "BayerRG8", "BayerRG12p"))
    rng = np.random.default_rng(3)
    packed, plain = rng.bytes(mono.size), rng.bytes(mosaic.size)
    most = WIDTH * HEIGHT
    return {
        "mono12p_to_16_bits": (
            {
                "ours": lambda: to_values(packed, mono, max_pixels=most),
                "numpy": lambda: unpack_by_columns(packed),
                "numpy_bits": lambda: unpack_by_bits(packed),
            },
            0,
        ),
        "mono12p_to_8_bits": (
            {
                "ours": lambda: to_pixels(packed, mono, max_pixels=most),
                "numpy": lambda: (unpack_by_columns(packed) >> 4).astype(np.uint8),
            },
            0,
        ),
        "bayer_rg8": (
            {
                "ours": lambda: to_pixels(plain, mosaic, max_pixels=most),
                "opencv": lambda: demosaic_by_opencv(plain),
                "numpy": lambda: demosaic_by_numpy(plain),
            },
            1,
        ),
        "bayer_rg12p_to_8_bits": (
            {"ours": lambda: to_pixels(packed, deep, max_pixels=most), "opencv": lambda: deep_by_opencv(packed)},
            1,
        ),
    }


def compared(task: str, ways: Ways, most: int) -> None:
    """Stop where two ways give different pictures, the outermost pixels aside."""
    ours, *others = (way()[1:-1, 1:-1].astype(np.int32) for way in ways.values())
    for other in others:
        difference = int(np.abs(ours - other).max())
        if difference > most:
            raise SystemExit(f"{task}: the ways differ by {difference}; at most {most} was expected")


def measured(ways: Ways, rounds: int) -> dict[str, float]:
    """Return the median of each way in milliseconds."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            spent[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(times) for name, times in spent.items()}


def main() -> None:
    given = arguments(__doc__.splitlines()[0])
    cv2.setNumThreads(1)
    figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for task, (ways, most) in tasks().items():
        compared(task, ways, most)
        found = measured(ways, 5 if given.quick else 40)
        table({way: {"p50": ms, "Mpx/s": WIDTH * HEIGHT / ms / 1e3} for way, ms in found.items()}, unit=f"{task} (ms)")
        print()
        for way, ms in found.items():
            figures[f"{task}_{way}"] = round(ms, 3)
            if way != "ours":
                ratios[f"{task}_{way}"] = ms / found["ours"]
    write(given.json, figures=figures, ratios=ratios)


if __name__ == "__main__":
    main()
