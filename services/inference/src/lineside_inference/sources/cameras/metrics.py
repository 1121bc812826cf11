"""What the cameras count, read when asked."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lineside_inference.sources.cameras import Cameras


class CameraCollector(Collector):
    """Age of each camera's newest frame, absent where it has none, its frames by what became of them, and transport."""

    def __init__(self, cameras: Cameras) -> None:
        self._cameras = cameras

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge and two counters; the label `camera` is bounded by the settings."""
        ages = GaugeMetricFamily(
            "lineside_inference_camera_frame_age_seconds", "Age of the camera's newest frame.", labels=["camera"]
        )
        frames = CounterMetricFamily(
            "lineside_inference_camera_frames",
            "Frames of a camera: kept, skipped above most_fps, discarded in warm-up, refused as unusable.",
            labels=["camera", "outcome"],
        )
        transport = CounterMetricFamily(
            "lineside_inference_camera_transport",
            "Of genicam cameras: frames that were incomplete, packets missing (at most) and sent again, control lost.",
            labels=["camera", "event"],
        )
        for camera in self._cameras:
            for event, count in camera.transport.items():
                transport.add_metric([camera.name, event], count)
            age = camera.newest_age_s()
            if age is not None:
                ages.add_metric([camera.name], age)
            for outcome, count in camera.frames.items():
                frames.add_metric([camera.name, outcome], count)
        yield ages
        yield frames
        yield transport
