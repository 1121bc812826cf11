"""Sections `inference.cameras` and `urls`: where images come from."""

from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from lineside.settings import Port, Section
from lineside_inference.http1.target import Target
from lineside_inference.settings.pixel_formats import PixelFormatName

MIB = 1024 * 1024
SERVICE_FEATURES = {
    "AcquisitionMode",
    "AcquisitionStart",
    "AcquisitionStop",
    "TLParamsLocked",
    "TriggerMode",
    "TriggerSelector",
    "TriggerSoftware",
    "TriggerSource",
}
"""Features that decide how frames come: the service writes them itself."""
_OF_FIRED = {"TriggerActivation", "PtpEnable", "ActionDeviceKey", "ActionGroupKey", "ActionGroupMask"}
_OF_CHUNKS = {"ChunkModeActive", "ChunkSelector", "ChunkEnable"}


class RawImage(Section):
    """How raw pixels lie in a file that says nothing of itself."""

    format: PixelFormatName = Field(description="Pixel format, by its name in GenICam's naming convention (PFNC).")
    width: int = Field(ge=1, le=1_000_000, description="Pixels of a row.")
    height: int = Field(ge=1, le=1_000_000, description="Rows.")
    stride: int | None = Field(
        None, ge=1, le=100_000_000, description="Bytes from one row to the next; where absent, rows are not padded."
    )


class ActionCommand(Section):
    """The action command of GigE Vision: one datagram fires all cameras that have the same here."""

    device_key: int = Field(ge=0, le=0xFFFFFFFF, description="The cameras' ActionDeviceKey, written at each connect.")
    group_key: int = Field(1, ge=0, le=0xFFFFFFFF, description="Their ActionGroupKey, written too.")
    group_mask: int = Field(1, ge=1, le=0xFFFFFFFF, description="Their ActionGroupMask, written too.")
    to: tuple[IPv4Address, ...] = Field(
        (IPv4Address("255.255.255.255"),),
        min_length=1,
        max_length=16,
        description="Where it is sent to: the broadcast address of the cameras' subnet, or the address of each.",
    )
    scheduled_ms: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="With ptp: the cameras act at the same instant, so long after it is sent; at once where absent, "
        "and as long as PTP does not keep their clocks.",
    )


class HardwareTrigger(Section):
    """How the line fires a genicam camera, and how its frames are given to the parts: by time, never by their order."""

    source: str | None = Field(
        None,
        pattern=r"^\w{1,100}$",
        description="The camera's input that fires it, by the camera's own name; where absent Line1, or Action1 with "
        "action.",
    )
    activation: str = Field(
        "RisingEdge",
        pattern=r"^\w{1,100}$",
        description="What of it fires: RisingEdge, FallingEdge, AnyEdge, LevelHigh.",
    )
    time: Literal["received", "source", "server"] = Field(
        "received",
        description="Which timestamp of a request says when its part was triggered: received: when the bridge saw it; "
        "source: the PLC's own, whose clock has to be this host's; server: the OPC UA server's.",
    )
    delay_ms: float = Field(
        0.0,
        ge=-10_000,
        le=10_000,
        description="From that time to the exposure; below 0 where the camera is fired before the PLC stamps.",
    )
    window_ms: float = Field(
        10.0, gt=0, le=10_000, description="By how much the exposure may come earlier or later than that."
    )
    apart_ms: float = Field(
        50.0,
        gt=0,
        le=60_000,
        description="The least time between two exposures; more than twice window_ms, so that no frame fits two parts.",
    )
    keep_ms: float = Field(2000.0, gt=0, le=60_000, description="How long a frame waits for its request.")
    most_kept: int = Field(16, ge=1, le=256, description="How many frames wait at most; each is held as pixels.")
    ptp: bool = Field(
        default=False,
        description="Let PTP keep the camera's clock. This host's has to be kept by the same grandmaster, which is "
        "seen to; where it is not, the clock is read as without PTP.",
    )

    action: ActionCommand | None = Field(
        None, description="The service fires the camera itself for each request, together with all of the same action."
    )

    @property
    def trigger_source(self) -> str:
        """What fires the camera, as it is written."""
        return self.source or ("Line1" if self.action is None else "Action1")

    @model_validator(mode="after")
    def _fits_one_part(self) -> Self:
        if self.apart_ms <= 2 * self.window_ms:
            raise ValueError(
                f"window_ms: {self.window_ms:g} is not less than half of apart_ms, {self.apart_ms:g}: "
                "a frame could fit two parts"
            )
        if self.action is not None and self.action.scheduled_ms is not None and not self.ptp:
            raise ValueError("action.scheduled_ms: needs ptp: the cameras have no common time without it")
        return self


class CameraSettings(Section):
    """One camera: `snapshot` is asked for each frame; of the others a reader keeps the newest frame."""

    kind: Literal["snapshot", "mjpeg", "stream", "directory", "genicam"] = Field(
        "snapshot",
        description="snapshot: one image by HTTP GET; mjpeg: multipart HTTP stream; stream: RTSP, V4L2 device or video "
        "file, in a loop; directory: newest image file in a folder; genicam: GigE Vision or USB3 Vision camera.",
    )
    url: str | None = Field(
        None, description="snapshot, mjpeg: http(s) address; stream: rtsp(s) or http(s) address, without a password."
    )
    path: Path | None = Field(None, description="directory: the folder; stream: a device like /dev/video0, or a file.")
    device: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="genicam: the camera's IP address, MAC (USB: GUID), serial number or user-defined name.",
    )
    acquisition: Literal["software", "free", "hardware"] = Field(
        "software",
        description="genicam: software: one frame for each request, by software trigger; free: the camera sends by "
        "itself, and the newest frame is taken; hardware: the line fires the camera (hardware_trigger).",
    )
    hardware_trigger: HardwareTrigger | None = Field(
        None, description="genicam with acquisition hardware: what fires the camera, and which frame is a part's."
    )
    chunks: tuple[Annotated[str, Field(pattern=r"^\w{1,100}$")], ...] = Field(
        (),
        max_length=16,
        description="genicam: what the camera sends along with each frame, by its own names (Timestamp, ExposureTime, "
        "LineStatusAll); kept with the evidence.",
    )
    features: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w{0,99}$")], bool | int | float | str] = Field(
        default_factory=dict,
        description="genicam: features by the camera's own names (ExposureTime, Gain, PixelFormat, Width), written "
        "at each connect, read back, and refused where the camera has another value then.",
    )
    features_file: Path | None = Field(
        None,
        description="genicam: a file of features as the maker's viewer exports it (pylon's .pfs, or name and value "
        "with a tab, =, ; or , between them), written at each connect; what `features` names wins.",
    )
    timeout_ms: float = Field(
        2000.0,
        gt=0,
        le=60_000,
        description="Longest wait for one frame; the request's deadline shortens it. A stream that is silent for "
        "longer than this, and at least 2 s, is opened again.",
    )
    allow_older_ms: float = Field(
        0.0,
        ge=0,
        le=600_000,
        description="By how much a frame may be older than the trigger; 0: wait for the first one after it.",
    )
    warmup_frames: int = Field(
        0, ge=0, le=100, description="Frames thrown away after each connect; snapshot: asked for at the start."
    )
    most_fps: float = Field(
        60.0, gt=0, le=1000, description="Frames a second that are kept; what comes between is skipped and counted."
    )
    significant_bits: int | None = Field(
        None,
        ge=8,
        le=16,
        description="snapshot, mjpeg, directory: significant bits of a PNG, TIFF or PGM of 16 bits a value, where its "
        "file does not say it; 16 where the values fill all 16 bits. Also of Mono16, raw or genicam.",
    )
    exif_orientation: Literal["ignore", "obey"] = Field(
        "ignore",
        description="snapshot, mjpeg, directory: what the orientation in a JPEG's EXIF does: ignore: nothing; obey: "
        "the image is turned before it is judged, masked, kept and shown.",
    )
    raw: RawImage | None = Field(
        None,
        description="directory: its files hold raw pixels, all of this format and size.",
    )
    hot_celsius: float = Field(
        75.0,
        gt=0,
        le=150,
        description="genicam: degrees Celsius above which the page and an alert say that the camera is too hot, by its "
        "own DeviceTemperature; its data sheet says how hot its inside may be.",
    )
    required: bool = Field(default=False, description="Whether the whole service is unready while this camera is away.")
    username: str | None = Field(None, description="User name at the camera.")
    password_file: Path | None = Field(None, description="File that holds the password, on its first line.")
    auth: Literal["auto", "basic", "digest"] = Field(
        "auto", description="snapshot, mjpeg: what the camera's challenge may be; auto: either."
    )
    ca_file: Path | None = Field(None, description="snapshot, mjpeg: certificates (PEM) trusted for https.")
    pattern: str = Field("*", min_length=1, max_length=255, description="directory: which file names are images.")
    since: Literal["start", "any"] = Field(
        "start", description="directory: start: only files written after the service's start; any: older ones too."
    )
    poll_ms: float = Field(50.0, ge=5, le=60_000, description="directory: how often it is looked at.")
    most_files: int = Field(2000, ge=1, le=100_000, description="directory: most entries; above, it is refused.")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        wanted = {
            "snapshot": {"url"},
            "mjpeg": {"url"},
            "stream": {"url", "path"},
            "directory": {"path"},
            "genicam": {"device"},
        }[self.kind]
        given = {name for name in ("url", "path", "device") if getattr(self, name) is not None}
        if len(given & wanted) != 1:
            raise ValueError(f"{' or '.join(sorted(wanted, reverse=True))}: must be given with kind {self.kind}")
        for name in sorted(given - wanted):
            raise ValueError(f"{name}: does not stand with kind {self.kind}")
        of_files = {"significant_bits", "exif_orientation"}
        of_kind = {
            "directory": {"allow_older_ms", "pattern", "since", "poll_ms", "most_files", *of_files, "raw"},
            "snapshot": {"username", "password_file", "auth", "ca_file", *of_files},
            "mjpeg": {"allow_older_ms", "username", "password_file", "auth", "ca_file", "most_fps", "significant_bits"},
            "stream": {"allow_older_ms", "username", "password_file", "most_fps"},
            "genicam": {
                *("allow_older_ms", "most_fps", "acquisition", "features", "features_file", "significant_bits"),
                *("hardware_trigger", "chunks", "hot_celsius"),
            },
        }
        strange = (self.model_fields_set & set().union(*of_kind.values())) - of_kind[self.kind]
        for name in sorted(strange):
            raise ValueError(f"{name}: does not stand with kind {self.kind}")
        self._check_genicam()
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file: give both or neither")
        if self.url is not None:
            _check_camera_url(self.url, self.kind)
        return self

    def by_itself(self) -> Self:
        """Return it so that one image can be had without a part: the line is not waited for."""
        if self.acquisition != "hardware":
            return self
        return self.model_copy(update={"acquisition": "free", "hardware_trigger": None})

    def _check_genicam(self) -> None:
        """Raise ValueError where features or the trigger's settings do not stand together."""
        is_fired = self.acquisition == "hardware"
        if self.hardware_trigger is not None and not is_fired:
            raise ValueError("hardware_trigger: stands with acquisition hardware only")
        for name in sorted((SERVICE_FEATURES | (_OF_FIRED if is_fired else set())) & self.features.keys()):
            raise ValueError(f"features: {name} is written by the service itself: see acquisition")
        for name in sorted(_OF_CHUNKS & self.features.keys()):
            raise ValueError(f"features: {name} is written by the service itself: see chunks")
        for name in ("allow_older_ms", "warmup_frames", "most_fps"):
            if is_fired and name in self.model_fields_set:
                raise ValueError(f"{name}: does not stand with acquisition hardware: each frame is one part's")


def _check_camera_url(url: str, kind: str) -> None:
    """Raise ValueError where an address has the wrong scheme, no host, or a password, which is not repeated."""
    schemes = ("rtsp", "rtsps", "http", "https") if kind == "stream" else ("http", "https")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        del error  # its words hold a part of the address
        raise ValueError("url: is no address: expected <scheme>://<host>[:<port>]/<path>") from None
    if parts.scheme.lower() not in schemes:
        raise ValueError(f"url: its scheme is {parts.scheme!r:.20}; kind {kind} takes {', '.join(schemes)}")
    if "@" in parts.netloc:
        raise ValueError("url: has a user name or password in it; give username and password_file instead")
    if not host or any(ord(character) <= ord(" ") for character in url):
        raise ValueError("url: has no host, or a space in it")
    if kind != "stream":
        try:
            Target.of(url)
        except ValueError as error:
            raise ValueError(f"url: {error}") from None


class UrlHost(Section):
    """One host from which images may be fetched; `host` or `host:port` is short for it."""

    host: Annotated[str, Field(pattern=r"^[a-z0-9.:_-]{1,253}$")] = Field(
        description="Name or address, in lower case, exactly as requests have it; no wildcards."
    )
    ports: tuple[Port, ...] = Field((80, 443), min_length=1, description="TCP ports that may be connected to.")
    private: bool = Field(
        default=False, description="Allow it where its name leads to a private, loopback or link-local address."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        host, colon, port = given.rpartition(":")
        if not colon or given.count(":") > 1:
            return {"host": given}
        return {"host": host, "ports": (port,)}


class UrlSettings(Section):
    """Source `url`: images from hosts on a list; with an empty list it is refused."""

    hosts: tuple[UrlHost, ...] = Field(
        (), description="Hosts: `name`, `name:port`, or {host, ports, private}. Redirects are not followed."
    )
    timeout_ms: float = Field(
        2000.0, gt=0, le=60_000, description="Longest wait for one image; the request's deadline shortens it."
    )
    most_bytes: int = Field(
        16 * MIB, ge=1024, description="Largest image; limits.body_bytes is the bound where that is less."
    )
    ca_file: Path | None = Field(None, description="Certificates (PEM) trusted for https; the system's where absent.")
