"""The rights that a running container has and should not have, from the engine's document and /proc."""

from collections.abc import Mapping
from typing import Any

GRACE_S = 8
"""http.drain_s: what a service is given for the work under way."""


def complaints(container: Mapping[str, Any], status: str) -> set[str]:
    """Return what is wrong, in one word each; `status` is /proc/1/status as read inside the container."""
    return _of_the_host(container["HostConfig"]) | _of_the_rest(container) | _of_the_process(status)


def _of_the_host(host: Mapping[str, Any]) -> set[str]:
    log = host["LogConfig"]
    security = {item.replace("=", ":") for item in host["SecurityOpt"] or ()}
    wrong = {
        "privileged": host["Privileged"],
        "root writable": not host["ReadonlyRootfs"],
        "capabilities kept": host["CapDrop"] != ["ALL"],
        "capabilities added": bool(host["CapAdd"]),
        "new privileges": not security & {"no-new-privileges:true", "no-new-privileges"},
        "unconfined": any("unconfined" in item for item in security),
        "host namespace": "host" in {host["PidMode"], host["IpcMode"], host["NetworkMode"], host["UTSMode"]},
        "shared namespace": any(str(host[mode]).startswith("container:") for mode in ("PidMode", "IpcMode")),
        "devices": bool(host["Devices"]),
        "memory unbounded": not host["Memory"],
        "processors unbounded": not host["NanoCpus"],
        "processes unbounded": not host["PidsLimit"] or host["PidsLimit"] < 0,
        "log unbounded": log["Type"] != "json-file" or not {"max-size", "max-file"} <= set(log["Config"]),
        "not restarted": host["RestartPolicy"]["Name"] != "unless-stopped",
        "tmp executable": "noexec" not in (host.get("Tmpfs") or {}).get("/tmp", ""),
    }
    return {what for what, is_wrong in wrong.items() if is_wrong}


def _of_the_rest(container: Mapping[str, Any]) -> set[str]:
    bound = [each for each in container["NetworkSettings"]["Ports"].values() if each]
    mounts = container["Mounts"]
    wrong = {
        "port open to the network": any(one["HostIp"] != "127.0.0.1" for each in bound for one in each),
        "no healthcheck": (container["Config"].get("Healthcheck") or {}).get("Test", ["NONE"])[0] != "CMD",
        "not healthy": (container["State"].get("Health") or {}).get("Status") != "healthy",
        "no time to drain": (container["Config"].get("StopTimeout") or 0) <= GRACE_S,
        "host folder writable": any(each["Type"] == "bind" and each["RW"] for each in mounts),
        "engine's socket": any(each["Source"].endswith("docker.sock") for each in mounts),
        "unnamed volume": any(
            each["Type"] == "volume" and len(each["Name"]) == 64 and "_" not in each["Name"] for each in mounts
        ),
        "secret in the environment": any(
            "PASSWORD=" in each or "TOKEN=" in each or "SECRET=" in each for each in container["Config"]["Env"]
        ),
    }
    return {what for what, is_wrong in wrong.items() if is_wrong}


def _of_the_process(status: str) -> set[str]:
    said = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    wrong = {
        "runs as root": "0" in said["Uid"],
        "group of root": "0" in said["Gid"],
        "capabilities held": any(int(said[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")),
        "may gain privileges": said["NoNewPrivs"] != ["1"],
        "no seccomp": said["Seccomp"] != ["2"],
    }
    return {what for what, is_wrong in wrong.items() if is_wrong}
