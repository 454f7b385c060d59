"""Python modules: a program for NumPy alone, a network of neurons for no library.

A program's instructions are those that evoml runs, without what cannot reach the prediction. Of a
table a module takes rows in the table's own values.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

from evoml.contracts.part import task_class
from evoml.core.errors import InputError
from evoml.evaluators import execution
from evoml.export import _neurons, _programs, _table_programs
from evoml.export._target import Given, Target
from evoml.tasks import _families as families
from evoml.tasks._table_tasks import TableTasks


class Python(Target):
    """A module for NumPy alone, or for no library."""

    kinds = ("programs", "neurons")
    task_for: ClassVar[Mapping[str, str]] = {"programs": "since vectors have the task's length"}

    def text(self, given: Given) -> str:
        return _WRITERS[given.opened.space.phenotype](given)


def _program(given: Given) -> str:
    """A program as a module, for the task of its run, or of --task."""
    problem, memory = given.problem, given.opened.space.memory
    name = problem.config.name("task")
    task, settings = task_class(name), problem.config.part("task")
    own = problem.config.part("evaluator")
    epochs = own.epochs if isinstance(own, execution.Settings) else 1
    features = settings.model_dump().get("features")
    # tasks of other kinds may have another form for programs
    data = problem.task if task.kind == "trials" else None
    kind = task.kind if data is None else data.kind
    if memory is None or kind not in ("regression", "classification"):
        raise InputError(
            f"export: --to python writes programs with a memory, for tasks of vectors; "
            f"{given.opened.space.name} on {name} is none"
        )
    essence = given.opened.space.essence(given.genotype)
    if isinstance(data, TableTasks):
        _neurons.units_of(given.opened)  # refuses other data than the run's
        return _table_programs.source(essence, data, memory, given.title, epochs)
    seed = families.task_seed(problem.config.search.seed, families.Split.TEST, 0, 0)
    if features is None or not issubclass(task, families.Family):  # the data say it
        tasks = problem.test_tasks
        features, seed = tasks.features, int(tasks.seeds[0])
    trained = (
        f"evoml trained it for {epochs} epoch{'s' * (epochs > 1)}; of later epochs the best on "
        f"validation counts.\n{task.scaling}"
    )
    return _programs.source(
        essence, features, kind == "classification", memory, given.title, trained, seed, epochs
    )


def _network(given: Given) -> str:
    """A network of neurons as a module; of a run on a table, for rows as the table has them."""
    opened = given.opened
    return _neurons.source(opened.space, given.genotype, given.title, _neurons.units_of(opened))


_WRITERS: dict[str, Callable[[Given], str]] = {"programs": _program, "neurons": _network}
