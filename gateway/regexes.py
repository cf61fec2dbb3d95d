"""Regular expressions that are safe to run over what strangers send.

Python's matcher backtracks, and a response is hostile input: `(a+)+b` takes the age of the universe on a line
of a's. So an expression is refused when it can take long on any text of 256 characters. Two
shapes make it long: a repeat around something that can itself match in several ways (exponential), and more
than two long repeats after one another (a power of the length for each: 0.8 s with three, 13 ms with two).
"""

from __future__ import annotations

import re
from typing import Any

from gateway.patterns import BadValue, compile_regex

TEXT_LIMIT = 256
"""How many characters of a text a regular expression is shown. Messages are hostile input: the worst text
for the worst expression that is accepted takes 13 ms at 256 characters, and 100 ms at 512."""

_LONG = 8  # a repeat of more rounds than this counts as one without limit
_MOST_LONG_REPEATS = 2
_REPEATS = frozenset("*+{")


def compile_search(text: str) -> re.Pattern[str]:
    """Compile an expression that is searched for whatever the case of its letters.

    Raises BadValue when it is not a regular expression, or one that can take long on a hostile text.
    """
    pattern = compile_regex(text, flags=re.IGNORECASE)
    check_cost(text)
    return pattern


def check_cost(text: str) -> None:
    """Raise BadValue when the valid expression `text` can take long on a hostile text."""
    if _REPEATS.isdisjoint(text):
        return  # as most expressions are, and a file may have ten thousand
    # The parser is private to `re`, but the only thing that knows what an expression means.
    if _long_repeats(re._parser.parse(text), text) > _MOST_LONG_REPEATS:  # type: ignore[attr-defined]
        raise BadValue(
            f"{text!r} can take seconds on a hostile text",
            f"use at most {_MOST_LONG_REPEATS} of .* and the like after one another",
        )


def _long_repeats(parsed: Any, text: str) -> int:
    """Return how many long repeats can stand after one another in a parsed expression."""
    total = 0
    for operation, argument in parsed:
        name = str(operation)
        if name == "BRANCH":
            total += max(_long_repeats(branch, text) for branch in argument[1])
        elif name.endswith("_REPEAT"):
            least, most, body = argument
            total += _repeat(int(least), int(most), body, text)
        else:
            total += sum(_long_repeats(part, text) for part in _parts(argument))
    return total


def _repeat(least: int, most: int, body: Any, text: str) -> int:
    within = _long_repeats(body, text)
    if most <= _LONG:
        return within * most
    if within or _varies(body):
        raise BadValue(
            f"{text!r} repeats something that can itself match in several ways, "
            "which can take for ever on a hostile text",
            f"give the outer repeat a limit of at most {_LONG}, such as {{1,{_LONG}}}",
        )
    return int(least != most)


def _varies(parsed: Any) -> bool:
    """Tell whether a parsed expression can match one text in several ways: alternatives, optional parts."""
    low, high = parsed.getwidth()
    return low != high or any(
        str(operation) == "BRANCH" or any(map(_varies, _parts(argument))) for operation, argument in parsed
    )


def _parts(argument: Any) -> list[Any]:
    """Return the expressions inside an operation's argument."""
    if hasattr(argument, "getwidth"):
        return [argument]
    return [part for part in argument if hasattr(part, "getwidth")] if isinstance(argument, tuple) else []
