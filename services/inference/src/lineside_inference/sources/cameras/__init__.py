"""The configured cameras by name: each of its kind, with a state of its own in /readyz.

The kinds: `snapshot` asks for each frame over HTTP; `mjpeg` reads an endless HTTP response, cut into frames by
`multipart`; `stream` reads RTSP, V4L2 or a video file by OpenCV; `directory` takes the newest file of a folder;
`genicam` keeps control of a GigE Vision or USB3 Vision camera.
`health` says how each does; `camera` is what all of them are, `live` what those share that keep the newest frame,
`threaded` what those that block.
"""

import time
from collections.abc import Iterator, Mapping

from lineside.errors import SettingsError
from lineside.secrecy import hidden
from lineside.service import Service
from lineside_inference.deadline import Deadline, Trigger
from lineside_inference.errors import CameraUnknown, RequestError
from lineside_inference.imaging.pixel_formats.layout import Layout
from lineside_inference.settings import ActionCommand, CameraSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.camera import Camera
from lineside_inference.sources.cameras.directory import DirectoryCamera
from lineside_inference.sources.cameras.genicam.camera import GenicamCamera
from lineside_inference.sources.cameras.genicam.firing import ActionGroup
from lineside_inference.sources.cameras.genicam.hardware import HardwareCamera
from lineside_inference.sources.cameras.health import CameraHealth
from lineside_inference.sources.cameras.mjpeg import MjpegCamera
from lineside_inference.sources.cameras.snapshot import SnapshotCamera
from lineside_inference.sources.cameras.stream import StreamCamera
from lineside_inference.sources.cameras.threaded import ThreadedCamera
from lineside_inference.sources.credentials import Credentials, read_password

_JOIN_S = 0.5


class Cameras:
    """All cameras; `start` connects to them, and never waits for one."""

    def __init__(
        self, cameras: Mapping[str, CameraSettings], service: Service, *, max_bytes: int, max_pixels: int
    ) -> None:
        self._service = service
        groups: dict[ActionCommand, ActionGroup] = {}
        self._cameras = {
            name: _make(name, settings, service, groups, max_bytes=max_bytes, max_pixels=max_pixels)
            for name, settings in cameras.items()
        }
        self.health = CameraHealth(self._cameras.values())

    def __iter__(self) -> Iterator[Camera]:
        return iter(self._cameras.values())

    def start(self) -> None:
        """Start the supervisors; they live as long as the service."""
        for name, camera in self._cameras.items():
            self._service.spawn(f"camera {name}", camera.supervise())
        if self._cameras:
            self._service.spawn("camera health", self.health.watch())

    async def grab(self, name: str, trigger: float, deadline: Deadline) -> Frame:
        """Return a camera's frame that is not older than the trigger, an instant of time.monotonic().

        Raises CameraUnknown, CameraFailed, CameraTimeout or CameraStale.
        """
        return await self._camera(name).grab(trigger, deadline)

    async def grab_for(self, name: str, trigger: Trigger, deadline: Deadline) -> Frame:
        """Return a camera's frame of the part that was triggered so; as of `grab`.

        Raises CameraUnmatched or CameraAmbiguous as well, where the line fires the camera.
        """
        return await self._camera(name).grab_for(trigger, deadline)

    def _camera(self, name: str) -> Camera:
        camera = self._cameras.get(name)
        if camera is None:
            known = ", ".join(sorted(self._cameras)) or "none"
            raise CameraUnknown(f"camera {name!r} is not known", remedy=f"Known here (inference.cameras): {known}")
        return camera

    def close(self) -> None:
        """Close the connections and end the readers; blocks for half a second at most, where a reader hangs."""
        for camera in self:
            camera.close()
        until = time.monotonic() + _JOIN_S
        for camera in self:
            if isinstance(camera, ThreadedCamera):
                camera.join(until)


def _make(
    name: str,
    settings: CameraSettings,
    service: Service,
    groups: dict[ActionCommand, ActionGroup],
    *,
    max_bytes: int,
    max_pixels: int,
) -> Camera:
    credentials = None
    if settings.username is not None and settings.password_file is not None:
        password = read_password(settings.password_file, f"inference.cameras.{name}.password_file")
        credentials = Credentials(settings.username, password, scheme=settings.auth)
    connection = service.connection(f"camera/{name}", _shown(settings), required=settings.required)
    if settings.kind == "mjpeg":
        return MjpegCamera(name, settings, connection, credentials=credentials, max_bytes=max_bytes)
    if settings.kind == "stream":
        return StreamCamera(name, settings, connection, credentials=credentials, max_pixels=max_pixels)
    if settings.kind == "genicam":
        if settings.acquisition == "hardware":
            action = settings.hardware_trigger.action if settings.hardware_trigger is not None else None
            group = None if action is None else groups.setdefault(action, ActionGroup(action))
            return HardwareCamera(name, settings, connection, max_pixels=max_pixels, group=group)
        return GenicamCamera(name, settings, connection, max_pixels=max_pixels)
    if settings.kind == "directory":
        layout = _layout(name, settings, max_pixels)
        return DirectoryCamera(name, settings, connection, max_bytes=max_bytes, layout=layout)
    return SnapshotCamera(name, settings, connection, credentials=credentials, max_bytes=max_bytes)


def _layout(name: str, settings: CameraSettings, max_pixels: int) -> Layout | None:
    """Return how the raw pixels of a camera's files lie; raises SettingsError where they cannot lie so."""
    raw = settings.raw
    if raw is None:
        return None
    try:
        layout = Layout.of(raw.format, raw.width, raw.height, stride=raw.stride)
        layout.check_pixels(max_pixels)
    except RequestError as error:
        raise SettingsError([f"inference.cameras.{name}.raw: {error.what}; {error.remedy}"]) from None
    return layout


def _shown(settings: CameraSettings) -> str:
    """Return where the camera is, as shown to people."""
    if settings.device is not None:
        return settings.device
    return str(settings.path) if settings.url is None else hidden(settings.url)
