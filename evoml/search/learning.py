"""The phase in which a learner learns before there are candidates: a step a turn, its epochs events
of the archive.
"""

from typing import Any

from evoml.archive.archive import Archive
from evoml.contracts.learner import Learner
from evoml.core.errors import InputError


class Learning:
    """What a run does with its learner."""

    def __init__(self, learner: Learner, archive: Archive) -> None:
        self.learner, self.archive = learner, archive
        self.epoch: dict[str, Any] | None = None  # the last that was learnt

    @property
    def due(self) -> bool:
        """Whether there is a step to take before the next candidate."""
        return self.learner.learning

    @property
    def under_way(self) -> bool:
        """Whether something has been learnt already."""
        return self.learner.step > 0

    @property
    def loss(self) -> float | None:
        """The shared weights' loss in the last epoch; None before there was one."""
        return None if self.epoch is None else float(self.epoch["loss"])

    def step(self) -> None:
        """Take one step. Raises InputError where the training diverges and nothing can follow."""
        try:
            report = self.learner.learn()
        except InputError as error:
            # the epochs so far can be seen; a resumed run begins at the checkpoint
            self.archive.flush()
            raise InputError(f"{error}; what there is so far is in {self.archive.folder}") from None
        if report is not None:
            self.archive.log("epoch", **report)
            self.epoch = report
        if why := self.learner.failure:
            self.archive.log(
                "diverged", search=self.learner.search, step=self.learner.diverged, why=why
            )

    @property
    def note(self) -> str:
        """How far it is, in words; empty where nothing is to be learnt now."""
        learnt = self.epoch
        if not self.due:
            return ""
        which = "" if self.learner.search is None else f"search {self.learner.search}, "
        steps = f"{which}shared weights: step {self.learner.step:,} of {self.learner.total:,}"
        if learnt is None or self.learner.search not in (None, learnt["search"]):
            return steps
        return f"{steps}, epoch {learnt['epoch']} of {learnt['epochs']}: loss {learnt['loss']:.4f}"
