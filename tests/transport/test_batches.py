"""Datagrams in native batches: what goes in comes out, in order, and what fails fails alone."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from gateway import speedups

if TYPE_CHECKING:
    from gateway._native import Batches

pytestmark = pytest.mark.skipif(bool(speedups.WHY_PURE), reason=speedups.WHY_PURE)

SIZE = 8


@dataclass
class To:
    """What a batch wants to know of a flow."""

    peer: tuple[str, int]


@pytest.fixture(params=["127.0.0.1", "::1"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as other:
        for sock in (one, other):
            try:
                sock.bind((request.param, 0))
            except OSError:
                pytest.skip(f"no {request.param} here")
            sock.settimeout(5)
        yield one, other


def batches(sock: socket.socket) -> Batches:
    made = speedups.batches(sock.fileno(), SIZE)
    assert made is not None
    return made


def test_a_batch_is_sent_in_order_and_cut_at_its_size(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    sending, to = batches(one), To(other.getsockname())
    batch = [(b"%d" % number, to) for number in range(SIZE + 2)]
    assert sending.send(batch, 0) == SIZE
    assert sending.send(batch, SIZE) == 2
    assert sending.send(batch, SIZE + 2) == 0
    assert [other.recv(100) for _ in batch] == [data for data, _ in batch]


def test_datagrams_come_with_the_address_that_recvfrom_gives(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    one, other = ends
    receiving = batches(other)
    longest = bytes(range(256)) * 200
    sent = [b"", b"\0", longest, *(b"%d" % number for number in range(SIZE))]
    for data in sent:
        one.sendto(data, other.getsockname())
    first, second = receiving.receive(), receiving.receive()
    assert len(first) == SIZE
    assert first + second == [(data, one.getsockname()) for data in sent]
    with pytest.raises(BlockingIOError):
        receiving.receive()
    assert receiving.lost == 0


@pytest.mark.parametrize("bad", [("192.0.2.999", 5060), ("example.com", 5060), ("::1%x", 5060)])
def test_what_cannot_be_sent_stops_the_batch_at_itself(
    ends: tuple[socket.socket, socket.socket], bad: tuple[str, int]
) -> None:
    one, other = ends
    sending, to = batches(one), To(other.getsockname())
    batch = [(b"1", to), (b"2", To(bad)), (b"3", to)]
    assert sending.send(batch, 0) == 1
    with pytest.raises(OSError):
        sending.send(batch, 1)
    assert sending.send(batch, 2) == 1
    assert [other.recv(100), other.recv(100)] == [b"1", b"3"]


def test_a_datagram_too_large_for_udp_fails_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    sending, to = batches(one), To(other.getsockname())
    batch = [(b"x" * 70_000, to), (b"after", to)]
    with pytest.raises(OSError) as caught:
        sending.send(batch, 0)
    assert caught.value.errno == errno.EMSGSIZE
    assert sending.send(batch, 1) == 1
    assert other.recv(100) == b"after"


def test_what_the_system_lost_is_counted(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    receiving = batches(other)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(100):
        one.sendto(b"x" * 1000, other.getsockname())
    taken = receiving.receive()
    one.sendto(b"later", other.getsockname())  # the count comes with what follows the loss
    while taken[-1][0] != b"later":
        taken += receiving.receive()
    assert len(taken) < 101
    assert len(taken) - 1 + receiving.lost == 100


@pytest.mark.parametrize("size", [0, 1025])
def test_a_batch_has_a_sound_size(size: int) -> None:
    with pytest.raises(ValueError, match="1 to 1024"):
        speedups.batches(-1, size)
