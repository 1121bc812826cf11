"""To which hosts, ports and addresses a `url` source may lead; pure, so that every trick can be tested."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from lineside_inference.errors import UrlNotAllowed
from lineside_inference.http1.target import Target
from lineside_inference.settings import UrlHost

_NAT64 = IPv6Network("64:ff9b::/96")


def find_host(target: Target, hosts: Iterable[UrlHost]) -> UrlHost:
    """Return the entry of the list that allows this host and port; raises UrlNotAllowed."""
    hosts = tuple(hosts)
    named = [entry for entry in hosts if entry.host == target.host]
    for entry in named:
        if target.port in entry.ports:
            return entry
    if named:
        ports = sorted({port for entry in named for port in entry.ports})
        raise UrlNotAllowed(
            f"port {target.port} of host {target.host!r} is not allowed",
            remedy=f"Allowed here: {', '.join(map(str, ports))} (inference.urls.hosts)",
        )
    known = ", ".join(entry.host for entry in hosts[:8]) or "none"
    raise UrlNotAllowed(f"host {target.host!r:.100} is not allowed", remedy=f"Allowed (inference.urls.hosts): {known}")


def check_addresses(host: str, addresses: Sequence[str], *, private: bool) -> list[str]:
    """Return the addresses of a host if every one of them may be connected to; raises UrlNotAllowed.

    One wrong address among good ones refuses them all: who answers with both tries a trick.
    """
    if not addresses:
        raise UrlNotAllowed(f"host {host!r:.100} has no address")
    for text in addresses:
        kind = _kind(_inner(ip_address(text)))
        if kind == "none" or (kind == "private" and not private):
            remedy = "Say private: true at the host's entry in inference.urls.hosts" if kind == "private" else ""
            raise UrlNotAllowed(f"host {host!r:.100} leads to {text}, which is no public address", remedy=remedy)
    return list(addresses)


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for: mapped, 6to4, Teredo or NAT64."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _kind(address: IPv4Address | IPv6Address) -> str:
    """Return `public`, `private` (also loopback and link-local), or `none` where nobody is to be found there."""
    if address.is_multicast or address.is_unspecified:
        return "none"
    if address.is_private or address.is_loopback or address.is_link_local or not address.is_global:
        return "none" if address.is_reserved and not address.is_loopback else "private"
    return "public"
