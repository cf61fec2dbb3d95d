"""The small languages of the settings files: trunk patterns, regular expressions, durations.

Rules and routes speak of trunks in the same words, so the words are read and matched here, below both
(those about numbers, in `number_lists`). All that can be prepared is prepared when a pattern is made, because
`matches` runs for each call.

Each mistake is a `BadValue`, whose text says what is wrong and whose `remedy` says what would be right; the
caller adds file, line and key.
"""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Callable, Mapping, Sequence

KINDS = ("pbx", "carrier", "peer")
"""What a trunk can be, as its label for rules, routes and pictures."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


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


def compile_regex(text: str, *, flags: int = 0) -> re.Pattern[str]:
    """Compile a regular expression of Python's syntax. Raises BadValue when it is not one.

    One that Python warns about, because a later version may read it differently, is refused as well.
    """
    try:
        if "[" not in text:  # what Python warns about are sets
            return re.compile(text, flags)
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
