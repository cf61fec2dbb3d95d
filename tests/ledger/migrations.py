"""The migrations as Alembic sees them, and a database that only the first of them has made."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import URL

import gateway.ledger
from gateway.ledger import database


def migrations() -> Config:
    """Return the settings by which Alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(gateway.ledger.__file__).parent / "migrations"))
    return config


def make_first(url: URL) -> None:
    """Make the tables of version 0001 in an empty database."""
    engine = database.connect(url, writing=True)
    with engine.begin() as connection:
        config = migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
