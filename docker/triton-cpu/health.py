"""Exit 0 when Triton takes loads and requests, else 1 and why on one line; of models the inference service tells."""

import http.client
import sys

SERVER = ("127.0.0.1", 8000)
ALIVE = 200


def main() -> int:
    """Ask once."""
    try:
        connection = http.client.HTTPConnection(*SERVER, timeout=4)
        connection.request("GET", "/v2/health/live")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"Triton does not answer: {error}\n")
        return 1
    sys.stdout.write("ready\n" if status == ALIVE else f"not ready: HTTP {status}\n")
    return int(status != ALIVE)


if __name__ == "__main__":
    sys.exit(main())
