"""A service manager hears that a gateway serves, lives and ends: from itself and nobody else."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gateway.service_manager import ServiceManager
from tests.ledger.victim import ROOT

LIMIT = 30.0  # seconds that a gateway may take for anything
UNIT = ROOT / "deploy" / "sip-truth-gateway.service"


class Manager:
    """What systemd is to a service: a socket, and who it was that wrote to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.settimeout(LIMIT)

    def hears(self) -> tuple[list[str], int]:
        """Return the next message's lines, and the process that they come from."""
        size = struct.calcsize("3i")
        data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(size))
        return data.decode().splitlines(), struct.unpack("3i", ancillary[0][2][:size])[0]

    def is_told_nothing(self) -> bool:
        """Whether nothing is there to be heard."""
        self._socket.setblocking(False)
        try:
            self._socket.recv(1)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(LIMIT)
        return False

    def close(self) -> None:
        self._socket.close()


Made = Callable[..., ServiceManager]


@pytest.fixture
def told() -> Iterator[Made]:
    """Makes what tells the manager that an environment names."""
    with ExitStack() as made:
        yield lambda **environment: made.enter_context(closing(ServiceManager.of(environment)))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    place = Manager(str(tmp_path / "notify"))
    yield place
    place.close()


def test_beats_are_sent_three_times_as_often_as_the_manager_asks_for(manager: Manager, told: Made) -> None:
    ours = told(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="30000000")
    ours.beat(5.0)
    assert manager.is_told_nothing()  # before we serve, it waits for that alone
    ours.say_ready("ready sip=udp:192.0.2.1:5060", 100.0)
    assert manager.hears()[0] == ["READY=1", "STATUS=ready sip=udp:192.0.2.1:5060"]
    ours.beat(109.9)
    assert manager.is_told_nothing()
    assert ours.due == 110.0
    ours.beat(110.0)
    assert manager.hears()[0] == ["WATCHDOG=1"]
    ours.beat(119.9)
    assert manager.is_told_nothing()
    ours.say_stopping()
    assert manager.hears()[0] == ["STOPPING=1", "STATUS=draining"]


@pytest.mark.parametrize(
    "watchdog",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
    ],
    ids=["none", "zero", "no number", "another's"],
)
def test_nothing_beats_where_no_beat_is_asked_for(
    manager: Manager, told: Made, watchdog: dict[str, str]
) -> None:
    ours = told(NOTIFY_SOCKET=manager.address, **watchdog)
    ours.say_ready("ready", 0.0)
    manager.hears()
    ours.beat(1e9)
    assert manager.is_told_nothing()


def test_a_watchdog_that_names_our_process_is_ours(manager: Manager, told: Made) -> None:
    asked = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    ours = told(NOTIFY_SOCKET=manager.address, **asked)
    ours.say_ready("ready", 0.0)
    assert ours.due == 1.0


def test_a_socket_may_have_a_name_without_a_file(told: Made) -> None:
    manager = Manager(f"@gateway-test-{os.getpid()}")
    told(NOTIFY_SOCKET=manager.address).say_ready("ready", 0.0)
    assert manager.hears()[0] == ["READY=1", "STATUS=ready"]
    manager.close()


def test_processes_that_we_start_find_nobody_to_tell(manager: Manager) -> None:
    environment = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "LANG": "C",
    }
    ServiceManager.of(environment).close()
    assert environment == {"LANG": "C"}


@pytest.mark.parametrize("place", ["", "vsock:2:1234", "notify", "/nowhere/at/all"])
def test_who_cannot_be_told_is_not_told(told: Made, place: str) -> None:
    ours = told(NOTIFY_SOCKET=place, WATCHDOG_USEC="3")
    ours.say_ready("ready", 0.0)
    ours.beat(1.0)
    ours.say_stopping()


def test_a_manager_that_does_not_listen_is_not_waited_for(manager: Manager, told: Made) -> None:
    ours = told(NOTIFY_SOCKET=manager.address)
    for _ in range(10_000):  # far more than a socket holds
        ours.say_stopping()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateway_says_that_it_serves_lives_and_ends(manager: Manager, tmp_path: Path, workers: int) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        f'[gateway]\nlisten = ["udp:127.0.0.1:0"]\nworkers = {workers}\n[console]\nlisten = ""\n'
        f'[ledger]\nurl = "sqlite:///{tmp_path / "l.db"}"\n'
        '[[trunk]]\nname = "pbx"\nkind = "pbx"\nsource = ["127.0.0.1"]\ntarget = ["sip:127.0.0.1"]\n'
    )
    asked = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "300000", "PYTHONPATH": str(ROOT)}
    gateway = subprocess.Popen(
        [sys.executable, "-m", "gateway", "run", "--config", str(config)],
        cwd=tmp_path,
        env=os.environ | asked,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        lines, pid = manager.hears()
        assert gateway.stdout is not None
        ready = gateway.stdout.readline().rstrip("\n")
        assert ready.startswith("ready ")
        assert (lines, pid) == (["READY=1", f"STATUS={ready}"], gateway.pid)
        for _ in range(3):
            assert manager.hears() == (["WATCHDOG=1"], gateway.pid)
        gateway.send_signal(signal.SIGTERM)
        heard = []
        while "STOPPING=1" not in heard:
            heard, pid = manager.hears()
            assert pid == gateway.pid
        assert gateway.wait(LIMIT) == 0
    finally:
        gateway.kill()
        gateway.communicate()


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/gateway/bin/gateway", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
    verdict = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (verdict.returncode, verdict.stderr) == (0, "")
