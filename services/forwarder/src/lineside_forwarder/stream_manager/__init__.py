"""AWS Greengrass Stream Manager as a destination: files on this box, and tasks in a stream that export them to S3."""

from lineside_forwarder.stream_manager.destination import StreamManagerDestination

__all__ = ["StreamManagerDestination"]
