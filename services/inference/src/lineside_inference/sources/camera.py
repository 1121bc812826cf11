"""A camera's present frame, by HTTP GET on a connection that is kept open."""

import asyncio
from collections.abc import Mapping

import httpx

from lineside_inference.deadline import Deadline
from lineside_inference.errors import CameraFailed, CameraTimeout, CameraUnknown
from lineside_inference.headers import sniff
from lineside_inference.settings import CameraSettings

_OK = 200
_CONNECTIONS = 64
_KEEP_S = 4.0  # less than the 5 seconds after which many servers close


class Cameras:
    """The configured cameras and one HTTP client for all of them."""

    def __init__(self, cameras: Mapping[str, CameraSettings], *, most_bytes: int) -> None:
        self._cameras = cameras
        self._most_bytes = most_bytes
        self._client = httpx.AsyncClient(
            timeout=None,  # noqa: S113 - every frame is bounded as a whole, below
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(
                max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=_KEEP_S
            ),
            headers={"Accept": "image/jpeg, image/png, image/bmp", "Accept-Encoding": "identity"},
        )

    async def grab(self, name: str, deadline: Deadline) -> bytes:
        """Return the bytes of a camera's present frame; raises CameraUnknown, CameraFailed or CameraTimeout."""
        camera = self._cameras.get(name)
        if camera is None:
            known = ", ".join(sorted(self._cameras)) or "none"
            raise CameraUnknown(f"camera {name!r} is not known", remedy=f"Known here (inference.cameras): {known}")
        allowed = min(camera.timeout_ms / 1000, deadline.left())
        try:
            async with asyncio.timeout(allowed):
                try:
                    return await self._get(name, camera.url)
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                    # A camera may close a kept connection at the instant at which it is used again.
                    return await self._get(name, camera.url)
        except TimeoutError:
            raise CameraTimeout(
                f"camera {name!r} gave no frame within {allowed * 1000:.0f} ms", remedy="See whether it is overloaded"
            ) from None
        except httpx.RemoteProtocolError as error:
            raise CameraFailed(f"camera {name!r} broke the connection: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            text = str(error) or type(error).__name__
            raise CameraFailed(f"camera {name!r} cannot be reached: {text}", remedy="See its cable and power") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _get(self, name: str, url: str) -> bytes:
        async with self._client.stream("GET", url) as response:
            if response.status_code != _OK:
                raise CameraFailed(f"camera {name!r} answered {response.status_code} {response.reason_phrase}".rstrip())
            encoding = response.headers.get("content-encoding", "identity")
            if encoding != "identity":
                raise CameraFailed(f"camera {name!r} answered in encoding {encoding!r:.60}, though asked for none")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._most_bytes:
                    raise CameraFailed(
                        f"camera {name!r} sends more than {self._most_bytes} bytes",
                        remedy="Lower its resolution, or raise inference.limits.body_bytes",
                    )
            if sniff(body) is None:
                kind = response.headers.get("content-type", "nothing named")
                raise CameraFailed(f"camera {name!r} answered {len(body)} bytes of {kind!r:.80}, no JPEG, PNG or BMP")
            return bytes(body)
