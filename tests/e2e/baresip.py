"""baresip, a softphone, as a process that a test steers: it calls, answers, transfers and subscribes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.peers import Lab, Peer, need

_MODULES = ("g711.so", "aubridge.so")
_APPLICATIONS = ("account.so", "contact.so", "ctrl_tcp.so", "menu.so", "presence.so")
_CONFIG = """\
sip_listen {at}
sip_trans_def udp
sip_verify_server yes
module_path /usr/lib/baresip/modules
ctrl_tcp_listen {host}:{control}
audio_source aubridge,sound
audio_player aubridge,sound
audio_alert aubridge,sound
rtp_ports 30000-39999
"""


class Baresip(Peer):
    """One phone with one account, whose requests all go to the gateway: over UDP to its usual port, or
    `over` "tcp" or "tls" to the port `at`. Over TLS the gateway has to show a certificate of `ca`.
    """

    def __init__(
        self,
        lab: Lab,
        name: str,
        port: int,
        contacts: Sequence[str] = (),
        *,
        over: str = "udp",
        at: int = 0,
        ca: Path | None = None,
    ) -> None:
        need("baresip")
        folder = lab.folder / name
        folder.mkdir()
        self.port = port
        self._events: list[dict[str, object]] = []
        self._unread: list[dict[str, object]] = []
        self._control = lab.free_port()
        self._host = lab.host
        config = _CONFIG.format(at=lab.at(port), host=lab.host, control=self._control)
        config += "".join(f"module {name}\n" for name in _MODULES)
        config += "".join(f"module_app {name}\n" for name in _APPLICATIONS)
        (folder / "config").write_text(config)
        if ca is not None:
            config += f"sip_cafile {ca}\n"
        gateway = lab.at(at or lab.gateway_port)
        account = (
            f'<sip:{name}@{gateway};transport={over}>;regint=0;outbound="sip:{gateway};transport={over}"\n'
        )
        (folder / "accounts").write_text(account)
        (folder / "contacts").write_text("".join(f"{line}\n" for line in contacts))
        super().__init__(name, ("baresip", "-s", "-f", str(folder)), lab.folder)
        lab.peers.append(self)
        lab.wait_bound(self, port)
        self._line = _connect(self._host, self._control)
        self._heard = b""

    def do(self, command: str, params: str = "") -> None:
        """Give it a command of its menu."""
        text = json.dumps({"command": command, "params": params}).encode()
        self._line.sendall(b"%d:%b," % (len(text), text))

    def waits_for(self, kind: str, limit: float = 15.0) -> dict[str, object]:
        """Read its events until one of this kind; the test fails when none comes."""
        return self._read_until("type", kind, limit)

    def says(self, command: str, limit: float = 15.0) -> str:
        """Give it a command and return what it prints."""
        self.do(command)
        return str(self._read_until("response", True, limit)["data"])

    def _read_until(self, key: str, value: object, limit: float) -> dict[str, object]:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            while self._unread:
                event = self._unread.pop(0)
                self._events.append(event)
                if event.get(key) == value:
                    return event
            self._unread = self._read(deadline)
        pytest.fail(f"{self.name} reported no {key} {value}, but {self._events}\n{self.evidence()}")

    def stop(self) -> int:
        """End it, its calls first."""
        self._line.close()
        return super().stop()

    def _read(self, deadline: float) -> list[dict[str, object]]:
        """The events that have come, netstrings of JSON."""
        self._line.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            self._heard += self._line.recv(65_536)
        except TimeoutError:
            return []
        events = []
        while b":" in self._heard:
            size, _, rest = self._heard.partition(b":")
            if len(rest) <= int(size):
                break
            events.append(json.loads(rest[: int(size)]))
            self._heard = rest[int(size) + 1 :]
        return events


def _connect(host: str, port: int) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection((host, port), 1)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
