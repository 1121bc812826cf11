"""The page's types of what the service answers are those of the OpenAPI document."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "services" / "inference" / "page-tools" / "documents.py"


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("page_documents", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_types_are_those_of_the_openapi_document(tool: Any) -> None:
    made = tool.documents(json.loads(tool.SOURCE.read_text(encoding="utf-8")))
    assert made == tool.TARGET.read_text(encoding="utf-8"), f"run .venv/bin/python {TOOL.relative_to(ROOT)}"


def test_each_kind_of_schema_has_its_type(tool: Any) -> None:
    fields = {
        "ref": ({"$ref": "#/components/schemas/Policy"}, "Policy"),
        "nullable": ({"anyOf": [{"type": "integer"}, {"type": "number"}, {"type": "null"}]}, "number | null"),
        "enum": ({"enum": ["pass", "fail"], "type": "string"}, '"pass" | "fail"'),
        "tuple": ({"type": "array", "prefixItems": [{"type": "number"}] * 2}, "[number, number]"),
        "list": ({"type": "array", "items": {"type": "boolean"}}, "Array<boolean>"),
        "map": ({"type": "object", "patternProperties": {"^a": {"type": "string"}}}, "Record<string, string>"),
        "open": ({"type": "object", "additionalProperties": True}, "Record<string, unknown>"),
    }
    every = {name: {"properties": {}} for name in tool.ROOTS}
    every["Policy"] = {
        "properties": {name: schema for name, (schema, _type) in fields.items()} | {"left_out": {"default": None}},
        "required": list(fields),
    }
    made = tool.documents({"components": {"schemas": every}})
    for name, (_schema, expected) in fields.items():
        assert f" * @property {{{expected}}} {name}\n" in made
    assert " * @property {unknown} [left_out]\n" in made
