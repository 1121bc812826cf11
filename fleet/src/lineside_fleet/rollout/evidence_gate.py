"""The gate over exported evidence: what the staged devices saw against what the version before saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lineside_fleet.gate import report
from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.evaluation import Evaluation
from lineside_fleet.gate.settings import GateSettings
from lineside_fleet.gate.sources import evidence
from lineside_fleet.rollout.judging import Judged
from lineside_fleet.state.document import StageState


@dataclass(frozen=True)
class EvidenceGate:
    """Records of both versions, as files or folders; versions where the same records hold both."""

    settings: GateSettings
    baseline: Sequence[Path]
    staged: Sequence[Path]
    model: str | None = None
    baseline_version: str | None = None
    staged_version: str | None = None
    out: Path | None = None
    """Folder for the evaluation as JSON, picture and page."""

    def judge(self, stage: StageState, look: int) -> Judged:
        """Return the verdict of this look; raises LinesideError where the evidence or the look is wrong."""
        before = evidence.observe(self.baseline, model=self.model, version=self.baseline_version)
        after = evidence.observe(self.staged, model=self.model, version=self.staged_version)
        found = evaluate(self.settings, before, after, look)
        return told(stage, found, self.out)


def told(stage: StageState, found: Evaluation, out: Path | None) -> Judged:
    """Return an evaluation as a verdict with its sentences, and write its report where a folder is named."""
    written = report.write(found, out) if out is not None else []
    sentences = [
        f"stage {stage.name}: {found.sentence}",
        *(problem.sentence for problem in found.problems[1:]),
        *(f"{metric.verdict}: {metric.sentence}" for metric in found.metrics),
        *(f"note: {remark}" for side in (found.baseline, found.staged) for remark in side.remarks),
        *(f"written: {path}" for path in written),
    ]
    return Judged(found.verdict, sentences, is_look=not found.problems)
