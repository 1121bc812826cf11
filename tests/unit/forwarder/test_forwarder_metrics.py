from prometheus_client import CollectorRegistry

from lineside.spool import DestinationStatus, Status
from lineside_forwarder.metrics import Metrics, SpoolCollector

CLOUD = DestinationStatus(
    name="cloud",
    state="ONLINE",
    detail="",
    since_ms=0,
    waiting_records=3,
    waiting_bytes=300,
    oldest_ms=4_000,
    delivered_records=7,
    delivered_bytes=700,
    dead=1,
)
STATUS = Status(
    records=3,
    bytes=300,
    kept_records=0,
    kept_bytes=0,
    oldest_ms=4_000,
    unsealed=2,
    max_bytes=1000,
    free_bytes=5000,
    is_served=True,
    dropped={"age": 2},
    quarantined={"blob": 1},
    destinations=[CLOUD],
)


class Scene:
    def __init__(self) -> None:
        self.time = 0.0
        self.registry = CollectorRegistry()
        self.collector = SpoolCollector(lambda: 10_000, lambda: self.time)
        self.registry.register(self.collector)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"lineside_forwarder_{name}", labels)


def test_the_spools_figures() -> None:
    scene = Scene()
    scene.collector.put(STATUS)
    assert scene.value("spool_records") == 3
    assert scene.value("spool_oldest_seconds") == 6
    assert scene.value("spool_dropped_records_total", reason="age") == 2
    assert scene.value("spool_quarantined_total", what="blob") == 1
    assert scene.value("waiting_bytes", destination="cloud") == 300
    assert scene.value("delivered_bytes_total", destination="cloud") == 700
    assert scene.value("dead_batches", destination="cloud") == 1


def test_old_figures_are_absent() -> None:
    scene = Scene()
    assert scene.value("spool_records") is None
    scene.collector.put(STATUS)
    scene.time = SpoolCollector.LONGEST_S
    assert scene.value("spool_records") == 3
    scene.time += 0.1
    assert scene.value("spool_records") is None
    assert scene.value("waiting_records", destination="cloud") is None


def test_an_age_from_the_future_is_none() -> None:
    registry = CollectorRegistry()
    collector = SpoolCollector(lambda: 0, lambda: 0.0)
    registry.register(collector)
    collector.put(STATUS)
    assert registry.get_sample_value("lineside_forwarder_spool_oldest_seconds") == 0


def test_alarms_end_when_they_are_raised_no_more() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    def shown() -> dict[str, float]:
        (family,) = [each for each in registry.collect() if each.name == "lineside_forwarder_alarm"]
        return {sample.labels["reason"]: sample.value for sample in family.samples}

    metrics.alarms("cloud", ["no-bucket", "permission", "permission"])
    assert shown() == {"no-bucket": 1, "permission": 1}
    metrics.alarms("cloud", ["permission"])
    assert shown() == {"no-bucket": 0, "permission": 1}
    metrics.alarms("cloud", [])
    assert shown() == {"no-bucket": 0, "permission": 0}
