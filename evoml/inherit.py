"""The shared weights of a run, for whoever goes on with them: what is read off its supernet is scored with them, and starts from them when it is trained.

Weights of a supernet as a start: Bender et al. 2018, who retrain from scratch instead, and ENAS's children (Pham et al. 2018, arXiv 1802.03268), which have them as they are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evoml.errors import InputError
from evoml.genes import Genotype
from evoml.network import Network
from evoml.problem import Problem
from evoml.search import resume
from evoml.tasks import ImageSet

if TYPE_CHECKING:
    from torch import Tensor

    from evoml.networks.supernet import Shared


@dataclass(frozen=True)
class Donor:
    """A run with a supernet that has learned something."""

    run: Path
    problem: Problem
    net: "Shared"

    def check(self, space: Any) -> None:
        """Raises InputError for a space whose genotypes the supernet does not hold."""
        mine = self.problem.space
        if (space.name, space.schema) != (mine.name, mine.schema):
            raise InputError(f"evaluate: --inherit {self.run}: is of space {mine.name}, with settings under which this genotype is none")

    def weights(self, network: Network) -> dict[str, "Tensor"]:
        """What a network starts from, as `Module.load_state_dict` takes it. Raises InputError where it has layers that the supernet has not."""
        try:
            return self.net.child(network)
        except ValueError as error:
            raise InputError(
                f"evaluate: --inherit {self.run}: {error}; networks must be of the size that the search had, so without --preset final, and with its images"
            ) from None

    def accuracy(self, genotype: Genotype, images: ImageSet) -> float:
        """With the shared weights as they are, on validation images, normalised by their own statistics."""
        x = np.ascontiguousarray(images.valid_x.transpose(0, 2, 3, 1))
        return float(self.net.score(x, images.valid_y, self.problem.space.paths(genotype))[0])


def donor(run: Path) -> Donor:
    """The supernet of a run as its last checkpoint has it. Raises InputError for a run without one."""
    if not run.is_dir():
        raise InputError(f"evaluate: --inherit {run}: must be the folder of a run")
    search = resume(run)
    learners: list[Any] = getattr(search, "learners", [])
    if not learners:
        raise InputError(f"evaluate: --inherit {run}: trained no supernet; runs of darts, snas, proxylessnas and one-shot did")
    learner = learners[0]
    if not learner.step:
        raise InputError(f"evaluate: --inherit {run}: its supernet has learned nothing yet")
    if getattr(learner, "failure", ""):
        raise InputError(f"evaluate: --inherit {run}: its last search diverged")
    return Donor(run, search.problem, learner.net)
