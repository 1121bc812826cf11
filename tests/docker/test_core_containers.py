"""A core device of the bench whose component is a container of the local engine."""

import uuid

import pytest

from lineside_bench.greengrass.core.nucleus import Status
from lineside_bench.greengrass.core.plan import Change
from tests.support.core_device import FOREVER, core_device, deployment, recipe
from tests.support.waiting import until

pytestmark = pytest.mark.xdist_group("docker")

NEEDS = {"aws.greengrass.DockerApplicationManager": "~2.0.0"}


@pytest.fixture
def container(docker):
    """Return the name of a container, which is gone after the test."""
    name = f"lineside-test-{uuid.uuid4().hex[:12]}"
    yield name
    docker("rm", "-f", name, check=False)


async def test_a_container_is_deployed_left_alone_and_comes_back_after_a_bad_version(
    tmp_path, docker, held, container, monkeypatch
):
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    image = held["PYTHON_IMAGE"]
    start = (
        f"docker rm -f {container} >/dev/null 2>&1\n"
        f"docker run --rm --network none --name {container} -e SVCUID -v {{work:path}}:/work {image} %s"
    )
    steps = {
        "shutdown": {"Script": f"docker stop -t 1 {container}", "Timeout": 60},
        "recover": f"docker rm -f {container}",
        "artifacts": [{"Uri": f"docker:{image}"}],
        "needs": NEEDS,
    }
    good = recipe("box", "1.0.0", run=start % "sh -c 'echo $SVCUID > /work/token; sleep 10000'", **steps)
    bad = recipe("box", "2.0.0", startup=start % "false", **steps)
    other = recipe("other", "1.0.0", run=FOREVER)
    newer = recipe("other", "1.1.0", run=FOREVER)

    def running():
        done = docker("ps", "-q", "--no-trunc", "--filter", f"name={container}", check=False)
        return done.stdout.strip()

    async with core_device(tmp_path) as core:
        assert (await core.deploy(deployment(box="1.0.0", other="1.0.0"), good, other)).status is Status.SUCCEEDED
        first = await until(running, "the container")
        token = core.nucleus.root / "work" / "box" / "token"
        await until(lambda: token.exists() and token.read_text().strip() == core.nucleus.core.components["box"].token)
        outcome = await core.deploy(deployment(box="1.0.0", other="1.1.0"), good, newer)
        assert outcome.changes == {"box": Change.UNCHANGED, "other": Change.REINSTALLED}
        assert running() == first
        outcome = await core.deploy(deployment(box="2.0.0", other="1.1.0"), good, bad, newer)
        assert (outcome.status, core.nucleus.versions["box"]) == (Status.ROLLED_BACK, "1.0.0")
        await until(lambda: running() not in {"", first}, "another container of the version before")
    assert running() == ""
