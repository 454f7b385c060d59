"""What came of candidates: the one result type, from a worker's answer to the archive."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import numpy as np

from evoml.core.errors import InputError
from evoml.core.wording import plural
from evoml.genotypes.population import OK, STATUS


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluator says of n candidates.

    objectives: [n, O] float64, never NaN.
    status: [n] uint8, a position in `population.STATUS`.
    steps: cost, in training steps, look-ups or network evaluations, over all candidates.
    seconds: [n] float64, of training and validation, or simulated by a table; zeros where untold.
    curves: [n] validation scores after every epoch; empty where there are none.
    failure: why the first candidate failed that did, in a line; empty where none did.
    """

    objectives: np.ndarray
    status: np.ndarray
    steps: int = 0
    seconds: np.ndarray = field(default_factory=lambda: np.zeros(0))
    curves: tuple[tuple[float, ...], ...] = ()
    failure: str = ""

    def __len__(self) -> int:
        return len(self.status)

    @classmethod
    def of(
        cls, objectives: Sequence[float], status: int, seconds: float = 0.0,
        curve: Sequence[float] = (), failure: str = "", steps: int = 0,
    ) -> "Evaluation":  # fmt: skip
        """Of one candidate."""
        return cls(
            np.array([objectives], np.float64), np.array([status], np.uint8), steps,
            np.array([seconds], np.float64), (tuple(curve),), failure,
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence["Evaluation"], objectives: int) -> "Evaluation":
        """Evaluations one after the other. objectives: O, where there may be no part."""
        if not parts:
            return cls(np.zeros((0, objectives)), np.zeros(0, np.uint8))
        return cls(
            np.concatenate([part.objectives for part in parts]),
            np.concatenate([part.status for part in parts]),
            sum(part.steps for part in parts),
            np.concatenate([part.times for part in parts]),
            tuple(curve for part in parts for curve in part.learning_curves),
            next((part.failure for part in parts if part.failure), ""),
        )

    @property
    def times(self) -> np.ndarray:
        """Seconds of every candidate, [n], zeros where untold."""
        return self.seconds if len(self.seconds) == len(self) else np.zeros(len(self))

    @property
    def learning_curves(self) -> tuple[tuple[float, ...], ...]:
        """A curve a candidate, [n]."""
        return self.curves if len(self.curves) == len(self) else ((),) * len(self)

    def check(self, evaluator: str) -> None:
        """Raise InputError, naming the evaluator, for a NaN, an infinite score of a candidate that
        is said to be evaluated, or a status that there is not.
        """
        if not ((self.status > 0) & (self.status < len(STATUS))).all():
            raise InputError(
                f"evaluator: {evaluator}: status {self.status.tolist()[:5]}; must be in "
                f"1..{len(STATUS) - 1}, a position in STATUS"
            )
        if np.isnan(self.objectives).any() or np.isinf(self.objectives[self.status == OK]).any():
            raise InputError(
                f"evaluator: {evaluator}: objectives {self.objectives.tolist()[0]}; must be finite "
                "numbers, or the worst with a status where a candidate failed"
            )

    def plain(self) -> list[list[Any]]:
        """A list a candidate: objectives, status, seconds, curve, and behind the first that failed
        why it did, where that is known.

        As messages and checkpoints hold it.
        """
        out: list[list[Any]] = [
            [objectives, status, seconds, list(curve)]
            for objectives, status, seconds, curve in zip(
                self.objectives.tolist(),
                self.status.tolist(),
                self.times.tolist(),
                self.learning_curves,
                strict=True,
            )
        ]
        if self.failure:
            for row in [row for row in out if row[1] != OK][:1]:
                row.append(self.failure)
        return out

    @classmethod
    def from_plain(cls, rows: Sequence[Any], objectives: int) -> "Evaluation":
        """The inverse of `plain`. objectives: O. Raises ValueError for rows of anything else."""
        parts = []
        for values, status, seconds, curve, *why in rows:
            numbers = tuple(map(float, values))
            if (
                len(numbers) != objectives
                or any(map(isnan, numbers))
                or not 0 < int(status) < len(STATUS)
            ):
                raise ValueError("not an evaluation")
            curve = tuple(map(float, curve))
            parts.append(cls.of(numbers, int(status), float(seconds), curve, "".join(why)))
        return cls.joined(parts, objectives)


def checked_evaluation(given: object, count: int, evaluator: str) -> Evaluation:
    """What an evaluator gave, where that is an `Evaluation` of so many candidates.

    Raises InputError, naming the evaluator.
    """
    if not isinstance(given, Evaluation):
        raise InputError(
            f"evaluator: {evaluator}: gave a {type(given).__name__}; must give an Evaluation"
        )
    if not len(given.status) == len(given.objectives) == count:
        raise InputError(
            f"evaluator: {evaluator}: objectives of {len(given.objectives):,} and status of "
            f"{len(given.status):,} of {plural(count, 'candidate')}; there must be one each"
        )
    return given
