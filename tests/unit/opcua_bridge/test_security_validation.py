"""Which certificates of a PLC are accepted, and how an endpoint and a user's token are chosen."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from asyncua import ua
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_opcua_bridge.security.certificates import is_authority, parse, thumbprint
from lineside_opcua_bridge.security.endpoints import POLICIES, choose, token_policies
from lineside_opcua_bridge.security.errors import NotOffered
from lineside_opcua_bridge.security.validation import TrustList, Validation, validate
from lineside_opcua_bridge.settings.access import AccessSettings

NOW = datetime(2026, 7, 1, tzinfo=UTC)
URI = "urn:plant:press-7"


@cache
def key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def made(
    who: str,
    by: str | None = None,
    *,
    uri: str | None = URI,
    hosts: tuple[str, ...] = ("press-7",),
    ca: bool = False,
    path_length: int | None = None,
    days: tuple[int, int] = (-10, 100),
    own_key: Any = None,
    signed: hashes.HashAlgorithm | None = None,
    server: bool = True,
    sign: bool = True,
) -> x509.Certificate:
    own_key = own_key or key(who)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(who))
        .issuer_name(name(by or who))
        .public_key(own_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=sign,
                content_commitment=True,
                key_encipherment=True,
                data_encipherment=True,
                key_agreement=False,
                key_cert_sign=ca,
                crl_sign=ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if not server:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    names += [x509.UniformResourceIdentifier(uri)] if uri else []
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key(by) if by else own_key, signed or hashes.SHA256())


def authority(who: str = "plant", by: str | None = None, **more: Any) -> x509.Certificate:
    return made(who, by, uri=None, hosts=(), ca=True, **more)


def crl(by: str, *serials: int, days: tuple[int, int] = (-1, 30)) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name(by))
        .last_update(NOW + timedelta(days=days[0]))
        .next_update(NOW + timedelta(days=days[1]))
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(key(by), hashes.SHA256())


def opinion(*sent: x509.Certificate, host: str = "press-7", uri: str | None = URI, **known: Any) -> Validation:
    return validate(sent, TrustList(**known), application_uri=uri, host=host, now=NOW)


def causes(given: Validation) -> list[str]:
    return [objection.cause for objection in given.objections]


VERSION_4 = made("press").public_bytes(Encoding.DER).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03", 1)


def test_a_trusted_certificate_is_accepted_without_a_doubt() -> None:
    leaf = made("press")
    assert opinion(leaf, trusted=[leaf]) == Validation(())


def test_nobody_is_trusted_unasked() -> None:
    assert causes(opinion(made("press"))) == ["BadCertificateUntrusted"]
    assert causes(opinion(made("press", "plant"), issuers=[authority()])) == ["BadCertificateUntrusted"]
    assert causes(opinion(made("press", "plant"), authority())) == ["BadCertificateUntrusted"]  # sent, not trusted


@pytest.mark.parametrize(
    ("cause", "wrong"),
    [
        ("BadCertificateTimeInvalid", {"days": (-10, -1)}),
        ("BadCertificateTimeInvalid", {"days": (1, 10)}),
        ("BadCertificateUriInvalid", {"uri": "urn:another"}),
        ("BadCertificateUriInvalid", {"uri": None}),
        ("BadCertificatePolicyCheckFailed", {"own_key": key("short", 1024)}),
        ("BadCertificatePolicyCheckFailed", {"own_key": ec.generate_private_key(ec.SECP256R1())}),
        ("BadCertificateUseNotAllowed", {"server": False}),
        ("BadCertificateUseNotAllowed", {"sign": False}),
    ],
)
def test_what_is_wrong_is_refused_although_it_is_trusted(cause: str, wrong: dict[str, Any]) -> None:
    leaf = made("press", **wrong)
    assert causes(opinion(leaf, trusted=[leaf])) == [cause]


def test_an_authority_vouches_through_others_that_were_sent_or_are_known() -> None:
    root, line, leaf = authority(), authority("line", "plant"), made("press", "line")
    assert causes(opinion(leaf, line, trusted=[root])) == []
    assert causes(opinion(leaf, trusted=[root], issuers=[line])) == []
    assert causes(opinion(leaf, trusted=[line], issuers=[root])) == []
    assert causes(opinion(leaf, trusted=[line])) == ["BadCertificateChainIncomplete"]
    assert causes(opinion(leaf, trusted=[root])) == ["BadCertificateUntrusted"]


def test_an_authority_that_is_none_any_more_vouches_for_nobody() -> None:
    leaf = made("press", "plant")
    assert causes(opinion(leaf, trusted=[authority(days=(-10, -1))])) == ["BadCertificateIssuerTimeInvalid"]
    assert causes(opinion(leaf, trusted=[made("plant", uri=None, hosts=())])) == ["BadCertificateUntrusted"]
    narrow = authority(path_length=0)
    assert causes(opinion(made("press", "line"), authority("line", "plant"), trusted=[narrow])) == [
        "BadCertificateInvalid"
    ]


def test_a_trusted_plc_vouches_only_for_itself() -> None:
    plc = made("press", ca=True)
    assert not is_authority(plc)
    assert causes(opinion(made("other", "press"), trusted=[plc])) == ["BadCertificateUntrusted"]


def test_a_forged_issuer_does_not_count() -> None:
    forged = made("press", "plant", own_key=key("thief"))
    genuine = authority(own_key=key("genuine plant"))
    assert causes(opinion(forged, trusted=[genuine])) == ["BadCertificateUntrusted"]


def test_what_is_revoked_is_refused_and_an_unknown_or_old_list_is_a_doubt() -> None:
    root, leaf = authority(), made("press", "plant")
    assert opinion(leaf, trusted=[root], crls=[crl("plant")]) == Validation(())
    assert causes(opinion(leaf, trusted=[root], crls=[crl("plant", leaf.serial_number)])) == ["BadCertificateRevoked"]
    assert causes(opinion(leaf, trusted=[leaf, root], crls=[crl("plant", leaf.serial_number)])) == [
        "BadCertificateRevoked"
    ]
    assert "no revocation list" in opinion(leaf, trusted=[root]).warnings[0]
    assert "is old" in opinion(leaf, trusted=[root], crls=[crl("plant", days=(-9, -1))]).warnings[0]


def test_a_revocation_list_counts_only_where_the_authority_has_signed_it() -> None:
    leaf = made("press", "plant")
    genuine = crl("plant", leaf.serial_number)
    assert causes(opinion(leaf, trusted=[authority()], crls=[genuine])) == ["BadCertificateRevoked"]
    another = authority(own_key=key("another plant"))
    assert causes(opinion(made("press", "plant"), trusted=[another], crls=[genuine])) == ["BadCertificateUntrusted"]
    forged = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name("plant"))
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
        .add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(leaf.serial_number).revocation_date(NOW).build()
        )
        .sign(key("thief"), hashes.SHA256())
    )
    assert causes(opinion(leaf, trusted=[authority()], crls=[forged])) == []


def test_another_host_is_a_doubt_where_the_plc_itself_is_trusted_and_refused_where_only_its_authority_is() -> None:
    leaf = made("press", "plant")
    assert "not for 192.0.2.7" in opinion(leaf, host="192.0.2.7", trusted=[leaf]).warnings[0]
    assert causes(opinion(leaf, host="192.0.2.7", trusted=[authority()])) == ["BadCertificateHostNameInvalid"]
    assert causes(opinion(leaf, host="PRESS-7", trusted=[authority()])) == []


def test_a_certificate_that_ends_soon_is_a_doubt() -> None:
    leaf = made("press", days=(-10, 20))
    assert "it ends 2026-07-21" in opinion(leaf, trusted=[leaf]).warnings[0]


def test_chains_are_read_as_opc_ua_sends_them() -> None:
    leaf, root = made("press", "plant"), authority()
    data = leaf.public_bytes(Encoding.DER) + root.public_bytes(Encoding.DER)
    assert [thumbprint(each) for each in parse(data)] == [thumbprint(leaf), thumbprint(root)]
    assert parse(leaf.public_bytes(Encoding.PEM)) == [leaf]


@pytest.mark.parametrize(
    "data", [b"", b"0", b"nonsense", b"0\x82\xff\xff123", b"0\x84", b"0\x02\x05\x00", b"0\x80" * 9, VERSION_4]
)
def test_what_is_no_certificate_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(data)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # what cryptography still reads is ours to refuse
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_certificate_that_was_changed_is_refused_or_unreadable_whatever_was_changed(
    changes: list[tuple[int, int]],
) -> None:
    leaf, root = made("press", "plant"), authority()
    data = bytearray(leaf.public_bytes(Encoding.DER))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        sent = parse(bytes(data))
    except ValueError:
        return
    # What is signed counts: how many bits of the signature are padding may be said in more than one way.
    assert sent[0].tbs_certificate_bytes == leaf.tbs_certificate_bytes or causes(opinion(*sent, trusted=[root]))


def endpoint(policy: str, mode: str, *tokens: tuple[str, str | None], host: str = "plc", level: int = 1) -> Any:
    return ua.EndpointDescription(
        EndpointUrl=f"opc.tcp://{host}:4840",
        SecurityMode=ua.MessageSecurityMode[mode],
        SecurityPolicyUri=POLICIES[policy].URI,
        SecurityLevel=level,
        UserIdentityTokens=[
            ua.UserTokenPolicy(
                PolicyId=f"{kind}-{protected}",
                TokenType=ua.UserTokenType[kind],
                SecurityPolicyUri=POLICIES[protected].URI if protected in POLICIES else protected,
            )
            for kind, protected in tokens
        ],
    )


def access(policy: str = "Basic256Sha256", mode: str = "SignAndEncrypt", **user: Any) -> AccessSettings:
    kind = user.get("kind", "anonymous")
    more = {"password": {"name": "press", "password_file": "/x"}, "certificate": {}}.get(kind, {})
    return AccessSettings.model_validate(
        {"security": {"policy": policy, "mode": mode}, "user": {"kind": kind} | more if user else {"kind": "anonymous"}}
    )


def test_an_endpoint_with_a_name_that_leads_nowhere_counts_and_our_own_host_comes_first() -> None:
    elsewhere = endpoint("Basic256Sha256", "SignAndEncrypt", host="plc-internal", level=9)
    ours = endpoint("Basic256Sha256", "SignAndEncrypt", host="10.0.0.7")
    assert choose([elsewhere, ours], access(), host="10.0.0.7") is ours
    assert choose([elsewhere], access(), host="10.0.0.7") is elsewhere


def test_no_weaker_endpoint_is_taken_instead() -> None:
    offered = [endpoint("none", "None_"), endpoint("Basic256Sha256", "Sign")]
    with pytest.raises(NotOffered, match="it offers none, Basic256Sha256 with Sign"):
        choose(offered, access(), host="plc")


def test_a_password_is_never_sent_in_clear_text() -> None:
    password = {"kind": "password"}
    for protected in ("none", "http://opcfoundation.org/UA/SecurityPolicy#Basic128Rsa15"):
        with pytest.raises(NotOffered, match="only unprotected"):
            token_policies(endpoint("Basic256Sha256", "Sign", ("UserName", protected)), access(mode="Sign", **password))
    inside = endpoint("Basic256Sha256", "SignAndEncrypt", ("UserName", "none"), ("UserName", None))
    ids = [token.PolicyId for token in token_policies(inside, access(**password))]
    assert ids == ["UserName-None", "UserName-none"]  # the endpoint's own policy before none
    with pytest.raises(NotOffered, match="offers password"):
        token_policies(inside, access())
