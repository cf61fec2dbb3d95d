"""The small languages of the settings files: trunk patterns, number patterns, regular expressions, durations.

Rules and routes speak of trunks and numbers in the same words, so the words are read and matched here,
below both. All that can be prepared is prepared when a pattern is made, because `matches` runs for each
call: in a list of a million numbers it costs one set lookup, and one more for each length a prefix has.

Each mistake is a `BadValue`, whose text says what is wrong and whose `remedy` says what would be right; the
caller adds file, line and key.
"""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

KINDS = ("pbx", "carrier", "peer")
"""What a trunk can be, as its label for rules, routes and pictures."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DIALLED = re.compile(r"\+?[0-9*#(][0-9*#().\- ]*")
_SEPARATORS = str.maketrans("", "", "(). -")  # the visual separators of RFC 3966 section 5.1.1, and the space
_COMMENT = re.compile(r"(?:^|\s)#.*")


class BadValue(ValueError):  # noqa: N818 (named for the value, not for the raising of it)
    """A value that cannot be right: `str()` says what is wrong with it, `remedy` what would be right."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


class TrunkPattern:
    """Which trunks a rule or route speaks of: any of some names, globs (`carrier*`) or kinds (`kind:pbx`)."""

    __slots__ = ("_globs", "_kinds", "_names", "patterns")

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._names: set[str] = set()
        self._kinds: set[str] = set()
        self._globs: list[Callable[[str], object]] = []
        for pattern in self.patterns:
            if pattern.startswith("kind:"):
                self._kinds.add(pattern.removeprefix("kind:"))
            elif any(sign in pattern for sign in "*?["):
                self._globs.append(re.compile(fnmatch.translate(pattern)).match)
            else:
                self._names.add(pattern)

    def matches(self, name: str, kind: str) -> bool:
        """Tell whether the trunk called `name`, of the kind `kind`, is one of those meant."""
        return name in self._names or kind in self._kinds or any(glob(name) for glob in self._globs)

    def unknown(self, names: Mapping[str, str]) -> list[str]:
        """Return the patterns that match none of the configured trunks, given as name -> kind."""
        return [
            pattern
            for pattern in self.patterns
            if not any(TrunkPattern([pattern]).matches(name, kind) for name, kind in names.items())
        ]


class NumberPattern:
    """Which numbers a rule or route speaks of. Of the conditions given all must hold; none given: any number.

    `prefix`: the number begins with one of these. `regex`: it is found somewhere in the number (write ^ and $
    to bind it to the ends). `numbers`: the number is one of these, or begins with one that ends in `*`.

    Numbers are compared as they are, without visual separators and with their leading + where they have one:
    "+1215..." and "1215..." differ. Raises BadValue when `regex` is not a regular expression.
    """

    __slots__ = ("_exact", "_prefix", "_prefixes", "_search")

    def __init__(
        self, prefix: Sequence[str] = (), regex: str | None = None, numbers: Iterable[str] | None = None
    ) -> None:
        self._prefix = tuple(prefix)
        self._search = None if regex is None else compile_regex(regex).search
        self._exact: set[str] | None = None
        self._prefixes: list[tuple[int, set[str]]] = []
        if numbers is not None:
            self._exact = set()
            by_length: dict[int, set[str]] = {}
            for number in numbers:
                if number.endswith("*"):
                    by_length.setdefault(len(number) - 1, set()).add(number[:-1])
                else:
                    self._exact.add(number)
            self._prefixes = sorted(by_length.items())

    def matches(self, number: str) -> bool:
        """Tell whether `number`, the user part of a URI, is one of those meant."""
        if self._prefix and not number.startswith(self._prefix):
            return False
        if self._search is not None and self._search(number) is None:
            return False
        if self._exact is None or number in self._exact:
            return True
        for length, prefixes in self._prefixes:  # noqa: SIM110 (a generator would double the cost)
            if number[:length] in prefixes:
                return True
        return False


def read_numbers(path: str | Path) -> list[str]:
    """Read a number list: one number, or prefix followed by *, on a line; # begins a comment.

    Visual separators are dropped from what people dial ("+1 (215) 555-1212"); other user parts stand as they
    are. Raises BadValue when the file cannot be read, or holds a line with something else on it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise BadValue(f"the list {path} is not UTF-8 text", "save the file as UTF-8") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BadValue(f"the list {path} cannot be read: {reason}", "check its path") from None
    numbers = []
    for at, line in enumerate(text.split("\n"), 1):
        number = line.strip()
        if not number.isalnum():  # usually it is, and a list may have a million lines
            number = _COMMENT.sub("", number).rstrip()
            if _DIALLED.fullmatch(number):
                number = number.translate(_SEPARATORS)
            if any(sign.isspace() for sign in number):
                problem = f"line {at} of the list {path} is not a number"
                raise BadValue(problem, "write one number, or prefix*, on each line")
        if number:
            numbers.append(number)
    return numbers


def compile_regex(text: str, *, flags: int = 0) -> re.Pattern[str]:
    """Compile a regular expression of Python's syntax. Raises BadValue when it is not one.

    One that Python warns about, because a later version may read it differently, is refused as well.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(text, flags)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        reason = str(error)
        raise BadValue(
            f"{text!r} is not a regular expression: {reason[:1].lower()}{reason[1:]}",
            "correct it, or put a \\ before a sign that stands for itself",
        ) from None


def parse_duration(text: str) -> float:
    """Return the seconds that a duration such as "500ms", "30s", "2m", "1.5h" or "30d" means.

    Raises BadValue when it is not a number with one of these units.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise BadValue(f"{text!r} is not a duration", 'write a number with ms, s, m, h or d, such as "30s"')
    return float(match[1]) * _SECONDS[match[2]]
