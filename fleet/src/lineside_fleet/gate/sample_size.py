"""How many parts each side needs before the gate can show what is asked, by the formulas of its own tests.

Both are (t(alpha) + t(beta))^2 times the variance of one part, over the square of the distance between what is true and
what is allowed; t has the devices' degrees of freedom. Levels are those of the last look, which has nearly all of them.
"""

import math
from typing import Final

from scipy.special import ndtri, stdtrit

from lineside_fleet.gate.settings import GateSettings, LatencySettings, RateSettings
from lineside_fleet.gate.spending import SPENT, equal, levels

BURSTS: Final = 2.0
"""Design effect of events that come in bursts and more on some devices than on others, as in the simulation."""
MEMORY: Final = 1.5
"""By how much one part's latency, like the one before it, adds to the variance of a quantile: as in the simulation."""


def for_rate(
    rate: RateSettings, share: float, *, worse: float = 1.0, power: float = 0.9, level: float = 0.05,
    devices: int = 12, effect: float = BURSTS,
) -> int | None:  # fmt: skip
    """Return the parts of each side; None where no number of them can show it.

    `share` is the baseline's, `worse` what the staged one truly is of it: at 1 within the margin is to be shown, else
    that it is beyond.
    """
    staged = share * worse
    apart = staged - rate.ratio * share - rate.allowance
    if (apart >= 0) == (worse <= 1) or apart == 0:
        return None
    variance = staged * (1 - staged) + rate.ratio**2 * share * (1 - share)
    return math.ceil(_factor(level, power, devices) * effect * variance / apart**2)


def for_latency(
    latency: LatencySettings, share: float, sigma: float, *, slower: float = 0.0, power: float = 0.9,
    level: float = 0.05, devices: int = 12, effect: float = MEMORY,
) -> int | None:  # fmt: skip
    """Return the parts of each side for a quantile of lognormal latencies; None where no number can show it.

    `sigma` is the standard deviation of one device's logarithm of latency, `slower` by how much of itself the staged
    quantile truly is longer: at 0 within the margin is to be shown, else that it is beyond.
    """
    apart = math.log1p(slower) - math.log1p(latency.slower)
    if (apart >= 0) == (slower <= 0) or apart == 0:
        return None
    density = math.exp(-(float(ndtri(share)) ** 2) / 2) / math.sqrt(2 * math.pi)
    variance = 2 * effect * share * (1 - share) * (sigma / density) ** 2
    return math.ceil(_factor(level, power, devices) * variance / apart**2)


def levels_of(settings: GateSettings, ways: int) -> tuple[float, float]:
    """Return the levels of promote and of stop at the last look, where harm can be shown in so many ways."""
    at = equal(settings.looks)
    return levels(SPENT * settings.false_promotion, at)[-1], levels(SPENT * settings.false_stop / ways, at)[-1]


def _factor(level: float, power: float, devices: int) -> float:
    freedom = max(1, devices - 1)
    return float(stdtrit(freedom, 1 - level) + stdtrit(freedom, power)) ** 2
