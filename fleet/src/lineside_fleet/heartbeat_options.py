"""What the commands that read heartbeats are told: how a broker lets them in, and when a heartbeat is old."""

from pathlib import Path
from typing import Annotated

import typer

Periods = Annotated[
    float, typer.Option(min=1, help="A device is connected whose heartbeat is not older than so many periods.")
]
Period = Annotated[float, typer.Option(min=1, help="Seconds of a period, for heartbeats that do not say theirs.")]
Seconds = Annotated[float, typer.Option(min=0.1, help="So long a broker is listened to.")]
Username = Annotated[str | None, typer.Option(help="User name at the broker.")]
PasswordFile = Annotated[Path | None, typer.Option(help="File whose first line is the password.")]
CaFile = Annotated[Path | None, typer.Option(help="mqtts: authorities that are trusted (PEM).")]
CertFile = Annotated[Path | None, typer.Option(help="mqtts: our certificate (PEM).")]
KeyFile = Annotated[Path | None, typer.Option(help="mqtts: its key (PEM).")]
