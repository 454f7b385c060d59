"""The parts of a configuration, made: what a search, an evaluation and an export share."""

from functools import cached_property
from pathlib import Path
from typing import Any

from evoml.archive.archive import Archive, read_config
from evoml.backends import missing
from evoml.config import NOT_SETTINGS, Config, build, settings_digest
from evoml.core.digests import digest
from evoml.core.errors import InputError, read_text
from evoml.core.registry import load
from evoml.evaluators import weight
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype


class Problem:
    """Space, task and evaluators of one configuration. The task, and with it the data, is read when it is first needed."""

    def __init__(self, config: Config) -> None:
        self.config = config
        space: Any = load("spaces", config.name("space")).Space(config.part("space"))
        self.space = space.shaped(self.task) if hasattr(space, "shaped") else space
        self.backend = automatic(config) if config.backend == "auto" else config.backend
        load("backends", self.backend)

    @cached_property
    def task(self) -> Any:
        config = self.config
        return load("tasks", config.name("task")).Task(config.part("task"), config.data, config.search.seed)

    @cached_property
    def objectives(self) -> tuple[str, ...]:
        """Names of the objectives: those that the evaluator's settings name, else what the task calls its score."""
        named = getattr(self.config.part("evaluator"), "objectives", None)
        return tuple(named) if named else (str(load("tasks", self.config.name("task")).Task.objective),)

    @property
    def objective(self) -> str:
        """The first objective, which the best is chosen by."""
        return self.objectives[0]

    @property
    def weights(self) -> tuple[float, ...]:
        """DEAP's, one an objective."""
        return tuple(weight(name) for name in self.objectives)

    @property
    def steady(self) -> bool:
        """Whether candidates are evaluated one by one, each an archived row, and not in batches of thousands."""
        return hasattr(load("evaluators", self.config.name("evaluator")).Evaluator, "costly")

    @property
    def trains(self) -> bool:
        """Whether a candidate is a network that is trained: in search, or by itself once it has been found."""
        costly = getattr(load("evaluators", self.config.name("evaluator")).Evaluator, "costly", False)
        return bool(costly) or hasattr(self.config.part("evaluator"), "alone")

    @cached_property
    def alone(self) -> "Problem":
        """The same with candidates trained by themselves: where an evaluator scores them with shared weights, by what its setting `alone` says."""
        settings = self.config.part("evaluator")
        if not hasattr(settings, "alone"):
            return self
        values = self.config.complete() | {
            "evaluator": {"name": "training", **settings.alone.model_dump(mode="json")},
            "backend": self.backend,
        }
        return Problem(build(("run.toml", values | {"system": "custom", "start": []})))

    def archive(self, folder: Path) -> Archive:
        """The archive of a run of this problem."""
        return Archive(folder, self.space.schema, self.objectives, self.weights, curves=self.steady)

    def evaluator(self, tasks: Any, exact: bool = False) -> Any:
        """An evaluator for one set of tasks; `exact`: for selection and test. Raises InputError where the backend cannot run."""
        if reason := missing(self.backend):
            raise InputError(reason)
        module, settings = load("evaluators", self.config.name("evaluator")), self.config.part("evaluator")
        return module.Evaluator(module.Evaluator.exact(settings) if exact else settings, tasks, self.space, self.backend)

    def given(self) -> list[Genotype]:
        """The genotypes that `start` names."""
        return [self.space.parse(read_text(Path(name)), name) for name in self.config.start]

    @cached_property
    def test_tasks(self) -> Any:
        """The tasks of the reported result."""
        return self.task.test()

    def test(self, genotype: Genotype) -> dict[str, Any]:
        """Score a genotype on the test tasks, which neither search nor selection saw: one number, and every task by name."""
        tasks = self.test_tasks
        evaluator = self.evaluator(tasks, exact=True)
        per_task = evaluator.per_task(self.space.phenotypes(Population.of(self.space.schema, [genotype])))[0]
        return {self.objective: evaluator.overall(per_task), "tasks": dict(zip(tasks.names, map(float, per_task), strict=True))}

    @cached_property
    def data_digest(self) -> str:
        """A hash of the data, empty where the task brings its own."""
        if self.config.data is None:
            return ""
        if hasattr(self.task, "fingerprint") and (not self.config.data.is_file() or self.config.part("task").test_data):
            return str(self.task.fingerprint)  # more than one file
        try:
            return digest(self.config.data.read_bytes())
        except OSError as error:
            raise InputError(f"{self.config.data}: {error.strerror or 'cannot be read'}") from None


def automatic(config: Config) -> str:
    """The backend that `auto` stands for: the GPU's where there is one and a block of candidates on all tasks fills it, else the CPU's."""
    cuda = load("backends", "cuda")
    candidates = getattr(config.part("strategy"), "candidates", 0)
    tasks = getattr(getattr(config.part("task"), "search", None), "tasks", 0)
    return "cuda" if candidates * tasks >= cuda.LEAST and not cuda.missing() else "numba"


def edited(folder: Path, config: Config) -> bool:
    """Whether `config`, as run.toml holds it now, is other settings than the run was made with."""
    stored = read_config(folder).get("settings_digest")
    return stored is not None and stored != settings_digest(config.complete())


def stored_config(folder: Path, changes: dict[str, Any] | None = None) -> Config:
    """The configuration that a run was made with. Its preset has been resolved already, so none is laid under it. Raises InputError."""
    values = {key: value for key, value in read_config(folder).items() if key not in NOT_SETTINGS}
    system = values.pop("system", "custom")
    if values.get("backend") == "auto":  # a run says what it was made with; in one that does not, that was the CPU's
        values["backend"] = "numba"
    config = build((str(folder / "run.toml"), values), ("resume", changes or {}))
    start = tuple(str(folder / Path(name).name) for name in config.start)
    return config.model_copy(update={"system": str(system), "start": start})
