"""The deployer as a process, over a real repository that Triton and inference serve from, and packages in a bucket."""

import base64
import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import yaml

from lineside.packages import make_key, pack, sign
from lineside_bench.processes.process import clean_environment
from lineside_inference.errors import ModelOut, ModelUnknown, ModelUnloaded
from tests.support import warm_start
from tests.support.constant_models import HEIGHT, WIDTH, write
from tests.support.inference_service import Inference
from tests.support.model_packages import trusting
from tests.support.ports import free_port
from tests.support.simulated_s3 import KEYS, Store
from tests.support.triton_server import TritonServer
from tests.support.waiting import HANG_S, block_until

AWAY = {ModelUnknown.code, ModelUnloaded.code, ModelOut.code}
HEAD = {"name": "y", "head": "score"}
PICTURE = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
SOURCE = {"kind": "inline", "content_type": "image/png", "data": base64.b64encode(PICTURE).decode()}


def write_model(parent: Path, name: str, version: str, value: float) -> Path:
    """Write a model that scores this value, in this version; return its folder."""
    write(parent, name, {"y": np.array([value], np.float32)}, HEAD, labels=["wear"], defects=["wear"])
    folder = parent / name
    if version != "1":
        (folder / "1").rename(folder / version)
    card = yaml.safe_load((folder / "card.yaml").read_text())
    card["version"] = version
    card["files"][0]["path"] = f"{version}/model.onnx"
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return folder


class Packages:
    """Packages of models, signed and put into a bucket."""

    def __init__(self, folder: Path, store: Store, bucket: str) -> None:
        self.folder, self.store, self.bucket = folder, store, bucket
        folder.mkdir()
        make_key(folder / "team.key")
        self.roots = trusting(folder / "roots", folder / "team.key.pub")
        self._made = 0

    def upload(self, name: str, version: str, value: float, *, is_signed: bool = True, damage: bool = False) -> Any:
        """Upload a package of a model that scores this value; return its definition."""
        self._made += 1
        parent = self.folder / str(self._made)
        folder = write_model(parent, name, version, value)
        if damage:  # right by every checksum, and no model
            file = folder / version / "model.onnx"
            file.write_bytes(b"no ONNX")
            card = yaml.safe_load((folder / "card.yaml").read_text())
            card["files"][0]["sha256"] = hashlib.sha256(b"no ONNX").hexdigest()
            (folder / "card.yaml").write_text(yaml.safe_dump(card))
        archive = pack(folder, parent).archive
        key = f"released/{name}-{version}-{self._made}.tar.gz"
        data = archive.read_bytes()
        self.store.client.put_object(Bucket=self.bucket, Key=key, Body=data)
        if is_signed:
            signature = sign(archive, key=self.folder / "team.key")
            self.store.client.put_object(Bucket=self.bucket, Key=f"{key}.sig", Body=signature.read_bytes())
        checksum = {"Type": "SHA256", "Sum": hashlib.sha256(data).hexdigest()}
        return {"ModelHandle": name, "S3Url": f"s3://{self.bucket}/{key}", "Checksum": checksum, "State": "DEPLOY"}


class Deployer:
    """`lineside-deployer` as a process, which can be killed and started again."""

    def __init__(self, folder: Path, repository: Path, inference: str, packages: Packages, **settings: Any) -> None:
        self.folder, self.wish = folder, folder / "desired.json"
        folder.mkdir()
        self.port = free_port()
        own = {
            "http": {"port": self.port},
            "inference_url": inference,
            "model_repository": str(repository),
            "state_dir": str(folder / "state"),
            "desired": str(self.wish),
            "allowed": [f"s3://{packages.bucket}/released/"],
            "roots": str(packages.roots),
            "endpoint_url": packages.store.url,
            "confirm_s": 120,
            "heartbeat": None,
        }
        edge = {"DeploymentEnable": True, "DbEnable": True, "DeviceFleetName": "plant"}
        self.document = {"thing": "line-7", "deployer": own, "edge_manager": edge}
        for name, value in settings.items():
            (own if name not in self.document else self.document)[name] = value
        self.process: warm_start.Started | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=HANG_S)

    def want(self, *definitions: Any, name: str = "d1", policy: str = "ROLLBACK_ON_FAILURE") -> None:
        """Write the desired state; a running deployer is given notice."""
        deployment = {"DeploymentName": name, "Type": "Model", "FailureHandlingPolicy": policy}
        document = {"Deployments": [deployment | {"Definitions": list(definitions)}]}
        self.write(json.dumps(document))

    def write(self, text: str) -> None:
        draft = self.wish.with_suffix(".new")
        draft.write_text(text)
        draft.replace(self.wish)
        if self.process is not None:
            assert self.http.post("/v1/deployments/notice").status_code == 202

    def start(self) -> None:
        settings = self.folder / "settings.yaml"
        settings.write_text(yaml.safe_dump(self.document))
        with (self.folder / "deployer.log").open("ab") as log:
            environment = clean_environment({**os.environ, **KEYS})
            self.process = warm_start.start("lineside_deployer", settings, env=environment, stderr=log)

    def wait_ready(self) -> None:
        block_until(self.is_ready, self.log, within=HANG_S)

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def deployments(self) -> Any:
        try:
            return self.http.get("/v1/deployments").json()
        except httpx.TransportError:
            return {"deployments": [], "refused": None}

    def ended(self, name: str = "d1") -> Any:
        """Wait until a deployment has ended; return its record."""

        def found() -> Any:
            records = self.deployments()["deployments"]
            return next(
                (
                    each
                    for each in records
                    if each["deployment"]["DeploymentName"] == name and each["status"] != "INPROGRESS"
                ),
                None,
            )

        return block_until(found, self.log, within=HANG_S)

    def log(self) -> str:
        return (self.folder / "deployer.log").read_text(errors="replace")[-6000:]

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(HANG_S)
        self.process = None

    def stop(self) -> int | None:
        self.http.close()
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(HANG_S)


class Box:
    """Triton, inference and the deployer over one repository with the models `first` and `second` in version 1."""

    def __init__(self, folder: Path, store: Store, bucket: str) -> None:
        self.folder = folder
        self.repository = folder / "models"
        for name, value in (("first", 0.25), ("second", 0.25)):
            write_model(self.repository, name, "1", value)
        self.packages = Packages(folder / "packages", store, bucket)
        work = folder / "triton"
        work.mkdir()
        self.triton = TritonServer(work, self.repository)
        self.triton.start()
        self.triton.wait_ready()
        (folder / "inference").mkdir()
        self.inference = self._inference()
        self.deployers: list[Deployer] = []

    def _inference(self) -> Inference:
        own = {
            "model_repository": str(self.repository),
            "state_dir": str(self.folder / "inference" / "state"),
            "triton": {"url": self.triton.grpc, "health_ms": 100, "slot_bytes": 65536},
            "models": {"look_s": 0.2},
            "policy": {"enabled": True, "thresholds": {"wear": 0.2}},
            "edge_manager": {"DeploymentEnable": True, "DbEnable": True},
        }
        service = Inference(self.folder / "inference", own)
        service.wait_for("/readyz")
        return service

    def restart_inference(self) -> None:
        self.inference.stop()
        self.inference = self._inference()

    def deployer(self, **settings: Any) -> Deployer:
        made = Deployer(
            self.folder / f"deployer-{len(self.deployers)}",
            self.repository,
            str(self.inference.http.base_url),
            self.packages,
            **settings,
        )
        self.deployers.append(made)
        return made

    def score(self, name: str) -> float | None:
        """Return what a model scores, None where it does not serve."""
        last: dict[str, Any] = {}

        def known() -> dict[str, Any] | None:  # a machine that is busy may not say at once which it is
            last.update(self.inference.infer(model=name, source=SOURCE))
            return last if last["status"] == "ok" or last["code"] in AWAY else None

        result = block_until(known, lambda: (last, self.inference.log.read_text()[-3000:]), within=HANG_S)
        if result["status"] != "ok":
            return None
        return float(result["scores"]["wear"]) if "scores" in result else float(result["findings"][0]["confidence"])

    def versions(self) -> dict[str, str | None]:
        models = self.inference.http.get("/v1/models").json()["models"]
        return {each["name"]: each["version"] for each in models}

    def close(self) -> None:
        for each in self.deployers:
            each.stop()
        self.inference.stop()
        self.triton.stop()
