"""What the parts of the gateway have in common."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio

from gateway.app import Gateway
from gateway.config import load
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
