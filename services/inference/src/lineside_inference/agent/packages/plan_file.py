"""What can be told of a TensorRT engine's file before TensorRT reads it: little, its format is not public.

Engines begin with `ptrt` or `ftrt`, as seen in files of TensorRT 7 to 10; a beginning that is not known is left for
Triton to judge. Inputs, outputs and shapes are Triton's to complete: it reads them from the engine.
"""

from lineside_inference.agent.packages.foreign import format_of

HEAD = 32
"""Bytes of a file's beginning that are looked at."""


class NotAnEngine(ValueError):
    """The file is no TensorRT engine that Triton could read."""


def check_engine(head: bytes) -> None:
    """Refuse what is known not to be an engine, by the first HEAD bytes of its file; raises NotAnEngine."""
    if not head:
        raise NotAnEngine("it is empty")
    if head[3:5] == b"\0{":
        raise NotAnEngine(
            "it begins with JSON, as Ultralytics' exporter writes before the engine: remove that (4 bytes of length, "
            "and so many bytes), or make the engine with trtexec on this machine"
        )
    if (other := format_of(head)) is not None:
        raise NotAnEngine(f"it is {other}, whatever its name says")
