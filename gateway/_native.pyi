from collections.abc import Iterator, Sequence
from typing import Protocol, final, overload, type_check_only

from .sip.headers import NameAddr, Via
from .sip.uri import Uri

__all__ = ["Batches", "Reader", "Rows", "ack_key", "lines_except", "text_except"]

_Index = dict[bytes, bytes]
_More = dict[bytes, list[bytes]]
_CSeq = tuple[int, bytes]

def ack_key(data: bytes) -> bytes | None: ...
def lines_except(rows: Sequence[tuple[bytes, bytes]], left_out: frozenset[bytes]) -> list[bytes]: ...
def text_except(rows: Sequence[tuple[bytes, bytes]], left_out: frozenset[bytes], added: bytes) -> bytes: ...

@final
class Rows(Sequence[tuple[bytes, bytes]]):
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> tuple[bytes, bytes]: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[tuple[bytes, bytes]]: ...
    def __iter__(self) -> Iterator[tuple[bytes, bytes]]: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class Reader:
    def __new__(
        cls, keys: dict[bytes, bytes], via: type[Via], name_addr: type[NameAddr], uri: type[Uri]
    ) -> Reader: ...
    def read_request(
        self, message: bytes
    ) -> (
        tuple[
            bytes,
            bytes,
            Rows,
            _Index,
            _More | None,
            bytes,
            Via | None,
            _CSeq | None,
            NameAddr | None,
            NameAddr | None,
            int,
            Uri | None,
        ]
        | None
    ): ...
    def read_response(
        self, message: bytes
    ) -> (
        tuple[int, bytes, Rows, _Index, _More | None, bytes, bytes | None, _CSeq | None, NameAddr | None]
        | None
    ): ...

@type_check_only
class _HasPeer(Protocol):
    @property
    def peer(self) -> tuple[str, int]: ...

@final
class Batches:
    def __new__(cls, fd: int, size: int) -> Batches: ...
    @property
    def lost(self) -> int: ...
    def receive(self) -> list[tuple[bytes, tuple[str, int]]]: ...
    def send(self, batch: Sequence[tuple[bytes, _HasPeer]], first: int) -> int: ...
