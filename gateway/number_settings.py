"""[trunk.numbers] of gateway.toml: how the numbers of a trunk are read and written, as typed settings.

The tables of the world's numbering plans are large, so `phonenumbers` is imported only when some trunk asks
for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.patterns import BadValue, compile_regex
from gateway.regexes import check_cost
from gateway.settings_table import Table

FORMS = ("e164", "national", "international", "as-is")
_REGION = re.compile(r"[A-Z]{2}")

Change = tuple[re.Pattern[str], str]
"""A regular expression and what takes the place of what it finds."""


@dataclass(frozen=True, slots=True)
class NumberSettings:
    """One [trunk.numbers]."""

    region: str = ""
    """Whose numbering plan national numbers of this trunk belong to (ISO 3166: "GB"); "" leaves them."""
    send: str = "as-is"
    """How numbers in E.164 are written to this trunk, one of FORMS."""
    called_in: tuple[Change, ...] = ()
    """Changes to the called number as it comes, before the region; the first that matches is made."""
    caller_in: tuple[Change, ...] = ()
    called_out: tuple[Change, ...] = ()
    """Changes to the called number as it leaves, after `send`."""
    caller_out: tuple[Change, ...] = ()
    with_identity: bool = False
    """Also in a request whose numbers are signed (RFC 8224)."""


def read_numbers_table(table: Table) -> NumberSettings:
    """Read [trunk.numbers]. Mistakes go to the table's errors."""
    settings = NumberSettings(
        region=table.parsed("region", "", _region),
        send=table.choice("send", "as-is", FORMS),
        called_in=_changes(table, "called_in"),
        caller_in=_changes(table, "caller_in"),
        called_out=_changes(table, "called_out"),
        caller_out=_changes(table, "caller_out"),
        with_identity=table.flag("with_identity", False),
    )
    if settings.send in ("national", "international"):
        if "region" not in table:
            problem = f'"{settings.send}" means something else in each country'
            table.fail("send", problem, 'add region = "…", such as "GB"')
        elif settings.send == "international" and settings.region and not dial_out_prefix(settings.region):
            problem = f"in {settings.region} there are several prefixes for calls abroad"
            table.fail("send", problem, 'write send = "e164" and a called_out that replaces the +')
    table.done()
    return settings


def dial_out_prefix(region: str) -> str:
    """Return what is dialled in a region before a country code ("00", "011"); "" when there are several."""
    from phonenumbers import PhoneMetadata

    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        return ""
    prefix = str(metadata.preferred_international_prefix or metadata.international_prefix or "")
    return prefix if prefix.isdigit() else ""


def _region(text: str) -> str:
    if _REGION.fullmatch(text):
        from phonenumbers import SUPPORTED_REGIONS

        if text in SUPPORTED_REGIONS:
            return text
    raise BadValue(f'"{text}" is not a region with a numbering plan', 'write its two letters, such as "GB"')


def _changes(table: Table, key: str) -> tuple[Change, ...]:
    value = table.value(key)
    if value is None:
        return ()
    remedy = "write [['REGEX', 'REPLACEMENT'], …]"
    if not isinstance(value, list):
        table.fail(key, "it does not say what to change", remedy)
        return ()
    changes = []
    for index, pair in enumerate(value):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            table.fail((key, index), "this is not a pair of texts", remedy)
            continue
        try:
            changes.append(_change(*pair))
        except BadValue as error:
            table.fail((key, index), str(error), error.remedy)
    return tuple(changes)


def _change(regex: str, replacement: str) -> Change:
    pattern = compile_regex(regex)
    check_cost(regex)
    try:
        pattern.sub(replacement, "")  # reads the replacement, whether anything matches or not
    except (re.error, IndexError) as error:
        reason = str(error)
        raise BadValue(
            f"{replacement!r} cannot replace what {regex!r} finds: {reason}",
            "write \\1 for the first group; a group must be in the expression",
        ) from None
    return pattern, replacement
