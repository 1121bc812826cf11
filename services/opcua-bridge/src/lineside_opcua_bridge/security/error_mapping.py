"""Maps the status codes of a failed connection to errors that say what they mean and what to do."""

from collections.abc import Mapping

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from lineside.errors import LinesideError
from lineside_opcua_bridge.security.errors import AccessRefused, LogInRefused, SecurityError
from lineside_opcua_bridge.security.own_certificate import CertificateSpec, OwnCertificates
from lineside_opcua_bridge.security.store import CertificateStore
from lineside_opcua_bridge.settings.access import AccessSettings, AnonymousUser, PasswordUser, UserSettings

_TRUST = (
    "trust it in the PLC, where it often lies in the list of rejected certificates by now; "
    "`lineside opcua trust own` shows and exports it"
)
_CERTIFICATE: Mapping[str, tuple[str, str]] = {
    "BadSecurityChecksFailed": ("the PLC does not accept the bridge's certificate", _TRUST),
    "BadCertificateUntrusted": ("the PLC does not trust the bridge's certificate", _TRUST),
    "BadCertificateInvalid": ("the PLC does not accept the bridge's certificate", _TRUST),
    "BadCertificateChainIncomplete": ("the PLC does not know who issued the bridge's certificate", _TRUST),
    "BadCertificatePolicyCheckFailed": (
        "the PLC's policy does not allow the bridge's certificate",
        "issue one of the kind that the PLC asks for into own/certs, its key into own/private",
    ),
    "BadCertificateUseNotAllowed": (
        "the PLC does not allow this use of the bridge's certificate",
        "issue one of the kind that the PLC asks for into own/certs, its key into own/private",
    ),
    "BadCertificateTimeInvalid": (
        "the bridge's certificate is outside its time by the PLC's clock",
        "compare the PLC's clock with this machine's; `lineside opcua trust own` shows from when to when it is valid",
    ),
    "BadCertificateUriInvalid": (
        "the PLC finds another application URI in the bridge's certificate",
        "set opcua_bridge.security.application_uri to that of the certificate which the PLC knows",
    ),
    "BadCertificateHostNameInvalid": (
        "the PLC finds another host in the bridge's certificate",
        "set opcua_bridge.security.hosts to the names of this machine that the PLC knows",
    ),
    "BadCertificateRevoked": (
        "the PLC's revocation list names the bridge's certificate",
        "have a new one issued into own/certs, its key into own/private",
    ),
    "BadCertificateRevocationUnknown": (
        "the PLC does not know whether the bridge's certificate is revoked",
        "give the PLC the revocation list of who issued it",
    ),
}
_USER: Mapping[str, str] = {
    "BadIdentityTokenRejected": "the PLC does not accept the user",
    "BadIdentityTokenInvalid": "the PLC cannot read how it was sent the user",
    "BadUserAccessDenied": "the PLC denies access to the user",
    "BadUserSignatureInvalid": "the PLC does not accept the signature of the user's key",
}
_OTHER: Mapping[str, tuple[str, str]] = {
    "BadSecurityPolicyRejected": (
        "the PLC does not accept the security policy",
        "choose another by opcua_bridge.security.policy, or allow it in the PLC",
    ),
    "BadSecurityModeRejected": (
        "the PLC does not accept the security mode",
        "choose the other by opcua_bridge.security.mode, or allow it in the PLC",
    ),
    "BadTooManySessions": ("the PLC has no session left", "end another client's session, or allow more in the PLC"),
    "BadMaxConnectionsReached": ("the PLC takes no more connections", "end another client's, or allow more in the PLC"),
    "BadTcpEndpointUrlInvalid": (
        "the PLC does not know itself by this endpoint",
        "set opcua_bridge.endpoint as the PLC shows it, with its path",
    ),
}
_NO_PLAIN_ENDPOINT = "No matching endpoints"
"""asyncua's text where the server has no endpoint like the one asked for; it has no status code for that."""
_PLAIN_REFUSED = frozenset({"BadSecurityPolicyRejected", "BadSecurityModeRejected", "BadSecurityChecksFailed"})
CERTIFICATE_REASONS = frozenset({*_CERTIFICATE, "hung_up"})
"""Reasons of AccessRefused that mean that the PLC does not accept our certificate."""


def refusal(error: Exception, settings: AccessSettings) -> LinesideError | None:
    """Return what a failure to connect means and what to do, or None where it has nothing to do with security."""
    if isinstance(error, SecurityError):
        return error
    is_plain = settings.security.policy == "none"
    if isinstance(error, UaStatusCodeError):
        name = ua.StatusCode(error.code).name
        return _secured_only(name) if is_plain and name in _PLAIN_REFUSED else _refused(name, settings)
    return _secured_only("no endpoint without security") if is_plain and _NO_PLAIN_ENDPOINT in str(error) else None


def _refused(name: str, settings: AccessSettings) -> AccessRefused | None:
    if name in _CERTIFICATE and settings.security.policy != "none":
        what, remedy = _CERTIFICATE[name]
        return AccessRefused(f"{what} {_own(settings)} ({name})", remedy=remedy, reason=name)
    if name in _USER:
        return _user_refused(name, settings.user)
    if name in _OTHER:
        what, remedy = _OTHER[name]
        return AccessRefused(f"{what} ({name})", remedy=remedy, reason=name)
    return None


def _user_refused(name: str, user: UserSettings) -> AccessRefused:
    if isinstance(user, AnonymousUser):
        remedy = "set opcua_bridge.user: the PLC wants to know who comes"
        return AccessRefused(f"{_USER[name]} of kind 'anonymous' ({name})", remedy=remedy, reason=name)
    whom = f"{user.name!r}" if isinstance(user, PasswordUser) else f"of kind {user.kind!r}"
    remedy = "look at its name, password and rights in the PLC, and at opcua_bridge.user"
    return LogInRefused(f"{_USER[name]} {whom} ({name})", remedy=remedy, reason=name)


def _secured_only(reason: str) -> AccessRefused:
    return AccessRefused(
        f"the PLC lets nobody in without security ({reason})",
        remedy="set opcua_bridge.security.policy to one that the PLC offers; leave --insecure out if you gave it",
        reason=reason,
    )


def _own(settings: AccessSettings) -> str:
    """Return the own certificate's file and thumbprint, where it can be read."""
    try:
        present = OwnCertificates(CertificateStore(settings.security.pki_dir), CertificateSpec("")).present()
    except SecurityError:
        present = []
    return " or ".join(f"{one.path} ({one.thumbprint})" for one in present) or f"in {settings.security.pki_dir}"
