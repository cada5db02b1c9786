"""How much a Parquet file holds, read from its footer and page headers before anything is unpacked.

What a footer claims need not be so, and pyarrow ends the whole process where some of it is damaged. Both are Thrift's
compact protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md and
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, whose field numbers stand below.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

LARGEST_FOOTER, LARGEST_PAGE_HEADER = 2**22, 2**16
"""What is larger is refused (bytes)."""
_ENCODINGS = {0, 2, 3, 8}  # plain, dictionaries and runs: with others a few bytes can stand for a long string each


class Extent(NamedTuple):
    """What a file unpacks to."""

    rows: int
    row_groups: int
    values: int
    """Cells of all columns, those within lists counted."""
    bytes: int
    """All pages, before dictionaries and runs are written out."""


def extent_of(file: BinaryIO) -> Extent:
    """The extent of an open Parquet file; raises ValueError where its pages are not what its footer says."""
    footer = _footer(file)
    size, groups = file.seek(0, os.SEEK_END), footer.get(4, [])
    rows = values = unpacked = 0
    for group in groups:
        rows += _count(group[3])
        for column in group[1]:
            chunk = column[3]
            expected, counted = _count(chunk[5]), 0
            for page in _pages(file, chunk, size):
                kind = page.get(5) or page.get(8)  # data, of one of two versions
                counted += _count(kind[1]) if kind else 0
                values += _count((kind or page.get(7) or {1: 0})[1])
                unpacked += _count(page[2])
                if kind and kind[2 if 5 in page else 4] not in _ENCODINGS:
                    raise ValueError("it has an encoding that no log has")
            if counted != expected:
                raise ValueError(f"a column claims {expected:,} values and has {counted:,}")
    if rows != footer[3]:
        raise ValueError("its row groups do not add up to its rows")
    return Extent(rows, len(groups), values, unpacked)


def _footer(file: BinaryIO) -> dict[int, Any]:
    size = file.seek(0, os.SEEK_END)
    if size < 12:
        raise ValueError("it is cut short")
    file.seek(size - 8)
    ending = file.read(8)
    length = int.from_bytes(ending[:4], "little")
    if ending[4:] != b"PAR1" or not 0 < length <= min(size - 12, LARGEST_FOOTER):
        raise ValueError("it does not end like a Parquet file")
    file.seek(size - 8 - length)
    return _Compact(file.read(length)).struct()


def _pages(file: BinaryIO, chunk: dict[int, Any], size: int) -> Iterator[dict[int, Any]]:
    """The headers of the pages of a column chunk."""
    place = min(_count(chunk[start]) for start in (9, 11) if start in chunk)
    end = place + _count(chunk[7])
    if end > size:
        raise ValueError("a column lies behind its end")
    while place < end:
        file.seek(place)
        header = _Compact(file.read(LARGEST_PAGE_HEADER))
        page = header.struct()
        yield page
        place += header.place + _count(page[3])


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a count in it is none")
    return value


class _Compact:
    """Thrift's compact protocol: a struct as a dictionary by field number."""

    def __init__(self, content: bytes) -> None:
        self._content, self.place = content, 0

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = self._value(head & 15)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (1, 2):  # a boolean field lies in its head
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in (9, 10):
            return self._list()
        if kind == 12:
            return self.struct()
        raise ValueError("it has a value of an unknown kind")

    def _list(self) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._unsigned()
        if count > len(self._content) - self.place:
            raise ValueError("it is cut short")
        return [self._byte() if head & 15 in (1, 2) else self._value(head & 15) for _ in range(count)]

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("it has a number that is too long")

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        taken = self._content[self.place : self.place + count]
        if len(taken) != count:
            raise ValueError("it is cut short")
        self.place += count
        return taken
