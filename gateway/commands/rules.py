"""`gateway rules`: the versions of the rules that were applied, what differs between them, and the way back.

A version is named by its hash, or by how it begins, as `gateway calls` shows it. Rolling back writes the old
text over the rules file, in one step; the running gateway sees the change and applies it, as any other.
"""

from __future__ import annotations

import difflib
import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
from cyclopts import App, Parameter

from gateway import config as settings
from gateway.config import Config
from gateway.ledger import canaries as stops
from gateway.ledger import versions
from gateway.ledger.canaries import CanaryEvent
from gateway.ledger.database import reason
from gateway.ledger.versions import RuleVersion
from gateway.rules import compile_rules
from gateway.toml_source import TomlSource

from . import canaries
from .ledgers import Refused, with_ledger
from .output import (
    CLEAN,
    FAILED,
    MOST,
    ConfigOption,
    JsonOption,
    LedgerOption,
    cell,
    columns,
    console,
    is_possible,
    print_json,
    printable,
)
from .sources import read_rules

rules = App(name="rules", help="The versions of the rules: what was applied, by whom, and the way back.")

SAME, DIFFERENT = 0, 1
"""Exit codes of `diff`."""

VersionArgument = Annotated[
    str, Parameter(show_default=False, help="The hash of a version, or how it begins.")
]


rules.command(canaries.canaries)
rules.command(canaries.enable)


@rules.command
def history(
    *,
    limit: Annotated[int, Parameter(name="--limit", help="How many versions at most.")] = 20,
    json: JsonOption = False,
    ledger: LedgerOption = "",
    config: ConfigOption = None,
) -> int:
    """List the versions that were applied, and canaries that were stopped, the last one first."""

    def work(connection: sa.Connection, _loaded: Config) -> int:
        found: list[RuleVersion | CanaryEvent] = [*versions.history(connection, limit)]
        found += stops.history(connection, limit)
        found = sorted(found, key=_time_of, reverse=True)[:limit]
        if json:
            print_json(found)
        elif not found:
            print("No rules have been applied yet.")
        else:
            table = columns("applied", "hash", "by", "comment")
            for each in found:
                at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(_time_of(each)))
                comment = each.comment if isinstance(each, RuleVersion) else _told(each)
                table.add_row(cell(at), cell(each.hash), cell(each.author or "-"), cell(comment or "-"))
            console().print(table)
        return CLEAN

    return with_ledger(ledger, config, work) if is_possible("--limit", limit, MOST) else FAILED


@rules.command
def show(version: VersionArgument, /, *, ledger: LedgerOption = "", config: ConfigOption = None) -> int:
    """Print the text of a version."""

    def work(connection: sa.Connection, _loaded: Config) -> int:
        text = _version(connection, version).text
        print("\n".join(map(printable, text.expandtabs().rstrip("\n").split("\n"))))
        return CLEAN

    return with_ledger(ledger, config, work)


@rules.command
def diff(
    old: Annotated[
        str,
        Parameter(
            show_default=False, help="The hash of a version; without it, the one that was applied last."
        ),
    ] = "",
    new: Annotated[
        str, Parameter(show_default=False, help="The hash of another; without it, the rules file as it is.")
    ] = "",
    /,
    *,
    ledger: LedgerOption = "",
    config: ConfigOption = None,
) -> int:
    """Show what differs between two versions. Exits with 1 when something does."""

    def work(connection: sa.Connection, loaded: Config) -> int:
        first = _version(connection, old) if old else _newest(connection)
        path = loaded.gateway.rules
        if new:
            second = _version(connection, new)
            name, text = second.hash, second.text
        else:
            name, text = str(path), _text_of(path)
        lines = difflib.unified_diff(
            first.text.splitlines(), text.splitlines(), first.hash, name, lineterm=""
        )
        found = [printable(line.expandtabs()) for line in lines]
        print("\n".join(found) if found else "nothing differs")
        return DIFFERENT if found else SAME

    return with_ledger(ledger, config, work)


@rules.command
def rollback(
    version: Annotated[
        str,
        Parameter(
            show_default=False,
            help="The hash of a version; without it, the one before the rules file as it is.",
        ),
    ] = "",
    /,
    *,
    ledger: LedgerOption = "",
    config: ConfigOption = None,
) -> int:
    """Write an earlier version over the rules file. A running gateway applies it at once."""

    def work(connection: sa.Connection, loaded: Config) -> int:
        path = loaded.gateway.rules
        now = _hash_of(loaded)
        found = _version(connection, version) if version else _before(connection, now)
        compile_rules(TomlSource.parse(found.text, str(path)), loaded.trunk_kinds)  # or it would be refused
        _replace(path, found.text)
        print(f"{path} is version {found.hash} again" + (f", it was {now}" if now else ""))
        return CLEAN

    return with_ledger(ledger, config, work)


def _time_of(each: RuleVersion | CanaryEvent) -> float:
    return each.applied_at if isinstance(each, RuleVersion) else each.at


def _told(event: CanaryEvent) -> str:
    """Say what happened to a canary."""
    word = "STOPPED" if event.event == stops.STOPPED else event.event
    return f"canary {event.rule} {word}" + (f": {event.why}" if event.why else "")


def _version(connection: sa.Connection, start: str) -> RuleVersion:
    found = versions.by_hash(connection, start)
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(f"{printable(start)!r} means more than one version; give more of the hash")
    raise Refused(f"no version has a hash like {printable(start)!r}; `gateway rules history` lists them")


def _newest(connection: sa.Connection) -> RuleVersion:
    found = versions.history(connection, 1)
    if not found:
        raise Refused("no rules have been applied yet; `gateway run` keeps each version that it applies")
    return found[0]


def _before(connection: sa.Connection, now: str) -> RuleVersion:
    """Return the version that was in force before the one whose hash is `now`."""
    found = versions.history(connection, 1000)
    start = next((at + 1 for at, each in enumerate(found) if each.hash == now), 0)
    for each in found[start:]:
        if each.hash != now:
            return each
    raise Refused("there is no version to go back to; `gateway rules history` lists them")


def _hash_of(config: Config) -> str:
    """Return the hash of the rules file as it is, "" when it is not valid or not there."""
    try:
        return read_rules(config.gateway.rules, config).version_hash
    except settings.SettingsErrors:
        return ""


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")  # as rules are read, too
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: cannot be read ({reason(error)}); name two versions") from None


def _replace(path: Path, text: str) -> None:
    """Put a text in the place of a file, in one step, with the owner, group and mode that the file had."""
    place = path.resolve()
    try:
        had = place.stat() if place.exists() else None
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        try:
            with open(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if had is not None:
                _hand_over(path, name, had)
            os.chmod(name, had.st_mode & 0o777 if had is not None else 0o644)  # chown may take bits away
            os.replace(name, place)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise Refused(f"{path}: cannot be written ({reason(error)}); make it writable") from None


def _hand_over(path: Path, name: str, had: os.stat_result) -> None:
    """Give the new file to whom the old one belonged: a gateway of another user must be able to read it."""
    made = os.stat(name)
    if (made.st_uid, made.st_gid) == (had.st_uid, had.st_gid):
        return
    try:
        os.chown(name, had.st_uid, had.st_gid)
    except PermissionError:
        problem = "its owner and group cannot be kept"
        raise Refused(f"{path}: {problem}; roll back as its owner, or as root") from None
