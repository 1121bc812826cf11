"""Lineside: a signal on a production line becomes a model's verdict, at the machine, in time.

This distribution holds what two services must agree on, and the `lineside` command. `__all__` names the modules that
the services and the bench may import; the others serve these, or the command.

agreed between services   contract, described, bus, greengrass, spool, capture, edge_manager, heartbeats, standing,
                          plans, policy_documents
a service's life          service, command, connections, backoff, telemetry, errors, threads, reaping,
                          durable_files, machine, aws_errors, s3_download, buffered_http
the Greengrass components recipes
models as packages        packages, variants
settings and diagnosis    settings, addresses, documents, naming, wording, tables, secrecy, secret_files,
                          checks
"""

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "addresses",
    "aws_errors",
    "backoff",
    "buffered_http",
    "bus",
    "capture",
    "checks",
    "command",
    "connections",
    "contract",
    "described",
    "documents",
    "durable_files",
    "edge_manager",
    "errors",
    "greengrass",
    "heartbeats",
    "machine",
    "naming",
    "packages",
    "plans",
    "policy_documents",
    "reaping",
    "recipes",
    "s3_download",
    "secrecy",
    "secret_files",
    "service",
    "settings",
    "spool",
    "standing",
    "tables",
    "telemetry",
    "threads",
    "variants",
    "wording",
]
