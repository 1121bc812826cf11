"""What a camera sends along with each frame: its own stamp, exposure time, state of its lines, as chunks."""

from collections.abc import Mapping
from contextlib import suppress

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam.features import Kind, Value
from lineside_inference.sources.cameras.genicam.library import Aravis, text

_MOST_TEXT = 200


class ChunkReader:
    """Reads the chunks of one camera's frames, each by the kind of its feature; `close` lets go of the library's."""

    def __init__(self, aravis: Aravis, camera: int, kinds: Mapping[str, Kind]) -> None:
        self._aravis = aravis
        self._kinds = kinds
        self._parser: int = aravis.call("arv_camera_create_chunk_parser", camera) or 0

    def read(self, buffer: int) -> dict[str, Value]:
        """Return the chunks of a frame by their names; those that it lacks, or that cannot be read, are not there."""
        found: dict[str, Value] = {}
        if self._parser and self._aravis.call("arv_buffer_has_chunks", buffer):
            for name, kind in self._kinds.items():
                with suppress(CameraFailed):
                    found[name] = self._value(buffer, f"Chunk{name}".encode(), kind)
        return found

    def close(self) -> None:
        """Let go of the parser."""
        if self._parser:
            self._aravis.call("g_object_unref", self._parser)
            self._parser = 0

    def _value(self, buffer: int, name: bytes, kind: Kind) -> Value:
        if kind in {"integer", "float", "boolean"}:
            value = self._aravis.call(f"arv_chunk_parser_get_{kind}_value", self._parser, buffer, name)
            return bool(value) if kind == "boolean" else value
        return text(self._aravis.call("arv_chunk_parser_get_string_value", self._parser, buffer, name))[:_MOST_TEXT]
