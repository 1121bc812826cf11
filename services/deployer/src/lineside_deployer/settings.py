"""Settings of the deployer: section `deployer`; whether and how often it deploys says `edge_manager`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

import lineside.settings
from lineside.addresses import BaseAddress, EndpointUrl
from lineside.contract import Name
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.errors import SettingsError
from lineside.greengrass.model_uri import s3_folder
from lineside.settings import HttpSettings, Section, Topic

SHADOW = "shadow:"


def _place(text: str) -> str:
    kind, _colon, rest = text.partition(":")
    if kind == "shadow" and rest and len(rest) <= 64 and all(each.isalnum() or each in ":_-" for each in rest):  # noqa: PLR2004 - of AWS IoT
        return text
    if text.startswith("s3://"):
        folder, _slash, name = text.rpartition("/")
        s3_folder(f"{folder}/")
        if name:
            return text
    if text.startswith("/"):
        return text
    raise ValueError("expected s3://bucket/key, an absolute path, or shadow:NAME")


def _folder(text: str) -> str:
    return str(s3_folder(text))


class DeployerHttpSettings(HttpSettings):
    """Where the deployer is asked."""

    port: lineside.settings.Port = Field(8084, description="TCP port to listen on.")


class HeartbeatSettings(Section):
    """What runs on the device, told regularly."""

    topic: Topic | None = Field(
        None,
        description="Topic on which it is retained; lineside/<thing>/heartbeat where absent. With bus.transport ipc it "
        "goes to AWS IoT Core by the nucleus.",
    )
    period_s: float = Field(300.0, ge=1, le=86_400, description="Seconds between two heartbeats.")


class DeployerSettings(Section):
    """Models are deployed without Greengrass, and heartbeats tell what runs."""

    http: DeployerHttpSettings = Field(
        default_factory=DeployerHttpSettings, description="Health, metrics, what became of deployments, and notice."
    )
    inference_url: BaseAddress = Field(
        "http://127.0.0.1:8080", description="Base address of the inference service, without a path."
    )
    inference_token_file: Path | None = Field(
        None, description="File whose first line is the bearer token for the inference service."
    )
    model_repository: Path = Field(
        Path("models"), description="The folder from which the inference service serves; it must be writable here."
    )
    state_dir: Path = Field(
        Path("/var/lib/lineside/deployer"),
        description="Folder for the database and for packages on their way; below edge_manager.LocalDataRootPath where "
        "that is set.",
    )
    desired: Annotated[str, AfterValidator(_place)] | None = Field(
        None,
        description="With edge_manager.DeploymentEnable: where the desired state is: s3://bucket/key, an absolute path "
        "or shadow:NAME, a named shadow of this thing on a bus that is bridged to AWS IoT.",
    )
    allowed: tuple[Annotated[str, AfterValidator(_folder)], ...] = Field(
        (),
        description="Folders of S3 below which packages may be, as s3://bucket/prefix/; one elsewhere is refused.",
    )
    allow_sha1: bool = Field(default=False, description="Take SHA1 for a package's checksum, as Edge Manager gave it.")
    roots: Path | None = Field(
        None, description="Folder with the keys and certificates whose signature is trusted; only root may write it."
    )
    unsigned: tuple[Name, ...] = Field((), description="Models whose package needs no signature, by name.")
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = Field(
        None, description="Region of the buckets; AWS_REGION or AWS_DEFAULT_REGION where absent."
    )
    endpoint_url: EndpointUrl | None = Field(
        None, description="Address of an S3-compatible store, as https://host:port/path; AWS's own where absent."
    )
    confirm_s: float = Field(
        600.0, ge=1, le=86_400, description="Seconds within which a model must be warm and serve; else it has failed."
    )
    heartbeat: HeartbeatSettings | None = Field(
        default_factory=HeartbeatSettings, description="What runs here, told regularly; null: nothing is told."
    )


class Settings(lineside.settings.Settings):
    """What the deployer reads: the shared part, Edge Manager's own names, and its section."""

    section: ClassVar[str] = "deployer"

    edge_manager: EdgeManagerSettings = Field(
        default_factory=EdgeManagerSettings,
        description="SageMaker Edge Manager's agent, by its own names: data capture, and the gRPC API that its clients "
        "speak.",
    )
    deployer: DeployerSettings = Field(
        default_factory=DeployerSettings,
        description="Models are deployed without Greengrass, and heartbeats tell what runs.",
    )

    @property
    def state_dir(self) -> Path:
        """Where the database lies."""
        root = self.edge_manager.LocalDataRootPath
        return root / "deployer" if root is not None else self.deployer.state_dir

    @property
    def unneeded(self) -> str | None:
        """Without deployments only heartbeats are missed, which a box need not send."""
        return None if self.edge_manager.DeploymentEnable else "edge_manager.DeploymentEnable is false"

    def check(self) -> None:
        """Refuse a start that could deploy nothing, though edge_manager.DeploymentEnable says so; raises SettingsError.

        Not when the file is read: one that comes from Edge Manager says so for all services, and knows no deployer.
        """
        if self.edge_manager.DeploymentEnable and (problems := list(self._problems())):
            raise SettingsError([f"edge_manager.DeploymentEnable is true: {problem}" for problem in problems])

    def _problems(self) -> Iterator[str]:
        own = self.deployer
        if own.desired is None:
            yield "give deployer.desired: s3://bucket/key, an absolute path, or shadow:NAME"
        elif own.desired.startswith(SHADOW) and self.bus.transport != "mqtt":
            yield "deployer.desired: a shadow needs bus.transport: mqtt, bridged to AWS IoT"
        if not own.allowed:
            yield "name in deployer.allowed the folders of S3 from which packages may come"
        if own.roots is None and not own.unsigned:
            yield "name in deployer.roots the folder of trusted keys, or single models in deployer.unsigned"
