"""The committed messages are those of the .proto file, and go over the wire as both versions of the clients' do."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lineside.edge_manager.protocol import agent_pb2 as pb
from tests.support.agent_client import stubs
from tests.support.paths import ROOT

SOURCES = ROOT / "src"
FOLDER = "lineside/edge_manager/protocol"


def test_the_committed_code_is_what_protoc_makes(request: Any, tmp_path: Path) -> None:
    committed = SOURCES / FOLDER / "agent_pb2.py"
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCES}", f"--python_out={tmp_path}"]
    subprocess.run([*protoc, f"{FOLDER}/agent.proto"], check=True, cwd=SOURCES)
    made = tmp_path / FOLDER / "agent_pb2.py"
    if request.config.getoption("--update"):
        committed.write_bytes(made.read_bytes())
    assert made.read_text() == committed.read_text(), "run pytest --update"


@pytest.mark.parametrize("version", ["2021", "2022"])
def test_every_field_of_both_versions_has_its_number_and_type_here(version: str) -> None:
    file = pb.DESCRIPTOR
    ours = dict(file.message_types_by_name)
    theirs = stubs(version).messages
    renamed = {"AuxilaryData": "AuxiliaryData"}
    for name, message in theirs.items():
        here = ours[renamed.get(name, name)].fields_by_number
        for number, field in {field.number: field for field in message.DESCRIPTOR.fields}.items():
            assert here[number].name == field.name
            assert here[number].is_repeated == field.is_repeated
            # The names of tensors are text in 2021 and bytes here: the same on the wire.
            same = {here[number].type, field.type}
            assert len(same) == 1 or same == {field.TYPE_STRING, field.TYPE_BYTES}
    calls = stubs(version).calls
    assert [method.name for method in file.services_by_name["Agent"].methods] == list(calls)


def test_a_later_clients_fields_survive_an_earlier_one() -> None:
    request = pb.CaptureDataRequest(model_handle="m", capture_id="c", inputs=[{"name": "a", "byte_data": b"1"}])
    earlier = stubs("2021").CaptureDataRequest.FromString(request.SerializeToString())
    assert earlier.capture_id == "c"
    assert pb.CaptureDataRequest.FromString(earlier.SerializeToString()) == request
