"""What tests need to speak of any part without its name."""

from types import ModuleType
from typing import Any

from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.objective import ACCURACY, Objective
from evoml.contracts.part import part_class
from evoml.genotypes.population import Population


def class_of(module: ModuleType) -> Any:
    """The class that a part's module defines."""
    axis, name = module.__name__.split(".")[-2:]
    return part_class(axis, name)


class NoEvaluator(CandidateEvaluator):
    """An evaluator for strategies that are told scores by hand."""

    def __init__(self, objectives: tuple[Objective, ...] = (ACCURACY,), tasks: Any = None) -> None:
        self.objectives, self.tasks, self.counts = objectives, tasks, {}


def directions(weights: tuple[float, ...]) -> tuple[Objective, ...]:
    """Objectives with these of DEAP's weights."""
    return tuple(
        Objective(f"objective{number}", weight > 0) for number, weight in enumerate(weights)
    )


def evaluate(evaluator: Any, genotypes: Any, streams: Any = None) -> Evaluation:
    """What an evaluator says of genotypes."""
    import numpy as np

    population = Population.of(evaluator.space.schema, list(genotypes), evaluator.weights)
    out: Evaluation = evaluator.evaluate(
        population,
        None if streams is None else np.array([int(each) % 2**64 for each in streams], np.uint64),
    )
    return out
