"""Reads the corpus of final responses, ``tests/corpus/finals``; its README says what the columns mean."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from gateway.sip.message import Request

FOLDER = Path(__file__).parent.parent / "corpus" / "finals"
_KEYWORD = re.compile(rb"\[last_([A-Za-z-]+):\]")
# What each leg writes anew, compact forms too, and the Reason, which has columns of its own.
_NOT_COMPARED = re.compile(
    rb"(Via|From|To|Call-ID|CSeq|Content-Length|Reason|v|f|t|i|l)[ \t]*:|\[last_", re.IGNORECASE
)
_REASON = re.compile(rb"Reason[ \t]*:", re.IGNORECASE)


@dataclass(frozen=True)
class Final:
    """One row of the table, with the bytes of its file. A column that is None says: as in the file."""

    file: str
    what: str
    why: str
    answers: str = "carrier"
    rang: bool = False
    knows: bool = False
    outcome: str = "passes"
    counted: str = ""
    told: str | None = None
    reason: list[str] | None = None
    guard: str = ""
    shipped: str | None = None
    shipped_reason: list[str] | None = None
    by: str = ""
    near_miss: bool = False
    loses: list[str] = field(default_factory=list)
    body: str | None = None

    @property
    def raw(self) -> bytes:
        """The file, keywords and all."""
        return (FOLDER / self.file).read_bytes()

    def answering(self, invite: Request) -> bytes:
        """The bytes that answer an INVITE."""
        return _KEYWORD.sub(lambda match: b"\r\n".join(invite.lines(match[1])), self.raw)

    @property
    def start(self) -> bytes:
        """Status and phrase as the file has them."""
        return re.split(rb"\r?\n", self.raw.lstrip(b"\r\n"))[0][len("SIP/2.0 ") :]

    def lines(self, reasons: bool) -> list[bytes]:
        """The file's header lines that are to pass, folds included: the Reasons, or all others."""
        head = re.split(rb"\r?\n\r?\n", self.raw.lstrip(b"\r\n"), maxsplit=1)[0]
        lines = re.split(rb"\r?\n(?![ \t])", head)[1:]
        if reasons:
            return [line for line in lines if _REASON.match(line)]
        lost = [name.encode() + b":" for name in self.loses]
        return [line for line in lines if not _NOT_COMPARED.match(line) and not line.startswith(tuple(lost))]

    @property
    def expected_body(self) -> bytes:
        """The body for the caller."""
        if self.body is not None:
            return self.body.encode()
        return re.split(rb"\r?\n\r?\n", self.raw.lstrip(b"\r\n"), maxsplit=1)[1]

    def expected(self, rules: bool) -> tuple[bytes, list[bytes]]:
        """Status and phrase, and the Reason lines, for the caller, without or with the shipped rules."""
        told, reason = self.told, self.reason
        if rules:
            told = self.shipped if self.shipped is not None else told
            reason = self.shipped_reason if self.shipped_reason is not None else reason
        lines = self.lines(reasons=True) if reason is None else [line.encode() for line in reason]
        return self.start if told is None else told.encode(), lines


FINALS = [
    Final(**row) for row in tomllib.loads((FOLDER / "finals.toml").read_text(encoding="utf-8"))["final"]
]
