"""What is counted of deployments."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from lineside_deployer.records import Record


class Metrics:
    """The deployer's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.looks = Counter(
            "lineside_deployer_looks_total",
            "Looks at the desired state, by what came of them: read, away, refused.",
            ["outcome"],
            registry=registry,
        )
        self.deployments = Counter(
            "lineside_deployer_deployments_total",
            "Deployments that ended, by what became of them: success or fail.",
            ["outcome"],
            registry=registry,
        )
        self.models = Gauge(
            "lineside_deployer_model_ok",
            "1 where the latest deployment of a model succeeded, 0 where it failed.",
            ["model", "desired"],
            registry=registry,
        )
        self.fetched = Counter(
            "lineside_deployer_fetched_bytes_total", "Bytes of packages that came.", registry=registry
        )
        self.crashes = Gauge(
            "lineside_deployer_crashes",
            "Ends of this service that were no stop, since its database began.",
            registry=registry,
        )
        self.heartbeats = Counter(
            "lineside_deployer_heartbeats_total",
            "Heartbeats, by what became of them: sent, replaced by a later one while nobody took them, or refused.",
            ["outcome"],
            registry=registry,
        )

    def show(self, record: Record) -> None:
        """Show each model of a deployment that has ended."""
        for each in record.models:
            for desired in ("DEPLOY", "UNDEPLOY"):
                if desired != each.desired and (each.handle, desired) in self.models._metrics:  # noqa: SLF001 - no public way
                    self.models.remove(each.handle, desired)
            self.models.labels(each.handle, each.desired).set(each.status == "SUCCESS")
