"""Substrates: where the neurons of HyperNEAT's networks are, and which layers are linked. A table
of settings, or a TOML file that becomes one.

Stanley, D'Ambrosio, Gauci 2009, "A Hypercube-Based Encoding for Evolving Large-Scale Neural
Networks", Artificial Life 15(2). Nodes have two or three coordinates from -1 to 1. The first layer
is `inputs`, the last `outputs`, hidden ones between them; layers may overlap, as the input and
output planes of the paper do, but a layer has a place once.

    recurrent = false
    [[layers]]
    name = "inputs"
    grid = [11, 11]           # the first axis runs fastest, from `low` to `high`, which are the
                              corners where they are left out
    [[layers]]
    name = "outputs"
    nodes = [[0.0, 1.0]]      # or place by place
    links = [["inputs", "outputs"]]   # at the top of the file; left out: from each layer to the
                                      next, and of a recurrent one's hidden layers to themselves
"""

import json
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from evoml.core import settings
from evoml.core.errors import InputError, read_text
from evoml.phenotypes.activations import ACTIVATION_NAMES

MOST = 5_000_000  # links of a substrate
SIGMOID = "sigmoid"
Coordinate = Annotated[float, Field(strict=True, ge=-1, le=1)]


class Layer(settings.Settings):
    """Nodes with a name, place by place or on a grid."""

    name: str = Field(
        min_length=1,
        description="what links call it; inputs for the first layer, outputs for the last",
    )
    nodes: tuple[tuple[Coordinate, ...], ...] = Field(
        (), description="coordinates, such as [[-1.0, 0.0], [1.0, 0.0]]"
    )
    grid: tuple[Annotated[int, Field(strict=True, ge=1, le=MOST)], ...] = Field(
        (), description="or so many nodes along each axis"
    )
    low: tuple[Coordinate, ...] = Field(
        (), description="corner of the grid; left out: -1 everywhere"
    )
    high: tuple[Coordinate, ...] = Field((), description="the other corner; left out: 1 everywhere")

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if bool(self.nodes) == bool(self.grid):
            raise ValueError(
                f"layer {self.name}: must have either nodes, such as [[-1.0, 0.0], [1.0, 0.0]], or "
                "a grid, such as [11, 11]"
            )
        if prod(self.grid) > MOST:
            raise ValueError(f"layer {self.name}: {prod(self.grid):,} nodes: at most {MOST:,}")
        for key in ("low", "high"):
            if getattr(self, key) and len(getattr(self, key)) != len(self.grid):
                raise ValueError(
                    f"layer {self.name}: {key}: must have a coordinate for each axis of a grid"
                )
        if len(
            {len(node) for node in self.nodes} | {len(self.grid)} - {0}
        ) != 1 or self.dimensions not in (2, 3):
            raise ValueError(
                f"layer {self.name}: every node must have two coordinates, or every node three"
            )
        places, counts = np.unique(self.coordinates, axis=0, return_counts=True)
        if counts.max() > 1:
            raise ValueError(
                f"layer {self.name}: two nodes at {places[counts.argmax()].tolist()}; each must "
                "have a place of its own"
            )
        return self

    @property
    def dimensions(self) -> int:
        return len(self.grid or self.nodes[0])

    def __len__(self) -> int:
        return len(self.nodes) or prod(self.grid)

    @property
    def coordinates(self) -> np.ndarray:
        """[n, D]."""
        if self.nodes:
            return np.array(self.nodes, np.float64)
        low, high = (
            given or (side,) * len(self.grid)
            for given, side in ((self.low, -1.0), (self.high, 1.0))
        )
        axes = [
            np.linspace(first, last, count) if count > 1 else np.array([(first + last) / 2])
            for first, last, count in zip(low, high, self.grid, strict=True)
        ]
        return np.stack([axis.ravel(order="F") for axis in np.meshgrid(*axes, indexing="ij")], 1)


class Substrate(settings.Settings):
    """Layers and their links.

    Without layers it is made for the task: a line of inputs at y = -1, of outputs at 1, of as many
    nodes as both at 0.
    """

    recurrent: bool = Field(
        False,
        description="links may close cycles; a network then takes one synchronous sweep a step",
    )
    activation: str = Field("sigmoid", description="function of hidden nodes")
    output: str | None = Field(
        None,
        description="function of output nodes; none: as the task says, a sigmoid where it says "
        "nothing",
    )
    links: tuple[tuple[str, str], ...] = Field(
        (),
        description="linked layers; left out: each to the next, and the hidden ones of a recurrent "
        "substrate to themselves",
    )
    layers: tuple[Layer, ...] = Field(
        (), description="inputs, hidden layers, outputs; left out: made for the task"
    )

    @field_validator("activation", "output")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in ACTIVATION_NAMES:
            raise ValueError(f"there is no {value}; there are {', '.join(ACTIVATION_NAMES)}")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [layer.name for layer in self.layers]
        if not names:
            if self.links:
                raise ValueError("links: without layers there is nothing to link")
            return self
        if len(names) < 2 or names[0] != "inputs" or names[-1] != "outputs":
            raise ValueError(
                f"layers: {', '.join(names)}: must begin with inputs and end with outputs"
            )
        if len(set(names)) < len(names):
            raise ValueError(f"layers: {', '.join(names)}: every layer must have a name of its own")
        if len({layer.dimensions for layer in self.layers}) > 1:
            raise ValueError(
                "layers: nodes of two and of three coordinates; must be one or the other"
            )
        for index, (source, target) in enumerate(self.links):
            where = f"links[{index}]: from {source} to {target}"
            if unknown := [name for name in (source, target) if name not in names]:
                raise ValueError(
                    f"{where}: there is no layer {unknown[0]}; there are {', '.join(names)}"
                )
            if target == "inputs":
                raise ValueError(f"{where}: nothing leads to inputs")
            if not self.recurrent and names.index(source) >= names.index(target):
                raise ValueError(
                    f"{where}: backwards in the order of layers, which only a recurrent substrate "
                    "does (recurrent = true)"
                )
            if (source, target) in self.links[:index]:
                raise ValueError(f"{where}: twice")
        sizes = dict(zip(names, map(len, self.layers), strict=True))
        if (count := sum(sizes[source] * sizes[target] for source, target in self.linked)) > MOST:
            raise ValueError(f"links: {count:,} of single nodes: at most {MOST:,}")
        return self

    @property
    def linked(self) -> tuple[tuple[str, str], ...]:
        """Pairs of layers that are linked, those that are so by default included."""
        names = [layer.name for layer in self.layers]
        itself = [(name, name) for name in names[1:-1]] if self.recurrent else []
        return self.links or (*pairwise(names), *itself)

    @property
    def dimensions(self) -> int:
        return self.layers[0].dimensions if self.layers else 2

    def made(self, inputs: int, outputs: int, hidden: int, output: str) -> "Substrate":
        """This one for a task, with layers and a function of the output nodes.

        Raises InputError where its own layers do not fit.
        """
        if self.output is None:
            return self.model_copy(update={"output": output}).made(inputs, outputs, hidden, output)
        if not self.layers:
            rows = [("inputs", inputs, -1.0), ("hidden", hidden, 0.0), ("outputs", outputs, 1.0)]
            lines = [
                Layer(name=name, grid=(count, 1), low=(-1.0, y), high=(1.0, y))
                for name, count, y in rows
                if count
            ]
            return self.model_copy(update={"layers": tuple(lines)})
        for layer, count in ((self.layers[0], inputs), (self.layers[-1], outputs)):
            if len(layer) != count:
                raise InputError(
                    f"space.substrate: layer {layer.name}: {len(layer)} nodes: the task has "
                    f"{count} {layer.name}"
                )
        return self


def read_substrate(value: Any) -> Any:
    """What a settings' field `substrate` holds: a table as it is, a path as the table that its file
    holds.

    Raises ValueError.
    """
    if not isinstance(value, str):
        return value
    try:
        table = tomllib.loads(read_text(Path(value), "utf-8-sig"))
        if not table:
            raise InputError(
                "holds no setting of a substrate, such as layers; leave space.substrate out to "
                "have one made for the task"
            )
        return Substrate.read(table, "")
    except InputError as error:
        raise ValueError(str(error).removeprefix(f"{value}: ").lstrip(": ")) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not TOML ({' '.join(str(error).split())[:200]})") from None


def substrate_text(substrate: Substrate, key: str) -> str:
    """Settings that are not the default as TOML with dotted keys, so that no table begins; a layer
    on a line.
    """
    values = substrate.model_dump(mode="json", exclude_defaults=True)
    if substrate.output == SIGMOID:
        del values["output"]  # what is meant in a file that does not say it
    layers = values.pop("layers", [])
    lines = [
        f"{key}.{name} = {json.dumps(value, ensure_ascii=False)}\n"
        for name, value in values.items()
    ]
    rows = [
        ", ".join(
            f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in layer.items()
        )
        for layer in layers
    ]
    return "".join(lines) + (
        f"{key}.layers = [\n" + "".join(f"    {{ {row} }},\n" for row in rows) + "]\n"
        if rows
        else ""
    )


# -- what decoding reads ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Layout:
    """A substrate's possible links, by the node that they lead to, in the order in which nodes are
    computed.
    """

    places: np.ndarray  # [I + O + H, D] coordinates of inputs, outputs, hidden nodes
    # [H + O] nodes as they are computed: 0 .. O - 1 are the outputs, the others hidden
    order: np.ndarray
    first: np.ndarray  # [H + O + 1] int64, where the links of a node in that order begin
    source: np.ndarray  # [L] int32, addresses in a network's memory; I is the bias
    queries: np.ndarray  # [L, 2 D] coordinates of both ends, zeros for the bias


def layout(substrate: Substrate, biases: bool) -> Layout:
    """The tables of a substrate with layers; `biases`: whether the bias is linked to every node."""
    inputs, *hidden, outputs = substrate.layers
    count, answers = len(inputs), len(outputs)
    address = {"inputs": np.arange(count), "outputs": count + 1 + np.arange(answers)}
    places = {layer.name: layer.coordinates for layer in substrate.layers}
    at = count + 1 + answers
    for layer in hidden:
        address[layer.name] = at + np.arange(len(layer))
        at += len(layer)
    sources, counts, queries = [], [], []
    zero = np.zeros((1, substrate.dimensions))
    for layer in (*hidden, outputs):
        leading = [source for source, target in substrate.linked if target == layer.name]
        numbers = np.concatenate(
            [
                np.zeros(0, np.int64),
                *(address[name] for name in leading),
                np.full(int(biases), count),
            ]
        )
        ends = np.concatenate([zero[:0], *(places[name] for name in leading), zero[: int(biases)]])
        sources.append(np.tile(numbers, len(layer)))
        counts.append(np.full(len(layer), len(numbers)))
        queries.append(
            np.hstack(
                [np.tile(ends, (len(layer), 1)), np.repeat(places[layer.name], len(numbers), 0)]
            )
        )
    return Layout(
        np.concatenate(
            [places["inputs"], places["outputs"], *(places[layer.name] for layer in hidden)]
        ),
        np.concatenate([address[layer.name] for layer in (*hidden, outputs)]) - count - 1,
        np.concatenate([[0], np.cumsum(np.concatenate(counts))]),
        np.concatenate(sources).astype(np.int32),
        np.concatenate(queries),
    )
