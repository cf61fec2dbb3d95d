"""What a `Handset` does by chance, and what it keeps of a dialog."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.sip.message import Request


@dataclass
class Habits:
    """How likely (0 to 1) a phone does what it need not do."""

    offer: float = 1.0  # an offer in the INVITE, not in the answer to it
    reliable: float = 0.0  # 100rel
    give_up: float = 0.0
    fork: float = 0.0
    timer: bool = False  # session timers
    asks: bool = False  # for credentials


@dataclass(eq=False)
class Talk:
    """A dialog, or what may become one, as the phone keeps it."""

    call_id: str
    local: str
    remote: str
    target: str
    seq: int
    state: str = "early"  # "early" | "up" | "over"
    is_acked: bool = False
    pending: str = ""  # branch of our own re-INVITE or UPDATE
    is_asked: bool = False  # a re-INVITE of theirs waits for our answer
    refresh: float = 0.0  # seconds, where it is we who refresh the session
    # the caller's
    branch: str = ""
    was_heard: bool = False
    has_offered: bool = True
    taken: set[tuple[bytes, int]] = field(default_factory=set)  # reliable responses
    early: tuple[str, str] | None = None  # target and To of an early dialog
    # the callee's
    invite: Request | None = None
    tag: str = ""
    rseq: int = 0
    out: bytes = b""  # the reliable response without its PRACK
    has_described: bool = False  # our session description is out
    forks: list[Talk] = field(default_factory=list)
