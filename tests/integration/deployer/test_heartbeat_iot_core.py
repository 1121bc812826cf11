"""A heartbeat goes to AWS IoT Core by the nucleus, on the bench's IPC server in both manners."""

from collections.abc import Iterator

import pytest

from lineside.errors import BusError
from lineside.greengrass.services import MQTT_PROXY
from lineside_bench.greengrass.ipc_server import CLASSIC, LITE, IpcServer
from lineside_deployer.heartbeat.sending import over_iot_core
from tests.support.greengrass import COMPONENT, client_of, core_device

TOPIC = "lineside/line-7/heartbeat"


@pytest.fixture(params=[CLASSIC, LITE], ids=lambda manner: manner.name)
def server(request: pytest.FixtureRequest) -> Iterator[IpcServer]:
    with core_device(request.param) as running:
        yield running


async def test_it_is_published_whole(server: IpcServer) -> None:
    with client_of(server) as nucleus:
        await over_iot_core(nucleus, TOPIC)(b'{"DeviceName": "line-7"}')
    assert server.sent_to_cloud == [(COMPONENT, TOPIC, b'{"DeviceName": "line-7"}')]


async def test_a_recipe_that_does_not_allow_it_is_said_with_what_to_add(server: IpcServer) -> None:
    server.core.components[COMPONENT].configuration["accessControl"] = {}
    with client_of(server) as nucleus, pytest.raises(BusError, match="PublishToIoTCore") as refused:
        await over_iot_core(nucleus, TOPIC)(b"{}")
    assert MQTT_PROXY in str(refused.value)
    assert server.sent_to_cloud == []
