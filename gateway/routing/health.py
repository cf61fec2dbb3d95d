"""Which targets are up: by OPTIONS pings (`options_ping`), and by what calls meet there.

A target whose trunk has `options_ping` is down after `down_after` pings in a row without an answer, and up
again after `up_after` answers in a row; calls are not sent to it meanwhile. Without pings nothing is ever
*down*, but an address that was silent or unreachable, or asked by 503 with Retry-After to be spared, is
*resting*: calls go elsewhere first for a while (RFC 3261 21.5.4, RFC 3263 4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import ClassVar

from gateway.routing.locate import Address
from gateway.routing.route import Hop

REST = 32.0  # seconds after silence: as long as a transaction waits (64*T1, RFC 3263 4.3)
_LONGEST_REST = 300.0  # a Retry-After may ask for hours, and be wrong
_RESTING_LIMIT = 10_000


class State(IntEnum):
    """What pings say of a target."""

    UP = 0
    FAILING = 1  # unanswered pings, but not enough of them
    DOWN = 2
    RECOVERING = 3  # answered pings, but not enough of them


class Input(IntEnum):
    """What can happen to it."""

    ANSWERED = 0
    SILENT = 1
    ENOUGH = 2  # as many in a row as the trunk's settings ask for


class TargetHealth:
    """One pinged target. ``on_change`` hears of each change between up and down."""

    __slots__ = ("_count", "_down_after", "_on_change", "_up_after", "name", "state")

    def __init__(
        self, name: str, down_after: int, up_after: int, on_change: Callable[[TargetHealth], None]
    ) -> None:
        self.name = name
        self.state = State.UP
        self._count = 0
        self._on_change = on_change
        self.set_thresholds(down_after, up_after)

    def set_thresholds(self, down_after: int, up_after: int) -> None:
        """Set how many silent pings make it down, and how many answered ones up."""
        self._down_after = down_after
        self._up_after = up_after

    @property
    def is_up(self) -> bool:
        """Whether calls may go there."""
        return self.state in (State.UP, State.FAILING)

    def feed(self, given: Input) -> None:
        """Take one step of the table."""
        was_up = self.is_up
        state = self.TABLE[self.state, given]
        self._count = self._count + 1 if state == self.state else 1
        self.state = state
        needed = {State.FAILING: self._down_after, State.RECOVERING: self._up_after}.get(state)
        if needed is not None and self._count >= needed:
            self.state = self.TABLE[state, Input.ENOUGH]
        if self.is_up != was_up:
            self._on_change(self)

    TABLE: ClassVar[Mapping[tuple[State, Input], State]] = {
        (State.UP, Input.ANSWERED): State.UP,
        (State.UP, Input.SILENT): State.FAILING,
        (State.FAILING, Input.ANSWERED): State.UP,
        (State.FAILING, Input.SILENT): State.FAILING,
        (State.FAILING, Input.ENOUGH): State.DOWN,
        (State.DOWN, Input.ANSWERED): State.RECOVERING,
        (State.DOWN, Input.SILENT): State.DOWN,
        (State.RECOVERING, Input.ANSWERED): State.RECOVERING,
        (State.RECOVERING, Input.SILENT): State.DOWN,
        (State.RECOVERING, Input.ENOUGH): State.UP,
    }


class Health:
    """What is known of every target; kept over reloads."""

    def __init__(self) -> None:
        self.targets: dict[tuple[str, bytes], TargetHealth] = {}  # by trunk and target URI
        self._resting: dict[Address, float] = {}  # until when
        self._down = 0
        self.log: Callable[[str], object] = lambda _line: None
        self.on_rest: Callable[[Address, float], object] = lambda _address, _until: None
        """Told, where there are other workers, which address is spared until when."""

    def watch(self, trunk: str, uri: bytes, down_after: int, up_after: int) -> TargetHealth:
        """Return the health of a target that is pinged, up until its pings say otherwise."""
        known = self.targets.get((trunk, uri))
        if known is None:
            name = f"{trunk} {uri.decode()}"
            known = self.targets[trunk, uri] = TargetHealth(name, down_after, up_after, self._changed)
        known.set_thresholds(down_after, up_after)
        return known

    def keep_only(self, watched: set[tuple[str, bytes]]) -> None:
        """Forget targets that are not pinged any more: nobody would ever call them up again."""
        self.targets = {key: target for key, target in self.targets.items() if key in watched}
        self._down = sum(not target.is_up for target in self.targets.values())

    def down(self) -> list[tuple[str, bytes]]:
        """Return the targets that are down, by trunk and URI."""
        return [key for key, target in self.targets.items() if not target.is_up]

    def impose(self, down: list[tuple[str, bytes]]) -> None:
        """Take another worker's word for which targets are down; all others are up."""
        self.targets = {key: TargetHealth(key[0], 1, 1, self._changed) for key in down}
        for target in self.targets.values():
            target.state = State.DOWN
        self._down = len(down)

    def rest(self, address: Address, seconds: float, now: float) -> None:
        """Send calls elsewhere first for ``seconds``; 0 changes nothing."""
        if not seconds:
            return
        until = now + min(seconds, _LONGEST_REST)
        self.rest_until(address, until)
        self.on_rest(address, until)

    def rest_until(self, address: Address, until: float) -> None:
        """Send calls elsewhere first, as another worker says."""
        if len(self._resting) >= _RESTING_LIMIT:
            self._resting.clear()
        self._resting[address] = until

    def choose(self, hops: tuple[Hop, ...], now: float) -> tuple[Hop, ...]:
        """Return the hops to try: those that are down left out, those that rest behind the others.

        None is left when all are down: then there is no use in making the caller wait.
        """
        if self._down:
            hops = tuple(hop for hop in hops if self._is_up(hop))
        if self._resting:
            self._resting = {address: until for address, until in self._resting.items() if until > now}
            hops = tuple(sorted(hops, key=lambda hop: hop.address in self._resting))
        return hops

    def is_resting(self, address: Address | None) -> bool:
        """Tell whether calls go elsewhere first."""
        return address in self._resting

    def _is_up(self, hop: Hop) -> bool:
        target = self.targets.get((hop.trunk.name, hop.target.uri))
        return target is None or target.is_up

    def _changed(self, target: TargetHealth) -> None:
        self._down += -1 if target.is_up else 1
        self.log(f"target {target.name} is {'up' if target.is_up else 'down'}")
