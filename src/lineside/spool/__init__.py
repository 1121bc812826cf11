"""The durable queue on disk between the services that write evidence and the forwarder, on one box.

Records wait in an SQLite file (WAL, synchronous=FULL), large blobs in files of their own; everything carries a
checksum. `Spool.put` returns when the record is on the disk. The forwarder seals records into batches; every
destination leases, confirms, releases or refuses batches, with a progress of its own. What all destinations have
confirmed is deleted.
"""

from lineside.spool.errors import LeaseLost, SpoolDamaged, SpoolError, SpoolFull, SpoolUnusable
from lineside.spool.settings import SpoolSettings
from lineside.spool.spool import Spool
from lineside.spool.store.entry import Batch, Blob, Entry, Kept, Receipt, Record, StoredBlob
from lineside.spool.store.values import DeadLetter, DestinationStatus, Lease, Outcome, Run, Status, Swept

__all__ = [
    "Batch",
    "Blob",
    "DeadLetter",
    "DestinationStatus",
    "Entry",
    "Kept",
    "Lease",
    "LeaseLost",
    "Outcome",
    "Receipt",
    "Record",
    "Run",
    "Spool",
    "SpoolDamaged",
    "SpoolError",
    "SpoolFull",
    "SpoolSettings",
    "SpoolUnusable",
    "Status",
    "StoredBlob",
    "Swept",
]
