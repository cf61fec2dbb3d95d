"""The ports of a gateway: what they do for sockets of every kind."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
import trio

from gateway.config import SettingsErrors
from gateway.config import parse as parse_config
from gateway.sip.endpoint import Endpoint
from gateway.sip.message import parse
from gateway.transport import streams
from gateway.transport.connection import Connection, Limits
from gateway.transport.ports import Ports

from .station import PBX, config_text, dial, listening, request, scene, serving
from .vault import Vault


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


class Told:
    """An endpoint, and what it was told of, in order."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.of: list[str] = []

    def receive(self, batch: Any, now: float) -> None:
        self.of.append("a message")
        self._endpoint.receive(batch, now)

    def tick(self, now: float) -> None:
        self.of.append("the time")
        self._endpoint.tick(now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._endpoint, name)


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


def stumble(*_: Any) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@scene
async def test_after_a_stall_what_has_arrived_comes_before_what_is_due(
    monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """Over whatever it came; and nobody is held to be idle who was not heard."""
    async with serving(config_text(), Limits(idle=0.3)) as station:
        local = station.local(transport)
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        with socket.socket(type=kind) as pbx:
            pbx.bind((PBX, 0))
            pbx.connect((local.host, local.port))
            while transport == "tcp" and not station.streams.connections:
                await trio.sleep(0.01)
            told = Told(station.endpoint)
            monkeypatch.setattr(station.streams, "_endpoint", told)
            pbx.send(request(transport=transport.upper(), via=";rport"))
            time.sleep(0.4)  # nobody else has a turn
            station.streams._sweep_at = 0.0
            station.ports.tick(told, station.flows)  # type: ignore[arg-type]
            assert told.of == ["a message", "the time"]
            pbx.settimeout(5)
            assert pbx.recv(65_535).startswith(b"SIP/2.0 200 ")
        assert "idle" not in station.streams.closed


@scene
async def test_a_mistake_of_ours_after_a_stall_costs_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(config_text()) as station:
        pbx = await dial(station.local("tcp"))
        await pbx.send(request())
        await pbx.response(200)
        with monkeypatch.context() as patch:
            patch.setattr(station.streams, "_receive", stumble)
            time.sleep(0.4)
            station.tick()
        assert await pbx.end() == b""
        assert [type(bug) for bug in station.bugs] == [ZeroDivisionError]
        station.bugs.clear()
        assert station.streams.closed == {"a mistake of ours": 1}


@pytest.mark.parametrize("more", ["tcp", "tls"])
@scene
async def test_the_listeners_at_each_host_may_be_told_by_a_name_of_their_own(more: str, vault: Vault) -> None:
    """As the outer ones behind a NAT are, while the PBX reaches the inner ones as they are."""
    cert, key = vault.sign("gw", "gw.example")
    text = config_text(
        listen=f'"udp:127.0.0.1:0", "udp:127.0.0.2:0", "{more}:127.0.0.2:0"',
        more=f'advertise = {{ "127.0.0.2" = "203.0.113.7" }}\ntls_cert = "{cert}"\ntls_key = "{key}"',
    )
    ports = Ports(parse_config(text), time.monotonic, [].append)
    inner, outer, stream = ports.locals
    ports.close()
    assert inner.sent_by == b"127.0.0.1:%d" % inner.port
    assert outer.sent_by == b"203.0.113.7:%d" % outer.port
    assert stream.sent_by == b"203.0.113.7:%d" % stream.port


def test_an_address_that_cannot_be_had_is_said_as_settings_write_it() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::1", 0))
        port = taken.getsockname()[1]
        config = parse_config(
            f'[gateway]\nlisten = ["udp:[::1]:{port}"]\n[[trunk]]\nname = "a"\nsource = ["::1"]\n'
        )
        with pytest.raises(SettingsErrors) as caught:
            Ports(config, time.time, pytest.fail)
    assert str(caught.value).endswith(
        f"udp:[::1]:{port} cannot be bound (address already in use); "
        "stop the program that has it, or choose another address"
    )


def test_an_address_that_this_machine_does_not_have_is_said_to_be_none_of_its_own() -> None:
    config = parse_config(
        '[gateway]\nlisten = ["udp:192.0.2.77:0"]\n[[trunk]]\nname = "a"\nsource = ["::1"]\n'
    )
    with pytest.raises(SettingsErrors, match="give this machine that address, or choose one that it has"):
        Ports(config, time.time, pytest.fail)


@pytest.mark.parametrize("place", ["accepting", "taking", "reading on"])
@scene
async def test_a_mistake_of_ours_costs_one_connection_that_a_peer_opened(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """And none of the others."""
    async with serving(config_text()) as station:
        other = await dial(station.local("tcp"))
        await other.send(request())
        await other.response(200)
        with monkeypatch.context() as patch:
            if place == "accepting":
                patch.setattr(streams, "tune", stumble)
            elif place == "taking":
                patch.setattr(Connection, "take", stumble)
            else:
                patch.setattr(station.streams, "_flush", stumble)
            pbx = await dial(station.local("tcp"))
            await pbx.send(request())
            assert await pbx.end() == b""
        assert {type(bug) for bug in station.bugs} == {ZeroDivisionError}
        station.bugs.clear()
        assert station.streams.closed == {"a mistake of ours": 1}
        await other.send(request())
        await other.response(200)
        await (again := await dial(station.local("tcp"))).send(request())
        await again.response(200)
        assert len(station.streams.connections) == 2


@scene
async def test_a_mistake_of_ours_before_a_connection_is_taken_in_closes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(config_text()) as station:
        with monkeypatch.context() as patch:
            patch.setattr(station.streams, "_refusal", stumble)
            assert await (await dial(station.local("tcp"))).end() == b""
        assert [type(bug) for bug in station.bugs] == [ZeroDivisionError]
        station.bugs.clear()
        pbx = await dial(station.local("tcp"))
        await pbx.send(request())
        await pbx.response(200)


@pytest.mark.parametrize("place", ["connecting", "sending", "writing on"])
@scene
async def test_a_mistake_of_ours_costs_one_connection_that_we_opened(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Its calls hear of its end as of any other."""
    async with (
        listening() as (port, _),
        serving(config_text(f'"sip:127.0.0.3:{port};transport=tcp"')) as station,
    ):
        pbx = await dial(station.local("tcp"))
        with monkeypatch.context() as patch:
            if place == "connecting":
                patch.setattr(station.streams, "_leave_from", stumble)
            elif place == "sending":
                sound = Connection.send

                def send(self: Connection, data: bytes) -> None:
                    (sound if self.incoming else stumble)(self, data)

                patch.setattr(Connection, "send", send)
            else:
                sound_write = Connection.write

                def write(self: Connection, data: bytes) -> None:
                    if self.incoming:
                        sound_write(self, data)
                    else:
                        self._unsent += data  # as if the socket took nothing

                patch.setattr(Connection, "write", write)
                patch.setattr(Connection, "write_rest", stumble)
            await pbx.send(request("INVITE", "sip:1001@127.0.0.1"))
            await pbx.response(100)
            await pbx.response(503)
        times = 2 if place == "writing on" else 1  # a connection that stood is tried anew
        assert [type(bug) for bug in station.bugs] == [ZeroDivisionError] * times
        station.bugs.clear()
        assert station.streams.closed == {"a mistake of ours": times}
