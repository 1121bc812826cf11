"""Lineside: a signal on a production line becomes a model's verdict, at the machine, in time.

This distribution holds what two services must agree on, and the `lineside` command.
"""

__version__ = "0.1.0"
