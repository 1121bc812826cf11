"""`lineside fleet gate`: two exported evidences, judged without a rollout."""

from pathlib import Path
from typing import Annotated

import typer

STATUS = {"promote": 0, "stop": 1, "hold": 3}
"""Exit statuses; 2 is an error."""

Model = Annotated[str | None, typer.Option(metavar="NAME", help="The model, where the records are of several.")]
BaselineVersion = Annotated[str | None, typer.Option(metavar="VERSION", help="Its version before.")]
StagedVersion = Annotated[str | None, typer.Option(metavar="VERSION", help="Its staged version.")]


def gate(
    baseline: Annotated[
        Path, typer.Argument(metavar="BASELINE", help="Records of the version before: file or folder.")
    ],
    staged: Annotated[Path, typer.Argument(metavar="STAGED", help="Records of the staged version; may be the same.")],
    *,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML with the section gate:; the defaults where absent.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write gate.json, gate.png and gate.html there.")
    ] = None,
    model: Model = None,
    baseline_version: BaselineVersion = None,
    staged_version: StagedVersion = None,
    look: Annotated[
        int | None, typer.Option(min=1, help="Which look at this stage it is; where absent the only one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the evaluation as JSON.")] = False,
) -> None:
    """Judge a staged version by exported evidence: promote, hold or stop, with the numbers.

    Exit status 0 for promote, 3 for hold, 1 for stop, 2 where the evidence or the settings cannot be used.
    """
    from lineside.errors import LinesideError  # noqa: PLC0415 - same
    from lineside.tables import visible  # noqa: PLC0415 - the help must not wait for scipy
    from lineside_fleet.gate import deciding, report, settings_file  # noqa: PLC0415 - same
    from lineside_fleet.gate.sources import evidence  # noqa: PLC0415 - same

    try:
        asked = settings_file.read(settings)
        if look is None:
            asked, look = asked.model_copy(update={"looks": 1}), 1
        before = evidence.observe([baseline], model=model, version=baseline_version)
        after = evidence.observe([staged], model=model, version=staged_version)
        found = deciding.evaluate(asked, before, after, look)
        written = report.write(found, out) if out else []
    except LinesideError as error:
        typer.echo(visible(f"lineside fleet gate: {error}"), err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(found.model_dump_json(by_alias=True, indent=2))
    else:
        lines = [found.sentence, *(problem.sentence for problem in found.problems[1:])]
        lines += [f"  {metric.verdict:<8}{metric.sentence}" for metric in found.metrics]
        lines += [f"  note    {note}" for side in (found.baseline, found.staged) for note in side.remarks]
        lines += [f"written: {path}" for path in written]
        typer.echo(visible("\n".join(lines)))
    raise typer.Exit(STATUS[found.verdict])
