"""The Open Inference Protocol over gRPC: 602 KB to the inference service against the same to Triton's own port.

The same tritonclient, model and tensor; each caller is a process of its own. The ways are measured in turns of a few
seconds, so that a drift of the machine's speed hits both; all share the one machine.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml
from agent import ROOT, in_turns
from inference import process, triton
from report import arguments, free_ports, write

CALLERS = (1, 4)


@contextmanager
def serving(work: Path, address: str) -> Iterator[str]:
    """Run the inference service with its gRPC port; yield where that is."""
    cards = work / "cards"
    cards.mkdir()
    shutil.copytree(ROOT / "models" / "surface-defect", cards / "surface-defect")
    http, grpc = free_ports(2)
    inference = {"http": {"port": http}, "grpc": {"port": grpc}, "triton": {"url": address}}
    config = work / "inference.yaml"
    config.write_text(yaml.safe_dump({"inference": inference | {"model_repository": str(cards)}}), encoding="utf-8")
    argv = [sys.executable, "-m", "lineside_inference", str(config)]
    with process(argv, work / "inference.log", f"http://127.0.0.1:{http}/readyz"):
        yield f"127.0.0.1:{grpc}"


def measure(work: Path, *, quick: bool) -> tuple[dict, dict]:
    """Return figures and ratios."""
    figures: dict[str, float] = {}
    with ExitStack() as stack:
        _http, address = stack.enter_context(triton(work))
        ours = stack.enter_context(serving(work, address))
        targets = {"triton": ("triton", address), "grpc_v2": ("triton", ours)}  # tritonclient asks both as Triton
        for callers in CALLERS:
            figures |= in_turns(f"ModelInfer of 602 KB, {callers} callers", targets, callers, quick=quick)
    return figures, {f"grpc_v2_c{n}": figures[f"grpc_v2_c{n}"] / figures[f"triton_c{n}"] for n in CALLERS}


def main() -> None:
    given = arguments(__doc__.splitlines()[0])
    with tempfile.TemporaryDirectory(prefix="lineside-benchmark-") as work:
        figures, ratios = measure(Path(work), quick=given.quick)
    print()
    write(given.json, figures=figures, ratios=ratios)


if __name__ == "__main__":
    main()
