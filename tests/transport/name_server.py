"""A name server on loopback, over UDP and TCP, with a zone of the test's and the vices that it asks for."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Vice = Callable[[dns.message.Message], bytes | None]
"""Makes the datagram of a good reply; None stays silent."""


class NameServer:
    """Answers from ``records``: texts such as "_sip._udp.example. 300 SRV 1 1 5060 a.example.". What is not
    there does not exist (with a SOA), or has no records of that kind. ``vice`` spoils replies over UDP,
    ``before`` is a datagram that goes before each, ``cut`` ends those over TCP after so many bytes; ``asked``
    has every question as "UDP name kind".
    """

    def __init__(self, *records: str) -> None:
        self.records = list(records)
        self.vice: Vice | None = None
        self.cut: int | None = None
        self.before: bytes | None = None
        self.asked: list[str] = []
        self.port = 0

    @property
    def address(self) -> str:
        """Where it listens, as [dns] servers has it."""
        return f"127.0.0.1:{self.port}"

    def reply(self, data: bytes, over: str) -> bytes | None:
        """Return the reply to a query."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        self.asked.append(f"{over} {question.name.to_text()} {dns.rdatatype.to_text(question.rdtype)}")
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA
        self._fill(reply, question.name, question.rdtype)
        if over == "UDP" and self.vice is not None:
            return self.vice(reply)
        return reply.to_wire()

    def _fill(self, reply: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> None:
        rrsets = [dns.rrset.from_text(*_split(record)) for record in self.records]
        own = [rrset for rrset in rrsets if rrset.name == name]
        reply.answer = [rrset for rrset in own if rrset.rdtype in (kind, dns.rdatatype.CNAME)]
        if not own:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        if not reply.answer:
            soa = "ns.example. admin.example. 1 3600 600 86400 30"
            reply.authority = [dns.rrset.from_text(name.parent(), 900, "IN", "SOA", soa)]


def _split(record: str) -> tuple[str, int, str, str, str]:
    name, ttl, kind, rest = record.split(None, 3)
    return name, int(ttl), "IN", kind, rest


@contextlib.contextmanager
def name_server(*records: str) -> Iterator[NameServer]:
    """Run a name server on a port of its own, for as long as the block lasts."""
    server = NameServer(*records)

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            reply = server.reply(data, "UDP")
            if server.before is not None:
                sock.sendto(server.before, self.client_address)
            if reply is not None:
                sock.sendto(reply, self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (size,) = struct.unpack("!H", self.rfile.read(2))
            reply = server.reply(self.rfile.read(size), "TCP") or b""
            self.wfile.write((struct.pack("!H", len(reply)) + reply)[: server.cut])

    with contextlib.ExitStack() as stack:
        datagrams, streams = _listeners(Datagram, Stream)
        server.port = streams.server_address[1]
        for listener in (datagrams, streams):
            stack.callback(listener.server_close)
            thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown)
        yield server


def _listeners(
    datagram: type[socketserver.BaseRequestHandler], stream: type[socketserver.BaseRequestHandler]
) -> tuple[socketserver.UDPServer, socketserver.TCPServer]:
    """Return servers for both transports on one port that was free for both."""
    while True:
        streams = socketserver.TCPServer(("127.0.0.1", 0), stream)
        try:
            return socketserver.UDPServer(streams.server_address[:2], datagram), streams
        except OSError:
            streams.server_close()


# -- vices ------------------------------------------------------------------------------------------------


def silent(_reply: dns.message.Message) -> None:
    """Say nothing."""


def failing(reply: dns.message.Message) -> bytes:
    """Say SERVFAIL."""
    reply.answer = []
    reply.set_rcode(dns.rcode.SERVFAIL)
    return reply.to_wire()


def cutting(reply: dns.message.Message) -> bytes:
    """Say that the rest did not fit (RFC 1035 4.2.1)."""
    reply.answer = []
    reply.flags |= dns.flags.TC
    return reply.to_wire()


def babbling(_reply: dns.message.Message) -> bytes:
    """Say nothing that is DNS."""
    return b"SIP/2.0 200 OK\r\n\r\n"


def forging(reply: dns.message.Message) -> bytes:
    """Reply with the id of another query."""
    reply.id ^= 1
    return reply.to_wire()


def straying(reply: dns.message.Message) -> bytes:
    """Answer what nobody asked: other names, and other kinds."""
    reply.answer = [
        dns.rrset.from_text("other.example.", 300, "IN", "A", "192.0.2.66"),
        dns.rrset.from_text(reply.question[0].name, 300, "IN", "TXT", "192.0.2.66"),
    ]
    return reply.to_wire()


def unused_port() -> int:
    """Return a UDP port where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
