"""What is written as a capture can be read again, by us and by tshark."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from gateway.captures.pcap import Datagram, datagrams
from gateway.captures.write import HEADER, packet
from gateway.wire import WireMessage

OPTIONS = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
MESSAGES = [
    WireMessage(1_700_000_000.25, "udp", ("192.0.2.1", 5060), ("192.0.2.2", 5080), OPTIONS),
    WireMessage(1_700_000_001.5, "tls", ("2001:db8::1", 5061), ("2001:db8::2", 40_000), OPTIONS + b"odd"),
    WireMessage(1_700_000_002.0, "tcp", ("192.0.2.1", 5060), ("192.0.2.2", 1), bytes(65_507)),
]


def written(folder: Path, messages: list[WireMessage]) -> Path:
    path = folder / "out.pcap"
    path.write_bytes(HEADER + b"".join(map(packet, messages)))
    return path


def test_messages_come_back_as_they_were_whatever_they_went_over(tmp_path: Path) -> None:
    assert list(datagrams(written(tmp_path, MESSAGES))) == [
        Datagram(message.at, message.source, message.destination, message.payload) for message in MESSAGES
    ]


def test_what_no_datagram_holds_is_cut_off(tmp_path: Path) -> None:
    (read,) = datagrams(written(tmp_path, [MESSAGES[2]._replace(payload=bytes(65_535))]))
    assert len(read.payload) == 65_507


@pytest.mark.parametrize("message", MESSAGES, ids=["ipv4", "ipv6", "long"])
def test_checksums_are_right(message: WireMessage) -> None:
    ip = packet(message)[16:]
    is_4 = ip[0] >> 4 == 4
    ends, udp = (ip[12:20], ip[20:]) if is_4 else (ip[8:40], ip[40:])
    if is_4:
        assert _sum(ip[:20]) == 0xFFFF
    assert _sum(ends + struct.pack(">IxxxB", len(udp), 17) + udp) == 0xFFFF


def _sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_tshark_reads_it_without_complaint(tmp_path: Path) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed (Debian: tshark)")
    fields = ("frame.time_epoch", "sip.Method", "sip.Call-ID", "ip.checksum.status", "udp.checksum.status")
    command = [
        "tshark",
        "-r",
        str(written(tmp_path, MESSAGES[:2])),
        "-T",
        "fields",
        "-d",
        "udp.port==5061,sip",
    ]
    command += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    for field in fields:
        command += ["-e", field]
    read = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert [line.split("\t") for line in read] == [
        ["1700000000.250000000", "OPTIONS", "1", "1", "1"],
        ["1700000001.500000000", "OPTIONS", "1", "", "1"],
    ]
