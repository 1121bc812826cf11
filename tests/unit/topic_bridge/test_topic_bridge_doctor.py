"""What the doctor says of the models and cameras that triggers name."""

from typing import Any

from lineside.checks import Check, Mark, needs, ok
from lineside_topic_bridge.doctor import _judged, _named
from lineside_topic_bridge.settings import Settings

MODELS = {"surface-defect": "image"}


def named(*triggers: dict[str, Any], **more: Any) -> Check:
    return _named({"opcua_bridge": {"triggers": list(triggers)}} | more, MODELS)


def trigger(model: str = "surface-defect", camera: str = "one") -> dict[str, Any]:
    return {"name": "t", "model": model, "source": {"kind": "camera", "camera": camera}}


def test_what_is_there_is_right() -> None:
    found = named(trigger(), inference={"cameras": {"one": {}}})
    assert (found.mark, found.what) == ("ok", "all that 1 triggers name is there")


def test_what_is_not_there_is_named_with_what_is() -> None:
    found = named(trigger(model="surface"), trigger(camera="two"), inference={"cameras": {"one": {}}})
    assert found.mark == "fail"
    assert "model 'surface' is not there; there are surface-defect" in found.what
    assert "source.camera: 'two' is no camera of inference.cameras; known here: one" in found.what


def test_cameras_of_another_file_are_not_judged() -> None:
    found = named(trigger(camera="two"))
    assert found.mark == "ok"
    assert "another file" in found.what


def test_without_triggers_there_is_nothing_to_compare() -> None:
    assert _named({}, MODELS).mark == _named({"opcua_bridge": None}, MODELS).mark == "skip"


def test_every_answer_is_judged() -> None:
    settings = Settings()
    expired = _judged(settings, {"status": "expired", "code": "deadline-passed"}, 0.012)
    assert expired.what.startswith("local/inference/request to local/inference/result in 12 ms")
    assert _judged(settings, {"status": "disabled"}, 0.01).mark == "warn"
    assert _judged(settings, {"code": "internal-error", "reason": "oh"}, 0.01).mark == "fail"


def test_what_needs_something_that_failed_is_skipped() -> None:
    before = {"broker": ok("broker", ""), "api": Check("api", Mark.FAIL, "")}
    assert needs("x", before, "broker") is None
    assert needs("x", before, "broker", "api") == Check("x", Mark.SKIP, "needs: api")
    assert needs("x", before, "nobody") == Check("x", Mark.SKIP, "needs: nobody")
