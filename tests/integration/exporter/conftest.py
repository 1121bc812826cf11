"""The simulated CloudWatch."""

from tests.integration.aws import aws_environment, front, moto_server

__all__ = ["aws_environment", "front", "moto_server"]
