"""What each account may do at the broker: a real mosquitto with the very files that the containers get."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.support.mqtt_broker import MOSQUITTO
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, until

FILES = ROOT / "docker" / "mosquitto"
REQUEST, RESULT = "local/inference/request", "local/inference/result"
ERROR = f"{RESULT}/error"
POLICY = "lineside/box-7/policy"
REPORTED, DOCTOR = f"{POLICY}/reported", "lineside/box-7/doctor/1"
OUTCOME, STATUS = "local/inference/outcome", "lineside/box-7/status"
TOPICS = (REQUEST, RESULT, ERROR, POLICY, REPORTED, DOCTOR, OUTCOME, STATUS, "local/else", "$SYS/broker/uptime")
FENCE = "fence"
READS = {
    "topic-bridge": {REQUEST, POLICY, REPORTED, OUTCOME, STATUS},
    "opcua-bridge": {RESULT, ERROR, REPORTED},
    "exporter": {RESULT, POLICY, REPORTED},
    "bench": {REQUEST, RESULT, ERROR, REPORTED, OUTCOME},
    "operator": {RESULT, ERROR, POLICY, REPORTED, DOCTOR, OUTCOME, STATUS},
    "health": {"$SYS/broker/uptime"},
    "somebody": set(),
}
WRITES = {
    "topic-bridge": {RESULT, ERROR, REPORTED},
    "opcua-bridge": {REQUEST, OUTCOME, STATUS},
    "exporter": set(),
    "bench": set(),
    "operator": {REQUEST, POLICY, DOCTOR},
    "health": set(),
    "somebody": set(),
}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A broker with our configuration, its places moved into a folder, and one account more that may do everything."""
    if not MOSQUITTO or not shutil.which("mosquitto_passwd"):
        pytest.skip("mosquitto is not installed")
    folder = tmp_path_factory.mktemp("broker")
    number = free_port()
    passwords = folder / "passwd"
    passwords.write_text("".join(f"{account}:of {account}\n" for account in (*READS, "root")))
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
    (folder / "acl").write_text(
        (FILES / "acl").read_text() + f"pattern readwrite {FENCE}\nuser root\ntopic readwrite #\n"
    )
    told = (FILES / "mosquitto.conf").read_text()
    moved = {
        "listener 1883\n": f"listener {number} 127.0.0.1\nuser root\n",
        "/run/secrets/lineside": str(folder),
        "/mosquitto/data": str(folder),
    }
    for there, here in moved.items():
        assert there in told
        told = told.replace(there, here)
    (folder / "mosquitto.conf").write_text(told)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([MOSQUITTO, "-c", folder / "mosquitto.conf"], stderr=log)
    try:
        yield number
    finally:
        process.terminate()
        process.wait(HANG_S)


class Peer:
    """One account's connection; what comes and what is answered is waited for."""

    def __init__(self, account: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = port
        self._connected: asyncio.Future[bool] = self._loop.create_future()
        self._answers: asyncio.Queue[int] = asyncio.Queue()
        self._taken: asyncio.Queue[str] = asyncio.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(account, f"of {account}")
        self._client.on_connect = lambda *given: self._soon(self._connected.set_result, not given[3].is_failure)
        self._client.on_publish = lambda *given: self._soon(self._answers.put_nowait, given[3].value)
        self._client.on_message = lambda *given: self._soon(self._taken.put_nowait, given[2].topic)

    def _soon(self, call: Any, value: object) -> None:
        self._loop.call_soon_threadsafe(call, value)

    async def __aenter__(self) -> Self:
        await until(
            lambda: self._client.connect("127.0.0.1", self._port) == paho.MQTT_ERR_SUCCESS,
            despite=(ConnectionRefusedError,),
        )
        self._client.loop_start()
        assert await asyncio.wait_for(self._connected, HANG_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def writes(self, topic: str, *, retain: bool = False) -> bool:
        self._client.publish(topic, b"x", qos=1, retain=retain)
        return await asyncio.wait_for(self._answers.get(), HANG_S) < 128

    async def reads(self, *topics: str) -> set[str]:
        """Return of which topics what is retained comes; it comes in the order of the subscription, the fence last."""
        self._client.subscribe([*((topic, 1) for topic in topics), (FENCE, 1)])
        taken: set[str] = set()
        while (topic := await asyncio.wait_for(self._taken.get(), HANG_S)) != FENCE:
            taken.add(topic)
        return taken


@pytest.fixture
async def retained(port: int) -> int:
    async with Peer("root", port) as root:
        for topic in (*(topic for topic in TOPICS if not topic.startswith("$")), FENCE):
            assert await root.writes(topic, retain=True)
        assert await root.reads(*TOPICS) == set(TOPICS) - {"$SYS/broker/uptime"}  # the control: all of it is there
    return port


@pytest.mark.parametrize("account", sorted(READS))
async def test_an_account_reads_what_it_needs_and_no_more(retained: int, account: str) -> None:
    async with Peer(account, retained) as peer:
        assert await peer.reads(*TOPICS) == READS[account]


@pytest.mark.parametrize("account", sorted(WRITES))
async def test_an_account_writes_what_it_needs_and_no_more(retained: int, account: str) -> None:
    async with Peer(account, retained) as peer:
        done = {topic for topic in TOPICS if not topic.startswith("$") and await peer.writes(topic)}
    assert done == WRITES[account]
