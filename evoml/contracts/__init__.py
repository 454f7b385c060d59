"""What a part must be: the classes that spaces, strategies, evaluators and tasks derive from.

A part is one module with `Settings`, a subclass of `core.settings.Settings`, and one public
subclass of the class of its axis.
"""

from evoml.contracts.architecture_space import ArchitectureSpace, Skeleton
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import BatchEvaluator, CandidateEvaluator, Evaluator
from evoml.contracts.executor import Executor, Job
from evoml.contracts.learner import Learner
from evoml.contracts.objective import Objective
from evoml.contracts.space import Space
from evoml.contracts.strategy import (
    AgingPopulation,
    OneAtATime,
    OneAtATimeSettings,
    Strategy,
    StrategySettings,
)
from evoml.contracts.task import ImageSet, Task, TaskSet, TrialResult, Trials

__all__ = [
    "AgingPopulation", "ArchitectureSpace", "BatchEvaluator", "CandidateEvaluator", "Evaluation",
    "Evaluator", "Executor", "ImageSet", "Job", "Learner", "Objective", "OneAtATime",
    "OneAtATimeSettings", "Skeleton", "Space", "Strategy", "StrategySettings", "Task", "TaskSet",
    "TrialResult", "Trials",
]  # fmt: skip
