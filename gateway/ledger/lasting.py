"""An engine that outlives its uses, for those who ask a database again and again while calls go on.

SQLAlchemy's engines are full of reference cycles, and the garbage collector of a running gateway looks at
what is new once and never again (`gateway/garbage.py`): an engine for each use would be memory lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa


class LastingEngine:
    """Has its engine from ``make`` when it is first used, and again after a use that failed. Between uses no
    connection stands, so that a file that was replaced is found. May be used by several threads.
    """

    def __init__(self, make: Callable[[], sa.Engine]) -> None:
        self._make = make
        self._engine: sa.Engine | None = None

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Open a connection for one transaction. Raises what ``make`` and SQLAlchemy raise."""
        engine = self._engine = self._engine or self._make()
        try:
            with engine.begin() as connection:
                yield connection
        except BaseException:
            self._engine = None
            raise
        finally:
            engine.dispose()
