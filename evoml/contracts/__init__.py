"""What a part must be: the classes that spaces, strategies, evaluators and tasks derive from.

A part is one module with `Settings`, a subclass of `core.settings.Settings`, and one public
subclass of the class of its axis. A name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {
    "architecture_space": ("ArchitectureSpace", "Skeleton"),
    "evaluation": ("Evaluation",),
    "evaluator": ("BatchEvaluator", "CandidateEvaluator", "Evaluator"),
    "executor": ("Executor", "Job"),
    "learner": ("Learner",),
    "objective": ("Objective",),
    "space": ("Space",),
    "strategy": (
        "AgingPopulation", "OneAtATime", "OneAtATimeSettings", "Strategy", "StrategySettings",
    ),
    "task": ("ImageSet", "Task", "TaskSet", "TrialResult", "Trials"),
}  # fmt: skip
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AgingPopulation", "ArchitectureSpace", "BatchEvaluator", "CandidateEvaluator", "Evaluation",
    "Evaluator", "Executor", "ImageSet", "Job", "Learner", "Objective", "OneAtATime",
    "OneAtATimeSettings", "Skeleton", "Space", "Strategy", "StrategySettings", "Task", "TaskSet",
    "TrialResult", "Trials",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return vars(import_module(f"evoml.contracts.{_HOME[name]}"))[name]
    raise AttributeError(f"module 'evoml.contracts' has no attribute {name!r}")
