"""What requests and responses share: header rows, what is found in them by key, and the body.

A message that the native core has read leaves its headers in the native rows and asks those for one key at a
time; any other has an index of its own. Nobody else needs to know which of the two it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .errors import MalformedError
from .headers import COMMA, NameAddr, Via, parse_cseq, parse_name_addr, parse_via, split_list, without_tag
from .rows import KeySet, Rows, key_set
from .uri import parse_uri

if TYPE_CHECKING:
    from gateway._native import Rows as NativeRows

NAMING_DIALOGS: Final = key_set(frozenset((b"Replaces", b"Join", b"Target-Dialog")))
"""What tells that a request to our own URI is for somebody behind us (RFC 3891, RFC 3911, RFC 4538)."""


_EITHER: Final = "a message has an index or native rows"


class Fields:
    """The headers and the body of a message."""

    __slots__ = (
        "_has_one_via",
        "_index",
        "_more",
        "_receiver",
        "_sender",
        "_seq",
        "_seq_method",
        "_via",
        "body",
        "call_id",
        "native",
        "rows",
    )

    # Set by the two kinds themselves: super().__init__ would cost every message a tenth of its parsing.
    rows: Rows
    native: NativeRows | None
    """What was read natively, and is still the truth about this message."""
    body: bytes
    call_id: bytes
    """b"" when it is missing."""
    _index: dict[bytes, bytes] | None  # None where native is asked
    _more: dict[bytes, list[bytes]] | None
    _has_one_via: bool
    _via: Via | None
    _seq: int
    _seq_method: bytes  # b"" where CSeq has not been read
    _sender: NameAddr | None
    _receiver: NameAddr | None

    def take(
        self,
        native: NativeRows,
        call_id: bytes,
        has_one_via: bool,
        seq: int,
        seq_method: bytes,
        to: NameAddr | None,
    ) -> None:
        """Take what the native core has read at once of both kinds of message."""
        self.native = native
        self.call_id = call_id
        self._has_one_via = has_one_via
        self._seq = seq
        self._seq_method = seq_method
        self._receiver = to

    @property
    def index(self) -> dict[bytes, bytes]:
        """The first value of each header by its key, in order. Where few keys are asked for, :meth:`get` and
        :meth:`has` are quicker: they need no index.
        """
        if self._index is None:
            assert self.native is not None, _EITHER
            self._index, self._more = self.native.by_key()
            self.native = None
        return self._index

    def get(self, key: bytes) -> bytes | None:
        """Return the first value of a header, unfolded and stripped, or None."""
        if self._index is not None:
            return self._index.get(key)
        assert self.native is not None, _EITHER
        return self.native[key]

    def has(self, key: bytes) -> bool:
        """Tell whether there is such a header."""
        if self._index is not None:
            return key in self._index
        return key in self.native  # type: ignore[operator]  # rows take a key as well as a row

    def has_any(self, keys: KeySet) -> bool:
        """Tell whether there is a header of one of these keys."""
        if self._index is None:
            assert self.native is not None, _EITHER
            return self.native.has_any(keys)
        if isinstance(keys, frozenset):
            return not keys.isdisjoint(self._index)
        return any(key in keys for key in self._index)

    def values(self, key: bytes) -> list[bytes]:
        """Return the value of each line of a header, in order, unfolded and stripped."""
        if self._index is None:
            assert self.native is not None, _EITHER
            return self.native.values(key)
        value = self._index.get(key)
        if value is None:
            return []
        if self._more is None or key not in self._more:
            return [value]
        return [value, *self._more[key]]

    def need(self, key: bytes) -> bytes:
        """Return the first value of a header that must be there. Raises MalformedError."""
        value = self.get(key)
        if not value:
            raise MalformedError(f"{key.decode()} is missing")
        return value

    def lines(self, key: bytes) -> list[bytes]:
        """Return the header's lines as they came, names included."""
        return [line for row_key, line in self.rows if row_key == key]

    def repeated(self, key: bytes) -> bool:
        """Tell whether the header stands on more than one line."""
        native = self.native
        if native is not None:
            return native.repeated(key)
        return self._more is not None and key in self._more

    @property
    def via(self) -> Via:
        """The topmost Via. Raises MalformedError."""
        if self._via is None:
            self._via = parse_via(self.need(b"Via"))
        return self._via

    @property
    def has_one_via(self) -> bool:
        """Whether there is one Via line at most, and no list of several in it."""
        return self._has_one_via or not (self.repeated(b"Via") or COMMA in (self.get(b"Via") or b""))

    @property
    def cseq(self) -> tuple[int, bytes]:
        """Sequence number and method of CSeq. Raises MalformedError."""
        if not self._seq_method:
            self._seq, self._seq_method = parse_cseq(self.need(b"CSeq"))
        return self._seq, self._seq_method

    @property
    def sender(self) -> NameAddr:
        """The From. Raises MalformedError."""
        if self._sender is None:
            self._sender = parse_name_addr(self.need(b"From"))
        return self._sender

    @property
    def receiver(self) -> NameAddr:
        """The To. Raises MalformedError."""
        if self._receiver is None:
            self._receiver = parse_name_addr(self.need(b"To"))
        return self._receiver

    @property
    def bare_sender(self) -> bytes:
        """The value of From as it came but for its tag. Raises MalformedError."""
        sender = self._sender
        return sender.bare if sender is not None and sender.bare else without_tag(self.need(b"From"))

    @property
    def bare_receiver(self) -> bytes:
        """The value of To as it came but for its tag. Raises MalformedError."""
        receiver = self._receiver
        return receiver.bare if receiver is not None and receiver.bare else without_tag(self.need(b"To"))

    @property
    def from_tag(self) -> bytes:
        """The tag of From, or b"". Raises MalformedError."""
        return self.sender.tag

    @property
    def to_tag(self) -> bytes:
        """The tag of To, or b"". Raises MalformedError."""
        return self.receiver.tag

    def _check_routes(self) -> None:
        """Make sure that a route set can be made of Record-Route (RFC 3261 12.1). Raises MalformedError."""
        for value in self.values(b"Record-Route"):
            for item in split_list(value):
                parse_uri(parse_name_addr(item).uri)
