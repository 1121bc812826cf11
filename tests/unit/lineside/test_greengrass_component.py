import pytest

from lineside.greengrass.component import component, must_be_component
from lineside.greengrass.errors import NotAComponent

SOCKET = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
WHOLE = {"SVCUID": "secret", SOCKET: "/run/ipc.socket", "AWS_IOT_THING_NAME": "press-3", "LINESIDE_COMPONENT": "com.x"}


def test_a_component_is_known_by_what_the_nucleus_gave_it() -> None:
    found = component(WHOLE)
    assert found is not None
    assert (found.name, found.token, found.thing) == ("com.x", "secret", "press-3")
    assert str(found.socket) == "/run/ipc.socket"
    assert "secret" not in repr(found)


def test_another_process_is_none_and_is_told_what_to_do_where_it_has_to_be() -> None:
    assert component({}) is None
    with pytest.raises(NotAComponent, match=r"bus.transport: ipc needs .* SVCUID nor AWS_GG.*bus\.transport: mqtt"):
        must_be_component("bus.transport: ipc", {})


@pytest.mark.parametrize("lacking", ["SVCUID", SOCKET])
def test_half_of_what_the_nucleus_gives_is_named(lacking: str) -> None:
    with pytest.raises(NotAComponent, match=f"no {lacking}.*docker run -e {lacking}"):
        component({**WHOLE, lacking: ""})
