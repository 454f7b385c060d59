"""What has to learn before there are candidates: a supernet, a hypernetwork, a controller on shared
weights.
"""

from collections.abc import Sequence
from typing import Any

from evoml.genotypes.schema import Genotype


class Learner:
    """A part that learns step by step. The loop calls `learn` as long as `learning` says so.

    A strategy or an evaluator is one by deriving from this class too. Behind a search that used a
    learner stands the audit of what its shared weights are worth.
    """

    scores_candidates: bool = False  # whether candidates are scored with the shared weights alone
    search: int | None = None  # number of the search in progress; None where there is only one
    step: int = 0  # steps that are done, of `total`
    spent: int = 0  # multiply-adds so far
    diverged: int = 0  # step, from 1, at which the search in progress diverged; 0: it did not
    shared_weights: Any  # from the first step on

    @property
    def learning(self) -> bool:
        """Whether there is a step to take before the next candidate."""
        raise NotImplementedError

    @property
    def total(self) -> int:
        """Steps of one search."""
        raise NotImplementedError

    def learn(self) -> dict[str, Any] | None:
        """Take one step. At the end of an epoch what it came to, else None.

        The report has `search`, `epoch`, `epochs`, `loss`, `accuracy` and `spent`, as plain values.
        Raises InputError where the training diverges and nothing can follow.
        """
        raise NotImplementedError

    def score(self, genotype: Genotype) -> float:
        """Accuracy with the shared weights, 0..1, on the images that candidates are judged by."""
        raise NotImplementedError

    def divergence(self, genotype: Genotype) -> float | None:
        """How far a candidate's predictions are from the whole supernet's, in nats; None:
        unknown.
        """
        return None

    @property
    def unfinished(self) -> bool:
        """Whether the shared weights are those of a search that has not ended well."""
        return False

    @property
    def failure(self) -> str:
        """Why the search in progress came to nothing, in a line; empty where it did not."""
        return ""

    @property
    def failed(self) -> Sequence[int]:
        """Searches that diverged, by number."""
        return ()

    @property
    def stand_alone(self) -> Sequence[Genotype]:
        """What was derived and then trained from scratch, whose cost is the search's too."""
        return ()

    def warm(self) -> None:
        """Compile what a step needs; called once before the first."""
