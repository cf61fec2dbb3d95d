"""The reader of TOML text must name the line a person has to look at, whatever shape the text has."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.toml_source import SettingsError, SettingsErrors, TomlSource, closest

RULES = """\
version = 1   # [[rule]] in a comment is no rule

[[rule]]
name = "dead"
when.status = 603
when.from = [
    "carrier*",   # "]" here closes nothing
    'kind:peer',

    "a ] b",
]
then = { status = 404, set = { "X-A" = "b, } c" } }

[[rule]]
name = "gone"
description = \"\"\"
[[rule]]
name = "not a rule"
when.status = 1 \\
\\\"\"\"\\\" still text\"\"\"
note = '''
[table]
'''
[rule.when]
status = 604
q850 = [[1,
  2], [3]]
called.prefix = "+1"

[[rule]]
"quoted.key" = 1
header."X-Reason" = 2024-01-01 10:00:00
[rule.then.set]
A = "1"
[other]
x . y = 1.5
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("version",), 1),
        (("rule",), 3),
        (("rule", 0), 3),
        (("rule", 0, "name"), 4),
        (("rule", 0, "when"), 5),
        (("rule", 0, "when", "status"), 5),
        (("rule", 0, "when", "from"), 6),
        (("rule", 0, "when", "from", 0), 7),
        (("rule", 0, "when", "from", 1), 8),
        (("rule", 0, "when", "from", 2), 10),
        (("rule", 0, "then", "set", "X-A"), 12),
        (("rule", 1), 14),
        (("rule", 1, "name"), 15),
        (("rule", 1, "description"), 16),
        (("rule", 1, "note"), 21),
        (("rule", 1, "when"), 24),
        (("rule", 1, "when", "status"), 25),
        (("rule", 1, "when", "q850", 0, 0), 26),
        (("rule", 1, "when", "q850", 0, 1), 27),
        (("rule", 1, "when", "q850", 1), 27),
        (("rule", 1, "when", "called", "prefix"), 28),
        (("rule", 2), 30),
        (("rule", 2, "quoted.key"), 31),
        (("rule", 2, "header", "X-Reason"), 32),
        (("rule", 2, "then", "set", "A"), 34),
        (("other",), 35),
        (("other", "x", "y"), 36),
    ],
)
def test_each_key_is_found_on_its_line(path: tuple[str | int, ...], line: int) -> None:
    assert TomlSource.parse(RULES, "rules.toml").line(*path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("rule", 0, "when", "absent"), 5),
        (("rule", 0, "absent", "deeper"), 3),
        (("rule", 1, "when", "status", "deeper"), 25),
        (("rule", 7), 3),
        (("absent",), 1),
        ((), 1),
    ],
)
def test_what_is_absent_is_placed_at_what_is_around_it(path: tuple[str | int, ...], line: int) -> None:
    assert TomlSource.parse(RULES, "rules.toml").line(*path) == line


def test_windows_line_ends_and_a_byte_order_mark_do_not_move_the_lines() -> None:
    source = TomlSource.parse("\ufeff" + RULES.replace("\n", "\r\n"), "rules.toml")
    assert source.data == TomlSource.parse(RULES, "rules.toml").data
    assert source.line("other", "x", "y") == 36


def every_path(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else []
    return [path, *(below for key, child in pairs for below in every_path(child, (*path, key)))]


def test_the_walk_notes_every_key_that_tomli_reads_and_no_other() -> None:
    source = TomlSource.parse(RULES, "rules.toml")
    assert source.line() == 1  # which makes it walk
    assert set(source._lines) == set(every_path(source.data)) - {()}


TEXTS = ['"a"', "'#]'", '"""x\ny"""', "'''}\n'''", '"\\"]"']
SCALARS = st.sampled_from(["1", "-2.5", "true", "2024-01-01", "[]", *TEXTS])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[ # c ]\n " + ",\n".join(items) + "\n]"),
        st.lists(SCALARS, max_size=3).map(
            lambda items: "{" + ", ".join(f"k{at}.x = {item}" for at, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.sampled_from(["", "[t{}]\n", "[[a]]\n", "[a.s{}]\n"]), VALUES), max_size=6))
def test_whatever_tomli_accepts_is_walked_to_the_end(parts: list[tuple[str, str]]) -> None:
    text = "[[a]]\n"
    expected: dict[str | int, int] = {}
    for at, (heading, value) in enumerate(parts):
        text += heading.format(at)
        expected[f"key{at}"] = text.count("\n") + 1
        text += f"key{at} = {value}\n"
    source = TomlSource.parse(text, "t.toml")
    assert source.line() == 1
    assert set(source._lines) == set(every_path(source.data)) - {()}
    written = {path[-1]: line for path, line in source._lines.items() if path[-1] in expected}
    assert written == expected


RULE = '[[rule]]  # one\nname = "a {}"\nwhen.status = 603\n[rule.then]\nstatus = 404\n[[rule.more]]\nx = 1\n'


@pytest.mark.parametrize(
    "text",
    [
        "version = 1\n" + RULE,
        RULE + "[[other]]\ny = 2\n" + RULE,
        RULE + "[[ rule ]]\n" + RULE,
        "a = 1\n" + RULE + "[table]\n" + RULE,
        'a = """\n[[rule]]\n"""\n' + RULE,
        "[rule]\n",
        "rule = [{}]\n" + RULE,
        RULE + "[table]\nx = 1\n" + RULE + "[table]\nx = 1\n",
        RULE + "[[rule]]\nname = \n" + RULE,
    ],
)
def test_a_long_text_means_the_same_as_read_in_one_go(text: str) -> None:
    """It is read in pieces, so that calls get their turn meanwhile."""
    for many in (text + RULE * 2000, RULE * 1000 + text + RULE * 1000):
        try:
            meant: object = tomllib.loads(many)
        except tomllib.TOMLDecodeError:
            meant = None
        try:
            read: object = TomlSource.parse(many, "f").data
        except SettingsError as error:
            read = None
            assert error.line
        assert read == meant


UNREADABLE = 'the value cannot be read; put text in "quotes", numbers, true and false without'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = 1\na = [\n1,\n2]\n", "f:2: the key is given twice; keep one of the two"),
        ("[a]\n[b]\n[a]\n", "f:3: the table is declared twice; put its keys under one heading"),
        ("[[a]]\nx=1\n[a]\n", "f:3: the table is declared twice; put its keys under one heading"),
        ("a = 1\n[[a]]\n", "f:2: the key is given twice; keep one of the two"),
        ("a = []\n[[a]]\n", "f:2: the table is complete already; add its keys to it there"),
        ("x = {a=1}\nx.b = 2\n", "f:2: the table is complete already; add its keys to it there"),
        ("x = {a = 1, a = 2}\n", "f:1: the key is given twice; keep one of the two"),
        ("\nlisten\n", "f:2: the key has no value; write key = value"),
        ("x =\n", f"f:1: {UNREADABLE}"),
        ("a = [1,\nyes]\n", f"f:2: {UNREADABLE}"),
        ("x = 2 3\n", "f:1: something follows the value; write one key = value on a line"),
        ("\n\n[a\n", "f:3: the heading is not closed; close it with ]"),
        ("[[a]\n", "f:1: the heading is not closed; close it with ]]"),
        ("a = 1\n!x = 1\n", "f:2: the line cannot be read; write key = value, [table] or [[table]]"),
        ('x = "a\ny = 1\n', "f:1: the text is not closed; close it with the quote it opened with"),
        ('y = 1\nx = """a\n\nb\n', "f:2: the text is not closed; close it with the quote it opened with"),
        ("y = 1\nx = '''a\n\nb\n", "f:2: the text is not closed; close it with the quote it opened with"),
        ('x = "\\d+"\n', "f:1: the text holds a single \\; write \\\\, or put the text in 'single quotes'"),
        ("x = {a = 1,\n=2}\n", "f:2: no key can be read here; write key = value, key = value in { }"),
        ("x = {a = 1\ny = 2\n", "f:1: the table lacks a comma or its closing }; put it there"),
        ("x = [\n 1,\n 2\ny = 2\n", "f:1: the list lacks a comma or its closing ]; put it there"),
        ("x = [\n 1,\n 2\n[t]\ny = 2\n", "f:1: the list lacks a comma or its closing ]; put it there"),
        ("x = [\n[1],\n[2\n\n\n", "f:3: the list lacks a comma or its closing ]; put it there"),
        ('x = [\n "a"\n "b"\n]\n', "f:3: the list lacks a comma or its closing ]; put it there"),
        (
            'x = "\\uD800"\n',
            "f:1: this is not TOML (escaped character is not a Unicode scalar value); correct the line",
        ),
        ("x = " + "[" * 5000, "f:1: its values are nested too deeply; flatten them"),
    ],
)
def test_a_syntax_error_names_the_line_to_repair_and_the_repair(text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        TomlSource.parse(text, "f")
    assert str(caught.value) == sentence


@given(st.text(alphabet="ab=[]{}\"'\\,.#\n 1-", max_size=40))
def test_any_text_is_read_or_refused_in_one_sentence(text: str) -> None:
    try:
        TomlSource.parse(text, "f")
    except SettingsError as error:
        assert 1 <= error.line <= text.count("\n") + 1
        assert str(error).count("\n") == 0


def test_an_error_shows_the_key_as_people_write_it_with_names_for_elements() -> None:
    text = '[[trunk]]\nname = "pbx"\nsource = ["x"]\nset."X A" = 1\n'
    text += "[[rule]]\nwhen.status = 1\n[[rule]]\nname = 5\n"
    source = TomlSource.parse(text, "f")
    shown = [
        str(source.error(path, "bad", "good"))
        for path in [
            ("trunk", 0, "source", 0),
            ("trunk", 0, "set", "X A"),
            ("rule", 0, "when", "status"),
            ("rule", 1, "name"),
            ("rule", 9, "name"),
            (),
        ]
    ]
    assert shown == [
        "f:3: trunk[pbx].source[0]: bad; good",
        'f:4: trunk[pbx].set."X A": bad; good',
        "f:6: rule[0].when.status: bad; good",
        "f:8: rule[1].name: bad; good",
        "f:5: rule[9].name: bad; good",
        "f:1: bad; good",
    ]


@pytest.mark.parametrize("more", ["", "[[rule]]\nx = 1\n" * 10_000], ids=["short", "long"])
def test_a_number_of_thousands_of_digits_is_a_settings_error_with_its_line(more: str) -> None:
    digits = "9" * 6_000
    text = f"a = '{digits}'\n# {digits}\nb = [1,\n  -{digits}]\n{more}"
    with pytest.raises(SettingsError) as caught:
        TomlSource.parse(text, "f")
    assert str(caught.value) == "f:4: the number has too many digits; shorten it"


def test_a_file_that_cannot_be_read_is_a_settings_error_without_a_line(tmp_path: Path) -> None:
    absent = tmp_path / "absent.toml"
    with pytest.raises(SettingsError) as caught:
        TomlSource.read(absent)
    assert str(caught.value) == f"{absent}: there is no such file; check the path"
    with pytest.raises(SettingsError) as caught:
        TomlSource.read(tmp_path)
    assert str(caught.value) == f"{tmp_path}: this is a directory; name a file in it"
    beyond_a_file = tmp_path / "file" / "x.toml"
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError) as caught:
        TomlSource.read(beyond_a_file)
    assert str(caught.value) == f"{beyond_a_file}: cannot be read: not a directory; check its permissions"


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"a = 1\nb = 'caf\xe9'\n")
    with pytest.raises(SettingsError) as caught:
        TomlSource.read(path)
    assert str(caught.value) == f"{path}:2: this is not UTF-8 text; save the file as UTF-8"


def test_a_readable_file_goes_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "ok.toml"
    path.write_text("a = 1\n")
    source = TomlSource.read(path)
    assert (source.file, source.data) == (str(path), {"a": 1})


def test_several_errors_come_in_the_order_of_the_file() -> None:
    source = TomlSource.parse("a = 1\nb = 2\n", "f")
    errors = SettingsErrors([source.error(("b",), "two", "x"), source.error(("a",), "one", "y")])
    assert str(errors) == "f:1: a: one; y\nf:2: b: two; x"


def test_the_word_probably_meant_is_near_and_never_far() -> None:
    assert closest("sorce", ["source", "target"]) == "source"
    assert closest("STATUS", ["status"]) == "status"
    assert closest("zebra", ["source", "target"]) is None
