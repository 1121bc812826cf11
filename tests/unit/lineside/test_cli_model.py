"""`lineside model`: what it prints, and its exit status."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lineside.cli.model import app
from tests.support.model_packages import authority, model_folder, signer, trusting


def run(*arguments: object, status: int = 0) -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == status, done.output
    return done.output


@pytest.fixture
def package(tmp_path: Path) -> Path:
    run("pack", model_folder(tmp_path), "--out", tmp_path)
    return tmp_path / "detector-3.tar.gz"


def test_a_model_is_packed_signed_and_verified(tmp_path, package):
    said = run("pack", tmp_path / "detector", "--out", tmp_path)
    assert said.startswith(f"{package}: model detector version 3, for any\nSHA-256 ")
    assert said.endswith("not in it: train.py\n")
    assert "whoever has it signs" in run("key", tmp_path / "team.key")
    assert run("sign", package, "--key", tmp_path / "team.key") == f"{package}.sig\n"
    roots = trusting(tmp_path / "roots", tmp_path / "team.key.pub")
    said = run("verify", package, "--roots", roots)
    assert f"signed by key team.key.pub, trusted by {roots / 'team.key.pub'}" in said
    found = json.loads(run("verify", package, "--roots", roots, "--json"))
    assert set(found) == {"signer", "root", "sha256"}


def test_by_a_certificate(tmp_path, package):
    plant = authority(tmp_path / "ca")
    one = signer(tmp_path / "ca", plant)
    run("sign", package, "--key", one.key, "--certificate", one.certificate)
    assert "signed by CN=line-team" in run(
        "verify", package, "--roots", trusting(tmp_path / "roots", plant.certificate)
    )


def test_with_a_password(tmp_path, package):
    (tmp_path / "password").write_text("secret\n")
    run("key", tmp_path / "team.key", "--password-file", tmp_path / "password")
    assert "has a password. See --password-file [key-wrong]" in run(
        "sign", package, "--key", tmp_path / "team.key", status=1
    )
    run("sign", package, "--key", tmp_path / "team.key", "--password-file", tmp_path / "password")


def test_what_is_refused_is_one_sentence_and_its_word(tmp_path, package):
    said = run("verify", package, "--roots", tmp_path, status=1)
    assert said.count("\n") == 1
    assert re.search(r"\[roots-wrong\]\n$", said)
    assert "[archive-missing]" in run("inspect", tmp_path / "none", status=1)
    assert "[model-wrong]" in run("pack", tmp_path, status=1)


def test_what_is_in_a_package(package):
    said = run("inspect", package)
    assert said.startswith("model detector version 3, for any\n\nfile          for  bytes  SHA-256")
    assert json.loads(run("inspect", package, "--json"))["metadata"] == {"model_name": "detector", "model_version": "3"}


def test_machines_read_what_was_packed(tmp_path):
    found = json.loads(run("pack", model_folder(tmp_path), "--out", tmp_path, "--json"))
    assert (found["archive"], found["left_out"]) == (str(tmp_path / "detector-3.tar.gz"), ["train.py"])
