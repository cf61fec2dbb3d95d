"""Where a target can be reached: the addresses behind its name (RFC 3263)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.routing.trunk import Target


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address to send to, over one transport."""

    host: str
    port: int
    transport: str


class Waiter(Protocol):
    """Whoever waits for a name to be looked up."""

    def on_located(self, addresses: tuple[Address, ...], now: float) -> None:
        """Take the addresses, best first; none when the name leads nowhere."""


class Locator(Protocol):
    """Finds the addresses of targets that are names."""

    def locate(self, target: Target, waiter: Waiter, now: float) -> tuple[Address, ...] | None:
        """Return the addresses when they are known already; else None, and ``waiter`` is told later."""


class NoLocator:
    """Knows no name."""

    def locate(self, _target: Target, _waiter: Waiter, _now: float) -> tuple[Address, ...] | None:
        """Return that no name leads anywhere."""
        return ()
