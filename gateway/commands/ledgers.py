"""Opening the ledger for a command, and saying in one sentence what stands in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from gateway import config as settings
from gateway.config import Config
from gateway.ledger.database import LedgerError, opened, reason
from gateway.toml_source import SettingsError

from .output import FAILED, complain
from .sources import ledger_url


class Refused(Exception):  # noqa: N818 (it carries a sentence, not an error of ours)
    """What was asked for cannot be had; `str()` is the sentence for the person who asked."""


def with_ledger(
    url: str,
    config: Path | None,
    work: Callable[[sa.Connection, Config], int],
    *,
    writing: bool = False,
) -> int:
    """Return the exit code of `work`, done with the ledger at `url`, or else the configured one, open.

    What `work` changes with `writing` counts when it returns.
    """
    try:
        loaded = settings.load(config)
        with opened(url or ledger_url(loaded), writing=writing) as connection:
            return work(connection, loaded)
    except (LedgerError, settings.SettingsErrors, SettingsError, Refused) as error:
        complain(error)
    except sa.exc.SQLAlchemyError as error:
        use = "written" if writing else "read"
        complain(f"the ledger cannot be {use} ({reason(error)}); try again, or run `gateway doctor`")
    return FAILED
