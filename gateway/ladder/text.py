"""A ladder for the terminal: a line for each participant, a row for each message, times on the left.

Rows are made of characters at fixed columns, so that they stay a ladder in a file or a mail, too; colours are
rich's, and go where there is no terminal.
"""

from __future__ import annotations

from rich.text import Text

from .model import Arrow, Kind, Ladder

STYLES: dict[Kind, str] = {
    "request": "bold cyan",
    "provisional": "dim",
    "success": "green",
    "redirect": "blue",
    "rejection": "yellow",
    "failure": "red",
    "global": "magenta",
    "unreadable": "bold red",
}
_TIMES = 21  # columns of the two times
_MARGIN = 11  # from the times to the first line, and behind the last one: half a name
_NARROWEST, _WIDEST = 18, 48  # between two lines
_ASCII = str.maketrans("│─▶◀◆·×…→", "|-><*,x~>")


class _Row:
    """One line of characters, to be written upon at any column."""

    def __init__(self, width: int) -> None:
        self._signs = [" "] * width
        self._spans: list[tuple[str, int, int]] = []

    def put(self, column: int, text: str, style: str = "") -> None:
        begin = max(0, min(column, len(self._signs) - len(text)))
        text = text[: len(self._signs) - begin]
        self._signs[begin : begin + len(text)] = text
        if style:
            self._spans.append((style, begin, begin + len(text)))

    def text(self) -> Text:
        line = Text("".join(self._signs).rstrip())
        for style, begin, end in self._spans:
            line.stylize(style, begin, end)
        return line


class _Drawing:
    """Where everything stands on lines of a given width."""

    def __init__(self, ladder: Ladder, width: int) -> None:
        self.ladder = ladder
        gaps = max(1, len(ladder.participants) - 1)
        room = (width - _TIMES - 2 * _MARGIN) // gaps
        self.gap = max(_NARROWEST, min(_WIDEST, room))
        self.lines = [_TIMES + _MARGIN + self.gap * index for index in range(len(ladder.participants))]
        self.width = self.lines[-1] + _MARGIN if self.lines else width

    def heads(self) -> list[Text]:
        rows = [_Row(self.width), _Row(self.width)]
        for participant, column in zip(self.ladder.participants, self.lines, strict=True):
            said = ((participant.name, "bold"), (participant.detail, "dim"))
            for row, (text, style) in zip(rows, said, strict=True):
                short = _cut(text, self.gap - 2)
                row.put(column - len(short) // 2, short, style)
        return [row.text() for row in rows]

    def rung(self, arrow: Arrow, since: float, step: float) -> Text:
        row = self._lines()
        row.put(0, f"{since:9.3f} s", "dim")
        if step:
            row.put(12, f"{span(step):>8}", "dim")
        self._draw(row, arrow)
        return row.text()

    def mark(self, arrow: Arrow) -> Text:
        row = self._lines()
        text = _cut(f"◆ {arrow.mark}", self.width - _TIMES)
        column = self.lines[arrow.source]
        row.put(max(_TIMES, min(column, self.width - len(text))), text, "bold yellow")
        return row.text()

    def _lines(self) -> _Row:
        row = _Row(self.width)
        for column in self.lines:
            row.put(column, "│", "dim")
        return row

    def _draw(self, row: _Row, arrow: Arrow) -> None:
        style = STYLES[arrow.kind]
        source, target = self.lines[arrow.source], self.lines[arrow.target]
        if source == target:
            row.put(source + 1, f"◀ {label_of(arrow, self.gap - 4)}", style)
            return
        left, right = min(source, target) + 1, max(source, target)
        label = f" {label_of(arrow, right - left - 5)} "
        shaft = label.center(right - left, "─")
        row.put(left, f"{shaft[:-1]}▶" if target > source else f"◀{shaft[1:]}", style)


def render(ladder: Ladder, width: int = 120, *, plain: bool = False) -> Text:
    """Draw a ladder in ``width`` columns, or in more where that many participants need them. ``plain`` uses
    ASCII alone, where that is all that can be shown.
    """
    if not ladder.arrows:
        return Text("no messages")
    drawing = _Drawing(ladder, width)
    rows = drawing.heads()
    for arrow, since, step in ladder.steps():
        if arrow.mark:
            rows.append(drawing.mark(arrow))
        rows.append(drawing.rung(arrow, since, step))
    if ladder.note:
        rows.append(Text(ladder.note))
    text = Text("\n").join(rows)
    if plain:
        text.plain = text.plain.translate(_ASCII).encode("ascii", "replace").decode()
    return text


def span(seconds: float) -> str:
    """Return how much later something was, in the unit that reads best."""
    if seconds < 0.0995:
        return f"+{seconds * 1000:.1f} ms"
    return f"+{seconds:.2f} s" if seconds < 99.5 else f"+{seconds:.0f} s"


def label_of(arrow: Arrow, length: int) -> str:
    """Return what stands on an arrow in ``length`` characters; how often it was sent is never cut off."""
    times = "" if arrow.times == 1 else f" ×{arrow.times}"
    full = f"{arrow.label} · {arrow.detail}{times}"
    if arrow.detail and len(full) <= length:
        return full
    return f"{_cut(arrow.label, length - len(times))}{times}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: max(0, length - 1)]}…"
