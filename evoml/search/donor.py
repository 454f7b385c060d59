"""The shared weights of a run, for whoever goes on with them: what is read off its supernet is
scored with them, and starts from them when it is trained.

Bender et al. 2018 train anew instead; ENAS's children (Pham et al. 2018, arXiv 1802.03268) have the
shared weights as they are. A run of several searches has the weights of its last one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoml.contracts.learner import Learner
from evoml.contracts.part import evaluator_class, strategy_class
from evoml.contracts.task import LayeredData
from evoml.core.errors import InputError
from evoml.genotypes.schema import Genotype
from evoml.networks.batches import channels_last
from evoml.networks.shared_weights import SharedWeights
from evoml.phenotypes.network import Network
from evoml.search.open import resume
from evoml.search.problem import Problem, stored_config
from evoml.search.steady_state import SteadyState

# settings of a task that do not decide which images are the test part, nor what they look like
TRAINING = ("examples", "data")


@dataclass(frozen=True)
class Donor:
    """A run with a supernet that has learned something."""

    run: Path
    problem: Problem
    shared_weights: SharedWeights
    # that the weights are of, from 0; None: of all candidates, which one supernet scores
    search: int | None

    def check(self, space: Any, about: Problem) -> None:
        """Raises InputError for a space whose genotypes the supernet does not hold, and for a
        training on other images, whose test part the supernet may have seen.
        """
        mine = self.problem.space
        if (space.name, space.schema) != (mine.name, mine.schema):
            raise InputError(
                f"{self.run}: is of space {mine.name}, with settings under which this genotype is "
                "none"
            )
        here, there = (problem.config.complete()["task"] for problem in (self.problem, about))
        for key in dict.fromkeys([*here, *there]):
            if key not in TRAINING and here.get(key) != there.get(key):
                raise InputError(
                    f"{self.run}: its supernet was trained with task.{key} = {here.get(key)}, not "
                    f"{there.get(key)}; on other images it may have seen the test part"
                )
        if self.problem.data_digest != about.data_digest:
            raise InputError(
                f"{self.run}: its supernet was trained on other data, so it may have seen the test "
                "part"
            )

    def weights(self, network: Network) -> dict[str, Any]:
        """What a network starts from, as `Module.load_state_dict` takes it.

        Raises InputError where it has layers that the supernet has not.
        """
        try:
            return self.shared_weights.child(network)
        except ValueError as error:
            raise InputError(
                f"{self.run}: {error}; networks must be of the size that the search had, so "
                "without --preset final or another space.skeleton"
            ) from None

    def accuracy(self, genotype: Genotype, images: LayeredData) -> float:
        """With the shared weights as they are, on validation images, normalised by their own
        statistics.
        """
        return float(
            self.shared_weights.score(
                channels_last(images.valid_x),
                images.valid_y,
                self.problem.architecture_space.paths(genotype),
            )[0]
        )


def donor(run: Path) -> Donor:
    """The supernet of a run as its last checkpoint has it.

    Raises InputError for a run without one that has learned all it should.
    """
    if not run.is_dir():
        raise InputError(f"{run}: must be the folder of a run")
    config = stored_config(run)
    parts = strategy_class(config.name("strategy")), evaluator_class(config.name("evaluator"))
    if not any(issubclass(part, Learner) for part in parts):
        raise InputError(
            f"{run}: trained no supernet; runs of darts, snas, proxylessnas and one-shot did"
        )
    search = resume(run)
    assert isinstance(search, SteadyState) and search.learning is not None
    learner = search.learning.learner
    if not learner.step:
        raise InputError(f"{run}: its supernet has learned nothing yet")
    if learner.failure:
        raise InputError(f"{run}: its last search diverged")
    if learner.step < learner.total:
        raise InputError(
            f"{run}: its supernet has done {learner.step:,} of {learner.total:,} steps; go on with "
            "it first: evoml resume"
        )
    return Donor(run, search.problem, learner.shared_weights, learner.search)
