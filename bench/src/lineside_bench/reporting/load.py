"""What a run took of the machine, and what kept it from more parts a second. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lineside_bench.processes.usage import Usage

_FULL = 0.85
"""Share of the time from which a core, or all of them, count as used up."""
_MIB = 1024 * 1024


@dataclass(frozen=True)
class LineLoad:
    """What the line's processes took of the machine while parts came.

    `busy_s` is the processor time of all processes of the machine, the line's and others'. `services` are by name; the
    simulators, which a plant does not have on the box, are one of them.
    """

    seconds: float
    cores: int
    busy_s: float
    parts: int
    services: Mapping[str, Usage] = field(default_factory=dict)

    @property
    def busy(self) -> float:
        """Which share of all cores was busy, 0 to 1."""
        return min(1.0, self.busy_s / (self.seconds * self.cores)) if self.seconds > 0 else 0.0

    @property
    def others(self) -> float:
        """Which share of all cores processes took that are not of this line."""
        own = sum(one.cpu_s for one in self.services.values())
        return max(0.0, self.busy_s - own) / (self.seconds * self.cores) if self.seconds > 0 else 0.0

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values: processor time in milliseconds a part, memory in MiB."""
        return {
            "seconds": round(self.seconds, 2),
            "cores": self.cores,
            "busy": round(self.busy, 3),
            "others": round(self.others, 3),
            "services": {
                name: {
                    "cpu_s": round(one.cpu_s, 2),
                    "cpu_ms_a_part": round(one.cpu_s * 1000 / self.parts, 2) if self.parts else None,
                    "memory_mib": round(one.memory_bytes / _MIB, 1),
                }
                for name, one in self.services.items()
            },
        }


def limited_by(load: LineLoad, stages_ms: Mapping[str, Mapping[str, float | None]], *, behind_s: float) -> str:
    """Return in words what kept a line from more parts a second: processors, a process, stations, or a stage."""
    if load.busy >= _FULL:
        own = sorted(load.services.items(), key=lambda item: -item[1].cpu_s)
        most = ", ".join(f"{name} {one.cpu_s / load.seconds:.2f}" for name, one in own[:3])
        others = f"; {load.others:.0%} of them by processes that are not the line's" if load.others > 1 - _FULL else ""
        return f"the processors: {load.busy:.0%} of {load.cores} were busy{others}; cores used: {most}"
    for name, one in load.services.items():
        if load.seconds > 0 and one.cpu_s / load.seconds >= _FULL:
            return f"{name}, which used a whole core"
    if behind_s > 1:
        return f"the stations: parts waited for a free one for up to {behind_s:.1f} s"
    slow = {stage: times["p95"] or 0.0 for stage, times in stages_ms.items()}
    stage = max(slow, key=lambda name: slow[name], default="")
    return (
        f"the stage {stage}: 95 of 100 parts took up to {slow[stage]:.0f} ms there" if stage else "nothing was measured"
    )
