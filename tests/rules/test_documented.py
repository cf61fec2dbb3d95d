"""The rules that the documentation shows can be copied: they are read as they stand, and do what is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.rules.support import facts, rules, told

ROOT = Path(__file__).parents[2]
BLOCKS = [
    block
    for page in ("README.md", "docs/rules.md")
    for block in re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    if "[[rule]]" in block
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.search('name = "(.+)"', block)[1])
def test_rules_in_the_documentation_are_read_as_they_stand(block: str) -> None:
    assert rules(block.removeprefix("version = 1\n"), None).rules


@pytest.mark.parametrize(
    ("cause", "start"),
    [
        (41, "503 Service Unavailable"),
        (57, "403 Forbidden"),
        (88, "503 Service Unavailable"),
        (102, "504 Server Time-out"),
        (21, "603 Decline"),
    ],
)
def test_a_603_of_an_asterisk_that_means_its_network_is_told_by_its_cause(cause: int, start: str) -> None:
    (recipes,) = (block for block in BLOCKS if "trouble-of-an-asterisk" in block)
    known = facts("603 Decline", f"Reason: Q.850;cause={cause}")
    assert told(rules(recipes, None), known)[0] == start
