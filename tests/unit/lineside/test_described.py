"""Descriptions of fields, as pydantic itself would read them."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from lineside import contract
from lineside.described import Described


class Cut(BaseModel):
    depth: float = 0.5


class Ours(Described, BaseModel):
    """A part."""

    kind: ClassVar[str] = "part"
    """No field."""
    name: str
    """Its name,
    in two lines."""
    width: Annotated[int, Field(ge=1)] = 1
    """In millimetres."""
    plain: bool = False
    cuts: tuple[Cut, ...] = ()
    """Each of them."""
    first: Cut | None = Field(default=None, alias="firstCut")
    """The deepest."""
    told: int = Field(default=0, description="by itself")


class Theirs(BaseModel):
    """A part."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: ClassVar[str] = "part"
    """No field."""
    name: str
    """Its name,
    in two lines."""
    width: Annotated[int, Field(ge=1)] = 1
    """In millimetres."""
    plain: bool = False
    cuts: tuple[Cut, ...] = ()
    """Each of them."""
    first: Cut | None = Field(default=None, alias="firstCut")
    """The deepest."""
    told: int = Field(default=0, description="by itself")


class Longer(Ours):
    length: int = 2
    """Of the whole."""


def test_the_schema_is_pydantics_own() -> None:
    ours = Ours.model_json_schema()
    assert ours == Theirs.model_json_schema() | {"title": "Ours"}
    assert ours["properties"]["name"]["description"] == "Its name,\nin two lines."


def test_what_is_inherited_stays_described() -> None:
    told = {name: field.description for name, field in Longer.model_fields.items()}
    assert told["length"] == "Of the whole."
    assert told["width"] == "In millimetres."
    assert told["plain"] is None


def test_the_contract_is_described() -> None:
    assert (
        contract.Policy.model_fields["enabled"].description
        == "Whether parts are judged; else every request is answered `disabled`."
    )
