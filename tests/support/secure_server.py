"""A PLC's secured OPC UA server as a process: `secure_server.py '<options as JSON>'`; it says `ready` on stdout.

Options: port; certificate and key (files); uri; policies (asyncua's names); users ({name: [password, role]}, role User
or Admin; without it anonymous is let in); names (a file to which each user's name that a client sends is appended);
user_certificates ([file]); clients (folder of the client certificates that
it trusts; without it any).
"""

import asyncio
import gc
import json
import logging
import sys
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

URI = "urn:lineside:test"
TAGS = {"PartPresent": False, "PartId": "", "Verdict": "", "Confidence": 0.0, "RequestId": "", "Done": False}


class Users:
    def __init__(self, options: dict[str, Any]) -> None:
        self._names = options.get("users")
        self._seen = options.get("names")
        self._certificates = [Path(file).read_bytes() for file in options.get("user_certificates", [])]

    def get_user(
        self, _server: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        if username is not None:
            if self._seen:
                with Path(self._seen).open("a", encoding="utf-8") as file:
                    file.write(f"{username}\n")
            known, role = (self._names or {}).get(username, (None, None))
            return User(role=UserRole[role], name=username) if known == password else None
        if certificate in self._certificates:
            return User(role=UserRole.User)
        return None if self._names or self._certificates else User(role=UserRole.User)


async def main(options: dict[str, Any]) -> None:
    logging.disable(logging.CRITICAL)
    server = Server(user_manager=Users(options))
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{options['port']}")
    await server.set_application_uri(options.get("uri", "urn:test:plc"))
    server.set_security_policy([getattr(ua.SecurityPolicyType, name) for name in options["policies"]])
    tokens: list[type] = []
    if options.get("users"):
        tokens.append(ua.UserNameIdentityToken)
    if options.get("user_certificates"):
        tokens.append(ua.X509IdentityToken)
    server.set_identity_tokens(tokens or [ua.AnonymousIdentityToken])
    if "certificate" in options:
        await server.load_certificate(options["certificate"], "der")
        await server.load_private_key(options["key"], format="pem")
    if "clients" in options:
        folder = Path(options["clients"])

        def known() -> list[bytes]:
            return [file.read_bytes() for file in folder.glob("*.der")]

        async def trusted(certificate: x509.Certificate, _description: ua.ApplicationDescription) -> None:
            if certificate.public_bytes(Encoding.DER) not in known():
                raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)

        server.set_certificate_validator(trusted)
    index = await server.register_namespace(URI)
    station = await server.nodes.objects.add_object(ua.NodeId("Station1", index), "Station1")
    for tag, value in TAGS.items():
        variable = await station.add_variable(ua.NodeId(f"Station1.{tag}", index), tag, value)
        if tag != "Verdict":  # only an administrator writes that one
            await variable.set_writable()
    async with server:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    gc.set_threshold(50_000, 10, 10)  # half of the start of a server, 6,000 nodes, would be looking through them
    asyncio.run(main(json.loads(sys.argv[1])))
