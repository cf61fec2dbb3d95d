"""What can be seen of calls over TLS, and copies for Homer that go over TCP, under load too."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from tests.e2e.peers import Gateway, Lab, Message
from tests.e2e.test_streams import Border
from tests.e2e.test_watching import (
    CORRELATION,
    ON_THE_WIRE,
    PAYLOAD,
    Watched,
    command,
    need,
    run,
    tshark,
    until,
)
from tests.tap.hep3 import Chunks, decode

pytestmark = pytest.mark.e2e

OVER_TLS = ["INVITE", "100", "180", "200", "ACK", "BYE", "200"]
SOURCE_PORT, DESTINATION_PORT, PROTOCOL = 7, 8, 2  # chunks of HEPv3
TCP = b"\x06"


class Homer:
    """A capture server on TCP: cuts the stream by the length in each packet, and hands the packets on."""

    def __init__(self, hand_on: Callable[[bytes], object] = lambda _packet: None) -> None:
        self.packets: list[bytes] = []
        self._hand_on = hand_on
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp:127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def copies(self) -> list[Chunks]:
        """What came so far, decoded."""
        return [decode(packet) for packet in self.packets]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the end of what the gateway sends, which must have stopped."""
        self._thread.join(30)
        self._server.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(6):
                packet = head + stream.read(int.from_bytes(head[4:], "big") - 6)
                self.packets.append(packet)
                self._hand_on(packet)


def names(payload: bytes) -> str:
    """The method or the status of a message."""
    first, second, _ = payload.split(b" ", 2)
    return (second if first == b"SIP/2.0" else first).decode()


def gateway_of(lab: Lab) -> Gateway:
    (gateway,) = [peer for peer in lab.peers if isinstance(peer, Gateway)]
    return gateway


def test_a_call_over_tls_is_seen_in_captures_ladders_and_copies(lab: Lab) -> None:
    """The TLS leg, which nobody can read on the wire, is shown as readable datagrams between its ends."""
    need("tshark")
    border = Border(lab)
    path, page = lab.folder / "out.pcap", lab.folder / "call.pcap"
    carrier = lab.carrier("uas_answered")
    with Homer() as homer:
        telemetry = f'[telemetry]\nhep = "{homer.url}"\n'
        border.start(lab.host, telemetry, console="127.0.0.1:0")
        gateway = gateway_of(lab)
        console = gateway.ready.partition("console=")[2].strip()
        words = ("--trunk", "carrier", "--seconds", "30", "--console", console)
        with command("capture", str(path), *words) as process:
            until(lambda: path.exists() and path.stat().st_size >= 24)
            caller = lab.caller("uac_answered").succeeds()
            carrier.succeeds()
            until(lambda: len(tls(homer)) == len(OVER_TLS))
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        call_id = caller.received()[-1].one("Call-ID")
        text = run("calls", "show", call_id, "--console", console)
        run("calls", "show", call_id, "--console", console, "--out", str(page))
        assert gateway.stop() == 0

    assert said == f"{len(OVER_TLS)} messages in {path}; interrupted\n"
    both = ("-d", f"udp.port=={border.gateway_tls_port},sip", "-d", f"udp.port=={lab.gateway_port},sip")
    checked = ("-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", *both)
    fields = ("sip.Method", "sip.Status-Code", "udp.srcport", "udp.dstport", "udp.checksum.status",
              "ip.checksum.status", "sip.Via.transport")  # fmt: skip
    rows = tshark(path, fields, *checked)
    assert [method or status for method, status, *_ in rows] == OVER_TLS
    ends = {border.gateway_tls_port, border.tls_port}
    assert all({int(source), int(destination)} == ends for _, _, source, destination, *_ in rows)
    assert {(udp, ip) for *_, udp, ip, _ in rows} == {("1", "1")}
    assert {via.partition(",")[0] for *_, via in rows} == {"TLS"}

    assert [text.count(f"─ {words} ") for words in ("INVITE", "180 Ringing", "ACK", "BYE")] == [2, 2, 2, 2], (
        text
    )
    assert len(tshark(page, ("sip.Call-ID",), *both)) == 2 * len(OVER_TLS)

    copies = tls(homer)
    assert [names(copy[PAYLOAD]) for copy in copies] == OVER_TLS
    assert {copy[CORRELATION].decode() for copy in copies} == {call_id}
    assert {port(copy, SOURCE_PORT) for copy in copies} | {
        port(copy, DESTINATION_PORT) for copy in copies
    } == ends


def tls(homer: Homer) -> list[Chunks]:
    """The copies of messages that went over TLS."""
    return [copy for copy in homer.copies() if copy[PROTOCOL] == TCP]


def port(copy: Chunks, kind: int) -> int:
    return int.from_bytes(copy[kind], "big")


def test_sngrep_takes_copies_that_came_over_tcp(lab: Lab) -> None:
    """sngrep listens on UDP alone, so each packet is cut from the stream and handed to it as it is."""
    need("sngrep")
    need("tshark")
    listening, path = lab.free_port(), lab.folder / "sngrep.pcap"
    words = ("sngrep", "-N", "-q", "-L", f"udp:127.0.0.1:{listening}", "-O", str(path))
    quiet = subprocess.DEVNULL
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay,
        subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet) as sngrep,
    ):
        try:
            until(lambda: f":{listening:04X} " in Path("/proc/net/udp").read_text())
            with Homer(lambda packet: relay.sendto(packet, ("127.0.0.1", listening))) as homer:
                watched = Watched.start(lab, homer.url)
                watched.call()
                until(lambda: len(homer.packets) == len(ON_THE_WIRE))
                assert watched.gateway.stop() == 0
            until(lambda: waiting(listening) == 0)
            time.sleep(1)  # as it takes them to its file some time after it has read them
        finally:
            sngrep.send_signal(signal.SIGINT)
            sngrep.wait(20)
    rows = tshark(path, ("sip.Method", "sip.Status-Code"), "-d", f"udp.port=={lab.gateway_port},sip")
    assert [method or status for method, status in rows] == ON_THE_WIRE


def waiting(port: int) -> int:
    """Bytes that the owner of a UDP port has not read."""
    lines = Path("/proc/net/udp").read_text().splitlines()
    (line,) = [line.split() for line in lines if f":{port:04X}" in line.split()[1]]
    return int(line[4].partition(":")[2], 16)


def test_copies_over_tcp_are_all_that_was_on_the_wire_under_load(lab: Lab) -> None:
    """Each message that either end has sent or received is in Homer, with its call's id; and nothing else."""
    calls = 400
    with Homer() as homer:
        watched = Watched.start(lab, homer.url)
        carrier = lab.carrier("-sn uas", calls=calls, limit=60)
        caller = lab.caller("-sn uac", calls=calls, rate=100, limit=60, extra=("-d", "50")).succeeds()
        carrier.succeeds()
        assert watched.gateway.stop() == 0
    copies = homer.copies()
    shown = {told(Message.read(copy[PAYLOAD].decode())) for copy in copies}
    seen = {
        told(message)
        for peer in (caller, carrier)
        for message in (*peer.sent(), *peer.received())
    }  # fmt: skip
    assert seen == shown
    by_caller = {message.one("Call-ID") for message in caller.sent()}
    assert len(by_caller) == calls
    assert {copy[CORRELATION].decode() for copy in copies} == by_caller


def told(message: Message) -> tuple[str, ...]:
    """What tells a message from others, but not from its retransmission."""
    return (message.start, *map(message.one, ("Call-ID", "CSeq", "From", "To")))
