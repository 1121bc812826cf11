"""`lineside bench` and `lineside up`."""

from pathlib import Path
from typing import Annotated

import typer

from lineside_bench.broker import Kind
from lineside_bench.ports import Mode

_RUN = "The run"
_PLACE = "Where"

Seed = Annotated[int, typer.Option(help="Which parts come: the same seed, the same parts.", rich_help_panel=_RUN)]
Stations = Annotated[
    int | None, typer.Option(help="Inspection stations.", show_default="as the rate needs", rich_help_panel=_RUN)
]
Deadline = Annotated[
    float, typer.Option(help="Milliseconds from trigger to verdict, else the verdict is unknown.", rich_help_panel=_RUN)
]
Ports = Annotated[
    Mode,
    typer.Option(help="auto: the usual ports where free, others otherwise. default: insist.", rich_help_panel=_PLACE),
]
Broker = Annotated[Kind, typer.Option(help="auto: mosquitto where installed, else amqtt.", rich_help_panel=_PLACE)]
State = Annotated[
    Path | None, typer.Option(help="Write endpoints and processes there while ready.", rich_help_panel=_PLACE)
]


def bench(
    parts: Annotated[int, typer.Option(help="How many parts to judge.", rich_help_panel=_RUN)] = 200,
    rate: Annotated[float, typer.Option(help="Parts a second, the whole line.", rich_help_panel=_RUN)] = 10.0,
    seed: Seed = 7,
    stations: Stations = None,
    deadline_ms: Deadline = 400.0,
    json: Annotated[Path | None, typer.Option(help="Write the summary there as JSON.", rich_help_panel=_PLACE)] = None,
    state: State = None,
    ports: Ports = Mode.auto,
    broker: Broker = Kind.auto,
) -> None:
    """Run the simulated line: PLC, camera, broker, Triton and every service; judge parts; report.

    Exit status 1 when a part has no verdict, more than one, or a wrong one written back.
    """
    from lineside_bench import session  # noqa: PLC0415 - the help must not wait for OpenCV and asyncua
    from lineside_bench.options import Options  # noqa: PLC0415 - same

    options = Options(
        parts=parts, rate=rate, seed=seed, stations=stations, deadline_ms=deadline_ms, ports=ports, broker=broker
    )
    raise typer.Exit(session.bench(options, summary_file=json, state_file=state))


def up(
    rate: Annotated[float, typer.Option(help="Parts a second; 0 for none.", rich_help_panel=_RUN)] = 0.5,
    seed: Seed = 7,
    stations: Stations = None,
    deadline_ms: Deadline = 400.0,
    state: State = None,
    ports: Ports = Mode.auto,
    broker: Broker = Kind.auto,
) -> None:
    """Keep the simulated line running until Ctrl-C, parts coming slowly."""
    from lineside_bench import session  # noqa: PLC0415 - the help must not wait for OpenCV and asyncua
    from lineside_bench.options import Options  # noqa: PLC0415 - same

    options = Options(
        parts=None, rate=rate, seed=seed, stations=stations, deadline_ms=deadline_ms, ports=ports, broker=broker
    )
    raise typer.Exit(session.up(options, state_file=state))
