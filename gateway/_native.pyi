from collections.abc import Sequence
from typing import Protocol, final, type_check_only

from .sip.headers import NameAddr, Via
from .sip.uri import Uri

__all__ = ["Batches", "Reader", "lines_except"]

_Index = dict[bytes, bytes]
_More = dict[bytes, list[bytes]]
_Rows = list[tuple[bytes, bytes]]
_CSeq = tuple[int, bytes]

def lines_except(rows: _Rows, left_out: frozenset[bytes]) -> list[bytes]: ...

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
            _Rows,
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
        tuple[int, bytes, _Rows, _Index, _More | None, bytes, bytes | None, _CSeq | None, NameAddr | None]
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
