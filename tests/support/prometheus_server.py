"""A real Prometheus on loopback, whose past promtool writes of OpenMetrics."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.ports import free_port
from tests.support.variables import missing
from tests.support.waiting import HANG_S, block_until

Samples = Sequence[tuple[str, float, float]]
"""Name with labels, value, and seconds since 1970; each series in the order of time."""


def openmetrics(families: Mapping[str, tuple[str, Samples]]) -> str:
    """Return the text of families: by name their type and samples."""
    lines = []
    for name, (kind, samples) in families.items():
        lines.append(f"# TYPE {name} {kind}\n")
        lines += [f"{series} {value:g} {moment}\n" for series, value, moment in samples]
    return f"{''.join(lines)}# EOF\n"


@contextmanager
def prometheus_with(past: str, folder: Path) -> Iterator[str]:
    """Serve a past of OpenMetrics; yield the address."""
    program, promtool = shutil.which("prometheus"), shutil.which("promtool")
    if program is None or promtool is None:
        missing("promtool", "prometheus and promtool are not on PATH (Debian: apt install prometheus)")
    assert program is not None
    assert promtool is not None
    port = free_port()
    (folder / "past").write_text(past)
    (folder / "prometheus.yml").write_text("{}")
    made = [promtool, "tsdb", "create-blocks-from", "openmetrics", folder / "past", folder / "data"]
    subprocess.run(made, check=True, capture_output=True, timeout=HANG_S)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        block_until(lambda: _is_ready(url), lambda: Path(folder / "log").read_text())
        yield url
    finally:
        process.terminate()
        process.wait(HANG_S)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False, timeout=HANG_S).status_code == 200
    except httpx.HTTPError:
        return False
