"""What is kept of a rule file that comes into force."""

from __future__ import annotations

import pytest

from gateway.ledger.versions import version_of
from gateway.rules import compile_rules
from gateway.toml_source import TomlSource

RULE = """
[[rule]]
name = "one" # not this
when.phrase = "#nor this"
then.status = 404
"""


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("version = 1\n", ""),
        ("# First.\n# Second.\nversion = 1\n", "First."),
        (f"version = 1 # no\n{RULE}  ## That one.  \r\n# Not that.\n", "That one."),
        (f"version = 1\n{RULE}# At the end", "At the end"),
        (f"version = 1\n{RULE}", ""),
        ("# " + "long " * 100 + "\nversion = 1\n", ("long " * 100)[:200]),
    ],
)
def test_a_version_is_known_by_the_first_comment_of_its_file(text: str, comment: str) -> None:
    rules = compile_rules(TomlSource.parse(text, "rules.toml"), None)
    version = version_of(rules, 1.0)
    assert (version.comment, version.text) == (comment, rules.source.text)
    assert version.hash == rules.version_hash
