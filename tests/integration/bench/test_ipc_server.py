"""The IPC server as the AWS SDK's client meets it."""

import datetime as dt
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from lineside.greengrass.client import Client
from lineside.greengrass.component import Component
from lineside.greengrass.errors import Conflict, ConnectionEnded, NotFound, Refused, Unauthorized
from lineside_bench.greengrass.ipc_server import CLASSIC, LITE, IpcServer
from lineside_bench.greengrass.ipc_server.framing import Decoder, Frame, encode
from tests.support.greengrass import COMPONENT, access_control, client_of, core_device, identity
from tests.support.waiting import HANG_S, block_until

OTHER = "com.lineside.Other"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Ear:
    """Notes what a stream gives."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.is_closed = False

    def event(self, event: Any) -> None:
        self.events.append(event)

    def unreadable(self, reason: str) -> None:
        self.events.append(reason)

    def closed(self) -> None:
        self.is_closed = True

    def payloads(self) -> list[bytes]:
        return [event.binary_message.message for event in self.events]


@pytest.fixture(params=[CLASSIC, LITE], ids=lambda manner: manner.name)
def server(request: pytest.FixtureRequest) -> Iterator[IpcServer]:
    with core_device(request.param, COMPONENT, OTHER) as running:
        yield running


@pytest.fixture
def client(server: IpcServer) -> Iterator[Client]:
    with client_of(server) as made:
        yield made


def listen(client: Client, operation: str = "SubscribeToTopic", **fields: Any) -> Ear:
    ear = Ear()
    client.listen(operation, ear, **fields).result(HANG_S)
    return ear


def ask(client: Client, operation: str, **fields: Any) -> Any:
    return client.ask(operation, **fields).result(HANG_S)


def publish(client: Client, topic: str, payload: bytes) -> None:
    shape = client.shape
    message = shape("PublishMessage", binary_message=shape("BinaryMessage", message=payload))
    ask(client, "PublishToTopic", topic=topic, publish_message=message)


def test_messages_come_in_the_order_of_their_publisher(server: IpcServer, client: Client) -> None:
    with client_of(server, OTHER) as other:
        ear = listen(other, topic="t/1")
        sent = [str(number).encode() for number in range(500)]
        shape = client.shape
        answers = [
            client.ask(
                "PublishToTopic",
                topic="t/1",
                publish_message=shape("PublishMessage", binary_message=shape("BinaryMessage", message=each)),
            )
            for each in sent
        ]
        for answer in answers:
            answer.result(HANG_S)
        block_until(lambda: len(ear.events) == len(sent))
        assert ear.payloads() == sent
        assert {event.binary_message.context.topic for event in ear.events} == {"t/1"}


def test_who_subscribes_later_gets_nothing_of_before(client: Client) -> None:
    publish(client, "t", b"before")
    ear = listen(client, topic="t")
    publish(client, "t", b"after")
    block_until(lambda: ear.events)
    assert ear.payloads() == [b"after"]


@pytest.mark.parametrize(
    ("wanted", "mode", "classic", "lite"),
    [
        ("t/1", None, [b"own", b"other"], [b"own", b"other"]),
        ("t/+", None, [b"other"], [b"own", b"other"]),
        ("t/#", "RECEIVE_ALL_MESSAGES", [b"own", b"other"], [b"own", b"other"]),
        ("t/1", "RECEIVE_MESSAGES_FROM_OTHERS", [b"other"], [b"own", b"other"]),
    ],
)
def test_own_messages_by_the_receive_mode(
    server: IpcServer, client: Client, wanted: str, mode: str | None, classic: list[bytes], lite: list[bytes]
) -> None:
    ear = listen(client, topic=wanted, receive_mode=mode)
    publish(client, "t/1", b"own")
    server.publish("t/1", b"other")
    block_until(lambda: b"other" in ear.payloads())
    assert ear.payloads() == (classic if server.core.manner is CLASSIC else lite)


def test_a_subscription_ends_when_the_client_ends_it(server: IpcServer, client: Client) -> None:
    ear = Ear()
    end = client.listen("SubscribeToTopic", ear, topic="t").result(HANG_S)
    end()
    block_until(lambda: ear.is_closed)
    assert len(server.local) == 0
    publish(client, "t", b"nobody")
    assert ear.events == []


def test_what_the_policies_do_not_allow_is_named_with_the_lines_to_add(server: IpcServer, client: Client) -> None:
    server.core.components[COMPONENT].configuration["accessControl"] = {}
    with pytest.raises(Unauthorized) as refused:
        publish(client, "local/x", b"")
    assert refused.value.what == "com.lineside.Test may not use PublishToTopic on 'local/x'"
    added = json.loads(refused.value.remedy.partition(": ")[2])
    server.core.components[COMPONENT].configuration["accessControl"] = added
    publish(client, "local/x", b"")
    with pytest.raises(Unauthorized, match=r"SubscribeToTopic on 'local/x'.*aws\.greengrass#SubscribeToTopic"):
        client.listen("SubscribeToTopic", Ear(), topic="local/x").result(HANG_S)


def test_errors_have_a_text_in_the_classic_manner_only(server: IpcServer, client: Client) -> None:
    with pytest.raises(NotFound) as refused:
        ask(client, "GetConfiguration", key_path=["missing"])
    says_why = "Key not found" in str(refused.value)
    assert says_why is server.core.manner.plain_messages


def test_configuration_is_read_by_paths(server: IpcServer, client: Client) -> None:
    server.core.add("com.x", {"a": {"b": 7, "c": [1, True]}, "t": "x"})
    lite = server.core.manner is LITE
    assert ask(client, "GetConfiguration", component_name="com.x", key_path=["a", "b"]).value == {
        "b": "7" if lite else 7
    }
    assert ask(client, "GetConfiguration", component_name="com.x", key_path=["a"]).value == {
        "b": "7" if lite else 7,
        "c": ["1", "true"] if lite else [1, True],
    }
    with pytest.raises(NotFound):
        ask(client, "GetConfiguration", component_name="com.none", key_path=[])


def test_a_changed_configuration_is_told_to_who_watches_that_part(server: IpcServer, client: Client) -> None:
    server.core.merge(COMPONENT, (), {"policy": {"threshold": 0.5}})
    ear = listen(client, "SubscribeToConfigurationUpdate", key_path=["policy"])
    ask(client, "UpdateConfiguration", key_path=["other"], value_to_merge={"x": 1}, timestamp=NOW)
    ask(client, "UpdateConfiguration", key_path=["policy"], value_to_merge={"threshold": 0.75}, timestamp=NOW)
    server.core.merge(COMPONENT, ("policy",), {"enabled": True})
    block_until(lambda: len(ear.events) == 2)
    assert [event.configuration_update_event.key_path for event in ear.events] == [
        ["policy", "threshold"],
        ["policy", "enabled"],
    ]
    assert ask(client, "GetConfiguration", key_path=["policy"]).value == {"threshold": 0.75, "enabled": True}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["scalar"], {"below": 1}),
        ([], {"map": 5}),
        ([], None),
        ([], {"accessControl": {}}),
        (["accessControl"], {"x": {}}),
    ],
)
def test_updates_that_do_not_fit_are_refused(server: IpcServer, client: Client, path: list[str], value: Any) -> None:
    server.core.merge(COMPONENT, (), {"scalar": 1, "map": {"x": 1}})
    with pytest.raises(Refused):
        ask(client, "UpdateConfiguration", key_path=path, value_to_merge=value, timestamp=NOW)
    assert server.core.read(COMPONENT, ("scalar",)) == 1
    assert server.core.read(COMPONENT, ("map",)) == {"x": 1}


def test_an_older_update_changes_nothing(server: IpcServer, client: Client) -> None:
    ask(client, "UpdateConfiguration", value_to_merge={"x": 1}, timestamp=NOW)
    before = NOW - dt.timedelta(seconds=5)
    if server.core.manner is CLASSIC:
        with pytest.raises(Conflict, match="older than"):
            ask(client, "UpdateConfiguration", value_to_merge={"x": 2}, timestamp=before)
    else:
        ask(client, "UpdateConfiguration", value_to_merge={"x": 2}, timestamp=before)
    assert server.core.read(COMPONENT, ("x",)) == 1


def test_a_state_is_reported(server: IpcServer, client: Client) -> None:
    told = []
    server.core.on_state.append(lambda *state: told.append(state))
    ask(client, "UpdateState", state="RUNNING")
    assert told == [(COMPONENT, "RUNNING")]
    with pytest.raises(Refused):
        ask(client, "UpdateState", state="WELL")


def test_messages_go_to_and_come_from_iot_core(server: IpcServer, client: Client) -> None:
    ear = listen(client, "SubscribeToIoTCore", topic_name="$aws/things/bench/+", qos="1")
    ask(client, "PublishToIoTCore", topic_name="up", qos="1", payload=b"1")
    server.from_cloud("$aws/things/bench/x", b"2")
    block_until(lambda: ear.events)
    assert server.sent_to_cloud == [(COMPONENT, "up", b"1")]
    assert [(each.message.topic_name, each.message.payload) for each in ear.events] == [("$aws/things/bench/x", b"2")]


def test_shadows_are_served_in_the_classic_manner() -> None:
    with core_device(CLASSIC) as server, client_of(server) as client:
        of = {"thing_name": "bench", "shadow_name": "lineside"}
        delta = listen(client, topic="$aws/things/bench/shadow/name/lineside/update/delta")
        with pytest.raises(NotFound):
            ask(client, "GetThingShadow", **of)
        server.update_shadow("lineside", b'{"state": {"desired": {"enabled": false, "x": 1}}}')
        ask(client, "UpdateThingShadow", **of, payload=b'{"state": {"reported": {"x": 1}}, "version": 1}')
        document = json.loads(ask(client, "GetThingShadow", **of).payload)
        assert document["state"]["delta"] == {"enabled": False}
        assert document["version"] == 2
        with pytest.raises(Conflict):
            ask(client, "UpdateThingShadow", **of, payload=b'{"state": {"reported": {}}, "version": 1}')
        with pytest.raises(Refused, match="8192"):
            ask(client, "UpdateThingShadow", **of, payload=json.dumps({"state": {"desired": "x" * 9000}}).encode())
        block_until(lambda: len(delta.events) == 2)
        assert [json.loads(each)["state"] for each in delta.payloads()] == [
            {"enabled": False, "x": 1},
            {"enabled": False},
        ]
        assert ask(client, "ListNamedShadowsForThing", thing_name="bench").results == ["lineside"]
        ask(client, "DeleteThingShadow", **of)
        assert server.core.shadows == {}


def test_a_configuration_is_judged_in_the_classic_manner() -> None:
    with core_device(CLASSIC) as server, client_of(server) as client:
        ear = listen(client, "SubscribeToValidateConfigurationUpdates")
        assert server.ask_validity(COMPONENT, {"x": "ten"}, "d-1") == 1
        block_until(lambda: ear.events)
        asked = ear.events[0].validate_configuration_update_event
        assert (asked.configuration, asked.deployment_id) == ({"x": "ten"}, "d-1")
        report = client.shape("ConfigurationValidityReport", status="REJECTED", deployment_id="d-1", message="x: ten")
        ask(client, "SendConfigurationValidityReport", configuration_validity_report=report)
        assert server.reports == [(COMPONENT, {"status": "REJECTED", "deploymentId": "d-1", "message": "x: ten"})]


def test_an_update_is_put_off_in_the_classic_manner() -> None:
    with core_device(CLASSIC) as server, client_of(server) as client:
        with pytest.raises(Refused, match="not subscribed"):
            ask(client, "DeferComponentUpdate", deployment_id="d-1", recheck_after_ms=5)
        ear = listen(client, "SubscribeToComponentUpdates")
        assert server.announce_update(COMPONENT, "d-1") == 1
        block_until(lambda: ear.events)
        ask(client, "DeferComponentUpdate", deployment_id="d-1", recheck_after_ms=5)
        assert [request["recheckAfterMs"] for _name, request in server.deferrals] == [5]


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("GetThingShadow", {"thing_name": "bench"}),
        ("ListNamedShadowsForThing", {"thing_name": "bench"}),
        ("DeferComponentUpdate", {"deployment_id": "d"}),
    ],
)
def test_the_lite_nucleus_has_no_shadows_and_no_say_in_deployments(operation: str, fields: dict[str, Any]) -> None:
    with core_device(LITE) as server, client_of(server) as client, pytest.raises(Refused, match="ServiceError"):
        ask(client, operation, **fields)


def test_a_frame_too_long_for_the_lite_nucleus_ends_the_connection() -> None:
    with core_device(LITE) as server, client_of(server) as client:
        ear = listen(client, topic="t")
        publish(client, "t", bytes(7000))
        publish(client, "t", bytes(7260))
        block_until(lambda: len(ear.events) == 2)
        with pytest.raises(ConnectionEnded):
            publish(client, "t", bytes(7400))
        block_until(lambda: client.ended)
        assert ear.is_closed


def test_the_classic_nucleus_takes_long_frames() -> None:
    with core_device(CLASSIC) as server, client_of(server) as client:
        ear = listen(client, topic="t")
        publish(client, "t", bytes(1_000_000))
        block_until(lambda: ear.events)
        with pytest.raises(Refused, match="wildcard"):
            publish(client, "t/+", b"")


def test_the_lite_nucleus_holds_100_subscriptions_and_topics_of_256_bytes() -> None:
    with core_device(LITE) as server, client_of(server) as client:
        listen(client, "SubscribeToConfigurationUpdate", key_path=[])
        for number in range(99):
            listen(client, topic=f"t/{number}")
        with pytest.raises(Refused):
            listen(client, topic="one more")
        with pytest.raises(Refused):
            publish(client, "t" * 257, b"")


@pytest.mark.parametrize("token", ["", "unknown"])
def test_a_token_that_is_nobodys_is_refused(server: IpcServer, token: str) -> None:
    stranger = Client(Component("com.stranger", token or "x", server.path))
    with pytest.raises(ConnectionEnded, match=r"refuses the token of com\.stranger"):
        stranger.connect()
    with pytest.raises(ConnectionEnded):
        stranger.connect()  # never again with the same token
    assert server.connects == 0


def test_a_renewed_token_makes_the_one_before_worthless(server: IpcServer) -> None:
    before = Client(identity(server))
    server.core.renew(COMPONENT)
    with pytest.raises(ConnectionEnded):
        before.connect()
    with client_of(server):
        assert server.connected == [COMPONENT]


def test_tokens_are_refused_on_demand(server: IpcServer) -> None:
    server.refuse_tokens = True
    with pytest.raises(ConnectionEnded):
        Client(identity(server)).connect()


def test_a_cut_connection_is_told_once_with_all_its_streams(server: IpcServer, client: Client) -> None:
    ear, told = listen(client, topic="t"), []
    client.when_ended(told.append)
    server.drop(COMPONENT)
    block_until(lambda: told)
    block_until(lambda: ear.is_closed)
    assert len(told) == 1
    client.when_ended(told.append)
    assert len(told) == 2  # who asks later is told at once
    with pytest.raises(ConnectionEnded):
        publish(client, "t", b"")


def test_a_stalled_server_answers_all_of_it_later(server: IpcServer, client: Client) -> None:
    server.stall()
    asked = client.ask("GetConfiguration", key_path=["accessControl"])
    server.publish("t", b"meanwhile")  # a fence: its loop runs
    assert not asked.done()
    server.resume()
    asked.result(HANG_S)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        encode(Frame({":message-type": 0, ":message-flags": 0, ":stream-id": 1}, b"{}")),
        encode(Frame({":message-type": 4, ":message-flags": 0, ":stream-id": 0, ":version": "9"}, b"{}")),
        encode(Frame({":message-type": 4, ":message-flags": 0, ":stream-id": 0, ":version": "0.1.0"}, b"no json")),
        encode(Frame({"x": 1}, b"")),
    ],
)
def test_who_does_not_speak_the_protocol_is_put_out(server: IpcServer, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(HANG_S)
        stranger.connect(str(server.path))
        stranger.sendall(said)
        got = b""
        while data := stranger.recv(4096):
            got += data
        assert [frame.headers[":message-flags"] for frame in Decoder().feed(got)] in ([], [0])


def test_the_thing_in_a_policy_is_put_in_by_the_lite_nucleus_itself(server: IpcServer, client: Client) -> None:
    policies = access_control(topics=("lineside/{iot:thingName}/status",))
    server.core.components[COMPONENT].configuration["accessControl"] = policies
    if server.core.manner is LITE:
        publish(client, "lineside/bench/status", b"")
    else:
        with pytest.raises(Unauthorized):
            publish(client, "lineside/bench/status", b"")


def test_a_component_is_restarted_where_the_policies_allow_it(server: IpcServer, client: Client) -> None:
    with pytest.raises(Unauthorized, match=r"aws\.greengrass\.Cli"):
        ask(client, "RestartComponent", component_name=OTHER)
    server.core.components[COMPONENT].configuration["accessControl"] = {
        "aws.greengrass.Cli": {"p": {"operations": ["aws.greengrass#RestartComponent"], "resources": ["com.*"]}}
    }
    assert ask(client, "RestartComponent", component_name=OTHER).restart_status == "SUCCEEDED"
    assert server.core.restarts == [OTHER]
    with pytest.raises(NotFound):
        ask(client, "RestartComponent", component_name="com.none")


def test_the_keys_of_one_update_are_told_in_their_order_and_a_topic_may_be_empty_for_lite(
    server: IpcServer, client: Client
) -> None:
    ear = listen(client, "SubscribeToConfigurationUpdate", key_path=[])
    ask(client, "UpdateConfiguration", value_to_merge={"z": {"y": 1, "x": 2}, "a": 3}, timestamp=NOW)
    block_until(lambda: len(ear.events) == 3)
    assert [event.configuration_update_event.key_path for event in ear.events] == [["a"], ["z", "x"], ["z", "y"]]
    if server.core.manner is LITE:
        publish(client, "", b"")
    else:
        with pytest.raises(Refused, match="wildcard"):
            publish(client, "", b"")
    with pytest.raises(Refused):
        listen(client, topic="")
