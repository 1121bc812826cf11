"""Evidence leaves the box: from the spool to its destinations, each with its own progress.

Public are `command` (the program), `settings` (`Settings`, its section of the settings file) and `doctor` (`checks`,
what `lineside doctor` asks); all else may change with any version.
"""

from lineside import __version__

__all__ = ["__version__", "command", "doctor", "settings"]
