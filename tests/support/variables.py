"""What the environment tells the tests. No name begins with LINESIDE_: services would refuse it as an unknown setting.

TESTS_FAULTS=long     long forms: every fault of a kind where the short form takes some (`make faults`)
TESTS_PARTS=200       parts at each gap between two writes in test_stacks.py; 20 where it is not set
TESTS_SEED=7          what a test that draws its faults begins with; another each time where it is not set
TESTS_NEED=docker,promtool,aravis    programs whose absence fails a test instead of skipping it
SCREENSHOTS=FOLDER    where the tests of the page keep pictures of it; pytest's own folder where it is not set
CHROMIUM=FILE         the browser; /usr/bin/chromium where it is not set
"""

import os
from pathlib import Path
from typing import NoReturn

import pytest

LONG = os.environ.get("TESTS_FAULTS") == "long"
PARTS = int(os.environ.get("TESTS_PARTS", "20"))
SEED = int(os.environ["TESTS_SEED"]) if "TESTS_SEED" in os.environ else None
SCREENSHOTS = os.environ.get("SCREENSHOTS")
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))


def missing(program: str, why: str) -> NoReturn:
    """Fail where TESTS_NEED names the program, else skip; `why` says what is missing."""
    if program in os.environ.get("TESTS_NEED", "").split(","):
        pytest.fail(f"{why}; TESTS_NEED names {program}")
    pytest.skip(why)
