"""`lineside fleet sample-size`: how many parts a gate needs before it can show anything."""

from pathlib import Path
from typing import Annotated

import typer

POWERS = (0.8, 0.9)


def sample_size(
    *,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML with the section gate:; the defaults where absent.")
    ] = None,
    devices: Annotated[int, typer.Option(min=2, max=100_000, help="Devices of the stage.")] = 12,
    errors: Annotated[float, typer.Option(min=1e-5, max=0.5, help="Share of errors before, as far as known.")] = 0.002,
    unknowns: Annotated[float, typer.Option(min=1e-5, max=0.5, help="Share of unknowns before.")] = 0.01,
    slow: Annotated[
        float, typer.Option(min=1e-5, max=0.5, help="Share over the limit of gate.slow before, where that is asked.")
    ] = 0.05,
    spread: Annotated[
        float, typer.Option(min=0.01, max=3, help="Standard deviation of the logarithm of one device's latency.")
    ] = 0.35,
) -> None:
    """Say how many parts each side needs, for an equal version to be promoted and a worse one to be stopped."""
    from lineside.errors import LinesideError  # noqa: PLC0415 - same
    from lineside.tables import table, visible  # noqa: PLC0415 - the help must not wait for scipy
    from lineside_fleet.gate import settings_file  # noqa: PLC0415 - same
    from lineside_fleet.gate.metrics import asked  # noqa: PLC0415 - same
    from lineside_fleet.gate.sample_size import for_latency, for_rate, levels_of  # noqa: PLC0415 - same

    try:
        gate = settings_file.read(settings)
    except LinesideError as error:
        typer.echo(visible(f"lineside fleet sample-size: {error}"), err=True)
        raise typer.Exit(2) from None
    promote, stop = levels_of(gate, sum(metric.tests for metric in asked(gate)))
    rows: list[tuple[str, str, int | None, int | None]] = []
    rates = (("errors", gate.errors, errors), ("unknowns", gate.unknowns, unknowns), ("slow", gate.slow, slow))
    for name, rate, share in rates:
        if rate:
            equal, double = (
                [for_rate(rate, share, worse=worse, power=power, level=level, devices=devices) for power in POWERS]
                for worse, level in ((1.0, promote), (2.0, stop))
            )
            rows.append((f"{name} {100 * share:g} %", "equal: promoted", equal[0], equal[1]))
            rows.append((f"{name} {100 * share:g} %", "doubled: stopped", double[0], double[1]))
    for share in gate.latency.quantiles if gate.latency else ():
        equal, longer = (
            [for_latency(gate.latency, share, spread, slower=s, power=p, level=at, devices=devices) for p in POWERS]
            for s, at in ((0.0, promote), (0.1, stop))
            if gate.latency
        )
        rows.append((f"latency p{100 * share:g}", "equal: promoted", equal[0], equal[1]))
        rows.append((f"latency p{100 * share:g}", "10 % slower: stopped", longer[0], longer[1]))
    heads = ("metric", "truth", "power 0.8", "power 0.9")
    cells = [(name, truth, *("cannot" if each is None else f"{each:,}" for each in few)) for name, truth, *few in rows]
    typer.echo(table(heads, cells, right=heads[2:]), nl=False)
    typer.echo(f"parts of each side, over {devices} devices; for events in bursts, at the last of {gate.looks} looks")
