"""Where the repository and the programs of the tests are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
FIXTURES = ROOT / "tests" / "fixtures"
"""Files of real machines."""
SUPPORT = Path(__file__).parent
"""The folder of the programs that tests start: `plc_process.py` and others."""
