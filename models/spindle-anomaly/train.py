"""Train, export and score the spindle anomaly model on simulated windows.

From the repository's root, in an environment made from models/requirements-train.in:

    PYTHONPATH=bench/src python models/spindle-anomaly/train.py

It writes 1/model.onnx, card.yaml and the figures in CARD.md beside itself. About two minutes on four cores.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from lineside_bench.parts.labels import EVALUATION_SEED, TRAINING_SEED
from lineside_bench.parts.spindle import KINDS, TAGS, WINDOW, make_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNITS = ("1/min", '"%"', "mm/s", "°C")
"""Of the tags, as YAML."""

HERE = Path(__file__).resolve().parent
BLOCK = 8
BLOCKS = WINDOW // BLOCK
FEATURES = len(TAGS) * (2 * BLOCKS + 1)
CLIP = 12.0
FALSE_ALARMS = 0.005
MARKS = ("<!-- figures: written by train.py -->", "<!-- end of figures -->")


@dataclass(frozen=True)
class Windows:
    """Windows: ``values`` (n, 64, 4) float32, and each one's place in KINDS, (n,) int64."""

    values: NDArray[np.float32]
    kinds: NDArray[np.int64]


class Features(nn.Module):
    """Condense windows (n, 64, 4) to (n, 4, 17): per tag the means and spreads of eight blocks, and the drift."""

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """Return the features, neither scaled nor centred."""
        blocks = window.reshape(-1, BLOCKS, BLOCK, len(TAGS))
        mean = blocks.mean(dim=2)
        away = blocks - mean.unsqueeze(2)
        spread = torch.log((away * away).mean(dim=2) + 1e-4)
        drift = mean[:, -1:] - mean[:, :1]
        return torch.cat([mean, spread, drift], dim=1).transpose(1, 2)


class Net(nn.Module):
    """Score windows (n, 64, 4) with (n, 1): the error of giving their features back, in units of its usual size."""

    def __init__(self) -> None:
        """Build the layers; ``centre``, ``spread`` and ``usual`` are set from data."""
        super().__init__()
        self.features = Features()
        self.centre = nn.Buffer(torch.zeros(FEATURES))
        self.spread = nn.Buffer(torch.ones(FEATURES))
        self.usual = nn.Buffer(torch.ones(FEATURES))
        self.code = nn.Sequential(
            nn.Linear(FEATURES, 96), nn.ReLU(), nn.Linear(96, 12), nn.Linear(12, 96), nn.ReLU(), nn.Linear(96, FEATURES)
        )

    def scaled(self, window: torch.Tensor) -> torch.Tensor:
        """Return the features (n, 68), centred, scaled and clipped so that a wild value cannot overflow."""
        flat = self.features(window).reshape(-1, FEATURES)
        return torch.clamp((flat - self.centre) / self.spread, -CLIP, CLIP)

    def error(self, window: torch.Tensor) -> torch.Tensor:
        """Return what the code could not give back, (n, 68)."""
        scaled = self.scaled(window)
        rebuilt: torch.Tensor = self.code(scaled)
        return rebuilt - scaled

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """Return the scores (n, 1), 0 or more."""
        share = self.error(window) / self.usual
        squares = (share * share).reshape(-1, len(TAGS), FEATURES // len(TAGS)).mean(dim=2)
        overall = squares.mean(dim=1, keepdim=True)
        return torch.sqrt(torch.maximum(overall, squares[:, 2:].amax(dim=1, keepdim=True)))


def _draw(task: tuple[int, int, int, bool | None]) -> Windows:
    seed, first, last, anomalous = task
    windows = [make_window(seed, index, anomalous=anomalous) for index in range(first, last)]
    return Windows(
        np.stack([window.values for window in windows]),
        np.array([KINDS.index(window.kind) for window in windows], np.int64),
    )


def draw(seed: int, first: int, last: int, *, anomalous: bool) -> Windows:
    """Draw windows ``first`` to ``last`` of run ``seed`` on every core."""
    tasks = [(seed, start, min(start + 500, last), anomalous) for start in range(first, last, 500)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        blocks = list(pool.map(_draw, tasks))
    return Windows(np.concatenate([b.values for b in blocks]), np.concatenate([b.kinds for b in blocks]))


def train(windows: Windows, *, epochs: int, batch: int, rate: float) -> Net:
    """Return the network trained on sound ``windows``, in evaluation mode."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    net = Net()
    values = torch.from_numpy(windows.values)
    flat = net.features(values).reshape(-1, FEATURES)
    net.centre.copy_(flat.mean(dim=0))
    net.spread.copy_(flat.std(dim=0) + 1e-3)
    scaled = net.scaled(values)
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-4)
    steps = len(scaled) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps * epochs)
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(scaled), generator=rng)
        for step in range(steps):
            chosen = scaled[order[step * batch : (step + 1) * batch]]
            loss = nn.functional.mse_loss(net.code(chosen), chosen)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}/{epochs} loss {total / steps:.4f}", flush=True)
    net.eval()
    with torch.no_grad():
        net.usual.copy_(net.error(values).std(dim=0) + 1e-3)
    return net


def export(net: Net, path: Path) -> None:
    """Write ``net`` as ONNX opset 17, batch dimension dynamic, weights inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        net,
        (torch.zeros(2, WINDOW, len(TAGS)),),
        path,
        input_names=["window"],
        output_names=["score"],
        dynamic_axes={"window": {0: "batch"}, "score": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(path), full_check=True)


def scores_of(path: Path, windows: Windows) -> NDArray[np.float32]:
    """Return ONNX Runtime's scores (n,)."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["score"], {"window": windows.values})[0], np.float32)[:, 0]


def check_agreement(net: Net, path: Path, windows: Windows) -> float:
    """Return the largest difference between torch and ONNX Runtime on a few windows.

    Raises:
        ValueError: they differ by more than 0.01 of the score.
    """
    few = Windows(windows.values[:256], windows.kinds[:256])
    with torch.no_grad():
        ours = net(torch.from_numpy(few.values)).numpy()[:, 0]
    theirs = scores_of(path, few)
    difference = float((np.abs(ours - theirs) / (1 + ours)).max())
    if difference > 1e-2:
        message = f"ONNX Runtime and torch differ by {difference:.5f} on {path.name}: at most 0.01 is allowed"
        raise ValueError(message)
    return difference


def area_under_curve(sound: NDArray[np.float32], faulty: NDArray[np.float32]) -> float:
    """Return the chance that a faulty window scores above a sound one (the area under the ROC curve)."""
    ordered = np.sort(sound)
    below = np.searchsorted(ordered, faulty, side="left") + np.searchsorted(ordered, faulty, side="right")
    return float(below.mean() / 2 / len(ordered))


def write_card(figures: dict[str, float], path: Path, *, threshold: float, train_windows: int) -> None:
    """Write card.yaml: what the inference service needs to run the model, and its figures."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = "".join(f"  {name}: {value:.10g}\n" for name, value in figures.items())
    (HERE / "card.yaml").write_text(
        f"""\
# Written by train.py. CARD.md says the same in words.
schema: lineside/card/1
name: spindle-anomaly
version: "1"
description: Says how unlike a sound spindle the last 64 samples of its four tags are (simulated data only).
task: tabular
input:
  name: window
  kind: tensor
  datatype: FP32
  shape: [{WINDOW}, {len(TAGS)}]
  columns: [{", ".join(TAGS)}]
  units: [{", ".join(UNITS)}]
output:
  name: score
  head: score
labels: [anomaly]
defects: [anomaly]
thresholds: {{default: {threshold}}}
files:
  - {{path: 1/model.onnx, variant: any, sha256: "{digest}"}}
licence: Apache-2.0
made:
  script: train.py
  data: "{train_windows} sound windows simulated by lineside_bench.parts.spindle; no fault was seen in training"
  seeds: "training {TRAINING_SEED}, held-out {EVALUATION_SEED}"
scores:
{lines}""",
        encoding="utf-8",
    )


def write_figures(figures: dict[str, float], threshold: float) -> None:
    """Put the figures between the two marks of CARD.md."""
    rows = [f"| {name.replace('_', ' ')} | {value:.10g} |" for name, value in figures.items()]
    lines = ["| figure | value |", "|---|---|", f"| threshold | {threshold} |", *rows]
    card = HERE / "CARD.md"
    before, _, rest = card.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    card.write_text(f"{before}{MARKS[0]}\n" + "\n".join(lines) + f"\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    """Run the whole of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--windows", type=int, default=24_000, help="sound windows to train on (default 24000)")
    options.add_argument("--held-out", type=int, default=4_000, help="windows to score on, half faulty (default 4000)")
    options.add_argument("--epochs", type=int, default=60, help="passes over the training windows (default 60)")
    options.add_argument("--batch", type=int, default=128, help="windows a step (default 128)")
    options.add_argument("--rate", type=float, default=3e-3, help="greatest learning rate (default 0.003)")
    chosen = options.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    path = HERE / "1" / "model.onnx"
    net = train(
        draw(TRAINING_SEED, 0, chosen.windows, anomalous=False),
        epochs=chosen.epochs,
        batch=chosen.batch,
        rate=chosen.rate,
    )
    export(net, path)
    further = draw(TRAINING_SEED, chosen.windows, chosen.windows + 6_000, anomalous=False)
    threshold = round(float(np.quantile(scores_of(path, further), 1 - FALSE_ALARMS)), 2)
    half = chosen.held_out // 2
    sound = draw(EVALUATION_SEED, 0, half, anomalous=False)
    faulty = draw(EVALUATION_SEED, half, 2 * half, anomalous=True)
    print(f"torch and ONNX Runtime differ by at most {check_agreement(net, path, faulty):.2e} of the score")
    low, high = scores_of(path, sound), scores_of(path, faulty)
    figures: dict[str, float] = {
        "held_out_windows": len(low) + len(high),
        "auroc": round(area_under_curve(low, high), 5),
        "false_alarm_rate": round(float(np.mean(low >= threshold)), 4),
        "caught_rate": round(float(np.mean(high >= threshold)), 4),
    }
    for place, kind in enumerate(KINDS[1:], start=1):
        figures[f"caught_{kind}"] = round(float(np.mean(high[faulty.kinds == place] >= threshold)), 4)
    write_card(figures, path, threshold=threshold, train_windows=chosen.windows)
    write_figures(figures, threshold)
    print(f"threshold {threshold}", figures)


if __name__ == "__main__":
    main()
