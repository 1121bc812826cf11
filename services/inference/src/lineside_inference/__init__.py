"""Lineside inference: a request in, a verdict out, with NVIDIA Triton behind it; it knows no bus.

A request's way, one package a step: `api` reads it, `usecases` answers what was asked before and runs the rest,
`sources` fetch, `imaging` decodes and prepares into a slot of the `engine`'s arena, Triton runs the model, `interpret`
makes the verdict by the model's card and the operator's policy (`policies`), `capture` keeps the evidence.

Public are `command` (the program), `settings` (`Settings`, its section of the settings file), `doctor` (`checks`, what
`lineside doctor` asks), `camera_command` (`app`, the `lineside camera` commands) and `history_command` (`lineside
history`); all else may change with any version.
"""

from lineside import __version__

__all__ = ["__version__", "camera_command", "command", "doctor", "history_command", "settings"]
