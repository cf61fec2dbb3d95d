"""The wire tap as a part of the gateway: what is kept, and what is sent on."""

from __future__ import annotations

from collections.abc import Callable

import trio

from gateway.config import Config
from gateway.wall import Wall

from .homer import Homer, HomerSender
from .keeper import Keeper
from .ring import Ring
from .tap import Tap

_CLOSE = 2.0  # seconds that a stop may wait for the capture server
_SHARE = 4  # one part of so many is for failed and rewritten calls


class Wiretap:
    """``attach`` puts the tap into the transports, or takes it out; ``log`` is told when the
    capture server fails, and when it is back. What is kept goes by ``clock``, what is sent on by ``wall``.
    """

    def __init__(
        self,
        config: Config,
        clock: Callable[[], float],
        attach: Callable[[Tap | None], None],
        log: Callable[[str], None],
        wall: Wall | None = None,
    ) -> None:
        settings = config.telemetry
        self.wall = wall or Wall()
        self.tap = Tap(clock, attach)
        self.ring: Ring | None = None
        self.keeper: Keeper | None = None
        self.homer: HomerSender | None = None
        if settings.keep_messages:
            kept = settings.keep_messages // _SHARE
            self.ring = Ring(settings.keep_messages - kept)
            self.keeper = Keeper(self.ring, kept, clock)
            self.tap.add(self.ring.store)
        if settings.hep is not None:
            homer = Homer(settings.hep, settings.hep_sample, settings.hep_id, config.gateway.name)
            self.homer = HomerSender(homer, log, self.wall)
            self.tap.add(self.homer)

    def copies(self) -> dict[str, int]:
        """Return how many copies of messages there were for Homer, by what became of them."""
        homer = self.homer
        if homer is None:
            return {}
        return {
            "sent": homer.sent, "dropped": homer.dropped, "failed": homer.failed, "skipped": homer.skipped
        }  # fmt: skip

    async def run(self) -> None:
        """Do what whoever listens has to do besides, until cancelled."""
        if self.homer is not None:
            self.homer.start()
        if self.keeper is not None:
            await self.keeper.run()

    async def close(self) -> None:
        """Send what is left to Homer, for at most 2 seconds. Call it once :meth:`run` has ended."""
        if self.homer is not None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self.homer.close, _CLOSE)
