"""Our configuration in the real Alertmanager: valid, and quiet about what follows from something else."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.support.paths import ROOT
from tests.support.variables import missing
from tests.support.waiting import HANG_S, block_until

FOLDER = ROOT / "docker" / "alertmanager"
IMAGE = os.environ.get("ALERTMANAGER_IMAGE", "prom/alertmanager:latest")
CONFIG = "/etc/alertmanager/alertmanager.yml"


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def lacking() -> str | None:
    """Return why no Alertmanager can be run here, None where one can."""
    if shutil.which("docker") is None:
        return "docker is not on PATH"
    asked = subprocess.run(
        ["docker", "image", "inspect", IMAGE], capture_output=True, text=True, timeout=HANG_S, check=False
    )
    return asked.stderr.strip() or f"no image {IMAGE}" if asked.returncode else None


@pytest.fixture(scope="module")
def alertmanager() -> Iterator[str]:
    """Return the address of a running Alertmanager with our configuration."""
    why = lacking()
    if why is not None:
        missing("docker", why)
    mount = f"type=bind,source={FOLDER},target=/etc/alertmanager,readonly"
    name = docker(
        *("run", "--detach", "--rm", "--read-only", "--tmpfs", "/tmp:mode=1777", "--mount", mount),
        *("--publish", "127.0.0.1::9093", IMAGE),
        *(f"--config.file={CONFIG}", "--storage.path=/tmp/alertmanager", "--cluster.listen-address="),
    )
    try:
        url = f"http://{docker('port', name, '9093').splitlines()[0]}"

        def ready() -> bool | None:
            try:
                return httpx.get(f"{url}/-/ready", trust_env=False).is_success or None
            except httpx.HTTPError:
                return None

        block_until(ready)
        checked = docker("exec", name, "amtool", "check-config", CONFIG)
        assert "SUCCESS" in checked
        yield url
    finally:
        docker("rm", "--force", name)


def settles(url: str, *alerts: tuple[dict[str, str], bool]) -> None:
    """Raise alerts, and wait until Alertmanager holds back those that are said to be held back, and no other."""
    body = [{"labels": {**labels, "severity": "critical"}} for labels, _held in alerts]
    httpx.post(f"{url}/api/v2/alerts", json=body, trust_env=False).raise_for_status()
    wanted = {labels["alertname"]: held for labels, held in alerts}
    thing = alerts[0][0]["thing"]

    def as_wanted() -> bool | None:
        found = httpx.get(f"{url}/api/v2/alerts", trust_env=False).json()
        mine = [one for one in found if one["labels"]["thing"] == thing]
        return {one["labels"]["alertname"]: bool(one["status"]["inhibitedBy"]) for one in mine} == wanted or None

    block_until(as_wanted)


def test_of_a_box_that_cannot_be_seen_only_that_is_told(alertmanager: str) -> None:
    settles(
        alertmanager,
        ({"alertname": "LinesideBoxNotScraped", "thing": "press-1"}, False),
        ({"alertname": "LinesideDrift", "thing": "press-1"}, True),
    )
    settles(alertmanager, ({"alertname": "LinesideDrift", "thing": "press-2"}, False))


def test_a_trigger_without_verdicts_is_not_called_late_as_well(alertmanager: str) -> None:
    settles(
        alertmanager,
        ({"alertname": "LinesideNoVerdicts", "thing": "press-3", "trigger": "station-1"}, False),
        ({"alertname": "LinesideVerdictsLate", "thing": "press-3", "trigger": "station-1"}, True),
        ({"alertname": "LinesideLatencyNearDeadline", "thing": "press-3", "trigger": "station-2"}, False),
    )


def test_a_full_spool_is_not_called_filling_as_well(alertmanager: str) -> None:
    settles(
        alertmanager,
        ({"alertname": "LinesideSpoolFull", "thing": "press-4"}, False),
        ({"alertname": "LinesideSpoolFilling", "thing": "press-4"}, True),
    )
