"""The four transactions, cell by cell: each state with each input.

The tables below are written from the RFCs (3261 17, figures 5, 6, 7 and 8, with RFC 6026 7 and 8 in place
of the INVITE figures, and RFC 4320 4), not from the code: what a step leads to, what goes on the wire, what
the user is told, and which clocks run afterwards. What is not in a table cannot happen, and is loud.

Clocks: ``A+2T1`` fires for the first time two T1 after the step; ``B=64T1`` fires 64 T1 after the state was
entered, because the step left it alone. ``LATE`` and ``TIMEOUT``, of RFC 4320, have no letters. ``again`` on
the wire is what was sent last, byte for byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from gateway.sip.transaction import ImpossibleInputError, Timing

from .lone import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    SLOT,
    TCP,
    UDP,
    Kind,
    Lone,
)

INVITE_CLIENT_STEPS = """
# state     input            next        wire   user                clocks
CALLING     PROVISIONAL      PROCEEDING  -      180                 -              # 17.1.1.2
CALLING     SUCCESS          ACCEPTED    -      200                 M+64T1         # RFC 6026 8.4
CALLING     FAILURE          COMPLETED   ACK    486                 D+32s          # 17.1.1.2
CALLING     TIMER_A          CALLING     again  -                   A+2T1 B=64T1   # 17.1.1.2
CALLING     TIMER_B          TERMINATED  -      no-response:408     -              # 17.1.1.2
CALLING     TRANSPORT_ERROR  TERMINATED  -      no-response:503     -              # 17.1.4, 8.1.3.1
PROCEEDING  PROVISIONAL      PROCEEDING  -      180                 -              # 17.1.1.2
PROCEEDING  SUCCESS          ACCEPTED    -      200                 M+64T1         # RFC 6026 8.4
PROCEEDING  FAILURE          COMPLETED   ACK    486                 D+32s          # 17.1.1.2
PROCEEDING  TIMER_B          TERMINATED  -      no-response:408     -              # 9.1, after a CANCEL
PROCEEDING  TRANSPORT_ERROR  TERMINATED  -      no-response:503     -              # 17.1.4
COMPLETED   PROVISIONAL      COMPLETED   -      -                   D=32s          # 17.1.1.2
COMPLETED   SUCCESS          COMPLETED   -      -                   D=32s          # 17.1.1.2
COMPLETED   FAILURE          COMPLETED   again  -                   D=32s          # 17.1.1.2
COMPLETED   TIMER_D          TERMINATED  -      -                   -              # 17.1.1.2
COMPLETED   TRANSPORT_ERROR  TERMINATED  -      -                   -              # 17.1.1.2
ACCEPTED    PROVISIONAL      ACCEPTED    -      -                   M=64T1         # RFC 6026 7.2
ACCEPTED    SUCCESS          ACCEPTED    -      200                 M=64T1         # RFC 6026 7.2
ACCEPTED    FAILURE          ACCEPTED    -      -                   M=64T1         # RFC 6026 7.2
ACCEPTED    TIMER_M          TERMINATED  -      -                   -              # RFC 6026 7.2
ACCEPTED    TRANSPORT_ERROR  ACCEPTED    -      -                   M=64T1         # RFC 6026 7.2
"""

NON_INVITE_CLIENT_STEPS = """
TRYING      PROVISIONAL      PROCEEDING  -      183                 E=T1 F=64T1    # 17.1.2.2
TRYING      FINAL            COMPLETED   -      200                 K+T4           # 17.1.2.2
TRYING      TIMER_E          TRYING      again  -                   E+2T1 F=64T1   # 17.1.2.2
TRYING      TIMER_F          TERMINATED  -      no-response:408     -              # 17.1.2.2
TRYING      TRANSPORT_ERROR  TERMINATED  -      no-response:503     -              # 17.1.4
PROCEEDING  PROVISIONAL      PROCEEDING  -      183                 E=T1 F=64T1    # 17.1.2.2
PROCEEDING  FINAL            COMPLETED   -      200                 K+T4           # 17.1.2.2
PROCEEDING  TIMER_E          PROCEEDING  again  -                   E+T2 F=64T1    # 17.1.2.2
PROCEEDING  TIMER_F          TERMINATED  -      no-response:408     -              # 17.1.2.2
PROCEEDING  TRANSPORT_ERROR  TERMINATED  -      no-response:503     -              # 17.1.4
COMPLETED   PROVISIONAL      COMPLETED   -      -                   K=T4           # 17.1.2.2
COMPLETED   FINAL            COMPLETED   -      -                   K=T4           # 17.1.2.2
COMPLETED   TIMER_K          TERMINATED  -      -                   -              # 17.1.2.2
COMPLETED   TRANSPORT_ERROR  TERMINATED  -      -                   -              # 17.1.4
"""

INVITE_SERVER_STEPS = """
PROCEEDING  REQUEST          PROCEEDING  again  -                   -              # 17.2.1
PROCEEDING  ACK              PROCEEDING  -      -                   -              # nothing was final yet
PROCEEDING  PROVISIONAL      PROCEEDING  180    -                   -              # 17.2.1
PROCEEDING  SUCCESS          ACCEPTED    200    -                   G+T1 L+64T1    # RFC 6026 8.7, 13.3.1.4
PROCEEDING  FAILURE          COMPLETED   486    -                   G+T1 H+64T1    # 17.2.1
PROCEEDING  TRANSPORT_ERROR  PROCEEDING  -      -                   -              # RFC 6026 8.8
COMPLETED   REQUEST          COMPLETED   again  -                   G=T1 H=64T1    # 17.2.1
COMPLETED   ACK              CONFIRMED   -      -                   I+T4           # 17.2.1
COMPLETED   PROVISIONAL      COMPLETED   -      -                   G=T1 H=64T1    # 17.2.1
COMPLETED   SUCCESS          COMPLETED   -      -                   G=T1 H=64T1    # 17.2.1
COMPLETED   FAILURE          COMPLETED   -      -                   G=T1 H=64T1    # 17.2.1
COMPLETED   TIMER_G          COMPLETED   again  -                   G+2T1 H=64T1   # 17.2.1
COMPLETED   TIMER_H          TERMINATED  -      -                   -              # 17.2.1
COMPLETED   TRANSPORT_ERROR  COMPLETED   -      -                   G=T1 H=64T1    # RFC 6026 8.8
CONFIRMED   REQUEST          CONFIRMED   -      -                   I=T4           # 17.2.1
CONFIRMED   ACK              CONFIRMED   -      -                   I=T4           # 17.2.1
CONFIRMED   TIMER_I          TERMINATED  -      -                   -              # 17.2.1
CONFIRMED   TRANSPORT_ERROR  CONFIRMED   -      -                   I=T4           # nothing is sent any more
ACCEPTED    REQUEST          ACCEPTED    -      -                   G=T1 L=64T1    # RFC 6026 7.1
ACCEPTED    ACK              ACCEPTED    -      -                   G=T1 L=64T1    # the dialog has it
ACCEPTED    PROVISIONAL      ACCEPTED    -      -                   G=T1 L=64T1    # RFC 6026 7.1
ACCEPTED    SUCCESS          ACCEPTED    -      -                   G=T1 L=64T1    # one answer a leg
ACCEPTED    FAILURE          ACCEPTED    -      -                   G=T1 L=64T1    # RFC 6026 7.1
ACCEPTED    ACKNOWLEDGED     ACCEPTED    -      -                   L=64T1         # 13.3.1.4
ACCEPTED    TIMER_G          ACCEPTED    again  -                   G+2T1 L=64T1   # 13.3.1.4
ACCEPTED    TIMER_L          TERMINATED  -      no-ACK              -              # RFC 6026 7.1, 13.3.1.4
ACCEPTED    TRANSPORT_ERROR  ACCEPTED    -      -                   G=T1 L=64T1    # RFC 6026 8.8
TERMINATED  ACKNOWLEDGED     TERMINATED  -      -                   -              # too late to matter
"""

NON_INVITE_SERVER_STEPS = """
TRYING      REQUEST          TRYING      -      -                   LATE=7T1 TIMEOUT=64T1  # 17.2.2
TRYING      FINAL            COMPLETED   200    -                   J+64T1         # 17.2.2
TRYING      LATE             PROCEEDING  100    -                   TIMEOUT=64T1   # RFC 4320 4.1
TRYING      TIMEOUT          SILENT      -      -                   J+64T1         # RFC 4320 4.2
TRYING      TRANSPORT_ERROR  TERMINATED  -      -                   -              # 17.2.4
PROCEEDING  REQUEST          PROCEEDING  again  -                   TIMEOUT=64T1   # 17.2.2
PROCEEDING  FINAL            COMPLETED   200    -                   J+64T1         # 17.2.2
PROCEEDING  TIMEOUT          SILENT      -      -                   J+64T1         # RFC 4320 4.2
PROCEEDING  TRANSPORT_ERROR  TERMINATED  -      -                   -              # 17.2.4
COMPLETED   REQUEST          COMPLETED   again  -                   J=64T1         # 17.2.2
COMPLETED   FINAL            COMPLETED   -      -                   J=64T1         # 17.2.2
COMPLETED   TIMER_J          TERMINATED  -      -                   -              # 17.2.2
COMPLETED   TRANSPORT_ERROR  TERMINATED  -      -                   -              # 17.2.4
SILENT      REQUEST          SILENT      -      -                   J=64T1         # a straggler
SILENT      FINAL            SILENT      -      -                   J=64T1         # RFC 4320 4.2: given up
SILENT      TIMER_J          TERMINATED  -      -                   -              # 17.2.2
SILENT      TRANSPORT_ERROR  TERMINATED  -      -                   -              # 17.2.4
TERMINATED  FINAL            TERMINATED  -      -                   -              # RFC 4320 4.2: given up
"""

TIMING = Timing(t1=0.5, t2=4.0, t4=5.0)
UNITS = {"T1": TIMING.t1, "T2": TIMING.t2, "T4": TIMING.t4, "s": 1.0}
LINGERS = 0.1  # seconds between entering a state and the step under test: less than any clock


@dataclass(frozen=True)
class Step:
    """One row of a table."""

    kind: Kind
    state: str
    given: str
    next: str
    wire: str
    user: str
    clocks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind.make.__name__}-{self.state}-{self.given}"


def read(kind: Kind, table: str) -> list[Step]:
    steps = []
    for line in table.splitlines():
        words = line.partition("#")[0].split()
        if words:
            state, given, following, wire, user, *clocks = words
            steps.append(Step(kind, state, given, following, wire, user, tuple(clocks)))
    return steps


TABLES = {
    INVITE_CLIENT.make.__name__: read(INVITE_CLIENT, INVITE_CLIENT_STEPS),
    NON_INVITE_CLIENT.make.__name__: read(NON_INVITE_CLIENT, NON_INVITE_CLIENT_STEPS),
    INVITE_SERVER.make.__name__: read(INVITE_SERVER, INVITE_SERVER_STEPS),
    NON_INVITE_SERVER.make.__name__: read(NON_INVITE_SERVER, NON_INVITE_SERVER_STEPS),
}
STEPS = [step for table in TABLES.values() for step in table]
IMPOSSIBLE = [
    (table[0].kind, state.name, given.name)
    for table in TABLES.values()
    for state in table[0].kind.states
    for given in table[0].kind.inputs
    if not any((step.state, step.given) == (state.name, given.name) for step in table)
]


def clocks_of(step: Step, entered: float, stepped: float) -> dict[str, float]:
    """When each timer is to come first, by its letter or name."""
    due = {}
    for clock in step.clocks:
        if clock != "-":
            match = re.fullmatch(r"([A-M]|LATE|TIMEOUT)([+=])(\d*)(T1|T2|T4|s)", clock)
            assert match is not None, clock
            letter, sign, count, unit = match.groups()
            due[letter] = (stepped if sign == "+" else entered) + int(count or 1) * UNITS[unit]
    return due


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_step_does_what_the_rfc_says(step: Step) -> None:
    lone = step.kind.make(Lone(UDP, TIMING)).in_state(step.state)
    entered = lone.now
    last = lone.transaction.last
    lone.run(LINGERS)
    assert not lone.fed, "a clock ran out before the step"

    lone.feed(step.given)

    stepped = lone.now
    assert lone.transaction.state.name == step.next
    assert lone.told == ([] if step.user == "-" else [step.user.replace("-", " ").replace(":", ": ")])
    if step.wire == "-":
        assert lone.sent == []
    elif step.wire == "again":
        assert lone.sent == [last]
        assert last
    elif step.wire == "ACK":
        [ack] = lone.sent
        assert ack.startswith(b"ACK sip:b@192.0.2.3 SIP/2.0\r\n")
    elif step.wire == "100":
        [trying] = lone.sent
        assert trying.startswith(b"SIP/2.0 100 Trying\r\n")
    else:
        assert lone.sent == [b"%b of ours" % step.wire.encode()]
    assert lone.gone == (step.next == "TERMINATED")

    lone.fed.clear()
    lone.run(1000)
    first: dict[str, float] = {}
    for when, given in lone.fed:
        assert given.startswith("TIMER_") or given in ("LATE", "TIMEOUT"), given
        first.setdefault(given.removeprefix("TIMER_"), when)
        if given == "TIMEOUT":
            break  # what runs in SILENT is told by its own rows
    expected = clocks_of(step, entered, stepped)
    assert first.keys() == expected.keys()
    for letter, due in expected.items():
        assert due <= first[letter] <= due + SLOT + 1e-6, letter


@pytest.mark.parametrize(("kind", "state", "given"), IMPOSSIBLE)
def test_what_is_in_no_table_cannot_happen_and_is_loud(kind: Kind, state: str, given: str) -> None:
    lone = kind.make(Lone()).in_state(state)
    with pytest.raises(ImpossibleInputError, match=f"{given} in state {state}"):
        lone.feed(given)
    assert lone.transaction.state.name == state
    assert (lone.sent, lone.told) == ([], [])


@pytest.mark.parametrize("local", [UDP, TCP], ids=["unreliable", "reliable"])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_whatever_clock_fires_its_input_is_in_the_table(table: list[Step], local: object) -> None:
    """REPEAT and DEADLINE name the timers of the RFC: left alone in any state, a transaction that has a clock
    ends by it, and only states whose end is the user's business wait for ever.
    """
    kind = table[0].kind
    for state in kind.ways:
        lone = kind.make(Lone(local))  # type: ignore[arg-type]
        lone.in_state(state)
        lone.run(1000)
        waits = (kind, state) in WAITING
        assert (lone.transaction.state.name == state) == (waits or state == "TERMINATED")
        assert lone.gone != waits
        assert len(lone.timers) == 0


WAITING = [
    (INVITE_CLIENT, "PROCEEDING"),  # a phone may ring as long as it likes (17.1.1.2)
    (INVITE_SERVER, "PROCEEDING"),
]
