"""What a worker is given at its start, made by the supervisor before the fork."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.config import Config
from gateway.ledger.spool import of_worker
from gateway.transport.ports import Given

from .board import Board
from .estate import Estate
from .mesh import Inbox
from .ownership import FIRST


@dataclass(frozen=True, slots=True)
class Listening:
    """One listening point: a UDP socket for each worker, or one listener that the first worker serves."""

    transport: str
    socks: tuple[socket.socket, ...]


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of worker ``index``: whoever takes it anew, after a death, takes over all of this."""

    index: int
    inboxes: list[Inbox]
    listening: list[Listening]
    console: socket.socket | None
    """The console's listener; None where it is off."""
    board: Board
    slots: dict[str, int]
    """The numbers of limited trunks on the board."""
    control: socket.socket
    """To the supervisor. When it ends, the supervisor is no more."""
    estate: Estate
    """The calls that were up in whoever had this place before."""
    died_at: float
    """When that one died; 0.0 for the first to have it."""
    clock: Callable[[], float]
    """One for all workers, since they tell each other times."""

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self.inboxes)

    @property
    def leads(self) -> bool:
        """Whether this is the first worker, which does what is to be done once."""
        return self.index == FIRST

    def given(self) -> list[Given]:
        """Return the listening points as the transports want them."""
        own = [each.socks[self.index % len(each.socks)] for each in self.listening]
        return [
            Given(each.transport, sock, self.leads) for each, sock in zip(self.listening, own, strict=True)
        ]


def workers_of(config: Config) -> int:
    """Return how many workers a configuration asks for."""
    return config.gateway.workers or len(os.sched_getaffinity(0))


def config_of(config: Config, index: int, workers: int) -> Config:
    """Return the configuration of one worker: the console is the first one's, the memory for messages is
    shared out, and each has a spool of its own.
    """
    telemetry = replace(config.telemetry, keep_messages=config.telemetry.keep_messages // workers)
    changed = replace(config, telemetry=telemetry)
    if index == FIRST:
        return changed
    console = replace(config.console, listen=None)
    spool = config.ledger.spool
    ledger = replace(config.ledger, spool=None if spool is None else of_worker(spool, index))
    return replace(changed, console=console, ledger=ledger)
