"""The errors of connecting securely: each names what is wrong, the value, and what to do.

    LinesideError
    +-- SecurityError            base; trying again helps once the remedy was applied
        +-- PkiUnusable          the folder of certificates, or a file in it, cannot be read or written
        +-- NotOffered           the PLC does not offer what the settings ask for
        +-- CertificateRejected  we do not accept the PLC's certificate
        +-- AccessRefused        the PLC does not accept our certificate, our user or another session
        |   +-- LogInRefused     the user is refused; a PLC may lock out who fails often
        +-- SecretUnusable       a password or key file cannot be used

Any other failure to connect is one of the network.
"""

from lineside.errors import LinesideError


class SecurityError(LinesideError):
    """A connection as the settings ask is not possible."""

    code = "opcua-security"
    transient = True


class PkiUnusable(SecurityError):
    """The folder of certificates, or a file in it, cannot be read or written."""

    code = "opcua-pki"


class NotOffered(SecurityError):
    """The PLC does not offer the security policy, mode or kind of user that the settings ask for."""

    code = "opcua-not-offered"


class CertificateRejected(SecurityError):
    """The PLC's certificate is not accepted; `thumbprint` names it, `causes` are status codes of OPC 10000-4."""

    code = "opcua-certificate-rejected"

    def __init__(self, what: str, *, remedy: str, thumbprint: str, causes: tuple[str, ...]) -> None:
        super().__init__(what, remedy=remedy)
        self.thumbprint = thumbprint
        self.causes = causes


class AccessRefused(SecurityError):
    """The PLC does not accept us; `reason` is the status code's name."""

    code = "opcua-access-refused"

    def __init__(self, what: str, *, remedy: str, reason: str) -> None:
        super().__init__(what, remedy=remedy)
        self.reason = reason


class LogInRefused(AccessRefused):
    """The PLC does not accept the user, and may lock out a user who fails often."""

    code = "opcua-log-in-refused"


class SecretUnusable(SecurityError):
    """A password or key file is missing, empty, damaged or open to others."""

    code = "opcua-secret"
