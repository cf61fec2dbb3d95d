"""TOML text that remembers where each of its keys stands.

tomli reads the values but forgets the lines, and a message for a person needs them: "gateway.toml:31:
trunk[carrier].source[1]: ...". So the text is read twice: by tomli, which also proves that it is TOML, and,
when the first line is asked for, by `_Scanner`, a small walk over the same text that keeps only the lines.
The walk may lean on tomli's proof: on valid text it needs no error handling, and on invalid text it serves
only to find the statement in which reading stopped, because tomli names the place where it gave up (often
far below an unclosed bracket) and a person wants the line to repair.

tomli is tomllib compiled: three times as fast, but calls wait while it runs, also when it runs in another
thread. So a long text is read in pieces.

A path is a tuple of keys and array indexes from 0, such as ("rule", 3, "when", "status").
"""

from __future__ import annotations

import difflib
import itertools
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli

from gateway.os_errors import in_words

_KEY = tuple[str | int, ...]
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]+")
_STRING = re.compile(
    r'"""(?:\\.|(?!""")[^\\])*"""(?:"{0,2})'  # up to two quotes may stand before the closing three
    r"|'''(?:(?!''').)*'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_MANY_DIGITS = re.compile(rf"{_STRING.pattern}|#[^\n]*|(?P<digits>[0-9_]{{4300,}})", re.DOTALL)
_ARRAY_HEADING = re.compile(r"^\[\[[A-Za-z0-9_-]+\]\][ \t]*(?:#.*)?$", re.MULTILINE)
_LONG, _PIECE = 100_000, 16_384  # characters: 13 and 2 ms
_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")

# What tomli says, by its opening words, and what to do about it.
_REMEDIES = (
    ("Cannot declare", "the table is declared twice", "put its keys under one heading"),
    ("Cannot overwrite a value", "the key is given twice", "keep one of the two"),
    ("Duplicate inline table key", "the key is given twice", "keep one of the two"),
    ("Cannot redefine namespace", "the name is both a table and a list", "use either [ ] or [[ ]]"),
    ("Cannot mutate immutable namespace", "the table is complete already", "add its keys to it there"),
    ("Expected '=' after a key", "the key has no value", "write key = value"),
    ("Expected newline or end of document", "something follows the value", "write one key = value on a line"),
    ("Expected ']' at the end of a table", "the heading is not closed", "close it with ]"),
    ("Expected ']]' at the end of an array", "the heading is not closed", "close it with ]]"),
    ("Unclosed array", "the list lacks a comma or its closing ]", "put it there"),
    ("Unclosed inline table", "the table lacks a comma or its closing }", "put it there"),
    ("Unterminated string", "the text is not closed", "close it with the quote it opened with"),
    ("Expected \"'", "the text is not closed", "close it with the quote it opened with"),
    ("Unescaped '\\'", "the text holds a single \\", "write \\\\, or put the text in 'single quotes'"),
    ("Illegal character '\\n'", "the text is not closed", "close it with the quote it opened with"),
    ("Invalid value", "the value cannot be read", 'put text in "quotes", numbers, true and false without'),
    (
        "Invalid initial character for a key",
        "no key can be read here",
        "write key = value, key = value in { }",
    ),
    ("Invalid statement", "the line cannot be read", "write key = value, [table] or [[table]]"),
)
_OPEN_TEXT = ("Illegal character '\\n'", "Unterminated", "Expected \"'")
_NEXT_STATEMENT = re.compile(r"\Z|\[|[\w.\"'-]+[ \t]*=")


class SettingsError(Exception):
    """One mistake in a settings file, in one sentence for the person who wrote the file.

    `str()` is `file:line: key: what is wrong; what would be right`. The line is left out when it is 0 (the
    file could not be read at all), and the key when it is empty (the mistake lies in no single key).
    """

    def __init__(self, file: str, line: int, key: str, problem: str, remedy: str) -> None:
        super().__init__(file, line, key, problem, remedy)
        self.file = file
        self.line = line
        self.key = key
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.key, f"{self.problem}; {self.remedy}") if part)


class SettingsErrors(Exception):  # noqa: N818 (it is the plural of SettingsError)
    """Every mistake found in one reading of the settings, in the order of the file; never empty.

    `files` are the further files that were asked for, those that could not be read among them: with another
    of them, the settings may be right.
    """

    def __init__(self, errors: Iterable[SettingsError], files: Iterable[Path] = ()) -> None:
        self.errors = sorted(errors, key=lambda error: error.line)
        self.files = tuple(files)
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


@dataclass(frozen=True, slots=True)
class TomlSource:
    """A TOML text with its values (`data`) and the line of each of its keys."""

    file: str
    """The name shown in messages."""
    text: str
    data: dict[str, Any]
    _lines: dict[_KEY, int] = field(default_factory=dict, repr=False, compare=False)
    """The line of each key, once one has been asked for."""

    @classmethod
    def parse(cls, text: str, file: str) -> TomlSource:
        """Read `text`; `file` is its name in messages. Raises SettingsError when it is not TOML."""
        text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        try:
            return cls(file, text, _loads(text))
        except tomli.TOMLDecodeError as error:
            raise _syntax_error(text, file, str(error)) from None
        except RecursionError:
            raise SettingsError(file, 1, "", "its values are nested too deeply", "flatten them") from None
        except ValueError as error:  # which Python raises, and tomli does not catch
            raise _value_error(text, file, str(error)) from None

    @classmethod
    def read(cls, path: str | Path) -> TomlSource:
        """Read the file at `path`. Raises SettingsError when it cannot be read or is not TOML."""
        file = str(path)
        try:
            raw = Path(path).read_bytes()
        except FileNotFoundError:
            raise SettingsError(file, 0, "", "there is no such file", "check the path") from None
        except IsADirectoryError:
            raise SettingsError(file, 0, "", "this is a directory", "name a file in it") from None
        except OSError as error:
            reason = in_words(error)
            raise SettingsError(file, 0, "", f"cannot be read: {reason}", "check its permissions") from None
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise SettingsError(file, line, "", "this is not UTF-8 text", "save the file as UTF-8") from None
        return cls.parse(text, file)

    def line(self, *path: str | int) -> int:
        """Return the line, from 1, where `path` stands, or else the nearest thing around it that does."""
        if not self._lines:
            scanner = _Scanner(self.text)
            with suppress(RecursionError):  # then the nearest line that was found has to do
                scanner.run()
            self._lines.update(scanner.lines)
        for length in range(len(path), 0, -1):
            line = self._lines.get(path[:length])
            if line is not None:
                return line
        return 1

    def error(self, path: Sequence[str | int], problem: str, remedy: str) -> SettingsError:
        """Return (not raise) the error that says what is wrong at `path` and what would be right."""
        return SettingsError(self.file, self.line(*path), self.key(path), problem, remedy)

    def key(self, path: Sequence[str | int]) -> str:
        """Return `path` as people write it: an array element goes by its name where it has one."""
        shown = ""
        node: Any = self.data
        for part in path:
            node = _child(node, part)
            if isinstance(part, int):
                name = node.get("name") if isinstance(node, dict) else None
                shown += f"[{name if isinstance(name, str) and name else part}]"
            else:
                shown += ("." if shown else "") + (part if _BARE_KEY.fullmatch(part) else f'"{part}"')
        return shown


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `word` was most likely meant to be, or None when none comes near."""
    matches = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def _loads(text: str) -> dict[str, Any]:
    """Read TOML, a long text in pieces that begin at headings [[name]], so that other threads get their turn.

    Pieces are read apart only where that means the same; where it might not, the text is read at once, and so
    it is when a piece is wrong, for the sake of the message.
    """
    if len(text) < _LONG or '"""' in text or "'''" in text:
        return tomli.loads(text)
    bounds: list[int] = []
    last = 0
    for heading in _ARRAY_HEADING.finditer(text):
        if heading.start() - last >= _PIECE or not bounds:
            bounds.append(last := heading.start())
    bounds.append(len(text))
    try:
        data = tomli.loads(text[: bounds[0]])
        arrays: dict[str, list[Any]] = {}
        for begin, end in itertools.pairwise(bounds):
            for key, value in tomli.loads(text[begin:end]).items():
                if key in data or not isinstance(value, list):
                    return tomli.loads(text)
                arrays.setdefault(key, []).extend(value)
    except tomli.TOMLDecodeError:
        return tomli.loads(text)
    return data | arrays


def _child(node: Any, part: str | int) -> Any:
    """Return what stands under `part` in a TOML value, or None."""
    if isinstance(part, str):
        return node.get(part) if isinstance(node, dict) else None
    return node[part] if isinstance(node, list) and 0 <= part < len(node) else None


def _syntax_error(text: str, file: str, message: str) -> SettingsError:
    """Translate tomli's message, and move its line back to the statement that needs the repair."""
    where = _WHERE.search(message)
    said = message[: where.start()] if where else message
    line = int(where[1]) if where and where[1] else text.rstrip("\n").count("\n") + 1
    scanner = _Scanner(text)
    try:
        scanner.run()
    except (_LostError, tomli.TOMLDecodeError, RecursionError):
        # A bracket left open swallows what follows: then the line to repair is the one that opened it. Where
        # something else follows, only a comma is missing, and tomli names the place.
        swallows = said.startswith("Unclosed") and _NEXT_STATEMENT.match(text, scanner.at)
        if swallows or said.startswith(_OPEN_TEXT):
            line = scanner.opened_line
    if said.startswith("Cannot overwrite"):  # noticed only at the end of the second value
        line = scanner.statements[bisect_right(scanner.statements, line) - 1]
    for opening, problem, remedy in _REMEDIES:
        if said.startswith(opening):
            return SettingsError(file, line, "", problem, remedy)
    said = said[0].lower() + said[1:]
    return SettingsError(file, line, "", f"this is not TOML ({said})", "correct the line")


def _value_error(text: str, file: str, message: str) -> SettingsError:
    """Say which value is TOML and still cannot be read: an integer longer than Python takes."""
    for found in _MANY_DIGITS.finditer(text):
        if found["digits"]:
            line = text.count("\n", 0, found.start()) + 1
            return SettingsError(file, line, "", "the number has too many digits", "shorten it")
    return SettingsError(file, 1, "", f"a value cannot be read ({message})", "correct it")


class _LostError(Exception):
    """The scanner cannot go on: the text is not TOML, and tomli says why."""


class _Scanner:
    """Walks over TOML text and notes the line on which each key and array element begins."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[_KEY, int] = {}
        self.opened_line = 1
        """The line of the innermost list, table or text that was open when the walk ended."""
        self.statements: list[int] = []
        """The line of each statement."""
        self._arrays: dict[_KEY, int] = {}
        """How many elements each array of tables has so far."""
        self._newlines = [match.start() for match in re.finditer("\n", text)]

    def run(self) -> None:
        """Walk over the whole text. Raises _LostError (or tomli's error) where it is not TOML."""
        table: _KEY = ()
        while self._skip(_BLANK) < len(self.text):
            self.opened_line = self._line()
            self.statements.append(self.opened_line)
            if self._take("[["):
                table = self._array_header()
            elif self._take("["):
                table = self._resolve(self._header("]"))
            else:
                self._pair(table)

    def _array_header(self) -> _KEY:
        keys = self._header("]]")
        array = (*self._resolve(keys[:-1]), keys[-1])
        index = self._arrays.get(array, 0)
        self._arrays[array] = index + 1
        self._note(array, 1)
        self._note((*array, index), 1)
        return (*array, index)

    def _header(self, closing: str) -> _KEY:
        keys = self._keys()
        self._expect(closing)
        return keys

    def _resolve(self, keys: _KEY) -> _KEY:
        """Return the path a heading means: a name that is an array of tables means its last element."""
        path: _KEY = ()
        for key in keys:
            path = (*path, key)
            self._note(path, 1)
            if path in self._arrays:
                path = (*path, self._arrays[path] - 1)
        return path

    def _pair(self, table: _KEY) -> None:
        keys = self._keys()
        path = (*table, *keys)
        self._note(path, len(keys))
        self._expect("=")
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> tuple[str, ...]:
        """Read a dotted key, such as `when.status` or `header."X-Reason"`."""
        keys = [self._one_key()]
        self._skip(_SPACE)
        while self._take("."):
            keys.append(self._one_key())
            self._skip(_SPACE)
        return tuple(keys)

    def _one_key(self) -> str:
        self._skip(_SPACE)
        bare = _BARE_KEY.match(self.text, self.at)
        if bare:
            self.at = bare.end()
            return bare[0]
        quoted = _STRING.match(self.text, self.at)
        if not quoted:
            raise _LostError
        self.at = quoted.end()
        return str(tomli.loads(f"key = {quoted[0]}")["key"])

    def _value(self, path: _KEY) -> None:
        opened, self.opened_line = self.opened_line, self._line()
        if self._take("["):
            self._elements(path)
        elif self._take("{"):
            self._inline_table(path)
        else:
            quoted = self.text.startswith(('"', "'"), self.at)
            match = (_STRING if quoted else _SCALAR).match(self.text, self.at)
            if not match:
                raise _LostError
            self.at = match.end()
        self.opened_line = opened

    def _elements(self, path: _KEY) -> None:
        index = 0
        self._skip(_BLANK)
        while not self._take("]"):
            self._note((*path, index), 1)
            self._value((*path, index))
            index += 1
            self._skip(_BLANK)
            if not self._take(","):
                self._expect("]")
                return
            self._skip(_BLANK)

    def _inline_table(self, path: _KEY) -> None:
        self._skip(_BLANK)
        while not self._take("}"):
            self._pair(path)
            self._skip(_BLANK)
            if not self._take(","):
                self._expect("}")
                return
            self._skip(_BLANK)

    def _note(self, path: _KEY, own: int) -> None:
        """Keep the line of `path` and of the tables its last `own` keys open; the first mention wins."""
        line = self._line()
        for length in range(len(path) - own + 1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _line(self) -> int:
        return bisect_right(self._newlines, self.at - 1) + 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return self.at

    def _take(self, sign: str) -> bool:
        taken = self.text.startswith(sign, self.at)
        if taken:
            self.at += len(sign)
        return taken

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise _LostError
