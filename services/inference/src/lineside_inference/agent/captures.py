"""CaptureData and GetCaptureDataStatus, which are not there yet."""

from lineside_inference.agent.protocol import agent_pb2 as pb
from lineside_inference.errors import CallUnsupported


class Captures:
    """Takes captures into the spool."""

    async def capture(self, _request: pb.CaptureDataRequest) -> pb.CaptureDataResponse:
        """Refuse: raises CallUnsupported."""
        raise CallUnsupported(
            "CaptureData is not served over this socket yet", remedy="Use POST /v1/capture of the inference service"
        )

    async def status(self, _request: pb.GetCaptureDataStatusRequest) -> pb.GetCaptureDataStatusResponse:
        """Refuse: raises CallUnsupported."""
        raise CallUnsupported(
            "GetCaptureDataStatus is not served over this socket yet",
            remedy="Use GET /v1/capture/<id> of the inference service",
        )
