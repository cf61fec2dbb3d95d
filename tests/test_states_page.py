"""The page of state diagrams shows the tables that run."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_is_what_the_script_draws_today() -> None:
    drawn = runpy.run_path(str(DOCS / "diagrams.py"))["render"]()
    assert (DOCS / "states.md").read_text(encoding="utf-8") == drawn, "run: python docs/diagrams.py"
