"""The spool's file: batches come out of it in order and once, whatever the disk did to it."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import msgspec
import pytest

from gateway.ledger import spool
from gateway.ledger.packing import RowMaker
from gateway.ledger.schema import COLUMNS
from gateway.ledger.spool import Spool
from tests.ledger.records import NOON, rewritten
from tests.ledger.spooled import ids, rows


def ids_in(batch: list[bytes]) -> list[str]:
    return [msgspec.msgpack.decode(row)[0] for row in batch]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "gateway.db.spool"


def spoil(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x80
    path.write_bytes(content)


def test_batches_come_out_in_the_order_they_went_in_and_the_file_shrinks(path: Path) -> None:
    waiting = Spool(path)
    assert waiting.append(rows(1, 2))
    assert waiting.append(rows(3))
    assert (waiting.records, waiting.oldest) == (3, NOON + 1.25)
    assert ids_in(waiting.first()) == ids(1, 2)
    waiting.forget_first(2)
    assert ids_in(waiting.first()) == ids(3)
    waiting.forget_first(1)
    assert (waiting.first(), waiting.records, path.stat().st_size) == ([], 0, 0)
    waiting.close()


def test_another_process_finds_all_that_waits_but_a_batch_cut_short(path: Path) -> None:
    """A frame without its end is what a process leaves that was killed while it wrote."""
    waiting = Spool(path)
    waiting.append(rows(1))
    waiting.append(rows(2))
    waiting.close()
    size = path.stat().st_size
    for cut in (1, 10, size // 2 - 1):
        with path.open("r+b") as file:
            file.truncate(size - cut)
        found = Spool(path)
        assert (found.records, found.damaged) == (1, 0)
        assert found.append(rows(2))
        assert path.stat().st_size == size
        found.close()


def test_a_batch_that_the_disk_spoilt_is_counted_and_the_next_one_read(path: Path) -> None:
    waiting = Spool(path)
    waiting.append(rows(1, 2))
    waiting.append(rows(3))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert ids_in(waiting.first()) == ids(3)
    assert (waiting.records, waiting.damaged) == (1, 2)
    waiting.close()


@pytest.mark.parametrize("place", [0, 5])  # the magic; the length
@pytest.mark.parametrize("is_started_anew", [False, True])
def test_a_header_that_the_disk_spoilt_costs_its_own_batch_alone(
    path: Path, place: int, is_started_anew: bool
) -> None:
    """The next frame whose checksum is right is looked for. Only who wrote them knows how many they were."""
    waiting = Spool(path)
    waiting.append(rows(1, 2))
    at = path.stat().st_size
    waiting.append(rows(3, 4))
    waiting.append(rows(5))
    spoil(path, at + place)
    if is_started_anew:
        waiting.close()
        waiting = Spool(path)
    assert waiting.records == (4 if is_started_anew else 5)
    assert ids_in(waiting.first()) == ids(1, 2)
    waiting.forget_first(2)
    assert ids_in(waiting.first()) == ids(5)
    assert (waiting.records, waiting.damaged) == (1, 1 if is_started_anew else 2)
    waiting.forget_first(1)
    assert (waiting.records, path.stat().st_size) == (0, 0)
    assert waiting.append(rows(6))
    assert ids_in(waiting.first()) == ids(6)
    waiting.close()


@pytest.mark.parametrize("place", [0, 5])
def test_a_header_that_the_disk_spoilt_at_the_start_or_the_end_costs_no_other_batch(
    path: Path, place: int
) -> None:
    waiting = Spool(path)
    for number in (1, 2, 3):
        waiting.append(rows(number))
    size = path.stat().st_size // 3
    waiting.close()
    for at in (0, 2 * size):
        spoil(path, at + place)
    found = Spool(path)
    assert ids_in(found.first()) == ids(2)
    found.forget_first(1)
    # A last frame whose length leads beyond the end is taken for one that was cut short.
    assert (found.records, found.first(), found.damaged) == (0, [], 1 if place else 2)
    found.close()


def test_what_looks_like_a_header_within_a_record_is_none(path: Path) -> None:
    waiting = Spool(path)
    waiting.append([RowMaker().encoded(rewritten(1, original_phrase="GWS1" * 20 + "GWS"))])
    waiting.append(rows(2))
    spoil(path, 0)
    assert ids_in(waiting.first()) == ids(2)
    assert (waiting.records, waiting.damaged) == (1, 1)
    waiting.close()


@pytest.mark.parametrize("content", [b"SQLite format 3\0" + bytes(4096), b"x", bytes(64) + b"data"])
def test_a_file_that_is_no_spool_stays_as_it_is(path: Path, content: bytes) -> None:
    """The path of the database, say, stands where that of the spool belongs."""
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(OSError, match="it is another file, and no spool"):
        Spool(path)
    assert path.read_bytes() == content
    path.unlink()
    Spool(path).close()


def test_what_the_system_never_wrote_of_a_spool_is_no_other_file(path: Path) -> None:
    """After the power failed, a file may have its new size and nothing in it."""
    path.parent.mkdir()
    path.write_bytes(bytes(5000))
    waiting = Spool(path)
    assert (waiting.records, waiting.damaged, path.stat().st_size) == (0, 0, 0)
    waiting.close()


def test_a_count_that_somebody_cuts_short_ends_nobody(path: Path) -> None:
    waiting = Spool(path)
    waiting.note_unsettled(7)
    os.truncate(path.with_name(f"{path.name}.count"), 0)
    waiting.note_unsettled(5)
    waiting.close()
    waiting.note_unsettled(9)
    again = Spool(path)
    assert again.lost == 5
    again.close()


def test_records_of_an_earlier_gateway_get_todays_columns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway may be replaced by a newer one, with more columns, while its records wait."""
    place = COLUMNS.index("label")
    earlier = tuple(name for name in COLUMNS if name != "label")
    monkeypatch.setattr(spool, "COLUMNS", earlier)
    waiting = Spool(path)
    ((ended_at, row),) = rows(1)
    values = msgspec.msgpack.decode(row)
    waiting.append([(ended_at, msgspec.msgpack.encode([*values[:place], *values[place + 1 :]]))])
    monkeypatch.setattr(spool, "COLUMNS", COLUMNS)
    assert waiting.first() == [row]
    waiting.close()


def test_a_frame_is_what_it_was_when_rows_were_encoded_by_the_batch(path: Path) -> None:
    """A gateway reads what an earlier one has left, and the other way round."""
    records = [rewritten(number) for number in range(20)]
    waiting = Spool(path)
    waiting.append([RowMaker().encoded(record) for record in records])
    waiting.close()
    body = msgspec.msgpack.encode((COLUMNS, [RowMaker()(record) for record in records]))
    header = struct.pack("<4sIIId", b"GWS1", len(body), 20, zlib.crc32(body), NOON + 0.25)
    assert path.read_bytes() == header + body


def test_a_full_spool_takes_no_more(path: Path) -> None:
    waiting = Spool(path, limit=1000)
    assert waiting.append(rows(1))
    assert not waiting.append(rows(2, 3, 4, 5))
    assert waiting.records == 1
    waiting.close()


def test_a_spool_has_one_gateway(path: Path) -> None:
    first = Spool(path)
    with pytest.raises(OSError, match="another gateway writes to it"):
        Spool(path)
    first.close()
    Spool(path).close()
