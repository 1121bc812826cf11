"""`lineside fleet`: rollouts in stages, the gate between them, drift of versions, the fleet's report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lineside_fleet.command_errors import told
from lineside_fleet.drift_command import drift
from lineside_fleet.gate_command import STATUS, BaselineVersion, Model, StagedVersion, gate
from lineside_fleet.report_command import report
from lineside_fleet.sample_size_command import sample_size

if TYPE_CHECKING:
    from lineside_fleet.rollout.judging import Gate
    from lineside_fleet.rollout.running import Runner

fleet = typer.Typer(no_args_is_help=True, help="Update a fleet of core devices by evidence, and see what runs where.")
fleet.command("drift")(drift)
fleet.command("gate")(gate)
fleet.command("report")(report)
fleet.command("sample-size")(sample_size)

HOLD, BAD = STATUS["hold"], STATUS["stop"]
"""Exit statuses: not yet; and a stage that failed, or a version that the gate stopped."""

File = Annotated[str, typer.Argument(metavar="ROLLOUT", help="The rollout file (YAML): a path, or s3://bucket/key.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Take the lock of a command on another machine that has ended.")
]


def _runner(file: str, *, take_over: bool = False) -> "Runner":
    from lineside_fleet.aws.clients import Aws  # noqa: PLC0415 - the help must not wait for boto3
    from lineside_fleet.rollout import files  # noqa: PLC0415 - same
    from lineside_fleet.rollout.running import Runner  # noqa: PLC0415 - same

    aws = Aws()
    rollout, folder = files.read(file, aws)
    return Runner(rollout, folder, aws=aws, take_over=take_over)


@fleet.command("plan")
def plan(file: File, as_json: AsJson = False) -> None:
    """Show what a rollout would do, and everything that is wrong with it; change nothing."""
    with told():
        from lineside_fleet.rollout import showing  # noqa: PLC0415 - the help must not wait for boto3

        typer.echo((showing.plan_json if as_json else showing.plan_text)(_runner(file).plan()), nl=False)


@fleet.command("start")
def start(file: File, take_over: TakeOver = False) -> None:
    """Plan, and deploy to the first stage. Run again after an interruption, it goes on."""
    with told():
        runner = _runner(file, take_over=take_over)
        state = runner.start()
        stage = state.current
        typer.echo(f"rollout {state.name} is {state.phase}: stage {stage.name}, {len(stage.things)} devices")
        typer.echo(f"state: {runner.rollout.state}")


@fleet.command("status")
def status(file: File, as_json: AsJson = False) -> None:
    """Show how a rollout stands; exit status 1 where its stage failed."""
    with told():
        from lineside_fleet.rollout import showing  # noqa: PLC0415 - the help must not wait for boto3

        runner = _runner(file)
        state, stands = runner.status()
        why = runner.why_failed(state.current) if stands.failed else []
        shown = showing.status_json if as_json else showing.status_text
        typer.echo(shown(state, stands, why), nl=False)
        if stands.state == "failed" and state.phase == "running":
            raise typer.Exit(BAD)


@fleet.command("evaluate")
def evaluate(
    file: File,
    baseline: Annotated[
        list[Path] | None, typer.Option(metavar="PLACE", help="Records of the version before: files or folders.")
    ] = None,
    staged: Annotated[
        list[Path] | None, typer.Option(metavar="PLACE", help="Records of the staged version; may be the same.")
    ] = None,
    model: Model = None,
    baseline_version: BaselineVersion = None,
    staged_version: StagedVersion = None,
    prometheus: Annotated[
        str | None, typer.Option(metavar="URL", help="Instead of records: a Prometheus that scrapes the boxes.")
    ] = None,
    cloudwatch: Annotated[
        str | None, typer.Option(metavar="NAMESPACE", help="Instead of records: what the boxes send to CloudWatch.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the gate's report there: JSON, picture, page.")
    ] = None,
    take_over: TakeOver = False,
) -> None:
    """Ask whether the stage under way may go on: exit status 0 promote, 1 stop, 3 hold.

    From a store of metrics the stage's own devices are compared with themselves, at the same hours before the stage.
    """
    with told():
        from lineside.tables import visible  # noqa: PLC0415 - the help must not wait for boto3
        from lineside_fleet.errors import Refused  # noqa: PLC0415 - same

        places = [*(baseline or ()), *(staged or ())]
        if sum(map(bool, (places, prometheus, cloudwatch))) > 1:
            raise Refused("evaluate: one source at a time", remedy="Give records, --prometheus or --cloudwatch")
        if (prometheus or cloudwatch) and not model:
            raise Refused("evaluate: a store of metrics has several models", remedy="Name yours by --model")
        runner = _runner(file, take_over=take_over)
        settings = runner.rollout.gate
        judge: Gate | None = None
        if settings is not None and baseline and staged:
            from lineside_fleet.rollout.evidence_gate import EvidenceGate  # noqa: PLC0415 - nor for scipy

            judge = EvidenceGate(settings, baseline, staged, model, baseline_version, staged_version, out)
        elif settings is not None and model and (prometheus or cloudwatch):
            from lineside_fleet.rollout import metrics_gate  # noqa: PLC0415 - same

            observe = (
                metrics_gate.from_prometheus(prometheus, model)
                if prometheus
                else metrics_gate.from_cloudwatch(cloudwatch or "", model, settings)
            )
            judge = metrics_gate.MetricsGate(settings, observe, runner.now, out)
        judged = runner.evaluate(judge)
        typer.echo(visible("\n".join([judged.verdict, *judged.sentences])))
        if judged.verdict != "promote":
            raise typer.Exit(STATUS[judged.verdict])


@fleet.command("promote")
def promote(
    file: File,
    because: Annotated[
        str, typer.Option(help="Promote without the gate's verdict, for this reason, which is remembered.")
    ] = "",
    take_over: TakeOver = False,
) -> None:
    """Deploy the same versions to the next stage, at last to the whole target; exit status 3 while it is under way."""
    with told():
        state, done = _runner(file, take_over=take_over).promote(because)
        typer.echo(f"rollout {state.name}: {done}")
        if state.current.phase == "deployed" and "under way" in done:
            raise typer.Exit(HOLD)


@fleet.command("abort")
def abort(
    file: File,
    because: Annotated[str, typer.Option(help="Why; it is remembered.")] = "by hand",
    take_over: TakeOver = False,
) -> None:
    """Cancel what devices have not begun, and leave what is there."""
    with told():
        state = _runner(file, take_over=take_over).abort(because)
        typer.echo(f"rollout {state.name} is {state.phase}; `lineside fleet rollback` takes back what was deployed")


@fleet.command("rollback")
def rollback(
    file: File,
    because: Annotated[str, typer.Option(help="Why; it is remembered.")] = "by hand",
    take_over: TakeOver = False,
) -> None:
    """Give each target its set of before again, the newest first; exit status 1 where one had to be left."""
    with told():
        state, left = _runner(file, take_over=take_over).rollback(because)
        typer.echo(f"rollout {state.name} is {state.phase}")
        for each in left:
            typer.echo(each, err=True)
        if left:
            raise typer.Exit(BAD)


@fleet.command("on-approval")
def on_approval(
    event: Annotated[Path, typer.Argument(metavar="EVENT", help="EventBridge's event, as JSON.")],
    approvals: Annotated[
        Path, typer.Option(metavar="FILE", help="What is done with which group of the Model Registry (YAML).")
    ] = Path("approvals.yaml"),
) -> None:
    """Pack, sign and publish a model that was approved in SageMaker's Model Registry, and start its rollout.

    The same event again does nothing more. Exit status 2 where it approves nothing that is to roll out.
    """
    with told():
        from lineside.documents import read_json  # noqa: PLC0415 - the help must not wait for boto3
        from lineside_fleet.approval.settings import read_approvals  # noqa: PLC0415 - same
        from lineside_fleet.approval.starting import on_approval as start_approved  # noqa: PLC0415 - same
        from lineside_fleet.errors import Refused  # noqa: PLC0415 - same

        try:
            given = read_json(event.read_bytes())
        except (OSError, ValueError) as error:
            raise Refused(f"{event} is no event: {error}", remedy="Give EventBridge's event as JSON") from None
        where = start_approved(given, read_approvals(approvals), say=typer.echo)
        typer.echo(f"rollout file: {where}")
