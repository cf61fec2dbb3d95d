"""Plays the scenes one after another, then asks the gateway's ledger and rules who decided, and why.

What the phones saw is compared with the scene, and so is what the gateway recorded; the explanation, which
is worked out from the response alone, must name the same rule or guard as the record. A row with any
difference is wrong, and says how.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.b2bua.record import CallRecord
from gateway.config import Config, load
from gateway.ledger.database import open_for_reading
from gateway.ledger.query import by_call_id
from gateway.routing.trunk import Trunk
from gateway.rules import Facts, RuleSet
from gateway.rules.configured import configured_rules
from gateway.rules.explain import Explanation
from gateway.rules.guards import MEANINGS
from gateway.sip.message import Request, Response

from .gateway_process import config_text, running_gateway
from .phone import Phone, UnexpectedError
from .scenes import SCENES, Says, Scene

TRUNKS = ("pbx", "carrier", "backup")
_NUMBERS = {"pbx": "1001", "carrier": "+12025550123", "backup": "+12025550123"}
_SHOWN = (b"Reason", b"Call-Info")


@dataclass(slots=True)
class Row:
    """What became of one scene. `why` is in words; `wrong` is empty when everything is as it should be."""

    scene: Scene
    said: list[Says] = field(default_factory=list)
    got: Says | None = None
    decided_by: str = ""
    why: str = ""
    wrong: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Played:
    """What is known of a call when the phones are through with it."""

    row: Row
    call_id: str = ""
    responses: list[Response] = field(default_factory=list)


async def play(scenes: Sequence[Scene] = SCENES) -> list[Row]:
    """Play the scenes through a gateway of their own. Raises GatewayProcessError."""
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as name:
        path = Path(name) / "gateway.toml"
        phones = {trunk: await Phone.open(trunk) for trunk in TRUNKS}
        try:
            path.write_text(config_text({trunk: phone.port for trunk, phone in phones.items()}))
            async with running_gateway(path) as port:
                for phone in phones.values():
                    await phone.connect(port)
                played = [await _play_one(scene, phones) for scene in scenes]
        finally:
            for phone in phones.values():
                phone.close()
        config = load(path)
        _Court(config, configured_rules(config)).judge(played)
    return [one.row for one in played]


# -- on the wire -------------------------------------------------------------------------------------------


async def _play_one(scene: Scene, phones: Mapping[str, Phone]) -> _Played:
    played = _Played(Row(scene))
    try:
        await _call(scene, phones, played)
    except UnexpectedError as error:
        played.row.wrong.append(str(error))
    return played


async def _call(scene: Scene, phones: Mapping[str, Phone], played: _Played) -> None:
    caller = phones[scene.gets.who]
    far_end = phones[scene.says[-1].who]
    invite = await caller.invite(_NUMBERS[scene.gets.who], _NUMBERS[scene.says[0].who])
    played.call_id = invite.call_id.decode()
    for says in scene.says:
        phone = phones[says.who]
        incoming = await phone.hear("INVITE")
        if says.rings:
            await phone.say(incoming, 180, "Ringing")
            await caller.hear_ringing()
        if scene.cancelled:
            await _cancel(caller, invite, phone)
        response = await phone.say(incoming, says.status, says.phrase, says.headers)
        played.responses.append(response)
        played.row.said.append(_as_said(says.who, response))
        if says.status >= 300:
            await phone.hear("ACK")
    final = await caller.hear_final("INVITE")
    played.row.got = _as_said(caller.name, final)
    await caller.acknowledge(invite, final)
    if final.status < 300:
        await far_end.hear("ACK")
        await caller.hang_up(final)
        await far_end.say(await far_end.hear("BYE"), 200, "OK")
        await caller.hear_final("BYE")


async def _cancel(caller: Phone, invite: Request, callee: Phone) -> None:
    await caller.cancel(invite)
    await caller.hear_final("CANCEL")
    await callee.say(await callee.hear("CANCEL"), 200, "OK")


def _as_said(who: str, response: Response) -> Says:
    lines = tuple(line.decode() for key, line in response.rows if key in _SHOWN)
    return Says(who, response.status, response.phrase.decode(), lines)


# -- afterwards --------------------------------------------------------------------------------------------


class _Court:
    """Finds out from records and rules who decided each call, and compares everything with its scene."""

    def __init__(self, config: Config, rules: RuleSet) -> None:
        self._url = config.ledger.url
        self._rules = rules
        self._trunks = {settings.name: Trunk(settings) for settings in config.trunks}

    def judge(self, played: Sequence[_Played]) -> None:
        """Fill in who decided each row, why, and what is wrong with it."""
        with open_for_reading(self._url).connect() as connection:
            for one in played:
                records = by_call_id(connection, one.call_id) if one.call_id else []
                if len(records) != 1:
                    one.row.wrong.append(f"the ledger has {len(records)} records of the call")
                    continue
                self._judge_one(one, records[0])

    def _judge_one(self, played: _Played, record: CallRecord) -> None:
        row = played.row
        row.decided_by = _decided_by(record.rule, record.guard)
        row.wrong += _differences(row, record)
        if record.answered_at or not record.original_status:
            row.why = self._why_without_rules(played, record)
            return
        explanation = self._explain(played.responses[-1], record)
        decision = explanation.decision
        row.why = self._why(explanation)
        if (decision.rule, decision.guard) != (record.rule, record.guard):
            explained = _decided_by(decision.rule, decision.guard)
            row.wrong.append(f"the explanation says that {explained} decides")

    def _explain(self, response: Response, record: CallRecord) -> Explanation:
        rang = record.ringing_at > 0
        facts = Facts(
            response,
            None,
            self._trunks[record.callee_trunk],
            self._trunks[record.caller_trunk],
            b"INVITE",
            record.called,
            record.caller,
            rang=rang,
            after=record.ended_at - record.invited_at,
            ringing=record.ended_at - record.ringing_at if rang else None,
        )
        return self._rules.explain(facts)

    def _why(self, explanation: Explanation) -> str:
        """Say why a rejection came out as it did, in the words of the guard or of the rule."""
        decision = explanation.decision
        if decision.guard:
            lacking = f"; {explanation.target} does not support {decision.fact}" if decision.fact else ""
            return MEANINGS[decision.guard] + lacking
        if decision.rule:
            return next(rule.description for rule in self._rules.rules if rule.name == decision.rule)
        return f"none of {len(explanation.steps)} rules matches: it passes as it came"

    def _why_without_rules(self, played: _Played, record: CallRecord) -> str:
        """Say how a call went that was answered or cancelled: no rule is asked then."""
        told = [
            f"{says.status} speaks for {says.who} alone, so the next target was tried"
            for says in played.row.said[:-1]
            if self._trunks[says.who].hunts_on(says.status)
        ]
        answered = "answered, " if record.answered_at else ""
        told.append(f"{answered}ended by the {record.ended_by} ({record.end_reason})")
        return "; ".join(told)


def _decided_by(rule: str, guard: str) -> str:
    """Name the rule or guard that decided; both, where a guard translated what a rule said."""
    return ", ".join([rule] * bool(rule) + [f"guard {guard}"] * bool(guard))


def _differences(row: Row, record: CallRecord) -> Iterator[str]:
    """Say how what was seen and recorded differs from the scene."""
    scene, got = row.scene, row.got
    if got is not None and got != scene.gets:
        yield f"{got.who} got {_in_full(got)}; it should be {_in_full(scene.gets)}"
    wanted = _decided_by(scene.rule, scene.guard) or "nobody"
    if row.decided_by != _decided_by(scene.rule, scene.guard):
        yield f"{row.decided_by or 'nobody'} decided; it should be {wanted}"
    if got is not None and record.emitted_status != got.status:
        yield f"the record says {record.emitted_status}, and {got.who} got {got.status}"
    if record.attempts != len(scene.says):
        yield f"{record.attempts} targets were tried; it should be {len(scene.says)}"


def _in_full(says: Says) -> str:
    return " | ".join([f"{says.status} {says.phrase}", *says.headers])
