"""The SIP exchanges of a capture: each rejected request with its final response.

A message that is seen twice, because it was sent again or crossed two interfaces, counts once. What waits for
its response is bounded: the oldest request is let go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.captures.pcap import Datagram
from gateway.sip.errors import MalformedError
from gateway.sip.message import Request, Response, parse

_WAITING = 100_000
"""Requests that wait for their final response, and answered ones whose copies are known."""


@dataclass(slots=True)
class Exchange:
    """A request and what came of it; times are seconds since the epoch."""

    request: Request
    asker: tuple[str, int]
    asked: tuple[str, int]
    begun: float
    rang: float = 0.0
    response: Response | None = None
    ended: float = 0.0


_Key = tuple[bytes, int, bytes, bytes, tuple[str, int]]


def rejections(packets: Iterable[Datagram]) -> Iterator[Exchange]:
    """Yield each request outside of a dialog whose final response is 300 or more, when that has come."""
    open_: OrderedDict[_Key, Exchange] = OrderedDict()
    for packet in packets:
        try:
            message = parse(packet.payload)
            key = _key(message, packet)
            if isinstance(message, Request):
                if message.method not in (b"ACK", b"CANCEL") and not message.to_tag and key not in open_:
                    open_[key] = Exchange(message, packet.source, packet.destination, packet.at)
                    if len(open_) > _WAITING:
                        open_.popitem(last=False)
                continue
        except MalformedError:
            continue
        exchange = open_.get(key)
        if exchange is None or exchange.response is not None:
            continue
        if message.status >= 200:
            exchange.response, exchange.ended = message, packet.at
            if message.status >= 300:
                yield exchange
        elif message.status >= 180 and not exchange.rang:
            exchange.rang = packet.at


def _key(message: Request | Response, packet: Datagram) -> _Key:
    """Return what a request and its responses have in common: Call-ID, CSeq, branch and who asks."""
    number, method = message.cseq
    asker = packet.source if isinstance(message, Request) else packet.destination
    return message.call_id, number, method, message.via.branch, asker
