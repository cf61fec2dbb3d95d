"""The system's program gives each datagram to the socket of the worker that owns it; real sockets prove it.

What the program does not read arrives all the same, at some socket: the worker there hands it over.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.transport.udp import open_socket
from gateway.workers import steering
from gateway.workers.ownership import owner_of
from gateway.workers.steering import Reach, steer

WORKERS = 5
FULL, SMALLEST = steering.REACHES[0], steering.REACHES[-1]
CALL_ID = st.text("0123456789abcdefABCDEF-._~!$&'*+", min_size=1, max_size=36)


class Group:
    """Sockets that share an address, one a worker, and a peer."""

    def __init__(self, host: str = "127.0.0.1", workers: int = WORKERS) -> None:
        with open_socket(host, 0) as probe:
            self.address = probe.getsockname()
        self.socks = [open_socket(host, self.address[1], shared=True) for _ in range(workers)]
        self.peer = open_socket(host, 0)

    def receiver(self, data: bytes) -> int:
        """Send a datagram from the peer, and return the number of the one socket that it came to."""
        self.peer.sendto(data, self.address)
        found = []
        for number, sock in enumerate(self.socks):
            with contextlib.suppress(BlockingIOError):
                assert sock.recv(65_535) == data
                found.append(number)
        assert len(found) == 1, "each datagram arrives, once"
        return found[0]

    def close(self) -> None:
        for sock in (*self.socks, self.peer):
            sock.close()


@pytest.fixture(scope="module", params=["127.0.0.1", "::1"])
def steered(request: pytest.FixtureRequest) -> Iterator[Group]:
    """Sockets with the program, over IPv4 and IPv6."""
    try:
        group = Group(request.param)
    except OSError:
        pytest.skip(f"{request.param} is not there")
    if steer(group.socks) is None:
        pytest.skip("this system takes no program")
    yield group
    group.close()


def message(call_id: str, before: str = "", start: str = "INVITE sip:+49301@gw SIP/2.0") -> bytes:
    """A message whose Call-ID stands behind other headers."""
    via = "Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\n"
    after = "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    return f"{start}\r\n{via}{before}Call-ID: {call_id}\r\n{after}".encode()


def test_the_constants_by_which_the_header_is_found_fit_together() -> None:
    multiplier, shift = steering.BACK
    found = [word * multiplier % 2**32 >> shift for word in steering.WORDS]
    assert found == [len(steering.WORDS) - 1 - at for at in range(len(steering.WORDS))]


@settings(deadline=None, max_examples=200)
@given(CALL_ID, st.sampled_from(["", "@host", "@192.0.2.2"]), st.integers(0, 1_250))
@example("1", "@", 0)
@example("a" * 48, "", 0)
def test_a_message_comes_to_its_owner_wherever_the_call_id_stands(
    steered: Group, call_id: str, host: str, padding: int
) -> None:
    data = message(call_id + host, f"Subject: {'s' * padding}\r\n")
    assert steered.receiver(data) == owner_of(data, WORKERS)


@pytest.mark.parametrize(
    "start", ["SIP/2.0 180 Ringing", "SIP/2.0 200 OK", "BYE sip:gw SIP/2.0", "ACK sip:x SIP/2.0"]
)
def test_all_that_is_said_in_a_call_comes_to_one_worker(steered: Group, start: str) -> None:
    for number in range(20):
        call_id = f"{number}-4711@192.0.2.2"
        assert steered.receiver(message(call_id, start=start)) == owner_of(message(call_id), WORKERS)


@pytest.mark.parametrize(
    "header",
    ["Session-ID: ab30317f1a784dc48ff824d0d3715d86", "X-Call-ID: other@host", "Subject: Call-ID: other@host",
     "Call-Info: <http://www.example.com/alice/photo.jpg>", "Subject: \nCall me",
     "ID: \nCall-ID:\nCall-IDs: x"],
)  # fmt: skip
@pytest.mark.parametrize("padding", range(7))
def test_what_merely_looks_like_the_header_does_not_mislead(
    steered: Group, header: str, padding: int
) -> None:
    for number in range(5):
        data = message(f"{number}@host", f"{header}\r\nSubject: {'s' * (28 + padding)}\r\n")
        assert steered.receiver(data) == owner_of(data, WORKERS)


def test_a_register_comes_to_the_first_worker(steered: Group) -> None:
    for number in range(20):
        assert steered.receiver(message(f"{number}@host", start="REGISTER sip:gw SIP/2.0")) == 0


def test_what_is_not_read_comes_to_where_its_addresses_lead(steered: Group) -> None:
    """So all of one peer comes to one worker, in order, and that one hands it over."""
    odd = [
        *(message(f"{number}@host").replace(b"Call-ID", b"i") for number in range(10)),
        *(message(f"{number}" + "a" * 48) for number in range(10)),
        *(message(f"{number}@host", "s" * FULL.depth) for number in range(10)),
    ]
    assert len({steered.receiver(data) for data in odd}) == 1


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 200), st.integers(0, 60))
@example(b"\r\n\r\n", 0, 0)
def test_hostile_bytes_come_to_one_worker(steered: Group, noise: bytes, at: int, cut: int) -> None:
    plain = message("one@host")
    for data in (noise or b"\0", plain[:at] + noise + plain[at + cut :]):
        steered.receiver(data)


@pytest.mark.parametrize("reach", steering.REACHES, ids=str)
def test_a_shorter_program_reads_what_is_near(monkeypatch: pytest.MonkeyPatch, reach: Reach) -> None:
    """Systems that take no long program take one of these."""
    monkeypatch.setattr(steering, "REACHES", (reach,))
    group = Group()
    if steer(group.socks) is None:
        pytest.skip("this system takes no program")
    for number in range(40):
        data = message(f"{number}-{os.urandom(8).hex()}@host")
        assert group.receiver(data) == owner_of(data, WORKERS)
    group.close()


def test_numbers_stay_those_of_the_workers_while_one_process_still_has_each_socket() -> None:
    """A worker that dies closes its sockets, as the others close those that are not theirs; the supervisor
    keeps them all.
    """
    group = Group()
    if steer(group.socks) is None:
        pytest.skip("this system takes no program")
    pid = os.fork()
    if pid == 0:
        for sock in group.socks:
            sock.close()
        os._exit(0)
    os.waitpid(pid, 0)
    for number in range(40):
        data = message(f"{number}@host")
        assert group.receiver(data) == owner_of(data, WORKERS)
    group.close()


def test_sockets_that_cannot_be_steered_are_left_as_they_are() -> None:
    with open_socket("127.0.0.1", 0) as alone:
        assert steer([alone]) is None
