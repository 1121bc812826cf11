"""What brokers announce and refuse: a real mosquitto with its settings; what it never does, a broker of ours."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trustme

from lineside.bus.anybody import takes_anybody
from lineside.bus.mqtt import MqttBus, MqttSubscription
from lineside.bus.tls import context
from lineside.checks import Mark
from lineside.cli import common_checks
from lineside.connections import Connection, State
from lineside.errors import MessageRefused
from lineside.settings import BusSettings, BusTlsSettings
from tests.support.mqtt_broker import MOSQUITTO, Broker
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, until

DYNSEC = Path("/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so")
BOTH = ("5", "3.1.1")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., BusSettings]]:
    """Start a mosquitto with these lines in its configuration, and return how to reach it."""
    if not MOSQUITTO:
        pytest.skip("mosquitto is not installed")
    running: list[subprocess.Popen[bytes]] = []

    def start(lines: str, **settings: object) -> BusSettings:
        port = free_port()
        config = tmp_path / f"{port}.conf"
        config.write_text(f"user root\nlistener {port} 127.0.0.1\n{lines}\n")
        with (tmp_path / "mosquitto.log").open("ab") as log:
            running.append(subprocess.Popen([MOSQUITTO, "-c", config], stderr=log))
        return BusSettings.model_validate({"port": port, "keepalive_s": 10} | settings)

    yield start
    for process in running:
        process.terminate()
        process.wait(HANG_S)


@pytest.fixture
def dynamic_security(tmp_path: Path) -> tuple[str, Path]:
    """Return the program that changes a mosquitto's rights while it runs, and its file of them."""
    if not DYNSEC.exists() or not (control := shutil.which("mosquitto_ctrl")):
        pytest.skip("mosquitto's dynamic security is not installed")
    rules = tmp_path / "rules.json"
    subprocess.run([control, "dynsec", "init", rules, "admin", "of admin"], check=True, capture_output=True)
    (tmp_path / "password").write_text("of box\n")
    return control, rules


class Client:
    """A bus, what it subscribed to, and every state of its connection."""

    def __init__(self, settings: BusSettings, name: str, *topics: str) -> None:
        self.link = Connection(name, settings.url, first_s=0.02, longest_s=0.2)
        self.bus = MqttBus(settings, client=name, connection=self.link)
        self.subscriptions = {topic: self.bus.subscribe(topic) for topic in topics}

    @contextlib.asynccontextmanager
    async def living(self, *, online: bool = True) -> AsyncIterator["Client"]:
        async with self.bus:
            if online:
                await until(lambda: self.link.is_online)
            yield self

    async def take(self, topic: str, count: int = 1) -> list[bytes]:
        return await take(self.subscriptions[topic], count)


async def take(subscription: MqttSubscription, count: int) -> list[bytes]:
    taken: list[bytes] = []
    async with asyncio.timeout(HANG_S):
        async for message in subscription:
            message.ack()
            taken.append(message.payload)
            if len(taken) == count:
                return taken
    raise AssertionError("a subscription ended")


async def test_a_broker_that_retains_nothing_gets_what_should_be_retained_unretained(mosquitto) -> None:
    settings = mosquitto("allow_anonymous true\nretain_available false")
    async with Client(settings, "taker", "t").living() as taker, Client(settings, "giver").living() as giver:
        await giver.bus.publish("t", b"kept elsewhere", retain=True)
        await giver.bus.publish("t", b"after")
        assert await taker.take("t", 2) == [b"kept elsewhere", b"after"]
        assert giver.link.is_online
        assert giver.link.detail == "MQTT 5, retains nothing"


async def test_a_broker_that_retains_still_does(mosquitto) -> None:
    settings = mosquitto("allow_anonymous true")
    async with Client(settings, "giver").living() as giver:
        await giver.bus.publish("t", b"kept", retain=True)
        assert giver.link.detail == "MQTT 5"
    async with Client(settings, "taker", "t").living() as taker:
        assert await taker.take("t") == [b"kept"]


@pytest.mark.parametrize("protocol", BOTH)
async def test_a_message_larger_than_the_broker_takes_is_refused_and_holds_up_no_other(
    mosquitto, protocol: str
) -> None:
    settings = mosquitto("allow_anonymous true\nmax_packet_size 2000", protocol=protocol)
    async with Client(settings, "taker", "t").living() as taker, Client(settings, "giver").living() as giver:
        small = [str(number).encode() for number in range(30)]
        sending = [asyncio.create_task(giver.bus.publish("t", payload)) for payload in small[:15]]
        large = asyncio.create_task(giver.bus.publish("t", b"x" * 3000))
        sending += [asyncio.create_task(giver.bus.publish("t", payload)) for payload in small[15:]]
        async with asyncio.timeout(HANG_S):
            await asyncio.gather(*sending)
            with pytest.raises(MessageRefused) as refused:
                await large
        assert refused.value.transient is False
        why = "the broker takes 2000" if protocol == "5" else "3 times at a message of 3000 bytes"
        assert why in str(refused.value)
        taken: set[bytes] = set()
        while taken != set(small):  # what was under way when the connection fell may come twice
            taken.update(await taker.take("t"))


async def test_no_more_is_under_way_than_the_broker_announces(mosquitto) -> None:
    settings = mosquitto("allow_anonymous true\nmax_inflight_messages 2")
    async with Client(settings, "taker", "t").living() as taker, Client(settings, "giver").living() as giver:
        states = giver.link.attempts
        async with asyncio.timeout(HANG_S):
            await asyncio.gather(*(giver.bus.publish("t", b"%d" % number) for number in range(100)))
        assert len(set(await taker.take("t", 100))) == 100
        assert giver.link.attempts == states == 0


async def test_a_broker_of_qos_0_is_named(mosquitto) -> None:
    settings = mosquitto("allow_anonymous true\nmax_qos 0")
    async with Client(settings, "giver").living(online=False) as giver:
        await until(lambda: "maximum QoS 0" in giver.link.detail)
        assert not giver.link.is_online


async def test_what_is_too_large_for_us_stays_at_the_broker(mosquitto) -> None:
    settings = mosquitto("allow_anonymous true")
    async with Client(settings, "taker", "t").living() as taker, Client(settings, "giver").living() as giver:
        for payload in (b"x" * 2 * 1024 * 1024, b"y" * 500_000, b"after"):
            await giver.bus.publish("t", payload)
        assert [len(each) for each in await taker.take("t", 2)] == [500_000, 5]


@pytest.mark.parametrize("protocol", BOTH)
async def test_a_topic_that_we_may_not_read_is_a_state_and_the_others_go_on(
    mosquitto, dynamic_security: tuple[str, Path], tmp_path: Path, protocol: str
) -> None:
    control, rules = dynamic_security
    settings = mosquitto(
        f"plugin {DYNSEC}\nplugin_opt_config_file {rules}\nallow_anonymous false",
        protocol=protocol,
        username="box",
        password_file=tmp_path / "password",
    )

    async def allow(*words: str) -> None:
        port = str(settings.port)
        call = [control, "-h", "127.0.0.1", "-p", port, "-u", "admin", "-P", "of admin", "dynsec", *words]

        async def done() -> bool:
            return not await (await asyncio.create_subprocess_exec(*call, stderr=subprocess.DEVNULL)).wait()

        await until(done)

    await allow("createRole", "line")
    for kind, topic in (("subscribeLiteral", "t/1"), ("publishClientReceive", "#"), ("publishClientSend", "#")):
        await allow("addRoleACL", "line", kind, topic, "allow")
    await allow("createClient", "box", "-p", "of box")
    await allow("addClientRole", "box", "line")
    async with Client(settings, "both", "t/1", "t/2").living(online=False) as both:
        await until(lambda: "does not let 'box' read 't/2'" in both.link.detail)
        assert both.link.state is State.BACKOFF
        await both.bus.publish("t/1", b"goes on")
        assert await both.take("t/1") == [b"goes on"]
        await allow("addRoleACL", "line", "subscribeLiteral", "t/2", "allow")
        await until(lambda: both.link.is_online)
        await both.bus.publish("t/2", b"now too")
        assert await both.take("t/2") == [b"now too"]


class Strict:
    """A broker as AWS IoT Core is one: it closes at a ninth filter, and at a topic that is not allowed."""

    def __init__(self) -> None:
        self.connects = 0
        self.filters: list[int] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[BusSettings]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield BusSettings(port=self.port, protocol="3.1.1", keepalive_s=10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind = (await reader.readexactly(1))[0]
                body = await reader.readexactly(await self._length(reader))
                answer = self._answer(kind, body)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    async def _length(self, reader: asyncio.StreamReader) -> int:
        length, shift = 0, 0
        while True:
            byte = (await reader.readexactly(1))[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return length

    def _answer(self, kind: int, body: bytes) -> bytes | None:
        match kind >> 4:
            case 1:
                self.connects += 1
                return b"\x20\x02\x00\x00"
            case 3:
                length = int.from_bytes(body[:2])
                topic, mid = body[2 : 2 + length], body[2 + length : 4 + length]
                return None if topic == b"forbidden" else b"\x40\x02" + mid
            case 8:
                place, found = 2, []
                while place < len(body):
                    length = int.from_bytes(body[place : place + 2])
                    found.append(body[place + 2 : place + 2 + length])
                    place += 3 + length
                self.filters.append(len(found))
                if len(found) > 8 or b"forbidden" in found:
                    return None
                return bytes([0x90, 2 + len(found)]) + body[:2] + b"\x01" * len(found)
            case 12:
                return b"\xd0\x00"
            case _:
                return b""


async def test_more_topics_than_one_subscribe_may_name_are_asked_for_in_several() -> None:
    broker = Strict()
    topics = [f"t/{number}" for number in range(19)]
    async with broker.serving() as settings, Client(settings, "taker", *topics).living():
        assert broker.filters == [8, 8, 3]
        assert broker.connects == 1


async def test_a_topic_at_which_the_broker_closes_is_named_and_not_taken_for_tls() -> None:
    async with Strict().serving() as settings, Client(settings, "taker", "forbidden").living(online=False) as taker:
        await until(lambda: "closed the connection at SUBSCRIBE" in taker.link.detail)
        assert "may we read forbidden?" in taker.link.detail
        assert "TLS" not in taker.link.detail


async def test_a_message_at_which_the_broker_closes_is_refused_and_the_others_are_taken() -> None:
    broker = Strict()
    async with broker.serving() as settings, Client(settings, "giver").living() as giver, asyncio.timeout(HANG_S):
        bad = asyncio.create_task(giver.bus.publish("forbidden", b"x"))
        await asyncio.gather(*(giver.bus.publish("t", b"x") for _ in range(50)))
        with pytest.raises(MessageRefused, match="3 times at a message of 1 bytes on 'forbidden'"):
            await bad
        assert broker.connects == 4


@pytest.mark.parametrize(
    ("port", "ours", "set_to", "named"),
    [
        (443, True, None, "x-amzn-mqtt-ca"),
        (443, False, None, "mqtt"),
        (8883, True, None, None),
        (8883, False, "mqtt", "mqtt"),
        (443, True, "mqtt", "mqtt"),
    ],
)
def test_the_handshake_on_the_port_of_https_says_that_mqtt_is_meant(
    tmp_path: Path, port: int, ours: bool, set_to: str | None, named: str | None
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("box")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    files = {"cert_file": tmp_path / "own.pem", "key_file": tmp_path / "own.pem"} if ours else {}
    settings = BusTlsSettings.model_validate({"ca_file": tmp_path / "ca.pem", "alpn": set_to} | files)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("broker").configure_cert(serving)
    serving.set_alpn_protocols(["x-amzn-mqtt-ca", "mqtt"])
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context(settings, port).wrap_bio(back, there, server_hostname="broker")
    server = serving.wrap_bio(there, back, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert server.selected_alpn_protocol() == named


@pytest.mark.parametrize("anybody", [True, False])
@pytest.mark.parametrize("protocol", BOTH)
async def test_the_doctor_warns_of_a_broker_without_accounts(
    mosquitto, tmp_path: Path, anybody: bool, protocol: str
) -> None:
    (tmp_path / "password").write_text("of box\n")
    (tmp_path / "accounts").write_text("box:of box\n")
    await asyncio.to_thread(subprocess.run, ["mosquitto_passwd", "-U", tmp_path / "accounts"], check=True)
    settings = mosquitto(
        f"allow_anonymous {'true' if anybody else 'false'}\npassword_file {tmp_path / 'accounts'}",
        username="box",
        password_file=tmp_path / "password",
        protocol=protocol,
    )
    async with Client(settings, "box").living():
        check = await common_checks._accounts(settings)
    assert check.mark is (Mark.WARN if anybody else Mark.OK)
    assert ("takes anybody" in check.what) is anybody


async def test_the_doctor_warns_of_amqtt(tmp_path: Path) -> None:
    broker = Broker("amqtt", tmp_path)
    broker.start()
    try:
        async with Client(broker.settings, "box").living():
            assert await takes_anybody(broker.settings)
    finally:
        broker.stop()
