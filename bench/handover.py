"""What several workers cost beside what one does: finding a message's owner, and handing messages over.

    .venv/bin/python bench/handover.py [--call 45]

Prints CPU microseconds a message, the least of many rounds: for finding the owner, and for a hand-over from
packing to unpacking, in batches of 1, 4, 16 and 64, both ends' time together. From these and from what a call
costs one saturated worker (`--rejected`, `--answered`, in microseconds) follows what two carry: of a call's
messages all are looked at, and where the system does not give them to their owners, half are handed over.
"""

from __future__ import annotations

import argparse
import time

from engine import INVITE

from gateway.sip.flow import Flows, Local
from gateway.workers.flows import FlowBook
from gateway.workers.mesh import Inbox, Mesh
from gateway.workers.notes import HandedOver
from gateway.workers.ownership import owner_of

ROUNDS, MESSAGES = 40, 1_024
COMING = {"rejected": 3, "answered": 6}
"""Datagrams that come in a call: INVITE, 603, ACK; INVITE, 180, 200, ACK, BYE, 200."""


def owner_cost(messages: list[bytes]) -> float:
    """CPU microseconds to find a message's owner."""
    best = 1e9
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        for data in messages:
            owner_of(data, 2)
        best = min(best, (time.process_time_ns() - begun) / 1e3 / len(messages))
    return best


def handover_cost(messages: list[bytes], batch: int) -> float:
    """CPU microseconds to bring a message from one worker to another."""
    inboxes = [Inbox.open(), Inbox.open()]
    local = Local("udp", "127.0.0.1", 5060)
    here, there = Flows([local]), Flows([local])
    sender, receiver = Mesh(0, inboxes), Mesh(1, inboxes)
    book, far_book = FlowBook(here), FlowBook(there)
    flow = here.get(local, ("127.0.0.1", 5070))
    best = 1e9
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        for at in range(0, len(messages), batch):
            for data in messages[at : at + batch]:
                sender.hand(1, data, book.name_of(flow))
            sender.settle()
            for note in receiver.receive():
                assert isinstance(note, HandedOver)
                flows = [(far_book.flow_of(*name), each) for name, each in note.messages]
                _ = [(data, came_on) for came_on, each in flows for data in each]
        best = min(best, (time.process_time_ns() - begun) / 1e3 / len(messages))
    for inbox in inboxes:
        inbox.close()
    return best


def carried(given: argparse.Namespace, more: float) -> str:
    """What two workers carry beside one when each message costs so many microseconds more."""
    costs = {flow: getattr(given, flow) for flow in COMING}
    return "".join(
        f"; {flow}: two carry {2 * cost / (cost + COMING[flow] * more):.2f} times one"
        for flow, cost in costs.items()
        if cost
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for flow in COMING:
        parser.add_argument(
            f"--{flow}", type=float, default=0.0, help="CPU microseconds of a call, one worker"
        )
    given = parser.parse_args()
    messages = [INVITE.format(n=n).encode() for n in range(MESSAGES)]
    find = owner_cost(messages)
    print(f"finding the owner: {find:.2f} us a message{carried(given, find)}")
    for batch in (1, 4, 16, 64):
        hand = handover_cost(messages, batch)
        print(f"handing over in batches of {batch}: {hand:.2f} us a message{carried(given, find + hand / 2)}")


if __name__ == "__main__":
    main()
