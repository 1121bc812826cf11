"""What the PLC's refusals are said to mean."""

from pathlib import Path

import pytest
from asyncua import ua
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from lineside_opcua_bridge.security import refusal
from lineside_opcua_bridge.security.errors import AccessRefused, LogInRefused, SecurityError
from lineside_opcua_bridge.settings.access import AccessSettings


def settings(tmp_path: Path, **more: object) -> AccessSettings:
    return AccessSettings.model_validate({"security": {"pki_dir": str(tmp_path)}} | more)


@pytest.mark.parametrize(
    ("status", "what", "remedy"),
    [
        ("BadSecurityChecksFailed", "does not accept the bridge's certificate", "trust it in the PLC"),
        ("BadCertificateUntrusted", "does not trust the bridge's certificate", "lineside opcua trust own"),
        ("BadCertificateTimeInvalid", "by the PLC's clock", "compare the PLC's clock"),
        ("BadCertificateUriInvalid", "another application URI", "security.application_uri"),
        ("BadCertificateHostNameInvalid", "another host", "security.hosts"),
        ("BadIdentityTokenRejected", "does not accept the user of kind 'anonymous'", "opcua_bridge.user"),
        ("BadUserAccessDenied", "denies access to the user of kind 'anonymous'", "opcua_bridge.user"),
        ("BadSecurityPolicyRejected", "security policy", "security.policy"),
        ("BadTooManySessions", "no session left", "end another client's session"),
    ],
)
def test_a_status_is_said_with_what_to_do(status: str, what: str, remedy: str, tmp_path: Path) -> None:
    error = refusal(UaStatusCodeError(getattr(ua.StatusCodes, status)), settings(tmp_path))
    assert isinstance(error, AccessRefused)
    assert error.reason == status
    assert what in error.what
    assert status in error.what
    assert remedy in error.remedy


def test_what_is_no_matter_of_access_stays_the_networks(tmp_path: Path) -> None:
    for error in (TimeoutError(), ConnectionError("gone"), UaStatusCodeError(ua.StatusCodes.BadServerHalted)):
        assert refusal(error, settings(tmp_path)) is None


def test_an_error_of_ours_stays_what_it_is(tmp_path: Path) -> None:
    ours = SecurityError("what", remedy="next")
    assert refusal(ours, settings(tmp_path)) is ours


@pytest.mark.parametrize(
    "error",
    [
        UaStatusCodeError(ua.StatusCodes.BadSecurityChecksFailed),
        UaStatusCodeError(ua.StatusCodes.BadSecurityModeRejected),
        UaStatusCodeError(ua.StatusCodes.BadSecurityPolicyRejected),
        UaError("No matching endpoints: 1, http://opcfoundation.org/UA/SecurityPolicy#None"),
    ],
)
def test_without_security_no_certificate_is_blamed(error: Exception, tmp_path: Path) -> None:
    refused = refusal(error, settings(tmp_path, security={"policy": "none"}))
    assert isinstance(refused, AccessRefused)
    assert "without security" in refused.what
    assert "opcua_bridge.security.policy" in refused.remedy
    assert "--insecure" in refused.remedy


def test_only_a_named_user_can_be_locked_out(tmp_path: Path) -> None:
    denied = UaStatusCodeError(ua.StatusCodes.BadUserAccessDenied)
    user = {"kind": "password", "name": "press", "password_file": "x"}
    assert isinstance(refusal(denied, settings(tmp_path, user=user)), LogInRefused)
    assert not isinstance(refusal(denied, settings(tmp_path)), LogInRefused)
