"""Stores of other makers, each a real server: what is delivered is there, whole, and a refusal is understood."""

import hashlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lineside_forwarder.errors import NotAllowed
from lineside_forwarder.s3 import S3Destination
from lineside_forwarder.settings import S3Settings
from tests.support.forwarding import entry as a_capture
from tests.support.paths import ROOT
from tests.support.ports import free_port, free_ports
from tests.support.s3_uploads import Blobs, Counting
from tests.support.waiting import HANG_S, block_until

LOCK = ROOT / "requirements" / "stores.txt"
IMAGE = bytes(range(256)) * 800  # 200 KB
LARGE = IMAGE * 64  # 12.5 MiB: more than one part
KEY, WORD = "line-7", "not-a-secret-7"  # of the stores that the tests start
DOMAIN = "store.test"


@dataclass
class There:
    """A store that runs: its address, and a client for the test's own questions."""

    url: str
    client: Any


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Path:
    """Return the folder of the stores' programs, installed on first use from their lock file."""
    folder = Path(pytestconfig.cache.mkdir("s3-stores"))
    mark = folder / ".installed"
    if not mark.is_file() or mark.read_bytes() != LOCK.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True, timeout=HANG_S)
        pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "--quiet"]
        more = ["--disable-pip-version-check", "--require-hashes", "-r", LOCK]
        subprocess.run([*pip, "install", *more], check=True, timeout=HANG_S)
        mark.write_bytes(LOCK.read_bytes())
    return folder / "bin"


def rclone(programs: Path, folder: Path, port: int) -> list[str]:
    own = ["--vfs-cache-mode", "full", "--cache-dir", str(folder / "cache"), "--config", str(folder / "rclone.conf")]
    listen = ["--auth-key", f"{KEY},{WORD}", "--addr", f"127.0.0.1:{port}"]
    (folder / "data").mkdir()
    return [str(programs / "rclone"), "serve", "s3", *listen, *own, str(folder / "data")]


def seaweedfs(programs: Path, folder: Path, port: int) -> list[str]:
    master, volume, filer, grpc1, grpc2, grpc3, grpc4 = free_ports(7)
    (folder / "keys.json").write_text(
        f'{{"identities":[{{"name":"line","credentials":[{{"accessKey":"{KEY}","secretKey":"{WORD}"}}],'
        '"actions":["Admin","Read","Write","List"]}]}'
    )
    local = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
    ports = [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={port}"]
    grpcs = [f"-master.port.grpc={grpc1}", f"-volume.port.grpc={grpc2}", f"-filer.port.grpc={grpc3}"]
    s3 = ["-s3", f"-s3.config={folder / 'keys.json'}", f"-s3.domainName={DOMAIN}", f"-s3.port.grpc={grpc4}"]
    return [str(programs / "weed"), f"-logdir={folder}", "server", *local, *ports, *grpcs, *s3]


@pytest.fixture(scope="module", params=[rclone, seaweedfs], ids=lambda start: start.__name__)
def store(request: pytest.FixtureRequest, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    start: Callable[[Path, Path, int], list[str]] = request.param
    folder = tmp_path_factory.mktemp(start.__name__)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    client: Any = boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=WORD,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            client.create_bucket(Bucket="evidence")
        except (BotoCoreError, ClientError):
            return False
        return True

    argv = start(programs, folder, port)
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            block_until(answers)
            yield There(url, client)
        finally:
            client.close()
            process.kill()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", WORD)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    return monkeypatch


async def deliver(url: str, blobs: Blobs, *names: str, image: bytes, **more: object) -> list[str]:
    """Bring captures there, twice as after a lost answer; return the keys of their images."""
    given = {"name": "cloud", "bucket": "evidence", "endpoint_url": url, "timeout_s": 60, **more}
    there = S3Destination(S3Settings.model_validate(given))
    await there.start()
    try:
        for name in names:
            upload = blobs.upload([a_capture(name, image=image)])
            for _ in range(2):
                await there.deliver(upload, blobs, Counting())
    finally:
        await there.close()
    return [path for name in names for path, _blob in blobs.upload([a_capture(name, image=image)]).objects()]


@pytest.mark.parametrize(("name", "image"), [("small", IMAGE), ("large", LARGE)])
async def test_evidence_is_there_whole_also_where_it_goes_in_parts(
    store: There, blobs: Blobs, name: str, image: bytes
) -> None:
    (key,) = await deliver(store.url, blobs, f"{name}-1", image=image)
    body = store.client.get_object(Bucket="evidence", Key=key)["Body"].read()
    assert (len(body), hashlib.sha256(body).digest()) == (len(image), hashlib.sha256(image).digest())
    lines = key.partition("/raw-data/")[0] + f"/box.{name}-1.jsonl"
    assert f"s3://evidence/{key}".encode() in store.client.get_object(Bucket="evidence", Key=lines)["Body"].read()


async def test_wrong_keys_are_named(store: There, blobs: Blobs, keys: pytest.MonkeyPatch) -> None:
    keys.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(NotAllowed) as caught:
        await deliver(store.url, blobs, "wrong", image=IMAGE)
    assert caught.value.reason == "credentials"


@pytest.mark.parametrize("store", [seaweedfs], indirect=True, ids=["seaweedfs"])  # rclone knows paths only
async def test_a_bucket_in_the_host_name(store: There, blobs: Blobs, keys: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def named(host: Any, *more: Any, **named_more: Any) -> Any:
        is_ours = isinstance(host, str) and host.endswith(DOMAIN)
        return real("127.0.0.1" if is_ours else host, *more, **named_more)

    keys.setattr(socket, "getaddrinfo", named)
    url = store.url.replace("127.0.0.1", DOMAIN)
    (key,) = await deliver(url, blobs, "named", image=IMAGE, addressing="virtual")
    assert store.client.get_object(Bucket="evidence", Key=key)["Body"].read() == IMAGE
