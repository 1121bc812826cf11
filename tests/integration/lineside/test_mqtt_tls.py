"""The bus over TLS against a real mosquitto: what is right connects, what is wrong says which, and never goes plain."""

import asyncio
import contextlib
import datetime as dt
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from lineside.bus.mqtt import MqttBus
from lineside.bus.tls import context
from lineside.connections import Connection, State
from lineside.settings import BusSettings, BusTlsSettings
from tests.support.mqtt_broker import MOSQUITTO
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, until

PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@dataclass
class Place:
    """A broker that speaks TLS only, on a port of this machine, and the authority that signed for it."""

    folder: Path
    port: int
    authority: trustme.CA

    def settings(self, **given) -> BusSettings:
        group = {"ca_file": self.folder / "ca.pem", **given.pop("tls", {})}
        return BusSettings(**{"port": self.port, "tls": BusTlsSettings(**group), "keepalive_s": 2, **given})


@pytest.fixture
def serve(tmp_path: Path) -> Iterator:
    if not MOSQUITTO:
        pytest.skip("mosquitto is not installed")
    running: list[subprocess.Popen] = []

    def start(*names: str, until: dt.datetime | None = None, wants: str = "") -> Place:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        certificate = authority.issue_cert(*(names or ("127.0.0.1", "localhost")), not_after=until)
        certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
        for index, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(tmp_path / "cert.pem", append=index > 0)
        place = Place(tmp_path, free_port(), authority)
        (tmp_path / "mosquitto.conf").write_text(
            f"listener {place.port} 127.0.0.1\nallow_anonymous true\nuser root\ncertfile {tmp_path}/cert.pem\n"
            f"keyfile {tmp_path}/key.pem\ncafile {tmp_path}/ca.pem\n{wants}\n"
        )
        with (tmp_path / "mosquitto.log").open("wb") as log:
            running.append(subprocess.Popen([MOSQUITTO, "-c", str(tmp_path / "mosquitto.conf")], stderr=log))
        return place

    yield start
    for process in running:
        process.terminate()
        process.wait(HANG_S)


async def settle(settings: BusSettings, *, say: str = "") -> Connection:
    """Enter a bus until it is online or says what is asked for; return its connection as it then is."""
    link = Connection("bus", settings.url, first_s=0.05, longest_s=0.2)
    async with MqttBus(settings, client="tls-test", connection=link):
        await until(lambda: say in link.detail if say else link.is_online)
        return link


async def test_a_broker_whose_certificate_is_right_is_used(serve) -> None:
    place = serve()
    link = await settle(place.settings())
    assert link.target == f"mqtts://127.0.0.1:{place.port}"


async def test_messages_go_over_it(serve) -> None:
    settings = serve().settings()
    link = Connection("bus", settings.url, first_s=0.05, longest_s=0.2)
    bus = MqttBus(settings, client="tls-test", connection=link)
    messages = aiter(bus.subscribe("t/1"))
    async with bus, asyncio.timeout(HANG_S):
        await bus.publish("t/1", b"over TLS")
        message = await anext(messages)
        message.ack()
    assert message.payload == b"over TLS"


async def test_another_authority_is_refused(serve, tmp_path: Path) -> None:
    place = serve()
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    link = await settle(place.settings(tls={"ca_file": tmp_path / "other.pem"}), say="bus.tls.ca_file")
    assert link.state is State.BACKOFF
    assert "the broker's certificate is refused" in link.detail


async def test_another_host_name_is_refused(serve) -> None:
    link = await settle(serve("broker.plant.example").settings(), say="bus.host")
    assert link.state is State.BACKOFF
    assert "it is '127.0.0.1'" in link.detail


async def test_an_expired_certificate_is_refused(serve) -> None:
    link = await settle(serve(until=PAST).settings(), say="expired")
    assert link.state is State.BACKOFF
    assert "renew the broker's certificate" in link.detail


async def test_a_broker_without_tls_is_not_talked_to(serve, tmp_path: Path) -> None:
    place = serve()
    plain = free_port()
    (tmp_path / "plain.conf").write_text(f"listener {plain} 127.0.0.1\nallow_anonymous true\nuser root\n")
    process = await asyncio.create_subprocess_exec(MOSQUITTO, "-c", str(tmp_path / "plain.conf"))
    try:
        link = await settle(place.settings(port=plain), say="TLS with the broker")
        assert link.state is State.BACKOFF
        await settle(BusSettings(port=plain))  # it does take who asks plainly
    finally:
        process.terminate()
        await process.wait()


async def test_without_tls_a_broker_that_wants_it_says_so(serve) -> None:
    place = serve()
    link = await settle(BusSettings(port=place.port, keepalive_s=2), say="bus.tls")
    assert link.state is State.BACKOFF


async def test_a_broker_that_asks_for_a_certificate_gets_it(serve, tmp_path: Path) -> None:
    place = serve(wants="require_certificate true")
    own = place.authority.issue_cert("topic-bridge")
    own.private_key_pem.write_to_path(tmp_path / "own-key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "own.pem")
    link = await settle(place.settings(), say="bus.tls.cert_file")
    assert link.state is State.BACKOFF
    await settle(place.settings(tls={"cert_file": tmp_path / "own.pem", "key_file": tmp_path / "own-key.pem"}))


@pytest.mark.parametrize(
    ("tls", "say"),
    [
        ({"ca_file": Path("/nowhere/ca.pem")}, "bus.tls.ca_file /nowhere/ca.pem cannot be used: No such file"),
        (
            {"cert_file": Path("/nowhere/own.pem"), "key_file": Path("/nowhere/key.pem")},
            "bus.tls.cert_file /nowhere/own.pem with key_file /nowhere/key.pem cannot be used: No such file",
        ),
    ],
)
async def test_a_file_that_is_not_there_is_named_and_comes_later(serve, tls, say) -> None:
    link = await settle(serve().settings(tls=tls), say=say)
    assert link.state is State.BACKOFF


def test_what_the_page_makes_is_accepted_by_the_strictest(tmp_path: Path) -> None:
    """The commands of docs/how-to/secure-the-broker.md; Python 3.13 checks more of a certificate than those before."""
    page = (ROOT / "docs" / "how-to" / "secure-the-broker.md").read_text(encoding="utf-8")
    commands = page[page.index("mkdir -p secrets/tls") :].partition("```")[0]
    kept = "\n".join(row for row in commands.splitlines() if "sudo" not in row)
    subprocess.run(["sh", "-euc", kept], cwd=tmp_path, check=True, capture_output=True)
    folder = tmp_path / "secrets" / "tls"
    trusting = context(BusTlsSettings(ca_file=folder / "ca.pem"), 8883)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "broker.pem", folder / "broker-key.pem")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(back, there, server_hostname="broker")
    server = serving.wrap_bio(there, back, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.version() in {"TLSv1.2", "TLSv1.3"}
    assert client.getpeercert()


async def test_a_renewed_authority_counts_without_a_restart(serve, tmp_path: Path) -> None:
    place = serve()
    right = (tmp_path / "ca.pem").read_bytes()
    trustme.CA().cert_pem.write_to_path(tmp_path / "used.pem")
    settings = place.settings(tls={"ca_file": tmp_path / "used.pem"})
    link = Connection("bus", settings.url, first_s=0.05, longest_s=0.2)
    async with MqttBus(settings, client="tls-test", connection=link):
        await until(lambda: "is refused" in link.detail)
        (tmp_path / "used.pem").write_bytes(right)
        await until(lambda: link.is_online)
