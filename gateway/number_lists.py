"""Lists of telephone numbers and prefixes from files, and the patterns over numbers that use them.

A list may have a million lines, and is asked once a call. So what consists of digits is kept as sorted whole
numbers in an array: eight bytes each, one binary search a question, invisible to the garbage collector and
freed at once when the list is replaced; a set of texts takes ten times that, and stalls calls when it goes.
Prefixes are spans of such numbers, of which none contains another, so one search answers for all lengths.
What is no number (`alice`, `*72#`, more than 17 digits) is kept as text.

Numbers are compared as they are, without visual separators and with their leading + where they have one:
"+1215..." and "1215..." differ.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from gateway.os_errors import in_words
from gateway.patterns import BadValue, compile_regex
from gateway.regexes import TEXT_LIMIT

MOST_ENTRIES = 20_000_000
"""The lines that a list may have: the bound on its memory (8 bytes a number, 9 a prefix)."""

_DIALLED = re.compile(r"\+?[0-9*#(][0-9*#().\- ]*")
_SEPARATORS = str.maketrans("", "", "(). -")  # the visual separators of RFC 3966 section 5.1.1, and the space
_COMMENT = re.compile(r"(?:^|\s)#.*")

_DIGITS = 17  # of a number that is kept as a whole number
_SPANS = tuple(10 ** (_DIGITS - length) for length in range(_DIGITS + 1))
_LENGTH_BITS = 5
_RUN = 1024  # entries that are sorted at a time: in one go, calls would wait for the sort
_LEADING = re.compile(r"\+?[0-9]*")


class NumberList:
    """Numbers and prefixes. Immutable once it is made. Raises BadValue when there are too many."""

    __slots__ = ("__weakref__", "_exact", "_lengths", "_starts", "_text_prefixes", "_texts")

    def __init__(self, entries: Iterable[str]) -> None:
        exact, prefixes = array("Q"), array("Q")
        texts: set[str] = set()
        text_prefixes: set[str] = set()
        for count, entry in enumerate(entries):
            if count == MOST_ENTRIES:
                raise BadValue(f"the list has more than {MOST_ENTRIES:,} lines", "make several lists of it")
            digits = entry[1:] if entry[:1] == "+" else entry
            if digits.isdecimal() and digits.isascii() and len(digits) <= _DIGITS:
                exact.append(int(_mark(entry) + digits))
            elif entry[-1:] != "*":
                texts.add(entry)
            elif digits[:-1].isdecimal() and digits.isascii() and len(digits) <= _DIGITS:
                prefixes.append(_start(entry, digits[:-1]) << _LENGTH_BITS | len(digits) - 1)
            else:
                text_prefixes.add(entry[:-1])
        self._exact = _sorted(exact)
        self._starts, self._lengths = _outermost(_sorted(prefixes))
        self._texts = frozenset(texts)
        self._text_prefixes = tuple(sorted(text_prefixes))

    def __contains__(self, number: str) -> bool:
        """Tell whether `number` is in the list, or begins with one of its prefixes."""
        digits = number[1:] if number[:1] == "+" else number
        if digits.isdecimal() and digits.isascii() and len(digits) <= _DIGITS:
            key = int(_mark(number) + digits)
            at = bisect_left(self._exact, key)
            if at < len(self._exact) and self._exact[at] == key:
                return True
        if self._starts and self._has_prefix_of(number):
            return True
        return number in self._texts or number.startswith(self._text_prefixes)

    def _has_prefix_of(self, number: str) -> bool:
        leading = _LEADING.match(number)
        digits = leading[0].removeprefix("+") if leading else ""
        key = _start(number, digits)
        at = bisect_right(self._starts, key) - 1
        if at < 0:
            return False
        length = self._lengths[at]
        return length <= len(digits) and key - self._starts[at] < _SPANS[length]


class NumberPattern:
    """Which numbers a rule or route speaks of. Of the conditions given all must hold; none given: any number.

    `prefix`: the number begins with one of these. `regex`: it is found somewhere in the number (write ^ and $
    to bind it to the ends); where it is longer than TEXT_LIMIT, in its beginning. `lists`: the number is in
    one of these.

    Raises BadValue when `regex` is not a regular expression.
    """

    __slots__ = ("_lists", "_prefix", "_search")

    def __init__(
        self, prefix: Sequence[str] = (), regex: str | None = None, lists: Sequence[NumberList] | None = None
    ) -> None:
        self._prefix = tuple(prefix)
        self._search = None if regex is None else compile_regex(regex).search
        self._lists = None if lists is None else tuple(lists)

    def matches(self, number: str) -> bool:
        """Tell whether `number`, the user part of a URI, is one of those meant."""
        if self._prefix and not number.startswith(self._prefix):
            return False
        if self._search is not None and self._search(number[:TEXT_LIMIT]) is None:
            return False
        if self._lists is None:
            return True
        for numbers in self._lists:  # noqa: SIM110 (a generator would double the cost)
            if number in numbers:
                return True
        return False


_loaded: WeakValueDictionary[tuple[str, int, int, int], NumberList] = WeakValueDictionary()
"""The lists in use, by path, and by file, time and size: rules that are read again find theirs here."""


def load_numbers(path: Path) -> NumberList:
    """Return the number list in a file: one number, or prefix followed by *, on a line; # begins a comment.

    Visual separators are dropped from what people dial ("+1 (215) 555-1212"); other user parts stand as they
    are. A file that has not changed is not read twice while its list is in use. Raises BadValue when the file
    cannot be read, or holds a line with something else on it.
    """
    try:
        stat = path.stat()
        key = (str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size)
        numbers = _loaded.get(key)
        if numbers is None:
            with path.open(encoding="utf-8-sig") as file:
                numbers = _loaded[key] = NumberList(_entries(file, path))
        return numbers
    except UnicodeDecodeError:
        raise BadValue(f"the list {path} is not UTF-8 text", "save the file as UTF-8") from None
    except BadValue:
        raise
    except ValueError:  # the operating system knows no path with a null character
        raise BadValue(f"{str(path)!r} is not the path of a list", "check the path") from None
    except OSError as error:
        reason = in_words(error)
        raise BadValue(f"the list {path} cannot be read: {reason}", "check its path") from None


def _entries(lines: Iterable[str], path: Path) -> Iterator[str]:
    for at, line in enumerate(lines, 1):
        number = line.strip()
        if not number.isalnum():  # usually it is, and a list may have a million lines
            number = _COMMENT.sub("", number).rstrip()
            if _DIALLED.fullmatch(number):
                number = number.translate(_SEPARATORS)
            if any(sign.isspace() for sign in number):
                problem = f"line {at} of the list {path} is not a number"
                raise BadValue(problem, "write one number, or prefix*, on each line")
        if number:
            yield number


def _mark(number: str) -> str:
    """Return the digit that keeps zeros in front, and numbers with + apart from those without."""
    return "2" if number[0] == "+" else "1"


def _start(number: str, digits: str) -> int:
    """Return where among all numbers of 17 digits those that begin with `digits` start."""
    return int((_mark(number) if number else "1") + digits[:_DIGITS].ljust(_DIGITS, "0"))


def _outermost(prefixes: array[int]) -> tuple[array[int], bytes]:
    """Split sorted prefixes into starts and lengths, without those that a shorter prefix covers."""
    starts, lengths, end = array("Q"), bytearray(), 0
    for prefix in prefixes:
        start, length = prefix >> _LENGTH_BITS, prefix & (1 << _LENGTH_BITS) - 1
        if start >= end:
            starts.append(start)
            lengths.append(length)
            end = start + _SPANS[length]
    return starts, bytes(lengths)


def _sorted(keys: array[int]) -> array[int]:
    """Return the keys in order: dealt out by sample (samplesort), then sorted run by run."""
    if len(keys) <= _RUN:
        return array("Q", sorted(keys))
    bounds = sorted(keys[::_RUN])
    runs = [array("Q") for _ in range(len(bounds) + 1)]
    for key in keys:
        runs[bisect_right(bounds, key)].append(key)
    result = array("Q")
    for run in runs:
        result.extend(sorted(run))
    return result
