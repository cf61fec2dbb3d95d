"""The ports of a gateway: what they do for sockets of every kind."""

from __future__ import annotations

from typing import Any

import trio

from gateway.sip.message import parse

from .station import PBX, config_text, request, scene, serving


class Flawed:
    """A transport with a mistake in it, which shows in its first turn."""

    def __init__(self, sound: Any) -> None:
        self._sound = sound
        self._turns = 0

    def turn(self, *args: Any) -> Any:
        self._turns += 1
        took = self._sound.turn(*args)
        if self._turns == 1:
            raise ZeroDivisionError
        return took

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sound, name)


@scene
async def test_a_mistake_of_ours_costs_one_turn_of_the_socket() -> None:
    """And not the calls that are up."""
    async with serving(config_text()) as station:
        station.ports.udp = Flawed(station.ports.udp)  # type: ignore[assignment]
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as pbx:
            await pbx.bind((PBX, 0))
            gateway = ("127.0.0.1", station.local("udp").port)
            while not station.bugs:  # what comes as the ticker looks, takes no turn
                await pbx.sendto(request(transport="UDP", via=";rport"), gateway)
                await trio.sleep(0.01)
            await pbx.sendto(request(transport="UDP", via=";rport", call="after-it"), gateway)
            while parse(await pbx.recv(65_535)).need(b"Call-ID") != b"after-it":
                pass
        assert [type(bug) for bug in station.bugs] == [ZeroDivisionError]
        station.bugs.clear()
