"""Logs: one structured line an event, JSON unless a person watches, the request's id in every line about one.

Lines that repeat are summed up, so that they cannot flood the log: of one kind a bounded number is written in a minute,
and at its end how many more there were. Each part's verdict is always written.
"""

import io
import json
import logging
import logging.config
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

# Libraries that log at info what is our business to say.
_QUIET = ("httpx", "httpcore", "asyncua", "paho", "amqtt", "transitions", "grpc", "boto3", "botocore", "urllib3")


_WINDOW_S = 60.0
_MAX_WARNINGS = 20
"""Lines of one kind that are shown in a window, of level warning and above."""
_MAX_OTHERS = 600
_MAX_KINDS = 1000
_EACH = "verdict"
"""The line that is said once a part, however fast parts come."""
_TELLING = ("code", "kind", "reason_code", "because", "trigger", "connection", "topic", "destination")
"""Fields that make a line another one: few values each."""


_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
"""Characters that JSON leaves as they are and that a terminal or a reader of lines would act on."""


class Repeats:
    """How often each kind of line came in its present window; the clock is the caller's, in seconds."""

    def __init__(self, *, window_s: float = _WINDOW_S, max_kinds: int = _MAX_KINDS) -> None:
        self._window_s = window_s
        self._max_kinds = max_kinds
        self._windows: OrderedDict[Hashable, tuple[float, int, int]] = OrderedDict()
        """Of each kind when its window began, how many came, how many of them are shown; oldest window first."""

    def shows(self, kind: Hashable, max_lines: int, now: float) -> bool:
        """Count a line; return whether it is shown. Call `ended` first."""
        began, came, _max = self._windows.get(kind, (now, 0, max_lines))
        self._windows[kind] = began, came + 1, max_lines
        return came < max_lines

    def ended(self, now: float) -> list[tuple[Any, int]]:
        """Forget the windows that are over, and the oldest of too many; return of which more came than were shown."""
        sums: list[tuple[Any, int]] = []
        while self._windows:
            kind, (began, came, max_lines) = next(iter(self._windows.items()))
            if now - began < self._window_s and len(self._windows) <= self._max_kinds:
                break
            del self._windows[kind]
            if came > max_lines:
                sums.append((kind, came - max_lines))
        return sums

    @property
    def holds_back(self) -> bool:
        """Whether some lines are not shown and not summed up yet."""
        return any(came > max_lines for _began, came, max_lines in self._windows.values())


class _Summing(logging.StreamHandler[TextIO]):
    """Writes lines, and instead of those that repeat how many there were."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._repeats = Repeats()
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line where it is shown; called with the handler's lock held."""
        now = time.monotonic()
        self._sum_up(now)
        event, kind = _kind_of(record)
        max_lines = _MAX_WARNINGS if record.levelno >= logging.WARNING else _MAX_OTHERS
        if event == _EACH or self._repeats.shows(kind, max_lines, now):
            super().emit(record)
        elif self._timer is None:
            self._wake_later()

    def close(self) -> None:
        """Say what was held back, at the end too."""
        self.acquire()
        try:
            if self._timer is not None:
                self._timer.cancel()
            self._sum_up(float("inf"))
        finally:
            self.release()
        super().close()

    def _on_timer(self) -> None:
        self.acquire()
        try:
            self._timer = None
            self._sum_up(time.monotonic())
            if self._repeats.holds_back:
                self._wake_later()
        finally:
            self.release()

    def _wake_later(self) -> None:
        self._timer = threading.Timer(_WINDOW_S, self._on_timer)
        self._timer.daemon = True
        self._timer.start()

    def _sum_up(self, now: float) -> None:
        for (name, level, event, about), more in self._repeats.ended(now):
            record = logging.LogRecord(name, level, "", 0, "the same line came again", (), None)
            vars(record).update({"line": event, "more": more, "within_s": _WINDOW_S} | dict(about))
            super().emit(record)


def _kind_of(record: logging.LogRecord) -> tuple[str, Hashable]:
    """Return a line's event and the key by which lines count as the same: logger, level, event and subject."""
    if not isinstance(record.msg, dict):
        return str(record.msg), (record.name, record.levelno, str(record.msg), ())
    event = str(record.msg.get("event"))
    about = tuple((name, str(record.msg[name])) for name in _TELLING if name in record.msg)
    return event, (record.name, record.levelno, event, about)


def set_level(level: Level) -> None:
    """Show lines from this level on, of our loggers and the standard library's, from now on."""
    number = getattr(logging, level.upper())
    logging.getLogger().setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING if level != "debug" else logging.INFO)


def configure(
    service: str,
    *,
    component: str | None = None,
    level: Level = "info",
    style: Format = "auto",
    stream: TextIO | None = None,
) -> None:
    """Route structlog and the standard library's loggers to `stream` (stderr) in one format.

    Every line names the service, and the Greengrass component that it runs as, where it does.
    """
    out = stream or sys.stderr
    as_json = style == "json" or (style == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _without_colours,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_service(service, component),
    ]
    renderer: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_json)]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
    )
    if as_json and isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8", errors="backslashreplace")  # as JSON is, whatever the locale
    handler = _Summing(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,  # first: what is below the level costs nothing more
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=True,
    )


def about_request(
    request_id: str, *, station: str | None = None, part_id: str | None = None, **more: Any
) -> AbstractContextManager[None]:
    """Within this context every log line of this task carries the request's id, and station and part where known."""
    known = {name: value for name, value in (("station", station), ("part_id", part_id)) if value is not None}
    return structlog.contextvars.bound_contextvars(request_id=request_id, **known, **more)


def _name_service(service: str, component: str | None) -> Processor:
    names = {"service": service} | ({"component": component} if component else {})

    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.update(names)
        return event

    return add


def _without_colours(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Leave out uvicorn's second form of its message, with a terminal's codes in it."""
    event.pop("color_message", None)
    return event


def _json(event: object, **options: Any) -> str:
    """Return an event as one line of JSON, letters of every language as they are."""
    return json.dumps(event, ensure_ascii=False, **options).translate(_ESCAPED)
