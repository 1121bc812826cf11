import sqlite3
from pathlib import Path

import pytest

from lineside_deployer import life
from lineside_deployer.database import KEPT, Database
from lineside_deployer.desired.document import Definition, Deployment
from lineside_deployer.errors import DeploymentError
from lineside_deployer.records import Installed, ModelRecord, Phase, Record


def record(name: str = "d", phase: Phase = Phase.CHANGING) -> Record:
    deployment = Deployment(DeploymentName=name, Definitions=(Definition(ModelHandle="m", State="UNDEPLOY"),))
    model = ModelRecord(handle="m", desired="UNDEPLOY", action="withdraw")
    return Record(deployment=deployment, digest=deployment.digest, phase=phase, models=[model], started=1.0)


def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "state" / "deployer.db")
    database.save(record())
    done = record("e", Phase.DONE)
    database.finish(done, [Installed(handle="x", checksum="c", version="1", deployment="e")], ["y"])
    again = Database(tmp_path / "state" / "deployer.db")  # beside the first, as after a kill -9
    assert again.record("d") == record()
    assert [each.deployment.DeploymentName for each in again.records()] == ["e", "d"]
    assert set(again.installed()) == {"x"}
    again.finish(done, [], ["x"])
    assert again.installed() == {}
    for each in (database, again):
        each.close()


def test_it_stays_small(tmp_path: Path) -> None:
    database = Database(tmp_path / "deployer.db")
    database.save(record("under-way"))
    for number in range(KEPT + 30):
        database.finish(record(f"d{number}", Phase.DONE), [], [])
    names = [each.deployment.DeploymentName for each in database.records()]
    assert len(names) <= KEPT + 1
    assert "under-way" in names, "what is not done is never forgotten"
    assert names[0] == f"d{KEPT + 29}"
    assert (tmp_path / "deployer.db").stat().st_size <= 5 * 1024 * 1024
    database.close()


def test_a_damaged_one_is_put_aside_and_begun_anew(tmp_path: Path) -> None:
    content = b"no database at all, but long enough to be looked at" * 100
    file = tmp_path / "deployer.db"
    file.write_bytes(content)
    database = Database(file)
    assert database.records() == []
    assert (tmp_path / "deployer.db.damaged").read_bytes() == content
    database.close()


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeploymentError, match="cannot be used"):
        Database(tmp_path / "file" / "deployer.db")


def test_a_full_database_is_said_and_what_was_there_stays(tmp_path: Path) -> None:
    database = Database(tmp_path / "deployer.db")
    database.save(record())
    large = record("large")
    large.models[0].reason = "x" * 8 * 1024 * 1024
    with pytest.raises(DeploymentError, match="full") as full:
        database.save(large)
    assert full.value.transient
    assert database.record("d") == record()
    assert database.record("large") is None
    database.close()


def test_a_start_after_no_stop_counts_as_a_crash(tmp_path: Path) -> None:
    database = Database(tmp_path / "deployer.db")
    first = life.begin(database)
    assert (first.starts, first.crashes) == (1, 0)
    life.end(database)
    assert life.begin(database) == life.Life(first.box, 2, 0)
    assert life.begin(database) == life.Life(first.box, 3, 1)
    assert life.begin(database) == life.Life(first.box, 4, 2)
    life.end(database)
    assert life.begin(database).crashes == 2
    database.close()


def test_the_file_says_what_it_promises(tmp_path: Path) -> None:
    database = Database(tmp_path / "deployer.db")
    assert database._link.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database._link.execute("PRAGMA synchronous").fetchone() == (2,)
    database.close()
    assert sqlite3.connect(tmp_path / "deployer.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
