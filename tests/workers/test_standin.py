"""What the supervisor does with the sockets of a worker that is away."""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from gateway.transport.udp import open_socket
from gateway.workers.mesh import Inbox, Outboxes
from gateway.workers.notes import HandedOver, decode
from gateway.workers.seat import Listening
from gateway.workers.standin import StandIn

OPTIONS = b"OPTIONS sip:gw SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n\r\n"


@contextmanager
def standing_in() -> Iterator[tuple[socket.socket, selectors.BaseSelector, Inbox]]:
    """A socket that is read for the only worker, the selector that says when, and the worker's inbox."""
    inbox = Inbox.open()
    with open_socket("127.0.0.1", 0) as sock, selectors.DefaultSelector() as selector:
        stand_in = StandIn(selector, [Listening("udp", (sock,))], Outboxes(None, [inbox]))
        stand_in.begin([sock])
        yield sock, selector, inbox
        stand_in.end([sock])
    inbox.close()


def rounds(selector: selectors.BaseSelector) -> int:
    """How often there is something to do until there is nothing, at most 50 times."""
    for done in range(50):
        ready = selector.select(0.2)
        if not ready:
            return done
        for key, _ in ready:
            handle, sock = key.data
            handle(sock)
    return 50


def test_datagrams_go_to_their_owner() -> None:
    with standing_in() as (sock, selector, inbox), socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.sendto(OPTIONS, sock.getsockname())
        assert rounds(selector) == 1
        note = decode(inbox.reading.recv(65_536))
        assert isinstance(note, HandedOver)
        assert [data for _, messages in note.messages for data in messages] == [OPTIONS]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep no queue of errors")
def test_errors_of_what_the_worker_sent_do_not_keep_the_supervisor_busy() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = gone.getsockname()
    with standing_in() as (sock, selector, inbox), socket.socket(type=socket.SOCK_DGRAM) as peer:
        for _ in range(10):
            with suppress(ConnectionRefusedError):  # the news of the one before
                sock.sendto(OPTIONS, nobody)
        assert 1 <= rounds(selector) < 50
        peer.sendto(OPTIONS, sock.getsockname())
        assert rounds(selector) == 1
        assert isinstance(decode(inbox.reading.recv(65_536)), HandedOver)
