"""Values that consist of parts: how two of them compare, and what one shows of itself."""

from __future__ import annotations


class Parted:
    """A value that equals another of its kind with equal parts. Compiled, its attributes are plain fields."""

    __slots__ = ()

    def parts(self) -> tuple[object, ...]:
        """Return what the value is made of."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Parted) and self.parts() == other.parts()

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.parts()!r}"
