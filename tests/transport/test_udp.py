"""UDP over real loopback sockets: in, out, fair under a flood, and deaf to no error."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest
import trio

from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flow, Flows, Local
from gateway.sip.message import Response, parse
from gateway.transport.pump import BATCH, pump
from gateway.transport.udp import Receiver, UdpTransport, source_of

OPTIONS = (
    b"OPTIONS sip:%b SIP/2.0\r\nVia: SIP/2.0/UDP %b;branch=z9hG4bKa;rport\r\nFrom: <sip:a@h>;tag=a\r\n"
    b"To: <sip:%b>\r\nCall-ID: one\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


both_families = pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")),
    ],
)


async def pumping(transport: UdpTransport, local: Local, receiver: Receiver, flows: Flows) -> None:
    turn = partial(transport.turn, local, receiver, flows)
    await pump(transport.socket_of(local), turn, trio.current_time)


class Everybody:
    """A core that knows every source and never has to serve one."""

    def knows(self, _flow: Flow) -> bool:
        return True

    def name_of(self, _flow: Flow) -> str:
        return ""

    def is_behind_nat(self, _flow: Flow) -> bool:
        return False

    def on_request(self, *_args: object) -> None:
        raise AssertionError("requests to the gateway itself are the endpoint's")


@pytest.fixture
def transport() -> Iterator[UdpTransport]:
    transport = UdpTransport(trio.current_time)
    yield transport
    transport.close()


@contextlib.contextmanager
def peer_at(host: str) -> Iterator[trio.socket.SocketType]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
        yield sock


def run_beside(pump: Callable[[], Awaitable[None]], play: Callable[[], Awaitable[None]]) -> None:
    """Play a scene while a pump runs; a scene that hangs fails."""

    async def main() -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump)
                await play()
                nursery.cancel_scope.cancel()

    trio.run(main)


@both_families
def test_a_datagram_comes_in_and_its_answer_goes_back(transport: UdpTransport, host: str) -> None:
    local = transport.bind(host, 0, "")
    flows = Flows([local])
    endpoint = Endpoint(flows, lambda: b"token")
    endpoint.core = Everybody()

    async def ask() -> None:
        with peer_at(host) as peer:
            await peer.bind((host, 0))
            name = local.sent_by
            await peer.sendto(OPTIONS % (name, b"192.0.2.7", name), (host, local.port))
            data, source = await peer.recvfrom(65_535)
            answer = parse(data)
            assert isinstance(answer, Response)
            assert answer.status == 200
            assert source[:2] == (host, local.port)
            received = b";received=%b;rport=%d" % (host.encode(), peer.getsockname()[1])
            assert received in answer.need(b"Via")

    run_beside(lambda: pumping(transport, local, endpoint, flows), ask)
    assert transport.dropped == {}


class Recorder:
    """Stands where the endpoint does and notes what happens to it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.received: list[tuple[bytes, Flow]] = []
        self.out: list[tuple[bytes, Flow]] = []
        self.lost: list[bytes] = []
        self.on_batch: Callable[[], None] = lambda: None

    def receive(self, batch: list[tuple[bytes, Flow]], now: float) -> None:
        self.events.append(f"batch of {len(batch)}")
        self.received += batch
        self.on_batch()

    def tick(self, now: float, most: int) -> None:
        self.events.append(f"at most {most} timers")

    def drain(self) -> list[tuple[bytes, Flow]]:
        out, self.out = self.out, []
        return out

    def undelivered(self, data: bytes, now: float) -> None:
        self.lost.append(data)


@pytest.mark.parametrize(("size", "between"), [(BATCH, 3), (BATCH // 2 + 8, 6)])
def test_a_flood_on_one_socket_leaves_others_their_turn_after_as_many_messages_as_fill_a_batch(
    size: int, between: int, transport: UdpTransport
) -> None:
    """The flood does not end while it is watched: behind each batch that is read stands another, full or
    not.
    """
    local = transport.bind("127.0.0.1", 0, "")
    flows = Flows([local])
    recorder = Recorder()
    rounds = 20
    flooder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def flood() -> None:
        if len(recorder.events) > 10 * rounds:
            return  # or a pump that starves the others could not even be stopped
        for _ in range(size):
            flooder.sendto(b"x", ("127.0.0.1", local.port))

    recorder.on_batch = flood
    flood()
    if size == BATCH:
        flood()

    async def tick() -> None:
        while len(recorder.received) < rounds * size:
            recorder.events.append("tick")
            await trio.lowlevel.checkpoint()

    with flooder:
        run_beside(lambda: pumping(transport, local, recorder, flows), tick)

    assert recorder.events.count(f"batch of {size}") >= rounds
    # trio runs the tasks that are ready in rounds, in any order within a round: so there may be twice as many
    # batches in between.
    ticks = [index for index, event in enumerate(recorder.events) if event == "tick"]
    assert max(later - earlier for earlier, later in itertools.pairwise(ticks)) <= between
    assert len(ticks) >= rounds // 4


def test_take_fetches_at_most_a_batch_from_each_socket(transport: UdpTransport) -> None:
    locals_ = [transport.bind("127.0.0.1", 0, "") for _ in range(2)]
    flows = Flows(locals_)
    recorder = Recorder()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for local in locals_:
            for _ in range(BATCH + 1):
                sender.sendto(b"x", ("127.0.0.1", local.port))

    async def take() -> None:
        transport.take(recorder, flows)
        transport.take(recorder, flows)
        transport.take(recorder, flows)

    trio.run(take)
    assert recorder.events == [f"batch of {BATCH}"] * 2 + ["batch of 1"] * 2
    assert {flow.local for _, flow in recorder.received} == set(locals_)


def test_a_turn_fires_some_timers_once_its_socket_is_empty_but_not_after_a_stall() -> None:
    """After a stall the answer that a timer waits for may stand at another socket: all are read first."""
    now = 1000.0
    transport = UdpTransport(lambda: now)
    recorder = Recorder()
    try:
        local = transport.bind("127.0.0.1", 0, "")
        flows = Flows([local])
        turn = partial(transport.turn, local, recorder, flows)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(BATCH + 1):
                sender.sendto(b"x", ("127.0.0.1", local.port))
        transport.take(recorder, flows)
        assert turn(now) == 1
        assert turn(now + 0.1) == 0
        assert recorder.events == [
            f"batch of {BATCH}",
            "batch of 1",
            "at most 32 timers",
            "at most 32 timers",
        ]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(BATCH):
                sender.sendto(b"x", ("127.0.0.1", local.port))
        recorder.events.clear()
        assert turn(now) == BATCH
        assert turn(now + 40) == 0
        assert recorder.events == [f"batch of {BATCH}"]
    finally:
        transport.close()


def test_a_message_leaves_from_the_socket_of_its_flow(transport: UdpTransport) -> None:
    locals_ = [transport.bind("127.0.0.1", 0, "") for _ in range(2)]
    recorder = Recorder()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        address = peer.getsockname()
        recorder.out = [(b"%d" % local.port, Flow(local, address)) for local in locals_]
        transport.flush(recorder)
        for local in locals_:
            assert peer.recvfrom(100) == (b"%d" % local.port, ("127.0.0.1", local.port))


def test_a_message_too_long_for_a_datagram_comes_back_and_the_next_one_goes_out() -> None:
    transport = UdpTransport(lambda: 0.0)
    local = transport.bind("127.0.0.1", 0, "")
    recorder = Recorder()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        flow = Flow(local, peer.getsockname())
        recorder.out = [(b"x" * 70_000, flow), (b"short", flow)]
        transport.flush(recorder)
        assert peer.recv(100) == b"short"
    transport.close()
    assert transport.dropped == {"EMSGSIZE": 1}
    assert recorder.lost == [b"x" * 70_000]


class FailingSocket:
    """A socket whose system calls fail."""

    def __init__(self, error: OSError, before: int = 0) -> None:
        self.error = error
        self.before = before

    def sendto(self, _data: bytes, _peer: Any) -> int:
        raise self.error

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[str, int]]:
        if self.before == 0:
            raise self.error
        self.before -= 1
        return b"x", ("192.0.2.2", 5060)

    def recvmsg(self, *_sizes: int) -> tuple[bytes, list[object], int, object]:
        raise BlockingIOError

    def close(self) -> None:
        pass


def failing(transport: UdpTransport, code: int, before: int = 0) -> Local:
    """A listening point whose socket fails with this error."""
    local = Local("udp", "192.0.2.1", 5060)
    transport._sockets[local] = cast(
        "socket.socket", FailingSocket(OSError(code, "as the test wants"), before)
    )
    return local


@pytest.mark.parametrize(
    ("code", "lost"),
    [
        (errno.ENETUNREACH, True),  # RFC 3261 18.4: the transaction is told, and need not wait 32 s
        (errno.EHOSTUNREACH, True),
        (errno.EPERM, True),  # a firewall of this machine
        (errno.EACCES, True),  # a broadcast address
        (errno.EINVAL, True),  # our own address is gone
        (errno.EMSGSIZE, True),  # and no smaller for being repeated
        (errno.EAGAIN, False),  # a full buffer: timers repeat the message
        (errno.ENOBUFS, False),
    ],
)
def test_send_errors_are_counted_and_a_network_that_is_not_there_is_told(
    transport: UdpTransport, code: int, lost: bool
) -> None:
    flow = Flow(failing(transport, code), ("192.0.2.2", 5060))
    recorder = Recorder()
    recorder.out = [(b"one", flow), (b"two", flow)]

    async def flush() -> None:
        transport.flush(recorder)

    trio.run(flush)
    assert transport.dropped == {errno.errorcode[code]: 2}
    assert recorder.lost == ([b"one", b"two"] if lost else [])


def test_what_ends_a_call_is_repeated_while_there_is_no_way(transport: UdpTransport) -> None:
    flow = Flow(failing(transport, errno.ENETUNREACH), ("192.0.2.2", 5060))
    recorder = Recorder()
    recorder.out = [(method + b" sip:a@192.0.2.2 SIP/2.0\r\n", flow) for method in (b"BYE", b"CANCEL")]
    transport.flush(recorder)
    assert transport.dropped == {"ENETUNREACH": 2}
    assert recorder.lost == []


def test_an_error_on_receiving_keeps_what_was_read_before_it(transport: UdpTransport) -> None:
    local = failing(transport, errno.ECONNREFUSED, before=2)
    recorder = Recorder()

    async def take() -> None:
        transport.take(recorder, Flows([local]))

    trio.run(take)
    assert recorder.events == ["batch of 2"]


def test_an_address_in_use_cannot_be_had_twice(transport: UdpTransport) -> None:
    local = transport.bind("127.0.0.1", 0, "")
    with pytest.raises(OSError, match="in use"):
        transport.bind("127.0.0.1", local.port, "")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_both_wildcards_can_be_had_on_one_port_and_show_a_real_address(transport: UdpTransport) -> None:
    """Peers are told where to answer: a wildcard is no address."""
    four = transport.bind("0.0.0.0", 0, "")
    six = transport.bind("::", four.port, "")
    assert four.host not in ("0.0.0.0", "")
    assert six.host not in ("::", "")
    assert (four.family, six.family) == (4, 6)


def test_what_is_advertised_is_told_instead_of_what_is_bound(transport: UdpTransport) -> None:
    local = transport.bind("127.0.0.1", 0, "gw.example.com:5060")
    assert local.via == b"SIP/2.0/UDP gw.example.com:5060"
    assert local.contact == b"<sip:gw.example.com:5060>"


@both_families
def test_the_system_is_asked_where_a_route_starts(host: str) -> None:
    assert source_of(host) == host


@pytest.mark.parametrize("host", ["255.255.255.255", "fe80::1"])  # nobody may go there; of no interface
def test_no_route_starts_nowhere(host: str) -> None:
    assert source_of(host) == ""
