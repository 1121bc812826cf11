"""How long requests took lately, and so how long one more will wait: what cannot be done in time is refused at once.

A smoothed mean (EWMA) of the time that requests hold a place, over all models, tells how fast the queue moves; one a
model tells how long the work itself takes. Estimates are asked for only while every place is taken, so the requests
that hold the places always renew them: after a slow time requests are let in again.
"""

_WEIGHT = 0.1
"""Share of the newest request in the mean: about the last twenty count."""


class WaitEstimator:
    """Measured service times of a service with so many places for requests at work."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._all: float | None = None
        self._by_model: dict[str, float] = {}

    def observe(self, model: str, seconds: float) -> None:
        """Take in how long a request held its place, whatever became of it; `model` is one of the store's."""
        self._all = _smooth(self._all, seconds)
        self._by_model[model] = _smooth(self._by_model.get(model), seconds)

    def wait(self, ahead: int) -> float:
        """Return the seconds until a place comes free for one who waits behind `ahead` others; 0 while unmeasured.

        With all places taken, one comes free every mean / places seconds.
        """
        return (self._all or 0.0) * (ahead + 1) / self._places

    def until_done(self, model: str, ahead: int) -> float:
        """Return the seconds until a request that waits behind `ahead` others will be done; 0 while unmeasured."""
        return self.wait(ahead) + self._by_model.get(model, 0.0)


def _smooth(mean: float | None, value: float) -> float:
    return value if mean is None else mean + _WEIGHT * (value - mean)
