"""What snapshot cameras, MJPEG cameras and urls share: a GET with the headers that an image server needs."""

from lineside_inference.http1.client import HttpClient, Sink
from lineside_inference.http1.connection import Response
from lineside_inference.http1.target import Target
from lineside_inference.imaging.formats.header import NAMES
from lineside_inference.imaging.image_headers import MEDIA_TYPES, sniff
from lineside_inference.sources.credentials import Credentials

_IMAGES = ", ".join(MEDIA_TYPES.values())
_UNAUTHORIZED = 401


async def get(
    client: HttpClient,
    target: Target,
    credentials: Credentials | None = None,
    *,
    max_bytes: int,
    accept: str = _IMAGES,
    sink: Sink | None = None,
) -> Response:
    """Return the response to a GET, asked again with `credentials` where the first answer is a challenge.

    Raises HttpError, and what the client's `addresses` and `sink` raise.
    """

    async def ask() -> Response:
        headers = [("Accept", accept), ("Accept-Encoding", "identity"), ("User-Agent", "lineside")]
        authorization = credentials.header("GET", target.path) if credentials else None
        if authorization is not None:
            headers.append(("Authorization", authorization))
        return await client.request(target, headers=headers, max_bytes=max_bytes, sink=sink)

    response = await ask()
    if response.status == _UNAUTHORIZED and credentials is not None and credentials.challenged(response.headers):
        response = await ask()
    return response


def remedy_of(response: Response) -> str:
    """Return what to do about a status other than 200, where that is known."""
    return "Give username and password_file" if response.status == _UNAUTHORIZED else ""


def why_no_image(response: Response) -> str | None:
    """Return what a peer answered instead of an image, to be said behind its name; None where it is an image."""
    encoding = response.header("content-encoding", "identity")
    if encoding != "identity":
        return f"answered in encoding {encoding!r:.60}, though asked for none"
    if sniff(response.body) is None:
        kind = response.header("content-type", "nothing named")
        return f"answered {len(response.body)} bytes of {kind!r:.80}, which is no {NAMES}"
    return None
