"""A Triton Python-based backend named ``onnxruntime``, for a Triton without NVIDIA's C++ one.

A model whose ``config.pbtxt`` says ``backend: "onnxruntime"`` is served from its ``<version>/model.onnx`` on the CPU,
so the repository of a Jetson runs unchanged on a machine without a GPU. Runs inside Triton's Python stub, which has
numpy and onnxruntime beside it and nothing of ours.

Tensors cross between the stub and numpy by DLPack only. The stub of Triton 2.51 was built against numpy 1: with numpy 2
its ``as_numpy`` gives zeros and ``pb.Tensor(name, array)`` an empty tensor, both without an error. DLPack works with
either, and so on Python 3.13 too, for which numpy 1 has no wheel.
"""

# ruff: noqa: INP001 - Triton loads this file by its path, and names it itself
from __future__ import annotations

import ctypes
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["TritonPythonModel"]

MAX_THREADS = 4
"""More threads than this cost more than they give on small models, and many processes share the cores."""
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of this container, in version 2 of control groups."""

UNSUPPORTED = ("TYPE_STRING", "TYPE_BF16", "TYPE_BOOL")
"""Types that numpy, DLPack and the stub do not all share."""

_set_capsule_name = ctypes.pythonapi.PyCapsule_SetName
_set_capsule_name.argtypes = [ctypes.py_object, ctypes.c_char_p]
_set_capsule_name.restype = ctypes.c_int
_CONSUMED = b"used_dltensor"  # a capsule points at its name, so the bytes must outlive it


class _Export:
    """An array on its way into a ``pb.Tensor`` that keeps hold of the capsule it is handed over in."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.capsule: Any = None

    def __dlpack_device__(self) -> tuple[int, int]:
        kind, number = self._array.__dlpack_device__()
        return int(kind), int(number)

    def __dlpack__(self, **_: Any) -> Any:
        self.capsule = self._array.__dlpack__()
        return self.capsule


class TritonPythonModel:
    """One loaded version of one model; Triton makes it and calls its methods by name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the version's ``model.onnx``, or the file that the configuration names.

        Raises:
            pb.TritonModelException: the file is missing, ONNX Runtime refuses it, or ``config.pbtxt`` does not fit it.
        """
        self._name = args["model_name"]
        config = json.loads(args["model_config"])
        for entry in (*config["input"], *config["output"]):
            if entry["data_type"] in UNSUPPORTED:
                message = f"{self._name}: {entry['name']!r} is {entry['data_type']}; this backend serves numbers only"
                raise pb.TritonModelException(message)
        self._batched = int(config.get("max_batch_size", 0)) > 0
        self._inputs = [(entry["name"], pb.triton_string_to_numpy(entry["data_type"])) for entry in config["input"]]
        self._outputs = [(entry["name"], pb.triton_string_to_numpy(entry["data_type"])) for entry in config["output"]]
        file = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / file
        if not path.is_file():
            message = f"{self._name}: {path} is missing; put the ONNX file of version {args['model_version']} there"
            raise pb.TritonModelException(message)
        self._session = _open(path, self._name)
        self._check_names(path)

    def _check_names(self, path: Path) -> None:
        for kind, configured, held in (
            ("input", self._inputs, self._session.get_inputs()),
            ("output", self._outputs, self._session.get_outputs()),
        ):
            names = [node.name for node in held]
            for name, _ in configured:
                if name not in names:
                    message = f"{self._name}: config.pbtxt has {kind} {name!r}, but {path} has {', '.join(names)}"
                    raise pb.TritonModelException(message)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer ``requests`` in their order; a bad one gets an error of its own and spoils no other."""
        answers: list[Any] = [None] * len(requests)
        groups: dict[tuple[tuple[int, ...], ...], list[tuple[int, list[NDArray[Any]]]]] = {}
        for index, request in enumerate(requests):
            try:
                arrays = self._arrays(request)
            except ValueError as error:
                answers[index] = _refusal(str(error))
                continue
            key = tuple(array.shape[1:] if self._batched else array.shape for array in arrays)
            groups.setdefault(key, []).append((index, arrays))
        for members in groups.values():
            batches = [members] if self._batched else [[member] for member in members]
            for batch in batches:
                self._answer(batch, requests, answers)
        return answers

    def finalize(self) -> None:
        """Let the session go."""
        del self._session

    def _arrays(self, request: Any) -> list[NDArray[Any]]:
        """Return the request's inputs in the configuration's order.

        Raises:
            ValueError: one is missing, of another type, or its batch size differs from the first one's.
        """
        arrays: list[NDArray[Any]] = []
        for name, datatype in self._inputs:
            tensor = pb.get_input_tensor_by_name(request, name)
            if tensor is None:
                message = f"{self._name}: input {name!r} is missing"
                raise ValueError(message)
            array = np.from_dlpack(tensor)
            if array.dtype != datatype:
                message = f"{self._name}: input {name!r} is {array.dtype}; it must be {np.dtype(datatype)}"
                raise ValueError(message)
            if self._batched and array.shape[0] != (arrays[0] if arrays else array).shape[0]:
                message = f"{self._name}: input {name!r} has a batch of {array.shape[0]}, not {arrays[0].shape[0]}"
                raise ValueError(message)
            arrays.append(array)
        return arrays

    def _answer(self, batch: list[tuple[int, list[NDArray[Any]]]], requests: Sequence[Any], answers: list[Any]) -> None:
        """Run one batch and put each request's response at its index in ``answers``."""
        try:
            results = self._run([arrays for _, arrays in batch])
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no base class
            if len(batch) > 1:
                for member in batch:
                    self._answer([member], requests, answers)
            else:
                answers[batch[0][0]] = _refusal(f"{self._name}: {error}")
            return
        first = 0
        for index, arrays in batch:
            last = first + arrays[0].shape[0] if self._batched else None
            wanted = requests[index].requested_output_names()
            tensors = [
                _tensor(name, np.ascontiguousarray(result[first:last] if self._batched else result, datatype))
                for (name, datatype), result in zip(self._outputs, results, strict=True)
                if name in wanted
            ]
            answers[index] = pb.InferenceResponse(output_tensors=tensors)
            first = last or 0

    def _run(self, rows: list[list[NDArray[Any]]]) -> list[NDArray[Any]]:
        """Return the outputs, in the configuration's order, of the requests' inputs joined along the batch."""
        columns = zip(*rows, strict=True)
        feed = {
            name: column[0] if len(column) == 1 else np.concatenate(column)
            for (name, _), column in zip(self._inputs, columns, strict=True)
        }
        outputs: list[NDArray[Any]] = self._session.run([name for name, _ in self._outputs], feed)
        return outputs


def _open(path: Path, name: str) -> onnxruntime.InferenceSession:
    """Return a session on at most MOST_THREADS of the cores this process may use."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(MAX_THREADS, _cores())
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Idle threads that spin would take the cores from the camera, the broker and the services beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        message = f"{name}: ONNX Runtime could not open {path}: {error}"
        raise pb.TritonModelException(message) from error


def _cores() -> int:
    """Return how many threads can run at once: the processors allowed, at most the container's quota."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = map(int, CPU_QUOTA.read_text().split())
    except (OSError, ValueError):  # no container, or `max`
        return allowed
    return max(1, min(allowed, math.ceil(quota / period)))


def _tensor(name: str, array: NDArray[Any]) -> Any:
    """Return ``array`` as a ``pb.Tensor`` that shares its memory."""
    export = _Export(array)
    tensor = pb.Tensor.from_dlpack(name, export)
    # The stub marks a consumed capsule "used_dlpack". DLPack's word is "used_dltensor", and without it numpy prints a
    # traceback for every response when it frees the capsule.
    _set_capsule_name(export.capsule, _CONSUMED)
    return tensor


def _refusal(message: str) -> Any:
    return pb.InferenceResponse(output_tensors=[], error=pb.TritonError(message))
