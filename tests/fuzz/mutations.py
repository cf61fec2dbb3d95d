"""Damage to messages, as hostile or broken peers, and broken networks, do it.

Every mutation takes the bytes of a message and gives other bytes; `mutate` applies one or more of them. All
randomness comes from the `Random` that is passed in, so that a seed tells the whole story.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

SCRAPS = (
    b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\n ", b"\x00", b'"', b"<", b">", b";", b",", b":", b"\\", b" ",
    b"\t",
    b"=", b"%", b"%00", b"@", b"[", b"]", b"[::", b"\xff\xfe", b"\xc3\xa9", b"*", b"?", b"sip:", b";tag=",
    b";lr",
    b"\r\nVia: ", b"\r\nl: 5\r\n", b"\r\nTo: x\r\n", b"\r\nRequire: 100rel",
    b"\r\nRecord-Route: <sip:h;lr>,<",
    b"\r\nContact: *", b"\r\nRAck: 1 1", b"\r\nProxy-Require: x", b"\r\nReason: Q.850;cause=1",
    b'\r\nReason: SIP;cause=603;text="v=analytics1;url=https://a"', b"\r\nRetry-After: 99999999999",
)  # fmt: skip
NUMBERS = (
    b"0", b"-1", b"00", b"255", b"256", b"65535", b"65536", b"2147483647", b"2147483648", b"4294967296",
    b"99999999999999999999999999", b"9" * 400, b"1e9", b"0x10", b"\xd9\xa1", b"1_000",
)  # fmt: skip
VALUES = (
    b"", b" ", b",", b";", b"*", b"<>", b"<sip:>", b"sip:", b"sip:@", b"sip:a@", b"<sip:a@b", b'"', b'"\\',
    b'"" <sip:a@b>',
    b"sip:a@[::1]", b"sip:a@[::1", b"sip:a@b:99999", b"<tel:+1;phone-context=x>", b"<sip:a@b;lr>, <sip:c@d>",
    b"\xff\xff", b"\x00", b"a" * 9000, b"," * 300, b";x" * 300, b'"' * 301, b"<" * 300, b"\\" * 301,
    b"SIP/2.0/UDP", b"SIP/2.0/UDP h;branch=", b"SIP/2.0/UDP h;branch=z9hG4bK",
    b"SIP/2.0/UDP [::1]:5060;branch=z9hG4bK1",
    b"SIP/2.0/UDP 192.0.2.2:0;branch=z9hG4bKzero;rport=x;received=::",
    b"SIP / 2.0 / TCP h : 1 ; branch = z9hG4bKx",
    b"1 INVITE", b"1 BYE", b"1 1 INVITE", b"2147483647 INVITE",
)  # fmt: skip
NAMES = (
    b"Via", b"v", b"From", b"f", b"To", b"t", b"Call-ID", b"i", b"CSeq", b"Contact", b"m", b"Max-Forwards",
    b"Route",
    b"Record-Route", b"Content-Length", b"l", b"RAck", b"RSeq", b"Require", b"Proxy-Require", b"Reason",
    b"Retry-After",
    b"Timestamp", b"Warning", b"P-Asserted-Identity", b"Privacy", b"Date", b"X-Any", b"", b"\xff", b"a b",
)  # fmt: skip


def flip(data: bytes, random: Random) -> bytes:
    """Change some octets."""
    octets = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        if octets:
            octets[random.randrange(len(octets))] = random.randrange(256)
    return bytes(octets)


def flip_bit(data: bytes, random: Random) -> bytes:
    """Change one bit."""
    octets = bytearray(data)
    if octets:
        octets[random.randrange(len(octets))] ^= 1 << random.randrange(8)
    return bytes(octets)


def insert(data: bytes, random: Random) -> bytes:
    """Put something in."""
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(SCRAPS) + data[at:]


def cut(data: bytes, random: Random) -> bytes:
    """Take something out."""
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice((1, 2, 5, 20, 100)) :]


def truncate(data: bytes, random: Random) -> bytes:
    """Lose the end."""
    return data[: random.randrange(len(data) + 1)]


def number(data: bytes, random: Random) -> bytes:
    """Put an absurd number where a number is."""
    digits = [at for at, octet in enumerate(data) if 48 <= octet <= 57]
    if not digits:
        return data
    at = end = random.choice(digits)
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    return data[:at] + random.choice(NUMBERS) + data[end:]


def _with_lines(change: Callable[[list[bytes], Random], None]) -> Callable[[bytes, Random], bytes]:
    """Make a mutation of the message out of a change of its header lines."""

    def mutation(data: bytes, random: Random) -> bytes:
        head, blank, body = data.partition(b"\r\n\r\n")
        start, *lines = head.split(b"\r\n")
        if lines:
            change(lines, random)
        return b"\r\n".join([start, *lines]) + blank + body

    return mutation


def _drop_line(lines: list[bytes], random: Random) -> None:
    del lines[random.randrange(len(lines))]


def _double_line(lines: list[bytes], random: Random) -> None:
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))


def _shuffle_lines(lines: list[bytes], random: Random) -> None:
    random.shuffle(lines)


def _spoil_value(lines: list[bytes], random: Random) -> None:
    at = random.randrange(len(lines))
    lines[at] = lines[at].partition(b":")[0] + b": " + random.choice(VALUES)


def _rename(lines: list[bytes], random: Random) -> None:
    at = random.randrange(len(lines))
    lines[at] = random.choice(NAMES) + b":" + lines[at].partition(b":")[2]


def _add_line(lines: list[bytes], random: Random) -> None:
    line = random.choice(NAMES) + b": " + random.choice(VALUES)
    lines.insert(random.randrange(len(lines) + 1), line)


def _fold(lines: list[bytes], random: Random) -> None:
    at = random.randrange(len(lines))
    lines[at] = lines[at].replace(b" ", random.choice((b"\r\n ", b"\r\n\t", b" \r\n   ", b"\n ")))


def _many_lines(lines: list[bytes], random: Random) -> None:
    lines.extend([random.choice(lines)] * random.choice((10, 240, 300)))


def bare_lf(data: bytes, _random: Random) -> bytes:
    """End lines by LF alone."""
    return data.replace(b"\r\n", b"\n")


def nothing(data: bytes, _random: Random) -> bytes:
    """Leave the message as it is: a repetition."""
    return data


MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (
    flip, flip, flip_bit, insert, insert, cut, truncate, number, number, bare_lf, nothing,
    *map(
        _with_lines,
        (
            _drop_line, _double_line, _shuffle_lines, _spoil_value, _spoil_value, _rename, _add_line,
            _fold, _many_lines,
        ),
    ),
)  # fmt: skip


def mutate(data: bytes, random: Random) -> bytes:
    """Apply one mutation, sometimes several."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        data = random.choice(MUTATIONS)(data, random)
    return data[:65_535]


def splice(first: bytes, second: bytes, random: Random) -> bytes:
    """Join the beginning of one message and the end of another, at line ends as often as anywhere."""
    if random.random() < 0.5:
        head, tail = first.split(b"\r\n"), second.split(b"\r\n")
        lines = head[: random.randrange(len(head) + 1)] + tail[random.randrange(len(tail) + 1) :]
        return b"\r\n".join(lines)
    return first[: random.randrange(len(first) + 1)] + second[random.randrange(len(second) + 1) :]
