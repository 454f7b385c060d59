"""Where the weights of a network's layers lie in one flat tensor, and what they are called."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from evoml.networks import layer_modules
from evoml.phenotypes.layers import Primitive
from evoml.phenotypes.network import Network


@dataclass(frozen=True)
class Place:
    """Where the weights of one step lie in the flat parameter, and those of a normalisation in the
    running moments.
    """

    primitive: Primitive
    start: int
    running: int

    def view(self, flat: Tensor) -> Tensor:
        """[outputs, inputs, height, width] in the layout channels_last; of a normalisation scale
        and shift, [2, C]; of a torch module all of its numbers, [P].
        """
        p = self.primitive
        part = flat[self.start : self.start + p.parameters]
        if p.kind == "bn":
            return part.view(2, p.outputs)
        if p.module:
            return part
        return part.view(p.outputs, *p.kernel, 1 if p.kind == "dw" else p.inputs).permute(
            0, 3, 1, 2
        )

    def moments(self, running: Tensor) -> Tensor:
        """Running mean and variance of a normalisation, [2, C]; of others nothing, [2, 0]."""
        channels = self.primitive.outputs if self.primitive.kind == "bn" else 0
        return running[self.running : self.running + 2 * channels].view(2, channels)

    def parameters(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of its weights by the names that its torch module gives them."""
        view = self.view(flat)
        if self.primitive.kind == "bn":
            return {"weight": view[0], "bias": view[1]}
        if self.primitive.module:
            return layer_modules.views(self.primitive, view)
        return {"weight": view}

    def named(self, flat: Tensor, moments: Tensor) -> dict[str, Tensor]:
        """The same with the running moments, [2, C], of a normalisation."""
        out = self.parameters(flat)
        if self.primitive.kind == "bn":
            out |= {"running_mean": moments[0], "running_var": moments[1]}
        return out


def places(network: Network) -> tuple[dict[str, Place], int, int]:
    """Where weights lie, by `<node>.<edge>.<step>`; how many there are, and how many running
    moments.
    """
    out, start, running = {}, 0, 0
    for number, which, place, primitive in _primitives(network):
        if primitive.parameters:
            out[f"{number}.{which}.{place}"] = Place(primitive, start, running)
            start += primitive.parameters
            running += 2 * primitive.outputs if primitive.kind == "bn" else 0
    return out, start, running


def _primitives(network: Network) -> Iterator[tuple[int, int, int, Primitive]]:
    for number, node in enumerate(network.nodes):
        for which, edge in enumerate(node.edges):
            for place, primitive in enumerate(
                network.primitives(edge, network.sizes[edge.source][0])
            ):
                yield number, which, place, primitive
