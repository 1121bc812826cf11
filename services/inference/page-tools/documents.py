"""Makes the page's types of what the service answers, as JSDoc, from docs/reference/openapi.json. A test compares them.

Run it to write them: `.venv/bin/python services/inference/page-tools/documents.py`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "docs" / "reference" / "openapi.json"
TARGET = HERE.parent / "src" / "lineside_inference" / "page" / "js" / "documents.js"
ROOTS = (
    "CamerasDocument",
    "CaptureDocument",
    "ChainDocument",
    "CountsDocument",
    "EngineDocument",
    "EvidenceDocument",
    "ModelsDocument",
    "PartsDocument",
    "Policy",
    "PreviewDocument",
    "ProblemDocument",
)
HEAD = """\
// What the service answers, as types.
// Made from docs/reference/openapi.json by services/inference/page-tools/documents.py.
"""
_PLAIN = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}
_REFERENCE = "#/components/schemas/"


def documents(openapi: dict[str, Any]) -> str:
    """Return the module of types: the documents that the page reads, and what they are made of."""
    schemas = openapi["components"]["schemas"]
    names: list[str] = []
    left = list(ROOTS)
    while left:
        name = left.pop()
        if name not in names:
            names.append(name)
            left += _references(schemas[name])
    blocks = "".join(f"\n/**\n{''.join(_lines(name, schemas[name]))} */\n" for name in sorted(names))
    return f"{HEAD}{blocks}\nexport {{}};\n"


def _lines(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f" * @typedef {{object}} {name}\n"
    required = schema.get("required", ())
    for field, item in schema["properties"].items():
        # An answer has every field that has a default; one that is null may be left out.
        is_there = field in required or item.get("default") is not None
        yield f" * @property {{{_type(item)}}} {field if is_there else f'[{field}]'}\n"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].removeprefix(_REFERENCE)
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        items = schema.get("prefixItems")
        return f"[{', '.join(map(_type, items))}]" if items else f"Array<{_type(schema.get('items', {}))}>"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties") or next(iter(schema.get("patternProperties", {}).values()), {})
        return f"Record<string, {_type(values) if isinstance(values, dict) else 'unknown'}>"
    return _PLAIN.get(str(schema.get("type")), "unknown")


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].removeprefix(_REFERENCE)
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _references(one)


if __name__ == "__main__":
    TARGET.write_text(documents(json.loads(SOURCE.read_text(encoding="utf-8"))), encoding="utf-8")
