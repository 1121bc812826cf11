"""A stand-in for trtexec: takes its command line, prints like it, and ends as it is told by files beside itself.

`mode` says how: well, fail, hang, silent (exit 0 without a plan), truncate (half a plan, exit 0), large, fill (until
the disk is full), wrong (`wrong.onnx` instead of the model). The plan is the ONNX file and a word more, so that a
server that runs ONNX can serve it. It waits while `hold` is there. It refuses options that trtexec has not.
"""

import sys
import time
from pathlib import Path

OPTIONS = {
    "onnx", "saveEngine", "fp16", "int8", "best", "memPoolSize", "minShapes", "optShapes", "maxShapes",
    "timingCacheFile", "skipInference",
}  # fmt: skip
BUILT = b"\x12\x08stand-in"
"""At the end of a plan: protobuf for another producer's name, so that it is another file than the model's."""
FIXED = b"made-with-fixed-shapes"


def out(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say(kind: str, text: str) -> None:
    out(f"[11/30/2026-12:00:00] [{kind}] {text}")


def refuse(text: str) -> None:
    say("E", text)
    out("&&&& FAILED TensorRT.trtexec [TensorRT v100300] # trtexec")
    sys.exit(1)


def main() -> None:
    out(f"&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # {' '.join(sys.argv)}")
    if "--help" in sys.argv:
        out("=== Model Options ===\n  --onnx=<file>  ONNX model")
        return
    given = dict(word.removeprefix("--").partition("=")[::2] for word in sys.argv[1:])
    for name, value in given.items():
        if name not in OPTIONS:
            refuse(f"Unknown option: --{name} {value}")
    here = Path(sys.argv[0]).parent
    mode = (here / "mode").read_text().strip() if (here / "mode").exists() else "well"
    model = Path(given["onnx"]).read_bytes()
    (here / "asked").write_text("\n".join(sys.argv[1:]))
    if FIXED in model and "minShapes" in given:
        refuse("Static model does not take explicit shapes since the shape of inference tensors will be determined")
    say("I", "=== Device Information ===")
    say("I", "Selected Device: Orin")
    while (here / "hold").exists() or mode == "hang":
        time.sleep(0.02)
    if mode == "fail":
        refuse("ModelImporter.cpp:949: While parsing node number 7 [NonMaxSuppression -> boxes]: not supported")
    if mode != "silent":
        build((here / "wrong.onnx").read_bytes() if mode == "wrong" else model, Path(given["saveEngine"]), mode)
    Path(given["timingCacheFile"]).write_bytes(b"timings")
    say("I", "Engine built in 12.3 sec.")
    out("&&&& PASSED TensorRT.trtexec [TensorRT v100300] # trtexec")


def build(model: bytes, plan: Path, mode: str) -> None:
    try:
        with plan.open("wb") as file:
            file.write(model[: len(model) // 2] if mode == "truncate" else model + BUILT)
            while mode in {"large", "fill"}:
                file.write(bytes(1024 * 1024))
    except OSError as error:
        refuse(f"Saving engine to file failed: {error.strerror}")


if __name__ == "__main__":
    main()
