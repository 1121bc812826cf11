"""What another process does on a spool for the benchmark: `spool_worker.py drain|drain-on|memory FOLDER`.

drain      takes everything as one destination does; prints how many records in how many seconds
drain-on   prints `ready`, drains what comes until standard input has a line or ends
memory     puts and drains a part of a backlog, looks at the rest; prints its peak memory
"""

import json
import sys
import threading
import time
from itertools import islice
from pathlib import Path

from lineside.spool import Entry, Spool, SpoolSettings

DESTINATION = "benchmark"
BATCH = 1000
BATCH_BYTES = 8 * 1024 * 1024
PUTS = 2000
BATCHES = 60


def drain(spool: Spool) -> int:
    """Seal what waits and take all of it; return how many records that were."""
    for run in spool.unsealed():
        spool.seal(run, BATCH, BATCH_BYTES)
    taken = 0
    while lease := spool.lease(DESTINATION):
        taken += len(spool.read(lease.batch))
        spool.confirm(lease)
    return taken


def drain_all(spool: Spool) -> dict[str, float]:
    start = time.perf_counter()
    records = 0
    while taken := drain(spool):
        records += taken
    return {"records": records, "seconds": time.perf_counter() - start}


def drain_on(spool: Spool) -> dict[str, float]:
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    print("ready", flush=True)
    records = 0
    while not stop.is_set():
        taken = drain(spool)
        records += taken
        if not taken:
            stop.wait(0.01)
    return {"records": records}


def memory(spool: Spool) -> dict[str, float]:
    for number in range(PUTS):
        spool.put(Entry(key=f"more-{number}", stream="other", folder="lineside/other/2026/11/22/02", body=bytes(1024)))
    spool.status()
    for _record in islice(spool.iterate(), BATCHES * BATCH):
        pass
    batches = 0
    while batches < BATCHES and drain_some(spool):
        batches += 1
    spool.status()
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return {"peak_mib": int(peak.split()[1]) / 1024}


def drain_some(spool: Spool) -> int:
    """Take one batch; return how many records it had."""
    runs = spool.unsealed()
    if runs:
        spool.seal(runs[0], BATCH, BATCH_BYTES)
    lease = spool.lease(DESTINATION)
    if lease is None:
        return 0
    taken = len(spool.read(lease.batch))
    spool.confirm(lease)
    return taken


def main() -> None:
    mode, folder = sys.argv[1:]
    work = {"drain": drain_all, "drain-on": drain_on, "memory": memory}[mode]
    with Spool.open(SpoolSettings(folder=Path(folder), max_bytes=1 << 40), producer="benchmark") as spool:
        spool.register([DESTINATION])
        print(json.dumps(work(spool)))


if __name__ == "__main__":
    main()
