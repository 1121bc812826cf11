"""What `lineside edge-manager` prints, as text and as documents for JSON. Pure."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lineside.cli.edge_manager.agent import word
from lineside.cli.edge_manager.tensor_files import Tensor
from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside.tables import table

_FIRST = 6


def as_json(document: Any) -> str:
    """Return a document as JSON, which knows no NaN."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def model(found: pb.Model) -> dict[str, Any]:
    """Return a model as a document."""
    return {
        "name": name_of(found),
        "url": found.url,
        "inputs": [_described(one) for one in found.input_tensor_metadatas],
        "outputs": [_described(one) for one in found.output_tensor_metadatas],
    }


def name_of(found: pb.Model) -> str:
    """Return a model's name, which agents of 2021 have in one field and later ones in another."""
    return str(found.handle or found.name)


def models_text(found: Sequence[pb.Model]) -> str:
    """Return a row a model."""
    if not found:
        return "no models are loaded\n"
    documents = [model(one) for one in found]
    rows = [(one["name"], _briefly(one["inputs"]), _briefly(one["outputs"]), one["url"] or "-") for one in documents]
    return table(("NAME", "INPUTS", "OUTPUTS", "URL"), rows)


def model_text(found: pb.Model) -> str:
    """Return a model, a row a tensor."""
    document = model(found)
    rows = [
        (side, one["name"], one["datatype"], str(one["shape"]))
        for side, key in (("input", "inputs"), ("output", "outputs"))
        for one in document[key]
    ]
    facts = table(("MODEL", "URL"), [(document["name"], document["url"] or "-")])
    return facts + ("\n" + table(("", "TENSOR", "DATATYPE", "SHAPE"), rows) if rows else "\nit describes no tensors\n")


def output(tensor: Tensor, path: Path | None) -> dict[str, Any]:
    """Return an output as a document: least and greatest of what is finite, and the first values."""
    flat = tensor.array.reshape(-1)
    finite = flat[np.isfinite(flat)]
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.array.shape),
        "min": finite.min().item() if finite.size else None,
        "max": finite.max().item() if finite.size else None,
        "not_finite": int(flat.size - finite.size),
        "first": [one.item() if np.isfinite(one) else None for one in flat[:_FIRST]],
        "file": str(path) if path is not None else None,
    }


def outputs_text(documents: Sequence[dict[str, Any]]) -> str:
    """Return a row an output."""
    rows = [
        (
            one["name"],
            one["datatype"],
            str(one["shape"]),
            _number(one["min"]),
            _number(one["max"]),
            str(one["not_finite"] or "-"),
            " ".join(map(_number, one["first"])),
        )
        for one in documents
    ]
    text = table(("OUTPUT", "DATATYPE", "SHAPE", "MIN", "MAX", "NOT FINITE", "FIRST VALUES"), rows)
    files = [f"written: {one['file']}\n" for one in documents if one["file"]]
    return text + "".join(files)


def latency(seconds: Sequence[float]) -> dict[str, Any]:
    """Return what calls one after the other took, in milliseconds."""
    ordered = sorted(seconds)
    at = {"min": 0, "median": (len(ordered) - 1) // 2, "p95": (len(ordered) * 95 - 1) // 100, "max": len(ordered) - 1}
    return {"calls": len(ordered)} | {f"{name}_ms": round(ordered[place] * 1000, 3) for name, place in at.items()}


def latency_text(document: dict[str, Any]) -> str:
    """Return the same in a line."""
    told = ", ".join(f"{name} {document[f'{name}_ms']:g} ms" for name in ("min", "median", "p95", "max"))
    return f"{document['calls']} calls one after the other: {told}\n"


def _described(tensor: pb.TensorMetadata) -> dict[str, Any]:
    name = tensor.name.decode("utf-8", "backslashreplace")
    return {"name": name, "datatype": word(pb.DataType, tensor.data_type), "shape": list(tensor.shape)}


def _briefly(tensors: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{one['name']} {one['datatype']} {one['shape']}" for one in tensors) or "-"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
