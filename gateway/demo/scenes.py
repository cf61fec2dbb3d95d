"""The calls of the demonstration, and what must come of each with the rules that the gateway ships.

A scene says what the far ends say and what the caller must get for it: status, phrase, and every Reason and
Call-Info line, to the byte. It also says which rule or guard must have decided. *Why* it did is not written
here; that is read from the gateway's own record and explanation.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Says:
    """A final response: who says it (a trunk), status, phrase, and its Reason and Call-Info lines."""

    who: str
    status: int
    phrase: str
    headers: tuple[str, ...] = ()
    rings: bool = False
    """Whether a 180 comes first."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One call."""

    title: str
    says: tuple[Says, ...]
    """What each target says, in the order they are tried; the last one decides."""
    gets: Says
    """What the caller must get."""
    rule: str = ""
    """The rule that must decide, "" for none."""
    guard: str = ""
    """The guard that must decide, "" for none."""
    cancelled: bool = False
    """Whether the caller gives up while it rings."""


_BLOCKED = 'Reason: SIP;cause=603;text="v=analytics1;url=https://example.com/redress";location=RLN'
_CARD = "Call-Info: <https://example.com/card>;purpose=jwscard"
_KEPT_603 = 'Reason: SIP;cause=603;text="Decline"'

SCENES = (
    Scene(
        "answered call",
        (Says("carrier", 200, "OK", rings=True),),
        Says("pbx", 200, "OK"),
    ),
    Scene(
        "dead number",
        (Says("carrier", 603, "Decline", ("Reason: Q.850;cause=1",)),),
        Says("pbx", 404, "Not Found", ("Reason: Q.850;cause=1", _KEPT_603)),
        rule="dead-number-by-cause",
    ),
    Scene(
        "number changed",
        (Says("carrier", 603, "Decline", ("Reason: Q.850;cause=22",)),),
        Says("pbx", 410, "Gone", ("Reason: Q.850;cause=22", _KEPT_603)),
        rule="gone-number-by-cause",
    ),
    Scene(
        "reject key of one phone",
        (Says("pbx", 603, "Decline", rings=True),),
        Says("carrier", 486, "Busy Here", ('Reason: Q.850;cause=17;text="User busy"', _KEPT_603)),
        rule="pbx-phone-declined",
    ),
    Scene(
        "user's do-not-disturb",
        (Says("pbx", 486, "Busy Here", ('Reason: Q.850;cause=17;text="Do Not Disturb"',)),),
        Says(
            "carrier",
            603,
            "Decline",
            (
                'Reason: Q.850;cause=21;text="Call rejected"',
                'Reason: SIP;cause=486;text="Busy Here"',
            ),
        ),
        rule="user-do-not-disturb-by-reason",
    ),
    Scene(
        "somebody declined",
        (Says("carrier", 603, "Decline", ("Reason: Q.850;cause=21",), rings=True),),
        Says("pbx", 603, "Decline", ("Reason: Q.850;cause=21",)),
    ),
    Scene(
        "network blocked, 603+",
        (Says("carrier", 603, "Network Blocked", (_BLOCKED,)),),
        Says("pbx", 603, "Network Blocked", (_BLOCKED,)),
        guard="network-blocked",
    ),
    Scene(
        "unwanted, 607",
        (Says("carrier", 607, "Unwanted"),),
        Says(
            "pbx",
            603,
            "Decline",
            (
                'Reason: Q.850;cause=21;text="Call rejected"',
                'Reason: SIP;cause=607;text="Unwanted"',
            ),
        ),
        guard="unwanted-607",
    ),
    Scene(
        "rejected, 608",
        (Says("carrier", 608, "Rejected", (_CARD,)),),
        Says(
            "pbx",
            603,
            "Decline",
            (
                _CARD,
                'Reason: Q.850;cause=21;text="Call rejected"',
                'Reason: SIP;cause=608;text="Rejected"',
            ),
        ),
        guard="rejected-608",
    ),
    Scene(
        "cancelled",
        (Says("carrier", 487, "Request Terminated", rings=True),),
        Says("pbx", 487, "Request Terminated"),
        cancelled=True,
    ),
    Scene(
        "hunting",
        (Says("carrier", 503, "Service Unavailable"), Says("backup", 200, "OK", rings=True)),
        Says("pbx", 200, "OK"),
    ),
)
