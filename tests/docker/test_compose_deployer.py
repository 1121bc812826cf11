"""Models without Greengrass in containers: docker/compose.deployer.yaml on a real engine, packages in an S3 server."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from lineside.contract import uuid7
from lineside.heartbeats import Heartbeat
from lineside.packages import make_key, pack, sign
from tests.support.compose_project import Project, project
from tests.support.container_hardening import complaints
from tests.support.deployer_rig import SOURCE
from tests.support.model_packages import trusting
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S, block_until

BUCKET = "lineside-evidence"
"""The one that the S3 server begins with."""
SECTIONS = f"""
deployer:
  desired: s3://{BUCKET}/desired.json
  allowed: [s3://{BUCKET}/released/]
  roots: /etc/lineside/roots
  region: eu-central-1
  endpoint_url: http://s3:9000
  heartbeat: {{period_s: 2}}
"""
SETTLED = ("triton", "inference", "deployer")
PUT = f"""
import boto3, sys
boto3.client("s3", endpoint_url="http://127.0.0.1:9000", region_name="eu-central-1", aws_access_key_id="any",
             aws_secret_access_key="any").put_object(Bucket="{BUCKET}", Key=sys.argv[1], Body=sys.stdin.buffer.read())
"""
REPOSITORY = "/var/lib/lineside/models"


class Plant:
    """The line without a model, a team that signs packages, and the box's desired state."""

    def __init__(self, line: Project, folder: Path) -> None:
        self.line, self.folder = line, folder

    def package(self, name: str, version: str) -> Path:
        """Pack and sign a model of the bench under a version; return the archive."""
        parent = self.folder / f"{name}-{version}"
        if not parent.exists():
            model = shutil.copytree(ROOT / "models" / name, parent / name)
            card = yaml.safe_load((model / "card.yaml").read_text())
            (model / "1").rename(model / version)
            card["version"] = version
            for file in card["files"]:
                file["path"] = file["path"].replace("1/", f"{version}/", 1)
            (model / "card.yaml").write_text(yaml.safe_dump(card))
            sign(pack(model, parent).archive, key=self.folder / "team.key")
        return next(parent.glob("*.tar.gz"))

    def upload(self, archive: Path, key: str, content: bytes | None = None) -> str:
        """Put a package, or another content under its name, and its signature into the bucket; return its address."""
        self.put(f"released/{key}", archive.read_bytes() if content is None else content)
        self.put(f"released/{key}.sig", archive.with_name(f"{archive.name}.sig").read_bytes())
        return f"s3://{BUCKET}/released/{key}"

    def put(self, key: str, content: bytes) -> None:
        command = ["docker", "exec", "-i", self.line.container("s3"), "python", "-c", PUT, key]
        subprocess.run(command, input=content, check=True, timeout=HANG_S)

    def definition(self, name: str, version: str) -> dict[str, Any]:
        """Upload a version of a model; return what a desired state says of it."""
        archive = self.package(name, version)
        return defined(name, self.upload(archive, archive.name), archive.read_bytes())

    def want(self, deployment: str, *definitions: dict[str, Any]) -> Any:
        """Write the desired state, give notice, and return what became of the deployment."""
        document = {"Deployments": [{"DeploymentName": deployment, "Definitions": definitions}]}
        self.put("desired.json", json.dumps(document).encode())
        notice = f"http://127.0.0.1:{self.line.ports['DEPLOYER']}/v1/deployments/notice"
        assert httpx.post(notice, trust_env=False, timeout=HANG_S).status_code == 202

        def ended() -> Any:
            said = json.loads(self.line.get("DEPLOYER", "/v1/deployments"))["deployments"]
            known = [each for each in said if each["deployment"]["DeploymentName"] == deployment]
            return next((each for each in known if each["status"] != "INPROGRESS"), None)

        return block_until(ended, lambda: self.line.compose("logs", "--tail", "20", "deployer"), within=HANG_S)

    def versions(self) -> dict[str, str | None]:
        """Return the versions in force, by model."""
        models = json.loads(self.line.get("PAGE", "/v1/models"))["models"]
        return {each["name"]: each["version"] for each in models}

    def judge(self) -> dict[str, Any]:
        """Have a picture judged; return the result."""
        request = {
            "schema": "lineside/request/1",
            "id": uuid7(),
            "model": "surface-defect",
            "source": SOURCE,
            "deadline_ms": 20_000,
        }
        address = f"http://127.0.0.1:{self.line.ports['PAGE']}/v1/infer"
        try:
            said: dict[str, Any] = httpx.post(address, json=request, trust_env=False, timeout=HANG_S).json()
        except httpx.TransportError as error:  # it is being started
            return {"code": repr(error)}
        return said

    def judged_by(self, version: str) -> None:
        """Wait until a picture is judged; it is by this version."""

        def judged() -> Any:
            said = self.judge()
            return said if said.get("status") == "ok" else None

        assert block_until(judged, self.judge, within=HANG_S)["model"]["version"] == version

    def heartbeat(self) -> Heartbeat:
        """Return the heartbeat that the broker has retained, as people may read it."""
        login = ("-u", "operator", "-P", self.line.passwords()["operator"])
        said = self.line.execute("broker", "mosquitto_sub", *login, "-t", "lineside/+/heartbeat", "-C", "1", "-W", "30")
        return Heartbeat.model_validate_json(said)


def defined(name: str, url: str, content: bytes) -> dict[str, Any]:
    checksum = {"Type": "SHA256", "Sum": hashlib.sha256(content).hexdigest()}
    return {"ModelHandle": name, "S3Url": url, "Checksum": checksum, "State": "DEPLOY"}


@pytest.fixture(scope="module")
def plant(images: dict[str, str], held: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """The line as docker/deployer.env has it, with the bench's simulators, on volumes that are new."""
    del images
    folder = tmp_path_factory.mktemp("deployed")
    make_key(folder / "team.key")
    roots = trusting(folder / "roots", folder / "team.key.pub")
    credentials = folder / "aws-credentials"
    credentials.write_text("[default]\naws_access_key_id = any\naws_secret_access_key = any\n")
    credentials.chmod(0o444)
    with project(
        held,
        sections=SECTIONS,
        profiles=("bench", "s3", "deployments"),
        overlays=("docker/compose.deployer.yaml",),
        LINESIDE_ROOTS=str(roots),
        LINESIDE_AWS_CREDENTIALS=str(credentials),
    ) as line:
        line.up()
        yield Plant(line, folder)


def test_the_line_comes_up_healthy_without_any_model(plant: Plant) -> None:
    running = plant.line.running()
    assert {each["State"]["Health"]["Status"] for each in running.values()} == {"healthy"}
    assert plant.line.execute("deployer", "sh", "-c", f"ls {REPOSITORY}") == ""
    assert plant.versions() == {}
    refused = plant.judge()
    assert refused["reason"] == "model 'surface-defect' is not known. Known here: none"


def test_the_repository_is_the_deployers_and_nobody_else_writes_it(plant: Plant) -> None:
    assert plant.line.execute("deployer", "stat", "-c", "%u:%g %a", REPOSITORY).strip() == "10001:10001 755"
    for service in ("triton", "inference"):
        refused = plant.line.execute(service, "touch", "/models/x", user="0", check=False)
        assert "Read-only file system" in refused, service
    plant.line.execute("deployer", "sh", "-c", f"touch {REPOSITORY}/.x && rm {REPOSITORY}/.x")  # the control


def test_every_container_is_hard(plant: Plant) -> None:
    running = plant.line.running()
    status = {name: plant.line.execute(name, "cat", "/proc/1/status") for name in SETTLED}
    assert {name: complaints(running[name], status[name]) for name in SETTLED} == {name: set() for name in SETTLED}
    refused = plant.line.execute("deployer", "touch", "/written", user="0", check=False)
    assert "Read-only file system" in refused
    networks = running["deployer"]["NetworkSettings"]["Networks"]
    assert {each.removeprefix(f"{plant.line.name}_") for each in networks} == {"inside", "outside"}


def test_signed_packages_are_deployed_and_judge_parts(plant: Plant, tmp_path: Path) -> None:
    first = plant.want("first", plant.definition("surface-defect", "1"), plant.definition("spindle-anomaly", "1"))
    assert first["status"] == "SUCCESS", first
    assert plant.versions() == {"surface-defect": "1", "spindle-anomaly": "1"}
    plant.judged_by("1")
    status, said, summary = plant.line.attach(20, rate=10, summary=tmp_path / "summary.json")
    assert status == 0, said
    assert summary["verdicts"]["pass"] + summary["verdicts"]["fail"] > 10, said


def test_a_second_version_takes_the_place_of_the_first(plant: Plant) -> None:
    second = plant.want("second", plant.definition("surface-defect", "2"))
    assert second["status"] == "SUCCESS", second
    assert plant.versions()["surface-defect"] == "2"
    plant.judged_by("2")
    listed = plant.line.execute("inference", "sh", "-c", "cd /models/surface-defect && ls -d [0-9]*")
    assert listed.split() == ["2"]


def test_a_package_with_a_changed_byte_is_refused_whatever_its_checksum_says(plant: Plant) -> None:
    archive = plant.package("surface-defect", "3")
    right = archive.read_bytes()
    changed = bytearray(right)
    changed[len(changed) // 2] ^= 1
    url = plant.upload(archive, "changed.tar.gz", bytes(changed))
    refused = plant.want("changed", defined("surface-defect", url, right))
    assert refused["status"] == "FAIL"
    assert "the desired state says" in refused["models"][0]["reason"]
    refused = plant.want("changed-and-said", defined("surface-defect", url, bytes(changed)))
    assert refused["status"] == "FAIL"
    assert "the package of surface-defect" in refused["models"][0]["reason"]
    assert plant.versions()["surface-defect"] == "2"
    plant.judged_by("2")


def test_the_same_package_unchanged_is_taken(plant: Plant) -> None:
    """The control of the refusal."""
    third = plant.want("third", plant.definition("surface-defect", "3"))
    assert third["status"] == "SUCCESS", third
    plant.judged_by("3")


def test_the_heartbeat_says_what_runs_and_what_became_of_the_deployment(plant: Plant) -> None:
    def told() -> Any:
        found = plant.heartbeat()
        return found if found.DeploymentResult and found.DeploymentResult.DeploymentName == "third" else None

    found = block_until(told, "the heartbeat tells the latest deployment")
    assert found.DeploymentResult.DeploymentStatus == "SUCCESS"
    assert {each.ModelName: each.ModelVersion for each in found.Models} == plant.versions()


def test_its_account_may_tell_that_and_nothing_else(plant: Plant) -> None:
    login = ("-u", "deployer", "-P", plant.line.passwords()["deployer"], "-V", "5", "-q", "1", "-m", "{}")
    for topic in ("local/inference/result", "local/inference/request", "lineside/lineside-bench/policy"):
        said = plant.line.execute("broker", "mosquitto_pub", *login, "-t", topic, check=False)
        assert "not authorized" in said.lower(), topic
    said = plant.line.execute("broker", "mosquitto_pub", *login, "-t", "lineside/another/heartbeat")  # the control
    assert said == ""


def test_who_looks_after_the_box_sees_it(plant: Plant) -> None:
    def is_joined() -> bool:
        lines = plant.line.get("METRICS", "/metrics").splitlines()
        return any(
            line.startswith("lineside_deployer_deployments_total{") and 'service="deployer"' in line for line in lines
        )

    block_until(is_joined, "the exporter joins the deployer")
    said = plant.line.compose("run", "--rm", "-T", "tools", "doctor", "--json", check=False)
    found = {check["name"]: check for check in json.loads(said[said.index("{") : said.rindex("}") + 1])["checks"]}
    assert found["deployer"]["mark"] == "ok", found["deployer"]
    assert found["deployments"]["what"] == "third succeeded"
    assert found["model cards"]["mark"] == "ok", found["model cards"]


def test_it_outlives_a_restart_and_new_containers_without_the_store(plant: Plant) -> None:
    plant.line.compose("restart", *SETTLED)
    plant.judged_by("3")
    plant.line.compose("down", "--timeout", "15")  # and takes the store's memory along
    services = [each for each in plant.line.services() if each != "s3"]
    plant.line.up(*services)
    plant.judged_by("3")
    assert plant.versions() == {"surface-defect": "3", "spindle-anomaly": "1"}
    known = json.loads(plant.line.get("DEPLOYER", "/v1/deployments"))["deployments"]
    assert known[0]["deployment"]["DeploymentName"] == "third"
    assert plant.line.inspect("deployer")["State"]["OOMKilled"] is False
