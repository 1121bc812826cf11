"""Metrics leave the box: one scrape target for Prometheus, aggregated batches for CloudWatch."""
