"""The findings of a capture, told together: how often each, by whom, and some examples with their evidence.

Examples are kept with the messages of their call, for the ladder. All of it is bounded; the counts go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.analysis.finding import Case, Kind, Sure
from gateway.analysis.findings import FINDERS, KINDS, clock_skew, half_captured
from gateway.analysis.model import Call, Event, Mark
from gateway.analysis.tracker import Tracker
from gateway.captures.pcap import Datagram

MOST_EXAMPLES = 5
"""Examples of one finding."""
_MOST_FINDINGS = 1_000
_MOST_LADDERS = 250
_LONGEST_LADDER = 200  # messages
_ORDER = {kind.name: place for place, kind in enumerate(KINDS)}
_SURENESS = {sure: place for place, sure in enumerate(Sure)}


@dataclass(slots=True)
class Example:
    """One case, with what a ladder of its call is drawn from."""

    text: str
    sure: Sure
    evidence: tuple[Mark, ...]
    call_ids: list[str]
    events: list[Event]


@dataclass(slots=True)
class Finding:
    """All cases of one kind with one subject."""

    kind: Kind
    subject: str
    rule: str
    sure: Sure
    """How sure the surest case is."""
    count: int = 0
    examples: list[Example] = field(default_factory=list)


class Report:
    """What is found in captures."""

    def __init__(self) -> None:
        self.messages = 0
        """SIP messages read."""
        self.malformed = 0
        """Of these, those that could not be read."""
        self.calls = 0
        """Legs that began in the capture."""
        self.begin = self.end = 0.0
        """When the first and the last message was caught, in seconds since the epoch."""
        self.omitted = 0
        """Cases of findings beyond the bound."""
        self._found: dict[tuple[str, str, str], Finding] = {}
        self._ladders = 0

    @property
    def findings(self) -> list[Finding]:
        """The findings, kind after kind, the most frequent first."""
        return sorted(
            self._found.values(), key=lambda each: (_ORDER[each.kind.name], -each.count, each.subject)
        )

    def read(self, messages: Iterable[Datagram]) -> None:
        """Judge all calls in messages, which come in the order of time."""
        tracker = Tracker(self._judge)
        for message in messages:
            self.begin = self.begin or message.at
            self.end = max(self.end, message.at)
            self.messages += 1
            tracker.feed(message)
        tracker.finish()
        self.malformed, self.calls = tracker.malformed, tracker.calls
        self._add(half_captured.strays(tracker.strays))
        self._add(clock_skew.skews(tracker.clocks.skews()))

    def _judge(self, call: Call) -> None:
        for find in FINDERS:
            self._add(find(call))

    def _add(self, cases: Iterable[Case]) -> None:
        for case in cases:
            key = (case.kind.name, case.subject, case.rule)
            finding = self._found.get(key)
            if finding is None:
                if len(self._found) >= _MOST_FINDINGS:
                    self.omitted += 1
                    continue
                finding = self._found[key] = Finding(case.kind, case.subject, case.rule, case.sure)
            finding.count += 1
            finding.sure = min(finding.sure, case.sure, key=_SURENESS.__getitem__)
            if len(finding.examples) < MOST_EXAMPLES:
                finding.examples.append(self._example(case))

    def _example(self, case: Case) -> Example:
        example = Example(case.text, case.sure, case.evidence, [], [])
        if case.call is not None:
            example.call_ids = case.call.call_ids
            if self._ladders < _MOST_LADDERS:
                self._ladders += 1
                example.events = case.call.events()[:_LONGEST_LADDER]
        return example
