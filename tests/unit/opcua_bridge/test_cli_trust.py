"""`lineside opcua trust`: on the files, without any PLC."""

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner, Result

from lineside_opcua_bridge.cli.trust import app
from lineside_opcua_bridge.security.certificates import thumbprint
from lineside_opcua_bridge.security.store import CertificateStore
from tests.support.certificates import plc_certificate

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def config(tmp_path: Path, store: CertificateStore) -> Path:
    file = tmp_path / "lineside.yaml"
    file.write_text(f"thing: edge-1\nopcua_bridge: {{security: {{pki_dir: {store.root}}}}}\n")
    return file


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


def test_a_rejected_certificate_is_listed_shown_and_added_by_the_beginning_of_its_thumbprint(
    store: CertificateStore, config: Path
) -> None:
    plc = plc_certificate("press-7")
    store.reject(plc)
    name = thumbprint(plc)
    listed = run(config, "list")
    assert listed.exit_code == 0
    assert name in listed.stdout
    assert "rejected" in listed.stdout
    shown = run(config, "show", name[:8].lower())
    assert "refused: BadCertificateUntrusted" in shown.stdout
    assert "urn:plc" in shown.stdout
    added = run(config, "add", name[:8])
    assert (added.exit_code, added.stderr) == (0, "")
    (entry,) = json.loads(run(config, "list", "--json").stdout)
    assert (entry["group"], entry["thumbprint"], entry["application_uri"]) == ("trusted", name, "urn:plc")
    removed = run(config, "remove", name)
    assert "restart the bridge" in removed.stdout
    assert [each["group"] for each in json.loads(run(config, "list", "--json").stdout)] == ["rejected"]


def test_one_that_stays_refused_says_so_when_it_is_added(store: CertificateStore, config: Path) -> None:
    store.reject(plc_certificate("old", days=-1))
    added = run(config, "add", store.held("rejected")[0].thumbprint)
    assert added.exit_code == 0
    assert "still refused: BadCertificateTimeInvalid" in added.stderr


def test_a_file_is_added_and_a_wrong_one_is_named(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "plc.pem"
    file.write_bytes(plc_certificate("plc").public_bytes(Encoding.PEM))
    assert run(config, "add", str(file)).exit_code == 0
    refused = run(config, "add", "--issuer", str(file))
    assert (refused.exit_code, "is no authority" in refused.stderr) == (1, True)
    file.write_text("no certificate")
    wrong = run(config, "add", str(file))
    assert wrong.exit_code == 1
    assert "is no certificate" in wrong.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [("abcd", "no certificate abcd"), ("ab", "neither a file nor"), ("press-7", "neither a file nor")],
)
def test_what_names_no_certificate_fails_with_what_to_do(text: str, said: str, config: Path) -> None:
    result = run(config, "add", text)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "lineside opcua trust list" in result.stderr


def test_the_own_certificate_is_made_shown_and_exported(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "bridge.pem"
    result = run(config, "own", "--export", str(file))
    assert result.exit_code == 0
    (shown,) = json.loads(run(config, "own", "--json").stdout)
    exported = x509.load_pem_x509_certificate(file.read_bytes())
    assert thumbprint(exported) == shown["thumbprint"]
    assert shown["thumbprint"] in result.stdout
    assert shown["application_uri"] == "urn:lineside:edge-1:opcua-bridge"
    assert "In the PLC" in result.stdout
    config.write_text(config.read_text().replace("edge-1", "another-box"))
    (looked_at,) = json.loads(run(config, "own", "--json").stdout)
    assert looked_at["thumbprint"] == shown["thumbprint"]  # looking with other settings replaces nothing


def test_wrong_settings_end_with_status_2(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("opcua_bridge: {security: {policy: Basic128Rsa15}}\n")
    result = run(file, "list")
    assert result.exit_code == 2
    assert "opcua_bridge.security.policy" in result.stderr
