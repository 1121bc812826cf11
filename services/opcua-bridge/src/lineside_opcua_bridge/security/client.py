"""asyncua's client with the checks that it leaves out.

asyncua trusts the endpoints from an unsecured channel and validates no certificate. Here the certificate is validated
before the secure channel opens (`security.client_for`), and the endpoints that the server gives on the secured channel
must be the same as before: only then is a user sent.
"""

from collections.abc import Callable
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.uaerrors import UaStatusCodeError
from cryptography import x509

from lineside_opcua_bridge.security.certificates import application_uris, parse
from lineside_opcua_bridge.security.endpoints import POLICIES, choose, token_policies
from lineside_opcua_bridge.security.errors import AccessRefused, CertificateRejected, SecurityError
from lineside_opcua_bridge.security.own_certificate import Identity
from lineside_opcua_bridge.settings import OpcuaBridgeSettings


def plain_client(settings: OpcuaBridgeSettings, application_uri: str) -> Client:
    """Return a client without security, not connected."""
    return _named(
        Client(
            settings.endpoint,
            timeout=settings.request_timeout_ms / 1000,
            watchdog_intervall=settings.keepalive_ms / 1000,
        ),
        application_uri,
    )


class SecureClient(Client):
    """A client on a secure channel to the holder of one validated certificate, not connected."""

    def __init__(
        self,
        settings: OpcuaBridgeSettings,
        application_uri: str,
        server: x509.Certificate,
        identity: Identity,
        *,
        uri_before: str,
    ) -> None:
        super().__init__(
            settings.endpoint,
            timeout=settings.request_timeout_ms / 1000,
            watchdog_intervall=settings.keepalive_ms / 1000,
        )
        _named(self, application_uri)
        self._settings = settings
        self._server = server
        self._uri_before = uri_before
        self._identity = identity
        make: Callable[..., Any] = POLICIES[settings.security.policy]
        mode = ua.MessageSecurityMode[settings.security.mode]
        self.security_policy = make(server, identity.certificate, identity.key, mode)
        self.uaclient.set_security(self.security_policy)

    async def open_secure_channel(self, renew: bool = False) -> None:
        """Open or renew the channel; raises UaStatusCodeError or AccessRefused where the PLC refuses us.

        Where a PLC answers with a ServiceFault asyncua loses its status, and fails in an assertion of its own: here the
        status is read from the response before asyncua handles it.
        """
        protocol: Any = self.uaclient.protocol
        if renew or protocol is None:
            await super().open_secure_channel(renew)
            return
        faults: list[UaStatusCodeError] = []

        def answered(request_id: int, body: Any) -> None:
            try:
                protocol.check_answer(body, " to the opening of the channel")
            except UaStatusCodeError as fault:
                faults.append(fault)
            type(protocol)._call_callback(protocol, request_id, body)  # noqa: SLF001 - the only place where the response can be read

        protocol._call_callback = answered  # noqa: SLF001
        try:
            await super().open_secure_channel(renew)
        except (AssertionError, AttributeError, ConnectionError):
            if faults:
                raise faults[0] from None
            raise AccessRefused(
                "the PLC hangs up when the secure channel is opened; most often it does not trust the bridge's "
                f"certificate {self._identity.path} ({self._identity.thumbprint})",
                remedy="trust it in the PLC: `lineside opcua trust own` shows and exports it",
                reason="hung_up",
            ) from None
        finally:
            del protocol._call_callback  # noqa: SLF001

    async def create_session(self) -> ua.CreateSessionResult:
        """Create a session and check the endpoints again, on the secured channel; raises SecurityError."""
        response = await super().create_session()
        endpoint = choose(response.ServerEndpoints, self._settings, host=self.server_url.hostname or "")
        if endpoint.ServerCertificate and parse(endpoint.ServerCertificate)[0] != self._server:
            raise SecurityError(
                "the PLC names another certificate on the secured channel than before it",
                remedy="it may have been changed just now: it is tried again; if it stays so, look who answers on "
                f"the way to {self._settings.endpoint}",
            )
        uri = endpoint.Server.ApplicationUri
        if uri not in application_uris(self._server):
            raise CertificateRejected(
                f"the PLC called itself {self._uri_before} before the channel was secure, and {uri} now",
                remedy=f"look who answers on the way to {self._settings.endpoint}",
                thumbprint="",
                causes=("BadCertificateUriInvalid",),
            )
        self._policy_ids = token_policies(endpoint, self._settings)
        return response


def _named(client: Client, application_uri: str) -> Client:
    client.name = client.description = "Lineside opcua-bridge"
    client.application_uri = application_uri
    return client
