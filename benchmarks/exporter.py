"""One scrape of the box through the exporter, against asking each service when the scrape comes: milliseconds.

Four services and Triton's metrics, as one process of peers, with 200 and with 2,000 series in all; then one of the five
takes requests and answers none. The exporter is a process with its settings as they are, but that it reads every
second instead of every five: more in the way of a scrape. A scrape is a GET of `/metrics` on a kept connection, all
read. `naive` is what one would write first: GET each service with httpx one after the other, read the texts with
prometheus_client, add the label, write one text. Of what hangs it waits as long as the exporter, 2 s.
"""

import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from report import arguments, free_ports, percentiles, table, write

NAMES = ("inference", "topic-bridge", "opcua-bridge", "forwarder", "triton")
TIMEOUT_S = 2.0
START_S = 30.0
PEERS = Path(__file__).with_name("exporter_peers.py")


@contextlib.contextmanager
def process(*command: str) -> Iterator[None]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINESIDE_")}
    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.terminate()
        running.wait(20)


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if condition():
                return
        time.sleep(0.02)
    sys.exit(f"the exporter does not show its sources within {START_S:g} s")


class Exporter:
    """Scrapes the exporter."""

    def __init__(self, port: int) -> None:
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def scrape(self) -> bytes:
        try:
            self._link.request("GET", "/metrics")
            return self._link.getresponse().read()
        except OSError:
            self._link.close()
            raise

    def shows(self, sources: list[str]) -> bool:
        text = self.scrape().decode()
        return all(f'source_up{{service="exporter",source="{name}"}} 1.0' in text for name in sources)


class Naive:
    """Asks everybody when it is asked."""

    def __init__(self, urls: dict[str, str]) -> None:
        self._urls = urls
        self._client = httpx.Client(trust_env=False, timeout=TIMEOUT_S)

    def collect(self) -> Iterator:
        found = {}
        for name, url in self._urls.items():
            try:
                text = self._client.get(f"{url}/metrics").raise_for_status().text
            except httpx.HTTPError:
                continue
            for family in text_string_to_metric_families(text):
                known = found.setdefault(family.name, family)
                labelled = [each._replace(labels={"service": name, **each.labels}) for each in family.samples]
                known.samples = labelled if known is family else known.samples + labelled
        yield from found.values()

    def scrape(self) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)


def times(scrape: Callable[[], bytes], number: int) -> list[float]:
    """Return how many milliseconds each of so many scrapes took, a little apart so that readings fall between them."""
    found = []
    for _ in range(number):
        began = time.perf_counter()
        scrape()
        found.append(1000 * (time.perf_counter() - began))
        time.sleep(0.005)
    return found


def measure(series: int, number: int, *, hung: bool) -> dict[str, dict[str, float]]:
    """Return the percentiles of the exporter and of the naive way."""
    own, *ports = free_ports(1 + len(NAMES))
    urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(NAMES, ports, strict=True)}
    section = {
        "http": {"port": own},
        "services": {name: url for name, url in urls.items() if name != "triton"},
        "triton": {"metrics_url": urls["triton"]},
        "period_s": 1.0,
        "timeout_s": TIMEOUT_S,
    }
    last = f"{'!' if hung else ''}{ports[0]}"
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.yaml"
        settings.write_text(yaml.safe_dump({"exporter": section}), encoding="utf-8")
        peers = (str(PEERS), str(series // len(NAMES)), last, *map(str, ports[1:]))
        with process(sys.executable, *peers), process(sys.executable, "-m", "lineside_exporter", str(settings)):
            exporter = Exporter(own)
            wait(lambda: exporter.shows(list(NAMES[1 if hung else 0 :])))
            ours = times(exporter.scrape, number)
            text = exporter.scrape().decode()
            shown = sum(line.startswith("lineside_peer_") for line in text.splitlines())
            expected = series - (series // len(NAMES) if hung else 0)
            if shown != expected:
                sys.exit(f"the exporter shows {shown} series of {expected}")
            naive = times(Naive(urls).scrape, max(3, number // 100) if hung else number // 4)
    return {"exporter": percentiles(ours), "naive": percentiles(naive)}


def main() -> None:
    options = arguments(__doc__ or "")
    number = 300 if options.quick else 2000
    found = {}
    for name, series, hung in (("200", 200, False), ("2000", 2000, False), ("hung", 2000, True)):
        for side, figures in measure(series, number, hung=hung).items():
            found[f"{side} {name}"] = figures
    table(found, unit="ms")
    write(
        options.json,
        figures={
            "scrape_p99_ms_200": found["exporter 200"]["p99"],
            "scrape_p99_ms_2000": found["exporter 2000"]["p99"],
            "hung_p99_ms": found["exporter hung"]["p99"],
            "all_ms": found,
            "timeout_s": TIMEOUT_S,
        },
        ratios={
            name: found[f"naive {name}"]["p99"] / found[f"exporter {name}"]["p99"] for name in ("200", "2000", "hung")
        },
    )


if __name__ == "__main__":
    main()
