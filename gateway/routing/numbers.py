"""Telephone numbers as one trunk says them, and as the gateway does: in E.164 with its +.

What a trunk sends is *read*: the first of its regular expressions that matches, then its region's numbering
plan. What is sent to a trunk is *written*: the form it wants, then its regular expressions. In between,
routes and rules see one form whatever the trunk. A number that is not valid in the plan stays as it is, and
so do emergency numbers, extensions and service codes ("112", "1001", "*97"): no plan has them.

Numbers change in the request that opens a dialog or stands alone, in the Request-URI and in the headers of
`_CALLER` and To. Inside a dialog each leg keeps the URIs it began with (RFC 3261 12). In a REGISTER they are
addresses of record and not calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from gateway.number_settings import Change, NumberSettings, dial_out_prefix
from gateway.sip.errors import MalformedError
from gateway.sip.headers import parse_name_addr, split_list
from gateway.sip.message import Request
from gateway.sip.rows import unfold
from gateway.sip.uri import Uri, parse_uri

LONGEST = 64  # characters of a number that is looked at; E.164 has 15 digits
_REMEMBERED = 4096

_CALLER = frozenset(
    (b"From", b"P-Asserted-Identity", b"P-Preferred-Identity", b"Remote-Party-ID", b"Diversion")
)
_NUMBERED = _CALLER | {b"To"}
_DIALLED = re.compile(r"\+?[0-9]{4,24}")
_TEL_NUMBER = re.compile(rb"\+?[0-9*#]+")
_UNSAFE = re.compile(rb"[^A-Za-z0-9\-_.!~*'()&=+$,?/]")  # in the user part of a URI (RFC 3261 25.1)
_NUMBER_ITSELF = re.compile(rb"^[^;:]*")  # user parameters and a password come behind it
_CONTEXT = re.compile(rb";phone-context=[^;]*", re.IGNORECASE)
_NO_DIGIT = re.compile(r"[^0-9]")

_Change = Callable[[str], str]


class Numbers:
    """The numbers of one trunk. What was made of a number is remembered, for the last 4,096 of each kind."""

    __slots__ = ("_called_in", "_called_out", "_caller_in", "_caller_out", "_with_identity")

    def __init__(self, settings: NumberSettings) -> None:
        plan = _Plan(settings.region, settings.send)
        self._called_in = _chain(settings.called_in, plan.read)
        self._caller_in = _chain(settings.caller_in, plan.read)
        self._called_out = _chain(settings.called_out, plan.write, changes_last=True)
        self._caller_out = _chain(settings.caller_out, plan.write, changes_last=True)
        self._with_identity = settings.with_identity

    def read(self, request: Request, uri: Uri) -> tuple[Request, Uri]:
        """Return a request from the trunk, and its URI, with the numbers in E.164."""
        return self._renumbered(request, uri, self._called_in, self._caller_in)

    def write(self, request: Request, uri: Uri) -> tuple[Request, Uri]:
        """Return a request for the trunk, and its URI, with the numbers as the trunk wants them."""
        return self._renumbered(request, uri, self._called_out, self._caller_out)

    def read_called(self, uri: Uri, signed: bool) -> Uri:
        """Return a URI that the trunk says a call is to go to with its number in E.164. Those of ``signed``
        calls may have to stay as they are.
        """
        return self._called(uri, self._called_in, signed)

    def write_called(self, uri: Uri, signed: bool) -> Uri:
        """Return a URI to call with the number as the trunk wants it."""
        return self._called(uri, self._called_out, signed)

    def _called(self, uri: Uri, change: _Change, signed: bool) -> Uri:
        if signed and not self._with_identity:
            return uri
        raw = _uri(uri, change, tel_takes_any=True)
        return uri if raw == uri.raw else parse_uri(raw)

    def _renumbered(
        self, request: Request, uri: Uri, called: _Change, caller: _Change
    ) -> tuple[Request, Uri]:
        signed = request.has(b"Identity") and not self._with_identity
        if signed or request.method == b"REGISTER":
            return request, uri
        rows = [
            (key, _line(line, called if key == b"To" else caller) if key in _NUMBERED else line)
            for key, line in request.rows
        ]
        raw = _uri(uri, called, tel_takes_any=True)
        if raw == uri.raw and rows == request.rows:
            return request, uri
        return request.altered(raw, rows, request.body), parse_uri(raw)


class _Plan:
    """A region's numbering plan, and the form in which its trunk wants numbers."""

    def __init__(self, region: str, send: str) -> None:
        self._region = region or None
        self._send = send
        self._prefix = dial_out_prefix(region) if region else ""
        self._library: Any = None
        if region or send != "as-is":
            import phonenumbers

            self._library = phonenumbers

    def read(self, number: str) -> str:
        """Return a number in E.164; as it is when there is no region or it is none of the region's."""
        return number if self._region is None else self._format(number, "e164")

    def write(self, number: str) -> str:
        """Return a number in the form that is wanted."""
        return number if self._send == "as-is" else self._format(number, self._send)

    def _format(self, number: str, form: str) -> str:
        if _DIALLED.fullmatch(number) is None:
            return number
        library = self._library
        try:
            parsed = library.parse(number, self._region)
        except library.NumberParseException:
            return number
        if not library.is_valid_number(parsed):
            return number
        e164 = str(library.format_number(parsed, library.PhoneNumberFormat.E164))
        if form == "e164":
            return e164
        abroad = parsed.country_code != library.country_code_for_region(self._region)
        if abroad or form == "international":
            return self._prefix + e164[1:] if self._prefix else e164
        return _NO_DIGIT.sub("", library.format_number(parsed, library.PhoneNumberFormat.NATIONAL))


def _chain(changes: Sequence[Change], plan: _Change, changes_last: bool = False) -> _Change:
    """Return one function that makes the changes of the configuration and of the plan, in their order."""

    def change(number: str) -> str:
        for pattern, replacement in changes:
            if pattern.search(number):
                return pattern.sub(replacement, number, count=1)
        return number

    @lru_cache(maxsize=_REMEMBERED)
    def both(number: str) -> str:
        return change(plan(number)) if changes_last else plan(change(number))

    return both


def _line(line: bytes, change: _Change) -> bytes:
    """Change the number of each address in a header line; the rest of it stays byte for byte."""
    name, _, value = line.partition(b":")
    try:
        items = split_list(unfold(value))
        changed = [_address(item, change) for item in items]
    except MalformedError:
        return line
    return line if changed == items else b"%b: %b" % (name, b", ".join(changed))


def _address(item: bytes, change: _Change) -> bytes:
    address = parse_name_addr(item)
    raw = address.uri
    at = item.index(raw, len(address.display))
    return item[:at] + _uri(parse_uri(raw), change) + item[at + len(raw) :]


def _uri(uri: Uri, change: _Change, tel_takes_any: bool = False) -> bytes:
    """Return the URI with its number changed; it stays as it is when there is none.

    A tel URI in a header takes numbers with a + only, because others need a context (RFC 3966 5.1.4).
    """
    raw = uri.raw
    number = uri.number.decode("utf-8", "replace")
    if uri.scheme not in (b"sip", b"sips", b"tel") or not 0 < len(number) <= LONGEST:
        return raw
    changed = change(number).encode()
    if changed == number.encode() or not changed:
        return raw
    if uri.scheme == b"tel":
        if _TEL_NUMBER.fullmatch(changed) is None or not (tel_takes_any or changed[:1] == b"+"):
            return raw
        return b"tel:%b%b" % (changed, _CONTEXT.sub(b"", uri.params))
    user = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], changed)
    parameters = _NUMBER_ITSELF.sub(b"", uri.user, count=1)
    rest = raw[len(uri.scheme) + 1 + len(uri.user) :]
    return b"%b:%b%b%b" % (uri.scheme, user, _CONTEXT.sub(b"", parameters), rest)
