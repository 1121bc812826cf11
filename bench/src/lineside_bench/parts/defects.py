"""The four ways a part goes wrong, drawn into a :class:`~lineside_bench.parts.surfaces.Surface`.

Each function changes the luminance plane in place and returns a colour change, or nothing. Sizes, places and contrast
vary; the least contrast is set above the texture, so that every defect can be seen in the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from lineside_bench.parts.surfaces import Surface

__all__ = ["add_dent", "add_pit", "add_scratch", "add_stain"]

SCRATCH_LEAST = 55
"""Fewest reference pixels of a scratch that lie on the part."""

FARTHEST = 2.0
"""No part of a stain is farther from its middle than this many radii."""

STEPS = 25
"""Points on a scratch's path; odd, so that one is in the middle."""


def add_scratch(rng: Generator, surface: Surface) -> None:
    """Cut one long, slightly curved groove: a bright or dark line with its opposite beside it."""
    scale = surface.scale
    layer = np.zeros(surface.luma.shape, np.uint8)
    path = _scratch_path(rng, surface)
    width = float(rng.uniform(2.0, 4.2)) * scale
    points = [np.round(path * 16).astype(np.int32)]
    cv2.polylines(
        layer, points, isClosed=False, color=255, thickness=max(round(width), 1), lineType=cv2.LINE_AA, shift=4
    )
    strength = float(rng.choice((-1.0, 1.0), p=(0.4, 0.6)) * (rng.uniform(34, 72) + surface.grain))
    groove = cv2.GaussianBlur(layer, (0, 0), 0.5 * scale + 0.2).astype(np.float32)
    groove *= surface.clearance > 0
    cv2.scaleAdd(groove, strength / 255, surface.luma, surface.luma)
    run = path[-1] - path[0]
    side = np.array([-run[1], run[0]]) / max(float(np.hypot(*run)), 1e-6) * (width * 0.5 + scale)
    shift = np.array([[1, 0, side[0]], [0, 1, side[1]]], np.float64)
    height, breadth = surface.luma.shape
    wall = cv2.warpAffine(groove, shift, (breadth, height))
    cv2.scaleAdd(wall, -0.3 * strength / 255, surface.luma, surface.luma)


def _scratch_path(rng: Generator, surface: Surface) -> NDArray[np.float64]:
    """Return the longest run of a random curve that stays on the part, as (n, 2) x, y in pixels."""
    height, width = surface.luma.shape
    best = np.zeros((0, 2))
    for _ in range(12):
        middle = _point_inside(rng, surface, 18)
        length = float(rng.uniform(90, 330)) * surface.scale
        angle = float(rng.uniform(0, 2 * np.pi))
        bend = float(rng.normal(0, 0.5))
        steps = np.linspace(-0.5, 0.5, STEPS)
        heading = angle + bend * steps
        path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0) * (length / STEPS)
        path += middle - path[STEPS // 2]
        column = np.clip(path[:, 0], 0, width - 1).astype(int)
        row = np.clip(path[:, 1], 0, height - 1).astype(int)
        on_part = surface.clearance[row, column] > 5 * surface.scale
        first = last = STEPS // 2
        while first > 0 and on_part[first - 1]:
            first -= 1
        while last < STEPS - 1 and on_part[last + 1]:
            last += 1
        if length * (last - first) / STEPS >= SCRATCH_LEAST * surface.scale:
            return path[first : last + 1]
        if last - first >= len(best):
            best = path[first : last + 1]
    return best


def add_pit(rng: Generator, surface: Surface) -> None:
    """Open one to six small dark craters close together, each with a lit far wall."""
    scale = surface.scale
    middle = _point_inside(rng, surface, 30)
    craters = np.zeros(surface.luma.shape, np.uint8)
    walls = np.zeros(surface.luma.shape, np.uint8)
    height, width = surface.luma.shape
    for number in range(int(rng.integers(1, 7))):
        radius = float(rng.uniform(3.4, 8.5)) * scale
        if number == 0:
            spot = middle
            radius = max(radius, 4.2 * scale)
        else:
            spot = middle + rng.normal(0, 17, 2) * scale
        column, row = int(np.clip(spot[0], 0, width - 1)), int(np.clip(spot[1], 0, height - 1))
        if surface.clearance[row, column] < radius + 2 * scale and number > 0:
            continue
        stretch = float(rng.uniform(0.7, 1.0))
        turn = float(rng.uniform(0, 180))
        axes = (int(radius * 16), int(radius * stretch * 16))
        lit = spot - np.array(surface.light) * 1.6 * scale
        cv2.ellipse(walls, _fixed(lit), axes, turn, 0, 360, 255, -1, cv2.LINE_AA, 4)
        cv2.ellipse(craters, _fixed(spot), axes, turn, 0, 360, 255, -1, cv2.LINE_AA, 4)
    depth = float(rng.uniform(48, 88)) + surface.grain
    rim = cv2.subtract(walls, craters).astype(np.float32)
    hollow = cv2.GaussianBlur(craters, (0, 0), 0.6 * scale + 0.2).astype(np.float32)
    cv2.scaleAdd(rim, 0.5 * depth / 255, surface.luma, surface.luma)
    cv2.scaleAdd(hollow, -depth / 255, surface.luma, surface.luma)


def add_stain(rng: Generator, surface: Surface) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """Spread one blotch of oil, coolant or heat tint.

    Returns:
        Its cover, HxW float32 from 0 to 1, and how much of red, green and blue a full cover takes away, 0 to 1.
    """
    scale = surface.scale
    height, width = surface.luma.shape
    radius = float(rng.uniform(26, 78)) * scale
    middle = _point_inside(rng, surface, 40)
    y, x = np.mgrid[0:height:4, 0:width:4].astype(np.float32)
    turn, stretch = float(rng.uniform(0, np.pi)), float(rng.uniform(0.6, 1.0))
    dx, dy = x - np.float32(middle[0]), y - np.float32(middle[1])
    along = dx * np.float32(np.cos(turn)) + dy * np.float32(np.sin(turn))
    across = (dy * np.float32(np.cos(turn)) - dx * np.float32(np.sin(turn))) / np.float32(stretch)
    distance = np.sqrt(along * along + across * across) / np.float32(radius)
    waves = rng.standard_normal((9, 12), dtype=np.float32)
    ragged = cv2.resize(waves, (x.shape[1], x.shape[0]), interpolation=cv2.INTER_CUBIC) * np.float32(0.16)
    edge = np.float32(rng.uniform(0.12, 0.35))
    cover = np.clip((1 - distance + ragged) / edge, 0, 1)
    cover = cover * cover * (3 - 2 * cover) * (distance < FARTHEST)
    full = np.asarray(cv2.resize(cover.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    full *= surface.clearance > 0
    strength = float(rng.uniform(0.22, 0.5))
    hues = ((0.75, 0.95, 1.30), (1.25, 1.05, 0.70), (1.05, 0.85, 1.10), (1.0, 1.0, 1.05))
    red, green, blue = hues[int(rng.integers(len(hues)))]
    return full, (strength * red, strength * green, strength * blue)


def add_dent(rng: Generator, surface: Surface) -> None:
    """Press one smooth hollow: its wall towards the lamp in shade, the far wall lit, no hard edge and no colour."""
    scale = surface.scale
    spread = float(rng.uniform(13, 30)) * scale
    middle = _point_inside(rng, surface, 26 + 0.6 * spread / scale)
    stretch, turn = float(rng.uniform(0.75, 1.0)), float(rng.uniform(0, np.pi))
    height, width = surface.luma.shape
    reach = int(4 * spread)
    left, top = max(int(middle[0]) - reach, 0), max(int(middle[1]) - reach, 0)
    right, bottom = min(int(middle[0]) + reach + 1, width), min(int(middle[1]) + reach + 1, height)
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    dx, dy = x - np.float32(middle[0]), y - np.float32(middle[1])
    along = dx * np.float32(np.cos(turn)) + dy * np.float32(np.sin(turn))
    across = (dy * np.float32(np.cos(turn)) - dx * np.float32(np.sin(turn))) / np.float32(stretch)
    bowl = np.exp((along * along + across * across) * np.float32(-0.5 / spread**2))
    slope = (dx * np.float32(surface.light[0]) + dy * np.float32(surface.light[1])) / np.float32(spread)
    depth = np.float32(rng.uniform(34, 68) + surface.grain)
    shading = slope * bowl * (depth * np.float32(np.exp(0.5))) + bowl * np.float32(0.12) * depth
    shading *= surface.clearance[top:bottom, left:right] > 0
    surface.luma[top:bottom, left:right] -= shading


def _fixed(xy: NDArray[np.float64]) -> tuple[int, int]:
    """Return ``xy`` in sixteenths of a pixel, as OpenCV's ``shift=4`` wants it."""
    return int(xy[0] * 16), int(xy[1] * 16)


def _point_inside(rng: Generator, surface: Surface, margin: float) -> NDArray[np.float64]:
    """Return a point (x, y) at least ``margin`` reference pixels inside the part, or the innermost one there is."""
    height, width = surface.luma.shape
    for _ in range(60):
        x, y = float(rng.uniform(0, width)), float(rng.uniform(0, height))
        if surface.clearance[int(y), int(x)] >= margin * surface.scale:
            return np.array([x, y])
    row, column = np.unravel_index(int(np.argmax(surface.clearance)), surface.clearance.shape)
    return np.array([float(column), float(row)])
