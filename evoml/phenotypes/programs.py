"""Programs: the phenotype that backends run.

A batch of them is a struct of arrays, as populations are.
"""

from dataclasses import dataclass

import numpy as np

from evoml.core.errors import InputError

FUNCTIONS = ("setup", "predict", "learn")
LONGEST = 340  # instructions of one function, so that the noise of a step can number three of them

# One instruction: operation id, addresses of the inputs and the output within their types,
# constants. Unused fields are zero.
INSTRUCTION = np.dtype(
    [("op", "u1"), ("a", "u1"), ("b", "u1"), ("out", "u1"), ("x", "f8"), ("y", "f8"), ("z", "f8")],
    align=True,
)


@dataclass(frozen=True)
class Memory:
    """How many scalar, vector and matrix addresses a program has: s0 is the label, s1 the
    prediction, v0 the features.
    """

    scalars: int
    vectors: int
    matrices: int

    def __post_init__(self) -> None:
        for name, least in (("scalars", 2), ("vectors", 1), ("matrices", 0)):
            if not least <= getattr(self, name) <= 64:
                raise InputError(f"{name}: {getattr(self, name)} is not in {least}..64")


@dataclass(frozen=True, eq=False)
class Programs:
    """n programs in one memory layout.

    tables: setup, predict and learn, each [n, R] of INSTRUCTION, padded; sizes: [n, 3] rows in use;
    keys: [n] uint64, equal for programs that are the same instruction for instruction.
    """

    memory: Memory
    tables: tuple[np.ndarray, np.ndarray, np.ndarray]
    sizes: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)

    def rows(self, index: int, function: int) -> np.ndarray:
        """The instructions of one function of one program."""
        return self.tables[function][index, : self.sizes[index, function]]
