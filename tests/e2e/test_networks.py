"""The gateway between two networks: a machine of its own, made of a network namespace, with a leg in each."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.sip.message import Request, Response, parse
from tests.e2e.peers import Gateway, need
from tests.transport.station import reply, request

pytestmark = pytest.mark.e2e

INSIDE, OUTSIDE, PBX, CARRIER = "10.213.0.1", "10.214.0.1", "10.213.0.2", "10.214.0.2"
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET; the os module has no setns before Python 3.12

CONFIG = f"""
[gateway]
listen = ["udp:{INSIDE}:5060", "udp:{OUTSIDE}:5060"]
drain = "0s"
[console]
listen = ""
[ledger]
url = ""
[[trunk]]
name = "pbx"
kind = "pbx"
source = ["{PBX}"]
target = ["sip:{PBX}:5060"]
[[trunk]]
name = "carrier"
kind = "carrier"
source = ["{CARRIER}"]
target = ["sip:{CARRIER}:5060"]
[[route]]
from = ["pbx"]
to = ["carrier"]
[[route]]
from = ["carrier"]
to = ["pbx"]
"""


def ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True, text=True)


class Hosts:
    """Three hosts: the PBX, the gateway with an interface to each of the others, and the carrier."""

    def __init__(self, mark: str) -> None:
        self.pbx, self.gateway, self.carrier = (f"{mark}-{name}" for name in ("pbx", "gw", "carrier"))
        self._made: list[str] = []

    def make(self) -> None:
        for name in (self.pbx, self.gateway, self.carrier):
            ip("netns", "add", name)
            self._made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        self._join(self.pbx, PBX, "inside", INSIDE)
        self._join(self.carrier, CARRIER, "outside", OUTSIDE)

    def _join(self, host: str, address: str, interface: str, ours: str) -> None:
        peer = ("peer", "name", "e0", "netns", host)
        ip("-n", self.gateway, "link", "add", interface, "type", "veth", *peer)
        for name, device, own in ((self.gateway, interface, ours), (host, "e0", address)):
            ip("-n", name, "addr", "add", f"{own}/24", "dev", device)
            ip("-n", name, "link", "set", device, "up")

    def remove(self) -> None:
        for name in self._made:
            ip("netns", "delete", name)

    def udp(self, host: str, address: str) -> socket.socket:
        """A socket of a host, at SIP's port: a thread that goes there for good opens it."""
        made: list[socket.socket] = []

        def open_there() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path("/run/netns", host).open("rb") as namespace:
                if libc.setns(namespace.fileno(), _NEW_NETWORK):
                    return
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

        thread = threading.Thread(target=open_there)
        thread.start()
        thread.join()
        (sock,) = made
        sock.settimeout(10)
        sock.bind((address, 5060))
        return sock


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    need("ip")
    made = Hosts(f"gw{os.getpid()}")
    try:
        try:
            made.make()
        except subprocess.CalledProcessError as refusal:
            pytest.skip(f"network namespaces cannot be made here: {refusal.stderr.strip()}")
        yield made
    finally:
        made.remove()


@contextlib.contextmanager
def gateway_on(host: str, folder: Path) -> Iterator[None]:
    config = folder / "gateway.toml"
    config.write_text(CONFIG)
    gateway = Gateway(folder, ("--config", str(config)), within=("ip", "netns", "exec", host))
    try:
        gateway.wait_ready()
        yield
    finally:
        gateway.stop()


@pytest.mark.parametrize("caller_is_inside", [True, False], ids=["from inside", "from outside"])
def test_each_leg_leaves_from_the_address_in_its_own_network(
    hosts: Hosts, tmp_path: Path, caller_is_inside: bool
) -> None:
    here, there = (hosts.pbx, PBX, INSIDE), (hosts.carrier, CARRIER, OUTSIDE)
    (caller, source, near), (callee, target, far) = (here, there) if caller_is_inside else (there, here)
    with (
        hosts.udp(caller, source) as calls,
        hosts.udp(callee, target) as answers,
        gateway_on(hosts.gateway, tmp_path),
    ):
        invite = request("INVITE", f"sip:1001@{near}", f"{source}:5060", transport="UDP", call="one")
        calls.sendto(invite, (near, 5060))
        data, came_from = answers.recvfrom(65_535)
        asked = parse(data)
        assert isinstance(asked, Request)
        assert came_from == (far, 5060)
        assert asked.need(b"Via").startswith(f"SIP/2.0/UDP {far}:5060;".encode())
        assert asked.need(b"Contact") == f"<sip:{far}:5060>".encode()
        answers.sendto(reply(asked, 200, contact=f"sip:b@{target}:5060"), came_from)
        statuses = []
        while statuses[-1:] != [200]:
            data, came_from = calls.recvfrom(65_535)
            answer = parse(data)
            assert isinstance(answer, Response)
            statuses.append(answer.status)
            assert came_from == (near, 5060)
        assert answer.need(b"Contact") == f"<sip:{near}:5060>".encode()
