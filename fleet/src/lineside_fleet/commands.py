"""`lineside fleet`: rollouts in stages, the gate between them, drift of versions, the fleet's report."""

import typer

from lineside_fleet.report_command import report

fleet = typer.Typer(no_args_is_help=True, help="Update a fleet of core devices by evidence, and see what runs where.")
fleet.command("report")(report)
