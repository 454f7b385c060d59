"""How long networks take on this machine, from a table of how long their layers take: a prediction
that is the same every time, and linear in what a supernet has open.

Cai, Zhu, Han 2019, "ProxylessNAS", ICLR, arXiv 1812.00332, whose table has a row for operation,
input, output, stride, kernel, expansion and size. Here a layer's name says operation, kernel and
expansion. A row is the median of many passes of one image through one layer, as `Module` runs it in
evaluation (normalisations folded in), on one thread, less what calling it costs; the row `head` is
what is behind the last layer, with the call's cost. Two of a network's edges that share work (a
ReLU of the same node) are counted twice. Nothing here imports torch before something is measured.
"""

import io
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evoml.archive.files import write_atomically
from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.core.errors import (
    InputError,
    cannot_write,
    check_unpacked,
    plain_file,
    unpacked,
)
from evoml.core.streams import AUDIT, streams
from evoml.phenotypes.layers import Size, layers, primitives
from evoml.phenotypes.network import Builder, Edge, Network, Supernet

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "latency 1"
# rows that are not layers; their outputs are classes, and channels of the result
HEAD, ADD, CONCAT = "head", "add", "concat"
REPEATS = 50  # measurements of a row
TOGETHER = 50  # whole networks that are measured in turn, and so are in memory
# random networks in a row without a new layer after which all are taken to be known, and networks
# at most
PATIENCE, DRAWN = 200, 5000

# layer, channels in and out, stride, and the input's height and width
Key = tuple[str, int, int, int, int, int]
SCHEMA = pa.schema(
    [
        ("layer", pa.string()),
        *((name, pa.int32()) for name in ("inputs", "outputs", "stride", "height", "width")),
        ("seconds", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Table:
    """Seconds by row."""

    rows: Mapping[Key, float]
    # the machine, torch's version and threads that they are of
    about: Mapping[str, Any] = field(default_factory=dict)
    where: str = "table"  # the file, for messages

    @classmethod
    def read(cls, path: Path) -> "Table":
        """A table that `write` wrote. Raises InputError."""
        try:
            about_it = pq.ParquetFile(plain_file(path))
            check_unpacked(path, unpacked(about_it.metadata))
            read = about_it.read()
        except InputError:
            raise
        except OSError as error:
            if isinstance(error, FileNotFoundError) or not path.is_file():
                raise InputError(f"{path}: no such file; evoml latency makes one") from None
            raise InputError(
                f"{path}: cannot be read ({error.strerror or 'not Parquet'})"
            ) from None
        except (pa.ArrowException, ValueError):
            raise InputError(f"{path}: not Parquet; evoml latency makes such a file") from None
        try:
            about = json.loads((read.schema.metadata or {})[b"evoml"])
            given = about.pop("format")
        except (KeyError, ValueError, TypeError, AttributeError):
            given, about = None, {}
        if given != FORMAT:
            raise InputError(f"{path}: not a table of latencies; evoml latency makes one")
        if (names := read.schema.names) != SCHEMA.names:
            raise InputError(
                f"{path}: columns {', '.join(names)}; must be {', '.join(SCHEMA.names)}"
            )
        for wanted in SCHEMA:
            found = read.schema.field(wanted.name).type
            if found != wanted.type and (wanted.type, str(found)) not in [
                (pa.string(), kind) for kind in ("large_string", "string_view")
            ]:
                raise InputError(f"{path}: column {wanted.name}: {found}; must be {wanted.type}")
        rows: dict[Key, float] = {}
        for number, row in enumerate(
            zip(*(column.to_pylist() for column in read.columns), strict=True)
        ):
            key, seconds = row[:-1], row[-1]
            if None in row or not 0 <= seconds < np.inf or min(key[1:]) < 1:
                raise InputError(
                    f"{path}: row {number}: {shown(key)}, {seconds} seconds; must be numbers, "
                    "seconds 0 or more"
                )
            if key in rows:
                raise InputError(f"{path}: row {number}: {shown(key)} is in it twice")
            rows[key] = seconds
        return cls(rows, about, str(path))

    def write(self, path: Path) -> None:
        """Write it as Parquet. Raises InputError and DiskError."""
        columns = [*zip(*self.rows, strict=True)] if self.rows else [()] * (len(SCHEMA) - 1)
        arrays = [
            pa.array(column, kind.type)
            for column, kind in zip([*columns, tuple(self.rows.values())], SCHEMA, strict=True)
        ]
        file = io.BytesIO()
        pq.write_table(
            pa.table(
                arrays,
                SCHEMA.with_metadata({"evoml": json.dumps({"format": FORMAT} | dict(self.about))}),
            ),
            file,
        )
        check_writable(path)
        write_atomically(path, file.getvalue())

    def seconds(self, key: Key) -> float:
        """One row. Raises InputError where there is none."""
        if key not in self.rows:
            raise InputError(
                f"{self.where}: no row for {shown(key)}; evoml latency measures a table for a "
                "space, a task and their settings"
            )
        return self.rows[key]

    def covers(self, network: Network) -> bool:
        """Whether there is a row for every part of a network."""
        return all(key in self.rows for key in parts(network))

    def network(self, network: Network) -> float:
        """Predicted seconds of a pass of one image.

        Raises InputError for a layer that is not in the table.
        """
        return sum(map(self.seconds, parts(network)))

    def fixed(self, supernet: Supernet) -> float:
        """Predicted seconds of what is in every network of a supernet."""
        return linear(supernet, self.seconds)[0]

    def options(self, supernet: Supernet) -> np.ndarray:
        """Predicted seconds of every option, over all its occurrences, [G, O]; 0 where there is
        none.

        With `fixed` they sum to what `network` says.
        """
        return linear(supernet, self.seconds)[1]


def check_writable(path: Path) -> None:
    """Raise InputError where a file cannot be written there."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    try:
        path.parent.resolve(strict=True).stat()
    except OSError as error:
        raise cannot_write(path, error) from None


def shown(key: Sequence[Any]) -> str:
    """A row in words."""
    layer, inputs, outputs, stride, height, width = key
    return f"{layer}, {inputs} to {outputs} channels, stride {stride}, on {height}x{width}"


# -- what a network is made of ---------------------------------------------------------------------


def parts(network: Network) -> Iterator[Key]:
    """The rows whose sum a network's latency is."""
    for number, node in enumerate(network.nodes[1:], 1):
        yield from (key for edge in node.edges if (key := _layer(network, edge)) is not None)
        if node.merge == "concat" and len(node.edges) > 1:
            yield _merge(network, number, CONCAT)
        elif len(node.edges) > 1:
            yield from [_merge(network, number, ADD)] * (len(node.edges) - 1)
    yield _head(network)


def linear(supernet: Supernet, price: Callable[[Key], float]) -> tuple[float, np.ndarray]:
    """What a supernet's networks cost, as a sum: what all have, and what every option adds over all
    its occurrences, [G, O].

    A sum of k paths has k - 1 additions: every path brings one, and where nothing else is in the
    sum, one of them was too many.
    """
    network, out = supernet.network, np.zeros(supernet.available.shape)
    fixed = price(_head(network))
    for number, node in enumerate(network.nodes[1:], 1):
        choices = {(edge.source, edge.option[0]) for edge in node.edges if edge.option is not None}
        always = sum(edge.option is None for edge in node.edges)
        added = (
            price(_merge(network, number, ADD))
            if node.merge == "add" and always + len(choices) > 1
            else 0.0
        )
        fixed += (always - 1) * added + (
            price(_merge(network, number, CONCAT)) if node.merge == "concat" and always > 1 else 0.0
        )
        for edge in node.edges:
            key = _layer(network, edge)
            cost = 0.0 if key is None else price(key)
            if edge.option is None:
                fixed += cost
            else:
                out[edge.option] += cost + added
    return fixed, out


def multiply_adds(key: Key) -> float:
    """What a row costs in multiply-adds: the price that `linear` takes where there is no table."""
    layer, inputs, outputs, stride, height, width = key
    if layer in (ADD, CONCAT):
        return 0.0
    if layer == HEAD:
        return float(inputs * outputs)
    total = 0
    for step in primitives(layer, inputs, outputs, stride):
        total += step.multiply_adds(height, width)
        height, width = step.after(height, width)
    return float(total)


def _layer(network: Network, edge: Edge) -> Key | None:
    """The row of an edge; None for an identity, which costs nothing."""
    channels, height, width = network.sizes[edge.source]
    free = all(step.kind == "id" for step in network.primitives(edge, channels))
    return None if free else (edge.layer, channels, edge.channels, edge.stride, height, width)


def _merge(network: Network, number: int, kind: str) -> Key:
    channels, height, width = network.sizes[number]
    return kind, channels, channels, 1, height, width


def _head(network: Network) -> Key:
    channels, height, width = network.sizes[network.output]
    return HEAD, channels, network.classes, 1, height, width


def known(
    space: ArchitectureSpace, inputs: Size, classes: int, patience: int = PATIENCE
) -> set[Key]:
    """All rows that networks of a space are made of: those of its supernet, where it has one, and
    of random networks until there have been so many without a new one.

    Of a space whose layers meet any number of channels, as long chains with many anchors do, some
    will be missing.
    """
    out: set[Key] = set()

    def note(key: Key) -> float:
        out.add(key)
        return 0.0

    if space.has_supernet:
        with suppress(InputError):  # there is none with these settings
            linear(space.supernet(inputs, classes), note)
    since = 0
    for network in drawn(space, inputs, classes, DRAWN):
        fresh = set(parts(network)) - out
        out |= fresh
        since = 0 if fresh else since + 1
        if since >= patience:
            break
    return out


def drawn(
    space: ArchitectureSpace, inputs: Size, classes: int, count: int, seed: int = 0
) -> Iterator[Network]:
    """Networks of random genotypes; what has none is passed over."""
    for number in range(count):
        genotype = space.random(streams(seed, AUDIT, np.array([number]))).genotype(0)
        try:
            network = space.network(genotype, inputs, classes)
            _ = network.sizes
        except ValueError:
            continue
        yield network


# -- measuring -------------------------------------------------------------------------------------


def measure(keys: Iterable[Key], repeats: int = REPEATS) -> Table:
    """A table of these rows, measured now on one thread.

    Raises InputError for a row of no layer.
    """
    import torch

    keys = sorted(set(keys))
    if strange := [
        key for key in keys if key[0] not in layers() and key[0] not in (HEAD, ADD, CONCAT)
    ]:
        raise InputError(f"latency: {shown(strange[0])}: no such layer")
    with one_thread(), torch.inference_mode():
        calling, *found = np.median(timed([_call(None), *map(_call, keys)], repeats), 1).tolist()
    rows = {
        key: seconds if key[0] == HEAD else max(seconds - calling, 0.0)
        for key, seconds in zip(keys, found, strict=True)
    }
    return Table(
        rows, {"machine": machine(), "torch": torch.__version__, "threads": 1, "repeats": repeats}
    )


def timed(calls: Sequence[Callable[[], Any]], repeats: int) -> np.ndarray:
    """Seconds of these calls, [calls, repeats], the thread's own, so that other processes are not
    in them.

    They take turns, after a first one that is not counted, so that a disturbance hits a little of
    everything, and what a call reads is as far away as in a network.
    """
    out = np.empty((len(calls), repeats))
    for turn in range(-1, repeats):  # what the first writes is written over by the last
        for number, call in enumerate(calls):
            began = time.thread_time()
            call()
            out[number, turn] = time.thread_time() - began
    return out


def _call(key: Key | None) -> Callable[[], Any]:
    """A pass of one image through what a row is of; None: through nothing, as calling costs too."""
    layer, inputs, outputs, stride, height, width = key or ("identity", 1, 1, 1, 1, 1)
    if layer == HEAD:
        network = Builder((inputs, height, width)).network(0, outputs)
        module, image = _module(network), _image(network.inputs)
        return lambda: module(image)
    build = Builder((max(inputs // 2, 1) if layer == CONCAT else inputs, height, width))
    if layer == CONCAT:
        node = build.concat([0, 0])
    elif layer == ADD:
        node = build.node([Edge(0, "identity", inputs)] * 2)
    else:
        node = build.layer(0, layer, outputs, stride)
    network = build.network(node, 1)
    module, image = _module(network), _image(network.inputs)
    return lambda: module._run(image, [network.output])


def _module(network: Network) -> Any:
    from evoml.networks.module import Module

    return Module(network).eval()


def _image(size: Size) -> "Tensor":
    import torch

    return torch.randn(1, *size, generator=torch.Generator().manual_seed(0)).to(
        memory_format=torch.channels_last
    )


def whole(networks: Sequence[Network], repeats: int = REPEATS) -> np.ndarray:
    """Measured seconds of passes of one image through networks with random weights, on one thread,
    [networks, repeats].
    """
    import torch

    def call(network: Network) -> Callable[[], Any]:
        module, image = _module(network), _image(network.inputs)
        return lambda: module(image)

    with one_thread(), torch.inference_mode():
        groups = [networks[start : start + TOGETHER] for start in range(0, len(networks), TOGETHER)]
        return np.concatenate(
            [np.empty((0, repeats)), *(timed(list(map(call, group)), repeats) for group in groups)]
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch; as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> str:
    """The processor and the system that latencies are of."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
            processor,
        )
    except (OSError, ValueError):
        pass
    return f"{processor}, {platform.machine()}, {platform.system()}"
