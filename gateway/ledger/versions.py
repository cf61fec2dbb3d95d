"""The rule files that were applied, kept in the ledger's database: so that any decision can be explained
under the rules of its day, and undone.

The running gateway notes each version when it comes into force; a task writes it in a thread, and tries again
while the database cannot be written. Commands read versions and name them by their hash, or how it begins.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import sqlalchemy as sa
import trio

from gateway.rules import RuleSet

from . import database
from .lasting import LastingEngine
from .patience import Patience
from .schema import rule_versions

_PAUSE = 0.5  # seconds between two looks at what is to be written
_AGAIN = 5.0  # seconds after a failure
_WAITING = 100  # versions that may wait for the database
AUTHOR = "GATEWAY_AUTHOR"
"""The environment variable that names who applies rules, instead of the owner of the file."""


class RuleVersion(msgspec.Struct, frozen=True):
    """One version of the rules, from when it was applied."""

    applied_at: float
    hash: str
    author: str
    comment: str
    text: str


def version_of(rules: RuleSet, applied_at: float) -> RuleVersion:
    """Return the version that `rules` are; its comment is the first one in the file."""
    text = rules.source.text
    return RuleVersion(
        applied_at, rules.version_hash, _author(Path(rules.source.file)), _first_comment(text)[:200], text
    )


def _first_comment(text: str) -> str:
    """Return what the first line that begins with "#" says, "" without one; in no time in a long file."""
    at = text.find("#")
    while at >= 0:
        begin, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
        if not text[begin:at].strip():
            return text[at : end if end >= 0 else None].strip().lstrip("# ")
        at = text.find("#", end) if end >= 0 else -1
    return ""


def _author(path: Path) -> str:
    try:
        return os.environ.get(AUTHOR) or path.owner()
    except (OSError, KeyError, NotImplementedError):  # no such file, or an owner without a name
        return ""


class VersionKeeper:
    """Writes the versions that come into force. `log` gets one line when that fails."""

    def __init__(self, url: str, log: Callable[[str], None]) -> None:
        parsed = database.parse_url(url)
        self._database = LastingEngine(lambda: database.open_for_writing(parsed))
        self._patience = Patience()
        self._log = log
        self._waiting: list[RuleVersion] = []

    def note(self, version: RuleVersion) -> None:
        """Take a version that has come into force. Returns at once."""
        self._waiting.append(version)
        del self._waiting[:-_WAITING]

    async def run(self) -> None:
        """Write until cancelled."""
        told = False
        while True:
            await trio.sleep(_PAUSE)
            if not self._waiting:
                continue
            batch = tuple(self._waiting)
            try:
                await self._patience.run(partial(self._write, batch))
            except (database.LedgerError, sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
                if not told:
                    self._log(
                        f"ledger: rules cannot be kept ({database.reason(error)}); tried again until they can"
                    )
                    told = True
                await trio.sleep(_AGAIN)
                continue
            told = False
            self._waiting = [version for version in self._waiting if version not in batch]

    def _write(self, batch: tuple[RuleVersion, ...]) -> None:
        turn = self._patience.turn
        with self._database.begin() as connection:
            for version in batch:
                keep(connection, version)
            self._patience.check(turn)


def keep(connection: sa.Connection, version: RuleVersion) -> None:
    """Write a version, unless it is the one that was applied last."""
    newest = sa.select(rule_versions.c.hash).order_by(rule_versions.c.seq.desc()).limit(1)
    if connection.execute(newest).scalar() != version.hash:
        connection.execute(sa.insert(rule_versions).values(msgspec.structs.asdict(version)))


def history(connection: sa.Connection, limit: int) -> list[RuleVersion]:
    """Return at most `limit` versions, the one that was applied last first."""
    return _read(connection, sa.true(), limit)


def by_hash(connection: sa.Connection, start: str) -> list[RuleVersion]:
    """Return the versions whose hash begins so, each once; none for an empty text."""
    if not start:
        return []
    found = _read(connection, rule_versions.c.hash.startswith(start, autoescape=True), 1000)
    return list({version.hash: version for version in reversed(found)}.values())


def _read(connection: sa.Connection, where: sa.ColumnElement[bool], limit: int) -> list[RuleVersion]:
    fields = [rule_versions.c[name] for name in RuleVersion.__struct_fields__]
    query = sa.select(*fields).where(where).order_by(rule_versions.c.seq.desc()).limit(limit)
    return [RuleVersion(*row) for row in connection.execute(query)]
