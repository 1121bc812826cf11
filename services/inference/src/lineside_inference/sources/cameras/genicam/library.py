"""libaravis by ctypes: the functions that are used, with their types, and GLib's errors as exceptions.

The library is LGPL, in Debian and Ubuntu as `libaravis-0.8-0`, for x86-64 and for aarch64; it is loaded when the first
camera wants it. Reference of every function: the documentation of Aravis 0.8.
"""

import ctypes as c
from collections.abc import Callable
from functools import cache
from typing import Any

from lineside_inference.errors import CameraFailed

SONAME = "libaravis-0.8.so.0"
_GOBJECT = "libgobject-2.0.so.0"
_ERROR = "GError**"  # stands last among a function's arguments; `call` gives it

_PTR, _TEXT, _UINT, _INT, _I64, _DOUBLE = c.c_void_p, c.c_char_p, c.c_uint, c.c_int, c.c_int64, c.c_double
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    # name: result, arguments
    "arv_update_device_list": (None,),
    "arv_get_n_devices": (_UINT,),
    "arv_get_device_physical_id": (_TEXT, _UINT),
    "arv_get_device_address": (_TEXT, _UINT),
    "arv_get_device_vendor": (_TEXT, _UINT),
    "arv_get_device_model": (_TEXT, _UINT),
    "arv_get_device_serial_nbr": (_TEXT, _UINT),
    "arv_get_device_protocol": (_TEXT, _UINT),
    "arv_get_device_id": (_TEXT, _UINT),
    "arv_camera_new": (_PTR, _TEXT, _ERROR),
    "arv_camera_get_device": (_PTR, _PTR),
    "arv_camera_is_gv_device": (_INT, _PTR),
    "arv_camera_get_payload": (_UINT, _PTR, _ERROR),
    "arv_camera_create_stream": (_PTR, _PTR, _PTR, _PTR, _ERROR),
    "arv_camera_start_acquisition": (None, _PTR, _ERROR),
    "arv_camera_stop_acquisition": (None, _PTR, _ERROR),
    "arv_device_get_feature": (_PTR, _PTR, _TEXT),
    "arv_device_execute_command": (None, _PTR, _TEXT, _ERROR),
    "arv_device_get_genicam_xml": (_PTR, _PTR, c.POINTER(c.c_size_t)),
    "arv_device_read_register": (_INT, _PTR, c.c_uint64, c.POINTER(c.c_uint32), _ERROR),
    "arv_device_write_register": (_INT, _PTR, c.c_uint64, c.c_uint32, _ERROR),
    "arv_camera_create_chunk_parser": (_PTR, _PTR),
    "arv_chunk_parser_get_integer_value": (_I64, _PTR, _PTR, _TEXT, _ERROR),
    "arv_chunk_parser_get_float_value": (_DOUBLE, _PTR, _PTR, _TEXT, _ERROR),
    "arv_chunk_parser_get_boolean_value": (_INT, _PTR, _PTR, _TEXT, _ERROR),
    "arv_chunk_parser_get_string_value": (_TEXT, _PTR, _PTR, _TEXT, _ERROR),
    "arv_buffer_has_chunks": (_INT, _PTR),
    "arv_buffer_get_timestamp": (c.c_uint64, _PTR),
    "arv_gv_device_is_controller": (_INT, _PTR),
    "arv_gc_feature_node_get_value_as_string": (_TEXT, _PTR, _ERROR),
    "arv_gc_feature_node_set_value_from_string": (None, _PTR, _TEXT, _ERROR),
    "arv_gc_feature_node_is_available": (_INT, _PTR, _ERROR),
    "arv_gc_feature_node_is_locked": (_INT, _PTR, _ERROR),
    "arv_gc_feature_node_get_actual_access_mode": (_INT, _PTR),
    "arv_gc_feature_node_get_name": (_TEXT, _PTR),
    "arv_gc_selector_is_selector": (_INT, _PTR),
    "arv_gc_selector_get_selected_features": (_PTR, _PTR),
    "arv_gc_selector_get_type": (c.c_size_t,),
    "arv_gc_category_get_type": (c.c_size_t,),
    "arv_gc_enumeration_get_type": (c.c_size_t,),
    "arv_gc_enumeration_dup_available_string_values": (_PTR, _PTR, c.POINTER(_UINT), _ERROR),
    "arv_gc_boolean_get_type": (c.c_size_t,),
    "arv_gc_boolean_get_value": (_INT, _PTR, _ERROR),
    "arv_gc_boolean_set_value": (None, _PTR, _INT, _ERROR),
    "arv_gc_command_get_type": (c.c_size_t,),
    "arv_gc_integer_get_type": (c.c_size_t,),
    "arv_gc_integer_get_value": (_I64, _PTR, _ERROR),
    "arv_gc_integer_set_value": (None, _PTR, _I64, _ERROR),
    "arv_gc_integer_get_min": (_I64, _PTR, _ERROR),
    "arv_gc_integer_get_max": (_I64, _PTR, _ERROR),
    "arv_gc_integer_get_inc": (_I64, _PTR, _ERROR),
    "arv_gc_float_get_type": (c.c_size_t,),
    "arv_gc_float_get_value": (_DOUBLE, _PTR, _ERROR),
    "arv_gc_float_set_value": (None, _PTR, _DOUBLE, _ERROR),
    "arv_gc_float_get_min": (_DOUBLE, _PTR, _ERROR),
    "arv_gc_float_get_max": (_DOUBLE, _PTR, _ERROR),
    "arv_gc_string_get_type": (c.c_size_t,),
    "arv_buffer_new_allocate": (_PTR, c.c_size_t),
    "arv_buffer_get_status": (_INT, _PTR),
    "arv_buffer_get_payload_type": (_INT, _PTR),
    "arv_buffer_get_data": (_PTR, _PTR, c.POINTER(c.c_size_t)),
    "arv_buffer_get_system_timestamp": (c.c_uint64, _PTR),
    "arv_buffer_get_image_width": (_INT, _PTR),
    "arv_buffer_get_image_height": (_INT, _PTR),
    "arv_buffer_get_image_padding": (None, _PTR, c.POINTER(_INT), c.POINTER(_INT)),
    "arv_buffer_get_image_pixel_format": (c.c_uint32, _PTR),
    "arv_stream_push_buffer": (None, _PTR, _PTR),
    "arv_stream_timeout_pop_buffer": (_PTR, _PTR, c.c_uint64),
    "arv_stream_get_info_uint64_by_name": (c.c_uint64, _PTR, _TEXT),
    "arv_stream_get_n_infos": (_UINT, _PTR),
    "arv_stream_get_info_name": (_TEXT, _PTR, _UINT),
}
_OF_GOBJECT: dict[str, tuple[Any, ...]] = {
    "g_object_unref": (None, _PTR),
    "g_object_set": (None, _PTR, _TEXT, _INT, _PTR),  # one property of type int, and the NULL that ends them
    "g_type_check_instance_is_a": (_INT, _PTR, c.c_size_t),
    "g_free": (None, _PTR),
    "g_error_free": (None, _PTR),
}


class _GError(c.Structure):
    _fields_ = (("domain", c.c_uint32), ("code", _INT), ("message", _TEXT))


_ErrorPointer = c.POINTER(_GError)


class _GSList(c.Structure):
    _fields_ = (("data", _PTR), ("next", _PTR))


class Aravis:
    """The loaded library; `call` runs one of its functions by name, and blocks without holding the interpreter."""

    def __init__(self, aravis: c.CDLL, gobject: c.CDLL) -> None:
        self._functions: dict[str, tuple[Callable[..., Any], bool]] = {}
        for library, functions in ((aravis, _FUNCTIONS), (gobject, _OF_GOBJECT)):
            for name, (result, *arguments) in functions.items():
                function = getattr(library, name)
                raises = bool(arguments) and arguments[-1] is _ERROR
                function.restype = result
                function.argtypes = [c.POINTER(_ErrorPointer) if kind is _ERROR else kind for kind in arguments]
                self._functions[name] = (function, raises)

    def call(self, name: str, *given: Any) -> Any:
        """Return what the function gives; raises CameraFailed with the library's own words."""
        function, raises = self._functions[name]
        if not raises:
            return function(*given)
        error = _ErrorPointer()
        result = function(*given, c.byref(error))
        if c.cast(error, _PTR).value is not None:
            message = text(error.contents.message)
            self.call("g_error_free", error)
            raise CameraFailed(message or f"{name} failed without a word")
        return result

    def is_a(self, instance: int, kind: str) -> bool:
        """Return whether a node is of a kind: category, enumeration, boolean, command, integer, float or string."""
        return bool(self.call("g_type_check_instance_is_a", instance, self.call(f"arv_gc_{kind}_get_type")))

    def selected(self, node: int) -> list[str]:
        """Return the names of the features that a node selects; none where it is no selector."""
        if not self.is_a(node, "selector") or not self.call("arv_gc_selector_is_selector", node):
            return []
        names = []
        link = self.call("arv_gc_selector_get_selected_features", node)
        while link:
            element = _GSList.from_address(link)
            names.append(text(self.call("arv_gc_feature_node_get_name", element.data)))
            link = element.next
        return names

    def counters(self, stream: int) -> set[bytes]:
        """Return the names of a stream's counters; a USB stream has fewer."""
        count = self.call("arv_stream_get_n_infos", stream)
        return {self.call("arv_stream_get_info_name", stream, number) for number in range(count)}


def text(given: bytes | None) -> str:
    """Return what a camera or the library says, as text; what is no UTF-8 is replaced."""
    return "" if given is None else given.decode("utf-8", "replace")


@cache
def load() -> Aravis:
    """Return the library; raises CameraFailed where it is not installed, and tries again the next time."""
    try:
        return Aravis(c.CDLL(SONAME), c.CDLL(_GOBJECT))
    except (OSError, AttributeError) as error:
        raise CameraFailed(
            f"GenICam cameras need {SONAME}, which cannot be loaded: {error}",
            remedy="The image lineside/inference has it; without Docker, and in an image of your own, install the "
            "package libaravis-0.8-0 (docs/how-to/connect-a-gige-camera.md)",
        ) from None
