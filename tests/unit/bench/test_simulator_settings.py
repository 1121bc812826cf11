import pytest

from lineside.settings import fields
from lineside_bench.simulators.settings import CameraSimSettings, PlcSimSettings
from tests.support.paths import ROOT

HOW_TO = ROOT / "docs" / "how-to" / "use-the-simulators.md"


@pytest.mark.parametrize(("section", "kind"), [("plc_sim", PlcSimSettings), ("camera_sim", CameraSimSettings)])
def test_every_setting_is_in_the_how_to(section: str, kind: type) -> None:
    text = HOW_TO.read_text(encoding="utf-8")
    for path, _field, group in fields(kind, (section,)):
        assert group or f"`{'.'.join(path)}`" in text, f"{'.'.join(path)} is not in {HOW_TO.name}"
