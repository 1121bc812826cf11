"""Who opens the spool first deletes what cut-off puts left, and never what another process is putting meanwhile."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from lineside.spool import Blob, Spool
from lineside.spool.store.blobs import Blobs
from lineside.spool.store.reading import Reading
from tests.support.spooling import entry


def test_a_blob_that_is_put_while_another_process_looks_after_the_folder_stays(
    open_spool: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_spool() as spool:
        spool._blobs.write([Blob("x", b"cut off")])
    clean = Reading.delete_orphans

    def meanwhile(reading: Reading, found: Any) -> None:
        """Clean up between the blob and the record of the other's put."""
        write = Blobs.write

        def write_first(blobs: Blobs, given: Sequence[Blob]) -> Any:
            stored = write(blobs, given)
            clean(reading, found)
            return stored

        monkeypatch.setattr(Blobs, "write", write_first)
        open_spool(producer="other").put(entry("b", blobs=(Blob("x", b"kept"),)))

    monkeypatch.setattr(Reading, "delete_orphans", meanwhile)
    spool = open_spool()
    (record,) = spool.iterate()
    with spool.open_blob(record.blobs[0]) as blob:
        assert blob.read() == b"kept"
    assert len(list((spool.folder / "blobs").glob("??/*"))) == 1
