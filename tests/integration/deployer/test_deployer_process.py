"""Deployments over real packages, a real inference service and a real Triton."""

from tests.support.deployer_rig import Box
from tests.support.waiting import block_until


def test_models_come_change_and_go(box: Box) -> None:
    deployer = box.deployer()
    assert (box.score("first"), box.score("second")) == (0.25, 0.25)
    new, fresh = box.packages.upload("first", "2", 0.5), box.packages.upload("fresh", "1", 0.75)
    deployer.want(new, fresh, {"ModelHandle": "second", "State": "UNDEPLOY"})
    deployer.start()
    record = deployer.ended()
    assert record["status"] == "SUCCESS", record
    assert (box.score("first"), box.score("fresh"), box.score("second")) == (0.5, 0.75, None)
    assert box.versions() == {"first": "2", "fresh": "1", "second": None}
    assert {each.name for each in box.repository.iterdir() if not each.name.startswith(".")} == {"first", "fresh"}

    # What was taken out comes again, and serves without a restart.
    deployer.want(new, fresh, box.packages.upload("second", "1", 0.125), name="d2")
    assert deployer.ended("d2")["status"] == "SUCCESS"
    assert box.score("second") == 0.125

    # After a restart of all, nothing is done again and the same serves.
    deployer.kill()
    box.restart_inference()
    deployer.start()
    deployer.wait_ready()
    block_until(lambda: deployer.http.get("/metrics").text.count('looks_total{outcome="read"} 1.0'), deployer.log)
    assert [each["deployment"]["DeploymentName"] for each in deployer.deployments()["deployments"]] == ["d2", "d1"]
    assert (box.score("first"), box.score("fresh"), box.score("second")) == (0.5, 0.75, 0.125)


def test_one_that_does_not_serve_brings_all_back(box: Box) -> None:
    deployer = box.deployer()
    deployer.want(
        box.packages.upload("first", "2", 0.5),
        {"ModelHandle": "second", "State": "UNDEPLOY"},
        box.packages.upload("fresh", "1", 0.75, damage=True),
    )
    deployer.start()
    record = deployer.ended()
    assert record["status"] == "FAIL"
    told = {each["handle"]: each for each in record["models"]}
    assert "INVALID_PROTOBUF" in told["fresh"]["reason"] or "does not serve" in told["fresh"]["reason"], told
    assert {name: each["rollback_failure"] for name, each in told.items() if each["rollback_failure"]} == {}
    block_until(lambda: (box.score("first"), box.score("second")) == (0.25, 0.25), deployer.log)
    assert box.versions() == {"first": "1", "second": "1"} | ({"fresh": None} if "fresh" in box.versions() else {})
    assert not list(box.repository.glob(".before/*"))
