"""`lineside history`: the parts that a box remembers, as its inference service answers them."""

import http.client
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

_OK = 200
_PAGE = 1000
_TIMEOUT_S = 70.0
FAILED, WRONG = 1, 2


class Match(StrEnum):
    """How a part id is compared."""

    exact = "exact"
    prefix = "prefix"
    contains = "contains"


def history(
    request_id: Annotated[str | None, typer.Argument(metavar="[REQUEST_ID]", help="All of this one part.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="From this instant on: 2026-11-22T06:00Z.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before this instant.")] = None,
    station: Annotated[str | None, typer.Option(help="Only of this station.")] = None,
    part_id: Annotated[str | None, typer.Option(help="Only of this part, as --match says.")] = None,
    match: Annotated[Match, typer.Option(help="The whole part id, its beginning, or anything in it.")] = Match.exact,
    label: Annotated[str | None, typer.Option(help="Only with a finding of this label.")] = None,
    verdict: Annotated[str | None, typer.Option(help="Only these: pass, fail, unknown, with commas.")] = None,
    cause: Annotated[str | None, typer.Option(help="Only of this cause, for instance deadline.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    version: Annotated[str | None, typer.Option(help="Only by this version.")] = None,
    confidence_from: Annotated[float | None, typer.Option(help="Only with at least this confidence.")] = None,
    confidence_to: Annotated[float | None, typer.Option(help="Only with at most this confidence.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most parts, newest first.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of a table.")] = False,
    config: Annotated[Path | None, typer.Option(help="The settings file; else what LINESIDE_CONFIG names.")] = None,
) -> None:
    """List the parts that the box remembers, newest first, or show one."""
    if as_json and as_csv:
        raise _end("--json and --csv exclude each other: give one of them", status=WRONG)
    service = _Service(config)
    if request_id is not None:
        body, _headers = service.get(f"/v1/history/{quote(request_id, safe='')}")
        sys.stdout.write(json.dumps(json.loads(body), indent=2) + "\n")
        return
    filters: dict[str, Any] = {
        "from": start,
        "to": end,
        "station": station,
        "part_id": part_id,
        "match": match.value if part_id is not None else None,
        "label": label,
        "verdict": verdict,
        "cause": cause,
        "model": model,
        "version": version,
        "confidence_from": confidence_from,
        "confidence_to": confidence_to,
    }
    given = {name: value for name, value in filters.items() if value is not None}
    if as_csv:
        _show_csv(service, given, limit)
        return
    parts = _all(service, given, limit)
    if as_json:
        sys.stdout.write(json.dumps({"parts": parts}, indent=2) + "\n")
    else:
        sys.stdout.write(as_table(parts))


def as_table(parts: list[dict[str, Any]]) -> str:
    """Return parts as a table: when, where, which, what the PLC got, and why."""
    from lineside.tables import table  # noqa: PLC0415 - the help is quick without

    heads = ("at", "station", "part", "verdict", "cause", "label", "confidence", "model", "request")
    rows = [
        (
            part["at"],
            part["station"] or "",
            part["part_id"] or "",
            (part["verdict"] or "-") + ("" if part["told"] else " (not told)"),
            part["cause"] or "",
            ", ".join(part["labels"]),
            "" if part["confidence"] is None else f"{part['confidence']:.2f}",
            f"{part['model']} {part['version'] or ''}".rstrip(),
            part["request_id"],
        )
        for part in parts
    ]
    return table(heads, rows, right=("confidence",)) if rows else "no part of this kind is in the history\n"


def _all(service: "_Service", given: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Return the pages of a query, one after the other."""
    parts: list[dict[str, Any]] = []
    cursor: int | None = None
    while len(parts) < limit:
        body, _headers = service.get("/v1/history", given, limit=min(_PAGE, limit - len(parts)), cursor=cursor)
        page = json.loads(body)
        for name in page["unreadable"]:
            sys.stderr.write(f"left out: {name}\n")
        parts += page["parts"]
        cursor = page["next"]
        if cursor is None:
            break
    return parts


def _show_csv(service: "_Service", given: dict[str, Any], limit: int) -> None:
    """Write the pages of a query as one CSV; how many parts a page has says its header."""
    left, cursor, is_first = limit, None, True
    while left > 0:
        body, headers = service.get("/v1/history", given, limit=min(_PAGE, left), cursor=cursor, format="csv")
        head, _, rest = body.partition(b"\r\n")
        sys.stdout.buffer.write(head + b"\r\n" + rest if is_first else rest)
        left, cursor, is_first = left - int(headers["Lineside-Parts"] or 0), headers["Lineside-Next"], False
        if cursor is None:
            break
    sys.stdout.buffer.flush()


class _Service:
    """The inference service of the settings."""

    def __init__(self, config: Path | None) -> None:
        from lineside.errors import SettingsError  # noqa: PLC0415 - the help is quick without
        from lineside.settings import load  # noqa: PLC0415
        from lineside_inference.settings import Settings  # noqa: PLC0415

        try:
            self._http = load(Settings, file=config).inference.http
        except SettingsError as error:
            raise _end("\n".join(error.problems), status=WRONG) from None

    def get(self, path: str, given: dict[str, Any] | None = None, **more: Any) -> tuple[bytes, http.client.HTTPMessage]:
        """Return the body and the headers of an answer; ends the program where it is an error."""
        from lineside.checks import ask_for  # noqa: PLC0415 - see above

        query = urlencode({**(given or {}), **{name: value for name, value in more.items() if value is not None}})
        try:
            where, status, body, headers = ask_for("inference", self._http, f"{path}?{query}", within_s=_TIMEOUT_S)
        except (OSError, http.client.HTTPException) as error:
            where = f"{self._http.host}:{self._http.port}"
            raise _end(f"the inference service at {where} does not answer: {error}. Is it running?") from None
        if status != _OK:
            raise _end(f"{where} answered {status}: {_detail(body)}", status=WRONG if status == 422 else FAILED)  # noqa: PLR2004 - HTTP's
        return body, headers


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def _end(why: str, *, status: int = FAILED) -> typer.Exit:
    sys.stderr.write(f"{why}\n")
    return typer.Exit(status)
