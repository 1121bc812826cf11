"""The folder of certificates and the bridge's own: what is made, kept, renewed and refused."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from lineside_opcua_bridge.security import describe, is_insecure, register_metrics
from lineside_opcua_bridge.security.certificates import application_uris, hosts, is_self_signed
from lineside_opcua_bridge.security.errors import PkiUnusable
from lineside_opcua_bridge.security.metrics import SecurityMetrics
from lineside_opcua_bridge.security.own_certificate import VALID, CertificateSpec, OwnCertificates
from lineside_opcua_bridge.security.store import REJECTED_KEPT, CertificateStore
from lineside_opcua_bridge.settings.access import AccessSettings
from tests.support.certificates import plc_certificate

NOW = datetime(2026, 7, 1, tzinfo=UTC)
URI = "urn:lineside:test:opcua-bridge"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def own(root: Path, **more: Any) -> OwnCertificates:
    return OwnCertificates(CertificateStore(root), CertificateSpec(URI, **more))


def test_the_first_certificate_says_what_opc_ua_asks_for(tmp_path: Path) -> None:
    (made,) = own(tmp_path, hosts=("edge-1", "192.0.2.7")).identities(NOW)
    usage = made.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    purposes = made.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert application_uris(made.certificate) == [URI]
    assert hosts(made.certificate) == ["edge-1", "192.0.2.7"]
    assert usage.digital_signature
    assert usage.content_commitment
    assert usage.key_encipherment
    assert usage.data_encipherment
    assert ExtendedKeyUsageOID.CLIENT_AUTH in purposes
    assert made.key.key_size == 2048
    assert is_self_signed(made.certificate)
    assert made.certificate.signature_hash_algorithm is not None
    assert made.certificate.signature_hash_algorithm.name == "sha256"


def test_who_only_looks_makes_no_certificate_and_renews_none(tmp_path: Path) -> None:
    with pytest.raises(PkiUnusable, match=f"no certificate yet in {tmp_path}/pki"):
        own(tmp_path / "pki").in_use()
    assert not (tmp_path / "pki").exists()
    (made,) = own(tmp_path, renew_days=60).identities(NOW)
    due = NOW + VALID - timedelta(days=10)
    before = sorted(tmp_path.rglob("*"))
    assert [one.path for one in own(tmp_path, renew_days=60).in_use()] == [made.path]
    assert sorted(tmp_path.rglob("*")) == before
    _fresh, used = own(tmp_path, renew_days=60).identities(due)
    assert [one.path for one in own(tmp_path).in_use()] == [used.path]


def test_the_key_is_for_the_owner_alone_and_refused_once_it_is_not(tmp_path: Path) -> None:
    (made,) = own(tmp_path).identities(NOW)
    key = tmp_path / "own/private" / f"{made.path.stem}.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    key.chmod(0o640)
    with pytest.raises(PkiUnusable, match=r"open to others \(mode 640\)"):
        own(tmp_path).identities(NOW)


def test_it_stays_the_same_from_start_to_start_whatever_this_machine_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = own(tmp_path).identities(NOW)
    monkeypatch.setattr("socket.gethostname", lambda: "another-container")
    (again,) = own(tmp_path).identities(NOW)
    assert again.thumbprint == made.thumbprint


def test_it_is_renewed_in_time_and_the_old_one_used_until_the_new_one_is_accepted(tmp_path: Path) -> None:
    (first,) = own(tmp_path, renew_days=60).identities(NOW)
    due = NOW + VALID - timedelta(days=60)
    assert len(own(tmp_path, renew_days=60).identities(due - timedelta(days=1))) == 1
    fresh, used = own(tmp_path, renew_days=60).identities(due)
    assert (fresh.is_next, used.thumbprint) == (True, first.thumbprint)
    assert hosts(fresh.certificate) == hosts(first.certificate)
    assert [one.thumbprint for one in own(tmp_path, renew_days=60).identities(due)] == [
        fresh.thumbprint,
        first.thumbprint,
    ]
    own(tmp_path).accepted(fresh)
    (only,) = own(tmp_path, renew_days=60).identities(due)
    assert (only.thumbprint, only.is_next) == (fresh.thumbprint, False)
    assert first.path.with_name(f"{first.path.stem}.old.der").is_file()


def test_one_that_has_ended_is_not_used_any_more(tmp_path: Path) -> None:
    own(tmp_path).identities(NOW)
    (only,) = own(tmp_path).identities(NOW + VALID + timedelta(days=1))
    assert only.is_next


def test_new_hosts_renew_it_and_a_new_application_uri_replaces_it_at_once(tmp_path: Path) -> None:
    (first,) = own(tmp_path, hosts=("edge-1",)).identities(NOW)
    fresh, used = own(tmp_path, hosts=("edge-1", "edge-2")).identities(NOW)
    assert hosts(fresh.certificate) == ["edge-1", "edge-2"]
    assert used.thumbprint == first.thumbprint
    (other,) = OwnCertificates(CertificateStore(tmp_path), CertificateSpec("urn:another")).identities(NOW)
    assert application_uris(other.certificate) == ["urn:another"]
    assert first.path.with_name(f"{first.path.stem}.old.der").is_file()
    (again,) = own(tmp_path).identities(NOW)
    assert again.thumbprint in {first.thumbprint, fresh.thumbprint}  # one that the PLC may know is taken up again


@pytest.mark.parametrize("part", ["own/certs", "own/private"])
def test_a_damaged_own_certificate_or_key_is_named_and_not_replaced(part: str, tmp_path: Path) -> None:
    (made,) = own(tmp_path).identities(NOW)
    file = next((tmp_path / part).glob("opcua-bridge*"))
    mode = file.stat().st_mode & 0o777
    file.write_bytes(b"0")
    file.chmod(mode)
    with pytest.raises(PkiUnusable, match="is damaged") as caught:
        own(tmp_path).identities(NOW)
    assert str(file) in caught.value.what
    assert "restore" in caught.value.remedy
    assert made.path.exists()


def test_a_key_that_belongs_to_another_certificate_is_named(tmp_path: Path) -> None:
    (made,) = own(tmp_path / "a").identities(NOW)
    (other,) = own(tmp_path / "b").identities(NOW)
    key = tmp_path / "a/own/private" / f"{made.path.stem}.pem"
    key.write_bytes((tmp_path / "b/own/private" / f"{other.path.stem}.pem").read_bytes())
    with pytest.raises(PkiUnusable, match="does not belong"):
        own(tmp_path / "a").identities(NOW)


def test_the_rejected_are_kept_once_each_and_the_oldest_give_way(store: CertificateStore) -> None:
    many = [plc_certificate(f"plc-{number}") for number in range(REJECTED_KEPT + 3)]
    for age, one in enumerate(many):
        path = store.reject(one)
        os.utime(path, (age, age))
        store.reject(one)
    kept = {held.certificate for held in store.held("rejected")}
    assert kept == set(many[3:])


def test_one_that_is_added_is_no_longer_rejected_and_comes_back_when_removed(store: CertificateStore) -> None:
    one = plc_certificate("plc")
    store.reject(one)
    store.add("trusted", one)
    assert store.held("rejected") == []
    (held,) = store.held("trusted")
    store.remove(held)
    assert store.held("trusted") == []
    assert [each.certificate for each in store.held("rejected")] == [one]


def test_a_name_from_a_certificate_does_not_lead_out_of_the_folder(store: CertificateStore) -> None:
    path = store.reject(plc_certificate("../../../tmp/x\ny"))
    assert path.parent == store.root / "rejected/certs"


def test_a_damaged_certificate_trusts_nobody_and_hides_no_other(store: CertificateStore) -> None:
    store.add("trusted", plc_certificate("plc"))
    (store.root / "trusted/certs/damaged.der").write_bytes(b"0\x82")
    assert len(store.trust_list().trusted) == 1


def test_a_damaged_revocation_list_stops_everything(store: CertificateStore) -> None:
    (store.root / "trusted/crl/plant.crl").write_bytes(b"0\x82")
    with pytest.raises(PkiUnusable, match=r"plant\.crl is no revocation list"):
        store.trust_list()


def test_a_folder_that_cannot_be_used_is_named_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "pki").write_text("a file")
    with pytest.raises(PkiUnusable, match="cannot be made") as caught:
        own(tmp_path / "pki").identities(NOW)
    assert "opcua_bridge.security.pki_dir" in caught.value.remedy


def test_a_key_whose_certificate_could_not_be_written_does_not_stay(tmp_path: Path) -> None:
    class Full(CertificateStore):
        """A disk with room for the key and not for the certificate."""

        def write(self, path: Path, data: bytes, *, mode: int = 0o644) -> None:
            with self._disk("written", path):
                if path.suffix == ".der":
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(path, data, mode=mode)

    for _ in range(3):
        with pytest.raises(PkiUnusable, match="No space left") as caught:
            OwnCertificates(Full(tmp_path), CertificateSpec(URI)).identities(NOW)
        assert "make room on the disk" in caught.value.remedy
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [".lock"]


def test_metrics_show_what_is_not_protected_and_how_long_the_certificates_last(tmp_path: Path) -> None:
    secure = AccessSettings.model_validate({"security": {"pki_dir": str(tmp_path)}})
    own(tmp_path).identities(NOW)
    due = NOW + VALID - timedelta(days=10)
    own(tmp_path).identities(due)
    insecure, days = SecurityMetrics(secure, now=lambda: due).collect()
    assert [sample.value for sample in insecure.samples] == [0.0]
    assert {sample.labels["certificate"]: round(sample.value) for sample in days.samples} == {
        "own": 10,
        "next": VALID.days,
    }
    registry = CollectorRegistry()
    register_metrics(registry, AccessSettings.model_validate({"security": {"policy": "none"}}))
    assert registry.get_sample_value("lineside_opcua_bridge_insecure") == 1.0


def test_what_is_shown_of_security_says_insecure_aloud() -> None:
    plain = AccessSettings.model_validate({"security": {"policy": "none"}})
    assert is_insecure(plain)
    assert describe(plain) == "INSECURE: nothing is signed or encrypted, anonymous user"
    user = {"kind": "password", "name": "press", "password_file": "/x"}
    assert describe(AccessSettings.model_validate({"user": user})) == "Basic256Sha256, SignAndEncrypt, user press"


@pytest.mark.parametrize(
    "wrong",
    [
        {"application_uri": "no uri"},
        {"application_uri": "urn:mit ümlaut"},
        {"hosts": ["edge 1"]},
        {"hosts": ["é"]},
        {"renew_days": 901},
    ],
)
def test_what_no_certificate_can_say_is_a_wrong_setting(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AccessSettings.model_validate({"security": wrong})
