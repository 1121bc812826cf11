"""Our images: what each holds, how it is hardened, how large it is, how its program lives and ends."""

import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.waiting import block_until

pytestmark = pytest.mark.xdist_group("docker")

SERVICES = ("inference", "topic-bridge", "opcua-bridge", "forwarder", "exporter", "deployer")
SIMULATORS = ("plc-sim", "camera-sim")
OURS = (*SERVICES, *SIMULATORS)
NAMES = (*OURS, "triton-cpu", "s3-sim")
BENCH = ROOT / "docker" / "config" / "bench.yaml"
FOLDERS = ("spool", "state", "evidence", "client-models", "plans", "models", "deployer")
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:noexec")
MB = 1_000_000
MAX_ABOVE_BASE = 120 * MB
READY_ALONE = ("forwarder", "exporter", "camera-sim", "deployer")
ALSO = {"deployer": "lineside-inference"}
"""Whose commands a service runs."""
LARGER = {"inference": 302 * MB}
"""OpenCV's wheel alone is 155 MB and all of it is linked together (docs/reference/images.md); what
verifies packages, with cryptography, is about 20 MB, libaravis with what it loads 8 MB."""

LOOK = """
import importlib.metadata, json, pathlib, sys
site = next(path for path in sys.path if path.endswith("site-packages"))
print(json.dumps({
    "distributions": sorted(each.metadata["Name"].lower() for each in importlib.metadata.distributions(path=[site])),
    "folders": sorted(path.name for path in pathlib.Path(site).iterdir() if path.name.startswith("lineside")),
    "programs": sorted(path.name for path in pathlib.Path(sys.prefix, "bin").iterdir()),
    "uncompiled": [str(path) for path in pathlib.Path(site).rglob("lineside*/**/*.py")
                   if not list((path.parent / "__pycache__").glob(path.stem + ".*.pyc"))],
    "python": sys.version_info[:2],
}))
"""


class Box:
    """One hardened container without a network, as compose.yaml would start it."""

    def __init__(self, docker: Callable, image: str, *options: str) -> None:
        self._docker = docker
        self.name = f"lineside-test-{uuid.uuid4().hex[:12]}"
        docker("run", "-d", "--name", self.name, "--network", "none", *HARDENED, *options, image)

    @property
    def state(self) -> dict:
        return json.loads(self._docker("inspect", self.name).stdout)[0]["State"]

    @property
    def log(self) -> str:
        done = self._docker("logs", self.name)
        return done.stdout + done.stderr

    def exec(self, *command: str):
        return self._docker("exec", self.name, *command, check=False)

    def wait(self, *command: str, status: int = 0) -> str:
        """Run a command in it until it ends with the status; fails with the log where it never does."""

        def done() -> subprocess.CompletedProcess[str] | None:
            tried = self.exec(*command)
            assert tried.returncode == status or self.state["Running"], self.log
            return tried if tried.returncode == status else None

        return block_until(done, lambda: f"{command}: {self.log}"[-4000:]).stdout.strip()

    def stop(self) -> int:
        """Stop it as `docker stop` does, and return its exit status; 137 is a kill after the grace."""
        self._docker("stop", "-t", "15", self.name)
        return self.state["ExitCode"]

    def remove(self) -> None:
        self._docker("rm", "-f", "-v", self.name, check=False)


@pytest.fixture
def box(docker: Callable, images: dict[str, str]) -> Iterator[Callable[..., Box]]:
    """Start boxes of an image; they are removed in the end."""
    started: list[Box] = []

    def start(image: str, *options: str) -> Box:
        started.append(Box(docker, images[image], *options))
        return started[-1]

    yield start
    for each in started:
        each.remove()


@pytest.fixture
def run(docker: Callable, images: dict[str, str]) -> Callable[..., str]:
    """Return what a program of an image prints."""

    def say(image: str, program: str, *arguments: str, user: str = "10001:10001") -> str:
        how = ("--rm", "--network", "none", "--user", user, "--entrypoint", program)
        return docker("run", *how, images[image], *arguments).stdout

    return say


@pytest.fixture(scope="module")
def looked() -> dict[str, dict]:
    """What was seen in each image so far."""
    return {}


@pytest.mark.parametrize("name", OURS)
class TestContents:
    """What is installed, asked of Python itself in the image."""

    @pytest.fixture
    def inside(self, run: Callable[..., str], looked: dict[str, dict], name: str) -> dict:
        if name not in looked:
            looked[name] = json.loads(run(name, "python", "-c", LOOK))
        return looked[name]

    def test_its_own_service_and_the_shared_library_and_nothing_of_the_others(self, inside: dict, name: str) -> None:
        own = "lineside-bench" if name in SIMULATORS else f"lineside-{name}"
        ours = {"lineside", own, ALSO.get(name, own)}
        assert {each for each in inside["distributions"] if each.startswith("lineside")} == ours
        folders = {folder for folder in inside["folders"] if not folder.endswith(".dist-info")}
        assert folders == {each.replace("-", "_") for each in ours}
        scripts = {each for each in inside["programs"] if each.startswith("lineside")}
        assert scripts == {"lineside-service", f"lineside-{name}"}

    def test_exactly_what_the_lock_names(self, inside: dict, name: str) -> None:
        lock = ROOT / "requirements" / f"{'bench' if name in SIMULATORS else name}.txt"
        assert "--hash=sha256:" in lock.read_text(encoding="utf-8")
        locked = re.findall(r"^([a-z0-9._-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE)
        conditional = {"colorama", "wait-for2"}  # for Windows, and for older Pythons
        installed = {canonical(each) for each in inside["distributions"] if not each.startswith("lineside")}
        assert installed == {canonical(each) for each in locked} - conditional

    def test_no_pip_nor_anything_that_builds(self, run: Callable[..., str], inside: dict, name: str) -> None:
        assert not {"pip", "setuptools", "wheel", "pytest"} & set(inside["distributions"])
        assert not [each for each in inside["programs"] if each.startswith("pip")]
        found = run(name, "sh", "-c", "command -v gcc cc ld make strip git curl wget || true")
        assert found == ""

    def test_it_is_compiled_since_a_read_only_root_keeps_no_bytecode(self, inside: dict, name: str) -> None:
        del name
        assert inside["uncompiled"] == []

    def test_no_file_of_ours_raises_rights_or_can_be_changed(self, run: Callable[..., str], name: str) -> None:
        looked = r"find /opt /etc/lineside /models /var/lib/lineside -perm /6000 -o -path '/opt/*' ! -user root"
        assert run(name, "sh", "-c", looked, user="0") == ""
        writable = r"find /opt /etc/lineside /models ! -type l -writable"
        assert run(name, "sh", "-c", writable) == ""

    def test_the_folders_of_volumes_are_born_with_their_owner(self, run: Callable[..., str], name: str) -> None:
        folders = [f"/var/lib/lineside/{each}" for each in FOLDERS]
        said = run(name, "stat", "-c", "%u:%g %n", *folders, "/run/secrets/lineside")
        assert {line.split()[0] for line in said.splitlines()} == {"10001:10001"}


ASK = """
from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam.discovery import discover
try:
    print("loaded", discover())
except CameraFailed as error:
    print("missing", error)
"""
RIGHTS = """
import os, stat
for folder, _names, files in os.walk("/", onerror=None):
    for path in (os.path.join(folder, name) for name in files):
        try:
            if "security.capability" in os.listxattr(path, follow_symlinks=False):
                print(path)
        except OSError:
            pass
"""


class TestCameras:
    """GigE Vision and USB3 Vision by libaravis, in the two images that open cameras."""

    @pytest.fixture
    def asked(self, docker: Callable, images: dict[str, str]) -> Callable[..., str]:
        """Return what comes of asking who is there, in the hardened image with these options."""
        how = ("run", "--rm", "--network", "none", *HARDENED)
        return lambda *options: docker(*how, *options, "--entrypoint", "python", images["inference"], "-c", ASK).stdout

    def test_the_library_loads_and_asks_who_is_there(self, asked: Callable[..., str]) -> None:
        assert asked() == "loaded []\n"

    def test_an_image_without_it_names_the_one_that_has_it(
        self, asked: Callable[..., str], run: Callable[..., str]
    ) -> None:
        """The control: the same with an empty file in place of the library."""
        library = run("inference", "sh", "-c", "ls /usr/lib/*/libaravis-0.8.so.0.*").strip()
        said = asked("-v", f"/dev/null:{library}:ro")
        assert said.startswith("missing GenICam cameras need libaravis-0.8.so.0")
        assert "The image lineside/inference has it" in said

    def test_the_command_has_it_too(self, docker: Callable, images: dict[str, str]) -> None:
        tools = images["inference"].replace("/inference:", "/tools:")
        done = docker("run", "--rm", "--network", "none", *HARDENED, tools, "camera", "list", "--json", check=False)
        assert json.loads(done.stdout) == [], done.stderr

    def test_no_program_of_what_it_brings_has_rights_by_its_file(self, run: Callable[..., str]) -> None:
        assert run("inference", "python", "-c", RIGHTS, user="0") == ""

    def test_its_licence_is_there_and_nothing_to_install_with_is_left(self, run: Callable[..., str]) -> None:
        said = run("inference", "cat", "/usr/share/doc/libaravis-0.8-0/copyright")
        assert "LGPL-2.1+" in said
        left = "find /var/lib/apt/lists /var/cache/apt -type f; find / -xdev -name '*gstreamer*' -name '*.so*'"
        assert run("inference", "sh", "-c", left, user="0") == ""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", NAMES)
def test_how_each_image_says_to_be_run(
    docker: Callable, images: dict[str, str], versions: dict[str, str], name: str
) -> None:
    config = json.loads(docker("inspect", images[name]).stdout)[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][0] == "CMD"  # the exec form: no shell
    assert config["Entrypoint"]
    assert config["Entrypoint"][0] not in {"/bin/sh", "sh"}
    if name in OURS:
        assert config["Healthcheck"]["Test"] == ["CMD", "lineside-service", "health"]
        assert config["Entrypoint"] == ["lineside-service"]
        assert "LINESIDE_CONFIG=/etc/lineside/settings.yaml" in config["Env"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == f"lineside-{name}"
    assert labels["version"] == versions["LINESIDE_VERSION"]
    assert "Apache-2.0" in labels["licenses"]
    assert {"source", "revision"} <= set(labels)
    assert not [each for each in config["Env"] if re.search("SECRET|PASSWORD|TOKEN", each)]


def test_sizes(
    docker: Callable,
    images: dict[str, str],
    held: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def size(image: str) -> int:
        return int(docker("image", "inspect", "--format", "{{.Size}}", image).stdout)

    above = {name: size(image) - size(held["PYTHON_IMAGE"]) for name, image in images.items()}
    with capsys.disabled():
        print("\nimage          MB above the base image")  # noqa: T201 - the table is wanted
        for name, each in above.items():
            print(f"{name:14} {each / MB:5.0f}")  # noqa: T201 - same
    too_large = {name: above[name] for name in SERVICES if above[name] > LARGER.get(name, MAX_ABOVE_BASE)}
    assert too_large == {}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_which_settings_it_misses(docker: Callable, images: dict[str, str], name: str) -> None:
    done = docker("run", "--rm", "--network", "none", *HARDENED, images[name], check=False)
    assert done.returncode == 2
    assert done.stderr == "/etc/lineside/settings.yaml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("name", OURS)
class TestOneProgramAlone:
    """Hardened, on a read-only root, without network: nothing that it needs is there."""

    def test_it_lives_says_what_it_waits_for_and_ends_at_sigterm(self, box: Callable[..., Box], name: str) -> None:
        # The volumes are new and take the owner of the image's folders, or nothing could be written there.
        volumes = [f"/var/lib/lineside/{each}" for each in ("spool", "state", "evidence", "deployer")]
        mounts = [f"{BENCH}:/etc/lineside/settings.yaml:ro", f"{ROOT / 'models'}:/models:ro", *volumes]
        it = box(name, *(part for mount in mounts for part in ("-v", mount)))
        it.wait("lineside-service", "health", "--live")
        if name in READY_ALONE:
            assert it.wait("lineside-service", "health") == "ready"
        else:
            said = it.wait("lineside-service", "health", status=1)
            assert re.search(r"/readyz: 503: started; .*(BACKOFF|CONNECTING)", said)
        assert it.exec("lineside-service", "health", "--nonsense").returncode == 2
        assert it.exec("id", "-u").stdout.strip() == "10001"
        assert it.exec("touch", "/opt/lineside/x", "/etc/x").returncode != 0
        assert it.stop() == 0, it.log


SCENE = """
import json, urllib.error, urllib.request
def ask(path, body=None, port=8000):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", data), timeout=300) as answer:
        return answer.read()
before = json.loads(ask("/v2/repository/index", {}))
for each in before:
    ask(f"/v2/repository/models/{each['name']}/load", {})
config = json.loads(ask("/v2/models/surface-defect/config"))
inputs = []
for each in config["input"]:
    shape = ([1] if config["max_batch_size"] else []) + [int(n) for n in each["dims"]]
    count = 1
    for n in shape: count *= n
    inputs.append({"name": each["name"], "datatype": each["data_type"].removeprefix("TYPE_"), "shape": shape,
                   "data": [0.25] * count})
answer = json.loads(ask("/v2/models/surface-defect/infer", {"inputs": inputs}))
print(json.dumps({"outputs": {each["name"]: each["data"] for each in answer["outputs"]},
                  "counted": "nv_inference_request_success" in ask("/metrics", port=8002).decode(),
                  "before": [each.get("state", "") for each in before],
                  "models": json.loads(ask("/v2/repository/index", {}))}))
"""


LOAD = """
import urllib.error, urllib.request
try:
    urllib.request.urlopen("http://127.0.0.1:8000/v2/repository/models/surface-defect/load", b"{}", timeout=300)
except urllib.error.HTTPError as error:
    print("HTTP", error.code, error.read().decode())
"""


def test_triton_serves_the_repository_on_a_read_only_root(box: Callable[..., Box]) -> None:
    health = ("python", "/opt/triton/start/health.py")
    it = box("triton-cpu", "-v", f"{ROOT / 'models'}:/models:ro", "--shm-size", "256m")
    assert it.wait(*health) == "ready"
    done = it.exec("python", "-c", SCENE)
    assert done.returncode == 0, done.stderr + it.log
    said = json.loads(done.stdout)
    assert {each["name"]: each["state"] for each in said["models"]} == {
        "surface-defect": "READY",
        "spindle-anomaly": "READY",
    }
    assert said["before"] == ["", ""]  # nothing comes up by itself
    assert said["counted"]
    values = [value for data in said["outputs"].values() for value in data]
    assert values
    assert any(value != 0 for value in values)  # a stub with the wrong numpy would answer zeros
    assert "not for a plant" in it.log
    assert it.stop() == 0


def test_triton_starts_beside_a_model_that_does_not_load_and_says_why_when_it_shall(
    box: Callable[..., Box], tmp_path: Path
) -> None:
    broken = tmp_path / "surface-defect"
    (broken / "1").mkdir(parents=True)
    (broken / "config.pbtxt").write_text((ROOT / "models" / "surface-defect" / "config.pbtxt").read_text("utf-8"))
    (broken / "1" / "model.onnx").write_bytes(b"no model")
    for folder in (tmp_path, broken, broken / "1"):
        folder.chmod(0o755)
    it = box("triton-cpu", "-v", f"{tmp_path}:/models:ro")
    assert it.wait("python", "/opt/triton/start/health.py") == "ready"
    done = it.exec("python", "-c", LOAD)
    assert "HTTP 400" in done.stdout, done.stderr
    assert "surface-defect" in done.stdout
    assert it.wait("python", "/opt/triton/start/health.py") == "ready"


def test_triton_without_models_says_so_unless_a_deployer_brings_them(
    docker: Callable, images: dict[str, str], box: Callable[..., Box]
) -> None:
    alone = ("run", "--rm", "--network", "none", *HARDENED)
    done = docker(*alone, images["triton-cpu"], check=False)
    assert done.returncode == 2
    assert "/models has no model" in done.stderr
    done = docker(*alone, "-e", "MODELS_MAY_BE_EMPTY=yes", images["triton-cpu"], check=False)
    assert done.returncode == 2
    assert "MODELS_MAY_BE_EMPTY is 'yes': expected true or false" in done.stderr
    it = box("triton-cpu", "-e", "MODELS_MAY_BE_EMPTY=true", "--shm-size", "64m")
    assert it.wait("python", "/opt/triton/start/health.py") == "ready"
    assert it.stop() == 0


def test_the_s3_of_the_bench_keeps_and_gives_back(box: Callable[..., Box]) -> None:
    it = box("s3-sim")
    program = """
import boto3
s3 = boto3.client("s3", endpoint_url="http://127.0.0.1:9000", region_name="eu-central-1",
                  aws_access_key_id="any", aws_secret_access_key="any")
s3.put_object(Bucket="lineside-evidence", Key="a/b.jsonl", Body=b"evidence")
print(s3.get_object(Bucket="lineside-evidence", Key="a/b.jsonl")["Body"].read().decode())
"""
    assert it.wait("python", "-c", program) == "evidence"
    assert it.stop() == 0


def test_the_image_for_jetsons_builds_over_another_base(
    docker: Callable, held: dict[str, str], versions: dict[str, str]
) -> None:
    # NVIDIA's image cannot be had without a registry; over any Debian or Ubuntu the rest of the file is the same.
    tag = f"lineside-test-l4t:{uuid.uuid4().hex[:12]}"
    del versions
    how = ("--build-arg", f"TRITON_L4T_IMAGE={held['PYTHON_IMAGE']}", "-f", str(ROOT / "docker/triton-l4t/Dockerfile"))
    docker("build", "-q", "-t", tag, *how, str(ROOT), timeout=600)
    try:
        done = docker("run", "--rm", *HARDENED, tag, check=False)
        assert (done.returncode, done.stderr.split(" (")[0]) == (2, "/models has no model")
        for given in (("-v", f"{ROOT / 'models'}:/models:ro"), ("-e", "MODELS_MAY_BE_EMPTY=true")):
            done = docker("run", "--rm", *HARDENED, *given, tag, check=False)
            assert "tritonserver" in done.stderr, given  # it would be started now
        done = docker("run", "--rm", *HARDENED, "-e", "MODELS_MAY_BE_EMPTY=1", tag, check=False)
        assert (done.returncode, done.stderr) == (2, "MODELS_MAY_BE_EMPTY is '1': expected true or false\n")
        builder = ("--entrypoint", "python3", "--env", "PYTHONPATH=/opt/lineside/python", tag, "-S", "-m")
        done = docker("run", "--rm", *HARDENED, *builder, "lineside.plans", "--help", check=False)
        assert (done.returncode, done.stdout.split()[:2]) == (0, ["usage:", "lineside.plans"])
    finally:
        docker("rmi", "-f", tag, check=False)
