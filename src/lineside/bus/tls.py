"""TLS to the broker: what is trusted, what we show, and what a failed handshake means in the operator's words."""

import ssl
from pathlib import Path

from lineside.errors import BusError
from lineside.settings import BusTlsSettings

# OpenSSL's numbers (X509_V_ERR_*): not yet valid, expired; another host name, another address.
_DATES = (9, 10)
_NAMES = (62, 64)
_HTTPS = 443


class _Socket(ssl.SSLSocket):
    """A socket that a failed handshake closes, which paho leaves open; a peer that hangs up during it is told apart."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except ConnectionError:
            self.close()
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "it closes the connection") from None
        except BaseException:
            self.close()
            raise


def context(settings: BusTlsSettings, port: int) -> ssl.SSLContext:
    """Return a client's context: TLS 1.2 or newer, the peer's certificate and name checked; raises BusError.

    On the port of HTTPS the handshake names the protocol (ALPN), by which the peer knows that MQTT is meant.
    """
    made = _trusting(settings.ca_file)
    made.sslsocket_class = _Socket
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if name := protocol_name(settings, port):
        made.set_alpn_protocols([name])
    if settings.cert_file is not None:
        try:
            made.load_cert_chain(settings.cert_file, settings.key_file, password=_no_password)
        except (OSError, ValueError) as error:
            raise BusError(
                f"bus.tls.cert_file {settings.cert_file} with key_file {settings.key_file} "
                f"cannot be used: {_why(error)}",
                remedy="both are PEM, readable by this service, belong together, and the key has no password",
                transient=False,
            ) from None
    return made


def protocol_name(settings: BusTlsSettings, port: int) -> str | None:
    """Return what the handshake names as the protocol, None where it names none.

    AWS IoT Core knows `x-amzn-mqtt-ca` for clients with a certificate, `mqtt` for others (Developer Guide, "Device
    communication protocols"); `mqtt` is also IANA's name for MQTT.
    """
    if settings.alpn is not None:
        return settings.alpn
    if port != _HTTPS:
        return None
    return "x-amzn-mqtt-ca" if settings.cert_file is not None else "mqtt"


def refusal(error: OSError, host: str) -> BusError | None:
    """Return what a failed handshake means, or None where the error is no matter of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"the broker's certificate is refused: {error.verify_message.rstrip('.')}"
        return BusError(what, remedy=_remedy(error.verify_code, host), transient=False)
    if isinstance(error, ssl.SSLError):
        return BusError(
            f"no TLS with the broker: {_why(error)}",
            remedy="does bus.port speak TLS there (8883 usually), 1.2 or newer?",
            transient=False,
        )
    return None


def _remedy(code: int, host: str) -> str:
    if code in _NAMES:
        return f"bus.host must be a name or address that is in the certificate; it is {host!r}"
    if code in _DATES:
        return "renew the broker's certificate, or set this machine's clock"
    return "bus.tls.ca_file must hold the authority that signed the broker's certificate"


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise BusError(
            f"bus.tls.ca_file {ca_file} cannot be used: {_why(error)}",
            remedy="it holds certificates in PEM and is readable by this service",
            transient=False,
        ) from None


def _no_password() -> bytes:
    raise ValueError("the key has a password")


def _why(error: Exception) -> str:
    """Return the reason without the line of OpenSSL's source."""
    reason = getattr(error, "reason", None)  # missing where Python itself made the error
    if reason:
        return str(reason).replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
