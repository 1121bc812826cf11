"""Put captures, each of the instant at which it is made, until told to stop: `spool_clock.py FOLDER STOP`.

What was acknowledged stands in FOLDER/acks, a key and the hour that the clock showed a line. It ends when STOP exists.
"""

import os
import sys
import threading
from pathlib import Path

from lineside.capture import Event, Item, compose
from lineside.contract import utc_now
from lineside.spool import Spool, SpoolSettings


def main() -> None:
    folder, stop = Path(sys.argv[1]), Path(sys.argv[2])
    log = os.open(folder / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    pause = threading.Event()  # libfaketime breaks time.sleep where the monotonic clock is left alone
    number = 0
    with Spool.open(SpoolSettings(folder=folder / "spool"), producer="clock") as spool:
        while not stop.exists():
            key, now = f"k-{number:06}", utc_now()
            event = Event(key, "line", "box", "spindle", "1", now, {})
            data = key.encode() * (500 if number % 10 == 0 else 10)
            entry = compose(event, [Item("inputs", "x", "Tensor[UINT8; 1]", data)], embed_limit=3072, kept="sampled")
            spool.put(entry)
            os.write(log, f"{key} {now:%Y-%m-%dT%H}\n".encode())
            number += 1
            pause.wait(0.02)


if __name__ == "__main__":
    main()
