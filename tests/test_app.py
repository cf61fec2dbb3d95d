"""What the parts of the gateway have in common."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from gateway import garbage, reading
from gateway.app import Gateway
from gateway.config import load
from gateway.ledger.packing import RowMaker
from gateway.ledger.spool import Spool, of_worker
from tests.ledger.records import rewritten

DECADES = 1e9


def test_records_are_as_old_as_calls_are_whatever_becomes_of_the_machines_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a battery starts in another time; by what it was set to, all records were too old."""
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[gateway]\nlisten = ["udp:127.0.0.1:0"]\n[console]\nlisten = ""\n[ledger]\nurl = "sqlite:///l.db"\n'
        '[[trunk]]\nname = "pbx"\nkind = "pbx"\nsource = ["127.0.0.1"]\ntarget = ["sip:127.0.0.1"]\n'
    )
    began = time.time() - DECADES

    async def run() -> None:
        with monkeypatch.context() as unset:
            unset.setattr(time, "time", lambda: began)
            gateway = Gateway(load(config), config)
        assert gateway.ledger is not None
        gateway.ledger.record(rewritten(1, ended_at=began))
        assert gateway.ledger.lag < 3600
        gateway.ports.close()

    trio.run(run)


def test_a_gateway_alone_takes_over_what_workers_of_an_earlier_start_have_left(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[gateway]\nlisten = ["udp:127.0.0.1:0"]\n[console]\nlisten = ""\n'
        f'[ledger]\nurl = "sqlite:///{tmp_path / "l.db"}"\nspool = "{tmp_path / "spool"}"\n'
        '[[trunk]]\nname = "pbx"\nkind = "pbx"\nsource = ["127.0.0.1"]\ntarget = ["sip:127.0.0.1"]\n'
    )
    waiting = Spool(of_worker(tmp_path / "spool", 3))
    waiting.append([RowMaker().encoded(rewritten(1))])
    waiting.close()
    gateway = Gateway(load(config), config)
    ledger = gateway.ledger
    assert ledger is not None

    async def run() -> None:
        await ledger.open()
        await ledger.flush()
        await ledger.close()

    trio.run(run)
    gateway.ports.close()
    assert (ledger.written, waiting.path.exists()) == (1, False)


def test_a_number_list_that_changes_between_being_read_and_being_watched_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the gateway starts, that may be long: a database is brought up to date, names are looked up."""
    config, numbers = tmp_path / "gateway.toml", tmp_path / "dead.txt"
    config.write_text(
        f'[gateway]\nlisten = ["udp:127.0.0.1:0"]\nrules = "{tmp_path / "rules.toml"}"\n'
        '[console]\nlisten = ""\n[ledger]\nurl = ""\n'
        '[[trunk]]\nname = "pbx"\nkind = "pbx"\nsource = ["127.0.0.1"]\ntarget = ["sip:127.0.0.1"]\n'
    )
    rule = 'name = "dead"\nwhen.called.list = "dead.txt"\nthen.status = 404'
    (tmp_path / "rules.toml").write_text(f"version = 1\n[[rule]]\n{rule}\n")
    numbers.write_text("100\n")
    gateway = Gateway(load(config), config)
    monkeypatch.setattr(garbage, "look", lambda: None)

    async def run() -> None:
        before = gateway.b2bua.setup.rules
        await trio.sleep(1.5)
        assert gateway.b2bua.setup.rules is before  # what has not changed is not read again
        gateway.stop()

    async def run_changed() -> None:
        before = gateway.b2bua.setup.rules
        with trio.move_on_after(5):
            while gateway.b2bua.setup.rules is before:
                await trio.sleep(0.05)
        assert gateway.b2bua.setup.rules is not before
        gateway.stop()

    async def main(play: Callable[[], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gateway.run)
            nursery.start_soon(play)

    trio.run(main, run)
    gateway = Gateway(load(config), config)
    new = tmp_path / "new"
    new.write_text("200\n")
    new.replace(numbers)
    trio.run(main, run_changed)


def test_files_that_cannot_be_read_to_their_end_do_not_keep_others_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who reads a pipe waits for its writer, as who reads on a file server that is gone."""
    monkeypatch.setattr(reading, "LONGEST_READING", 0.5)
    config, rules = tmp_path / "gateway.toml", tmp_path / "rules.toml"
    config.write_text(
        '[gateway]\nlisten = ["udp:127.0.0.1:0"]\nrules = "rules.toml"\n[console]\nlisten = ""\n'
        '[ledger]\nurl = ""\n[[trunk]]\nname = "pbx"\nsource = ["127.0.0.1"]\n'
    )
    rules.write_text("version = 1\n")
    gateway = Gateway(load(config), config)
    gateway.ports.close()
    before = gateway.b2bua.setup.rules

    async def main() -> None:
        for reload in (gateway.reload, gateway.reload_rules):
            rules.unlink()
            os.mkfifo(rules)
            with trio.fail_after(10):
                await reload()
            assert gateway.b2bua.setup.rules is before
            assert "the files have not been read within " in caplog.text
            caplog.clear()
            with rules.open("w"):  # which lets the reader go
                pass
        rules.unlink()
        rules.write_text("version = 1\n# the newest\n")
        await gateway.reload()
        assert gateway.b2bua.setup.rules is not before

    trio.run(main)
