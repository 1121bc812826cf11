"""The camera's description in GenICam's XML: its features, what each may be, and the register behind it."""

import io
import zipfile
from collections.abc import Iterable, Mapping

from lineside_bench.gige_camera.pixels import FORMATS
from lineside_bench.gige_camera.registers import DESCRIPTION, Bootstrap, Register

VENDOR, MODEL = "Lineside", "SimulatedGigE"
FILE = "lineside-simulated-gige"
WIDTH_STEP, HEIGHT_STEP, LEAST_SIDE = 4, 2, 16
LEAST_EXPOSURE_US, LONGEST_EXPOSURE_US = 10.0, 10_000_000.0
LEAST_PACKET, LARGEST_PACKET = 576, 16_000
MODES: Mapping[str, int] = {"Continuous": 0, "SingleFrame": 1, "MultiFrame": 2}
SOURCES: Mapping[str, int] = {"Software": 0, "Line1": 1, "Action1": 2}
CHUNKS: Mapping[str, tuple[int, int]] = {
    "Image": (0, 0x1000),
    "Timestamp": (1, 0x1001),
    "ExposureTime": (2, 0x1002),
    "LineStatusAll": (3, 0x1003),
    "FrameID": (4, 0x1004),
}
"""What a frame may carry behind its pixels: number of the selector's choice, and the chunk's id."""
PTP_STATES: Mapping[str, int] = {"Disabled": 0, "Listening": 1, "Uncalibrated": 2, "Slave": 3}
_OFF_ON: Mapping[str, int] = {"Off": 0, "On": 1}
_R, _B = Register, Bootstrap
_LOCKED = "<pIsLocked>TLParamsLocked</pIsLocked>"


def xml(*, ticks_are_ns: bool) -> bytes:
    """Return the description; where ticks are no nanoseconds it has only the older GevTimestamp features."""
    device = (
        _text("DeviceVendorName", _B.VENDOR, 32),
        _text("DeviceModelName", _B.MODEL, 32),
        _text("DeviceVersion", _B.DEVICE_VERSION, 32),
        _text("DeviceSerialNumber", _B.SERIAL, 16),
        _text("DeviceUserID", _B.USER_ID, 16, access="RW"),
        _float("DeviceTemperature", _R.TEMPERATURE, -50, 150, unit="C", access="RO"),
        _command("DeviceReset", _R.DEVICE_RESET),
        *((_command("TimestampLatch", _B.TIMESTAMP_CONTROL, 2),) if ticks_are_ns else ()),
        *((_command("TimestampReset", _B.TIMESTAMP_CONTROL, 1),) if ticks_are_ns else ()),
        *((_integer("TimestampLatchValue", _B.TIMESTAMP, access="RO", length=8),) if ticks_are_ns else ()),
    )
    image = (
        _integer("SensorWidth", _R.SENSOR_WIDTH, access="RO"),
        _integer("SensorHeight", _R.SENSOR_HEIGHT, access="RO"),
        _side("Width", _R.WIDTH, "SensorWidth", "OffsetX", WIDTH_STEP),
        _side("Height", _R.HEIGHT, "SensorHeight", "OffsetY", HEIGHT_STEP),
        _offset("OffsetX", _R.OFFSET_X, "SensorWidth", "Width", WIDTH_STEP),
        _offset("OffsetY", _R.OFFSET_Y, "SensorHeight", "Height", HEIGHT_STEP),
        _choice("PixelFormat", _R.PIXEL_FORMAT, {each.name: each.code for each in FORMATS.values()}, locked=True),
        _integer("PayloadSize", _R.PAYLOAD_SIZE, access="RO"),
    )
    acquisition = (
        _choice("AcquisitionMode", _R.ACQUISITION_MODE, MODES, locked=True),
        _command("AcquisitionStart", _R.ACQUISITION_START),
        _command("AcquisitionStop", _R.ACQUISITION_STOP),
        _integer("AcquisitionFrameCount", _R.FRAME_COUNT, least=1, most=65535),
        _float("AcquisitionFrameRate", _R.FRAME_RATE, 0.1, 1000, unit="Hz"),
        _float("ExposureTime", _R.EXPOSURE_TIME, LEAST_EXPOSURE_US, LONGEST_EXPOSURE_US, unit="us"),
        _choice("TriggerSelector", _R.TRIGGER_SELECTOR, {"FrameStart": 0}),
        _choice("TriggerMode", _R.TRIGGER_MODE, _OFF_ON),
        _choice("TriggerSource", _R.TRIGGER_SOURCE, SOURCES),
        _choice("TriggerActivation", _R.TRIGGER_ACTIVATION, {"RisingEdge": 0}),
        _float("TriggerDelay", _R.TRIGGER_DELAY, 0, 1_000_000, unit="us"),
        _command("TriggerSoftware", _R.TRIGGER_SOFTWARE),
    )
    chunks = (
        _boolean("ChunkModeActive", _R.CHUNK_MODE, locked=True),
        _choice("ChunkSelector", _R.CHUNK_SELECTOR, {name: number for name, (number, _id) in CHUNKS.items()}),
        _boolean("ChunkEnable", _R.CHUNK_ENABLE, index="ChunkSelectorReg"),
        _chunk_integer("ChunkTimestamp", CHUNKS["Timestamp"][1], 8),
        _chunk_float("ChunkExposureTime", CHUNKS["ExposureTime"][1]),
        _chunk_integer("ChunkLineStatusAll", CHUNKS["LineStatusAll"][1], 4),
        _chunk_integer("ChunkFrameID", CHUNKS["FrameID"][1], 8),
    )
    groups = {
        "DeviceControl": device,
        "ImageFormatControl": image,
        "AcquisitionControl": acquisition,
        "AnalogControl": (_float("Gain", _R.GAIN, 0, 48, unit="dB"),),
        "DigitalIOControl": (_integer("LineStatusAll", _R.LINE_STATUS, access="RO"),),
        "ChunkDataControl": chunks,
        "ActionControl": (
            _integer("ActionDeviceKey", _B.ACTION_DEVICE_KEY, most=0xFFFFFFFF),
            _integer("ActionSelector", _R.ACTION_SELECTOR, most=0),
            _integer("ActionGroupKey", _B.ACTION_GROUP_KEY, most=0xFFFFFFFF),
            _integer("ActionGroupMask", _B.ACTION_GROUP_MASK, most=0xFFFFFFFF),
        ),
        "PtpControl": (
            _boolean("PtpEnable", _R.PTP_ENABLE),
            _choice("PtpStatus", _R.PTP_STATUS, PTP_STATES, access="RO"),
            _command("PtpDataSetLatch", _R.PTP_LATCH),
            _integer("PtpOffsetFromMaster", _R.PTP_OFFSET, access="RO", length=8),
        ),
        "TransportLayerControl": (
            ("TLParamsLocked", '<Integer Name="TLParamsLocked"><Value>0</Value><Min>0</Min><Max>1</Max></Integer>'),
            _integer("GevHeartbeatTimeout", _B.HEARTBEAT_TIMEOUT, least=500, most=60_000),
            _integer("GevTimestampTickFrequency", _B.TICK_FREQUENCY, access="RO", length=8),
            _command("GevTimestampControlLatch", _B.TIMESTAMP_CONTROL, 2),
            _command("GevTimestampControlReset", _B.TIMESTAMP_CONTROL, 1),
            _integer("GevTimestampValue", _B.TIMESTAMP, access="RO", length=8),
            _masked("GevSCPHostPort", _B.STREAM_PORT, 0, 15),
            _masked("GevSCPSPacketSize", _B.STREAM_PACKET_SIZE, 0, 15, least=LEAST_PACKET, most=LARGEST_PACKET, step=4),
            _fire("GevSCPSFireTestPacket", _B.STREAM_PACKET_SIZE),
            _integer("GevSCPD", _B.STREAM_PACKET_DELAY, most=1_000_000_000),
            _integer("GevSCDA", _B.STREAM_ADDRESS, most=0xFFFFFFFF),
        ),
    }
    return _document(groups).encode()


def zipped(description: bytes) -> bytes:
    """Return a description as the one file of an archive."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{FILE}.xml", description)
    return held.getvalue()


def url(description: bytes, *, is_zipped: bool) -> str:
    """Return where an application finds it in the camera's memory."""
    return f"Local:{FILE}.{'zip' if is_zipped else 'xml'};{DESCRIPTION:x};{len(description):x}"


def _document(groups: Mapping[str, Iterable[tuple[str, str]]]) -> str:
    written = {group: list(features) for group, features in groups.items()}
    categories = "".join(
        f'<Category Name="{group}">{"".join(f"<pFeature>{name}</pFeature>" for name, _ in features)}</Category>\n'
        for group, features in written.items()
    )
    nodes = "\n".join(node for features in written.values() for _, node in features)
    root = "".join(f"<pFeature>{group}</pFeature>" for group in groups)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<RegisterDescription ModelName="{MODEL}" VendorName="{VENDOR}" ToolTip="A simulated camera" '
        'StandardNameSpace="GEV" SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0" '
        'MajorVersion="1" MinorVersion="0" SubMinorVersion="0" '
        'ProductGuid="6f0c0a52-6d3f-4a7e-9a59-3e7f0c1f2a01" VersionGuid="b1f1b4d2-1c06-4c39-8f0e-2f6f5a2d7c02" '
        'xmlns="http://www.genicam.org/GenApi/Version_1_1" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:schemaLocation="http://www.genicam.org/GenApi/Version_1_1 '
        'http://www.genicam.org/GenApi/GenApiSchema_Version_1_1.xsd">\n'
        f'<Category Name="Root" NameSpace="Standard">{root}</Category>\n{categories}{nodes}\n'
        '<Port Name="Device"/>\n</RegisterDescription>\n'
    )


def _register(
    name: str, address: int, *, length: int = 4, access: str = "RW", kind: str = "IntReg", more: str = ""
) -> str:
    sign = "<Sign>Unsigned</Sign>" if kind == "IntReg" else ""
    endian = "" if kind == "StringReg" else f"{sign}<Endianess>BigEndian</Endianess>"
    caching = "<Cachable>NoCache</Cachable>"
    return (
        f'<{kind} Name="{name}"><Address>0x{address:X}</Address>{more}<Length>{length}</Length>'
        f"<AccessMode>{access}</AccessMode><pPort>Device</pPort>{caching}{endian}</{kind}>"
    )


def _integer(
    name: str, address: int, *, access: str = "RW", length: int = 4, least: int = 0, most: int | None = None
) -> tuple[str, str]:
    bounds = "" if most is None else f"<Min>{least}</Min><Max>{most}</Max>"
    register = _register(f"{name}Reg", address, length=length, access=access)
    return name, f'<Integer Name="{name}"><pValue>{name}Reg</pValue>{bounds}</Integer>{register}'


def _side(name: str, address: int, sensor: str, offset: str, step: int) -> tuple[str, str]:
    most = (
        f'<IntSwissKnife Name="{name}Most"><pVariable Name="SENSOR">{sensor}</pVariable>'
        f'<pVariable Name="OFFSET">{offset}Reg</pVariable><Formula>SENSOR - OFFSET</Formula></IntSwissKnife>'
    )
    return name, (
        f'<Integer Name="{name}">{_LOCKED}<pValue>{name}Reg</pValue><Min>{LEAST_SIDE}</Min>'
        f"<pMax>{name}Most</pMax><Inc>{step}</Inc></Integer>{most}{_register(f'{name}Reg', address)}"
    )


def _offset(name: str, address: int, sensor: str, side: str, step: int) -> tuple[str, str]:
    most = (
        f'<IntSwissKnife Name="{name}Most"><pVariable Name="SENSOR">{sensor}</pVariable>'
        f'<pVariable Name="SIDE">{side}Reg</pVariable><Formula>SENSOR - SIDE</Formula></IntSwissKnife>'
    )
    return name, (
        f'<Integer Name="{name}"><pValue>{name}Reg</pValue><Min>0</Min><pMax>{name}Most</pMax><Inc>{step}</Inc>'
        f"</Integer>{most}{_register(f'{name}Reg', address)}"
    )


def _float(
    name: str, address: int, least: float, most: float, *, unit: str = "", access: str = "RW"
) -> tuple[str, str]:
    register = _register(f"{name}Reg", address, length=8, access=access, kind="FloatReg")
    return name, (
        f'<Float Name="{name}"><pValue>{name}Reg</pValue><Min>{least}</Min><Max>{most}</Max>'
        f"<Unit>{unit}</Unit></Float>{register}"
    )


def _choice(
    name: str, address: int, choices: Mapping[str, int], *, access: str = "RW", locked: bool = False
) -> tuple[str, str]:
    entries = "".join(
        f'<EnumEntry Name="{choice}" NameSpace="Standard"><Value>{value}</Value></EnumEntry>'
        for choice, value in choices.items()
    )
    register = _register(f"{name}Reg", address, access=access)
    return name, (
        f'<Enumeration Name="{name}">{_LOCKED * locked}{entries}<pValue>{name}Reg</pValue></Enumeration>{register}'
    )


def _boolean(name: str, address: int, *, locked: bool = False, index: str = "") -> tuple[str, str]:
    more = f'<pIndex Offset="4">{index}</pIndex>' if index else ""
    return name, (
        f'<Boolean Name="{name}">{_LOCKED * locked}<pValue>{name}Reg</pValue><OnValue>1</OnValue>'
        f"<OffValue>0</OffValue></Boolean>{_register(f'{name}Reg', address, more=more)}"
    )


def _command(name: str, address: int, value: int = 1) -> tuple[str, str]:
    return name, (
        f'<Command Name="{name}"><pValue>{name}Reg</pValue><CommandValue>{value}</CommandValue></Command>'
        f"{_register(f'{name}Reg', address, access='WO')}"
    )


def _text(name: str, address: int, length: int, *, access: str = "RO") -> tuple[str, str]:
    return name, _register(name, address, length=length, access=access, kind="StringReg")


def _masked(
    name: str, address: int, low: int, high: int, *, least: int = 0, most: int = 65535, step: int = 1
) -> tuple[str, str]:
    """Return an integer in some bits of a register; bit 0 is the lowest."""
    # In big-endian registers GenICam counts bits from the highest.
    bits = f"<LSB>{31 - low}</LSB><MSB>{31 - high}</MSB>"
    return name, (
        f'<Integer Name="{name}"><pValue>{name}Reg</pValue><Min>{least}</Min><Max>{most}</Max><Inc>{step}</Inc>'
        f'</Integer><MaskedIntReg Name="{name}Reg"><Address>0x{address:X}</Address><Length>4</Length>'
        f"<AccessMode>RW</AccessMode><pPort>Device</pPort><Cachable>NoCache</Cachable>{bits}<Sign>Unsigned</Sign>"
        "<Endianess>BigEndian</Endianess></MaskedIntReg>"
    )


def _fire(name: str, address: int) -> tuple[str, str]:
    return name, (
        f'<Boolean Name="{name}"><pValue>{name}Reg</pValue><OnValue>1</OnValue><OffValue>0</OffValue></Boolean>'
        f'<MaskedIntReg Name="{name}Reg"><Address>0x{address:X}</Address><Length>4</Length><AccessMode>RW</AccessMode>'
        "<pPort>Device</pPort><Cachable>NoCache</Cachable><Bit>0</Bit><Sign>Unsigned</Sign>"
        "<Endianess>BigEndian</Endianess></MaskedIntReg>"
    )


def _chunk_integer(name: str, chunk: int, length: int) -> tuple[str, str]:
    register = _register(f"{name}Reg", 0, length=length, access="RO").replace("Device", f"{name}Port")
    port = f'<Port Name="{name}Port"><ChunkID>{chunk:X}</ChunkID></Port>'
    return name, f'<Integer Name="{name}"><pValue>{name}Reg</pValue></Integer>{register}{port}'


def _chunk_float(name: str, chunk: int) -> tuple[str, str]:
    register = _register(f"{name}Reg", 0, length=8, access="RO", kind="FloatReg").replace("Device", f"{name}Port")
    port = f'<Port Name="{name}Port"><ChunkID>{chunk:X}</ChunkID></Port>'
    return name, f'<Float Name="{name}"><pValue>{name}Reg</pValue></Float>{register}{port}'
