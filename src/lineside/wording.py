"""pydantic's messages about wrong values, reworded for the author of a settings file: no class names, no patterns."""

from collections.abc import Mapping
from typing import Any

_A_NAME = "letters, digits and . _ -, at most 128 of them, the first a letter or a digit"
_A_BUCKET = "a bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens, a letter or digit at both ends"
_A_VERSION = "a version: a whole number from 1, as text in quotes, for instance '2'"

PATTERNS: Mapping[str, str] = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$": _A_NAME,
    r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$": "letters, digits and . _ : -, at most 128, the first a letter or a digit",
    r"^[A-Za-z0-9:_-]{1,128}$": "1 to 128 letters, digits and : _ -",
    r"^[A-Za-z0-9:_-]{1,64}$": "1 to 64 letters, digits and : _ -",
    r"^[^+#\x00]+$": "a topic without + and #",
    r"^[a-zA-Z0-9](-*_*[a-zA-Z0-9])*$": "letters and digits, with - and _ between them",
    r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$": _A_BUCKET,
    r"^([A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*)?$": "a path of letters, digits and _ . = -, without / at either end",
    r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._:-]+)$": "a host as browsers send it: name, name:port, or [IPv6 address]",
    r"^[0-9]+\.[0-9]+$": "two numbers with a dot, in quotes, for instance '8.7'",
    r"^[0-9]+(\.[0-9]+)*$": "numbers with dots, in quotes, for instance '10.3.0'",
    r"^[a-z0-9.:_-]{1,253}$": "a host name or address in lower case, without a scheme or a path",
    r"^[1-9][0-9]{0,17}$": _A_VERSION,
    r"^[A-Za-z0-9_.-]+$": "letters, digits and _ . -",
    r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$": "a URI, for instance urn:plant:press-7",
    r"^[A-Za-z0-9_.:-]{1,253}$": "a host name or address",
    r"^0?[0-7]{3}$": "a file's mode: three octal digits, in quotes, for instance '0660'",
    r"^\w{1,100}$": "1 to 100 letters, digits and _, as cameras name their features",
    r"^[a-z0-9-]+$": "a region, for instance eu-central-1",
    r"^[A-Za-z0-9_ ,.-]+$": "letters, digits, spaces and _ , . -",
    r"^[a-z][a-z0-9-]{0,63}$": "1 to 64 lower-case letters, digits and -, the first a letter",
    r"^[^=\s]+(=\S+)?$": "<label> or <label>=<value>, without spaces",
    r"^[A-Za-z0-9._/#:-][A-Za-z0-9._/#: -]*$": "letters, digits, spaces and . _ / # : -, no space first",
    r"^[!-~]+$": "letters, digits and signs of ASCII, without spaces",
    r"^[A-Za-z_]\w{0,99}$": "a feature's name: a letter or _, then letters, digits and _, 100 at most",
    r"^[0-9a-f]{64}$": "the file's SHA-256: 64 digits 0-9 a-f, as `sha256sum` prints it",
}
"""Every pattern of the settings and the card, as people say it."""

_TYPES: Mapping[str, str] = {
    "model_type": "expected a group of names and values",
    "model_attributes_type": "expected a group of names and values",
    "dict_type": "expected names and values",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "string_type": "expected text; put it in quotes",
    "path_type": "expected a path",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
}


def words(item: Mapping[str, Any]) -> str:
    """Return what one of a ValidationError's errors says, without the value."""
    kind = item["type"]
    if kind == "string_pattern_mismatch":
        pattern = item["ctx"]["pattern"]
        return f"expected {PATTERNS.get(pattern, f'text of the form {pattern}')}"
    text = str(item["msg"]).removeprefix("Value error, ")
    return _TYPES.get(kind) or text.replace("Input should be", "must be").replace("String should", "must")
