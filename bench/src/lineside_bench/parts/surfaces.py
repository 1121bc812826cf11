"""Sound machined surfaces: brushed plates and turned discs under a lamp, before any defect.

Everything here works on one luminance plane, float32, nominally 0 to 255, and on lengths given for a frame 480 pixels
high that are multiplied by :attr:`Surface.scale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Surface", "add_sensor_noise", "make_surface"]

REFERENCE_HEIGHT = 480
TURNED_SHARE = 0.5
HALF_COVERED = 127


@dataclass(frozen=True)
class Surface:
    """One clean part in front of the camera.

    Attributes:
        luma: HxW float32, the lit part on its fixture; defects are added to this in place.
        clearance: HxW float32, each pixel's distance in pixels to the nearest edge of the part or of one of its holes;
            0 off the part.
        scale: pixels per reference pixel.
        light: unit vector (x, y) towards the lamp, in image coordinates.
        grain: standard deviation of the texture in grey levels; defects must stand above it.
        tint: red, green and blue gain of the metal and the lamp together.
        blur: standard deviation of the lens blur in pixels, applied after the defects.
        noise: standard deviation of the sensor noise in grey levels, applied last.
    """

    luma: NDArray[np.float32]
    clearance: NDArray[np.float32]
    scale: float
    light: tuple[float, float]
    grain: float
    tint: tuple[float, float, float]
    blur: float
    noise: float


def make_surface(rng: Generator, size: tuple[int, int]) -> Surface:
    """Draw a clean part of ``size`` (width, height) pixels from ``rng``."""
    width, height = size
    scale = min(width / 640, height / REFERENCE_HEIGHT)
    turned = bool(rng.random() < TURNED_SHARE)
    grain = float(rng.uniform(3.0, 8.0))
    centre = (width / 2 + rng.uniform(-8, 8) * scale, height / 2 + rng.uniform(-6, 6) * scale)
    body, holes = _outline(rng, size, centre, scale, turned=turned)

    texture = _turned(rng, size, centre) if turned else _brushed(rng, size)
    luma = np.full((height, width), rng.uniform(105, 160), np.float32)
    cv2.scaleAdd(texture, grain, luma, luma)
    light_angle = float(rng.uniform(0, 2 * np.pi))
    light = (float(np.cos(light_angle)), float(np.sin(light_angle)))
    gain, shine = _lighting(rng, size, light)
    cv2.multiply(luma, gain, luma)
    cv2.add(luma, shine, luma)
    _tool_marks(rng, luma, scale)
    _dust(rng, luma, scale)
    _edges(rng, luma, body, holes, scale)

    free = cv2.subtract(body, cv2.dilate(holes, np.ones((5, 5), np.uint8)))
    clearance = cv2.distanceTransform((free > HALF_COVERED).astype(np.uint8), cv2.DIST_L2, 3)
    warmth = float(rng.normal(0, 0.02))
    return Surface(
        luma=luma,
        clearance=np.asarray(clearance, np.float32),
        scale=scale,
        light=light,
        grain=grain,
        tint=(1 + warmth, 1.0, 1 - warmth + float(rng.normal(0.01, 0.01))),
        blur=float(rng.uniform(0.4, 0.9)) * scale,
        noise=float(rng.uniform(1.0, 3.0)),
    )


def add_sensor_noise(rng: Generator, luma: NDArray[np.float32], sigma: float) -> None:
    """Add white noise of ``sigma`` grey levels to ``luma`` in place."""
    noise = rng.standard_normal(luma.shape, dtype=np.float32)
    cv2.scaleAdd(noise, sigma, luma, luma)


def _standardised(texture: NDArray[np.float32]) -> NDArray[np.float32]:
    mean, deviation = cv2.meanStdDev(texture)
    return np.asarray((texture - float(mean[0, 0])) / max(float(deviation[0, 0]), 1e-6), np.float32)


def _brushed(rng: Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return straight streaks at any angle, mean 0 and deviation 1."""
    width, height = size
    side = int(np.ceil(np.hypot(width, height)))
    along = max(side // int(rng.integers(24, 90)), 2)
    ends = rng.standard_normal((side, along), dtype=np.float32)
    streaks = cv2.resize(ends, (side, side), interpolation=cv2.INTER_LINEAR)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(0, 180)), 1.0)
    turn[0, 2] += (width - side) / 2
    turn[1, 2] += (height - side) / 2
    texture = cv2.warpAffine(streaks, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return _standardised(np.asarray(texture, np.float32))


def _turned(rng: Generator, size: tuple[int, int], centre: tuple[float, float]) -> NDArray[np.float32]:
    """Return concentric feed rings about ``centre``, mean 0 and deviation 1."""
    width, height = size
    reach = int(np.ceil(np.hypot(width, height) / 2)) + 16
    rings = rng.standard_normal((int(rng.integers(6, 24)), reach), dtype=np.float32)
    pitch = float(rng.uniform(5, 14))
    rings += np.float32(0.7) * np.sin(np.arange(reach, dtype=np.float32) * np.float32(2 * np.pi / pitch))
    polar = cv2.resize(rings, (reach, 360), interpolation=cv2.INTER_LINEAR)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP | cv2.WARP_FILL_OUTLIERS
    texture = cv2.warpPolar(polar, (width, height), centre, reach, flags)
    return _standardised(np.asarray(texture, np.float32))


def _lighting(
    rng: Generator, size: tuple[int, int], light: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the gain (gradient, vignetting, exposure) and the added highlight, both HxW."""
    y, x = np.mgrid[-1:1:24j, -1:1:32j].astype(np.float32)
    slope = float(rng.uniform(0.0, 0.14))
    vignette = float(rng.uniform(0.02, 0.10))
    exposure = float(rng.uniform(0.88, 1.12))
    gain = exposure * (1 + slope * (x * light[0] + y * light[1])) * (1 - vignette * (x * x + y * y))
    offset = rng.uniform(0.1, 0.6)
    from_spot = (x - light[0] * offset) ** 2 + (y - light[1] * offset) ** 2
    shine = float(rng.uniform(0, 28)) * np.exp(-from_spot / (2 * float(rng.uniform(0.2, 0.5)) ** 2))
    return (
        np.asarray(cv2.resize(gain.astype(np.float32), size, interpolation=cv2.INTER_CUBIC), np.float32),
        np.asarray(cv2.resize(shine.astype(np.float32), size, interpolation=cv2.INTER_CUBIC), np.float32),
    )


def _tool_marks(rng: Generator, luma: NDArray[np.float32], scale: float) -> None:
    """Add up to a handful of long, faint, nearly parallel lines; sound parts have them too."""
    count = int(rng.integers(0, 6))
    if count == 0:
        return
    height, width = luma.shape
    layer = np.zeros((height, width), np.uint8)
    angle = float(rng.uniform(0, np.pi))
    for _ in range(count):
        tilt = angle + float(rng.normal(0, 0.04))
        middle = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        half = np.array([np.cos(tilt), np.sin(tilt)]) * rng.uniform(60, 260) * scale
        start, end = ((middle + sign * half) * 16 for sign in (-1, 1))
        cv2.line(layer, _point(start), _point(end), int(rng.integers(110, 256)), 1, cv2.LINE_AA, 4)
    strength = float(rng.choice((-1.0, 1.0)) * rng.uniform(3, 9))
    cv2.scaleAdd(layer.astype(np.float32), strength / 255, luma, luma)


def _dust(rng: Generator, luma: NDArray[np.float32], scale: float) -> None:
    """Add specks of at most about 1.6 reference pixels radius: far smaller and fainter than a pit."""
    height, width = luma.shape
    layer = np.full((height, width), 128, np.uint8)
    for _ in range(int(rng.integers(0, 28))):
        spot = _point(np.array([rng.uniform(0, width), rng.uniform(0, height)]) * 16)
        level = 128 + int(rng.choice((-1, 1)) * rng.integers(8, 26))
        cv2.circle(layer, spot, int(rng.uniform(0.7, 1.6) * scale * 16), level, -1, cv2.LINE_AA, 4)
    luma += layer
    luma -= 128


def _point(xy: NDArray[np.float64]) -> tuple[int, int]:
    return int(xy[0]), int(xy[1])


def _outline(
    rng: Generator, size: tuple[int, int], centre: tuple[float, float], scale: float, *, turned: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the masks of the part's body and of the holes in it, uint8 0 to 255 with soft edges."""
    width, height = size
    body = np.zeros((height, width), np.uint8)
    holes = np.zeros((height, width), np.uint8)
    turn = float(rng.uniform(-0.07, 0.07))
    if turned:
        radius = float(rng.uniform(205, 226)) * scale
        cv2.circle(body, _point(np.array(centre) * 16), int(radius * 16), 255, -1, cv2.LINE_AA, 4)
        bores = [(0.0, 0.0, float(rng.uniform(24, 52)) * scale)]
        count = int(rng.choice((0, 3, 4, 6)))
        drill, pitch = float(rng.uniform(10, 15)) * scale, radius * float(rng.uniform(0.70, 0.80))
        start = float(rng.uniform(0, 2 * np.pi))
        for step in range(count):
            angle = start + 2 * np.pi * step / count
            bores.append((pitch * float(np.cos(angle)), pitch * float(np.sin(angle)), drill))
    else:
        half = np.array([rng.uniform(262, 292) * scale, rng.uniform(188, 212) * scale])
        rounding = float(rng.uniform(14, 36)) * scale
        corners = [(sx, sy) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        inner = half - rounding
        quad = np.array([_turn(sx * inner[0], sy * inner[1], turn) for sx, sy in corners]) + np.array(centre)
        outline = [np.round(quad * 16).astype(np.int32)]
        cv2.fillPoly(body, outline, 255, cv2.LINE_AA, 4)
        cv2.polylines(
            body, outline, isClosed=True, color=255, thickness=max(int(2 * rounding), 1), lineType=cv2.LINE_AA, shift=4
        )
        drill, inset = float(rng.uniform(12, 20)) * scale, float(rng.uniform(36, 52)) * scale
        used = {0: (), 2: (0, 2), 4: (0, 1, 2, 3)}[int(rng.choice((0, 2, 4)))]
        bores = [
            (*_turn(corners[n][0] * (half[0] - inset), corners[n][1] * (half[1] - inset), turn), drill) for n in used
        ]
    for x, y, radius in bores:
        spot = _point((np.array(centre) + np.array([x, y])) * 16)
        cv2.circle(holes, spot, int(radius * 16), 255, -1, cv2.LINE_AA, 4)
    return body, holes


def _turn(x: float, y: float, angle: float) -> tuple[float, float]:
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    return x * cosine - y * sine, x * sine + y * cosine


def _edges(
    rng: Generator, luma: NDArray[np.float32], body: NDArray[np.uint8], holes: NDArray[np.uint8], scale: float
) -> None:
    """Put the part on its dark fixture, open its holes and brighten the chamfers, in place."""
    height, width = luma.shape
    kernel = np.ones((3, 3), np.uint8)
    steps = max(round(2 * scale), 1)
    rim = cv2.subtract(body, cv2.erode(body, kernel, iterations=steps))
    collar = cv2.subtract(cv2.dilate(holes, kernel, iterations=steps), holes)
    chamfer = cv2.max(rim, collar).astype(np.float32)
    cv2.scaleAdd(chamfer, float(rng.uniform(20, 48)) / 255, luma, luma)
    fixture = rng.standard_normal((12, 16), dtype=np.float32) * np.float32(3) + np.float32(rng.uniform(22, 46))
    dark = cv2.resize(fixture, (width, height), interpolation=cv2.INTER_LINEAR)
    cover = cv2.subtract(body, holes).astype(np.float32)
    cover *= np.float32(1 / 255)
    luma -= dark
    luma *= cover
    luma += dark
