"""Each datagram to the socket of the worker that owns it, chosen by the system as it arrives.

Sockets that share an address (SO_REUSEPORT) may have a program that says which of them is to have a datagram,
by its number in the order in which they were bound: a classic BPF program (SO_ATTACH_REUSEPORT_CBPF), which
needs no privileges. Ours finds the Call-ID and computes what :func:`~gateway.workers.ownership.owner_of`
does. Sockets stay bound while the supervisor lives, so their numbers are those of the workers for good.

What the program says is a hint, and every worker still looks for itself. It reads the plain spelling of the
header, near enough to the start of the message, and no Call-ID beyond a certain length; for everything else
the system chooses by the addresses of both ends, as it does without a program. Where the system takes none,
that is so for all.

Such programs are straight: they have no loops, and jump forward only, so every step stands there as often as
it may be taken. They see the datagram without its headers; one that reads past the end says 0.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from .ownership import FIRST, HASH_MODULUS

log = logging.getLogger("gateway")

_SO_ATTACH_REUSEPORT_CBPF = 51  # the socket module has no name for it
_INSTRUCTION = struct.Struct("=HBBI")  # what it does; instructions to skip if true, if false; a constant
_PROGRAM = struct.Struct("@HP")  # struct sock_fprog: instructions, and where they are

# A is what is computed with, X where it is looked, M memory of the program, # a constant.
_LEN, _WORD, _WORD_X, _BYTE_X = 0x80, 0x20, 0x40, 0x50  # A = length, word at #, word and byte at X + #
_SET_A, _SET_X, _GET_A, _GET_X, _PUT_A, _PUT_X = 0x00, 0x01, 0x60, 0x61, 0x02, 0x03  # = #, = M[#], M[#] =
_ADD, _ADD_X, _MUL, _MOD, _SHL, _SHR = 0x04, 0x0C, 0x24, 0x94, 0x64, 0x74  # A = A op # (or X)
_TO_X, _TO_A = 0x07, 0x87  # X = A, A = X
_GO, _IF_EQ, _IF_GE = 0x05, 0x15, 0x35  # skip #; compare A with #
_SAY, _SAY_A = 0x06, 0x16  # end with #, with A

_ANYBODY = 0xFFFF_FFFF
"""No socket has this number: the system chooses by the addresses."""
_MARK = b"\nCall-ID: "
WORDS = [int.from_bytes(_MARK[at : at + 4], "big") for at in range(len(_MARK) - 3)]
_STRIDE = len(WORDS)  # bytes from one word that is looked at to the next: one of them lies in the mark
BACK = 1_200_651, 29  # found by trying: WORDS[at] * 1,200,651 >> 29 == 6 - at, in 32 bits
_BEGIN = 22  # the first word that is looked at; no start line is shorter
_GUARDED = 4  # words, after which the length of the message is asked for anew
_BASE, _SUM, _SUMS = 0, 1, 2  # places in M: of the Call-ID, of the two sums of Adler-32
_ADLER = 65_521


class Reach(NamedTuple):
    """How far a program looks: for the Call-ID in groups of so many words, and along it in bytes up to "@".

    What merely looked like the header costs the rest of its group.
    """

    groups: int
    words: int
    call_id: int

    @property
    def depth(self) -> int:
        """Bytes at the start of a message in which the header is found."""
        return _BEGIN + self.groups * self.words * _STRIDE


REACHES = (Reach(50, 4, 48), Reach(4, 18, 36), Reach(1, 16, 36))
"""1,422, 526 and 134 bytes. Until Linux 6.9 the system takes programs of about 2,500 instructions of
its own (``net.core.optmem_max``), several for each of ours.
"""


class _Program:
    """Instructions, and jumps to places further on that have a name."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int]] = []
        self._leaving: dict[str, list[int]] = {}

    def add(self, code: int, constant: int = 0, then: int = 0, otherwise: int = 0) -> None:
        """Put an instruction at the end; ``then`` and ``otherwise`` are how many a comparison skips."""
        self._rows.append((code, then, otherwise, constant))

    def leave(self, place: str) -> None:
        """Jump to a place."""
        self._leaving.setdefault(place, []).append(len(self._rows))
        self.add(_GO)

    def land(self, place: str) -> None:
        """Be the place that all jumps to this name lead to."""
        for at in self._leaving.pop(place):
            self._rows[at] = (_GO, 0, 0, len(self._rows) - at - 1)

    def packed(self) -> bytes:
        """Return it as an array of ``struct sock_filter``."""
        return b"".join(_INSTRUCTION.pack(*row) for row in self._rows)


def program(workers: int, reach: Reach) -> bytes:
    """Return the program for so many workers, as the system wants it."""
    made = _Program()
    made.add(_LEN)
    made.add(_IF_GE, _BEGIN, then=1)
    made.add(_SAY, _ANYBODY)
    made.add(_WORD, 0)
    made.add(_IF_EQ, int.from_bytes(b"REGI", "big"), otherwise=1)
    made.add(_SAY, FIRST)
    for group in range(reach.groups):
        _find_mark(made, _BEGIN + group * reach.words * _STRIDE, reach.words)
    made.add(_SAY, _ANYBODY)
    made.land("found")
    _hash(made, reach.call_id)
    made.add(_MOD, workers)
    made.add(_SAY_A)
    return made.packed()


def _find_mark(made: _Program, begin: int, words: int) -> None:
    """Look for the mark by one group of words; where it is, X is what stands behind it."""
    for number in range(words):
        at = begin + number * _STRIDE
        if number % _GUARDED == 0:
            made.add(_LEN)
            made.add(_IF_GE, at + (_GUARDED - 1) * _STRIDE + 4, then=1)
            made.add(_SAY, _ANYBODY)
        made.add(_WORD, at)
        for more, word in zip(range(_STRIDE - 1, -1, -1), WORDS, strict=True):
            made.add(_IF_EQ, word, then=more, otherwise=0 if more else 2)
        made.add(_SET_X, at - (_STRIDE - 1))
        made.leave("word")
    made.leave("next group")
    made.land("word")
    multiplier, shift = BACK
    made.add(_MUL, multiplier)
    made.add(_SHR, shift)
    made.add(_ADD_X)
    made.add(_TO_X)  # where the mark begins, if this is one
    for at in (0, 4, len(_MARK) - 4):
        made.add(_WORD_X, at)
        made.add(_IF_EQ, WORDS[at], then=1)
        made.leave("next group")
    made.add(_TO_A)
    made.add(_ADD, len(_MARK))
    made.add(_TO_X)
    made.leave("found")
    made.land("next group")


def _hash(made: _Program, longest: int) -> None:
    """Make A the hash of what stands at X up to an "@" or the end of the line."""
    made.add(_PUT_X, _BASE)
    made.add(_SET_A, 1)
    made.add(_PUT_A, _SUM)
    made.add(_SET_A, 0)
    made.add(_PUT_A, _SUMS)
    for at in range(longest + 1):
        made.add(_GET_X, _BASE)
        made.add(_BYTE_X, at)
        made.add(_IF_EQ, ord("@"), then=1)
        made.add(_IF_EQ, ord("\r"), otherwise=1)
        made.leave("hashed")
        made.add(_TO_X)
        made.add(_GET_A, _SUM)
        made.add(_ADD_X)
        made.add(_PUT_A, _SUM)
        made.add(_TO_X)
        made.add(_GET_A, _SUMS)
        made.add(_ADD_X)
        made.add(_PUT_A, _SUMS)
    made.add(_SAY, _ANYBODY)
    made.land("hashed")
    made.add(_GET_A, _SUMS)
    made.add(_MOD, _ADLER)
    made.add(_SHL, 16)
    made.add(_GET_X, _SUM)
    made.add(_ADD_X)
    made.add(_MOD, HASH_MODULUS)


def steer(socks: Sequence[socket.socket]) -> Reach | None:
    """Have each datagram go to the socket of its owner; ``socks`` are all that are bound to one address, in
    the order of the workers. Return how far the system's program looks; None where it takes none.
    """
    for reach in REACHES:
        code = array("B", program(len(socks), reach))
        at, size = code.buffer_info()
        try:
            option = _PROGRAM.pack(size // _INSTRUCTION.size, at)
            socks[0].setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, option)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                break  # there is no such option
        else:
            return reach
    log.info("the system gives messages to any worker, which hands them to their owners")
    return None
