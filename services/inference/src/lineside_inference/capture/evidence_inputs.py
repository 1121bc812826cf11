"""What a request's way through the pipeline leaves for its evidence."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside_inference.imaging.geometry import Geometry
from lineside_inference.models.store import Model
from lineside_inference.sources import Frame


@dataclass(slots=True)
class EvidenceInputs:
    """Filled stage by stage, as far as the request came; `keep` says what is wanted of it.

    `input` is a copy of the prepared tensor in the card's shape, `geometry` where the picture lies in it.
    """

    keep: Collection[str] = ()
    model: Model | None = None
    frame: Frame | None = None
    input: NDArray[Any] | None = None
    geometry: Geometry | None = None
    outputs: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def prepared(self, tensor: NDArray[Any], geometry: Geometry | None) -> None:
        """Take a copy of the model's input, where it is wanted: its memory is used again."""
        if "input" in self.keep:
            self.input, self.geometry = tensor.copy(), geometry

    def answered(self, outputs: dict[str, NDArray[np.generic]]) -> None:
        """Take the model's outputs, where they are wanted."""
        if "outputs" in self.keep:
            self.outputs = outputs

    @property
    def size(self) -> int:
        """Return about how many bytes it holds."""
        frame = self.frame
        picture = 0 if frame is None else len(frame.data) + (0 if frame.pixels is None else frame.pixels.nbytes)
        tensor = 0 if self.input is None else self.input.nbytes
        return picture + tensor + sum(output.nbytes for output in self.outputs.values())
