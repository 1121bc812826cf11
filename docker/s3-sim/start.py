"""moto's S3 in the container: kept in memory, any credentials are taken, one bucket is there from the start."""

import signal
import sys
import urllib.request

from moto.server import ThreadedMotoServer

PORT = 9000
BUCKET = "lineside-evidence"


def main() -> None:
    """Serve until SIGTERM."""
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    server = ThreadedMotoServer("0.0.0.0", PORT, verbose=False)  # noqa: S104 - which network that is, is the container's affair
    server.start()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/{BUCKET}", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - our own server, just started
    sys.stderr.write(f"S3 at port {PORT} with the bucket {BUCKET}, in memory: for benches and tests\n")
    signal.sigwait(stop)
    server.stop()


if __name__ == "__main__":
    main()
