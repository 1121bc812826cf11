import json
from pathlib import Path

import pytest

from lineside.plans import device
from lineside.plans.device import Device, NoDevice


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8503] # trtexec --help", "8.5.3"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # trtexec --help", "8.6.1"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --help", "10.3.0"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101602] [b12] # trtexec --help", "10.16.2"),
        ("error while loading shared libraries: libnvinfer.so.10", None),
    ],
)
def test_tensorrts_version_is_in_the_first_line(banner: str, version: str | None) -> None:
    assert device.tensorrt_version(banner) == version


def test_cudas_version_is_that_of_the_toolkit_in_the_container() -> None:
    text = json.dumps({"cuda": {"name": "CUDA SDK", "version": "12.6.68"}})
    assert device.cuda_version(text, {"CUDA_VERSION": "12.2"}) == "12.6.68"
    assert device.cuda_version("", {"CUDA_VERSION": "12.2"}) == "12.2"
    assert device.cuda_version("{", {}) == ""
    assert device.cuda_version("[]", {}) == ""


def test_the_release_of_jetson_linux() -> None:
    text = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64"
    assert device.l4t_release(text) == "36.4.3"
    assert device.l4t_release("") == ""


def test_without_trtexec_it_is_said_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NoDevice, match=r"looked for /usr/src/tensorrt/bin/trtexec.*LINESIDE_TRTEXEC"):
        device.find_trtexec()
    with pytest.raises(NoDevice, match=str(tmp_path)):
        device.find_trtexec(str(tmp_path))
    program = tmp_path / "trtexec"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert device.find_trtexec(str(program)) == program


def test_without_a_gpu_nothing_can_be_built_and_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoDevice, match=r"there is no libnothing.so.1: this container has no GPU"):
        device.look(tmp_path / "trtexec", library="libnothing.so.1")


def test_a_device_is_the_same_after_its_document() -> None:
    one = Device("10.3.0", "12.6", "Orin", "8.7", 8, "36.4.3", "Orin NX")
    assert Device.of_document(json.loads(json.dumps(one.as_document()))) == one
    assert one.describe() == "Orin NX (cc 8.7, 8 SMs), TensorRT 10.3.0, CUDA 12.6, L4T 36.4.3"


@pytest.mark.parametrize("found", [None, [], {}, {"gpu": "Orin"}])
def test_what_is_no_device_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match="expected a device"):
        Device.of_document(found)


def test_a_devices_values_have_their_types() -> None:
    with pytest.raises(ValueError, match="sms a whole number"):
        Device.of_document(Device("10", "12", "Orin", "8.7", 8).as_document() | {"sms": "8"})
