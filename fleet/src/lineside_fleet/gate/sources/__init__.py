"""Where observations come from: exported evidence, Prometheus, CloudWatch."""
