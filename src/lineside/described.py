"""Models whose fields are described by the docstring below each, for schemas and the reference.

It is what pydantic's `use_attribute_docstrings` does, which looks for the source of each class anew: a third of the
processor time that the import of the contract takes (pydantic 2.14, 21 models). Here a module is parsed once.
"""

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field


class Described:
    """Base of such models, before BaseModel. Where a module's source is not there, fields have no description."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Add the descriptions to the annotations, which pydantic reads next."""
        super().__init_subclass__(**kwargs)
        told = _docstrings(cls.__module__).get(cls.__name__, {})
        if told:
            cls.__annotations__ = {
                name: Annotated[kind, Field(description=told[name])] if name in told else kind
                for name, kind in inspect.get_annotations(cls).items()
            }


@cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Return by class and attribute what stands below each attribute of a module's classes."""
    try:
        source = Path(sys.modules[module].__file__ or "").read_bytes()
    except (OSError, KeyError, AttributeError):
        return {}
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return {each.name: _below(each.body) for each in classes}


def _below(body: list[ast.stmt]) -> dict[str, str]:
    """Return the docstring below each annotated attribute of a class's body."""
    told = {}
    for attribute, below in pairwise(body):
        match attribute, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                told[name] = inspect.cleandoc(text)
    return told
