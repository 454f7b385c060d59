"""A supernet's edges as steps on numbered tensors, and which of them a mix has work for.

Unlike in `_training_pass`, the last normalisation of a candidate is no step: a node sums what its
candidates give before it, each with a factor. A depthwise and a 1x1 convolution behind it are one
step, with the ReLU, and the normalisation in front of that, which they read through.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from evoml.networks.cpu._training_pass import Step, step_kind
from evoml.networks.cpu._vector_kernels import KERNELS
from evoml.phenotypes.layers import Primitive, Size
from evoml.phenotypes.network import Edge, Network

# without weights: once for all edges that read the same
_SHARED = ("relu", "relu6", "max", "avg", "zero", "function")


@dataclass(frozen=True)
class Separable(Step):
    """A depthwise convolution, `primitive` and `weight`, and a 1x1 convolution behind it."""

    norm: str = ""  # which normalisation it reads through; "": none
    wide: str = ""  # the weights of the 1x1 convolution
    outputs: int = 0


@dataclass(frozen=True)
class Candidate:
    """A candidate: what it gives before its last normalisation."""

    source: int
    tensor: int
    norm: str  # the last normalisation's weights; "": there is none
    option: tuple[int, int] | None
    chain: tuple[int, ...]  # its steps, by position


@dataclass(frozen=True)
class Node(Step):
    """The sum of candidates."""

    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class ActivePlan:
    """What one mix has work for."""

    steps: tuple[Step, ...]
    # of every node's tensor, those that are in the mix
    candidates: dict[int, tuple[Candidate, ...]]
    open: frozenset[int]  # tensors that depend on an open choice
    done: tuple[tuple[int, ...], ...]  # for every step, the tensors that no later step reads
    # multiply-adds of an image: forward, backward by inputs where all, and where open ones alone
    # are wanted
    spent: tuple[int, int, int]


@dataclass(frozen=True)
class Plan:
    """The steps of a supernet, and which tensors are its nodes."""

    steps: tuple[Step, ...]
    nodes: tuple[int, ...]
    output: int
    spent: tuple[int, ...]  # multiply-adds of every step, of an image
    sizes: dict[int, Size]  # of all tensors

    @cached_property
    def producers(self) -> dict[int, Step]:
        """The step that gives a tensor."""
        return {step.to: step for step in self.steps}

    @cached_property
    def alone(self) -> frozenset[int]:
        """What separable convolutions give that one step alone reads, through a normalisation: the
        gradient of that is never stored.
        """
        counts = Counter(source for step in self.steps for source in step.sources)
        normed = {
            candidate.tensor
            for step in self.steps
            if isinstance(step, Node)
            for candidate in step.candidates
            if candidate.norm
        }
        normed |= {
            source
            for step in self.steps
            if isinstance(step, Separable) and step.norm
            for source in step.sources
        }
        return frozenset(
            step.to
            for step in self.steps
            if isinstance(step, Separable) and counts[step.to] == 1 and step.to in normed
        )

    def active(self, mix: np.ndarray, wanted: np.ndarray | None) -> ActivePlan:
        """The steps that matter for a mix [G, O]; what `wanted` candidates [G, O] read is there
        too, but not what they are made of.
        """
        needed, candidates = {self.output}, {}
        for step in reversed(self.steps):
            if step.to in needed:
                if isinstance(step, Node):
                    candidates[step.to] = tuple(
                        candidate
                        for candidate in step.candidates
                        if candidate.option is None or mix[candidate.option]
                    )
                    needed |= {candidate.tensor for candidate in candidates[step.to]}
                    if wanted is not None:
                        needed |= {
                            candidate.source
                            for candidate in step.candidates
                            if candidate.option is not None and wanted[candidate.option]
                        }
                else:
                    needed |= set(step.sources)
        opened, numbers, steps = set(), np.zeros(3, np.int64), []
        for index, step in enumerate(self.steps):
            if step.to in needed:
                steps.append(step)
                sources = reads(step, candidates)
                if any(source in opened for source in sources) or any(
                    candidate.option for candidate in candidates.get(step.to, ())
                ):
                    opened.add(step.to)
                back = (
                    any(source > 0 for source in sources),
                    any(source in opened for source in sources),
                )
                numbers += [self.spent[index] * part for part in (1, *back)]
        last = {
            source: index for index, step in enumerate(steps) for source in reads(step, candidates)
        }
        done = tuple(
            tuple(source for source in set(reads(step, candidates)) if last[source] == index)
            for index, step in enumerate(steps)
        )
        return ActivePlan(
            tuple(steps),
            candidates,
            frozenset(opened),
            done,
            tuple(map(int, numbers)),  # type: ignore[arg-type]
        )


def reads(step: Step, candidates: dict[int, tuple[Candidate, ...]]) -> Sequence[int]:
    """The tensors that a step reads."""
    return (
        [candidate.tensor for candidate in candidates[step.to]]
        if isinstance(step, Node)
        else step.sources
    )


class _Planner:
    def __init__(self, network: Network) -> None:
        self.network, self.count = network, 1
        self.steps: list[Step] = []
        self.sizes: dict[int, Size] = {0: network.inputs}
        self.spent: list[int] = []
        self._known: dict[Any, int] = {}

    def add(
        self,
        make: type[Step],
        kind: str,
        sources: tuple[int, ...],
        given: Size,
        spent: int = 0,
        **how: Any,
    ) -> int:
        """The tensor, of the size `given`, that a step gives; the same one where it is there
        already.
        """
        key = (kind, sources, how.get("primitive")) if kind in _SHARED else None
        if key is None or key not in self._known:
            self.steps.append(make(kind, sources, self.count, **how))
            self.spent.append(spent)
            self.sizes[self.count] = given
            self._known[key], self.count = self.count, self.count + 1
        return self._known[key]

    def edge(
        self, name: str, edge: Edge, source: int, size: tuple[int, int], whole: bool
    ) -> Candidate:
        """The steps of one edge. whole: its last normalisation is a step too."""
        _, height, width = self.network.sizes[edge.source]
        primitives = [
            step
            for step in self.network.primitives(edge, self.network.sizes[edge.source][0])
            if step.kind != "id"
        ]
        places = [
            place
            for place, step in enumerate(
                self.network.primitives(edge, self.network.sizes[edge.source][0])
            )
            if step.kind != "id"
        ]
        at, index, norm, chain = source, 0, "", []
        while index < len(primitives):
            step, weight, before = primitives[index], f"{name}.{places[index]}", len(self.steps)
            fused = _fused(primitives[index:])
            if fused:
                kinds = [each.kind for each in primitives[index : index + fused]]
                narrow, wide = primitives[index + fused - 2 : index + fused]
                after = narrow.after(height, width)
                at = self.add(
                    Separable, "separable", (at,), (wide.outputs, *after),
                    narrow.multiply_adds(height, width) + wide.multiply_adds(*after),
                    primitive=narrow, weight=f"{name}.{places[index + fused - 2]}",
                    wide=f"{name}.{places[index + fused - 1]}", outputs=wide.outputs,
                    rectified="relu" in kinds, norm=weight if kinds[0] == "bn" else "",
                )  # fmt: skip
                height, width = after
            elif (
                step.kind == "bn"
                and index + 1 == len(primitives)
                and not whole
                and step.after(height, width) == size
            ):
                norm = weight
            elif step.kind == "bn" and [
                each.kind for each in primitives[index + 1 : index + 2]
            ] == ["relu"]:
                at, fused = (
                    self.add(
                        Step,
                        "bn",
                        (at,),
                        self.sizes[at],
                        primitive=step,
                        weight=weight,
                        rectified=True,
                    ),
                    2,
                )
            else:
                shown = (
                    Primitive(step.kind, 0, 0, step.kernel, step.dilation, step.stride)
                    if step.kind in _SHARED[:4]
                    else step
                )
                at = self.add(
                    Step,
                    step_kind(step),
                    (at,),
                    (step.outputs, *step.after(height, width)),
                    step.multiply_adds(height, width),
                    primitive=shown,
                    weight=weight,
                )
                height, width = step.after(height, width)
            chain += list(range(before, len(self.steps))) or [
                next(i for i, each in enumerate(self.steps) if each.to == at)
            ]
            index += fused or 1
        if (height, width) != size:
            chain.append(len(self.steps))
            at = self.add(Step, "pad", (at,), (self.sizes[at][0], *size), size=size)
        return Candidate(source, at, norm, edge.option, tuple(dict.fromkeys(chain)))


def _fused(primitives: Sequence[Primitive]) -> int:
    """How many primitives at the front are one step: [[bn] relu] dw conv1; 0: none."""
    kinds = [step.kind for step in primitives[:4]]
    for front in (["bn", "relu"], ["relu"], []):
        if kinds[: len(front) + 2] == [*front, "dw", "conv"]:
            narrow, wide = primitives[len(front) : len(front) + 2]
            square = (
                narrow.kernel[0] == narrow.kernel[1]
                and narrow.kernel[0] in KERNELS
                and narrow.stride[0] == narrow.stride[1]
            )
            return (
                len(front) + 2 if square and wide.kernel == (1, 1) and wide.stride == (1, 1) else 0
            )
    return 0


def plan(network: Network) -> Plan:
    """All steps of a supernet."""
    planner, nodes = _Planner(network), [0]
    for number, node in enumerate(network.nodes[1:], 1):
        size, candidates = network.sizes[number][1:], []
        for which, edge in enumerate(node.edges):
            candidates.append(
                planner.edge(
                    f"{number}.{which}", edge, nodes[edge.source], size, node.merge == "concat"
                )
            )
        tensors = tuple(candidate.tensor for candidate in candidates)
        if node.merge == "concat":
            nodes.append(
                tensors[0]
                if len(tensors) == 1
                else planner.add(Step, "concat", tensors, network.sizes[number])
            )
        elif len(candidates) == 1 and not candidates[0].norm and candidates[0].option is None:
            nodes.append(tensors[0])
        else:
            nodes.append(
                planner.add(
                    Node, "node", tensors, network.sizes[number], candidates=tuple(candidates)
                )
            )
    return Plan(
        tuple(planner.steps),
        tuple(nodes),
        nodes[network.output],
        tuple(planner.spent),
        planner.sizes,
    )
