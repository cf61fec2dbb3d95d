"""Notes which rows of the state tables the dialogue tests reach (tests/tables.py)."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.tables import DIALOGUES, Cell, is_dialogue, noting

REACHED = pytest.StashKey[set[Cell]]()
PARTIAL = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing reached, and with signals as a terminal has them: programs that are started in the
    background may have been told to ignore some, and those that the tests start would inherit that.
    """
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    config.stash[REACHED] = set()
    config.stash[PARTIAL] = "single tests were asked for" if any("::" in arg for arg in config.args) else ""


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Some tests are left out by -k, -m or --lf."""
    for item in items:
        if is_dialogue(item.path):
            item.config.stash[PARTIAL] = "dialogue tests were deselected"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ask for the rows when all dialogues have been played."""
    items.sort(key=lambda item: item.path.name == "test_rows_reached.py")
    there = {path for folder in DIALOGUES for path in folder.glob("test_*.py") if is_dialogue(path)}
    missing = there - {item.path for item in items}
    if missing and not config.stash[PARTIAL]:
        config.stash[PARTIAL] = f"{min(missing).name} is not run"


@pytest.fixture(autouse=True)
def _note_rows(request: pytest.FixtureRequest) -> Iterator[None]:
    if is_dialogue(request.path):
        with noting(request.config.stash[REACHED]):
            yield
    else:
        yield


@pytest.fixture(scope="session")
def rows_reached(request: pytest.FixtureRequest) -> set[Cell]:
    """What the dialogue tests have reached; the test is skipped unless all of them ran and passed."""
    if request.config.stash[PARTIAL]:
        pytest.skip(request.config.stash[PARTIAL])
    if request.session.testsfailed:
        pytest.skip("a test failed before")
    return request.config.stash[REACHED]
