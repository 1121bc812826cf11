"""Chooses the server's endpoint, and how the user is sent over it. Pure."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.crypto.security_policies import (
    SecurityPolicy,
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
    SecurityPolicyNone,
)

from lineside_opcua_bridge.security.errors import NotOffered
from lineside_opcua_bridge.settings.access import AccessSettings

POLICIES: dict[str, type[SecurityPolicy]] = {
    "none": SecurityPolicyNone,
    "Basic256Sha256": SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": SecurityPolicyAes256Sha256RsaPss,
}

_TOKENS = {
    "anonymous": ua.UserTokenType.Anonymous,
    "password": ua.UserTokenType.UserName,
    "certificate": ua.UserTokenType.Certificate,
}
_KINDS = {token: kind for kind, token in _TOKENS.items()}
_STRONG = frozenset(policy.URI for name, policy in POLICIES.items() if name != "none")
_TRANSPORT = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"


def choose(offered: Sequence[ua.EndpointDescription], access: AccessSettings, *, host: str) -> ua.EndpointDescription:
    """Return the endpoint with the policy and mode of the settings; raises NotOffered, which names what is offered.

    Many PLCs offer one endpoint for each of their host names, some of which cannot be reached. That with the host of
    the settings is preferred, any other counts as well; the connection is always made to the host of the settings.
    """
    security = access.security
    mode = ua.MessageSecurityMode[security.mode]
    found = [
        endpoint
        for endpoint in offered
        if endpoint.SecurityPolicyUri == POLICIES[security.policy].URI
        and endpoint.SecurityMode == mode
        and (endpoint.TransportProfileUri or _TRANSPORT) == _TRANSPORT
    ]
    if not found:
        there = list(dict.fromkeys(_named(endpoint) for endpoint in offered))
        secured = [name for name in there if name != "none"]
        choice = "choose one of these by opcua_bridge.security.policy and .mode, or " if secured else ""
        without = "; a command looks into it without security by --insecure" if "none" in there else ""
        raise NotOffered(
            f"the PLC does not offer {security.policy} with {security.mode}; it offers {', '.join(there) or 'nothing'}",
            remedy=f"{choice}switch it on in the PLC{without}",
        )
    return min(found, key=lambda endpoint: (_host(endpoint) != host.lower(), -endpoint.SecurityLevel))


def token_policies(endpoint: ua.EndpointDescription, access: AccessSettings) -> list[ua.UserTokenPolicy]:
    """Return how the user of the settings may be sent, the best first; raises NotOffered.

    A password must be encrypted by the token policy or by the channel: with mode Sign a token policy that leaves it in
    clear text is refused, and so is one with a broken algorithm.
    """
    wanted = access.user.kind
    tokens = list(endpoint.UserIdentityTokens or [])
    found = [token for token in tokens if token.TokenType == _TOKENS[wanted]]
    if not found:
        kinds = ", ".join(dict.fromkeys(_KINDS.get(token.TokenType, token.TokenType.name) for token in tokens))
        raise NotOffered(
            f"the PLC lets no user of kind {wanted!r} in at this endpoint; it offers {kinds or 'none'}",
            remedy="set opcua_bridge.user.kind to one of these, or allow it in the PLC",
        )
    usable = [token for token in found if _protected(token, endpoint, wanted)]
    if not usable:
        raise NotOffered(
            f"the PLC would take the user of kind {wanted!r} only unprotected, or by an algorithm that is broken",
            remedy="set opcua_bridge.security.mode to SignAndEncrypt, or allow the channel's own policy in the PLC",
        )
    return sorted(usable, key=lambda token: _policy_of(token, endpoint) not in _STRONG)


def _protected(token: ua.UserTokenPolicy, endpoint: ua.EndpointDescription, kind: str) -> bool:
    if kind == "anonymous" or _policy_of(token, endpoint) in _STRONG:
        return True
    in_the_clear = _policy_of(token, endpoint) == SecurityPolicyNone.URI
    return kind == "password" and in_the_clear and endpoint.SecurityMode == ua.MessageSecurityMode.SignAndEncrypt


def _policy_of(token: ua.UserTokenPolicy, endpoint: ua.EndpointDescription) -> str:
    """Return the policy that protects the token: an empty one means that of the endpoint (OPC 10000-4, 7.42)."""
    return str(token.SecurityPolicyUri or endpoint.SecurityPolicyUri)


def _named(endpoint: ua.EndpointDescription) -> str:
    policy = str(endpoint.SecurityPolicyUri or "").rpartition("#")[2]
    return "none" if policy == "None" else f"{policy} with {endpoint.SecurityMode.name.rstrip('_')}"


def _host(endpoint: ua.EndpointDescription) -> str | None:
    try:
        return urlsplit(endpoint.EndpointUrl or "").hostname
    except ValueError:
        return None
