"""Files that Triton cannot serve, by name or by their first bytes, and what to do about each."""

import re

HOW_TO = "docs/how-to/bring-models-of-edge-manager.md"

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".tar.bz2", ".tar.xz")

_NEO = re.compile(
    r"compiled\.so|compiled\.(params|meta|ro|json)|compiled_model\.json|.+\.params|.+\.ro|.+\.meta|dlr\.h|libdlr.*|dlr\.dll"
    r"|libtvm_runtime\.so"
)
"""Of SageMaker Neo's compiler and its runtime DLR: libraries, weights, graphs and descriptions."""

_OTHERS = {
    ".pt": "TorchScript does not say what its inputs are: add a config.pbtxt (Triton's model folder), or export ONNX",
    ".pth": "weights of PyTorch without their graph: export the model by torch.onnx.export",
    ".h5": "a Keras model: convert it by tf2onnx",
    ".keras": "a Keras model: convert it by tf2onnx",
    ".pb": "a TensorFlow graph: convert it by tf2onnx",
    ".tflite": "a TensorFlow Lite model: convert it by tf2onnx (--tflite)",
    ".mlmodel": "a Core ML model: export the original one to ONNX",
    ".weights": "weights of Darknet: convert them with their .cfg to ONNX",
    ".pkl": "a pickle, which is never loaded: export the model to ONNX",
    ".joblib": "a pickle, which is never loaded: export the model to ONNX (skl2onnx)",
}

_FIRST_BYTES = {
    b"\x7fELF": "a library or program",
    b"\x1f\x8b": "compressed by gzip",
    b"PK\x03\x04": "a zip archive",
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"version https://g": "a pointer of Git LFS, not the file itself (git lfs pull brings it)",
}


def is_neo(name: str) -> bool:
    """Whether a file of this name is Neo's or DLR's."""
    return _NEO.fullmatch(name) is not None


def is_archive(name: str) -> bool:
    """Whether a file of this name is an archive."""
    return name.lower().endswith(ARCHIVES)


def remedy_of(name: str) -> str | None:
    """Return what a file of this name is and what to do with it; None where nothing is known of it."""
    return next((text for ending, text in _OTHERS.items() if name.lower().endswith(ending)), None)


def format_of(head: bytes) -> str | None:
    """Return what a file with these first bytes is where it is none of a model's."""
    return next((text for first, text in _FIRST_BYTES.items() if head.startswith(first)), None)


def neo_remedy() -> str:
    """Return how a model that Neo compiled gets here."""
    return (
        "Neo's binaries run on DLR alone and cannot be converted back. Export the original framework's model to ONNX "
        "(PyTorch: torch.onnx.export; TensorFlow, Keras, TensorFlow Lite: tf2onnx; XGBoost: onnxmltools; MXNet: "
        f"mxnet.onnx) and put the .onnx beside them. See {HOW_TO}"
    )
