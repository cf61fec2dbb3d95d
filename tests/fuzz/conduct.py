"""What a user agent may do at all: a monitor at the gateway's wire that holds every message to it.

A `Monitor` sees what the gateway sends when it sends it, and what reaches it when it reaches it, so that its
verdicts are exact whatever the wire in between loses, doubles or delays. It knows transactions and dialogs
by itself, from RFC 3261 and its extensions, and shares nothing with the gateway but the parser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.sip.message import Message, Request, Response, parse
from tests.helpers import GATEWAY, Net
from tests.peer import Address

_TIMER_H = 32.0  # 64*T1, seconds
_SUBSCRIBING = (b"NOTIFY", b"REFER", b"SUBSCRIBE")  # what keeps a dialog after its call (RFC 5057 4.1)
_REFUSALS = (400, 481, 482, 500, 501, 503, 505)  # what no well-behaved phone should ever get of the gateway
OWN_PHRASE = b"As Said"  # of what a phone says, so that it is told from what the gateway says

Dialog = tuple[Address, bytes, frozenset[bytes]]
"""The peer that it is with, its Call-ID and its two tags."""


@dataclass
class Ours:
    """A client transaction of the gateway's."""

    request: Request
    data: bytes
    began: float
    was_heard: bool = False  # a provisional response came
    final: int = 0
    final_tags: set[bytes] = field(default_factory=set)
    answered_tags: set[bytes] = field(default_factory=set)  # of each 2xx
    acked_tags: set[bytes] = field(default_factory=set)


@dataclass
class Theirs:
    """A server transaction of the gateway's."""

    request: Request
    is_hopeless: bool  # came too late or out of order, so that it may be refused
    final: int = 0
    final_data: bytes = b""
    ended: float = 0.0
    was_acked: bool = False
    reliable: dict[int, bytes] = field(default_factory=dict)  # To tag by RSeq
    pracked: set[int] = field(default_factory=set)


class Monitor:
    """Notes every breach of the rules in `faults`, each with its time; `log` is the ladder that led to it."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._start = net.now
        self.log: list[str] = []
        self.faults: list[str] = []
        self.seen: set[tuple[str, str]] = set()  # (who, method or status and method) of all there was
        self._ours: dict[tuple[Address, bytes, bytes], Ours] = {}  # by peer, branch and method
        self._theirs: dict[tuple[Address, bytes, bytes], Theirs] = {}
        self._branches: set[bytes] = set()
        self._our_seq: dict[tuple[Address, bytes, bytes, bytes], int] = {}
        self._their_seq: dict[tuple[Dialog, bytes], int] = {}
        self._ended: set[Dialog] = set()
        self._subscribed: set[Dialog] = set()
        self._up: dict[Dialog, str] = {}  # who has it: "caller" | "callee"

    def finish(self) -> None:
        """All is over: whatever had to come must have come."""
        for ours in self._ours.values():
            if ours.request.method == b"INVITE" and ours.final:
                for tag in ours.final_tags - ours.acked_tags:
                    self._fault(f"{ours.final} from {tag!r} has no ACK (17.1.1.3, 13.2.2.4)")
        for theirs in self._theirs.values():
            if not theirs.final:
                self._fault(f"{theirs.request.method!r} has no final response")
        for dialog, side in self._up.items():
            if dialog not in self._ended:
                self._fault(f"the {side}'s dialog {dialog[1]!r} was never ended")

    # -- what the gateway sends -------------------------------------------------------------------------

    def sent(self, data: bytes, peer: Address) -> None:
        """The gateway sends this to a peer."""
        message = self._noted("gateway", data, peer)
        if isinstance(message, Response):
            self._sent_response(message, data, peer)
        elif message.method == b"ACK":
            self._sent_ack(message, peer)
        else:
            self._sent_request(message, data, peer)

    def _sent_request(self, request: Request, data: bytes, peer: Address) -> None:
        method, branch = request.method, request.via.branch
        request.check()
        known = self._ours.get((peer, branch, method))
        if known is not None:
            self._sent_again(known, data)
            return
        if method == b"CANCEL":
            self._sent_cancel(request, peer)
        elif branch in self._branches:
            self._fault(f"branch {branch!r} is another request's (8.1.1.7)")
        self._branches.add(branch)
        if method != b"CANCEL":
            self._numbered(request, peer)
            if request.to_tag:
                self._sent_inside(request, peer)
        self._ours[peer, branch, method] = Ours(request, data, self._net.now)

    def _sent_again(self, known: Ours, data: bytes) -> None:
        method = known.request.method
        if known.data != data:
            self._fault(f"{method!r} is not the same when it is sent again (17.1.1.2)")
        if known.final or (method == b"INVITE" and known.was_heard):
            self._fault(f"{method!r} is sent again after a response (17.1.1.2)")

    def _sent_cancel(self, cancel: Request, peer: Address) -> None:
        known = self._ours.get((peer, cancel.via.branch, b"INVITE"))
        if known is None:
            self._fault("CANCEL of nothing (9.1)")
            return
        if not known.was_heard or known.final:
            self._fault("CANCEL before a provisional or after a final response (9.1)")
        if _named(cancel) != _named(known.request):
            self._fault("CANCEL names another request (9.1)")

    def _numbered(self, request: Request, peer: Address) -> None:
        """CSeq numbers rise in each dialog, from that of the INVITE that opened it (12.2.1.1)."""
        key = (peer, request.call_id, request.from_tag, request.to_tag)
        last = self._our_seq.get(key, self._our_seq.get((*key[:3], b""), 0))
        if request.cseq[0] <= last:
            self._fault(f"{request.method!r} has CSeq {request.cseq[0]} after {last} (12.2.1.1)")
        self._our_seq[key] = request.cseq[0]

    def _sent_inside(self, request: Request, peer: Address) -> None:
        dialog = _dialog(peer, request)
        is_again = request.has(b"Authorization") or request.has(b"Proxy-Authorization")
        if request.method in _SUBSCRIBING:
            self._subscribed.add(dialog)
        # A request of the other side's may be on its way while that side answers a BYE.
        may_come = dialog in self._subscribed or is_again or self._is_ending(dialog)
        if dialog in self._ended and not may_come:
            self._fault(f"{request.method!r} in a dialog that has ended (12.3)")
        if request.method == b"INVITE":
            if any(self._is_open_invite(ours, dialog) for ours in self._ours.items()):
                self._fault("re-INVITE while another of the gateway's is open (14.1)")
            if any(self._is_open_invite(theirs, dialog) for theirs in self._theirs.items()):
                self._fault("re-INVITE while the peer's is open (14.1)")
        elif request.method == b"BYE":
            self._ended.add(dialog)
            for theirs in self._theirs.values():
                opened = theirs.request
                waits = theirs.final == 200 and not theirs.was_acked and self._net.now < theirs.ended + 31.9
                if waits and _opens(opened, request.call_id) and opened.from_tag == request.to_tag:
                    self._fault("BYE to the caller before its ACK (15)")

    def _is_ending(self, dialog: Dialog) -> bool:
        return any(
            theirs.request.method == b"BYE" and not theirs.final
            for (peer, _, _), theirs in self._theirs.items()
            if _dialog(peer, theirs.request) == dialog
        )

    def _is_open_invite(self, item: tuple[tuple[Address, bytes, bytes], Any], dialog: Dialog) -> bool:
        (peer, _, method), known = item
        if method != b"INVITE" or known.final or not known.request.to_tag:
            return False
        is_alive = isinstance(known, Theirs) or self._net.now < known.began + _TIMER_H
        return is_alive and _dialog(peer, known.request) == dialog

    def _sent_ack(self, ack: Request, peer: Address) -> None:
        refused = self._ours.get((peer, ack.via.branch, b"INVITE"))
        if refused is not None:
            if refused.final < 300 or ack.to_tag not in refused.final_tags:
                self._fault("ACK of an INVITE that was not refused with this tag (17.1.1.3)")
            refused.acked_tags.add(ack.to_tag)
            return
        answered = [
            ours
            for (other, _, method), ours in self._ours.items()
            if (other, method, ours.request.call_id, ours.request.cseq[0])
            == (peer, b"INVITE", ack.call_id, ack.cseq[0])
            and ack.to_tag in ours.answered_tags
        ]
        if not answered:
            self._fault(f"ACK {ack.cseq[0]} of no 2xx (13.2.2.4)")
        for ours in answered:
            ours.acked_tags.add(ack.to_tag)

    def _sent_response(self, response: Response, data: bytes, peer: Address) -> None:
        method, status = response.cseq[1], response.status
        theirs = self._theirs.get((peer, response.via.branch, method))
        if theirs is None:
            self._fault(f"{status} to no request")
            return
        request = theirs.request
        if (response.call_id, response.from_tag) != (request.call_id, request.from_tag):
            self._fault(f"{status} names another call (8.2.6.2)")
        if status > 100 and response.to_tag != request.to_tag and (request.to_tag or not response.to_tag):
            self._fault(f"{status} has not the To tag that it must (8.2.6.2)")
        if theirs.final:
            if data != theirs.final_data:
                self._fault(f"{status} after {theirs.final} (17.2)")
            return
        if 100 < status < 200:
            if method != b"INVITE":
                self._fault(f"{status} to {method!r} (RFC 4320 4.1)")
            if response.has(b"RSeq"):
                self._sent_reliably(theirs, response)
        elif status >= 200:
            self._sent_final(theirs, response, data, peer)

    def _sent_reliably(self, theirs: Theirs, response: Response) -> None:
        number, tag = int(response.need(b"RSeq")), response.to_tag
        if number in theirs.reliable:
            return
        before = [known for known, of in theirs.reliable.items() if of == tag]
        if before and number != before[-1] + 1:
            self._fault(f"RSeq {number} after {before[-1]} (RFC 3262 3)")
        if set(before) - theirs.pracked:
            self._fault(f"RSeq {number} while {before[-1]} waits for its PRACK (RFC 3262 3)")
        theirs.reliable[number] = tag

    def _sent_final(self, theirs: Theirs, response: Response, data: bytes, peer: Address) -> None:
        request = theirs.request
        theirs.final, theirs.final_data, theirs.ended = response.status, data, self._net.now
        if request.method == b"INVITE" and response.status < 300:
            if not response.has(b"Contact"):
                self._fault("2xx to INVITE without Contact (12.1.1)")
            if not request.to_tag:
                self._up[_dialog(peer, response)] = "caller"
        is_own = response.phrase != OWN_PHRASE
        if response.status in _REFUSALS and is_own and not theirs.is_hopeless:
            self._fault(f"{response.status} to {request.method!r}, CSeq {request.cseq[0]}")

    # -- what reaches the gateway -----------------------------------------------------------------------

    def received(self, data: bytes, peer: Address) -> None:
        """This of a peer's reaches the gateway."""
        message = self._noted("peer", data, peer)
        if isinstance(message, Response):
            self._received_response(message, peer)
        elif message.method == b"ACK":
            for theirs in self._theirs.values():
                asked = theirs.request
                if asked.method == b"INVITE" and theirs.final and _same_number(asked, message):
                    theirs.was_acked = True
        elif (peer, message.via.branch, message.method) not in self._theirs:
            self._received_request(message, peer)

    def _received_request(self, request: Request, peer: Address) -> None:
        dialog = _dialog(peer, request)
        last = self._their_seq.get((dialog, request.from_tag), 0)
        is_late = request.cseq[0] < last
        is_over = dialog in self._ended or (request.method != b"PRACK" and self._is_decided(dialog))
        is_hopeless = is_over or is_late or request.method == b"CANCEL"
        self._their_seq[dialog, request.from_tag] = max(last, request.cseq[0])
        self._theirs[peer, request.via.branch, request.method] = Theirs(request, is_hopeless)
        if request.method in _SUBSCRIBING:
            self._subscribed.add(dialog)
        if request.method == b"BYE":
            if not is_late:  # which is refused (12.2.2)
                self._ended.add(dialog)
        elif request.method == b"PRACK":
            number = int(request.need(b"RAck").split()[0])
            for theirs in self._theirs.values():
                if _opens(theirs.request, request.call_id):
                    theirs.pracked.add(number)

    def _is_decided(self, dialog: Dialog) -> bool:
        """Tell whether the INVITE that might have made this dialog has made none, or another."""
        return dialog not in self._up and any(
            theirs.final and _opens(theirs.request, dialog[1]) for theirs in self._theirs.values()
        )

    def _received_response(self, response: Response, peer: Address) -> None:
        ours = self._ours.get((peer, response.via.branch, response.cseq[1]))
        if ours is None:
            return
        if response.status < 200:
            ours.was_heard = True
        elif not ours.final or max(ours.final, response.status) < 300:
            ours.final = ours.final or response.status
            ours.final_tags.add(response.to_tag)
            if response.status < 300 and response.cseq[1] == b"INVITE":
                ours.answered_tags.add(response.to_tag)
                if not ours.request.to_tag:
                    self._up[_dialog(peer, response)] = "callee"
        # A refusal ends the dialog for which it is the last word (12.3).
        if response.status >= 300 and ours.request.method == b"INVITE" and not ours.request.to_tag:
            self._ended.add(_dialog(peer, response))

    # -- in private -------------------------------------------------------------------------------------

    def _noted(self, who: str, data: bytes, peer: Address) -> Message:
        message = parse(data)
        is_request = isinstance(message, Request)
        what = message.method.decode() if isinstance(message, Request) else str(message.status)
        number, method = message.cseq
        self.seen.add((who, what if is_request else f"{what} {method.decode()}"))
        arrow = "<-" if who == "gateway" else "->"
        tags = f"{message.from_tag.decode()} {message.to_tag.decode()}"
        seconds = self._net.now - self._start
        line = f"{seconds:8.3f} {peer[0]} {arrow} {what} ({number} {method.decode()}) {tags}"
        self.log.append(f"{line} {message.via.branch.decode()} {message.call_id.decode()}")
        return message

    def _fault(self, text: str) -> None:
        self.faults.append(f"{self._net.now - self._start:.3f} {text}")


class WatchedNet(Net):
    """A wire on which a `monitor` watches the gateway."""

    monitor: Monitor

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.monitor = Monitor(self)

    def _deliver(self, data: bytes, source: Address, destination: Address, transport: str) -> None:
        if destination[0] == GATEWAY[0]:
            self.monitor.received(data, source)
        super()._deliver(data, source, destination, transport)

    def transmit(self, data: bytes, source: Address, destination: Address, transport: str = "udp") -> None:
        """Put a datagram on the wire, and show the monitor those of the gateway's."""
        if source == GATEWAY:
            self.monitor.sent(data, destination)
        super().transmit(data, source, destination, transport)


def _dialog(peer: Address, message: Message) -> Dialog:
    return peer, message.call_id, frozenset((message.from_tag, message.to_tag))


def _opens(request: Request, call_id: bytes) -> bool:
    """Tell whether a request is the INVITE that opened a call."""
    return request.method == b"INVITE" and not request.to_tag and request.call_id == call_id


def _named(request: Request) -> tuple[object, ...]:
    """Return what a CANCEL has in common with its INVITE, beside the branch."""
    return request.uri, request.call_id, request.cseq[0], request.sender, request.receiver


def _same_number(one: Request, other: Request) -> bool:
    return (one.call_id, one.cseq[0], one.from_tag) == (other.call_id, other.cseq[0], other.from_tag)
