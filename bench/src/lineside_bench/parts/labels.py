"""What is true about each part of a run, known without rendering it: its id and its label.

A part is a function of ``(seed, index)`` and nothing else. Seeds are kept apart so that the bench judges parts that no
model was trained on:

* below 1 000 000: the bench and its users (the default is 7);
* from 1 000 000: training;
* from 2 000 000: held-out evaluation, the figures on the model's card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

LABELS: Final[tuple[str, ...]] = ("good", "scratch", "pit", "stain", "dent")
"""Every label, in the order of the model's outputs."""

DEFECTS: Final[frozenset[str]] = frozenset(LABELS[1:])
"""The labels that make a part bad."""

DEFAULT_SEED: Final = 7
TRAINING_SEED: Final = 1_000_000
EVALUATION_SEED: Final = 2_000_000

GOOD_SHARE = 0.5
"""How many of the parts are good, 0 to 1."""


@dataclass(frozen=True)
class Truth:
    """One part of a run: its number there, from 0, its id, and its label, one of :data:`LABELS`."""

    index: int
    part_id: str
    label: str


def truth(seed: int, index: int) -> Truth:
    """Return what is true about part ``index`` of the run ``seed``; both 0 or more, else ValueError."""
    return Truth(index, part_id(index), drawn_label(streams(seed, index)[0]))


def part_id(index: int) -> str:
    """Return a part's id: ``P-`` and the index, at least six digits."""
    return f"P-{index:06d}"


def streams(seed: int, index: int) -> tuple[np.random.Generator, np.random.Generator, np.random.Generator]:
    """Return the random numbers of a part: for its label, its surface, its defect; independent of one another."""
    if seed < 0 or index < 0:
        message = f"part seed {seed}, index {index}: both must be 0 or more"
        raise ValueError(message)
    label, surface, defect = (
        np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence((seed, index)).spawn(3)
    )
    return label, surface, defect


def drawn_label(of_label: np.random.Generator) -> str:
    """Return the run's own label: half the parts are good, the rest are spread over the defects."""
    good = of_label.random() < GOOD_SHARE
    return LABELS[0] if good else LABELS[int(of_label.integers(1, len(LABELS)))]
