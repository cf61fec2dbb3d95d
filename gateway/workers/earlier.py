"""What the workers tell one another of calls, for rules that look at more than the call at hand.

A rule may count earlier calls, or decide a share of them and be stopped by what callers do next; and an
earlier call may have been another worker's. So each worker tells all others, in one note a tick, which calls
have ended (`History`) and what befell those that canaries had to do with (`Trials`). Nobody waits for it: a
rule sees what others' calls came to a tenth of a second later, or as late as the inbox is long.

The notes of a worker are numbered. Where one is missing it found no room; then the counts are read anew from
the ledger, as after a start. What the ledger is to be read for and what is heard do not overlap: a call that
ended before a count was begun is the ledger's (`Series.since`).
"""

from __future__ import annotations

from gateway.b2bua.record import CallRecord
from gateway.ledger.canaries import CanaryKeeper
from gateway.ledger.past import Historian
from gateway.rules.history import LONGEST
from gateway.rules.trials import News
from gateway.rules.unwanted import Feedback

from .mesh import Mesh
from .notes import Earlier, EndedCall, FeedbackChanged, Note, Stops, Unwanted

_AT_A_TIME = 500  # calls in one note; about 60 kB


class EarlierCalls:
    """One worker's part. It is the sink that the core hands records to, and the one for feedback.

    ``is_counting`` tells whether rules in force, or about to be, count earlier calls.
    """

    def __init__(self, mesh: Mesh, historian: Historian, canaries: CanaryKeeper) -> None:
        self.is_counting = False
        self._mesh = mesh
        self._historian = historian
        self._canaries = canaries
        self._ended: list[EndedCall] = []
        self._trials: list[News] = []
        self._number = 0
        self._heard: dict[int, int] = {}  # number of the last note, by worker
        historian.on_change = lambda: mesh.tell_others(FeedbackChanged())

    def record(self, record: CallRecord) -> None:
        """Take the record of a call that has just ended. Returns at once and never raises."""
        if self.is_counting and record.attempts:
            self._ended.append(
                EndedCall(
                    record.caller if len(record.caller) <= LONGEST else "",
                    record.called if len(record.called) <= LONGEST else "",
                    record.callee_trunk,
                    record.ringing_at,
                    record.answered_at,
                    record.ended_at,
                    record.original_status,
                    record.origin,
                    record.attempts,
                )
            )
            if len(self._ended) >= _AT_A_TIME:
                self.settle()

    def trial(self, news: News) -> None:
        """Take what befell a call that canaries had to do with."""
        self._trials.append(news)
        if len(self._trials) >= _AT_A_TIME:
            self.settle()

    def feedback(self, feedback: Feedback) -> None:
        """Take a callee's word about a caller; the first worker keeps it."""
        self._historian.feedback(feedback)
        self._mesh.tell_others(Unwanted(feedback))

    def settle(self) -> None:
        """Tell the others what there is to tell; with each tick."""
        count = len(self._ended) + len(self._trials)
        if count:
            self._number += 1
            note = Earlier(self._mesh.index, self._number, self._ended, self._trials)
            self._mesh.tell_others(note, count)
            self._ended, self._trials = [], []

    def tell_stops(self) -> None:
        """Tell the others which canaries are stopped, as far as no database says so."""
        events = self._canaries.unkept
        if events:
            self._mesh.tell_others(Stops(events))

    def heed(self, note: Note) -> bool:
        """Take what another worker says; tell whether it was about this."""
        if isinstance(note, Earlier):
            self._hear(note)
        elif isinstance(note, Unwanted):
            self._historian.feedback(note.feedback)
        elif isinstance(note, FeedbackChanged):
            self._historian.read_feedback_anew()
        elif isinstance(note, Stops):
            self._canaries.hear(note.events)
        else:
            return False
        return True

    def _hear(self, note: Earlier) -> None:
        last = self._heard.get(note.worker)
        self._heard[note.worker] = note.number
        if last is not None and note.number not in (1, last + 1):
            self._historian.missed()
        history, trials = self._historian.history, self._canaries.trials
        if history is not None:
            for call in note.ended:
                history.record(call)
        if trials is not None:
            for news in note.trials:
                trials.hear(news)
