import json
from pathlib import Path

import pytest

from lineside_bench.errors import BenchError
from lineside_bench.reporting import json_file


def test_a_file_is_written_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    json_file.write_json(path, {"ready": True})
    json_file.write_json(path, {"ready": False})
    assert json.loads(path.read_text()) == {"ready": False}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "missing/out.json"])
def test_a_file_that_cannot_be_written_is_named_before_anything_starts(tmp_path: Path, name: str) -> None:
    with pytest.raises(BenchError, match="--json"):
        json_file.check_writable(tmp_path / name, "--json")
