"""Train, export and score the surface-defect classifier on rendered parts.

From the repository's root, in an environment made from models/requirements-train.in:

    PYTHONPATH=bench/src python models/surface-defect/train.py

It writes 1/model.onnx, card.yaml and the figures in CARD.md beside itself. About ten minutes on four cores.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from lineside_bench.parts.labels import EVALUATION_SEED, LABELS, TRAINING_SEED
from lineside_bench.parts.part import encode_jpeg, make_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
SIDE = 160
SCALE = 1 / 255
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
THRESHOLD = 0.5
LARGEST_MODEL = 2_000_000
MARKS = ("<!-- figures: written by train.py -->", "<!-- end of figures -->")


@dataclass(frozen=True)
class Parts:
    """Prepared parts: ``images`` (n, SIDE, SIDE, 3) uint8 RGB and ``labels`` (n,) int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Net(nn.Module):
    """Six small convolutions, then the greatest and the mean response; takes normalised (n, 3, SIDE, SIDE)."""

    def __init__(self, classes: int) -> None:
        """Build the layers for ``classes`` outputs."""
        super().__init__()
        plan = ((3, 16, 2), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 96, 2))
        layers: list[nn.Module] = []
        for taken, given, stride in plan:
            layers += [
                nn.Conv2d(taken, given, 3, stride, 1, bias=False),
                nn.BatchNorm2d(given),
                nn.ReLU(inplace=True),
            ]
        self.body = nn.Sequential(*layers)
        self.most = nn.AdaptiveMaxPool2d(1)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(192, classes))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, classes)."""
        seen = self.body(image)
        logits: torch.Tensor = self.head(torch.cat([self.most(seen), self.mean(seen)], dim=1))
        return logits


def prepare(jpeg: bytes, *, reduced: bool = False) -> NDArray[np.uint8]:
    """Decode as the inference service does and return SIDExSIDEx3 uint8 RGB; ``reduced`` decodes at half size."""
    flag = cv2.IMREAD_REDUCED_COLOR_2 if reduced else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flag)
    if image is None:
        message = f"could not decode a JPEG of {len(jpeg)} bytes"
        raise ValueError(message)
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (n, 3, SIDE, SIDE) float32: (pixel * SCALE - MEAN) / STD."""
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    values = (images.astype(np.float32) * np.float32(SCALE) - mean) / std
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def _render(task: tuple[int, int, int, bool]) -> Parts:
    seed, first, last, training = task
    cv2.setNumThreads(1)
    rng = np.random.default_rng((seed, first, 1))
    images, labels = [], []
    for index in range(first, last):
        part = make_part(seed, index)
        quality = int(rng.integers(75, 97)) if training else 90
        images.append(prepare(encode_jpeg(part.image, quality), reduced=training and rng.random() < 0.3))
        labels.append(LABELS.index(part.label))
    return Parts(np.stack(images), np.array(labels, np.int64))


def render(seed: int, count: int, *, training: bool) -> Parts:
    """Render ``count`` parts of run ``seed`` on every core, through a JPEG round trip."""
    step = 100
    tasks = [(seed, first, min(first + step, count), training) for first in range(0, count, step)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        blocks = list(pool.map(_render, tasks))
    return Parts(np.concatenate([b.images for b in blocks]), np.concatenate([b.labels for b in blocks]))


def augment(batch: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Mirror, move, relight and roughen a normalised batch."""
    if torch.rand((), generator=rng) < 0.5:
        batch = batch.flip(3)
    if torch.rand((), generator=rng) < 0.5:
        batch = batch.flip(2)
    padded = nn.functional.pad(batch, (6, 6, 6, 6), mode="replicate")
    top, left = (int(torch.randint(0, 13, (), generator=rng)) for _ in range(2))
    batch = padded[:, :, top : top + SIDE, left : left + SIDE]
    shape = (len(batch), 1, 1, 1)
    gain = 1 + 0.15 * (2 * torch.rand(shape, generator=rng) - 1)
    offset = 0.2 * (2 * torch.rand(shape, generator=rng) - 1)
    return batch * gain + offset + 0.02 * torch.randn(batch.shape, generator=rng)


def train(parts: Parts, *, epochs: int, batch: int, rate: float) -> Net:
    """Return the trained network, in evaluation mode."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    net = Net(len(LABELS))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing from torch's annotations
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-3)
    steps = len(parts.labels) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps * epochs)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.02)
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(parts.labels), generator=rng).numpy()
        total, began = 0.0, time.perf_counter()
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            images = torch.from_numpy(normalise(parts.images[chosen]))
            images = augment(images, rng).contiguous(memory_format=torch.channels_last)
            loss = loss_of(net(images), torch.from_numpy(parts.labels[chosen]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}/{epochs} loss {total / steps:.4f} {time.perf_counter() - began:.1f} s", flush=True)
    return net.eval()


def export(net: Net, path: Path) -> None:
    """Write ``net`` as ONNX opset 17, batch dimension dynamic, weights inside, and check it against torch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        net,
        (torch.zeros(2, 3, SIDE, SIDE),),
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(path), full_check=True)
    size = path.stat().st_size
    if size > LARGEST_MODEL:
        message = f"{path.name} has {size} bytes: at most {LARGEST_MODEL} are kept in the repository"
        raise ValueError(message)


def logits_of(path: Path, parts: Parts) -> NDArray[np.float32]:
    """Return ONNX Runtime's logits (n, classes)."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    step = 64
    rows = [
        session.run(["logits"], {"image": normalise(parts.images[first : first + step])})[0]
        for first in range(0, len(parts.labels), step)
    ]
    return np.concatenate(rows)


def check_agreement(net: Net, path: Path, parts: Parts) -> float:
    """Return the largest difference between torch and ONNX Runtime on a few parts.

    Raises:
        ValueError: they differ by more than 0.001.
    """
    few = Parts(parts.images[:64], parts.labels[:64])
    with torch.no_grad():
        ours = net(torch.from_numpy(normalise(few.images))).numpy()
    difference = float(np.abs(ours - logits_of(path, few)).max())
    if difference > 1e-3:
        message = f"ONNX Runtime and torch differ by {difference:.5f} on {path.name}: at most 0.001 is allowed"
        raise ValueError(message)
    return difference


@dataclass(frozen=True)
class Scores:
    """Figures of the judgement with the thresholds applied; every share is 0 to 1."""

    parts: int
    accuracy: float
    label_accuracy: float
    false_pass: float
    false_fail: float
    unknown: float
    confusion: NDArray[np.int64]


def judge(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Scores:
    """Score as the line does: fail at any defect's threshold, else pass at good's, else unknown, which is wrong."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    chance = odds / odds.sum(axis=1, keepdims=True)
    fails = (chance[:, 1:] >= THRESHOLD).any(axis=1)
    passes = ~fails & (chance[:, 0] >= THRESHOLD)
    bad = labels > 0
    confusion = np.zeros((len(LABELS), len(LABELS)), np.int64)
    np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
    return Scores(
        parts=len(labels),
        accuracy=float(np.mean(np.where(bad, fails, passes))),
        label_accuracy=float(np.mean(logits.argmax(axis=1) == labels)),
        false_pass=float(np.mean(passes[bad])),
        false_fail=float(np.mean(fails[~bad])),
        unknown=float(np.mean(~fails & ~passes)),
        confusion=confusion,
    )


def write_card(scores: Scores, path: Path, *, train_parts: int) -> None:
    """Write card.yaml: what the inference service needs to run the model, and its figures."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (HERE / "card.yaml").write_text(
        f"""\
# Written by train.py. CARD.md says the same in words.
schema: lineside/card/1
name: surface-defect
version: "1"
description: Says whether a machined metal part is good, scratched, pitted, stained or dented (rendered parts only).
task: classification
input:
  name: image
  kind: image
  datatype: FP32
  shape: [3, {SIDE}, {SIDE}]
  image:
    width: {SIDE}
    height: {SIDE}
    fit: stretch
    interpolation: area
    colour: rgb
    layout: chw
    scale: {SCALE!r}
    mean: {list(MEAN)}
    std: {list(STD)}
output:
  name: logits
  head: classification
  activation: softmax
labels: [{", ".join(LABELS)}]
defects: [{", ".join(LABELS[1:])}]
thresholds: {{default: {THRESHOLD}}}
files:
  - {{path: 1/model.onnx, variant: any, sha256: "{digest}"}}
licence: Apache-2.0
made:
  script: train.py
  data: "{train_parts} parts rendered by lineside_bench.parts, each through a JPEG round trip"
  seeds: "training {TRAINING_SEED}, held-out {EVALUATION_SEED}"
scores:
  held_out_parts: {scores.parts}
  accuracy: {scores.accuracy:.4f}
  label_accuracy: {scores.label_accuracy:.4f}
  false_pass_rate: {scores.false_pass:.4f}
  false_fail_rate: {scores.false_fail:.4f}
  unknown_rate: {scores.unknown:.4f}
""",
        encoding="utf-8",
    )


def write_figures(scores: Scores) -> None:
    """Put the figures between the two marks of CARD.md."""
    rows = zip(LABELS, scores.confusion, strict=True)
    lines = [
        "| figure | value |",
        "|---|---|",
        f"| held-out parts | {scores.parts} |",
        f"| judged right (pass or fail, thresholds applied) | {scores.accuracy:.4f} |",
        f"| label right | {scores.label_accuracy:.4f} |",
        f"| bad parts passed | {scores.false_pass:.4f} |",
        f"| good parts failed | {scores.false_fail:.4f} |",
        f"| unknown | {scores.unknown:.4f} |",
        "",
        "| true \\ said | " + " | ".join(LABELS) + " |",
        "|---|" + "---|" * len(LABELS),
        *(f"| {name} | " + " | ".join(map(str, row)) + " |" for name, row in rows),
    ]
    card = HERE / "CARD.md"
    text = card.read_text(encoding="utf-8")
    before, _, rest = text.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    card.write_text(f"{before}{MARKS[0]}\n" + "\n".join(lines) + f"\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    """Run the whole of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--parts", type=int, default=12_000, help="parts to train on (default 12000)")
    options.add_argument("--held-out", type=int, default=4_000, help="parts to score on (default 4000)")
    options.add_argument("--epochs", type=int, default=14, help="passes over the training parts (default 14)")
    options.add_argument("--batch", type=int, default=64, help="parts a step (default 64)")
    options.add_argument("--rate", type=float, default=4e-3, help="greatest learning rate (default 0.004)")
    chosen = options.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    began = time.perf_counter()
    parts = render(TRAINING_SEED, chosen.parts, training=True)
    print(f"rendered {len(parts.labels)} parts in {time.perf_counter() - began:.0f} s", flush=True)
    path = HERE / "1" / "model.onnx"
    net = train(parts, epochs=chosen.epochs, batch=chosen.batch, rate=chosen.rate)
    export(net, path)
    held_out = render(EVALUATION_SEED, chosen.held_out, training=False)
    print(f"torch and ONNX Runtime differ by at most {check_agreement(net, path, held_out):.2e}")
    scores = judge(logits_of(path, held_out), held_out.labels)
    write_card(scores, path, train_parts=chosen.parts)
    write_figures(scores)
    print(scores)


if __name__ == "__main__":
    main()
