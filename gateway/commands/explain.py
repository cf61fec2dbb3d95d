"""`gateway explain`: what the rules make of one response, or made of one recorded call, and why.

The response is read from a file or from standard input, as people paste it: with any line ends, indented,
after lines of a tool's own, without a body, or with a Content-Length that no longer fits. What the response
itself does not say (which trunks, how long it rang) is said by options.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import sqlalchemy as sa
from cyclopts import Parameter

from gateway.config import Config, SettingsErrors, load, numbers_key
from gateway.ledger.database import LedgerError, open_for_reading, reason
from gateway.ledger.hiding import hider
from gateway.ledger.past import read_history
from gateway.os_errors import in_words
from gateway.patterns import BadValue, parse_duration
from gateway.routing.trunk import Trunk
from gateway.rules import Explanation
from gateway.rules.facts import Facts
from gateway.rules.history import History, Watch
from gateway.sip.message import MalformedMessageError, Request, Response, parse
from gateway.sip.uri import dialled
from gateway.toml_source import closest

from .ledgers import Refused, with_ledger
from .output import (
    CLEAN,
    FAILED,
    ConfigOption,
    JsonOption,
    LedgerOption,
    RulesOption,
    complain,
    is_possible,
    print_json,
    printable,
)
from .recorded import Recorded, recorded
from .sources import ledger_url, read_rules

_MOST_PENDING = 1_000
_START_LINE = re.compile(rb"^\s*SIP/|\sSIP/[0-9.]+\s*$", re.IGNORECASE)
_REQUEST_FORM = 'a SIP request begins with a line such as "INVITE sip:100@192.0.2.1 SIP/2.0"'
_FORM = 'a SIP response begins with a line such as "SIP/2.0 603 Decline"'


def explain(
    message: Annotated[
        str,
        Parameter(
            show_default=False,
            allow_leading_hyphen=True,
            help='File with the response; "-" reads standard input.',
        ),
    ] = "",
    /,
    *,
    call: Annotated[
        str,
        Parameter(
            name="--call",
            show_default=False,
            help="A recorded call instead, by its id or a Call-ID: under the rules of its day, or --rules.",
        ),
    ] = "",
    ledger: LedgerOption = "",
    rules: RulesOption = None,
    from_: Annotated[str, Parameter(name="--from", show_default=False, help="Trunk that answered.")] = "",
    to: Annotated[
        str, Parameter(name="--to", show_default=False, help="Trunk that will receive the answer.")
    ] = "",
    called: Annotated[str, Parameter(name="--called", show_default=False, help="The called number.")] = "",
    caller: Annotated[str, Parameter(name="--caller", show_default=False, help="The caller's number.")] = "",
    rang: Annotated[
        bool, Parameter(name="--rang", show_default=False, help="Whether it rang before.")
    ] = False,
    after: Annotated[
        str,
        Parameter(
            name="--after", show_default=False, help='Time from the INVITE to the response, such as "250ms".'
        ),
    ] = "",
    ringing: Annotated[
        str,
        Parameter(
            name="--ringing", show_default=False, help='How long it rang, such as "2s"; it rang, then.'
        ),
    ] = "",
    method: Annotated[str, Parameter(name="--method", help="The method of the request.")] = "INVITE",
    origin: Annotated[
        Literal["peer", "local"],
        Parameter(name="--origin", help="Who made the response: the far end, or the gateway."),
    ] = "peer",
    request: Annotated[
        str, Parameter(name="--request", show_default=False, help="File with the request that is answered.")
    ] = "",
    finals: Annotated[
        str,
        Parameter(
            name="--finals", show_default=False, help='What other branches said before, such as "486,404".'
        ),
    ] = "",
    pending: Annotated[
        int, Parameter(name="--pending", show_default=False, help="How many other branches still ring.")
    ] = 0,
    attestation: Annotated[
        Literal["A", "B", "C", "none"] | None,
        Parameter(name="--attestation", show_default=False, help="The attestation that the call claims."),
    ] = None,
    at: Annotated[
        str,
        Parameter(
            name="--at", show_default=False, help='When it came, such as "2026-11-21T22:30" (UTC); else now.'
        ),
    ] = "",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Explain what the rules make of a response: who decides, and why nobody before did.

    Without --config there are a carrier, which answers, and a pbx, which receives; other names may be given.
    Exits with 0, or with 2 when something cannot be read.
    """
    if bool(message) == bool(call):
        complain("name a file with a response, or a recorded call with --call (`gateway calls` lists them)")
        return FAILED
    if call:
        said = {
            "--from": from_, "--to": to, "--called": called, "--caller": caller, "--rang": rang,
            "--after": after, "--ringing": ringing, "--method": method != "INVITE",
            "--origin": origin != "peer", "--request": request, "--finals": finals, "--pending": pending,
            "--attestation": attestation, "--at": at,
        }  # fmt: skip
        return _explain_recorded(call, said, rules, ledger, config, json)
    if not is_possible("--pending", pending, _MOST_PENDING, 0):
        return FAILED
    try:
        settings = load(config)
        ruleset = read_rules(rules, settings)
        facts = Facts(
            response=read_response(message),
            request=_request(request),
            source=_trunk(settings, "--from", from_, "carrier"),
            target=_trunk(settings, "--to", to, "pbx"),
            method=method.upper().encode(),
            called=dialled(called.encode()).decode(),
            caller=dialled(caller.encode()).decode(),
            rang=rang or bool(ringing),
            after=_duration("--after", after),
            ringing=_duration("--ringing", ringing),
            local=origin == "local",
            finals=_finals(finals),
            pending=pending,
            now=_moment(at),
            attested=attestation,
        )
    except (Refused, SettingsErrors) as error:
        complain(error)
        return FAILED
    if ruleset.watches and facts.now is not None:
        facts.history = _history(ledger, settings, ruleset.watches, facts.now)
    _print(ruleset.explain(facts), json)
    return CLEAN


def _explain_recorded(
    call: str, said: Mapping[str, object], rules: Path | None, ledger: str, config: Path | None, json: bool
) -> int:
    """Explain a recorded call; `said` are the options that are for others."""
    option = next((option for option, value in said.items() if value), "")
    if option:
        complain(f"{option}: a recorded call says that itself; leave it out, or name a file instead")
        return FAILED

    def work(connection: sa.Connection, loaded: Config) -> int:
        _print(recorded(connection, call, rules, loaded), json)
        return CLEAN

    return with_ledger(ledger, config, work)


def _print(found: Explanation | Recorded, json: bool) -> None:
    if json:
        print_json(found.as_dict())
    else:
        print("\n".join(map(printable, found.as_text().split("\n"))))


def _history(url: str, settings: Config, watches: frozenset[Watch], until: float) -> History | None:
    """Return what the ledger knows of earlier calls; None, and a complaint, when it cannot be read."""
    try:
        with open_for_reading(url or ledger_url(settings)).connect() as connection:
            key = numbers_key(settings, os.environ)
            return read_history(connection, watches, until, hide=hider(key) if key else None)
    except (LedgerError, SettingsErrors) as error:
        complain(f"rules that count earlier calls are not answered: {error}")
    except sa.exc.SQLAlchemyError as error:
        complain(f"rules that count earlier calls are not answered: the ledger fails ({reason(error)})")
    return None


def read_response(place: str) -> Response:
    """Read the response in a file, or on standard input when `place` is "-". Raises Refused."""
    name, found = _read_message(place, "response", _FORM)
    if not isinstance(found, Response):
        raise Refused(f"{name}: this is a request; {_FORM}")
    return found


def _request(place: str) -> Request | None:
    """Read the request in a file, if one is named. Raises Refused."""
    if not place:
        return None
    name, found = _read_message(place, "request", _REQUEST_FORM)
    if not isinstance(found, Request):
        raise Refused(f"{name}: this is a response; {_REQUEST_FORM}")
    return found


def _read_message(place: str, what: str, form: str) -> tuple[str, Request | Response]:
    name = "standard input" if place == "-" else place
    if place == "-" and sys.stdin is None:
        raise Refused(f"{name} is closed; name a file")
    try:
        data = sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    except OSError as error:
        raise Refused(f"{name}: cannot be read: {in_words(error)}") from None
    try:
        return name, parse(_as_sent(data))
    except MalformedMessageError as error:
        raise Refused(f"{name}: this is no SIP {what} ({error.why}); {form}") from None


def _as_sent(pasted: bytes) -> bytes:
    """Undo what pasting does to a message: line ends, indentation, lines before it, no end of the headers.

    Content-Length is taken away, because a body is whatever follows the headers here.
    """
    lines = pasted.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    start = next((at for at, line in enumerate(lines) if _START_LINE.search(line)), 0)
    while start < len(lines) - 1 and not lines[start].strip():
        start += 1
    indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
    lines = [line.removeprefix(indent) for line in lines[start:]]
    end = next((at for at, line in enumerate(lines) if not line.strip()), len(lines))
    head = [line.rstrip() for line in lines[:end] if not _is_content_length(line)]
    return b"\r\n".join(head) + b"\r\n\r\n" + b"\r\n".join(lines[end + 1 :])


def _is_content_length(line: bytes) -> bool:
    return line.partition(b":")[0].strip().lower() in (b"content-length", b"l")


def _finals(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")] if text else []
    for word in words:
        if not (word.isascii() and word.isdigit() and 300 <= int(word) <= 699):
            raise Refused(f"--finals: {word!r} is no status of a rejection; write them so: 486,404")
    return tuple(map(int, words))


def _moment(text: str) -> float:
    """Return the seconds since the epoch that a time means; UTC where it names no offset. Raises Refused."""
    if not text:
        return datetime.now(UTC).timestamp()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"--at: {text!r} is no time; write one such as 2026-11-21T22:30") from None
    if not 1970 <= moment.year <= 2100:  # schedules know no more years than their time zones do
        raise Refused(f"--at: {text!r} is out of reach; write a time from 1970 to 2100")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration(option: str, text: str) -> float | None:
    try:
        return parse_duration(text) if text else None
    except BadValue as error:
        raise Refused(f"{option}: {error}; {error.remedy}") from None


def _trunk(config: Config, option: str, name: str, kind: str) -> Trunk:
    """Return the trunk of that name; of the embedded default, one of any name. Without a name, the first of
    the kind."""
    trunks = {trunk.name: trunk for trunk in config.trunks}
    first = next((trunk for trunk in config.trunks if trunk.kind == kind), config.trunks[0])
    if not name:
        return Trunk(first)
    if name in trunks:
        return Trunk(trunks[name])
    if config.is_embedded:
        return Trunk(replace(first, name=name))
    raise Refused(f"{option}: {config.source.file} has no trunk {name!r}; {_proposal(name, trunks)}")


def _proposal(name: str, trunks: Mapping[str, object]) -> str:
    meant = closest(name, trunks)
    return f'did you mean "{meant}"?' if meant else f"it has {', '.join(trunks)}"
