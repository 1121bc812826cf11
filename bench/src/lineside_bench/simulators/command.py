"""`lineside-plc-sim` and `lineside-camera-sim`: a simulator, or a word to a running one; light until it shall run."""

from lineside import command


def plc_sim() -> None:
    """Run the simulated PLC until SIGTERM, or answer."""
    command.run("plc_sim", _serve_plc)


def camera_sim() -> None:
    """Run the simulated cameras until SIGTERM, or answer."""
    command.run("camera_sim", _serve_cameras)


def _serve_plc() -> None:
    from lineside_bench.simulators.plc_sim import main as serve  # noqa: PLC0415 - `health` must not wait for all of it

    serve()


def _serve_cameras() -> None:
    from lineside_bench.simulators.camera_sim import main as serve  # noqa: PLC0415 - same

    serve()
