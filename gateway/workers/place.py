"""A worker's place, which outlives the workers that take it one after the other."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from .estate import Estate


@dataclass(slots=True)
class Place:
    """A worker's place, and who has it. ``pid`` is 0 while nobody has."""

    index: int
    sockets: list[socket.socket]
    """Its UDP sockets."""
    pid: int = 0
    control: socket.socket | None = None
    line: str = ""
    """What it said when it was ready; "" until then."""
    started_at: float = 0.0
    pause: float = 0.0
    estate: Estate = field(default_factory=Estate)
    died_at: float = 0.0
    start_at: float = 0.0
    """When the next is to be started, while nobody has the place."""
    has_drained: bool = False
