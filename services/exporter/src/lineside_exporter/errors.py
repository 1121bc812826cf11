"""The errors of the exporter.

SourceAway       a source cannot be read now; it says nothing until it can
+-- NoMetrics    a source answered, and what it answered is not what it should be
"""

from typing import ClassVar

from lineside.errors import LinesideError


class SourceAway(LinesideError):
    """A source cannot be read now."""

    code: ClassVar[str] = "source-away"
    transient = True


class NoMetrics(SourceAway):
    """A source answered, and what it answered is not what it should be: nothing of it is shown."""

    code: ClassVar[str] = "no-metrics"
