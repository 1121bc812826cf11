from typing import Any

from lineside.contract import CameraSource, Request
from lineside_bench.runner.mqtt_observer import MqttObserver


def seen(observer: MqttObserver, **fields: Any) -> str:
    request = Request.new(model="m", source=CameraSource(camera="c"), **fields)
    observer._take("local/inference/request", request.model_dump_json(by_alias=True).encode(), None)
    return request.id


def test_the_observers_window_holds_what_came_since_it_began_and_no_more() -> None:
    observer = MqttObserver(port=1, protocol="5")
    seen(observer)
    observer.errors["late"] += 1
    observer.begin(2)
    assert (observer.exchanges(), dict(observer.errors)) == ({}, {})
    ids = [seen(observer) for _ in range(3)]
    assert list(observer.exchanges()) == ids[1:]
