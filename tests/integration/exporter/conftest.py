"""The simulated CloudWatch."""

from tests.support.aws import aws_environment, front, moto_server

__all__ = ["aws_environment", "front", "moto_server"]
