"""A CSV file as an Arrow table. What is not as most CSV files are is named, with the setting that
reads it: its encoding, its separator, a first line that is data.
"""

import codecs
from pathlib import Path
from typing import Any

from evoml.core.errors import InputError, check_unpacked, plain_file
from evoml.core.wording import one_line
from evoml.tasks._table_settings import TableSettings, is_number

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
CHUNK = 1 << 20  # bytes
BLOCK = 2**31 - 2  # bytes, the most that pyarrow takes at once
# how files start that say their encoding, or that have two or four bytes a character
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8"),
)  # fmt: skip


def read_csv(path: Path, settings: TableSettings, separator: str, remarks: list[str]) -> Any:
    """The file's Arrow table. Raises InputError."""
    import pyarrow as pa
    from pyarrow import csv

    try:
        compression = COMPRESSIONS.get(plain_file(path).suffix.lower())
        if compression is not None:
            _check_size(path, compression)
        first = _checked_first_line(path, settings.encoding, separator)
        size = path.stat().st_size * (1 if compression is None else 64)
        # opened here: pyarrow takes a path for UTF-8, whatever the locale
        with path.open("rb") as file, pa.input_stream(file, compression=compression) as stream:
            table = csv.read_csv(
                stream,
                csv.ReadOptions(
                    encoding=settings.encoding,
                    # types are known once all of a column is
                    block_size=max(CHUNK, min(4 * size + 1, BLOCK)),
                    autogenerate_column_names=not settings.header,
                ),
                csv.ParseOptions(delimiter=separator, newlines_in_values=True),
                csv.ConvertOptions(
                    strings_can_be_null=True,
                    null_values=["", *settings.missing_values],
                    decimal_point=settings.decimal,
                ),
            )
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, LookupError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as csv ({one_line(str(error), 200)})") from None
    names = [name for name in table.column_names if name.strip()]
    if settings.header and 2 * sum(map(is_number, names)) > len(names):
        if len(set(names)) < len(names):
            raise InputError(
                f"{path}: its first line, {one_line(first, 40)}, has no names of columns; if it is "
                "data, set task.header=false"
            )
        remarks.append(
            f"{path}: its first line, {one_line(first, 40)}, is taken for names of columns; set "
            "task.header=false if it is data"
        )
    return table


def _check_size(path: Path, compression: str) -> None:
    """Raise InputError where a compressed file is larger than anything that is read."""
    import pyarrow as pa

    size = 0
    with path.open("rb") as file, pa.input_stream(file, compression=compression) as stream:
        while more := len(stream.read(CHUNK)):
            size += more
            check_unpacked(path, size)


def _checked_first_line(path: Path, encoding: str, separator: str) -> str:
    """The first line. Raises InputError where the file is of another encoding, naming the first
    byte, or where something else is between its columns.
    """
    import pyarrow as pa

    compression = COMPRESSIONS.get(path.suffix.lower())
    with path.open("rb") as file, pa.input_stream(file, compression=compression) as stream:
        start = stream.read(CHUNK)
        _check_mark(path, start, encoding)
        if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
            _check_utf8(path, start, stream)
    line = start.decode(encoding, errors="replace").lstrip("\ufeff").splitlines()[:1]
    first = line[0] if line else ""
    found = [each for each in SEPARATORS if each != separator and each in first]
    if found and separator not in first:
        hint = ", and task.decimal=',' for numbers such as 0,5" * (found[0] == ";")
        raise InputError(
            f"{path}: one column, {one_line(first, 60)!r}: {SEPARATORS[found[0]]} seems to be "
            f"between columns; set task.separator={found[0]!r}{hint}"
            if first[:4].lower() != "sep="
            else f"{path}: its first line, {one_line(first, 60)}, is one for Excel; leave it out, "
            f"and set task.separator={first[4:5]!r}"
        )
    return first


def _check_mark(path: Path, start: bytes, encoding: str) -> None:
    wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    for mark, name in _MARKS:
        if start.startswith(mark):
            if not codecs.lookup(encoding).name.startswith(name):
                raise InputError(f"{path}: is {name.upper()}; set task.encoding={name}")
            return
    if not wide and b"\0" in start[:4]:
        end = "le" if start[1:2] == b"\0" else "be"
        raise InputError(
            f"{path}: zero bytes among its first: UTF-16, perhaps; set task.encoding=utf-16-{end}"
        )


def _check_utf8(path: Path, chunk: bytes, stream: Any) -> None:
    """Raise InputError where what starts with a chunk and goes on in a stream is not UTF-8."""
    read, lines = 0, 1
    while chunk:
        more = stream.read(CHUNK)
        try:
            _, used = codecs.utf_8_decode(chunk, "strict", not more)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: not UTF-8 at byte {read + error.start}, in line "
                f"{lines + chunk.count(bytes([10]), 0, error.start)}; set task.encoding, such as "
                "latin-1"
            ) from None
        lines += chunk.count(b"\n", 0, used)
        read += used
        chunk = chunk[used:] + more
