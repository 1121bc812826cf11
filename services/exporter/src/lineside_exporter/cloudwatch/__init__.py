"""The line's results leave the box for Amazon CloudWatch: aggregated by period, never one call an inference.

    result topic -> collecting (Period) -> a closed period's blocks -> Outbox -> PutMetricData, or Greengrass' component

Off by default (`exporter.cloudwatch`).
"""
