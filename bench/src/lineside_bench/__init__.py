"""The simulated line: real peers over real protocols.

Public are `commands` (`lineside bench` and `lineside up`), `simulators` (the PLC and the cameras as services) and
`parts` (what the training scripts draw); all else may change with any version. Nothing is imported here: the PLC
programs and the image of the CPU Triton load this package where `lineside` is not installed.
"""

__version__ = "0.1.0"

__all__ = ["__version__", "commands", "parts", "simulators"]
