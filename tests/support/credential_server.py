"""A server that gives a container its credentials, as Greengrass' token exchange service does, on loopback."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "container-authorization-token"  # noqa: S105 - made up


class CredentialServer(ThreadingHTTPServer):
    """Gives new credentials each time, which live `lives_s` seconds; answers `status` in place where it is not 200."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.lives_s = 3600.0
        self.status = 200
        self.given: list[dict[str, str]] = []
        self.strangers = 0
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/2016-11-01/credentialprovider/"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def secrets(self) -> list[str]:
        """Return all that no log may show."""
        return [TOKEN, *(one[name] for one in self.given for name in ("SecretAccessKey", "Token"))]


class _Handler(BaseHTTPRequestHandler):
    server: CredentialServer

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != TOKEN:
            self.server.strangers += 1
            self._say(403, {"message": "who are you"})
            return
        number = len(self.server.given) + 1
        until = datetime.now(UTC) + timedelta(seconds=self.server.lives_s)
        made = {
            "AccessKeyId": f"ASIA{number:016}",
            "SecretAccessKey": f"very-secret-key-{number}",
            "Token": f"very-secret-session-{number}",
            "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        # What goes wrong there must not show a secret here either.
        self._say(self.server.status, made if self.server.status == 200 else {"message": f"failed for {TOKEN}"})
        if self.server.status == 200:
            self.server.given.append(made)

    def log_message(self, *_words: object) -> None:
        """Say nothing of each request."""

    def _say(self, status: int, document: dict[str, str]) -> None:
        body = json.dumps(document).encode()
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
