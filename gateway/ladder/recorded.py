"""The ladder of a call that the gateway carried: both legs, and what was decided between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from gateway.b2bua.record import CallRecord
from gateway.wire import Address, WireMessage

from .model import Ladder, Participant, build, shown_address


def recorded(
    messages: Iterable[WireMessage],
    record: CallRecord | None,
    name: str,
    ours: Collection[Address],
    trunk_of: Callable[[Address], str],
) -> Ladder:
    """Make the ladder of a call. ``name`` is the gateway's, ``ours`` are its addresses, ``trunk_of`` names
    the trunk at an address. Without a record, the messages are of a dialog that was no call.
    """
    legs = _Legs(record, name, ours, trunk_of)
    ladder = build(messages, legs.who)
    if record is not None:
        _mark(ladder, record)
    return ladder


class _Legs:
    """Says who is who. A peer is named when its leg begins: what it sends from elsewhere is its, too."""

    def __init__(
        self,
        record: CallRecord | None,
        name: str,
        ours: Collection[Address],
        trunk_of: Callable[[Address], str],
    ) -> None:
        self._record = record
        self._name = name
        self._ours = ours
        self._trunk_of = trunk_of
        self._peers: dict[str, Participant] = {}
        self._gateway: Participant | None = None

    def who(self, address: Address, call_id: str) -> Participant:
        if address in self._ours:
            if self._gateway is None:
                self._gateway = Participant(self._name, shown_address(address), "gateway")
            return self._gateway
        if call_id not in self._peers:
            self._peers[call_id] = self._peer(address, call_id)
        return self._peers[call_id]

    def _peer(self, address: Address, call_id: str) -> Participant:
        shown, trunk, record = shown_address(address), self._trunk_of(address), self._record
        if record is None:
            return Participant(trunk or shown, shown)
        if call_id == record.caller_call_id:
            return Participant(record.caller_trunk or trunk or shown, shown, "caller")
        if call_id == record.callee_call_id:
            trunk = record.callee_trunk or trunk
        return Participant(trunk or shown, shown, "callee")


def _mark(ladder: Ladder, record: CallRecord) -> None:
    """Say at the final response that the caller got what made it."""
    words = decision_of(record)
    for arrow in reversed(ladder.arrows):
        is_final = arrow.method == "INVITE" and arrow.status == record.emitted_status
        if words and is_final and arrow.call_id == record.caller_call_id:
            arrow.mark = words
            return


def decision_of(record: CallRecord) -> str:
    """Return what a rule or guard has done, or a rule in shadow would have; "" where nothing had a say."""
    guard = f"guard {record.guard}" if record.guard else ""
    who = ", ".join(filter(None, (f"rule {record.rule}" if record.rule else "", guard)))
    if not who:
        shadow = f"{record.shadow_rule} in shadow: would have sent {record.shadow_status}"
        return f"rule {shadow}" if record.shadow_rule else ""
    said = f"{record.original_status} {record.original_phrase}".rstrip()
    got = f"{record.emitted_status} {record.emitted_phrase}".rstrip()
    if said != got:
        return f"{who}: {said} → {got}"
    if record.original_q850 != record.emitted_q850:
        return f"{who}: Q.850 {record.original_q850 or 'none'} → {record.emitted_q850 or 'none'}"
    return f"{who}: passed as it was"
