"""TLS over real loopback sockets: who is met, and who may come."""

from __future__ import annotations

import errno
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from gateway.transport import streams
from gateway.transport.connection import Connection, Limits

from .station import (
    STRANGER,
    Station,
    Wire,
    dial,
    dial_tls,
    listening,
    reply,
    request,
    scene,
    serving,
)
from .vault import Vault

Accept = Callable[[], Awaitable[Wire]]


@asynccontextmanager
async def with_carrier(
    vault: Vault, context: ssl.SSLContext, **more: str
) -> AsyncIterator[tuple[Station, Accept]]:
    """A gateway, and a carrier that listens with this context."""
    async with (
        listening(context=context) as (port, accept),
        serving(vault.text(port, **more)) as station,
    ):
        yield station, accept


async def call(station: Station, uri: str = "sip:1001@127.0.0.1") -> Wire:
    """Have the PBX call over TCP, and take the 100."""
    pbx = await dial(station.local("tcp"))
    await pbx.send(request("INVITE", uri))
    await pbx.response(100)
    return pbx


# -- out: the server's certificate is the trunk's (RFC 5922) ---------------------------------------------


@scene
async def test_a_call_goes_out_over_tls_and_its_answer_comes_back(vault: Vault) -> None:
    async with with_carrier(vault, vault.server("127.0.0.3")) as (station, accept):
        pbx = await call(station)
        carrier = await accept()
        invite = await carrier.request("INVITE")
        assert invite.need(b"Via").startswith(b"SIP/2.0/TLS 127.0.0.1:")
        assert invite.uri.startswith(b"sips:1001@127.0.0.3:")
        assert invite.need(b"Contact").startswith(b"<sips:127.0.0.1:")
        await carrier.send(reply(invite, 486))
        await pbx.response(486)


@pytest.mark.parametrize("identities", [("127.0.0.4",), ("other.example",), ("*.example",)])
@scene
async def test_a_certificate_that_names_another_is_not_talked_to(
    vault: Vault, identities: tuple[str, ...]
) -> None:
    async with with_carrier(vault, vault.server(*identities)) as (station, accept):
        pbx = await call(station)
        carrier = await accept()
        with pytest.raises(trio.BrokenResourceError):
            assert await carrier.stream.receive_some() == b""
            raise trio.BrokenResourceError
        await pbx.response(503)
        assert station.streams.closed == {"certificate names another": 1}


@pytest.mark.parametrize("flaw", ["its CA is unknown", "it has expired"])
@scene
async def test_a_certificate_that_nobody_vouches_for_is_not_talked_to_5280_6_1(
    vault: Vault, tmp_path: Path, flaw: str
) -> None:
    (tmp_path / "other").mkdir()
    signer = Vault(tmp_path / "other") if flaw == "its CA is unknown" else vault
    server = signer.server("127.0.0.3", expired=flaw == "it has expired")
    async with with_carrier(vault, server) as (station, accept):
        pbx = await call(station)
        carrier = await accept()
        with pytest.raises(trio.BrokenResourceError):
            await carrier.stream.receive_some()
        await pbx.response(503)
        assert station.streams.closed == {"TLS: certificate verify failed": 1}


@scene
async def test_without_tls_verify_the_peer_is_taken_at_its_word(vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    server = Vault(tmp_path / "other").server("whoever.example")
    async with with_carrier(vault, server, carrier="tls_verify = false\n") as (station, accept):
        await call(station)
        await (await accept()).request("INVITE")


@scene
async def test_a_peer_that_asks_is_shown_the_trunks_certificate(vault: Vault) -> None:
    cert, key = vault.sign("to-carrier", "customer.example")
    carrier_keys = f'tls_cert = "{cert}"\ntls_key = "{key}"\n'
    async with with_carrier(vault, vault.server("127.0.0.3", ask=True), carrier=carrier_keys) as (
        station,
        accept,
    ):
        await call(station)
        carrier = await accept()
        await carrier.request("INVITE")
        stream = carrier.stream
        assert isinstance(stream, trio.SSLStream)
        assert ("DNS", "customer.example") in stream.getpeercert()["subjectAltName"]


@scene
async def test_a_peer_that_does_not_shake_hands_is_given_up(vault: Vault) -> None:
    async with listening() as (port, accept), serving(vault.text(port), Limits(incomplete=0.2)) as station:
        pbx = await call(station)
        await accept()
        await pbx.response(503)
        assert station.streams.closed == {"handshake too slow": 1}


# -- in: whose certificate it is -------------------------------------------------------------------------


@scene
async def test_a_source_known_by_its_address_may_come_without_a_certificate(vault: Vault) -> None:
    async with serving(vault.text()) as station:
        pbx = await dial_tls(station.local("tls"), vault.client())
        await pbx.send(request(transport="TLS"))
        await pbx.response(200)


@scene
async def test_a_source_known_by_its_tls_name_may_come_from_anywhere(vault: Vault) -> None:
    text = vault.text().replace('source = ["127.0.0.3"]', 'source = ["Carrier.Example"]')
    async with serving(text) as station:
        local = station.local("tls")
        carrier = await dial_tls(local, vault.client("carrier.example"), STRANGER)
        await carrier.send(request("MESSAGE", "sip:1@127.0.0.1", "127.0.0.9:5061", transport="TLS"))
        await carrier.response(503)  # the target is not there, but the source is known
        (connection,) = [each for each in station.streams.connections if each.incoming]
        assert connection.flow.trunk == "carrier"
        for context in (vault.client("other.example"), vault.client()):
            wire = await dial_tls(local, context, STRANGER)
            assert await wire.end() == b""
        assert station.streams.refused == {}
        assert station.streams.closed["unknown source"] == 2
        assert [flow.peer[0] for flow in station.core.trunks().strangers.news()] == [STRANGER]


@scene
async def test_a_client_whose_certificate_nobody_vouches_for_does_not_get_in(
    vault: Vault, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    impostor = Vault(tmp_path / "other").client("carrier.example")
    vault.ca.configure_trust(impostor)
    text = vault.text().replace('source = ["127.0.0.3"]', 'source = ["carrier.example"]')
    async with serving(text) as station:
        with pytest.raises(trio.BrokenResourceError):
            wire = await dial_tls(station.local("tls"), impostor, STRANGER)
            await wire.stream.receive_some()
        await station.until(lambda: bool(station.streams.closed))
        assert station.streams.closed == {"TLS: certificate verify failed": 1}


@scene
async def test_a_client_whose_certificate_has_expired_does_not_get_in_5280_4_1_2_5(vault: Vault) -> None:
    text = vault.text().replace('source = ["127.0.0.3"]', 'source = ["carrier.example"]')
    async with serving(text) as station:
        with pytest.raises(trio.BrokenResourceError):
            wire = await dial_tls(
                station.local("tls"), vault.client("carrier.example", expired=True), STRANGER
            )
            await wire.stream.receive_some()
        await station.until(lambda: bool(station.streams.closed))
        assert station.streams.closed == {"TLS: certificate verify failed": 1}


@scene
async def test_a_certificate_whose_names_are_no_text_speaks_for_nobody(vault: Vault) -> None:
    """Not even for its common name."""
    text = vault.text().replace('source = ["127.0.0.3"]', 'source = ["carrier.example"]')
    async with serving(text) as station:
        wire = await dial_tls(station.local("tls"), vault.nameless("carrier.example"), STRANGER)
        assert await wire.end() == b""
        assert station.streams.closed == {"unknown source": 1}
        pbx = await dial_tls(station.local("tls"), vault.nameless("carrier.example"))
        await pbx.send(request(transport="TLS"))
        await pbx.response(200)


@pytest.mark.parametrize("noise", [b"INVITE sip:a SIP/2.0\r\n\r\n", b"\0" * 100])
@scene
async def test_noise_where_a_handshake_is_due_ends_the_connection(vault: Vault, noise: bytes) -> None:
    async with serving(vault.text()) as station:
        pbx = await dial(station.local("tls"))
        await pbx.send(noise)
        await pbx.end()
        assert not station.streams.connections
        assert station.streams._securing == 0


@scene
async def test_a_handshake_that_dawdles_ends_the_connection(vault: Vault) -> None:
    async with serving(vault.text(), Limits(incomplete=0.2)) as station:
        pbx = await dial(station.local("tls"))
        await pbx.send(b"\x16\x03\x01")
        assert await pbx.end() == b""
        assert station.streams.closed == {"handshake too slow": 1}
        assert station.streams._securing == 0


@pytest.mark.parametrize("silent", [0.0, 0.6])
@scene
async def test_a_message_that_dawdles_after_its_handshake_ends_the_connection(
    vault: Vault, silent: float
) -> None:
    async with serving(vault.text(), Limits(incomplete=0.4)) as station:
        pbx = await dial_tls(station.local("tls"), vault.client())
        await trio.sleep(silent)
        whole = request(transport="TLS")
        await pbx.send(whole[:100])
        await trio.sleep(0.1)
        await pbx.send(whole[100:])
        await pbx.response(200)
        await pbx.send(whole[:100])
        assert await pbx.end() == b""
        assert station.streams.closed == {"message too slow": 1}


@scene
async def test_so_many_handshakes_at_a_time_and_no_more(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_SECURING", 2)
    async with serving(vault.text()) as station:
        dawdling = [await dial(station.local("tls")) for _ in range(2)]
        assert await (await dial(station.local("tls"))).end() == b""
        assert station.streams.refused == {"too many handshakes": 1}
        await dawdling.pop().stream.aclose()
        await station.until(lambda: station.streams._securing == 1)
        pbx = await dial_tls(station.local("tls"), vault.client())  # what is closed makes room
        await pbx.send(request(transport="TLS"))
        await pbx.response(200)


@pytest.mark.parametrize("after", ["noise", "reset"])
@scene
async def test_a_handshake_whose_connection_breaks_as_it_ends_gives_its_place_back(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    sound = Connection.write

    def write(self: Connection, data: bytes) -> None:
        if after == "reset" and self.session is not None and self.session.established:
            raise ConnectionResetError(errno.ECONNRESET, "as the tickets go out")
        sound(self, data)

    monkeypatch.setattr(Connection, "write", write)
    async with serving(vault.text()) as station:
        pbx = await dial(station.local("tls"))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = vault.client().wrap_bio(incoming, outgoing, server_hostname="gw.example")
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                await pbx.send(outgoing.read())
                incoming.write(bytes(await pbx.stream.receive_some()))
        noise = b"\x17\x03\x03\x00\x20" + b"x" * 32
        await pbx.send(outgoing.read() + (noise if after == "noise" else b""))
        await station.until(lambda: bool(station.streams.closed))
        assert not station.streams.connections
        assert station.streams._securing == 0


@scene
async def test_less_than_tls_1_2_is_refused(vault: Vault) -> None:
    old = vault.client()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(vault.text()) as station:
        with pytest.raises(trio.BrokenResourceError):
            await dial_tls(station.local("tls"), old)


# -- sips (RFC 3261 26.2.2, RFC 5630) --------------------------------------------------------------------


@scene
async def test_a_sips_call_over_tls_goes_on_over_tls_and_our_contact_is_sips(vault: Vault) -> None:
    target = '"sip:127.0.0.3:9", "sip:127.0.0.3:{};transport=tls"'
    async with (
        listening(context=vault.server("127.0.0.3")) as (port, accept),
        serving(vault.text(target=target.format(port))) as station,
    ):
        pbx = await dial_tls(station.local("tls"), vault.client())
        await pbx.send(request("INVITE", "sips:1001@gw.example", transport="TLS"))
        await pbx.response(100)
        carrier = await accept()
        invite = await carrier.request("INVITE")
        assert invite.uri.startswith(b"sips:1001@")
        await carrier.send(reply(invite, 200, contact=f"sips:b@127.0.0.3:{port}"))
        answer = await pbx.response(200)
        assert answer.need(b"Contact") == b"<sips:%b>" % station.local("tls").sent_by
