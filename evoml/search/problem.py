"""The parts of a configuration, made: what a search, an evaluation and an export share."""

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evoml.archive.archive import Archive
from evoml.archive.files import read_config
from evoml.backends import missing
from evoml.config import DEFAULT_PARTS, NOT_SETTINGS, PARTS, Config, build, settings_digest
from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.contracts.evaluator import BatchEvaluator, Evaluator
from evoml.contracts.objective import Objective, checked_objectives, listed
from evoml.contracts.part import (
    evaluator_class,
    settings_class,
    space_class,
    strategy_class,
    task_class,
)
from evoml.contracts.space import Space
from evoml.contracts.strategy import Strategy
from evoml.contracts.task import Shape, Task
from evoml.core.digests import digest
from evoml.core.errors import InputError, read_text
from evoml.core.registry import load, names, origin, real_name
from evoml.core.wording import plural
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype

MOST_NEURONS = 1_000_000  # inputs or outputs of a network of neurons


class Problem:
    """Space, task and evaluators of one configuration.

    The task, and with it the data, is read when it is first needed.
    """

    def __init__(self, config: Config, shape: Shape | None = None) -> None:
        """shape: the task's, where it is known and the task is not to be made for it."""
        self.config = config
        space = space_class(config.name("space"))(config.part("space"))
        self.space: Space = space.for_task(shape or self.task) if space.needs_task else space
        self.backend = automatic(config) if config.backend == "auto" else config.backend
        if self.evaluator_class.batched or self.backend not in names("backends"):
            load("backends", self.backend)

    @property
    def architecture_space(self) -> ArchitectureSpace:
        """The space, where it is one of architectures. Raises InputError."""
        if not isinstance(self.space, ArchitectureSpace):
            raise InputError(
                f"space: {self.space.name}: makes no networks to train; cell, hierarchical and "
                "chain do"
            )
        return self.space

    @cached_property
    def task(self) -> Task:
        config = self.config
        made = task_class(config.name("task"))(config.part("task"), config.data, config.search.seed)
        return made.for_programs() if self.evaluator_class.runs_programs else made

    @cached_property
    def evaluator_class(self) -> type[Evaluator]:
        """The evaluator, not made yet."""
        return evaluator_class(self.config.name("evaluator"))

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """What candidates are judged by, [O]."""
        task = task_class(self.config.name("task"))
        return checked_objectives(
            self.evaluator_class.objectives_of(self.config.part("evaluator"), task),
            f"evaluator: {self.evaluator_class.name}",
        )

    @property
    def objective(self) -> str:
        """The name of the first objective, which the best is chosen by."""
        return self.objectives[0].name

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the objectives, [O]."""
        return tuple(each.name for each in self.objectives)

    @property
    def weights(self) -> tuple[float, ...]:
        """DEAP's, one an objective."""
        return tuple(each.weight for each in self.objectives)

    @property
    def every_row(self) -> bool:
        """Whether candidates are evaluated one by one, each an archived row, and not in batches of
        thousands.
        """
        return not self.evaluator_class.batched

    @property
    def trains(self) -> bool:
        """Whether a candidate is a network that is trained: in search, or by itself once it has
        been found.
        """
        return self.evaluator_class.trains

    @cached_property
    def stand_alone(self) -> "Problem":
        """The same with candidates trained by themselves, where an evaluator scores them with
        shared weights.
        """
        settings = self.evaluator_class.stand_alone_settings(self.config.part("evaluator"))
        if settings is None:
            return self
        values = self.config.complete() | {
            "evaluator": {"name": "training", **settings.model_dump(mode="json")},
            "backend": self.backend,
        }
        return Problem(build(("run.toml", values | {"system": "custom", "start": []})))

    def archive(self, folder: Path) -> Archive:
        """The archive of a run of this problem."""
        return Archive(
            folder, self.space.schema, self.objectives, self.every_row,
            strategy_class(self.config.name("strategy")).row_columns,
        )  # fmt: skip

    def evaluator(self, tasks: Any, exact: bool = False) -> Evaluator:
        """An evaluator for one set of tasks; `exact`: for selection and test.

        Raises InputError where the backend cannot run.
        """
        if self.evaluator_class.batched and (reason := missing(self.backend)):
            raise InputError(reason)
        made, settings = self.evaluator_class, self.config.part("evaluator")
        out = made(made.exact(settings) if exact else settings, tasks, self.space, self.backend)
        if not out.objectives:
            out.objectives = self.objectives
        elif not exact and out.weights != self.weights:
            raise InputError(
                f"evaluator: {made.name}: has the objectives {listed(out.objectives)}, and its "
                f"objectives_of says {listed(self.objectives)}; they must agree"
            )
        return out

    def batch_evaluator(self, tasks: Any, exact: bool = False) -> BatchEvaluator:
        """The same, of an evaluator that scores in batches."""
        out = self.evaluator(tasks, exact)
        assert isinstance(out, BatchEvaluator)
        return out

    @cached_property
    def _checked(self) -> bool:
        """Whether others wrote the space or the strategy: what these give is looked at then."""
        named = (("spaces", "space"), ("strategies", "strategy"))
        return any(origin(axis, self.config.name(part)) for axis, part in named)

    def asked(self, strategy: Strategy, ids: np.ndarray) -> Population:
        """The candidates that a strategy gives, asked for these.

        Raises InputError for what others' strategy or space gives that cannot be evaluated.
        """
        population = strategy.ask(ids)
        if not self._checked:
            return population
        who = f"strategy: {strategy.name}: asked for {plural(len(ids), 'candidate')}, gave"
        if not isinstance(population, Population):
            raise InputError(f"{who} a {type(population).__name__}; it must be a Population")
        if len(population) > len(ids):
            raise InputError(f"{who} {len(population):,}; it may give fewer, not more")
        if violation := population.violation():
            raise InputError(
                f"space: {self.space.name}: a candidate that strategy {strategy.name} gave is not "
                f"of the space: {violation}"
            )
        return population

    def start_genotypes(self) -> list[Genotype]:
        """The genotypes that `start` names."""
        return [self.space.parse(read_text(Path(name)), name) for name in self.config.start]

    @cached_property
    def test_tasks(self) -> Any:
        """The tasks of the reported result."""
        return self.task.test()

    def test(self, genotype: Genotype) -> dict[str, Any]:
        """Score a genotype on the test tasks, which neither search nor selection saw: one number,
        what the task says of it in words, and every task by name.
        """
        tasks = self.test_tasks
        evaluator = self.batch_evaluator(tasks, exact=True)
        phenotypes = self.space.phenotypes(Population.of(self.space.schema, [genotype]))
        per_task = evaluator.per_task(phenotypes)[0]
        words = (
            self.task.scores(lambda tasks: evaluator.errors(phenotypes, tasks))
            if evaluator.runs_programs
            else {}
        )
        return {
            self.objective: evaluator.overall(per_task),
            **words,
            "tasks": dict(zip(tasks.names, map(float, per_task), strict=True)),
        }

    @cached_property
    def data_digest(self) -> str:
        """A hash of the data, empty where the task brings its own."""
        if self.config.data is None:
            return ""
        several = not self.config.data.is_file() or any(
            part == "task" for part, _ in self.config.files()
        )
        if several and (fingerprint := self.task.fingerprint) is not None:
            return fingerprint
        try:
            return digest(self.config.data.read_bytes())
        except OSError as error:
            raise InputError(f"{self.config.data}: {error.strerror or 'cannot be read'}") from None


def automatic(config: Config) -> str:
    """The backend that `auto` stands for: the GPU's where there is one and a block of candidates on
    all tasks fills it, else the CPU's.
    """
    evaluator = evaluator_class(config.name("evaluator"))
    if not evaluator.batched:
        return "numba"
    backend = load("backends", "cuda")
    tasks = task_class(config.name("task")).tasks_in(config.part("task"))
    fills = config.part("strategy").candidates * tasks * evaluator.runs_programs
    return "cuda" if fills >= backend.LEAST and not missing("cuda") else "numba"


def check_parts(config: Config) -> None:
    """Raise InputError where a strategy needs tools that the space does not have."""
    strategy, space = strategy_class(config.name("strategy")), space_class(config.name("space"))
    if lacking := [name for name in strategy.needs if name not in space.tools]:
        raise InputError(
            f"strategy: {strategy.name}: does not fit space {space.name}, which has no "
            f"{lacking[0]}; spaces of growing genomes, such as neat, have one"
        )


def edited(folder: Path) -> bool:
    """Whether run.toml holds other settings than the run was made with: those that it names,
    whatever settings there are now.
    """
    values = read_config(folder)
    stored = values.get("settings_digest")
    held = [values] if values.get("backend") != "auto" else [values, values | {"backend": "numba"}]
    return stored is not None and stored not in map(settings_digest, held)


def stored_config(folder: Path, changes: dict[str, Any] | None = None) -> Config:
    """The configuration that a run was made with: a setting that it does not name has its default,
    or what its `UNNAMED` says.

    Its preset has been resolved already, so none is laid under it. Raises InputError.
    """
    values = {key: value for key, value in read_config(folder).items() if key not in NOT_SETTINGS}
    system = values.pop("system", "custom")
    # a run says what it was made with; in one that does not, that was the CPU's
    if values.get("backend") == "auto":
        values["backend"] = "numba"
    values = _with_unnamed(values)
    config = build((str(folder / "run.toml"), values), ("resume", changes or {}), trusts=False)
    start = tuple(str(folder / Path(name).name) for name in config.start)
    return config.model_copy(update={"system": str(system), "start": start})


def stored_problem(folder: Path) -> Problem:
    """The problem of a run that is only read: its task is not made where the run says what has to
    be known of it, so that nothing that it names is executed. Raises InputError.
    """
    found, shape = read_config(folder).get("shape"), None
    if isinstance(found, dict):
        try:
            inputs, outputs = (int(found[name]) for name in ("inputs", "outputs"))
            shape = Shape(inputs, outputs, float(found["bias"]), str(found["output"]))
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{folder / 'run.toml'}: shape: not as evoml wrote it") from None
        if not 0 < min(inputs, outputs) <= max(inputs, outputs) <= MOST_NEURONS:
            raise InputError(f"{folder / 'run.toml'}: shape: must be 1..{MOST_NEURONS:,}")
    return Problem(stored_config(folder), shape)


def _with_unnamed(values: dict[str, Any]) -> dict[str, Any]:
    """A run's settings, and beside them those that were added later, as the run had them."""
    out = Config.as_stored(values)
    for part, axis in PARTS.items():
        group = out.get(part)
        if isinstance(group, dict) and isinstance(name := group.get("name"), str):
            out[part] = settings_class(axis, real_name(axis, name)).as_stored(group)
    return out


def open_file(path: Path) -> tuple[Space, Genotype]:
    """A genotype's file with the space that it is of, which TOML names; any other file is of the
    default space.

    Raises InputError.
    """
    text = read_text(path, "utf-8-sig")
    name = DEFAULT_PARTS["space"]
    if path.suffix == ".toml":
        try:
            header = tomllib.loads(text).get("space", {})
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not TOML ({' '.join(str(error).split())[:200]})") from None
        name = str(header.get("name", "")) if isinstance(header, dict) else ""
        if not name:
            raise InputError(
                f"{path}: space.name: missing; it must say which space the genotype is of, such as "
                "cell"
            )
    try:
        space = space_class(name)
    except InputError as error:
        raise InputError(f"{path}: space.name: {error}") from None
    return space.open_text(text, str(path))
