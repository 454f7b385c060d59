"""A run on disk: Parquet parts, the configuration, a checkpoint and events. Everything is written
beside and renamed into place.

    run.toml                        the whole configuration, versions, seed; enough to repeat the
    run
    part-000000.parquet, ...        the candidates kept, a part a flush
    checkpoint/state.safetensors    everything a resumed run needs: arrays, and JSON in the header;
    no pickle
    events.jsonl                    what happened, one JSON object a line
    result.json                     the end of a finished run: the best candidate and its scores

A candidate can stand in several rows: when it was found, when it was selected, in a snapshot of the
population. `event` tells them apart. Reading a run executes none of its contents.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from json import JSONDecodeError
from pathlib import Path
from shlex import quote
from shutil import rmtree
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tomli_w

from evoml.archive.checkpoint import pack, unpack
from evoml.archive.files import (
    NO_LINKS,
    finite,
    read_result,
    write_atomically,
    writing,
)
from evoml.archive.ranking import ranked
from evoml.contracts.objective import Objective, listed
from evoml.core.digests import digest
from evoml.core.errors import (
    DiskError,
    InputError,
    cannot_write,
    check_unpacked,
    plain_file,
    unpacked,
)
from evoml.genotypes.population import STATUS, Population
from evoml.genotypes.schema import Genotype, Schema

FORMAT = 1
BATCH = 256  # rows that are converted to Arrow together
_UNREADABLE = (OSError, ValueError, KeyError, pa.ArrowException)


class Archive:
    """One run folder. `rows` are buffered by `add` and become a part at `flush`."""

    def __init__(
        self, folder: Path, schema: Schema, objectives: Sequence[Objective],
        every_row: bool = False, columns: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """every_row: whether every candidate is a row, with what it took and its learning curve.
        columns: further whole numbers that rows may have, by name.
        """
        self.further = tuple(columns)
        self.folder, self.schema, self.every_row = folder, schema, every_row
        self.objectives = tuple(objectives)
        self.parts: list[str] = []  # a digest of every part
        self._rows: list[tuple[Population, tuple[Sequence[Any], ...]]] = []  # not yet a batch
        self._ungathered = 0  # how many rows these are
        self._buffer: list[pa.RecordBatch] = []
        self._events: list[dict[str, Any]] = []
        self._events_bytes = 0
        self._stale = False  # whether parts and a result from after the checkpoint are still there

    @cached_property
    def arrow(self) -> pa.Schema:
        """The columns of every part that this evoml writes."""
        return self._columns(self.objectives)

    def _columns(self, objectives: Sequence[Objective]) -> pa.Schema:
        return pa.schema(
            [
                ("id", pa.int64()), ("key", pa.string()), ("parents", pa.list_(pa.int64())),
                ("birth", pa.int64()), ("status", pa.string()), ("seconds", pa.float64()),
                *((each.name, pa.float64()) for each in objectives), ("event", pa.string()),
                ("island", pa.int32()), ("experiment", pa.int32()), ("evaluations", pa.int64()),
                *((name, pa.int64()) for name in self.further),
                *([("curve", pa.list_(pa.float64()))] if self.every_row else []),
                ("genotype", self.schema.arrow),
            ],
            metadata={
                "evoml": json.dumps(
                    {
                        "format": FORMAT, "objective": objectives[0].name,
                        "objectives": [each.plain() for each in objectives],
                    }
                )
            },
        )  # fmt: skip

    def _part(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.parquet"

    def _numbered(self) -> dict[int, Path]:
        """The parts in the folder, by number."""
        names = {
            part: part.stem.removeprefix("part-") for part in self.folder.glob("part-*.parquet")
        }
        return dict(
            sorted(
                (int(number), part)
                for part, number in names.items()
                if number.isdecimal() and part == self._part(int(number))
            )
        )

    # -- writing -----------------------------------------------------------------------------------

    def create(
        self, config: Mapping[str, Any], files: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Make the folder with these text files, and last run.toml.

        Raises InputError if it already holds something, and DiskError.
        """
        folder, settings = self.folder, self.dump(config)
        try:
            if (folder / "run.toml").exists():
                raise InputError(
                    f"{folder}: already a run; go on with `evoml resume {quote(str(folder))}` or "
                    "name another folder with --run"
                )
            if folder.is_symlink() and not folder.exists():
                raise InputError(f"{folder}: a link to nothing; name another folder with --run")
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise InputError(
                    f"{folder}: already there and not empty; name another folder with --run"
                )
            (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from None
        try:
            for name, text in files.items():
                write_atomically(folder / name, text.encode())
            write_atomically(folder / "run.toml", settings)
        except DiskError:
            rmtree(folder, ignore_errors=True)  # nothing is in it but what this call made
            raise

    @staticmethod
    def dump(config: Mapping[str, Any]) -> bytes:
        """A configuration as run.toml holds it. Raises InputError for a name that is not UTF-8."""
        text = tomli_w.dumps(dict(config))
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            line = text[: error.end].splitlines()[-1] + text[error.end :].splitlines()[0]
            raise InputError(
                f"{line}: a name that is not UTF-8, which run.toml cannot hold; rename it"
            ) from None

    def add(
        self, population: Population, keys: list[str], event: str, island: int, experiment: int,
        evaluations: int | Sequence[int], seconds: Sequence[float] | None = None,
        curves: Sequence[Sequence[float]] | None = None,
        further: Mapping[str, Sequence[int | None]] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Buffer one row an individual.

        evaluations: how many candidates the run had evaluated by then; one a row, or one for all.
        further: of the archive's further columns.
        """
        if not len(population):
            return
        n = len(population)
        nothing: Any = [None] * n
        known = (
            keys,
            [event] * n,
            [island] * n,
            [experiment] * n,
            [evaluations] * n if isinstance(evaluations, int) else evaluations,
            seconds or nothing,
            curves or nothing,
            *(further.get(name, nothing) for name in self.further),
        )
        self._rows.append((population.take(slice(None)), known))
        self._ungathered += n
        if self._ungathered >= BATCH:
            self._gather()

    def _gather(self) -> None:
        """Make a batch of the rows so far: a conversion of many costs little more than one of a
        few.
        """
        if not self._rows:
            return
        population = Population.joined([each for each, _ in self._rows])
        keys, events, islands, experiments, evaluations, seconds, curves, *further = (
            list(chain.from_iterable(parts))
            for parts in zip(*(known for _, known in self._rows), strict=True)
        )
        parents = [
            [parent for parent in pair if parent >= 0] for pair in population.parents.tolist()
        ]
        columns = [
            population.ids, keys, parents, population.birth,
            [STATUS[code] for code in population.status], seconds, *population.fitness.T.copy(),
            events, islands, experiments, evaluations, *further,
            *([curves] if self.every_row else []),
        ]  # fmt: skip
        arrays = [
            pa.array(column, kind) for column, kind in zip(columns, self.arrow.types, strict=False)
        ]
        arrays.append(self.schema.to_arrow(population.tables, population.sizes))
        self._buffer.append(pa.RecordBatch.from_arrays(arrays, schema=self.arrow))
        self._rows.clear()
        self._ungathered = 0

    def log(self, event: str, **values: Any) -> None:
        """Buffer a line for events.jsonl."""
        self._events.append({"event": event, **values})

    @property
    def buffered(self) -> int:
        """Rows not yet in a part."""
        return sum(batch.num_rows for batch in self._buffer) + self._ungathered

    def flush(self) -> None:
        """Write what is buffered: one part, and the events.

        Raises DiskError, keeping the buffer.
        """
        if self._stale:
            self._discard()
        self._gather()
        if self._buffer:
            sink = pa.BufferOutputStream()
            with pq.ParquetWriter(sink, self.arrow, compression="zstd") as writer:
                writer.write_table(pa.Table.from_batches(self._buffer, self.arrow))
            content = sink.getvalue().to_pybytes()
            write_atomically(self._part(len(self.parts)), content)
            self.parts.append(digest(content))
            self._buffer.clear()
        if self._events:
            text = "".join(
                json.dumps(finite(event), allow_nan=False) + "\n" for event in self._events
            ).encode()
            path = self.folder / "events.jsonl"
            with (
                writing(path),
                os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | NO_LINKS, 0o644), "r+b") as file,
            ):
                file.truncate(self._events_bytes)
                file.seek(self._events_bytes)
                file.write(text)
            self._events_bytes += len(text)
            self._events.clear()

    def save(self, state: Mapping[str, Any]) -> None:
        """Flush, then replace the checkpoint.

        `state`: nested dictionaries of JSON values and arrays.
        """
        self.flush()
        files = {"parts": self.parts, "events_bytes": self._events_bytes}
        write_atomically(self.folder / "checkpoint" / "state.safetensors", pack(state, files))

    # -- reading -----------------------------------------------------------------------------------

    def restore(self) -> dict[str, Any]:
        """The checkpoint's state, empty before the first one.

        What was written after it goes when the resumed run writes. Raises InputError.
        """
        path = self.folder / "checkpoint" / "state.safetensors"
        if path.parent.is_symlink():
            raise InputError(
                f"{path.parent}: is a link; a run keeps its checkpoint in its own folder"
            )
        if not path.is_file():
            if self._numbered() or (self.folder / "result.json").exists():
                raise InputError(
                    f"{self.folder}: there are rows but no checkpoint, so it cannot be resumed; "
                    "start a new search"
                )
            return {}
        state, self.parts, self._events_bytes = unpack(path)
        events = self.folder / "events.jsonl"
        if self._events_bytes > (events.stat().st_size if events.is_file() else 0):
            raise InputError(
                f"{events}: missing, or shorter than it was; put it back to resume this run"
            )
        for number, known in enumerate(self.parts):
            self._check(self._part(number), known)
        self._stale = True
        return state

    def _check(self, part: Path, known: str) -> None:
        """Raise InputError where a part is not the one that was written."""
        if part.is_symlink():
            raise InputError(
                f"{part}: a link; a run keeps its parts in its own folder: put it back to resume "
                "this run"
            )
        try:
            content = plain_file(part).read_bytes()
        except OSError as error:
            raise InputError(
                f"{part}: {error.strerror or 'cannot be read'}; put it back to resume this run"
            ) from None
        if digest(content) != known:
            raise InputError(
                f"{part}: not as it was written; put the right one back to resume this run"
            )
        try:
            stored = stored_objectives(pq.read_schema(pa.BufferReader(content)), str(part))
        except pa.ArrowException as error:
            raise InputError(_skipped(part, error)) from None
        if stored not in ((), self.objectives):
            raise InputError(
                f"{part}: its objectives were {listed(stored)}, and now are "
                f"{listed(self.objectives)}; put back what it was made with to resume this run"
            )

    def _discard(self) -> None:
        """Remove what was written after the checkpoint that this run was resumed from."""
        with writing(self.folder):
            for number, part in self._numbered().items():
                if number >= len(self.parts):
                    part.unlink()
            (self.folder / "result.json").unlink(missing_ok=True)
        self._stale = False

    def table(self, columns: Sequence[str] = ()) -> tuple[pa.Table, list[str]]:
        """All rows, and a line for every part that is missing or could not be read.

        columns: default all; without `genotype` it is quick.
        """
        tables, warnings = self._tables(self._schema(columns))
        return pa.concat_tables([self._schema(columns).empty_table(), *tables.values()]), warnings

    def _schema(self, columns: Sequence[str]) -> pa.Schema:
        return pa.schema([self.arrow.field(name) for name in list(columns) or self.arrow.names])

    def _stored_objectives(self) -> tuple[Objective, ...]:
        """What the rows were judged by, as the first part says that says it; else what they are
        judged by now. Raises InputError where that is another column.
        """
        for part in self._numbered().values():
            try:
                stored = stored_objectives(pq.read_schema(plain_file(part)), str(part))
            except _UNREADABLE:
                continue  # who reads its rows says so
            if not stored:
                continue
            if not {each.name for each in self.objectives} <= {each.name for each in stored}:
                raise InputError(
                    f"{part}: its objectives were {listed(stored)}, and now are "
                    f"{listed(self.objectives)}; put back what it was made with"
                )
            return stored
        return self.objectives

    def _tables(self, schema: pa.Schema) -> tuple[dict[Path, pa.Table], list[str]]:
        """The parts with these columns, and a line for each that is missing or unreadable."""
        tables, warnings, last = {}, [], -1
        for number, part in self._numbered().items():
            if number > last + 1:
                warnings.append(
                    f"{self._part(last + 1)}: missing"
                    + (f", and {number - last - 2} more" if number > last + 2 else "")
                )
            last = number
            try:
                tables[part] = self._read(part, schema)
            except _UNREADABLE as error:
                warnings.append(_skipped(part, error))
        return tables, warnings

    def _read(self, part: Path, schema: pa.Schema) -> pa.Table:
        """One part. Raises ValueError, OSError or an Arrow error where it is none of this run."""
        file = pq.ParquetFile(plain_file(part))
        check_unpacked(part, unpacked(file.metadata))
        stored = stored_objectives(file.schema_arrow, "its metadata") or self.objectives
        table = file.read(schema.names)
        for name in self.further:  # which runs of earlier versions have not
            if name in schema.names and name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table), pa.int64()))
        missing = [name for name in schema.names if name not in table.column_names]
        if missing:
            raise ValueError(f"no column {missing[0]}")
        needed = {"id", "key", *(each.name for each in stored)}
        if any(name in needed and table[name].null_count for name in schema.names):
            raise ValueError("an id, key or objective is missing")
        return table.select(schema.names).cast(schema)

    def best(
        self, count: int | None, candidate: int | None = None
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """The best candidates, no key twice: selected ones by their score on the selection tasks,
        then others by their fitness in search. And a line for everything that could not be read.

        count: at most so many; None: the whole Pareto front, or one of a single objective.
        candidate: the id of the one that is wanted, of whose rows it is the best.

        Where every candidate is a row, the Pareto front comes first, whose rows have `front` true,
        and who could not be evaluated last; before it come those that were selected, by training
        alone behind a search with shared weights. Directions are those that were stored with the
        rows. Raises InputError where these have other objectives.
        """
        objectives = self._stored_objectives()
        schema = self._columns(objectives)
        tables, warnings = self._tables(schema.remove(schema.get_field_index("genotype")))
        if objectives != self.objectives:
            warnings.append(
                f"{self.folder}: ranked as it was stored, by {listed(objectives)}; its "
                f"configuration says {listed(self.objectives)} now"
            )
        placed = [
            table.append_column(
                "part", pa.array([str(part)] * len(table), pa.string())
            ).append_column("row", pa.array(range(len(table)), pa.int64()))
            for part, table in tables.items()
        ]
        if not placed:
            return [], warnings
        table = pa.concat_tables(placed)
        table, places = ranked(table, objectives, self.every_row)
        out: dict[str, dict[str, Any]] = {}
        genotypes: dict[str, pa.ChunkedArray | None] = {}
        keys = table["key"].to_pylist()
        if candidate is not None:
            ids = table["id"].to_numpy()
            places = [place for place in places if ids[place] == candidate]
        elif count is None and len(self.objectives) > 1 and self.every_row:
            on_front = table["front"].to_numpy()
            places = [place for place in places if on_front[place]] or places[:1]
        else:
            count = count or 1
        for place in places:
            if len(out) == count:
                break
            if keys[place] in out:
                continue
            row = table.slice(place, 1).to_pylist()[0]
            part, at = row.pop("part"), row.pop("row")
            if part not in genotypes:
                genotypes[part] = self._genotypes(Path(part), warnings)
            column = genotypes[part]
            if column is not None:
                genotype = self.genotype(
                    column.slice(at, 1).combine_chunks(), f"{self.folder}: candidate {row['id']}"
                )
                out[keys[place]] = row | {"genotype": genotype}
        result = read_result(self.folder)
        known = result["best"].get("id") if result and isinstance(result["best"], dict) else None
        chosen = table["id"].filter(
            pc.equal(table["event"], "candidate" if self.every_row else "selected")
        )
        if known is not None and known not in chosen.to_pylist():
            warnings.append(
                f"{self.folder}: its best, candidate {known} in result.json, is in no part that "
                "could be read"
            )
        return list(out.values()), warnings

    def _genotypes(self, part: Path, warnings: list[str]) -> pa.ChunkedArray | None:
        try:
            return self._read(part, self._schema(["genotype"]))["genotype"]
        except _UNREADABLE as error:
            warnings.append(_skipped(part, error))
            return None

    def genotype(self, column: pa.Array, where: str) -> Genotype:
        """One genotype from the column of that name. Raises InputError."""
        return self.schema.from_arrow(column, where)[0]


def stored_objectives(schema: pa.Schema, where: str) -> tuple[Objective, ...]:
    """What a part's metadata says that its rows were judged by; empty where it says nothing, as
    parts of earlier versions do. Raises InputError naming `where`.
    """
    try:
        about = json.loads((schema.metadata or {}).get(b"evoml", b"{}"))
        plain = about.get("objectives", [])
        return tuple(Objective.from_plain(each, where) for each in plain)
    except (TypeError, AttributeError, RecursionError, UnicodeDecodeError, JSONDecodeError):
        raise InputError(f"{where}: does not say what its rows were judged by") from None


def _skipped(part: Path, error: Exception) -> str:
    return f"{part}: skipped, not a part of this run ({' '.join(str(error).split())[:120]})"
