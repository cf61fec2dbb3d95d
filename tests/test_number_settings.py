"""[trunk.numbers], `hide_topology`, `keep` and `nat` in gateway.toml, and the sentence each mistake gets."""

from __future__ import annotations

import pytest

from gateway.config import SettingsErrors, TrunkSettings, parse
from gateway.number_settings import NumberSettings
from tests.loaded import loaded_by

TRUNK = '[[trunk]]\nname = "pbx"\nsource = ["10.0.0.1"]\n'
"""Three lines: what a test adds below it stands on line 4, and below [trunk.numbers] on line 5."""


def trunk(text: str) -> TrunkSettings:
    return parse(TRUNK + text).trunks[0]


def sentences(text: str) -> list[str]:
    with pytest.raises(SettingsErrors) as caught:
        parse(TRUNK + text)
    return [str(error) for error in caught.value.errors]


def test_all_of_it_is_off_by_default() -> None:
    plain = trunk("")
    assert (plain.hide_topology, plain.keep, plain.nat, plain.numbers) == (False, (), False, None)
    assert trunk("[trunk.numbers]\n").numbers == NumberSettings()


def test_the_keys_are_read() -> None:
    read = trunk('hide_topology = true\nkeep = ["X-Account"]\nnat = true\n')
    assert (read.hide_topology, read.keep, read.nat) == (True, ("X-Account",), True)
    text = "[trunk.numbers]\nregion = \"DE\"\nsend = \"international\"\ncalled_in = [['^9(.*)', '\\1']]\n"
    numbers = trunk(text + "caller_out = [['a', 'b'], ['c', 'd']]\nwith_identity = true\n").numbers
    assert numbers is not None
    assert (numbers.region, numbers.send, numbers.with_identity) == ("DE", "international", True)
    assert [(regex.pattern, to) for regex, to in numbers.called_in] == [("^9(.*)", "\\1")]
    assert [(regex.pattern, to) for regex, to in numbers.caller_out] == [("a", "b"), ("c", "d")]
    assert numbers.called_out == numbers.caller_in == ()


PAIRS = "write [['REGEX', 'REPLACEMENT'], …]"


REGION = 'is not a region with a numbering plan; write its two letters, such as "GB"'
HOSTILE = (
    "'(a+)+b' repeats something that can itself match in several ways, which can take for ever on a hostile "
    "text; give the outer repeat a limit of at most 8, such as {1,8}"
)
BROKEN = (
    "'(a' is not a regular expression: missing ), unterminated subpattern at position 0; "
    "correct it, or put a \\ before a sign that stands for itself"
)
NO_GROUP = (
    "'\\\\2' cannot replace what 'a' finds: invalid group reference 2 at position 1; "
    "write \\1 for the first group; a group must be in the expression"
)
FORM = '"local" is not one of the choices; write e164, national, international or as-is'
NOWHERE = '"national" means something else in each country; add region = "…", such as "GB"'
SEVERAL = (
    "in BR there are several prefixes for calls abroad; "
    'write send = "e164" and a called_out that replaces the +'
)
USELESS = "without hide_topology every header passes anyway; add hide_topology = true, or leave it out"
UNKNOWN = 'this key is not known; did you mean "called_in"?'


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ('keep = ["X-A"]', "keep", USELESS),
        ('keep = ["Via"]', "keep[0]", "Via is made by the gateway for each leg; name another header"),
        ("numbers = 1", "numbers", "1 is a number; write numbers.KEY = …"),
        ('numbers.region = "XX"', "numbers.region", f'"XX" {REGION}'),
        ('numbers.region = "uk"', "numbers.region", f'"uk" {REGION}'),
        ('numbers.send = "local"', "numbers.send", FORM),
        ('numbers.send = "national"', "numbers.send", NOWHERE),
        ('numbers = {send = "international", region = "BR"}', "numbers.send", SEVERAL),
        ('numbers.called_in = "x"', "numbers.called_in", f"it does not say what to change; {PAIRS}"),
        ('numbers.called_in = ["x"]', "numbers.called_in[0]", f"this is not a pair of texts; {PAIRS}"),
        ("numbers.caller_in = [['(a', '']]", "numbers.caller_in[0]", BROKEN),
        ("numbers.caller_in = [['(a+)+b', '']]", "numbers.caller_in[0]", HOSTILE),
        ("numbers.caller_out = [['a', '\\2']]", "numbers.caller_out[0]", NO_GROUP),
        ("numbers.called = 1", "numbers.called", UNKNOWN),
    ],
)
def test_each_mistake_is_said_with_its_line(text: str, key: str, problem: str) -> None:
    assert sentences(text) == [f"gateway.toml:4: trunk[pbx].{key}: {problem}"]


def test_the_tables_of_the_worlds_numbers_are_loaded_on_demand_only() -> None:
    """They cost 50 ms and some megabytes, which a gateway without a region does not pay."""
    loaded = loaded_by("import gateway.app")
    assert "gateway.app" in loaded
    assert "phonenumbers" not in loaded
