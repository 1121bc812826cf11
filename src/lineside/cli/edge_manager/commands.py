"""The work of `lineside edge-manager`: read what is given, ask the agent one thing, print it."""

import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from lineside.cli.edge_manager import formatting, tensor_files
from lineside.cli.edge_manager.agent import Agent, named, word
from lineside.cli.edge_manager.errors import BadInput, CommandFailed, TimedOut
from lineside.cli.edge_manager.location import Place, locate
from lineside.cli.edge_manager.segments import lent
from lineside.cli.edge_manager.tensor_files import Tensor, named_file
from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside.errors import SettingsError
from lineside.tables import visible

_FAILED = 1
_WRONG = 2
_POLL_S = 0.2
_ENCODINGS = {".csv": pb.CSV, ".json": pb.JSON}
"""Of auxiliary data by its file's suffix; all else is bytes."""


def list_models(config: Path | None, socket: Path | None, timeout_s: float, *, as_json: bool) -> None:
    """Print the models."""
    with _told(), Agent(locate(config, socket), timeout_s) as agent:
        models = agent.ask("ListModels").models
    document = {"models": [formatting.model(one) for one in models]}
    _say(formatting.as_json(document) if as_json else formatting.models_text(models))


def load(config: Path | None, socket: Path | None, timeout_s: float, name: str, path: str, *, as_json: bool) -> None:
    """Load a model and print it."""
    with _told(), Agent(locate(config, socket), timeout_s) as agent:
        model = agent.ask("LoadModel", url=path, **named(name)).model
    _say(formatting.as_json(formatting.model(model)) if as_json else formatting.model_text(model))


def unload(config: Path | None, socket: Path | None, timeout_s: float, name: str, *, as_json: bool) -> None:
    """Unload a model and say so."""
    with _told(), Agent(locate(config, socket), timeout_s) as agent:
        agent.ask("UnLoadModel", **named(name))
    _say(formatting.as_json({"unloaded": name}) if as_json else f"{visible(name)} is unloaded\n")


def describe(config: Path | None, socket: Path | None, timeout_s: float, name: str, *, as_json: bool) -> None:
    """Print one model."""
    with _told(), Agent(locate(config, socket), timeout_s) as agent:
        model = agent.ask("DescribeModel", **named(name)).model
    _say(formatting.as_json(formatting.model(model)) if as_json else formatting.model_text(model))


def predict(
    config: Path | None,
    socket: Path | None,
    timeout_s: float,
    name: str,
    inputs: Sequence[str],
    *,
    shm: bool,
    output: Path | None,
    repeat: int,
    as_json: bool,
) -> None:
    """Run a model `repeat` times, and print the last answer."""
    seconds = []
    with _told():
        place = locate(config, socket)
        tensors = [tensor_files.read(named_file(one)) for one in inputs]
        if not shm:
            _check_size(sum(one.array.nbytes for one in tensors), place, "lend them by --shm")
        with Agent(place, timeout_s) as agent, ExitStack() as segments:
            given = [_lent(one, place, segments) if shm else _sent(one) for one in tensors]
            for _ in range(repeat):
                started = time.perf_counter()
                answer = agent.ask("Predict", tensors=given, **named(name))
                seconds.append(time.perf_counter() - started)
        found = [tensor_files.answered(one) for one in answer.tensors]
        files = tensor_files.write(output, found) if output is not None else [None] * len(found)
    outputs = [formatting.output(one, path) for one, path in zip(found, files, strict=True)]
    latency = formatting.latency(seconds)
    if as_json:
        _say(formatting.as_json({"model": name, "outputs": outputs, "latency": latency}))
    else:
        _say(formatting.outputs_text(outputs) + (formatting.latency_text(latency) if repeat > 1 else ""))


def capture(
    config: Path | None,
    socket: Path | None,
    timeout_s: float,
    name: str,
    capture_id: str | None,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Have a capture kept, and print what became of it; exit status 1 where it failed."""
    key = capture_id if capture_id is not None else str(uuid.uuid4())
    with _told():
        place = locate(config, socket)
        tensors, files = _to_capture(inputs, place)
        output_tensors, output_files = _to_capture(outputs, place)
        everything = (*tensors, *files, *output_tensors, *output_files)
        _check_size(sum(len(one.byte_data) for one in everything), place, "capture less")
        with Agent(place, timeout_s) as agent:
            agent.ask(
                "CaptureData",
                model_handle=name,
                model_name=name,
                capture_id=key,
                input_tensors=tensors,
                inputs=files,
                output_tensors=output_tensors,
                outputs=output_files,
            )
            end = time.monotonic() + timeout_s
            while (found := _status(agent, key)) == "IN_PROGRESS" and wait:
                if time.monotonic() > end:
                    raise TimedOut(
                        f"capture {key} was not delivered within {timeout_s:g} s",
                        remedy=f"It is kept: `lineside edge-manager status {key}` asks again, `lineside spool status` "
                        "shows what waits and why",
                    )
                time.sleep(_POLL_S)
    _say_status(key, found, as_json=as_json)


def status(
    config: Path | None, socket: Path | None, timeout_s: float, capture_id: str | None, *, as_json: bool
) -> None:
    """Print what became of a capture, or whether the agent serves; exit status 1 where it failed, or does not."""
    with _told():
        place = locate(config, socket)
        with Agent(place, timeout_s) as agent:
            found = agent.health() if capture_id is None else _status(agent, capture_id)
    if capture_id is not None:
        _say_status(capture_id, found, as_json=as_json)
        return
    text = f"{place.socket}: {found}\n"
    if found != "SERVING":
        text += "Triton cannot be asked, or the service is stopping: `lineside doctor` says how they stand\n"
    _say(formatting.as_json({"socket": str(place.socket), "health": found}) if as_json else text)
    if found != "SERVING":
        raise typer.Exit(_FAILED)


def _sent(tensor: Tensor) -> pb.Tensor:
    return pb.Tensor(tensor_metadata=tensor.metadata, byte_data=tensor_files.values(tensor).tobytes())


def _lent(tensor: Tensor, place: Place, segments: ExitStack) -> pb.Tensor:
    """Return a tensor in shared memory that the socket's group may read: those who may ask the agent, and it itself."""
    if not tensor.array.nbytes:
        return _sent(tensor)  # there is no segment of no bytes
    handle = segments.enter_context(lent(tensor_files.values(tensor), place.socket.stat().st_gid))
    return pb.Tensor(tensor_metadata=tensor.metadata, shared_memory_handle=handle)


def _to_capture(given: Sequence[str], place: Place) -> tuple[list[pb.Tensor], list[pb.AuxiliaryData]]:
    """Return the tensors among files, and what goes as auxiliary data."""
    named_files = [named_file(one) for one in given]
    tensors = [tensor_files.read(one) for one in named_files if one.is_tensor]
    _check_size(sum(one.array.nbytes for one in tensors), place, "capture less")
    auxiliary = [
        pb.AuxiliaryData(
            name=one.name,
            encoding=_ENCODINGS.get(one.path.suffix.lower(), pb.NONE),
            byte_data=tensor_files.content(one.path, place.max_message_bytes),
        )
        for one in named_files
        if not one.is_tensor
    ]
    return [_sent(one) for one in tensors], auxiliary


def _check_size(size: int, place: Place, otherwise: str) -> None:
    if size > place.max_message_bytes:
        raise BadInput(
            f"what is given has {size:,} bytes, and the agent takes messages of {place.max_message_bytes:,}",
            remedy=f"Raise edge_manager.max_message_bytes, or {otherwise}",
        )


def _status(agent: Agent, capture_id: str) -> str:
    return word(pb.CaptureDataStatus, agent.ask("GetCaptureDataStatus", capture_id=capture_id).status)


def _say_status(capture_id: str, found: str, *, as_json: bool) -> None:
    text = f"{visible(capture_id)}: {found}\n"
    _say(formatting.as_json({"capture_id": capture_id, "status": found}) if as_json else text)
    if found not in {"SUCCESS", "IN_PROGRESS"}:
        raise typer.Exit(_FAILED)


@contextmanager
def _told() -> Iterator[None]:
    """End with the words and the exit status of what fails."""
    try:
        yield
    except SettingsError as error:
        text, code = "\n".join(error.problems), _WRONG
    except CommandFailed as error:
        text, code = str(error), error.exit_status
    else:
        return
    sys.stderr.write(f"{visible(text)}\n")
    raise typer.Exit(code)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
