"""Sections `inference.http` and `inference.grpc`: the servers that take requests."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lineside.settings import HttpSettings, Port, Section


class InferenceHttpSettings(HttpSettings):
    """The HTTP server that takes requests."""

    port: Port = Field(8080, description="TCP port to listen on.")
    token_file: Path | None = Field(
        None,
        description="File of bearer tokens, one a line, read again when it changes; whoever sends one may ask.",
    )
    auth: Literal["auto", "none"] = Field(
        "auto",
        description="auto: a token where token_file names them, needed off loopback; none: open to the whole network.",
    )
    allowed_hosts: tuple[Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._:-]+)$")], ...] = Field(
        (),
        description="Names by which this service may be asked besides localhost and http.host; any other is refused "
        "where no token is needed, and where some are listed. Off loopback its numeric addresses are taken too while "
        "none is listed.",
    )
    open_metrics: bool = Field(default=False, description="Serve /metrics without a token too.")

    @model_validator(mode="after")
    def _not_open_by_accident(self) -> Self:
        if self.auth == "none" and self.token_file is not None:
            raise ValueError("auth is none and token_file is given: remove one of them")
        if self.auth == "auto" and self.token_file is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is reached from the network: give token_file (one bearer token a line), "
                "or set auth to none to let everybody in, or host to 127.0.0.1"
            )
        return self


class GrpcSettings(Section):
    """The gRPC server of the Open Inference Protocol (`inference.GRPCInferenceService`)."""

    host: str = Field("127.0.0.1", description="Address to listen on; off loopback by the rules of inference.http.")
    port: Port | None = Field(
        None,
        description="TCP port to listen on (Triton itself has 8001 by custom); absent: the protocol is on HTTP only.",
    )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
