"""Lineside opcua-bridge: a PLC's triggers become inference requests, the verdicts are written back to the PLC.

Public are `command` (the program), `settings` (`Settings`, its section of the settings file), `doctor` (`checks`, what
`lineside doctor` asks) and `cli` (`app`, the `lineside opcua` commands); all else may change with any version.
"""

from lineside import __version__

__all__ = ["__version__", "cli", "command", "doctor", "settings"]
