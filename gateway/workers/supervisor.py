"""The supervisor: starts the workers, starts them again, and tells them all the same.

It reads the configuration, binds every socket and forks, once for each worker; so a worker that takes the
place of a dead one needs nothing but what is in memory, and has the version that is in force. It carries no
calls. While a worker is away it reads what comes to that worker's UDP sockets and gives it to the owners,
so that nobody else's calls wait; what the dead one owned waits in its inbox for the next.

All is done in one thread, one thing at a time: reading signals, what workers say, and what is due. Only the
files of a reload are read in another, as they may be on a server that is gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from gateway import app, garbage
from gateway.b2bua.core import Setup
from gateway.config import Config, SettingsErrors, numbers_key
from gateway.console.server import open_socket as open_console
from gateway.console.server import token_of
from gateway.ledger.database import LedgerError, open_for_writing, parse_url
from gateway.reading import LONGEST_READING, TOO_SLOW
from gateway.service_manager import ServiceManager
from gateway.transport.tls import Certificates
from gateway.wall import make_clock

from . import orphans
from .board import AWAY, HANGS, LIMITED, SERVES, SILENT, Board
from .control import control_pair, hear, say
from .listening import bind
from .mesh import Inbox, Outboxes
from .notes import (
    Changed,
    Drain,
    Drained,
    Note,
    Prepare,
    Prepared,
    Ready,
    Stop,
    StreamsLost,
    Switch,
)
from .ownership import FIRST
from .place import Place
from .pulse import Pulse
from .reload import Reading, Reload
from .seat import Seat, workers_of
from .standin import StandIn
from .versions import number_limits, read_version
from .worker import Worker

log = logging.getLogger("gateway")

_SETTLED = 60.0  # seconds after which a worker that dies is started again at once
_FIRST_PAUSE = 0.1  # seconds, twice as many with each death that follows soon
_LONGEST_PAUSE = 30.0
_CHANGING = 5  # versions that are tried when files change while they are read
_ENDING = 30.0  # seconds that a worker may take to end, then it is killed


class Supervisor:
    """Raises SettingsErrors when made from a configuration that cannot be served."""

    def __init__(self, path: Path | None, manager: ServiceManager) -> None:
        self._path = path
        self._version = read_version(path, None, whole=True)
        config = self._version.config
        count = self._workers = workers_of(config)
        numbers_key(config, os.environ)
        Certificates(config)
        console = config.console.listen
        if console is not None:
            token_of(config, console, os.environ)
        self._slots: dict[str, int] = {}
        self._number_limits(config, self._version.setup)
        self._listening = bind(config, count)
        self._console = None if console is None else open_console(config, console)
        self._inboxes = [Inbox.open() for _ in range(count)]
        self._board = Board(count)
        self._clock = make_clock()
        self._places = [
            Place(index, [each.socks[index] for each in self._listening if each.transport == "udp"])
            for index in range(count)
        ]
        self._outboxes = Outboxes(None, self._inboxes)
        self._selector = selectors.DefaultSelector()
        self._stand_in = StandIn(self._selector, self._listening, self._outboxes)
        self._pulse = Pulse(self._board)
        self._manager = manager
        self._signals: list[int] = []
        self._serial = 0
        self._reading: Reading | None = None
        self._reload: Reload | None = None
        self._again = ""  # "rules" or "whole": asked for while another reload was under way
        self._is_ready = False
        self._drain_until = 0.0  # 0: not draining
        self._stop_until = 0.0  # 0: not stopping
        self._code = 0

    def run(self) -> int:
        """Serve until told to stop, and return the exit code."""
        _prepare_ledger(self._version.config)
        self._heed_signals()
        garbage.tame()
        for place in self._places:
            if not self._stop_until:
                self._start(place)
        while not self._is_over():
            for key, _ in self._selector.select(self._until_due()):
                handle, what = key.data
                handle(what)
            self._obey_signals()
            self._bury_dead()
            self._do_what_is_due()
        return self._code

    # -- workers ----------------------------------------------------------------------------------------

    def _start(self, place: Place) -> None:
        """Have somebody take a place; later, where the system has no room for one more now."""
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.ExitStack() as opened:
            try:
                ours, theirs = map(opened.enter_context, control_pair())
                pid = os.fork()
            except OSError as error:
                self._put_off(place, error)
                return
            opened.pop_all()
        if pid == 0:
            ours.close()
            code = self._work(place, theirs)
            logging.shutdown()
            os._exit(code)
        theirs.close()
        self._stand_in.end(place.sockets)
        place.pid, place.control, place.line = pid, ours, ""
        place.started_at = time.monotonic()
        place.has_drained = False
        self._pulse.begin(place.index)
        self._selector.register(ours, selectors.EVENT_READ, (self._hear, place))
        if self._reload is not None:
            self._order(place, self._reload)  # it has what is still in force, as all others

    def _put_off(self, place: Place, error: OSError) -> None:
        """Try again after a while, for which the stand-in goes on; at the first start of all, give up."""
        if not self._is_ready:
            log.error("worker %d cannot be started (%s); the gateway ends", place.index, error)
            self._code = 1
            self._stop()
            return
        self._pause(place)
        seconds = place.start_at - time.monotonic()
        log.error("worker %d cannot be started (%s); tried again in %.1f s", place.index, error, seconds)

    def _pause(self, place: Place) -> None:
        """Have the next worker start after the place's pause, and make the one after that longer."""
        place.start_at = time.monotonic() + place.pause
        place.pause = min(max(2 * place.pause, _FIRST_PAUSE), _LONGEST_PAUSE)

    def _work(self, place: Place, control: socket.socket) -> int:
        """Be a worker, and return its exit code."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for other in self._places:
                if other.control is not None:
                    other.control.close()
                if other is not place:
                    for sock in other.sockets:
                        sock.close()
            seat = Seat(
                place.index,
                self._inboxes,
                self._listening,
                self._console,
                self._board,
                self._slots,
                control,
                place.estate,
                place.died_at,
                self._clock,
            )
            app.serve(Worker(seat, self._path, self._version))
        except SettingsErrors as errors:
            for error in errors.errors:
                print(error, file=sys.stderr)
            return 2
        except BaseException:
            log.exception("worker %d failed; this is a bug of the gateway", place.index)
            return 1
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
        return 0

    def _bury_dead(self) -> None:
        """Take note of workers that have ended."""
        for place in self._places:
            if not place.pid:
                continue
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if pid:
                self._lose(place, os.waitstatus_to_exitcode(status))
        if os.getpid() == 1:
            orphans.bury({place.pid for place in self._places})

    def _lose(self, place: Place, code: int) -> None:
        assert place.control is not None
        self._selector.unregister(place.control)
        place.control.close()
        place.control, place.pid = None, 0
        if self._reload is not None:
            self._reload.waits_for.discard(place.index)
        if self._stop_until:
            return
        if not self._is_ready:
            # What keeps one from starting keeps all.
            self._code = code if code > 0 else 1
            self._stop()
            return
        lost = self._board.bury(place.index)
        self._board.say(place.index, AWAY)
        place.died_at = self._clock()
        if time.monotonic() - place.started_at > _SETTLED:
            place.pause = 0.0
        log.error(
            "worker %d has died (%s) with about %d calls; another takes its place%s",
            place.index,
            f"signal {-code}" if code < 0 else f"code {code}",
            lost,
            f" in {place.pause:g} s" if place.pause else "",
        )
        self._pause(place)
        if self._drain_until:
            place.has_drained = True  # its calls are gone, and there will be no new ones
            self._end_drain()
        self._stand_in.begin(place.sockets)
        if place.index == FIRST:
            self._tell_all(StreamsLost())

    def _heed_silent(self, now: float) -> None:
        """Stand in for workers that do not answer, and kill those that have not for long."""
        if self._stop_until or not self._pulse.look(now):
            return
        for place in self._places:
            if not place.pid:
                continue
            state = self._pulse.state(place.index)
            if state == HANGS:
                log.error("worker %d does not answer; it is killed", place.index)
                self._board.count_hang()
                os.kill(place.pid, signal.SIGKILL)
                self._pulse.begin(place.index)
            elif state != self._board.state(place.index) and place.line:
                self._board.say(place.index, state)
                (self._stand_in.begin if state == SILENT else self._stand_in.end)(place.sockets)

    # -- what workers say -------------------------------------------------------------------------------

    def _hear(self, place: Place) -> None:
        assert place.control is not None
        try:
            note = hear(place.control)
        except BlockingIOError:
            return
        if note is None:
            os.waitid(os.P_PID, place.pid, os.WEXITED | os.WNOWAIT)  # it has closed its end by ending
            return
        self._heed(place, note)

    def _heed(self, place: Place, note: Note) -> None:
        if isinstance(note, Ready):
            place.line = note.line
            self._board.say(place.index, SERVES)
            if self._is_ready:
                log.info("worker %d serves again", place.index)
            elif all(each.line for each in self._places):
                self._is_ready = True
                log.info("%d workers serve", self._workers)
                app.announce(self._places[FIRST].line)
                self._manager.say_ready(self._places[FIRST].line, time.monotonic())
            if self._drain_until and place.control is not None:
                say(place.control, Drain())
        elif isinstance(note, Changed):
            self._begin_reload(whole=False)
        elif isinstance(note, Prepared):
            self._note_prepared(place, note)
        elif isinstance(note, Drained):
            place.has_drained = True
            self._end_drain()

    # -- versions ---------------------------------------------------------------------------------------

    def _begin_reload(self, *, whole: bool, attempt: int = 1) -> None:
        """Begin to read rules, or configuration and rules; after another reload where one is under way."""
        if self._reading is not None or self._reload is not None:
            self._again = "whole" if whole else self._again or "rules"
            return
        self._serial += 1
        read = partial(read_version, self._path, self._version, whole=whole)
        self._reading = Reading(read, whole, attempt, self._wake_up)

    def _end_reading(self, reading: Reading) -> None:
        """Have the workers read what was read, if it is right."""
        self._reading = None
        serial = self._serial
        try:
            version = reading.outcome()
            self._number_limits(version.config, version.setup)
        except SettingsErrors as errors:
            self._refuse(serial, [str(error) for error in errors.errors])
            return
        except Exception:
            log.exception("configuration and rules could not be read; this is a bug of the gateway")
            self._refuse(serial, [])
            return
        if not reading.whole and version.digest == self._version.digest:
            self._tell_all(Switch(serial, to_work=False))
            self._reload_again()
            return
        until = time.monotonic() + LONGEST_READING
        self._reload = Reload(serial, version, reading.whole, reading.attempt, until)
        for place in self._places:
            self._order(place, self._reload)

    def _go_on_reloading(self, now: float) -> None:
        """Go on where reading has come to an end, or takes too long."""
        reading, reload = self._reading, self._reload
        if reading is not None:
            if reading.is_over:
                self._end_reading(reading)
            elif now > reading.until:
                self._reading = None
                self._refuse(self._serial, [str(TOO_SLOW)])
        if reload is not None:
            if not reload.waits_for:
                self._end_reload(reload)
            elif now > reload.until:
                self._reload = None
                self._refuse(reload.serial, [f"workers {sorted(reload.waits_for)} have not read it in time"])

    def _order(self, place: Place, reload: Reload) -> None:
        """Have one worker read a version."""
        order = Prepare(reload.serial, reload.whole, reload.version.digest, self._slots)
        if place.control is not None and say(place.control, order):
            reload.waits_for.add(place.index)

    def _note_prepared(self, place: Place, note: Prepared) -> None:
        reload = self._reload
        if reload is None or note.serial != reload.serial:
            return
        if note.errors or note.digest != reload.version.digest:
            # The files have changed again, or this worker sees other ones.
            self._reload = None
            if reload.attempt < _CHANGING:
                self._begin_reload(whole=reload.whole, attempt=reload.attempt + 1)
            else:
                self._refuse(reload.serial, note.errors or [f"worker {place.index} has read other files"])
            return
        reload.waits_for.discard(place.index)

    def _end_reload(self, reload: Reload) -> None:
        """All have read it: put it to work everywhere."""
        self._reload = None
        self._version = reload.version
        for place in self._places:
            if place.control is not None and not say(place.control, Switch(reload.serial, to_work=True)):
                os.kill(place.pid, signal.SIGKILL)  # it does not listen; the next one has the new version
        rules = reload.version.setup.rules.version_hash
        log.info("%s %s are in force", "configuration and rules" if reload.whole else "rules", rules)
        self._reload_again()

    def _refuse(self, serial: int, errors: list[str]) -> None:
        for error in errors:
            log.error("%s", error)
        log.error("configuration and rules in force stay as they are")
        self._tell_all(Switch(serial, to_work=False))
        self._reload_again()

    def _reload_again(self) -> None:
        again, self._again = self._again, ""
        if again:
            self._begin_reload(whole=again == "whole")

    def _number_limits(self, config: Config, setup: Setup) -> None:
        if not number_limits(setup, self._slots):
            problem = f"several workers serve {LIMITED} trunks with limits over their time, and no more"
            raise SettingsErrors([config.source.error(("gateway", "workers"), problem, "start anew")])

    # -- the end ------------------------------------------------------------------------------------------

    def _heed_signals(self) -> None:
        reading, writing = socket.socketpair()
        reading.setblocking(False)
        writing.setblocking(False)
        self._wake = (reading, writing)
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda given, _frame: self._signals.append(given))
        signal.signal(signal.SIGCHLD, lambda _given, _frame: None)
        self._selector.register(reading, selectors.EVENT_READ, (_empty, reading))

    def _wake_up(self) -> None:
        """Have what is due looked at; called in any thread."""
        with contextlib.suppress(OSError):  # it is about to be woken anyway
            self._wake[1].send(b"\0")

    def _obey_signals(self) -> None:
        while self._signals:
            if self._signals.pop(0) == signal.SIGHUP:
                self._begin_reload(whole=True)
            elif not self._drain_until and self._is_ready:
                self._drain_until = time.monotonic() + self._version.config.gateway.drain
                self._manager.say_stopping()
                self._tell_all(Drain())
                for place in self._places:
                    place.has_drained = not place.pid
                self._end_drain()
            else:
                self._stop()

    def _end_drain(self) -> None:
        if all(place.has_drained for place in self._places):
            self._stop()

    def _stop(self) -> None:
        if not self._stop_until:
            self._stop_until = time.monotonic() + _ENDING
            self._tell_all(Drain())
            self._tell_all(Stop())

    def _is_over(self) -> bool:
        return self._stop_until > 0 and not any(place.pid for place in self._places)

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        self._manager.beat(now)
        self._outboxes.settle()
        self._heed_silent(now)
        self._go_on_reloading(now)
        if self._stop_until:
            if now > self._stop_until:
                for place in self._places:
                    if place.pid:
                        log.error("worker %d does not end; it is killed", place.index)
                        os.kill(place.pid, signal.SIGKILL)
                self._stop_until = now + _ENDING
            return
        if self._drain_until:
            if now > self._drain_until:
                self._stop()
            return
        for place in self._places:
            if not place.pid and now >= place.start_at:
                self._start(place)

    def _until_due(self) -> float:
        """Return the seconds to the next thing that is due by itself; a second at most."""
        now = time.monotonic()
        due = [place.start_at for place in self._places if not place.pid]
        return max(0.0, min([1.0, self._manager.due - now, *(at - now for at in due)]))

    def _tell_all(self, note: Note) -> None:
        for place in self._places:
            if place.control is not None:
                say(place.control, note)


def _empty(wake: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        wake.recv(4096)


def _prepare_ledger(config: Config) -> None:
    """Bring the database up to date before workers open it all at once; they say what is wrong with it."""
    if config.ledger.url:
        with contextlib.suppress(LedgerError, sa.exc.SQLAlchemyError, OSError):
            open_for_writing(parse_url(config.ledger.url)).dispose()
