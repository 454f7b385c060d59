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
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from shlex import quote
from shutil import rmtree
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tomli_w
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

try:
    import fcntl
except ImportError:  # not on Windows, where runs are not locked
    fcntl = None  # type: ignore[assignment]

from evoml.contracts.objective import Objective
from evoml.core.digests import digest
from evoml.core.errors import DiskError, InputError, cannot_write
from evoml.genotypes.population import STATUS, Population
from evoml.genotypes.schema import Genotype, Schema

EVENTS = ("candidate", "improvement", "selected", "snapshot", "final")
FORMAT = 1
BATCH = 256  # rows that are converted to Arrow together
_UNREADABLE = (OSError, ValueError, KeyError, pa.ArrowException)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{path}: cannot write ({error.strerror or error}); what was written before is intact"
        ) from None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside and rename it into place. Raises DiskError."""
    beside = path.with_name(path.name + ".partial")
    with _disk(path):
        beside.unlink(missing_ok=True)
        try:
            with beside.open("xb") as file:  # never through a link that somebody left there
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep other processes from searching in the same run folder; released when the process ends,
    however it ends.

    Raises InputError.
    """
    if not (folder / "run.toml").is_file():
        raise InputError(f"{folder}: not a run (no run.toml)")
    if fcntl is None:
        yield
        return
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o644)
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise InputError(f"{folder}: another process is searching in this run") from None
    try:
        yield
    finally:
        os.close(descriptor)


def finite(value: Any) -> Any:
    """Plain values with None for infinities and NaN, which JSON does not have."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, (list, tuple)) else value


class Archive:
    """One run folder. `rows` are buffered by `add` and become a part at `flush`."""

    def __init__(
        self, folder: Path, schema: Schema, objectives: Sequence[Objective], every_row: bool = False
    ) -> None:
        """every_row: whether every candidate is a row, with what it took and its learning curve."""
        self.folder, self.schema, self.every_row = folder, schema, every_row
        self.described = tuple(objectives)
        self.objectives, self.weights = (
            tuple(each.name for each in objectives),
            tuple(each.weight for each in objectives),
        )
        self.parts: list[str] = []  # a digest of every part
        self._rows: list[tuple[Population, tuple[Sequence[Any], ...]]] = []  # not yet a batch
        self._buffer: list[pa.RecordBatch] = []
        self._events: list[dict[str, Any]] = []
        self._events_bytes = 0
        self._stale = False  # whether parts and a result from after the checkpoint are still there

    @cached_property
    def arrow(self) -> pa.Schema:
        """The columns of every part."""
        return pa.schema(
            [
                ("id", pa.int64()), ("key", pa.string()), ("parents", pa.list_(pa.int64())),
                ("birth", pa.int64()), ("status", pa.string()), ("seconds", pa.float64()),
                *((name, pa.float64()) for name in self.objectives), ("event", pa.string()),
                ("island", pa.int32()), ("experiment", pa.int32()), ("evaluations", pa.int64()),
                *([("curve", pa.list_(pa.float64()))] if self.every_row else []),
                ("genotype", self.schema.arrow),
            ],
            metadata={
                "evoml": json.dumps(
                    {
                        "format": FORMAT, "objective": self.objectives[0],
                        "objectives": [each.plain() for each in self.described],
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
        folder = self.folder
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
            write_atomically(folder / "run.toml", self.dump(config))
        except DiskError:
            rmtree(folder, ignore_errors=True)  # nothing is in it but what this call made
            raise

    @staticmethod
    def dump(config: Mapping[str, Any]) -> bytes:
        """A configuration as run.toml holds it."""
        return tomli_w.dumps(dict(config)).encode()

    def add(
        self, population: Population, keys: list[str], event: str, island: int, experiment: int,
        evaluations: int, seconds: Sequence[float] | None = None,
        curves: Sequence[Sequence[float]] | None = None,
    ) -> None:  # fmt: skip
        """Buffer one row an individual.

        evaluations: how many candidates the run had evaluated by then.
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
            [evaluations] * n,
            seconds or nothing,
            curves or nothing,
        )
        self._rows.append((population.take(slice(None)), known))
        if sum(len(each) for each, _ in self._rows) >= BATCH:
            self._gather()

    def _gather(self) -> None:
        """Make a batch of the rows so far: a conversion of many costs little more than one of a
        few.
        """
        if not self._rows:
            return
        population = Population.joined([each for each, _ in self._rows])
        keys, events, islands, experiments, evaluations, seconds, curves = (
            list(chain.from_iterable(parts))
            for parts in zip(*(known for _, known in self._rows), strict=True)
        )
        parents = [
            [parent for parent in pair if parent >= 0] for pair in population.parents.tolist()
        ]
        columns = [
            population.ids, keys, parents, population.birth,
            [STATUS[code] for code in population.status], seconds, *population.fitness.T.copy(),
            events, islands, experiments, evaluations, *([curves] if self.every_row else []),
        ]  # fmt: skip
        arrays = [
            pa.array(column, kind) for column, kind in zip(columns, self.arrow.types, strict=False)
        ]
        arrays.append(self.schema.to_arrow(population.tables, population.sizes))
        self._buffer.append(pa.RecordBatch.from_arrays(arrays, schema=self.arrow))
        self._rows.clear()

    def log(self, event: str, **values: Any) -> None:
        """Buffer a line for events.jsonl."""
        self._events.append({"event": event, **values})

    @property
    def buffered(self) -> int:
        """Rows not yet in a part."""
        return sum(batch.num_rows for batch in self._buffer) + sum(
            len(population) for population, _ in self._rows
        )

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
                _disk(path),
                os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o644), "r+b") as file,
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
        arrays: dict[str, np.ndarray] = {}
        plain = _split(state, "", arrays)
        plain["archive"] = {
            "parts": self.parts,
            "events_bytes": self._events_bytes,
            "arrays": arrays_digest(arrays),
        }
        write_atomically(
            self.folder / "checkpoint" / "state.safetensors",
            to_safetensors(arrays, {"state": json.dumps(plain)}),
        )

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
        try:
            with safe_open(path, "numpy") as file:
                state = json.loads((file.metadata() or {})["state"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
            _join(state, arrays)
            own = state.pop("archive")
            if own["arrays"] != arrays_digest(arrays):
                raise ValueError("its arrays are not those that were stored")
            self.parts, self._events_bytes = (
                [str(part) for part in own["parts"]],
                int(own["events_bytes"]),
            )
            if self._events_bytes < 0:
                raise ValueError("less than no events")
        except (
            SafetensorError,
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
            OSError,
        ) as error:
            raise InputError(
                f"{path}: not a checkpoint of evoml ({' '.join(str(error).split())[:200]})"
            ) from None
        events = self.folder / "events.jsonl"
        if self._events_bytes > (events.stat().st_size if events.is_file() else 0):
            raise InputError(
                f"{events}: missing, or shorter than it was; put it back to resume this run"
            )
        for number, known in enumerate(self.parts):
            self._check(self._part(number), known)
        self._stale = True
        return dict(state)

    def _check(self, part: Path, known: str) -> None:
        """Raise InputError where a part is not the one that was written."""
        if part.is_symlink():
            raise InputError(
                f"{part}: a link; a run keeps its parts in its own folder: put it back to resume "
                "this run"
            )
        try:
            content = part.read_bytes()
        except OSError as error:
            raise InputError(
                f"{part}: {error.strerror or 'cannot be read'}; put it back to resume this run"
            ) from None
        if digest(content) != known:
            raise InputError(
                f"{part}: not as it was written; put the right one back to resume this run"
            )

    def _discard(self) -> None:
        """Remove what was written after the checkpoint that this run was resumed from."""
        with _disk(self.folder):
            for number, part in self._numbered().items():
                if number >= len(self.parts):
                    part.unlink()
            (self.folder / "result.json").unlink(missing_ok=True)
        self._stale = False

    def table(self, columns: Sequence[str] = ()) -> tuple[pa.Table, list[str]]:
        """All rows, and a line for every part that is missing or could not be read.

        columns: default all; without `genotype` it is quick.
        """
        tables, warnings = self._tables(columns)
        return pa.concat_tables([self._schema(columns).empty_table(), *tables.values()]), warnings

    def _schema(self, columns: Sequence[str]) -> pa.Schema:
        return pa.schema([self.arrow.field(name) for name in list(columns) or self.arrow.names])

    def _tables(self, columns: Sequence[str]) -> tuple[dict[Path, pa.Table], list[str]]:
        tables, warnings, last = {}, [], -1
        for number, part in self._numbered().items():
            if number > last + 1:
                warnings.append(
                    f"{self._part(last + 1)}: missing"
                    + (f", and {number - last - 2} more" if number > last + 2 else "")
                )
            last = number
            try:
                tables[part] = self._read(part, self._schema(columns))
            except _UNREADABLE as error:
                warnings.append(_skipped(part, error))
        return tables, warnings

    def _read(self, part: Path, schema: pa.Schema) -> pa.Table:
        """One part. Raises ValueError, OSError or an Arrow error where it is none of this run."""
        table = pq.ParquetFile(part).read(schema.names)
        missing = [name for name in schema.names if name not in table.column_names]
        if missing:
            raise ValueError(f"no column {missing[0]}")
        if any(
            name in ("id", "key", *self.objectives) and table[name].null_count
            for name in schema.names
        ):
            raise ValueError("an id, key or objective is missing")
        return table.select(schema.names).cast(schema)

    def best(self, count: int) -> tuple[list[dict[str, Any]], list[str]]:
        """The best candidates, no key twice: selected ones by their score on the selection tasks,
        then others by their fitness in search.

        Where every candidate is a row, the Pareto front comes first, whose rows have `front` true,
        and who could not be evaluated last; before it come those that were selected, by training
        alone behind a search with shared weights.
        """
        tables, warnings = self._tables([name for name in self.arrow.names if name != "genotype"])
        placed = [
            table.append_column(
                "part", pa.array([str(part)] * len(table), pa.string())
            ).append_column("row", pa.array(range(len(table)), pa.int64()))
            for part, table in tables.items()
        ]
        if not placed:
            return [], warnings
        table = pa.concat_tables(placed)
        quality = np.stack(
            [
                table[name].to_numpy() * weight
                for name, weight in zip(self.objectives, self.weights, strict=True)
            ],
            1,
        )
        if self.every_row:
            evaluated = pc.fill_null(pc.equal(table["status"], "ok"), False).to_numpy() & ~np.isnan(
                quality
            ).any(1)
            selected = pc.fill_null(pc.equal(table["event"], "selected"), False).to_numpy()
            front = non_dominated(quality, evaluated & ~selected)
            table = table.append_column("front", pa.array(front))
            first = selected & (len(self.objectives) == 1)
            rank = 2 - evaluated.astype(int) - np.where(first, 2 * evaluated, front)
        else:
            selected = pc.fill_null(pc.equal(table["event"], "selected"), False).to_numpy()
            rank = 1 - selected.astype(int)
        places: np.ndarray = np.lexsort([table["id"].to_numpy(), *-quality.T[::-1], rank])
        out: dict[str, dict[str, Any]] = {}
        genotypes: dict[str, pa.ChunkedArray | None] = {}
        keys = table["key"].to_pylist()
        for place in places.tolist():
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


def non_dominated(quality: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which rows of `among` none of them is better than in one objective and as good in the others.

    quality: [n, O], larger is better; [n] bool.
    """
    left, out = np.flatnonzero(among), np.zeros(len(quality), bool)
    # best first, so that the first that is left is always on the front
    left = left[np.lexsort(-quality[left].T[::-1])]
    while len(left):
        first = quality[left[0]]
        equal = (quality[left] == first).all(1)
        out[left[equal]] = True
        left = left[(quality[left] > first).any(1)]
    return out


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run. Raises InputError if the folder is not a run."""
    path = folder / "run.toml"
    if not path.is_file():
        raise InputError(f"{folder}: not a run (no run.toml)")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        if not {"system", "search", "space", "task"} <= set(values):
            raise ValueError("no system, search, space or task in it")
        return values
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not a configuration ({' '.join(str(error).split())[:200]})"
        ) from None


def read_result(folder: Path) -> dict[str, Any] | None:
    """How a finished run ended; None if it has not finished."""
    try:
        result = json.loads((folder / "result.json").read_text())
        known = {
            name: result[name]
            for name in ("reason", "evaluations", "seconds", "counts", "best", "test")
        }
        return known | {name: result[name] for name in ("trust", "check_seconds") if name in result}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """What a checkpoint knows its arrays by, since safetensors has no checksum."""
    return digest(
        "".join(f"{name} {digest(arrays[name].tobytes())}\n" for name in sorted(arrays)).encode()
    )


def _skipped(part: Path, error: Exception) -> str:
    return f"{part}: skipped, not a part of this run ({' '.join(str(error).split())[:120]})"


def _split(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """Take the arrays out of nested dictionaries and lists, leaving their names."""
    if isinstance(value, np.ndarray):
        arrays[path] = np.ascontiguousarray(value)
        return {"array": path}
    if isinstance(value, Mapping):
        return {key: _split(each, f"{path}/{key}", arrays) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_split(each, f"{path}/{index}", arrays) for index, each in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _join(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `_split`, in place."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in list(items):
        value[key] = (
            arrays[each["array"]]
            if isinstance(each, dict) and set(each) == {"array"}
            else _join(each, arrays)
        )
    return value
