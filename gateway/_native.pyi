from typing import final

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
