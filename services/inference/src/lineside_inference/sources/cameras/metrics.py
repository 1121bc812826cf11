"""What the cameras count, read when asked."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lineside_inference.sources.cameras import Cameras


class CameraCollector(Collector):
    """Each camera's frames by what became of them, transport; age of the newest and temperature, absent without one.

    Where the line fires it also what came of frames and parts, and how well their instants are known.
    """

    def __init__(self, cameras: Cameras) -> None:
        self._cameras = cameras

    def collect(self) -> Iterator[Metric]:
        """Yield gauges and counters; the label `camera` is bounded by the settings."""
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
            "Of genicam cameras: incomplete frames; packets received, missing (at most), sent again, dropped at the "
            "socket, without a free buffer (underruns); control lost; where the line fires it, its clock set.",
            labels=["camera", "event"],
        )
        matching = CounterMetricFamily(
            "lineside_inference_camera_matching",
            "Where the line fires the camera: frames and parts by what came of both (matched, without_request, "
            "without_frame, incomplete, ambiguous, inexact, late, unplaced).",
            labels=["camera", "outcome"],
        )
        errors = GaugeMetricFamily(
            "lineside_inference_camera_clock_error_seconds",
            "Where the line fires the camera: by how much the instant of the newest frame may be wrong.",
            labels=["camera"],
        )
        offsets = GaugeMetricFamily(
            "lineside_inference_camera_trigger_offset_seconds",
            "Where the line fires the camera: by how much the newest part's exposure was later than expected.",
            labels=["camera"],
        )
        temperatures, limits = (
            GaugeMetricFamily(f"lineside_inference_camera_temperature_{name}celsius", text, labels=["camera"])
            for name, text in (
                ("", "Of genicam cameras that tell it: how hot they are inside."),
                ("limit_", "Above this a camera is too hot (hot_celsius); for those that tell their temperature."),
            )
        )
        for camera in self._cameras:
            if camera.temperature is not None:
                temperatures.add_metric([camera.name], camera.temperature)
                limits.add_metric([camera.name], camera.settings.hot_celsius)
            for outcome, count in camera.matching.items():
                matching.add_metric([camera.name, outcome], count)
            if camera.clock_error_s is not None:
                errors.add_metric([camera.name], camera.clock_error_s)
            if camera.trigger_offset_s is not None:
                offsets.add_metric([camera.name], camera.trigger_offset_s)
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
        yield temperatures
        yield limits
        yield matching
        yield errors
        yield offsets
