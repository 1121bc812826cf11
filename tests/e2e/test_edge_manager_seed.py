"""Captures of the agent's clients to their destination: the published example's, and those of clients under a kill."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import yaml

from lineside_bench.processes.process import clean_environment
from tests.support.agent_client import AgentClient, code_of
from tests.support.agent_service import agent_settings
from tests.support.paths import ROOT
from tests.support.ports import free_ports
from tests.support.simulated_s3 import KEYS, Store
from tests.support.triton_server import TritonServer, running_triton
from tests.support.variables import LONG
from tests.support.waiting import HANG_S, block_until

EXAMPLE = json.loads((ROOT / "tests/fixtures/edge_manager/documented-example/component.json").read_text())
MODEL = "surface-defect"
IN_PROGRESS, SUCCESS = 2, 1
LARGE = np.arange(2000, dtype=np.float32).reshape(1, 2000)
KILLS = 20 if LONG else 2
SMALL = np.array([0.25], np.float32)


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[TritonServer]:
    with running_triton(tmp_path) as server:
        yield server


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.close()


@pytest.fixture
def start(tmp_path: Path, store: Store) -> Iterator[Callable[[str, Path], subprocess.Popen[bytes]]]:
    """Start a service by its module's name, with the simulated store as its S3."""
    started: list[subprocess.Popen[bytes]] = []

    def start(module: str, settings: Path) -> subprocess.Popen[bytes]:
        environment = {**clean_environment(), **KEYS, "AWS_ENDPOINT_URL_S3": store.url}
        with (tmp_path / f"{module}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", module, str(settings)], stderr=log, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        try:
            process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(HANG_S)


def test_the_file_then_the_same_record_in_the_bucket_once(
    tmp_path: Path, store: Store, triton: TritonServer, start: Callable[[str, Path], subprocess.Popen[bytes]]
) -> None:
    bucket = store.make_bucket(EXAMPLE["BucketName"])
    inference_port, forwarder_port = free_ports(2)
    socket = tmp_path / "agent.sock"
    settings: dict[str, Any] = {
        "thing": "press-7",
        "spool": {"folder": str(tmp_path / "spool")},
        "edge_manager": EXAMPLE | {"serve": True, "UnixSocketName": str(socket)},
        "inference": {
            "http": {"port": inference_port},
            "triton": {"url": triton.grpc},
            "model_repository": str(ROOT / "models"),
        },
        "forwarder": {"http": {"port": forwarder_port}},
    }
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    inference = start("lineside_inference", path)
    block_until(socket.exists, lambda: (tmp_path / "lineside_inference.log").read_text()[-3000:], within=HANG_S)
    key = f"capture{os.urandom(6).hex()}"
    with AgentClient(socket) as client:
        client.CaptureData(
            model_handle=MODEL,
            capture_id=key,
            input_tensors=[client.tensor("x", LARGE)],
            output_tensors=[client.tensor("y", SMALL)],
        )
        assert client.GetCaptureDataStatus(capture_id=key).status == IN_PROGRESS
        inference.kill()  # what was acknowledged is on the disk, whoever ends
        inference.wait(HANG_S)
        start("lineside_forwarder", path)
        (lines,) = block_until(lambda: list((tmp_path / "capture").rglob("*.jsonl")))
        block_until(lambda: store.keys(bucket), within=HANG_S)
        written = json.loads(lines.read_text())
    start("lineside_inference", path)
    with AgentClient(socket) as client:
        block_until(lambda: says(client, key) == SUCCESS, within=HANG_S)
    new = store.keys(bucket)
    folder = str(lines.parent.relative_to(tmp_path / "capture"))
    assert folder.startswith(f"sme-capture/MyEdgeDeviceFleet/{MODEL}/2")
    assert new == [f"{folder}/press-7.{key}.jsonl", f"{folder}/raw-data/input-tensors/press-7.{key}.0-x.bin"]
    assert store.get(bucket, new[1]) == LARGE.tobytes()
    uploaded = json.loads(store.get(bucket, new[0]))
    (tensor,) = uploaded["deviceFleetInputs"]
    assert (tensor["observedContentType"], tensor["data-ref"]) == (
        "Tensor[FLOAT32; 1, 2000]",
        f"s3://{EXAMPLE['BucketName']}/{new[1]}",
    )
    for record in (uploaded, written):
        del record["deviceFleetInputs"][0]["data-ref"]
    assert uploaded == written
    assert uploaded["eventMetadata"]["eventId"] == key


def test_captures_under_way_when_the_service_is_killed_are_at_the_destination_once(
    tmp_path: Path, triton: TritonServer, start: Callable[[str, Path], subprocess.Popen[bytes]]
) -> None:
    """Clients send again what they got no answer to, under the same id; the forwarder delivers meanwhile."""
    inference_port, forwarder_port = free_ports(2)
    socket, top = tmp_path / "agent.sock", tmp_path / "captures"
    batches = {"CaptureDataBatchSize": 5, "CaptureDataPushPeriodSeconds": 1}
    settings: dict[str, Any] = {
        "thing": "press-7",
        "spool": {"folder": str(tmp_path / "spool")},
        "edge_manager": agent_settings(socket, **batches),
        "inference": {"http": {"port": inference_port}, "triton": {"url": triton.grpc}},
        "forwarder": {"http": {"port": forwarder_port}},
    }
    settings["inference"]["model_repository"] = str(ROOT / "models")
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    start("lineside_forwarder", path)
    answered: list[str] = []
    doubted: list[str] = []

    def send() -> None:
        """Send captures until one gets no answer."""
        with AgentClient(socket) as client:
            while True:
                key = f"capture{os.urandom(6).hex()}"
                try:
                    client.CaptureData(model_handle=MODEL, capture_id=key, input_tensors=[client.tensor("x", LARGE)])
                except grpc.RpcError:
                    doubted.append(key)
                    return
                answered.append(key)

    for killed in range(KILLS + 1):
        inference = start("lineside_inference", path)
        with AgentClient(socket) as client:
            block_until(lambda client=client: says(client, "no-such") == "NOT_FOUND", within=HANG_S)
            while doubted:
                key = doubted.pop()
                code, words = code_of(lambda key=key: client.CaptureData(model_handle=MODEL, capture_id=key))
                assert code in {grpc.StatusCode.OK, grpc.StatusCode.ALREADY_EXISTS}, words
                answered.append(key)
            if killed == KILLS:
                block_until(lambda: len(set(delivered(top))) == len(answered), within=HANG_S)
                block_until(lambda client=client: {says(client, key) for key in answered} == {SUCCESS}, within=HANG_S)
                break
        more = len(answered) + 40
        with ThreadPoolExecutor(4) as threads:
            for _ in range(4):
                threads.submit(send)
            block_until(lambda more=more: len(answered) > more and delivered(top))
            inference.kill()
            inference.wait(HANG_S)
        assert len(doubted) == 4
    assert sorted(delivered(top)) == sorted(answered)


def delivered(top: Path) -> list[str]:
    """Return the ids of the captures below a folder."""
    lines = [line for path in top.rglob("*.jsonl") for line in path.read_bytes().splitlines()]
    return [json.loads(line)["eventMetadata"]["eventId"] for line in lines]


def says(client: AgentClient, key: str) -> int | str:
    """Return what the agent says of a capture, or the name of gRPC's code."""
    try:
        return int(client.GetCaptureDataStatus(capture_id=key, timeout=5).status)
    except grpc.RpcError as error:
        return error.code().name
