"""A run of parts through a simulated PLC that runs already: `lineside bench --attach`.

The run is requested and polled by HTTP; progress and report are those of `lineside bench` with a line of its own.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from lineside_bench import exit_codes
from lineside_bench.errors import BenchError
from lineside_bench.options import Options
from lineside_bench.processes.interrupts import Interrupts
from lineside_bench.reporting import json_file, progress, report
from lineside_bench.reporting.tally import Tally

POLL_S = 0.25
ANSWER_S = 5.0
SILENT_S = 15.0
"""Seconds without an answer of the simulator after which the run is given up."""
SERVICE = "plc_sim"
_NOT_FOUND = 404


def bench(url: str, options: Options, *, summary_file: Path | None = None) -> int:
    """Do a run of `options.parts` at the simulator at `url`, report, and return the exit status."""
    return exit_codes.guarded(lambda console: _bench(console, url.rstrip("/"), options, summary_file))


async def _bench(console: Console, url: str, options: Options, summary_file: Path | None) -> int:
    options.check()
    if summary_file:
        json_file.check_writable(summary_file, "--json")
    interrupts = Interrupts(console.print)
    async with _client(url) as client:
        with interrupts.caught():
            run = await _begin(client, url, options)
            console.print(f"Run {run['id']} at {url}: {run['parts']} parts, {run['rate']:g}/s, seed {run['seed']}")
            poller = _RunPoller(client, f"{url}/v1/runs/{run['id']}")
            async with progress.shown(console, poller.tally, run["parts"]):
                if not await interrupts.until(poller.over()):
                    await poller.interrupt()
                    await poller.over()
    if poller.summary is None:
        raise BenchError(f"the run has no report: {poller.error}", remedy="See the log of plc-sim")
    console.print(report.render(poller.summary))
    if summary_file:
        json_file.write_json(summary_file, poller.summary)
    return exit_codes.status(signal=interrupts.number, faults=report.has_faults(poller.summary))


def _client(url: str) -> httpx.AsyncClient:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise _wrong(url, str(error)) from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise _wrong(url, "is no address")
    return httpx.AsyncClient(timeout=ANSWER_S, trust_env=False)


async def _begin(client: httpx.AsyncClient, url: str, options: Options) -> dict[str, Any]:
    """Ask for the run and return it as the simulator shows it."""
    try:
        about = await client.get(f"{url}/readyz")
        if _document(about).get("service") != SERVICE:
            raise _wrong(url, f"is no simulated PLC: /readyz answers {about.status_code} and says nothing of {SERVICE}")
        asked = {"parts": options.parts, "rate": options.rate, "seed": options.seed}
        answer = await client.post(f"{url}/v1/runs", json=asked)
    except httpx.HTTPError as error:
        raise BenchError(
            f"nothing answers at --attach {url} ({type(error).__name__})",
            remedy="Start the line (`docker compose up`), or give the address of plc-sim's control, "
            "http://127.0.0.1:8091 usually",
        ) from None
    if not answer.is_success:
        detail = _document(answer).get("detail", answer.text[:200])
        raise BenchError(
            f"the simulated PLC at {url} takes no run ({answer.status_code}): {detail}",
            remedy="Put that right, and ask again",
        )
    return _document(answer)


class _RunPoller:
    """A run of the simulator, polled until it is over."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self.tally = Tally()
        self.summary: dict[str, Any] | None = None
        self.error: str | None = None
        self._client = client
        self._url = url

    async def over(self) -> None:
        """Return when the run is over; raises BenchError where the simulator forgot it or went silent."""
        heard = time.monotonic()
        while True:
            try:
                answer = await self._client.get(self._url)
            except httpx.HTTPError as error:
                if time.monotonic() - heard > SILENT_S:
                    raise BenchError(
                        f"{self._url} has not answered for {SILENT_S:g} s ({type(error).__name__})",
                        remedy="See whether plc-sim still runs",
                    ) from None
            else:
                heard = time.monotonic()
                if answer.status_code == _NOT_FOUND:
                    raise BenchError(
                        "the simulated PLC no longer knows the run: it was started anew", remedy="Run again"
                    )
                if self._take(_document(answer)):
                    return
            await asyncio.sleep(POLL_S)

    async def interrupt(self) -> None:
        """End the run early."""
        try:
            await self._client.delete(self._url)
        except httpx.HTTPError as error:
            what = f"the run could not be ended at {self._url} ({type(error).__name__})"
            raise BenchError(what, remedy="See whether plc-sim still runs") from None

    def _take(self, run: Mapping[str, Any]) -> bool:
        """Take what the run is now; return whether it is over."""
        told = run.get("progress", {})
        for name in ("fed", "judged", "missing"):
            setattr(self.tally, name, told.get(name, 0))
        self.tally.verdicts = Counter(told.get("verdicts", {}))
        self.tally.latencies_ms = deque(told.get("latencies_ms", ()))
        self.summary, self.error = run.get("summary"), run.get("error")
        return run.get("state") == "over"


def _document(answer: httpx.Response) -> dict[str, Any]:
    """Return a JSON answer; nothing where it is none."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _wrong(url: str, why: str) -> BenchError:
    return BenchError(
        f"--attach {url} {why}", remedy="Give the address of plc-sim's control, http://127.0.0.1:8091 usually"
    )
