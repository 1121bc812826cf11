"""How the bridge gets into the PLC's OPC UA server: security policy, certificates, user."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lineside.settings import Section

Policy = Literal["none", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
Mode = Literal["Sign", "SignAndEncrypt"]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,253}$")]


class SecuritySettings(Section):
    """The secure channel to the PLC. `policy: none` is the only way to do without one, and shows in /readyz."""

    policy: Policy = Field(
        "Basic256Sha256", description="Security policy; none sends everything, verdicts too, unprotected."
    )
    mode: Mode = Field("SignAndEncrypt", description="Sign alone lets others read along.")
    pki_dir: Path = Field(
        Path("/var/lib/lineside/opcua-bridge/pki"),
        description="Folder of the bridge's own certificate, of those it trusts and of those it rejected.",
    )
    application_uri: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$",
        description="Application URI in the bridge's own certificate; else made from the thing's name.",
    )
    hosts: tuple[Host, ...] = Field(
        (), max_length=16, description="Host names and addresses in the own certificate; else this machine's name."
    )
    renew_days: int = Field(
        60, ge=1, le=900, description="Days before its end from which the own certificate is renewed."
    )


class AnonymousUser(Section):
    """Nobody in particular."""

    kind: Literal["anonymous"] = Field("anonymous", description="No user.")


class PasswordUser(Section):
    """A user name and password."""

    kind: Literal["password"] = Field(description="A user name and password.")
    name: str = Field(min_length=1, max_length=256, description="User name at the PLC.")
    password_file: Path = Field(description="File that holds the password, on its first line.")


class CertificateUser(Section):
    """A user who is known by a certificate, which is another than the application's own."""

    kind: Literal["certificate"] = Field(description="A user certificate.")
    certificate_file: Path = Field(description="The user's certificate, PEM or DER.")
    private_key_file: Path = Field(description="Its private key, PEM or DER, without a password.")


UserSettings = Annotated[AnonymousUser | PasswordUser | CertificateUser, Field(discriminator="kind")]


class AccessSettings(Section):
    """What the sections of the bridge share about getting in; checked together."""

    security: SecuritySettings = Field(default_factory=SecuritySettings, description="The secure channel to the PLC.")
    user: UserSettings = Field(
        default_factory=AnonymousUser, description="Who logs in: anonymous, password, certificate."
    )

    @model_validator(mode="after")
    def _no_secret_in_the_clear(self) -> Self:
        if self.security.policy == "none" and not isinstance(self.user, AnonymousUser):
            raise ValueError(
                f"user.kind {self.user.kind!r} needs a security policy: with security.policy 'none' "
                "the log-in would cross the network unprotected"
            )
        return self
