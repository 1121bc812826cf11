from pathlib import Path
from typing import Any

import pytest

from lineside.errors import SettingsError
from lineside.settings import load
from lineside_deployer.settings import Settings

RIGHT = """
edge_manager: {DeploymentEnable: true, DbEnable: true}
deployer: {desired: "s3://plant/line-7.json", allowed: ["s3://plant/released"], roots: /etc/roots}
"""


def loaded(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return load(Settings, file=file)


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    settings = loaded(tmp_path, RIGHT)
    settings.check()
    assert settings.deployer.allowed == ("s3://plant/released/",)
    assert settings.state_dir == Path("/var/lib/lineside/deployer")
    below = loaded(tmp_path, RIGHT.replace("DbEnable: true", "DbEnable: true, LocalDataRootPath: /data"))
    assert below.state_dir == Path("/data/deployer")
    loaded(tmp_path, "{}").check()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('desired: "s3://plant/line-7.json", ', "", "give deployer.desired"),
        ("s3://plant/line-7.json", "shadow:models", ""),
        ("s3://plant/released", "s3://plant", ""),
        ('allowed: ["s3://plant/released"], ', "", "name in deployer.allowed"),
        (", roots: /etc/roots", "", "name in deployer.roots"),
    ],
)
def test_what_cannot_deploy_stops_the_start(tmp_path: Path, before: str, after: str, says: str) -> None:
    settings = loaded(tmp_path, RIGHT.replace(before, after))
    if not says:
        settings.check()
        return
    with pytest.raises(SettingsError, match=says):
        settings.check()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("DbEnable: true", "DbEnable: false", "set DbEnable to true as well"),
        (
            "s3://plant/line-7.json",
            "https://plant/x.json",
            "an absolute path, or shadow:NAME",
        ),
        ("s3://plant/line-7.json", "s3://plant/", "expected s3://bucket/key"),
        ("s3://plant/line-7.json", "shadow:", "shadow:NAME"),
        ("s3://plant/released", "http://plant", "expected s3://bucket/folder/"),
        ("roots:", "rots:", "did you mean 'roots'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, before: str, after: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        loaded(tmp_path, RIGHT.replace(before, after))


def test_a_shadow_needs_a_broker(tmp_path: Path) -> None:
    text: Any = RIGHT.replace("s3://plant/line-7.json", "shadow:models") + "bus: {transport: ipc}\n"
    with pytest.raises(SettingsError, match=r"a shadow needs bus\.transport: mqtt"):
        loaded(tmp_path, text).check()
