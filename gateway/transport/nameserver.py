"""Asking the domain name system: one question to the servers that were configured, or to the system's.

dnspython asks over UDP, repeats, goes to the next server, and to TCP when a reply was cut; it takes only a
reply that comes from the server asked and repeats the question's id and name. What is in a reply is for
:mod:`gateway.routing.locate` to doubt; only its size is bounded here, since reading one of 64 KiB would hold
up every call for a quarter of a second. Over UDP nobody asked for more than 512 bytes (RFC 1035 4.2.1), or
what `options edns0` of the system announces; one over TCP is read in a thread.

The names in this machine's table of hosts, and localhost (RFC 6761 6.3), are answered from there, and nobody
is asked about them. Names are asked as they stand: there is no search list.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dns.asyncbackend
import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.inet
import dns.message
import dns.nameserver
import dns.query
import dns.rdatatype
import dns.resolver
import trio

from gateway.addresses import HostPort, parse_ip
from gateway.routing.locate import LONGEST, RETRY
from gateway.routing.records import Answer, Naptr, Question, Srv

HOSTS = Path("/etc/hosts")
_LOCALHOST = ("127.0.0.1", "::1")
MAX_REPLY = 8_192
"""Bytes of a reply over TCP; a longer one counts as none."""
MAX_DATAGRAM = 4_096
"""Bytes of a reply over UDP; a longer one is not heard."""
_MOST_HOSTS = 4 * 1024 * 1024  # bytes read of the table
_FAILED = Answer(RETRY, failed=True)

Hosts = Mapping[str, tuple[str, ...]]
"""Addresses by name, in lower case."""


def read_hosts(path: Path = HOSTS) -> Hosts:
    """Return what a table of hosts says: nothing where a line makes no sense, or when it is not there."""
    hosts: dict[str, tuple[str, ...]] = {}
    try:
        with path.open(encoding="ascii", errors="replace") as table:
            lines = table.read(_MOST_HOSTS).splitlines()
    except OSError:
        lines = []
    for line in lines:
        host, *names = line.partition("#")[0].split() or [""]
        address = parse_ip(host)
        if address is not None:
            for name in map(str.lower, names):
                hosts[name] = (*hosts.get(name, ()), str(address))
    return {"localhost": _LOCALHOST, **hosts}


class NameServers:
    """The servers of a configuration, or those of the system when it names none.

    ``timeout`` is how many seconds a whole search may take; a question gets half of it, so that a server that
    stays silent on one kind of record leaves time for the others.
    """

    def __init__(self, servers: tuple[HostPort, ...], timeout: float) -> None:
        self.hosts: Hosts = read_hosts()
        """This machine's own names."""
        self._backend = dns.asyncbackend.get_backend("trio")
        self._resolver = _resolver(servers)
        self.servers = [str(server) for server in self._resolver.nameservers]
        """The servers that are asked, as text; none when this machine knows none."""
        self._lifetime = timeout / 2
        self._resolver.timeout = timeout / 5
        self._resolver.cache = None

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question. Whatever goes wrong, it is an answer that ``failed``."""
        own = self.hosts.get(_host_of(question.name))
        if own is not None:
            return _own_answer(question, own)
        try:
            reply = await self._resolver.resolve(
                question.name + ".",
                question.kind,
                raise_on_no_answer=False,
                lifetime=self._lifetime,
                search=False,
                backend=self._backend,
            )
            return _read(reply)
        except dns.resolver.NXDOMAIN as error:
            return Answer(_negative_ttl(error))
        except (dns.exception.DNSException, OSError):
            return _FAILED


def _resolver(servers: tuple[HostPort, ...]) -> dns.asyncresolver.Resolver:
    if servers:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = [_Server(server.host, server.port or 53) for server in servers]
        return resolver
    try:
        resolver = dns.asyncresolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        return dns.asyncresolver.Resolver(configure=False)  # it fails every question
    resolver.nameservers = [_Server(str(host), resolver.port) for host in resolver.nameservers]
    return resolver


class _Server(dns.nameserver.Do53Nameserver):
    """A name server that is not listened to for longer than ``MAX_DATAGRAM`` and ``MAX_REPLY``."""

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    async def async_query(
        self,
        request: dns.message.QueryMessage,
        timeout: float,
        source: str | None,
        source_port: int,
        max_size: bool,
        backend: Any,
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        """Ask over UDP, or over TCP where ``max_size`` says that a reply was cut. Raises OSError,
        trio.TooSlowError and dns.exception.DNSException.
        """
        with trio.fail_after(timeout):
            return await (self._over_tcp(request) if max_size else self._over_udp(request, backend))

    async def _over_udp(self, request: dns.message.QueryMessage, backend: Any) -> dns.message.Message:
        family = dns.inet.af_for_address(self.address)
        async with await backend.make_socket(family, socket.SOCK_DGRAM) as sock:
            return await dns.asyncquery.udp(
                request,
                self.address,
                port=self.port,
                sock=_Datagrams(sock),
                ignore_unexpected=True,
                raise_on_truncation=True,
                ignore_errors=True,
            )

    async def _over_tcp(self, request: dns.message.QueryMessage) -> dns.message.Message:
        query = request.to_wire()
        async with await trio.open_tcp_stream(self.address, self.port) as stream:
            await stream.send_all(struct.pack("!H", len(query)) + query)
            (size,) = struct.unpack("!H", await _read_all(stream, 2))
            if size > MAX_REPLY:
                raise dns.exception.TooBig
            reply = await trio.to_thread.run_sync(dns.message.from_wire, await _read_all(stream, size))
        if not request.is_response(reply):
            raise dns.query.BadResponse
        return reply


class _Datagrams:
    """A socket of dnspython's that does not hear what is too long."""

    def __init__(self, sock: Any) -> None:
        self.family = sock.family
        self._socket = sock

    async def sendto(self, what: bytes, destination: Any, timeout: float | None) -> Any:
        """Send a datagram."""
        return await self._socket.sendto(what, destination, timeout)

    async def recvfrom(self, _size: int, timeout: float | None) -> Any:
        """Return the next datagram that is not too long, and where it came from."""
        while True:
            data, sender = await self._socket.recvfrom(MAX_DATAGRAM + 1, timeout)
            if len(data) <= MAX_DATAGRAM:
                return data, sender


async def _read_all(stream: trio.SocketStream, size: int) -> bytes:
    """Read so many bytes. Raises EOFError when the stream ends before."""
    data = b""
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _host_of(name: str) -> str:
    """Return the host that the name of a service belongs to: h of _sip._udp.h (RFC 2782)."""
    service, _, rest = name.partition("._")
    return rest.partition(".")[2] if service.startswith("_") else name


def _own_answer(question: Question, hosts: tuple[str, ...]) -> Answer:
    version = {"A": 4, "AAAA": 6}.get(question.kind)
    addresses = tuple(host for host in hosts if (6 if ":" in host else 4) == version)
    return Answer(LONGEST, addresses=addresses, is_own=True)


def _read(reply: dns.resolver.Answer) -> Answer:
    """Turn a reply into plain values. Types that were not asked for are not in its record set."""
    ttl = float(reply.chaining_result.minimum_ttl)
    records: list[Any] = list(reply.rrset or ())
    if reply.rdtype == dns.rdatatype.SRV:
        return Answer(ttl, srv=tuple(_srv(record) for record in records), alias=_alias(reply))
    if reply.rdtype == dns.rdatatype.NAPTR:
        return Answer(ttl, naptr=tuple(_naptr(record) for record in records), alias=_alias(reply))
    return Answer(ttl, addresses=tuple(record.address for record in records), alias=_alias(reply))


def _srv(record: Any) -> Srv:
    return Srv(record.priority, record.weight, record.port, record.target.to_text(omit_final_dot=True))


def _naptr(record: Any) -> Naptr:
    flags, service, regexp = (
        part.decode("ascii", "replace") for part in (record.flags, record.service, record.regexp)
    )
    replacement = record.replacement.to_text(omit_final_dot=True)
    return Naptr(record.order, record.preference, flags, service, regexp, replacement)


def _alias(reply: dns.resolver.Answer) -> str:
    if reply.rrset is not None or reply.canonical_name == reply.qname:
        return ""
    return reply.canonical_name.to_text(omit_final_dot=True)


def _negative_ttl(error: dns.resolver.NXDOMAIN) -> float:
    """Return how long it counts that there is no such name (RFC 2308 5)."""
    responses: dict[Any, Any] = error.responses()  # type: ignore[no-untyped-call]
    ttls = [reply.resolve_chaining().minimum_ttl for reply in responses.values()]
    return float(min(ttls, default=math.inf))
