"""What is known of one final response when rules are asked about it.

`Facts` is filled once for each response with plain attributes, because that is all most responses ever
need: a 486 that no rule speaks of is decided on by its status alone. What has to be read out of headers is
read when the first condition asks, and kept. Carriers say the same few Reason values over and over, so what
they mean is remembered by their bytes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.regexes import TEXT_LIMIT
from gateway.rules.causes import status_for
from gateway.rules.history import History
from gateway.rules.passport import attestation
from gateway.rules.unwanted import callers, stand_for_unwanted
from gateway.sip.errors import MalformedError
from gateway.sip.headers import Reason, parse_reasons, parse_retry_after
from gateway.sip.message import Request, Response
from gateway.sip.remember import remembered

ANALYTICS = b"v=analytics1;"
"""How the text of a 603+ begins: with its version (ATIS-1000099)."""


class TrunkView(Hashable, Protocol):
    """What rules see of a trunk; the trunks of routing satisfy it. Compared by identity."""

    @property
    def name(self) -> str:
        """The trunk's name in the configuration."""

    @property
    def kind(self) -> str:
        """Its label: "pbx", "carrier" or "peer"."""

    @property
    def trusted(self) -> bool:
        """Whether what it asserts of callers is believed (RFC 3325)."""

    @property
    def supports(self) -> frozenset[int]:
        """Which of 607 and 608 it understands; a caller cannot advertise it (RFC 8197 section 3)."""

    @property
    def rewrite_network_blocked(self) -> bool:
        """Whether a 603+ "Network Blocked" may be rewritten towards it."""

    @property
    def q850(self) -> Mapping[int, int]:
        """Cause -> status and status -> cause, where its tables differ from those of RFC 3398."""


@dataclass(slots=True)
class Reasons:
    """What the Reason values of one response say together (RFC 3326). Shared: not to be changed.

    `q850` and `sip_cause` are the causes of the first value of their protocol that has one, 0 when none has.
    `analytics` tells that a text is that of a 603+ (ATIS-1000099), `unwanted` that a value stands for a 607.
    """

    values: tuple[Reason, ...]
    q850: int
    sip_cause: int
    locations: tuple[bytes, ...]
    texts: tuple[str, ...]
    analytics: bool
    unwanted: bool


_NO_REASONS: Final = Reasons((), 0, 0, (), (), False, False)


def _read_reasons(lines: Sequence[bytes]) -> Reasons:
    values = tuple(parse_reasons(lines))
    return Reasons(
        values,
        next((value.cause for value in values if value.cause and value.kind == b"Q.850"), 0),
        next((value.cause for value in values if value.cause and value.kind == b"SIP"), 0),
        tuple(value.location for value in values if value.location),
        tuple(shown(value.text) for value in values if value.text),
        any(value.text.startswith(ANALYTICS) for value in values),
        stand_for_unwanted(values),
    )


@remembered
def _read_line(line: bytes) -> Reasons:
    return _read_reasons([line])


def reasons_of(response: Response) -> Reasons:
    """Return what the Reason values of `response` say; values that cannot be read are passed over."""
    line = response.get(b"Reason")
    if line is None:
        return _NO_REASONS
    return _read_reasons(response.values(b"Reason")) if response.repeated(b"Reason") else _read_line(line)


def q850_of(response: Response) -> int:
    """Return the cause of the response's Q.850 Reason, or 0 when it has none."""
    return reasons_of(response).q850


def shown(text: bytes) -> str:
    """Return text from the wire as regular expressions and people see it: UTF-8, and not too long."""
    return text[: 4 * TEXT_LIMIT].decode("utf-8", "replace")[:TEXT_LIMIT]


class Facts:
    """Everything that a guard or a rule can see of one final response."""

    __slots__ = (
        "_phrase", "_reasons", "after", "ahead", "attested", "called", "caller", "finals", "history",
        "in_dialog", "local", "method", "now", "pending", "rang", "request", "response", "ringing", "source",
        "target",
    )  # fmt: skip

    def __init__(
        self,
        response: Response,
        request: Request | None,
        source: TrunkView,
        target: TrunkView,
        method: bytes = b"INVITE",
        called: str = "",
        caller: str = "",
        rang: bool = False,
        after: float | None = None,
        ringing: float | None = None,
        local: bool = False,
        in_dialog: bool = False,
        finals: tuple[int, ...] = (),
        pending: int = 0,
        now: float | None = None,
        attested: str | None = None,
        history: History | None = None,
    ) -> None:
        self.response = response
        self.request = request
        """The request as the side that will get the answer sent it."""
        self.source = source
        """The trunk that answered (`when.from`)."""
        self.target = target
        """The trunk that will receive the answer (`when.to`)."""
        self.method = method
        self.called = called
        """The number or user of the Request-URI."""
        self.caller = caller
        """The number or user of From."""
        self.rang = rang
        """Whether an 18x was seen."""
        self.after = after
        """Seconds from the INVITE to this response."""
        self.ringing = ringing
        """Seconds from the first 18x to this response; None when it did not ring."""
        self.local = local
        """Whether the gateway made the response (408, 503 ...), not the far end."""
        self.in_dialog = in_dialog
        """Whether the request was sent inside a dialog."""
        self.finals = finals
        """What the other branches of the call have said so far: their final statuses, before any rule."""
        self.pending = pending
        """How many other branches may still answer."""
        self.now = now
        """The time, in seconds since the epoch, by the clock that `history` goes by."""
        self.ahead = 0.0
        """Seconds by which the clock on the wall is ahead of that."""
        self.attested = attested
        """The `attestation`, where it is known already."""
        self.history = history
        """What is known of earlier calls, where rules ask for it."""
        self._reasons: Reasons | None = None
        self._phrase: str | None = None

    @property
    def on_the_wall(self) -> float | None:
        """What the clock on the wall shows, in seconds since the epoch, for rules that hold at some hours."""
        return None if self.now is None else self.now + self.ahead

    @property
    def reasons(self) -> Reasons:
        """What the Reason values say, read once."""
        reasons = self._reasons
        if reasons is None:
            reasons = self._reasons = reasons_of(self.response)
        return reasons

    @property
    def phrase(self) -> str:
        """The reason phrase as text, read once."""
        phrase = self._phrase
        if phrase is None:
            phrase = self._phrase = shown(self.response.phrase)
        return phrase

    @property
    def status_of_cause(self) -> int:
        """The status that the Q.850 cause stands for, by the table of the trunk that answered; 0 for none."""
        reasons = self.reasons
        return status_for(reasons.q850, b"U" in reasons.locations, self.source.q850)

    @property
    def attestation(self) -> str:
        """What the request's Identity attests, not verified: "A", "B", "C" or "none" (RFC 8588)."""
        if self.attested is None:
            values = [] if self.request is None else self.request.values(b"Identity")
            self.attested = attestation(values)
        return self.attested

    @property
    def callers(self) -> tuple[str, ...]:
        """The canonical identities of the caller, which feedback is kept by (RFC 8197 section 4)."""
        if self.request is None:
            return (self.caller,) if self.caller else ()
        return callers(self.request, self.target.trusted)

    @property
    def retry_after(self) -> int | None:
        """The seconds of Retry-After (RFC 3261 20.33), or None when it is absent or cannot be read."""
        value = self.response.get(b"Retry-After")
        if value is None:
            return None
        try:
            return parse_retry_after(value)
        except MalformedError:
            return None
