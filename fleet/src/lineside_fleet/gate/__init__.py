"""The gate between two stages: whether what was observed lets a staged version go on."""

from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.evaluation import Evaluation, Look, MetricEvaluation, Problem
from lineside_fleet.gate.observations import Observations
from lineside_fleet.gate.settings import GateSettings

__all__ = ["Evaluation", "GateSettings", "Look", "MetricEvaluation", "Observations", "Problem", "evaluate"]
