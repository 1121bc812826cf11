"""`lineside bench`, `lineside up` and `lineside greengrass`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lineside_bench.options import CameraKind
from lineside_bench.peers.broker import BrokerKind, BusKind
from lineside_bench.plcs.environment import Stack
from lineside_bench.processes.ports import PortMode

_RUN = "The run"
_WHERE = "Where"

Seed = Annotated[int, typer.Option(help="Which parts come: the same seed, the same parts.", rich_help_panel=_RUN)]
Stations = Annotated[
    int | None, typer.Option(help="Inspection stations.", show_default="as the rate needs", rich_help_panel=_RUN)
]
Deadline = Annotated[
    float, typer.Option(help="Milliseconds from trigger to verdict, else the verdict is unknown.", rich_help_panel=_RUN)
]
Ports = Annotated[
    PortMode,
    typer.Option(help="auto: the usual ports where free, others otherwise. default: insist.", rich_help_panel=_WHERE),
]
Broker = Annotated[
    BrokerKind,
    typer.Option(
        help="auto: mosquitto where installed, else amqtt; that keeps nothing: killed, it loses what it took.",
        rich_help_panel=_WHERE,
    ),
]
Bus = Annotated[
    BusKind,
    typer.Option(
        help="mqtt: a broker. ipc: Greengrass' local topics; the services are components of a core that we play.",
        rich_help_panel=_WHERE,
    ),
]
PlcStack = Annotated[
    Stack,
    typer.Option(help="OPC UA stack of the simulated PLC; all but asyncua are installed first.", rich_help_panel=_RUN),
]
Cameras = Annotated[
    CameraKind,
    typer.Option(
        help="http: snapshots. genicam: a simulated GigE camera a station, by software trigger. "
        "genicam-hardware: fired by the line as the part comes. Both need libaravis.",
        rich_help_panel=_RUN,
    ),
]
Gap = Annotated[
    float, typer.Option(help="Milliseconds from a part's id to its trigger; 0 is at once.", rich_help_panel=_RUN)
]
State = Annotated[
    Path | None, typer.Option(help="Write endpoints and processes there while ready.", rich_help_panel=_WHERE)
]


Attach = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Judge by a line that runs: the address of its simulated PLC.", rich_help_panel=_WHERE
    ),
]

_OF_OUR_OWN = ("stations", "deadline_ms", "state", "ports", "bus", "broker", "plc", "gap_ms", "cameras")
"""Options about a line that the command starts itself."""


_OF_ONE_RUN = ("parts", "stations", "state", "attach", "plc", "gap_ms")
"""Options that say nothing of a search for the capacity."""


def bench(
    context: typer.Context,
    parts: Annotated[int, typer.Option(help="How many parts to judge.", rich_help_panel=_RUN)] = 200,
    rate: Annotated[float, typer.Option(help="Parts a second, the whole line.", rich_help_panel=_RUN)] = 10.0,
    seed: Seed = 7,
    stations: Stations = None,
    deadline_ms: Deadline = 400.0,
    cameras: Cameras = CameraKind.http,
    plc: PlcStack = Stack.asyncua,
    gap_ms: Gap = 0.0,
    json: Annotated[Path | None, typer.Option(help="Write the summary there as JSON.", rich_help_panel=_WHERE)] = None,
    state: State = None,
    ports: Ports = PortMode.auto,
    bus: Bus = BusKind.mqtt,
    broker: Broker = BrokerKind.auto,
    attach: Attach = None,
    capacity: Annotated[
        bool,
        typer.Option(
            "--find-capacity",
            help="Look for the highest rate with nothing late or unknown, from --rate on.",
            rich_help_panel=_RUN,
        ),
    ] = False,
) -> None:
    """Run the simulated line: PLC, camera, broker, Triton and every service; judge parts; report.

    With --attach judge them by a line that runs already, in containers for instance. With --find-capacity look by
    bisection for the highest rate at which each part is judged in time, and say what keeps the line from more.

    Exit status 1 when a part has no verdict, more than one, a late one, a wrong one or another part's written back, or
    another part's picture.
    """
    if capacity:
        raise typer.Exit(
            _capacity(
                context,
                rate=rate,
                seed=seed,
                deadline_ms=deadline_ms,
                ports=ports,
                bus=bus,
                broker=broker,
                summary_file=json,
            )
        )
    if attach is not None:
        raise typer.Exit(_attached(context, attach, parts=parts, rate=rate, seed=seed, summary_file=json))
    from lineside_bench.options import Options  # noqa: PLC0415 - the help must not wait for OpenCV and asyncua
    from lineside_bench.runner import run_line  # noqa: PLC0415 - same

    options = Options(
        parts=parts,
        rate=rate,
        seed=seed,
        stations=stations,
        deadline_ms=deadline_ms,
        ports=ports,
        bus=bus,
        broker=broker,
        cameras=cameras,
        plc=plc,
        gap_ms=gap_ms,
    )
    raise typer.Exit(run_line.bench(options, summary_file=json, state_file=state))


def _capacity(
    context: typer.Context,
    *,
    rate: float,
    seed: int,
    deadline_ms: float,
    ports: PortMode,
    bus: BusKind,
    broker: BrokerKind,
    summary_file: Path | None,
) -> int:
    from lineside_bench.options import MAX_STATIONS, Options  # noqa: PLC0415 - the help must not wait for the HTTP client
    from lineside_bench.runner import capacity, run_line  # noqa: PLC0415 - same

    if given := _given(context, _OF_ONE_RUN):
        raise typer.BadParameter(f"{given}: about one run; leave it out with --find-capacity")
    options = Options(
        parts=None,
        rate=rate,
        seed=seed,
        stations=MAX_STATIONS,
        deadline_ms=deadline_ms,
        ports=ports,
        bus=bus,
        broker=broker,
        pictures=capacity.PICTURES,
    )
    return run_line.find_capacity(options, summary_file=summary_file)


def _given(context: typer.Context, names: tuple[str, ...]) -> str:
    """Return which of these options were given, as they are written."""
    sources = {name: context.get_parameter_source(name) for name in names}
    given = [name for name, source in sources.items() if source and source.name != "DEFAULT"]
    return ", ".join(f"--{name.replace('_', '-')}" for name in given)


def _attached(
    context: typer.Context, url: str, *, parts: int, rate: float, seed: int, summary_file: Path | None
) -> int:
    from lineside_bench.options import Options  # noqa: PLC0415 - the help must not wait for the HTTP client
    from lineside_bench.runner import attach  # noqa: PLC0415 - same

    if given := _given(context, _OF_OUR_OWN):
        raise typer.BadParameter(f"{given}: about a line that bench starts itself; leave it out with --attach")
    return attach.bench(url, Options(parts=parts, rate=rate, seed=seed), summary_file=summary_file)


def up(
    rate: Annotated[
        float, typer.Option(help="Parts a second; 0 for none, and no windows.", rich_help_panel=_RUN)
    ] = 0.5,
    seed: Seed = 7,
    stations: Stations = None,
    deadline_ms: Deadline = 400.0,
    cameras: Cameras = CameraKind.http,
    state: State = None,
    ports: Ports = PortMode.auto,
    bus: Bus = BusKind.mqtt,
    broker: Broker = BrokerKind.auto,
) -> None:
    """Keep the simulated line running until Ctrl-C, parts coming slowly."""
    from lineside_bench.options import Options  # noqa: PLC0415 - the help must not wait for OpenCV and asyncua
    from lineside_bench.runner import run_line  # noqa: PLC0415 - same

    options = Options(
        parts=None,
        rate=rate,
        seed=seed,
        stations=stations,
        deadline_ms=deadline_ms,
        ports=ports,
        bus=bus,
        broker=broker,
        cameras=cameras,
    )
    raise typer.Exit(run_line.up(options, state_file=state))


greengrass = typer.Typer(help="A core device on this machine: see deployments before AWS does.", no_args_is_help=True)


@greengrass.callback()
def _greengrass() -> None:
    """Keep `rehearse` a command of a group."""


class Manner(StrEnum):
    """Whose ways the core has."""

    classic = "classic"
    lite = "lite"


@greengrass.command("rehearse")
def rehearse(
    recipes: Annotated[Path, typer.Option(metavar="DIR", help="The folder with the recipes.", rich_help_panel=_RUN)],
    deployment: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="A deployment; several are carried out in order.", rich_help_panel=_RUN),
    ],
    manner: Annotated[
        Manner, typer.Option(help="Which nucleus is played; lite rolls nothing back.", rich_help_panel=_RUN)
    ] = Manner.classic,
    artifacts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the file artifacts of the recipes are.", rich_help_panel=_WHERE),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The core's folder, kept for the next time.", rich_help_panel=_WHERE),
    ] = None,
    thing: Annotated[str, typer.Option(help="The core device's name.", rich_help_panel=_WHERE)] = "bench",
    platform: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An attribute of the platform.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep the components running until Ctrl-C.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Carry deployments out as a core device would: components start, fail, come back, and a bad one is rolled back.

    Images are taken from the local engine, files from a folder; nothing is downloaded, and AWS is not asked.

    Exit status 0 where all deployments succeeded, 1 where one failed, 2 where recipes or deployments are wrong.
    """
    from lineside_bench.errors import BenchError  # noqa: PLC0415 - the help must not wait for the IPC server
    from lineside_bench.greengrass.core import rehearse as rehearsing  # noqa: PLC0415 - same
    from lineside_bench.greengrass.core.nucleus import Device  # noqa: PLC0415 - same

    try:
        attributes = rehearsing.platform(platform or [])
    except BenchError as error:
        raise typer.BadParameter(str(error)) from None
    asked = rehearsing.Rehearsal(
        recipes=recipes,
        deployments=deployment,
        manner=manner,
        root=root,
        device=Device(thing=thing, platform=attributes, files=artifacts),
        stay=stay,
    )
    raise typer.Exit(rehearsing.rehearse(asked))


@greengrass.command("cloud")
def cloud(
    devices: Annotated[int, typer.Option(min=1, max=10_000, help="Simulated core devices.", rich_help_panel=_RUN)] = 12,
    minute_s: Annotated[
        float,
        typer.Option(min=0, help="Seconds that a minute takes; 0: only `tick` moves time.", rich_help_panel=_RUN),
    ] = 1.0,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="TCP port; 0 for a free one.", rich_help_panel=_WHERE)
    ] = 0,
) -> None:
    """Play AWS' side for `lineside fleet`: Greengrass' and IoT's APIs over simulated core devices, until Ctrl-C.

    Prints the variables by which boto3, the AWS CLI and `lineside fleet` find it.
    """
    from lineside_bench.cloud import serving  # noqa: PLC0415 - botocore comes with lineside-bench[cloud]

    serving.serve(devices=devices, minute_s=minute_s, port=port)
