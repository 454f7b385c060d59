"""What the contracts promise, as checks of a part: of evoml's own, and of anybody's.

Each check takes a part's class, or one that is made, tries it small, and raises AssertionError with
the promise that is broken. A class is made of its module's `Settings` with what `Part.example`
says.
"""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from itertools import count as numbers
from math import isnan
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np

from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import CandidateEvaluator, Evaluator
from evoml.contracts.executor import Executor, Job
from evoml.contracts.learner import Learner
from evoml.contracts.objective import Objective
from evoml.contracts.part import Part, evaluator_class, space_class, task_class
from evoml.contracts.space import Space
from evoml.contracts.strategy import Strategy, StrategySettings
from evoml.contracts.task import ImageSet, Task, TaskSet, Trials
from evoml.core.errors import InputError
from evoml.core.registry import names
from evoml.core.settings import Settings
from evoml.core.streams import INITIAL, VARY, streams
from evoml.export._programs import needed
from evoml.genotypes.decisions import replay
from evoml.genotypes.population import OK, PENDING, STATUS, Population
from evoml.genotypes.schema import Genotype, Schema
from evoml.phenotypes.rows import Activation, Op
from evoml.search.toolbox import toolbox

P = TypeVar("P", bound=Part)
SETS = {
    "regression": TaskSet, "classification": TaskSet, "images": ImageSet, "trials": Trials,
}  # fmt: skip


# -- making parts ----------------------------------------------------------------------------------


def example_settings(part: type[Part]) -> Any:
    """The settings of a part as its `example` says. Raises AssertionError where there are none."""
    values = part.example
    assert values is not None, f"{part.name}: cannot be made without files; give one that is made"
    made = vars(sys.modules[part.__module__]).get("Settings")
    assert isinstance(made, type) and issubclass(made, Settings), (
        f"{part.name}: its module has no class Settings, a subclass of evoml.core.settings.Settings"
    )
    return made.read(values, part.name)


def example_task(part: type[Task]) -> Task:
    """A task of its example's settings."""
    return part(example_settings(part), None, 0)


def example_space(part: type[Space]) -> Space:
    """A space of its example's settings, fitted to its evaluator's task where it has to be."""
    space = part(example_settings(part))
    if part.needs_task:
        space = space.for_task(example_task(task_class(evaluator_class(part.evaluator).task)))
    return space


def fitting_space(fits: Callable[[type[Space]], bool], what: str) -> Space:
    """The first space that fits; of these, one that lists neighbours where there is one."""
    found = [each for each in _spaces() if fits(each)]
    assert found, f"{what}: there is no space that fits; give one"
    return example_space(min(found, key=lambda each: not each.lists_neighbours))


def _spaces() -> list[type[Space]]:
    """Every space that can be loaded."""
    out = []
    for name in names("spaces"):
        with suppress(InputError):
            out.append(space_class(name))
    return out


class _Scores(CandidateEvaluator):
    """Numbers that follow from the genotype alone."""

    def __init__(self, tasks: Any) -> None:
        self.objectives = (Objective("score", True),)
        self.tasks, self.counts = tasks, {}


def _images() -> ImageSet:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 1, 8, 8)).astype(np.float32), np.arange(32) % 2
    return ImageSet(x, y, x, y, ("0", "1"), np.zeros(1), np.ones(1))


# -- spaces ----------------------------------------------------------------------------------------


def check_space(space: Space | type[Space], count: int = 12, seed: int = 0) -> None:
    """Drawing, variation, identity, text, JSON, Arrow and phenotypes of a space."""
    space = space if isinstance(space, Space) else example_space(space)
    schema = space.schema
    assert isinstance(schema, Schema), "schema: must be an evoml Schema"
    ids = np.arange(count)
    draws = streams(seed, INITIAL, ids)
    first = space.random(draws)
    _check_members(space, first, count, "random")
    assert _digests(space.random(draws)) == _digests(first), "random: same streams, same genotypes"
    assert _digests(space.random(draws[1:3])) == _digests(first)[1:3], (
        "random: a genotype must follow from its own stream, whoever is drawn beside it"
    )
    given = [first.genotype(0), first.genotype(1)]
    started = _digests(space.initial(draws, given))
    assert started == [given[at % 2].digest() for at in range(count)], (
        "initial: must be copies of the given genotypes in turn"
    )
    moves = streams(seed, VARY, ids)
    parents = ids[::-1].copy()
    before = _digests(first)
    children = space.mutate(first, parents, moves)
    _check_members(space, children, count, "mutate")
    assert _digests(first) == before, "mutate: must leave the parents as they are"
    assert _digests(space.mutate(first, parents, moves)) == _digests(children), (
        "mutate: same parents and streams, same children"
    )
    for child in space.mate(Random(seed), first.genotype(0), first.genotype(1)):
        assert _violation(space, child) is None, f"mate: {_violation(space, child)}"
    assert len(space.phenotypes(first)) == count, "phenotypes: one a genotype"
    keys = space.keys(first)
    assert len(keys) == count and all(isinstance(key, str) and key for key in keys), (
        "keys: one text a genotype"
    )
    if space.has_decisions:
        _check_decisions(space, first)
    for tool in space.tools:
        assert tool in dir(space), f"tools: there is no method {tool}"
    for at in range(count):
        genotype = first.genotype(at)
        assert space.key(genotype) == keys[at], "key: must be what keys says"
        essence = _violation(space, space.essence(genotype))
        assert essence is None, f"essence: {essence}"
        text = space.format(genotype)
        assert space.parse(text, "text") == genotype, "parse: must give back what format wrote"
        plain = json.loads(json.dumps(schema.plain(genotype)))
        assert schema.from_plain(plain, "plain") == genotype, (
            "schema.from_plain: must give back what plain made, through JSON"
        )
    arrow = schema.from_arrow(schema.to_arrow(first.tables, first.sizes), "arrow")
    assert arrow == [first.genotype(at) for at in range(count)], (
        "schema.from_arrow: must give back what to_arrow made"
    )
    if space.lists_neighbours:
        for other in space.neighbours(first.genotype(0)):
            assert other != first.genotype(0), "neighbours: must differ from the genotype"
            assert _violation(space, other) is None, f"neighbours: {_violation(space, other)}"


def _check_decisions(space: Space, population: Population) -> None:
    for index in range(len(population)):
        decisions = space.decisions(population.genotype(index))
        assert space.decide(replay(decisions)) == population.genotype(index), (
            "decide: the answers of `decisions` must make the same genotype"
        )
        for decision, code in decisions:
            assert decision.codes is None or code in decision.codes, (
                f"random: {decision.table}.{decision.column}: {code}: is none of the codes"
            )


def _check_members(space: Space, population: Population, count: int, what: str) -> None:
    assert isinstance(population, Population), f"{what}: must give a Population"
    assert len(population) == count, f"{what}: {len(population)} genotypes for {count} streams"
    for at in range(count):
        violation = _violation(space, population.genotype(at))
        assert violation is None, f"{what}: {violation}"


def _violation(space: Space, genotype: Genotype) -> str | None:
    return space.schema.violation(genotype) or space.violation(genotype)


def _digests(population: Population) -> list[str]:
    return [population.genotype(at).digest() for at in range(len(population))]


# -- strategies ------------------------------------------------------------------------------------


def check_strategy(
    strategy: type[Strategy], space: Space | type[Space] | None = None, seed: int = 0
) -> None:
    """Ask and tell, determinism and resuming of a strategy, on scores of no meaning.

    space: what it searches; by default one that has the tools that it needs.
    """
    learns = issubclass(strategy, Learner)
    if space is None:
        space = fitting_space(
            lambda each: (
                set(strategy.needs) <= set(each.tools) and (each.has_supernet or not learns)
            ),
            strategy.name,
        )
    elif not isinstance(space, Space):
        space = example_space(space)
    settings = example_settings(strategy)
    assert isinstance(settings, StrategySettings), (
        f"{strategy.name}: Settings must be a subclass of evoml.contracts.StrategySettings"
    )
    box = toolbox(space, _Scores(_images()))

    def made() -> Strategy:
        return strategy(box, settings, seed)

    steps = 2 if learns else 3 * max(settings.alive, 8)
    whole = _course(made(), space, settings, 0, steps)
    assert whole, "ask: must give candidates before anything is told"
    assert _course(made(), space, settings, 0, steps) == whole, (
        "ask: same seed and same scores, same candidates"
    )
    half = made()
    told = _course(half, space, settings, 0, len(whole) // 2)
    state = _stored(half.state_dict(), "state_dict")
    other = made()
    other.load_state_dict(state)
    assert len(other.alive) == len(half.alive), "load_state_dict: as many are alive as before"
    rest = _course(other, space, settings, len(told), len(whole) - len(told))
    assert [*told, *rest] == whole, (
        "load_state_dict: a strategy that is gone on with must ask as one that never stopped"
    )
    try:
        made().load_state_dict({})
    except (KeyError, ValueError, TypeError):
        return
    raise AssertionError("load_state_dict: must raise ValueError or KeyError for no state")


def _course(
    strategy: Strategy, space: Space, settings: StrategySettings, first: int, steps: int
) -> list[str]:
    """The digests of whoever was asked for and told, from id `first` on; at least `steps`."""
    out: list[str] = []
    block = settings.alive if strategy.generational else max(strategy.block, 1)
    strategy.warm()
    while len(out) < steps:
        while (learner := strategy.learner) is not None and learner.learning:
            learner.learn()
        ids = np.arange(first + len(out), first + len(out) + block)
        asked = strategy.ask(ids)
        if not len(asked):
            break
        assert len(asked) <= len(ids) and (asked.ids == ids[: len(asked)]).all(), (
            "ask: candidates must have the ids that were asked for, in their order"
        )
        assert (asked.parents < ids[0]).all(), "ask: parents must have been there before"
        assert (asked.status == PENDING).all() and np.isnan(asked.fitness).all(), (
            "ask: candidates must not be evaluated"
        )
        _check_members(space, asked, len(asked), "ask")
        digests = _digests(asked)
        asked.fitness[:, 0] = [int(each, 16) % 1009 / 1009 for each in digests]
        asked.status[:] = OK
        strategy.tell(asked)
        out += digests
        alive = strategy.alive
        assert isinstance(alive, Population), "alive: must be a Population"
        assert strategy.fitness.shape == (len(alive),), "fitness: one number for everyone alive"
        assert len(strategy.migrants(2, 0)) <= 2, "migrants: at most as many as were asked for"
        assert (strategy.tested() < max(len(alive), 1)).all(), "tested: must be indices into alive"
        json.dumps(strategy.groups())
    return out


def _stored(value: Any, where: str) -> Any:
    """A state as a checkpoint gives it back. Raises AssertionError for what none can hold."""
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value), f"{where}: keys must be texts"
        return {key: _stored(each, f"{where}[{key!r}]") for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_stored(each, f"{where}[{at}]") for at, each in enumerate(value)]
    if isinstance(value, np.ndarray):
        assert not value.dtype.hasobject, f"{where}: an array of objects cannot be stored"
        return value.copy()
    assert value is None or type(value) in (str, int, float, bool), (
        f"{where}: {type(value).__name__}: must be a JSON value or an array"
    )
    return value


# -- evaluators ------------------------------------------------------------------------------------


def check_evaluator(
    evaluator: Evaluator | type[Evaluator],
    space: Space | type[Space] | None = None,
    task: Task | type[Task] | None = None,
    count: int = 4,
) -> None:
    """What an evaluator says of some candidates: shapes, status, no NaN, determinism, JSON, state.

    space: what the candidates are of; by default one whose `evaluator` it is. task: by default the
    evaluator's own.
    """
    if not isinstance(evaluator, Evaluator):
        kind = task or task_class(evaluator.task)
        evaluator = _made_evaluator(
            evaluator, space, kind if isinstance(kind, Task) else example_task(kind)
        )
    learner = evaluator.learner
    while learner is not None and learner.learning:
        learner.learn()
    names_of = [each.name for each in evaluator.objectives]
    assert names_of and all(isinstance(each, Objective) for each in evaluator.objectives), (
        "objectives: must be evoml.contracts.Objective, at least one"
    )
    assert len(set(names_of)) == len(names_of), "objectives: must have different names"
    draws = streams(0, INITIAL, np.arange(count))
    population = evaluator.space.random(draws).weighted(evaluator.weights)
    population.ids[:] = np.arange(count)
    evaluator.check()
    state = _stored(evaluator.state_dict(), "state_dict")
    said = evaluator.evaluate(population, draws)
    _check_evaluation(said, count, len(names_of))
    again = evaluator.evaluate(population, draws)
    assert _same(said.objectives, again.objectives) and _same(said.status, again.status), (
        "evaluate: same candidates and streams, same objectives and status"
    )
    alone = evaluator.evaluate(population[1:2], draws[1:2])
    assert _same(alone.objectives[0], said.objectives[1]), (
        "evaluate: what a candidate scores must not depend on who is beside it"
    )
    nobody = evaluator.evaluate(population[:0], draws[:0])
    assert nobody.objectives.shape == (0, len(names_of)), "evaluate: nobody has no objectives"
    back = Evaluation.from_plain(json.loads(json.dumps(said.plain())), len(names_of))
    assert _same(back.objectives, said.objectives) and _same(back.status, said.status), (
        "evaluate: what came of candidates must be the same through JSON"
    )
    assert "steps" in evaluator.counts, "counts: must have steps"
    evaluator.load_state_dict(state)
    assert _same(_stored(evaluator.state_dict(), "state_dict"), state), (
        "load_state_dict: must take over all that state_dict gives"
    )


def _made_evaluator(
    part: type[Evaluator], space: Space | type[Space] | None, task: Task
) -> Evaluator:
    if space is None:
        mine = any(each.evaluator == part.name for each in _spaces())
        space = fitting_space(
            lambda each: each.evaluator == part.name if mine else each.has_supernet, part.name
        )
    elif not isinstance(space, Space):
        space = example_space(space)
    settings = example_settings(part)
    out = part(settings, task.search(0), space, "reference")
    promised = part.objectives_of(settings, type(task))
    said, out.objectives = out.objectives, promised
    assert not said or part.batched or said == promised, (
        "objectives: must be those that objectives_of says"
    )
    return out


def _check_evaluation(said: Evaluation, count: int, objectives: int) -> None:
    assert isinstance(said, Evaluation), "evaluate: must give an evoml.contracts.Evaluation"
    assert said.objectives.shape == (count, objectives), (
        f"evaluate: objectives have shape {said.objectives.shape}, not {(count, objectives)}"
    )
    assert not np.isnan(said.objectives).any(), "evaluate: an objective may not be NaN"
    assert (
        said.status.shape == (count,)
        and ((said.status > PENDING) & (said.status < len(STATUS))).all()
    ), "evaluate: status must be one of population.STATUS a candidate, and not pending"
    assert said.steps >= 0 and (said.times >= 0).all(), "evaluate: costs must not be negative"


# -- tasks -----------------------------------------------------------------------------------------


def check_task(task: Task | type[Task]) -> None:
    """The sets of a task: of the kind that it says, and the same for the same seed."""
    part = task if isinstance(task, type) else type(task)
    assert isinstance(part.objective, Objective), "objective: must be an evoml.contracts.Objective"
    if isinstance(task, type) and not part.takes_data:
        try:
            part(example_settings(part), Path("data"), 0)
        except InputError:
            pass
        else:
            raise AssertionError("takes_data is false: data must be refused with InputError")
    task = example_task(task) if isinstance(task, type) else task
    kind = SETS.get(task.kind, object)
    sets = {"search": task.search(0)}
    for name, give in (("select", task.select), ("test", task.test)):
        try:
            sets[name] = give()
        except InputError as error:  # a task may have none
            assert str(error).count("\n") == 0, f"{name}: an error must be one line"
    for name, given in sets.items():
        assert isinstance(given, kind), f"{name}: kind {task.kind} means {kind.__name__}"
    for name, given in sets.items():
        if isinstance(given, TaskSet):
            size, many = given.train_x.shape, given.valid_x.shape
            assert len(size) == len(many) == 3 and size[::2] == many[::2], (
                f"{name}: train_x and valid_x must be [T, N, F] and [T, M, F]"
            )
            assert given.train_y.shape == size[:2] and given.valid_y.shape == many[:2], (
                f"{name}: labels must be [T, N] and [T, M]"
            )
            assert len(given.names) == len(given.seeds) == len(given), f"{name}: one a task"
        elif isinstance(given, ImageSet):
            for x, y in ((given.train_x, given.train_y), (given.valid_x, given.valid_y)):
                assert x.ndim == 4 and len(x) == len(y), f"{name}: images must be [N, C, H, W]"
                assert x.dtype == np.float32, f"{name}: images must be float32"
                assert (y >= 0).all() and (y < len(given.classes)).all(), (
                    f"{name}: labels must be 0..K-1"
                )
    if not isinstance(sets["search"], Trials):
        assert _same(task.search(0), sets["search"]), "search: same seed, same set"


def _same(one: Any, other: Any) -> bool:
    """Equal in every array and number of plain values and dataclasses; NaN equals NaN."""
    if is_dataclass(one) and not isinstance(one, type):
        return type(one) is type(other) and all(
            _same(vars(one)[each.name], vars(other)[each.name]) for each in fields(one)
        )
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(
            one, other, equal_nan=one.dtype.kind == "f"
        )
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(_same(one[key], other[key]) for key in one)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other) or (isinstance(one, float) and isnan(one) and isnan(other))


# -- executors, and rows of tables -----------------------------------------------------------------


def check_executor(executor: Executor, evaluator: CandidateEvaluator, count: int = 4) -> None:
    """That an executor gives every job back once, with what the evaluator says of it. Closes it."""
    draws = streams(0, INITIAL, np.arange(count))
    population = evaluator.space.random(draws).weighted(evaluator.weights)
    population.ids[:] = np.arange(count)
    try:
        assert executor.next(0.0) is None, "next: there is nothing before anything was submitted"
        for at in range(count):
            executor.submit(Job(population[at : at + 1], int(draws[at])))
        done: dict[int, Evaluation] = {}
        for _ in numbers():
            if len(done) == count:
                break
            if (answer := executor.next(60.0)) is not None:
                assert answer[0] not in done, f"next: candidate {answer[0]} came twice"
                done[answer[0]] = answer[1]
        assert sorted(done) == list(range(count)), "next: must give every job back by its id"
        for at, said in done.items():
            here = evaluator.evaluate(population[at : at + 1], draws[at : at + 1])
            assert _same(said.objectives, here.objectives) and _same(said.status, here.status), (
                "next: must say what the evaluator says"
            )
    finally:
        executor.close()


def check_operation(op: Op) -> None:
    """That an operation's NumPy definition and what `export --to python` makes of it agree."""
    rng = np.random.default_rng(0)
    shapes = {"s": (), "v": (3,), "m": (3, 3)}
    if op.noisy or op.constants:
        return
    for _ in range(8):
        given = [np.float64(rng.normal(size=shapes[kind])) for kind in op.ins]
        with np.errstate(all="ignore"):
            expected = np.broadcast_to(op.numpy(*given), shapes[op.out])
            made = np.broadcast_to(_exported(op, given), shapes[op.out])
        assert np.allclose(made, expected, equal_nan=True), (
            f"{op.name}: kernel and numpy disagree: {made} and {expected}"
        )


def _exported(op: Op, given: Sequence[Any]) -> Any:
    """What an operation gives in an exported module, of inputs of length 3."""
    text = op.text.removeprefix("out = ")
    helpers, imports = needed(text)
    there: dict[str, Any] = {"np": np, "F": 3} | {name: vars(np)[name] for name in imports}
    exec("\n\n".join(helpers), there)
    return eval(text, there, dict(zip("ab", given, strict=False)))


def check_activation(row: Activation) -> None:
    """That an activation's text and its NumPy definition agree."""
    given = np.array([-3.0, -1.0, -0.1, 0.0, 0.1, 1.0, 3.0])
    with np.errstate(all="ignore"):
        made = eval(row.text, {"__builtins__": {}}, {**vars(np), "a": given})
        assert np.allclose(made, row.numpy(given), equal_nan=True), (
            f"{row.name}: text and numpy disagree: {made} and {row.numpy(given)}"
        )


__all__ = [
    "check_activation", "check_evaluator", "check_executor", "check_operation", "check_space",
    "check_strategy", "check_task", "example_space", "example_task",
]  # fmt: skip
