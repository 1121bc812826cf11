"""What a model's Greengrass component has done, in containers that do one thing each.

    python -m lineside_inference.deploying VERB ...

    put MODEL                  put the model of a tar stream (stdin) into the repository
    install PACKAGE            verify a signed package, unpack it, put its model into the repository
    confirm MODEL URL          wait until the inference service says what became of it
    accept MODEL VERSION...    keep these versions and no others
    keep MODEL                 note how the model is, before a change that may have to be undone
    withdraw MODEL             take the model out of the repository
    gone MODEL URL             wait until the inference service does not serve it any more
    restore MODEL              bring the model back to how it was noted
    settle MODEL               forget how it was: the change is for good

`install -` takes a tar stream (stdin) of the signature and the package, in this order, and needs `--model`. With
`--roots DIR` a package counts that somebody has signed who is trusted there; one without a signature is refused, unless
`--allow-unsigned NAME` names its model.

The repository is /models, or `--repository`. Exit status 0: done; 1: not, and one sentence on stderr says why.

`confirm` asks `GET /v1/models/MODEL`: does the version that the model's own card names serve, or was it refused? What
was refused it says at once, and waits for all that may still come: the service, Triton, the load, the warm-up. Where
the policy keeps another version in force, it is enough that this one is whole: the operator's choice comes first. Its
last line on stdout has the versions that are needed: the one that came, and those that serve or are wanted.
"""

import argparse
import http.client
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlsplit

import tritonclient

from lineside.errors import LinesideError
from lineside_inference.errors import StoreError
from lineside_inference.models import installing, placing, undoing

REPOSITORY = Path("/models")
ASK_EVERY_S = 0.5
ANSWER_S = 5.0
SETTLE_S = 20.0
"""For so long trouble may last that the service is expected to get over: it looks at the folder every two seconds."""
_MAX_BYTES = 1 << 20
_OK, _NOT_FOUND = 200, 404


class Fate(Enum):
    """What became of a version."""

    DONE = "done"
    REFUSED = "refused"
    TROUBLE = "trouble"
    WAITS = "waits"


@dataclass(frozen=True)
class Answer:
    """What the service says of a model's version, in a sentence."""

    fate: Fate
    says: str
    needed: tuple[str, ...] = ()
    """The versions that serve or are wanted."""


def judge(model: Mapping[str, Any], version: str) -> Answer:
    """Return what a model's document of `/v1/models` says of the version that its own card names on the disk."""
    refused = model["refused"] or {}
    if model["state"] == "out":
        return Answer(Fate.TROUBLE, f"it is out: {model['detail']}")
    if model["default"] != version:
        return Answer(Fate.WAITS, f"the service has not read version {version} yet")
    if refused.get("version") == version:
        return Answer(Fate.REFUSED, str(refused["reason"]))
    if model["changing"]:
        return Answer(Fate.WAITS, str(model["detail"]))
    return _settled(model, version)


def _settled(model: Mapping[str, Any], version: str) -> Answer:
    """Judge a model of which nothing is being changed."""
    in_force, wanted, state = model["version"], model["wanted"], model["state"]
    needed = tuple(each for each in (in_force, wanted) if each)
    if wanted != version:
        return Answer(Fate.DONE, f"version {version} is there; the policy keeps version {wanted} in force", needed)
    if state == "unloaded":
        return Answer(Fate.DONE, f"version {version} is there; the model is unloaded on request", needed)
    if in_force == version and state == "ONLINE":
        return Answer(Fate.DONE, f"version {version} is warm and serves", needed)
    is_trouble = in_force == version and state == "BACKOFF"
    return Answer(Fate.TROUBLE if is_trouble else Fate.WAITS, model["detail"] or f"version {version} is being loaded")


def judge_gone(model: Mapping[str, Any]) -> Answer:
    """Return whether a model's document of `/v1/models` says that it does not serve."""
    if model["state"] in {"unloaded", "out"}:
        return Answer(Fate.DONE, "it does not serve any more")
    return Answer(Fate.WAITS, f"version {model['version']} still serves")


def ask(
    url: str,
    name: str,
    token: str | None,
    judged: Callable[[Mapping[str, Any]], Answer],
    unknown: Answer = Answer(Fate.WAITS, "the service does not know it yet"),
) -> Answer:
    """Ask the service once; `unknown` is the answer where it has no such model."""
    parts = urlsplit(url)
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=ANSWER_S)
    try:
        connection.request("GET", f"/v1/models/{quote(name, safe='')}", headers=headers)
        response = connection.getresponse()
        status, body = response.status, response.read(_MAX_BYTES)
        document = json.loads(body) if status == _OK else {}
        if status == _NOT_FOUND:
            return unknown
        if status != _OK:
            return Answer(Fate.TROUBLE, f"{url} answers {status}: {body[:300].decode(errors='replace')}")
        return judged(document)
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        return Answer(Fate.WAITS, f"the inference service does not answer at {url} ({why})")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Answer(Fate.TROUBLE, f"what answers at {url} is no inference service of Lineside, or an older one")
    finally:
        connection.close()


def wait(
    once: Callable[[], Answer],
    within_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Ask until it is done or refused, trouble has lasted, or the time is over; return the last answer.

    A service that tries again and again answers that it loads in between: trouble lasts on, unless that takes long.
    """
    began = clock()
    trouble = waits = math.inf  # since when; infinite where there is none
    while True:
        answer = once()
        now = clock()
        if answer.fate is Fate.TROUBLE:
            trouble, waits = min(trouble, now), math.inf
        else:
            waits = min(waits, now)
            trouble = trouble if now - waits < SETTLE_S else math.inf
        has_lasted = answer.fate is Fate.TROUBLE and now - trouble >= SETTLE_S
        if answer.fate in {Fate.DONE, Fate.REFUSED} or has_lasted or now - began >= within_s:
            return answer
        sleep(ASK_EVERY_S)


def main(arguments: Sequence[str]) -> int:
    """Do it; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except LinesideError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _put(options: argparse.Namespace) -> int:
    version = placing.put(options.repository, options.model, sys.stdin.buffer)
    sys.stdout.write(f"version {version}\n")
    return 0


def _install(options: argparse.Namespace) -> int:
    trust = installing.Trust(options.roots, frozenset(options.allow_unsigned))
    if options.package == "-":
        if options.model is None:
            raise StoreError("a package from a stream goes by the name of its model", remedy="Give --model")
        done = installing.install_streamed(options.repository, options.model, sys.stdin.buffer, trust)
    else:
        done = installing.install(
            options.repository, Path(options.package), trust, bundle=options.bundle, model=options.model
        )
    sys.stderr.write(f"{done.says}\n")
    sys.stdout.write(f"version {done.version}\n")
    return 0


def _accept(options: argparse.Namespace) -> int:
    gone = placing.accept(options.repository, options.model, options.versions)
    sys.stdout.write("".join(f"version {version} is removed\n" for version in gone))
    return 0


def _confirm(options: argparse.Namespace) -> int:
    version = placing.version_of(options.repository, options.model)

    def once() -> Answer:
        return ask(options.url, options.model, _token(options.token_file), partial(judge, version=version))

    answer = _waited(once, options.within)
    if answer.fate is Fate.DONE:
        sys.stderr.write(f"{answer.says}\n")
        sys.stdout.write(" ".join(dict.fromkeys((version, *answer.needed))) + "\n")
        return 0
    late = f" within {options.within:g} s" if answer.fate is Fate.WAITS else ""
    said = answer.says if answer.fate is Fate.REFUSED else f"version {version} does not serve{late}: {answer.says}"
    sys.stderr.write(f"{said}\n")
    return 1


def _gone(options: argparse.Namespace) -> int:
    unknown = Answer(Fate.DONE, "the service does not know it any more")

    def once() -> Answer:
        return ask(options.url, options.model, _token(options.token_file), judge_gone, unknown)

    answer = _waited(once, options.within)
    sys.stderr.write(f"{answer.says}\n")
    return 0 if answer.fate is Fate.DONE else 1


def _waited(once: Callable[[], Answer], within_s: float) -> Answer:
    """Wait, and tell each new reason why."""
    told: list[str] = []

    def telling() -> Answer:
        answer = once()
        if answer.fate in {Fate.WAITS, Fate.TROUBLE} and told[-1:] != [answer.says]:
            told.append(answer.says)
            sys.stderr.write(f"waits: {answer.says}\n")
        return answer

    return wait(telling, within_s)


def _keep(options: argparse.Namespace) -> int:
    undoing.keep(options.repository, options.model)
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    was_there = undoing.withdraw(options.repository, options.model)
    sys.stdout.write("taken out\n" if was_there else "it is not there\n")
    return 0


def _restore(options: argparse.Namespace) -> int:
    is_there = undoing.restore(options.repository, options.model)
    version = placing.version_of(options.repository, options.model) if is_there else None
    sys.stdout.write(f"version {version}\n" if version else "it is not there, as before\n")
    return 0


def _settle(options: argparse.Namespace) -> int:
    undoing.settle(options.repository, options.model)
    return 0


def _token(file: Path | None) -> str | None:
    """Return the file's first token; none where it is not there, which the service then refuses by itself."""
    try:
        return file.read_text(encoding="ascii").split()[0] if file is not None else None
    except (OSError, ValueError, IndexError):
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lineside_inference.deploying", description="What a model's component has done."
    )
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, run in (("keep", _keep), ("withdraw", _withdraw), ("restore", _restore), ("settle", _settle)):
        changed = verbs.add_parser(name)
        changed.add_argument("model")
        changed.set_defaults(run=run)
    put = verbs.add_parser("put")
    put.add_argument("model")
    put.set_defaults(run=_put)
    install = verbs.add_parser("install")
    install.add_argument("package")
    install.add_argument("--bundle", type=Path, metavar="FILE")
    install.add_argument("--roots", type=Path, metavar="DIR")
    install.add_argument("--allow-unsigned", action="append", default=[], metavar="NAME")
    install.add_argument("--model", metavar="NAME")
    install.set_defaults(run=_install)
    for name, run in (("confirm", _confirm), ("gone", _gone)):
        asks = verbs.add_parser(name)
        asks.add_argument("model")
        asks.add_argument("url")
        asks.add_argument("--within", type=float, default=600.0, metavar="S")
        asks.add_argument("--token-file", type=Path)
        asks.set_defaults(run=run)
    accept = verbs.add_parser("accept")
    accept.add_argument("model")
    accept.add_argument("versions", nargs="+", metavar="version")
    accept.set_defaults(run=_accept)
    return parser


def _messages_alone() -> None:
    """Let Triton's messages come without tritonclient's client, which nothing here calls.

    It imports gRPC and numpy: 25 MB and half of the start of a process that lives for one command.
    """
    package = ModuleType("tritonclient.grpc")
    package.__path__ = [f"{folder}/grpc" for folder in tritonclient.__path__]
    sys.modules.setdefault(package.__name__, package)


if __name__ == "__main__":
    _messages_alone()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the first process of a container ignores it otherwise
    sys.exit(main(sys.argv[1:]))
