"""Exit 0 when Triton and every model that it loaded are ready, else 1 and why on one line."""

import http.client
import sys

SERVER = ("127.0.0.1", 8000)
READY = 200


def main() -> int:
    """Ask once."""
    try:
        connection = http.client.HTTPConnection(*SERVER, timeout=4)
        connection.request("GET", "/v2/health/ready")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"Triton does not answer: {error}\n")
        return 1
    sys.stdout.write("ready\n" if status == READY else f"not ready: HTTP {status}, a model is not loaded\n")
    return int(status != READY)


if __name__ == "__main__":
    sys.exit(main())
