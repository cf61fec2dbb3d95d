"""What is asked of the domain name system, and what it answers: as much of RFC 1035, 2782 and 3403 as RFC
3263 needs, in plain values.

Whoever asks turns a reply into an :class:`Answer`; nothing in it has been checked but its type. Names are
without the last dot, times to live are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["NAPTR", "SRV", "A", "AAAA"]


class Question(NamedTuple):
    """A name, in full, and the kind of records that are wanted of it."""

    name: str
    kind: Kind


class Naptr(NamedTuple):
    """A NAPTR record (RFC 3403 4.1)."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class Srv(NamedTuple):
    """An SRV record (RFC 2782). ``target`` is "." where the service is not there."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The records of one name and kind; none of them when there are none, and that is known."""

    ttl: float
    naptr: tuple[Naptr, ...] = ()
    srv: tuple[Srv, ...] = ()
    addresses: tuple[str, ...] = ()
    """IP addresses, as text without brackets."""
    alias: str = ""
    """Where a chain of CNAMEs ended without a record: the name to ask for next. "" when there was none."""
    failed: bool = False
    """Nobody answered, or nobody would: nothing is known."""
    is_own: bool = False
    """This machine's own table of hosts says so, not a server on the network."""
