"""What a ladder shows, apart from how it is drawn.

A ladder is made of copies of messages, wherever these come from: the gateway's own, or a capture. A message
that was sent again is one arrow with a count. Everything in a ladder is text that can be shown: what peers
wrote has lost its control characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from gateway.sip.errors import MalformedError
from gateway.sip.headers import parse_reasons
from gateway.sip.message import Request, Response, parse
from gateway.wire import Address, WireMessage, without_secrets

Role = Literal["caller", "gateway", "callee", ""]
Kind = Literal[
    "request", "provisional", "success", "redirect", "rejection", "failure", "global", "unreadable"
]

_ORDER: dict[Role, int] = {"caller": 0, "": 1, "gateway": 1, "callee": 2}
_KINDS: tuple[Kind, ...] = ("provisional", "success", "redirect", "rejection", "failure", "global")
_LONGEST = 16_384  # characters of a message that are kept to be shown
_LONGEST_LABEL = 80


class Participant(msgspec.Struct, frozen=True):
    """Somebody with a line in the ladder; ``detail`` is an address, or whatever stands below the name."""

    name: str
    detail: str = ""
    role: Role = ""


class Arrow(msgspec.Struct):
    """A message from one participant to another, both by their place in :attr:`Ladder.participants`.

    ``at`` is when it was first seen, in seconds since the epoch; it was seen ``times`` times, last at
    ``last_at``. ``label`` says what it is, and ``detail`` what else is worth a look: a session description, a
    Q.850 cause. ``status`` is 0 for a request; ``method`` is the one in CSeq. ``mark`` is what is to be said
    just before it: the rule that made this answer of another, or what an analysis has found.
    """

    at: float
    source: int
    target: int
    label: str
    kind: Kind
    call_id: str
    method: str
    status: int
    transport: str
    text: str
    detail: str = ""
    times: int = 1
    last_at: float = 0.0
    mark: str = ""


class Ladder(msgspec.Struct):
    """Participants from left to right, arrows in the order of time. ``left_out`` counts the messages that
    came after those shown, where there were too many to be drawn.
    """

    participants: list[Participant]
    arrows: list[Arrow]
    left_out: int = 0

    @property
    def begun(self) -> float:
        """When the first message was seen, in seconds since the epoch."""
        return self.arrows[0].at if self.arrows else 0.0

    @property
    def note(self) -> str:
        """What is to be said below it: how many messages it does not show; "" when it shows all."""
        if not self.left_out:
            return ""
        shown = sum(arrow.times for arrow in self.arrows)
        return f"the first {shown:,} of {shown + self.left_out:,} messages; a capture (pcap) has them all"

    def steps(self) -> Iterable[tuple[Arrow, float, float]]:
        """Yield each arrow with the seconds since the first one, and since the one before it."""
        last = self.begun
        for arrow in self.arrows:
            yield arrow, arrow.at - self.begun, arrow.at - last
            last = arrow.at


Who = Callable[[Address, str], Participant]
"""Who is at an address, in the dialogs of a Call-ID. Equal participants are one."""


def by_address(address: Address, _call_id: str) -> Participant:
    """Name a participant by its address alone."""
    return Participant(shown_address(address))


def build(messages: Iterable[WireMessage], who: Who = by_address) -> Ladder:
    """Make a ladder of messages in any order. Bytes between messages, such as keep-alives, are left out."""
    seen: dict[tuple[object, ...], tuple[Arrow, Participant, Participant]] = {}
    for message in sorted(messages, key=lambda message: message.at):
        if not message.payload.strip():
            continue
        parsed = _read(message.payload)
        call_id = "" if parsed is None else shown(parsed.call_id)
        ends = (who(message.source, call_id), who(message.destination, call_id))
        key = (*ends, message.payload if parsed is None else _identity(parsed))
        if key in seen:
            arrow = seen[key][0]
            arrow.times += 1
            arrow.last_at = message.at
        else:
            seen[key] = (_arrow(message, parsed), *ends)
    return _placed(list(seen.values()))


def _placed(found: list[tuple[Arrow, Participant, Participant]]) -> Ladder:
    """Give each participant its line: the caller's side left, the gateway between, else as they appeared."""
    appeared = dict.fromkeys(each for _, source, target in found for each in (source, target))
    participants = sorted(appeared, key=lambda each: _ORDER[each.role])
    place = {participant: index for index, participant in enumerate(participants)}
    for arrow, source, target in found:
        arrow.source, arrow.target = place[source], place[target]
    return Ladder(participants, [arrow for arrow, _, _ in found])


def _read(payload: bytes) -> Request | Response | None:
    """Return the message, or None when it lacks what an arrow is made of."""
    try:
        message = parse(payload)
        _identity(message)
    except MalformedError:
        return None
    return message


def _identity(message: Request | Response) -> tuple[object, ...]:
    """Return what a message has in common with its retransmissions alone."""
    start = (message.method, message.uri) if isinstance(message, Request) else (message.status,)
    return (*start, message.cseq, message.via.branch, message.call_id, message.to_tag, message.get(b"RSeq"))


def _arrow(message: WireMessage, parsed: Request | Response | None) -> Arrow:
    arrow = Arrow(
        message.at, 0, 0, "", "unreadable", "", "", 0, message.transport, _text(message.payload),
        last_at=message.at,
    )  # fmt: skip
    if parsed is None:
        arrow.label = f"unreadable, {len(message.payload)} bytes"
        return arrow
    arrow.call_id = shown(parsed.call_id)
    arrow.method = shown(parsed.cseq[1])
    arrow.detail = " · ".join(filter(None, (_session(parsed), _cause(parsed))))
    if isinstance(parsed, Request):
        arrow.kind, label = "request", _request_label(parsed)
    else:
        arrow.status = parsed.status
        arrow.kind, label = _KINDS[parsed.status // 100 - 1], _response_label(parsed)
    arrow.label = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
    return arrow


def _request_label(request: Request) -> str:
    method = shown(request.method)
    if method != "INVITE":
        return method
    if request.to_tag:
        return "re-INVITE"
    return f"INVITE {shown(request.uri).partition(':')[2].partition('@')[0].partition(';')[0]}"


def _response_label(response: Response) -> str:
    label = f"{response.status} {shown(response.phrase)}".rstrip()
    method = shown(response.cseq[1])
    return label if method == "INVITE" else f"{label} ({method})"


def _session(message: Request | Response) -> str:
    return "SDP" if b"sdp" in message.index.get(b"Content-Type", b"").lower() else ""


def _cause(message: Request | Response) -> str:
    """Return the Q.850 cause, as answers and BYEs tell it."""
    causes = (each.cause for each in parse_reasons(message.values(b"Reason")) if each.kind == b"Q.850")
    return next((f"Q.850 {cause}" for cause in causes if cause is not None), "")


def _text(payload: bytes) -> str:
    text = without_secrets(payload[:_LONGEST]).decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)


def shown(value: bytes) -> str:
    """Return bytes of the network's as text on one line that a terminal or page may show."""
    text = value.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def shown_address(address: Address) -> str:
    """Return HOST:PORT, an IPv6 address in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shown_time(at: float, form: str) -> str:
    """Return a time in UTC in this form of strftime; of a damaged capture, where no calendar has such a time,
    the seconds since the epoch, in six digits after the point like %f.
    """
    try:
        return datetime.fromtimestamp(at, UTC).strftime(form)
    except (OverflowError, ValueError, OSError):
        return f"{at:.6f}"
