"""TCP over real loopback sockets: framing, reuse, and the end of connections."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gateway.sip.message import parse
from gateway.transport.connection import MAX_UNSENT, Limits

from .station import (
    PBX,
    STRANGER,
    Station,
    Wire,
    config_text,
    dial,
    listening,
    reply,
    request,
    scene,
    serving,
)
from .test_udp import has_ipv6

Accept = Callable[[], Awaitable[Wire]]


@asynccontextmanager
async def with_carrier(
    target: str = '"sip:127.0.0.3:{};transport=tcp"', limits: Limits | None = None, **more: str
) -> AsyncIterator[tuple[Station, Accept, int]]:
    """A gateway, and a carrier that listens on TCP."""
    async with (
        listening() as (port, accept),
        serving(config_text(target.format(port), **more), limits) as station,
    ):
        yield station, accept, port


async def call(pbx: Wire, **more: str) -> None:
    """Have the PBX call, and take the 100."""
    await pbx.send(request("INVITE", "sip:1001@127.0.0.1", body=b"v=0\r\n", **more))  # type: ignore[arg-type]
    await pbx.response(100)


# -- in and back -----------------------------------------------------------------------------------------


@scene
async def test_a_request_is_answered_on_the_connection_it_came_on_rfc_3261_18_2_2() -> None:
    async with serving(config_text()) as station:
        pbx = await dial(station.local("tcp"))
        await pbx.send(request())
        assert (await pbx.response(200)).need(b"Via").startswith(b"SIP/2.0/TCP 127.0.0.2:5060")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@scene
async def test_ipv6_is_served_too() -> None:
    text = config_text(listen='"tcp:[::1]:0"').replace('"127.0.0.2"', '"::1"')
    async with serving(text) as station:
        pbx = await dial(station.local("tcp"), "::1")
        await pbx.send(request(uri="sip:[::1]", sent_by="[::1]:5060"))
        await pbx.response(200)


@scene
async def test_segments_of_one_byte_make_the_same_message() -> None:
    async with serving(config_text()) as station:
        pbx = await dial(station.local("tcp"))
        for octet in request():
            await pbx.send(bytes((octet,)))
        await pbx.response(200)


@scene
async def test_many_messages_in_one_segment_are_each_answered() -> None:
    async with serving(config_text()) as station:
        pbx = await dial(station.local("tcp"))
        await pbx.send(b"".join(request(call=f"c{n}") for n in range(40)))
        for n in range(40):
            assert (await pbx.response(200)).call_id == b"c%d" % n


@scene
async def test_a_ping_gets_its_pong_rfc_5626_3_5_1() -> None:
    async with serving(config_text()) as station:
        pbx = await dial(station.local("tcp"))
        await pbx.send(b"\r\n\r\n")
        assert await pbx.stream.receive_some() == b"\r\n"


# -- out -------------------------------------------------------------------------------------------------


@scene
async def test_calls_to_one_target_share_one_connection() -> None:
    async with with_carrier() as (station, accept, _):
        pbx = await dial(station.local("tcp"))
        await call(pbx, call="one")
        carrier = await accept()
        first = await carrier.request("INVITE")
        assert first.need(b"Via").startswith(b"SIP/2.0/TCP 127.0.0.1:")
        assert b";transport=tcp" in first.need(b"Contact")
        await call(pbx, call="two")
        second = await carrier.request("INVITE")
        await carrier.send(reply(first, 486) + reply(second, 486))
        assert {(await pbx.response(486)).call_id for _ in range(2)} == {b"one", b"two"}
        for _ in range(2):
            await carrier.request("ACK")
        assert len(station.streams.connections) == 2


@scene
async def test_what_waits_for_a_connection_goes_out_in_order() -> None:
    async with with_carrier() as (station, accept, _):
        pbx = await dial(station.local("tcp"))
        for n in range(5):
            await call(pbx, call=f"c{n}")
        carrier = await accept()
        names = [(await carrier.request("INVITE")).need(b"X-CID") for _ in range(5)]
        assert names == [b"c0", b"c1", b"c2", b"c3", b"c4"]


@scene
async def test_a_target_that_refuses_is_passed_over_at_once_rfc_3261_18_4() -> None:
    target = '"sip:127.0.0.3:9;transport=tcp", "sip:127.0.0.3:{};transport=tcp"'
    async with with_carrier(target) as (station, accept, _):
        await call(await dial(station.local("tcp")))
        await (await accept()).request("INVITE")
        assert station.streams.closed == {"ECONNREFUSED": 1}


@scene
async def test_connections_that_are_lost_fail_their_requests_rfc_3261_17_1_4() -> None:
    async with with_carrier() as (station, accept, _):
        pbx = await dial(station.local("tcp"))
        await call(pbx)
        for _ in range(2):
            carrier = await accept()
            await carrier.request("INVITE")
            await carrier.stream.aclose()
        await pbx.response(503)


@scene
async def test_a_peer_that_was_switched_off_and_on_again_is_met_on_a_new_connection() -> None:
    """It knows nothing of the connection that still stands here, and says so when a request comes on it."""
    async with with_carrier() as (station, accept, _):
        pbx = await dial(station.local("tcp"))
        await call(pbx, call="one")
        carrier = await accept()
        first = await carrier.request("INVITE")
        await carrier.send(reply(first, 603))
        await carrier.request("ACK")
        await pbx.response(603)
        assert isinstance(carrier.stream, trio.SocketStream)
        at_once = struct.pack("ii", 1, 0)
        carrier.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        await call(pbx, call="two")
        asked = await carrier.request("INVITE")
        await carrier.stream.aclose()  # by a reset
        carrier = await accept()
        again = await carrier.request("INVITE")
        assert again.via.branch == asked.via.branch
        await carrier.send(reply(again, 486))
        await pbx.response(486)


@scene
async def test_a_request_that_was_heard_is_not_sent_again_when_its_connection_ends() -> None:
    async with with_carrier() as (station, accept, _):
        pbx = await dial(station.local("tcp"))
        await call(pbx)
        carrier = await accept()
        await carrier.send(reply(await carrier.request("INVITE"), 180))
        await pbx.response(180)
        await carrier.stream.aclose()
        await pbx.response(503)


@scene
async def test_a_call_outlives_its_connections_and_its_bye_opens_a_new_one() -> None:
    async with with_carrier() as (station, accept, port), listening(host=PBX) as (pbx_port, _):
        pbx = await dial(station.local("tcp"))
        sent_by = f"{PBX}:{pbx_port}"
        await call(pbx, call="long", sent_by=sent_by)
        carrier = await accept()
        invite = await carrier.request("INVITE")
        await carrier.send(reply(invite, 200, contact=f"sip:b@127.0.0.3:{port};transport=tcp"))
        tag = (await pbx.response(200)).to_tag.decode()
        await pbx.send(request("ACK", "sip:127.0.0.1", sent_by, call="long", to_tag=tag))
        await carrier.request("ACK")
        await pbx.stream.aclose()
        await carrier.stream.aclose()
        await station.until(lambda: not station.streams.connections)
        pbx = await dial(station.local("tcp"))
        await pbx.send(request("BYE", "sip:127.0.0.1", sent_by, call="long", to_tag=tag, seq=2))
        carrier = await accept()
        await carrier.send(reply(await carrier.request("BYE"), 200))
        await pbx.response(200)


@scene
async def test_a_response_whose_connection_is_gone_goes_to_the_port_in_the_via_rfc_3261_18_2_2() -> None:
    async with with_carrier() as (station, accept, _), listening(host=PBX) as (port, pbx_accept):
        pbx = await dial(station.local("tcp"))
        await call(pbx, sent_by=f"{PBX}:{port}")
        carrier = await accept()
        invite = await carrier.request("INVITE")
        await pbx.stream.aclose()
        await station.until(lambda: len(station.streams.connections) == 1)
        await carrier.send(reply(invite, 486))
        await (await pbx_accept()).response(486)


@scene
async def test_a_connection_offered_by_alias_takes_our_requests_rfc_5923() -> None:
    async with serving(config_text('"sip:127.0.0.3:5099;transport=tcp"')) as station:
        carrier = await dial(station.local("tcp"), "127.0.0.3")
        await carrier.send(request(sent_by="127.0.0.3:5099", via=";alias"))
        await carrier.response(200)
        pbx = await dial(station.local("tcp"))
        await call(pbx)
        await carrier.request("INVITE")
        await carrier.stream.aclose()
        await pbx.response(503)  # the transactions of its address hear of its end
        await call(pbx)
        await pbx.response(503)
        assert station.streams.closed["ECONNREFUSED"] == 2


@scene
async def test_a_port_offered_by_alias_is_met_again_after_the_peer_named_another_and_left_rfc_5923() -> None:
    async with with_carrier() as (station, accept, port):
        carrier = await dial(station.local("tcp"), "127.0.0.3")
        for named in (port, port - 1):
            await carrier.send(request(sent_by=f"127.0.0.3:{named}", via=";alias"))
            await carrier.response(200)
        pbx = await dial(station.local("tcp"))
        await call(pbx)
        await carrier.request("INVITE")
        await carrier.stream.aclose()
        await (await accept()).request("INVITE")


@scene
async def test_what_a_peer_says_in_its_via_does_not_redirect_our_requests_to_its_target() -> None:
    async with with_carrier() as (station, accept, _):
        pbx = await dial(station.local("tcp"))
        await call(pbx)
        carrier = await accept()
        await carrier.request("INVITE")
        await carrier.send(request(sent_by="127.0.0.3:9"))
        await carrier.response(200)
        await carrier.stream.aclose()
        await (await accept()).request("INVITE")


@scene
async def test_nothing_is_sent_over_a_connection_that_is_left() -> None:
    """Wherever it may still be found."""
    async with with_carrier() as (station, accept, port):
        flow = station.flows.towards("127.0.0.3", port, "tcp")
        assert flow is not None
        station.streams.send(request(), flow)
        carrier = await accept()
        await carrier.request("OPTIONS")
        (connection,) = station.streams.connections
        connection.leave(trio.current_time())
        station.streams.send(request("MESSAGE"), flow)
        await (await accept()).request("MESSAGE")
        assert await carrier.end() == b""


@scene
async def test_more_than_may_wait_for_a_connection_is_not_kept() -> None:
    async with serving(config_text()) as station:
        flow = station.flows.towards("127.0.0.3", 9, "tcp")
        assert flow is not None
        for _ in range(MAX_UNSENT // 50_000 + 1):
            station.streams.send(b"x" * 50_000, flow)
        assert station.streams.closed == {"too much unsent": 1}
        assert not station.streams.connections
        await trio.testing.wait_all_tasks_blocked()
        assert station.streams.closed == {"too much unsent": 1}


@scene
async def test_without_alias_the_peer_is_met_at_its_own_port() -> None:
    async with with_carrier() as (station, accept, port):
        carrier = await dial(station.local("tcp"), "127.0.0.3")
        await carrier.send(request(sent_by=f"127.0.0.3:{port}"))
        await carrier.response(200)
        await call(await dial(station.local("tcp")))
        await (await accept()).request("INVITE")


@scene
async def test_a_flood_of_connections_leaves_a_call_its_way() -> None:
    async with with_carrier(limits=Limits(per_source=20)) as (station, accept, _):
        pbx = await dial(station.local("tcp"))
        flood = [await dial(station.local("tcp"), STRANGER) for _ in range(200)]
        await call(pbx)
        carrier = await accept()
        await carrier.send(reply(await carrier.request("INVITE"), 486))
        await pbx.response(486)
        await station.until(lambda: station.streams.refused["unknown source"] == len(flood))


# -- between transports ----------------------------------------------------------------------------------


def datagrams() -> trio.socket.SocketType:
    return trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def name_of(sock: trio.socket.SocketType) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


@scene
async def test_a_large_request_goes_over_tcp_and_a_small_one_stays_on_udp_rfc_3261_18_1_1() -> None:
    async with with_carrier('"sip:127.0.0.3:{}"') as (station, accept, port):
        with datagrams() as pbx, datagrams() as udp:
            await pbx.bind((PBX, 0))
            await udp.bind(("127.0.0.3", port))
            gateway = ("127.0.0.1", station.local("udp").port)
            sent_by = name_of(pbx)
            large = request(
                "INVITE", "sip:1@127.0.0.1", sent_by, transport="UDP", extra=f"X-Big: {'x' * 1300}\r\n"
            )
            await pbx.sendto(large, gateway)
            carrier = await accept()
            invite = await carrier.request("INVITE")
            assert invite.need(b"Via").startswith(b"SIP/2.0/TCP ")
            assert b"transport" not in invite.need(b"Contact")  # the dialog stays on UDP
            await pbx.sendto(request("INVITE", "sip:2@127.0.0.1", sent_by, transport="UDP"), gateway)
            assert parse(await udp.recv(65_535)).need(b"Via").startswith(b"SIP/2.0/UDP ")


@scene
async def test_a_large_request_falls_back_to_udp_where_tcp_is_refused_rfc_3261_18_1_1() -> None:
    with datagrams() as pbx, datagrams() as carrier:
        await pbx.bind((PBX, 0))
        await carrier.bind(("127.0.0.3", 0))
        async with serving(config_text(f'"sip:{name_of(carrier)}"')) as station:
            for refusals in (1, 1):  # the second time it is known to have no TCP
                sent_by = name_of(pbx)
                large = request(
                    "INVITE", "sip:1@127.0.0.1", sent_by, transport="UDP", extra=f"X-Big: {'x' * 1300}\r\n"
                )
                await pbx.sendto(large, ("127.0.0.1", station.local("udp").port))
                invite = parse(await carrier.recv(65_535))
                assert invite.need(b"Via").startswith(b"SIP/2.0/UDP ")
                assert station.streams.closed == {"ECONNREFUSED": refusals}
                answer = reply(invite, 486)  # type: ignore[arg-type]
                await carrier.sendto(answer, ("127.0.0.1", station.local("udp").port))
                assert parse(await carrier.recv(65_535)).method == b"ACK"  # type: ignore[union-attr]
