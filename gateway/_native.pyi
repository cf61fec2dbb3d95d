from collections.abc import Sequence
from typing import Protocol, final, type_check_only

__all__ = ["Batches", "Reader"]

_Index = dict[bytes, bytes]
_More = dict[bytes, list[bytes]]
_Rows = list[tuple[bytes, bytes]]

@final
class Reader:
    def __new__(cls, keys: dict[bytes, bytes]) -> Reader: ...
    def read_request(
        self, message: bytes
    ) -> tuple[bytes, bytes, _Rows, _Index, _More | None, bytes] | None: ...
    def read_response(
        self, message: bytes
    ) -> tuple[int, bytes, _Rows, _Index, _More | None, bytes] | None: ...

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
