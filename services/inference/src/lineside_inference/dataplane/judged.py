"""What came of judging one request, as a value: evidence, live feed and metrics read it, and nobody changes it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Request, Result
from lineside_inference.deadline import Arrival, Deadline
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.models.store import Model
from lineside_inference.sources import Frame


@dataclass(frozen=True, slots=True)
class EvidenceInputs:
    """What a request's evidence is made of, as far as the request came; `keep` says what of it is wanted.

    `input` is a copy of the prepared tensor in the card's shape, `geometry` where the image lies in it, `outputs` the
    model's, by name. `frame` is None for tensors, which are in the request.
    """

    keep: Collection[str] = ()
    model: Model | None = None
    frame: Frame | None = None
    input: NDArray[Any] | None = None
    geometry: Geometry | None = None
    outputs: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Return about how many bytes it holds."""
        frame = self.frame
        image = 0 if frame is None else len(frame.data) + (0 if frame.pixels is None else frame.pixels.nbytes)
        tensor = 0 if self.input is None else self.input.nbytes
        return image + tensor + sum(output.nbytes for output in self.outputs.values())


@dataclass(frozen=True, slots=True)
class Judged:
    """A request, its Result with the time that each stage took, and what was seen on the way to it.

    `image` is the file of the image that was judged, None where there is none to show. `deadline` is None where the
    request was refused before its deadline was worked out.
    """

    request: Request
    result: Result
    arrival: Arrival = field(default_factory=Arrival)
    deadline: Deadline | None = None
    image: bytes | None = None
    evidence: EvidenceInputs = field(default_factory=EvidenceInputs)
