"""The routes below /v2/systemsharedmemory, by the protocol's extension of that name."""

from typing import Any

from starlette.types import Receive

from lineside_inference.api.problems import Problem
from lineside_inference.engine.client_memory import ClientMemory, ClientRegion
from lineside_inference.v2.answer import HttpAnswer, as_json, empty
from lineside_inference.v2.intake import small_json
from lineside_inference.v2.methods import allow
from lineside_inference.v2.request_json import wrong

_MAX = 2**63


async def answer(memory: ClientMemory, method: str, path: list[str], receive: Receive) -> HttpAnswer:
    """Answer what is below /v2/systemsharedmemory; raises Problem, and the errors of ClientMemory."""
    memory.check_allowed()
    match path:
        case ["status"]:
            allow(method)
            return as_json(list(map(_told, memory.list())))
        case ["region", name, "status"]:
            allow(method)
            return as_json(list(map(_told, memory.list(name))))
        case ["region", name, "register"]:
            allow(method, "POST")
            given = await small_json(receive)
            key = given.get("key")
            if not isinstance(key, str):
                raise wrong("key must be a string")
            await memory.register(name, key, _whole(given, "offset", least=0), _whole(given, "byte_size", least=1))
            return empty()
        case ["region", name, "unregister"]:
            allow(method, "POST")
            await memory.unregister(name)
            return empty()
        case ["unregister"]:
            allow(method, "POST")
            await memory.unregister()
            return empty()
    raise Problem(404, "path-unknown", f"There is no /v2/systemsharedmemory/{'/'.join(path)}"[:300])


def _told(region: ClientRegion) -> dict[str, Any]:
    return {"name": region.name, "key": region.key, "offset": region.offset, "byte_size": region.size}


def _whole(given: dict[str, Any], field: str, least: int) -> int:
    value = given.get(field, 0)
    if type(value) is not int or not least <= value < _MAX:
        raise wrong(f"{field} must be a whole number of at least {least}")
    return value
