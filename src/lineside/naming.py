"""Checks names that one section of the settings file uses and another defines: cameras, folders, hosts.

Sections are compared as they are written or as they were read: either is a mapping. A section that the file lacks is in
another file, of another machine, and nothing is said of it.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from lineside.settings import close_to, nearest


def triggers_of(bridge: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the triggers of section `opcua_bridge`."""
    found = bridge.get("triggers") if isinstance(bridge, Mapping) else None
    yield from (trigger for trigger in found or () if isinstance(trigger, Mapping))


def lacking(bridge: Any, inference: Any) -> Iterator[str]:
    """Yield what the triggers of `opcua_bridge` name and the same file's section `inference` lacks, with its path."""
    if not isinstance(inference, Mapping):
        return
    triggers = list(triggers_of(bridge))
    cameras = _names(inference.get("cameras"))
    for place, trigger in enumerate(triggers):
        source = trigger.get("source")
        where = f"opcua_bridge.triggers.{place}.source"
        match source:
            case {"kind": "camera", "camera": str(name)} if name not in cameras:
                yield f"{where}.camera: {name!r} is no camera of inference.cameras{nearest(name, cameras) or _NONE}"
            case {"kind": "file"} if not inference.get("file_roots"):
                yield f"{where}.kind: file: inference.file_roots is empty: every file is refused; name its folder there"
            case {"kind": "url", "url": str(url)} if (host := _host(url)) not in (known := _hosts(inference)):
                yield f"{where}.url: host {host!r} is not in inference.urls.hosts{nearest(host, known) or _NONE}"
    stations = [str(trigger.get("station")) for trigger in triggers]
    capture = inference.get("capture")
    for name in _names(capture.get("masks")) if isinstance(capture, Mapping) and triggers else ():
        if name not in {*cameras, *stations} and (meant := close_to(name, [*cameras, *stations])):
            yield f"inference.capture.masks.{name}: is neither a camera nor a station of this file{meant}"


_NONE = "; it has none"


def _names(group: Any) -> list[str]:
    return [str(name) for name in group] if isinstance(group, Mapping) else []


def _hosts(inference: Mapping[str, Any]) -> list[str]:
    urls = inference.get("urls")
    hosts = urls.get("hosts") if isinstance(urls, Mapping) else None
    given = [entry.get("host") if isinstance(entry, Mapping) else entry for entry in hosts or ()]
    return [_host(f"//{host}") for host in given if isinstance(host, str)]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
