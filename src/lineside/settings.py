"""Settings: defaults, overridden by a YAML file, overridden by the environment.

A service that Greengrass runs as a component has one layer more: the component's configuration, above the file and
below the environment (`lineside.greengrass.configuration`).

The file may also be that of an Edge Manager agent (`lineside.edge_manager.agent_file`).

One file configures a whole box: what all services share at the top (`bus`, `log`), then a section a service.
A service reads the shared part and its own section, and leaves the other services' sections alone; `lineside
config check` reads them all. Every setting has an environment name: `LINESIDE_` and the path joined by `__`, for
instance `LINESIDE_BUS__PORT`. An unknown name, in the file or in the environment, stops the start and is answered
with the nearest known one.
"""

import dataclasses
import difflib
import hashlib
import json
import os
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from lineside.addresses import Host
from lineside.contract import MAX_MESSAGE_BYTES, OUTCOME_TOPIC, REQUEST_TOPIC, RESULT_TOPIC
from lineside.documents import read_json, read_yaml
from lineside.edge_manager import agent_file
from lineside.errors import SettingsError
from lineside.secrecy import hidden
from lineside.telemetry import Format, Level
from lineside.wording import words

PREFIX = "LINESIDE_"
DELIMITER = "__"
FILE_VARIABLE = "LINESIDE_CONFIG"
"""The environment variable that names the settings file."""
COMPONENT_VARIABLE = "LINESIDE_COMPONENT"
"""The environment variable in which our recipes tell a Greengrass component its name; not a setting."""
COMPANION_VARIABLE = "LINESIDE_COMPANION"
"""The environment variable that tells a process that it runs beside a component's own one; not a setting."""

SECTIONS = ("inference", "topic_bridge", "opcua_bridge", "forwarder", "exporter", "deployer")
"""The services' sections; a service ignores the sections that are not its own."""

SIMULATORS = ("plc_sim", "camera_sim")
"""The bench's simulators, which may have a section in the same file; every service ignores theirs."""

SHARED_SECTIONS = ("spool", "edge_manager")
"""Sections that some services share; those that do have a field of the name."""

Port = Annotated[int, Field(ge=1, le=65535)]
Topic = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^+#\x00]+$")]


class Section(BaseModel):
    """Base of every group of settings: unknown names are refused, values cannot change after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    def remarks(self) -> list[str]:
        """Return what is allowed and not what was meant, or better otherwise; the service logs each at its start."""
        return []


class BusTlsSettings(Section):
    """TLS to the broker. Its certificate must be valid and bear the name in `bus.host`; there is no way around that."""

    ca_file: Path | None = Field(
        None, description="Certificates (PEM) of the authorities that are trusted; this system's own where absent."
    )
    cert_file: Path | None = Field(
        None, description="Our certificate (PEM, with its chain), where the broker asks for one; with key_file."
    )
    key_file: Path | None = Field(None, description="Its private key (PEM, without a password).")
    alpn: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")] | None = Field(
        None,
        description="Protocol that the handshake names (ALPN). Absent: on port 443 x-amzn-mqtt-ca with a certificate "
        "of ours, else mqtt; none on other ports.",
    )

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file: give both or neither")
        return self


class BusSettings(Section):
    """The bus: an MQTT broker, or the IPC of AWS IoT Greengrass. What only MQTT has is not looked at for IPC."""

    transport: Literal["mqtt", "ipc"] = Field(
        "mqtt",
        description="mqtt: a broker; ipc: Greengrass' own bus, for services that run as its components. IPC keeps, "
        "retains and redelivers nothing, and takes messages of 6144 bytes at most.",
    )
    host: Host = Field("127.0.0.1", description="Host name or address of the broker.")
    port: Port = Field(1883, description="TCP port of the broker.")
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        "auto", description="MQTT version; auto speaks 5 and falls back where the broker refuses it."
    )
    client_id_prefix: str = Field(
        "lineside",
        max_length=64,
        description="Client ids are this and the service's name; unique a box on a shared broker.",
    )
    username: str | None = Field(None, description="User name at the broker.")
    password_file: Path | None = Field(None, description="File that holds the password, on its first line.")
    tls: BusTlsSettings | None = Field(
        None, description="TLS to the broker, then usually on port 8883; absent: unencrypted. Never both."
    )
    keepalive_s: int = Field(10, ge=2, le=3600, description="Seconds of silence before the peer is checked.")
    session_expiry_s: int = Field(
        7 * 24 * 3600,
        ge=0,
        le=0xFFFFFFFE,
        description="Seconds for which the broker keeps our messages while we are away.",
    )
    max_inflight: int = Field(
        8192,
        ge=1,
        le=65535,
        description="Messages given to a service and not yet acknowledged; the rest wait in the broker, and over ipc, "
        "where nothing waits, are dropped and counted.",
    )
    max_backlog: int = Field(1000, ge=1, description="Messages of ours that wait for the broker; one more is refused.")
    request_topic: Topic = Field(REQUEST_TOPIC, description="Topic of inference requests.")
    result_topic: Topic = Field(RESULT_TOPIC, description="Topic of results; errors go to <this>/error.")
    outcome_topic: Topic = Field(OUTCOME_TOPIC, description="Topic of outcomes: what the PLC got for each part.")
    max_message_bytes: int = Field(
        MAX_MESSAGE_BYTES, ge=1024, description="Largest message taken from or put on the bus; Greengrass allows 6144."
    )

    @model_validator(mode="after")
    def _fits_ipc(self) -> Self:
        if self.transport != "ipc":
            return self
        if self.max_message_bytes > MAX_MESSAGE_BYTES:
            most = f"transport ipc takes {MAX_MESSAGE_BYTES} bytes at most"
            raise ValueError(f"max_message_bytes: {most} (got {self.max_message_bytes})")
        for name in ("request_topic", "result_topic", "outcome_topic"):
            if "*" in getattr(self, name):
                raise ValueError(f"{name}: Greengrass takes no * in a topic (got {getattr(self, name)!r})")
        return self

    @property
    def url(self) -> str:
        """The bus's address, as connections show it."""
        if self.transport == "ipc":
            return "greengrass ipc"
        return f"{'mqtt' if self.tls is None else 'mqtts'}://{self.host}:{self.port}"


class LogSettings(Section):
    """Logs on standard error."""

    level: Level = Field("info", description="Least level that is shown.")
    format: Format = Field("auto", description="auto: console on a terminal, JSON otherwise.")


class HttpSettings(Section):
    """The HTTP server of one service."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(description="TCP port to listen on.")
    drain_s: float = Field(
        8.0, gt=0, le=300, description="Seconds given to work under way at a stop; below the container's stop grace."
    )


class Settings(BaseSettings):
    """Base of a service's settings: what all services share; a subclass adds one field named like its section."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=DELIMITER, extra="forbid", frozen=True, validate_default=True
    )

    section: ClassVar[str] = ""
    """Name of the service's own section, one of SECTIONS."""

    thing: str = Field(
        "bench", pattern=r"^[A-Za-z0-9:_-]{1,128}$", description="Name of this box, as its IoT thing name."
    )
    bus: BusSettings = Field(default_factory=BusSettings, description="The bus between the services.")
    log: LogSettings = Field(default_factory=LogSettings, description="Logs on standard error.")

    _ignored: tuple[str, ...] = PrivateAttr(())

    @property
    def log_level(self) -> Level:
        """The level of the log in force; a service may have another setting that lowers it."""
        return self.log.level

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that say which settings these are: SHA-256 of all values, but `thing` and `log`.

        So boxes that were configured alike have one digest.
        """
        values = self.model_dump(mode="json", exclude={"thing", "log"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def unneeded(self) -> str | None:
        """Why a box with these settings does well without the service; None where it does not."""
        return None

    def remarks(self) -> list[str]:
        """Return what was read over, and what of any section is allowed and not what was meant."""
        sections = [getattr(self, name) for name in type(self).model_fields]
        told = [remark for section in sections if isinstance(section, Section) for remark in section.remarks()]
        return [*self._ignored, *told]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose content is handed to the constructor."""
        del env_settings, dotenv_settings, file_secret_settings
        return _Environment(settings_cls), init_settings


class _Environment(EnvSettingsSource):
    """The environment, where lists and groups are JSON; a name given twice in one of them is an error."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return the JSON's content; raises ValueError that names the fault."""
        del field
        try:
            return read_json(value)
        except ValueError as error:
            raise ValueError(f"{field_name}: {error}") from None


@dataclasses.dataclass(frozen=True)
class Layer:
    """Settings from one place, as a document of the file's form."""

    origin: str
    """The place as error messages name it, for instance the file's path."""
    document: Mapping[str, Any]
    written: Mapping[tuple[str, ...], str] = dataclasses.field(default_factory=dict)
    """Of settings that stand there under another name: that name."""
    names: tuple[str, ...] = ()
    """Names that are known there at the top beside the settings."""
    problems: tuple[str, ...] = ()
    """What is wrong with it before it is read as settings."""
    ignored: tuple[str, ...] = ()
    """Names that stand there, that nothing here knows, and that are read over."""

    def depth(self, path: Sequence[str]) -> int:
        """Return how many steps of a setting's path are given here."""
        inner: Any = self.document
        for steps, name in enumerate(path):
            if not isinstance(inner, Mapping):
                break  # a list or a value, which is given here whole
            if name not in inner:
                return steps
            inner = inner[name]
        return len(path)


S = TypeVar("S", bound=Settings)


def load(kind: type[S], *, file: Path | None = None, above: Layer | None = None) -> S:
    """Return the settings of one service from defaults, file, the layer `above` the file, and environment.

    `file` defaults to what `LINESIDE_CONFIG` names, and to no file where that is not set.
    Raises SettingsError with every problem: path, environment name, value, what is allowed, the nearest name.
    """
    named = os.environ.get(FILE_VARIABLE)
    path = file or (Path(named) if named else None)
    foreign = _foreign(kind)
    layers = [_layer(path)] if path else []
    layers += [above] if above else []
    document: dict[str, Any] = {}
    for layer in layers:
        document = merged(document, {name: value for name, value in layer.document.items() if name not in foreign})
    unknown = dict(_unknown_variables(kind))
    problems = [*unknown.values(), *(hidden(problem) for layer in layers for problem in layer.problems)]
    try:
        settings = kind(**document)
    except ValidationError as error:
        told = [item for item in error.errors() if variable(tuple(map(str, item["loc"]))) not in unknown]
        problems += [hidden(_explain(kind, item, layers)) for item in told]
    except ValueError as error:  # a complex value in the environment that is not JSON
        problems.append(f"environment: {error.__cause__ or error}; give lists and groups as JSON")
    if problems:
        raise SettingsError(problems)
    settings._ignored = tuple(  # noqa: SLF001 - ours: what stood beside the settings
        f"{layer.origin}: ignored, for nothing here knows them: {', '.join(layer.ignored)}"
        for layer in layers
        if layer.ignored
    )
    return settings


def problems_of(kind: type[BaseModel], error: ValidationError, layer: Layer) -> list[str]:
    """Return what is wrong with a document that is no service's settings, in the words that `load` has for those."""
    return [hidden(_explain(kind, item, [layer])) for item in error.errors()]


def _layer(path: Path) -> Layer:
    """Return a settings file as a layer; it may be the configuration file of an Edge Manager agent."""
    document = read_file(path)
    if not agent_file.is_agent_file(document):
        return Layer(str(path), document)
    read = agent_file.read(document)
    problems = tuple(f"{path}: {problem}" for problem in read.problems)
    return Layer(str(path), read.document, read.written, problems=problems, ignored=read.ignored)


def merged(below: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return groups and maps put together name by name; all else of `over` takes the place of what is below."""
    put_together = dict(below)
    for name, value in over.items():
        old = put_together.get(name)
        put_together[name] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return put_together


def read_file(path: Path) -> dict[str, Any]:
    """Return a settings file's content; raises SettingsError when it cannot be read or is not a mapping."""
    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: not YAML: {error}"]) from None
    except ValueError as error:
        raise SettingsError([f"{path}: {error}"]) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError([f"{path}: expected settings by name, got {type(document).__name__}"])
    return {str(name): value for name, value in document.items()}


def variable(path: tuple[str, ...]) -> str:
    """Return the environment name of a setting, for instance ("bus", "port") to LINESIDE_BUS__PORT."""
    return PREFIX + DELIMITER.join(path).upper()


def fields(
    kind: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any, type[BaseModel] | None]]:
    """Yield every setting below a model: its path, its field, and the group's model where it is a group."""
    for name, field in kind.model_fields.items():
        group = group_of(field.annotation)
        yield (*path, name), field, group
        if group:
            yield from fields(group, (*path, name))


def group_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field that is one group of settings, else None (lists and maps of groups are values)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (Union, types.UnionType):
        models = [group_of(part) for part in typing.get_args(annotation) if part is not type(None)]
        return models[0] if len(models) == 1 else None
    return None


def nearest(name: str, known: list[str]) -> str:
    """Return `; did you mean 'x'?`, or the list of what is known, or nothing."""
    return close_to(name, known) or (f"; known here: {', '.join(sorted(known))}" if known else "")


def close_to(name: str, known: list[str]) -> str:
    """Return `; did you mean 'x'?`, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def top_names(kind: type[Settings]) -> list[str]:
    """Return the names that a document may have at its top, other programs' sections too."""
    return [*kind.model_fields, *_foreign(kind)]


def _foreign(kind: type[Settings]) -> list[str]:
    """Return the sections that are other programs' business."""
    return [name for name in (*SHARED_SECTIONS, *SECTIONS, *SIMULATORS) if name not in kind.model_fields]


def _unknown_variables(kind: type[Settings]) -> Iterator[tuple[str, str]]:
    known = [variable(path) for path, _field, _group in fields(kind)]
    others = (FILE_VARIABLE, COMPONENT_VARIABLE, COMPANION_VARIABLE)
    maps = tuple(variable(path) + DELIMITER for path, field, _group in fields(kind) if _is_map(field.annotation))
    foreign = tuple(variable((name,)) for name in _foreign(kind))
    for name in sorted(os.environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in (*known, *others) or upper.startswith(maps):
            continue
        if any(upper == section or upper.startswith(section + DELIMITER) for section in foreign):
            continue
        close = difflib.get_close_matches(upper, known, n=1, cutoff=0.6)
        hint = f"; did you mean {close[0]}?" if close else "; `lineside config schema` lists the known names"
        yield upper, f"environment {name}: not a setting{hint}"


def _is_map(annotation: Any) -> bool:
    return typing.get_origin(annotation) is dict


def _explain(kind: type[BaseModel], item: Any, layers: Sequence[Layer]) -> str:
    location, annotation = _place(kind, item["loc"])
    name = variable(location)
    layer = max(reversed(layers), key=lambda each: each.depth(location), default=None)  # of two alike the upper one
    origin = f"setting (environment {name})" if layer is None else layer.origin
    written = None if layer is None else layer.written.get(location)
    if name in os.environ:
        origin, written = f"environment {name}", None
    where = f"{origin}: {written or '.'.join(location) or 'settings'}"
    match item["type"]:
        case "extra_forbidden":
            known = _names_beside(kind, item["loc"])
            if layer is not None and len(location) == 1:
                known += layer.names
            return f"{where}: not a setting{nearest(location[-1], known)}"
        case "missing":
            return f"{where}: must be given"
        case "union_tag_not_found":
            tag = item["ctx"]["discriminator"].strip("'")
            return f"{where}.{tag}: must be given, one of {', '.join(_tags(annotation, tag))}"
        case "union_tag_invalid":
            tag = item["ctx"]["discriminator"].strip("'")
            known = _tags(annotation, tag)
            hint = close_to(str(item["ctx"]["tag"]), known)
            return f"{where}.{tag}: expected one of {', '.join(known)} (got {item['ctx']['tag']!r}){hint}"
    message = words(item)
    if item["type"] == "value_error" and isinstance(item["input"], dict | list | tuple | BaseModel):
        return f"{where}: {message}"  # it names what is wrong; the whole group would hide that
    shown = repr(item["input"])
    return f"{where}: {message} (got {shown if len(shown) <= 120 else shown[:120] + '...'})"  # noqa: PLR2004


def type_at(kind: type[BaseModel], path: Sequence[str]) -> Any:
    """Return the plain type of a setting, for instance int, by its path; None where several are possible."""
    try:
        members = _members(_place(kind, tuple(path))[1])
    except (IndexError, TypeError):  # a path that leads nowhere is told when it is read
        return None
    return members[0] if len(members) == 1 else None


def _place(kind: type[BaseModel], location: tuple[str | int, ...]) -> tuple[tuple[str, ...], Any]:
    """Return a problem's place as it is written in the file, and what is allowed there.

    pydantic's own location holds a step more for each union: which of its members was tried.
    """
    steps: list[str] = []
    annotation: Any = kind
    for part in map(str, location):
        members, models = _members(annotation), _models(annotation)
        if len(members) > 1:
            annotation = _tagged(models, part) or next((model for model in models if model.__name__ in part), None)
            continue
        if part == "[key]":
            continue
        steps.append(part)
        if models:
            annotation = models[0].model_fields[part].annotation if part in models[0].model_fields else None
        else:
            inner = typing.get_args(members[0]) if members else ()
            annotation = inner[-1 if typing.get_origin(members[0]) is dict else 0] if inner else None
    return tuple(steps), annotation


def _members(annotation: Any) -> list[Any]:
    """Return the types of a union, one type as itself; what may be left out and what is annotated count as given."""
    if typing.get_origin(annotation) is Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return [each for part in typing.get_args(annotation) if part is not type(None) for each in _members(part)]
    return [] if annotation is None else [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [each for each in _members(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]


def _tags(annotation: Any, name: str) -> list[str]:
    """Return what the field `name` tells a union's members apart by."""
    fields_of = [model.model_fields[name] for model in _models(annotation) if name in model.model_fields]
    return [str(tag) for field in fields_of for tag in typing.get_args(field.annotation)]


def _names_beside(kind: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Return the names that are known where an unknown one was found."""
    _steps, annotation = _place(kind, location[:-1])
    models = _models(annotation)
    names = list(models[0].model_fields) if models else []
    return names + ([*SHARED_SECTIONS, *SECTIONS] if len(location) == 1 else [])


def _tagged(candidates: list[type[BaseModel]], tag: str) -> type[BaseModel] | None:
    for candidate in candidates:
        if any(tag in typing.get_args(field.annotation) for field in candidate.model_fields.values()):
            return candidate
    return None
