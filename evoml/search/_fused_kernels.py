"""Aging evolution of programs as one compiled loop: what `ask`, `score` and `tell` do, block by
block, without Python between the steps.

It is an optimisation and nothing else: the candidates, the caches and the archive are the same, bit
for bit, as without it (a test holds this). It fits aging evolution of programs on the numba backend
without hurdles; everything else goes through the toolbox.
"""

from typing import Any

import numpy as np

from evoml.backends.numba import Backend, _evaluate
from evoml.compilation.numba_cache import compiled
from evoml.compilation.random_kernels import below, output
from evoml.core.streams import SELECT, VARY, outputs
from evoml.evaluators._caches import FunctionalCache, _find, _find_exact, _insert, _insert_exact
from evoml.evaluators._score import combine, costs
from evoml.evaluators.execution import ExecutionEvaluator
from evoml.genotypes.population import DIVERGED, OK, OVER_BUDGET, Population
from evoml.phenotypes.instructions import KINDS
from evoml.spaces._program_kernels import MUTATIONS, canonical, copy_program, mutate, places
from evoml.spaces.automl_zero import AutoMLZeroSpace
from evoml.strategies.aging_evolution import AgingEvolution

CHUNK = 64  # blocks between two looks at whether to stop


class Engine:
    """Drives one island's strategy and evaluator. Not to be shared between threads."""

    @staticmethod
    def fits(space: Any, strategy: Any, evaluator: Any) -> bool:
        """Whether these parts are the ones that this loop is compiled for."""
        if [type(part) for part in (space, strategy, evaluator)] != [
            AutoMLZeroSpace,
            AgingEvolution,
            ExecutionEvaluator,
        ]:
            return False
        if strategy.settings.replace != "oldest":
            return False
        return len(evaluator._stages) == 1 and isinstance(evaluator._stages[0], Backend)

    def __init__(
        self, space: Any, strategy: Any, evaluator: Any, island: int, islands: int
    ) -> None:
        self.strategy, self.evaluator = strategy, evaluator
        self.numbering = np.array([island, islands], np.int64)
        block = strategy.block
        self.children, self.found = (
            Population(space.schema, block),
            Population(space.schema, CHUNK * block),
        )
        self._canonical = tuple(np.zeros_like(table) for table in self.children.tables)
        self._canonical_sizes = np.zeros_like(self.children.sizes)
        self._places = places(space._addresses)
        roots = outputs(np.array([strategy.seed % 2**64], np.uint64), np.array([SELECT, VARY]))
        allowed = np.array([MUTATIONS.index(name) for name in space.settings.mutations])
        self._variation = (
            allowed,
            space.settings.mutate_probability,
            space._operations,
            space._bounds,
            space._addresses,
        )
        backend, functional = evaluator._stages[0], evaluator.settings.functional_cache
        rules = backend.rules
        self._selection = (roots, strategy.settings.tournament)
        short = (
            (functional.train, functional.valid) if evaluator._functional is not None else (0, 0)
        )
        # Training and validation examples, epochs, and whether errors are recorded: of a short run
        # and of a full one.
        self._extent = (
            (min(short[0], rules.train), min(short[1], rules.valid), 1, True),
            (rules.train, rules.valid, rules.epochs, False),
        )
        errors = backend.errors(sum(self._extent[0][:2]))
        self._run = (
            KINDS, backend._layout, backend._memory, *backend._train, *backend._later,
            *backend._valid, backend._seeds, len(backend.tasks), backend.examples,
            int(backend.tasks.kind == "classification"), backend.limit, errors,
        )  # fmt: skip
        empty = (np.zeros((0, 2), np.uint64), np.zeros((0, 2)))
        self._exact = (
            (evaluator._exact.keys, evaluator._exact.values)
            if evaluator._exact is not None
            else empty
        )
        cache = evaluator._functional
        self._functional = (FunctionalCache(0, 1) if cache is None else cache)._arrays()
        self._scoring = (evaluator.cost_limit(), evaluator.settings.combine == "median")
        # candidates, exact hits, functional hits, over budget, full runs, steps, found
        self._counts = np.zeros(7, np.int64)

    def advance(
        self, asked: int, candidates: int, steps: int, best: float
    ) -> tuple[int, int, Population]:
        """Evaluate at most `candidates` and CHUNK blocks, until `steps` are run.

        Returns candidates done, steps run, and the improvements.
        """
        ring = self.strategy.population
        self._counts[:] = 0
        _advance(
            (
                ring.tables, ring.sizes, ring.fitness, ring.ids, ring.birth, ring.parents,
                ring.status,
            ),
            (self.children.tables, self.children.sizes, self.children.ids, self.children.parents),
            (
                self.found.tables, self.found.sizes, self.found.fitness, self.found.ids,
                self.found.birth, self.found.parents, self.found.status,
            ),
            (self._canonical, self._canonical_sizes, self._places),
            np.array([asked, self.strategy.told, candidates, steps], np.int64), self.numbering,
            best, self._selection, self._variation, self._exact, self._functional, self._extent,
            self._run, self._scoring, self._counts,
        )  # fmt: skip
        done, exact, functional, over, full, cost, found = map(int, self._counts)
        self.strategy.told += done
        for name, value in zip(
            ("candidates", "exact_hits", "functional_hits", "over_budget", "full_runs", "steps"),
            (done, exact, functional, over, full, cost),
            strict=True,
        ):
            self.evaluator.counts[name] += value
        return done, cost, self.found[:found]

    def warm(self) -> None:
        """Compile, without evaluating anything."""
        self.advance(0, 0, 0, 0.0)


@compiled
def _advance(
    ring, children, found, canonical_form, limits, numbering, best, selection, variation, exact,
    functional, extent, run, scoring, counts,
):  # fmt: skip
    """Blocks of children until a limit: tournament, mutation, canonical form, look-ups,
    interpretation, into the ring.
    """
    tables, sizes, fitness, ids, birth, parents, status = ring
    child_tables, child_sizes, child_ids, child_parents = children
    asked, told, candidates, most_steps = limits
    population, block = len(sizes), len(child_sizes)
    streams = np.zeros((2, block), np.uint64)
    chosen = np.zeros(block, np.int64)
    keys = np.zeros(block, np.uint64)
    for _ in range(CHUNK):
        count = min(block, candidates - counts[0])
        if count <= 0 or counts[5] >= most_steps:
            break
        for index in range(count):
            child_ids[index] = (asked + counts[0] + index) * numbering[1] + numbering[0]
            for purpose in range(2):
                streams[purpose, index] = output(selection[0][purpose], child_ids[index] + 1)
        _select(fitness, streams[0, :count], selection[1], chosen)
        mutate(
            tables,
            sizes,
            chosen[:count],
            streams[1, :count],
            variation[0],
            variation[1],
            variation[2],
            variation[3],
            variation[4],
            child_tables,
            child_sizes,
        )
        canonical(
            child_tables,
            child_sizes[:count],
            canonical_form[2],
            canonical_form[0],
            canonical_form[1],
            keys,
        )
        scores = _score(
            canonical_form[0],
            canonical_form[1],
            keys[:count],
            exact,
            functional,
            extent,
            run,
            scoring,
            counts,
        )
        for index in range(count):
            child_parents[index, 0] = ids[chosen[index]]
        for index in range(count):
            place = (told + counts[0]) % population
            copy_program(child_tables, child_sizes, index, tables, sizes, place)
            score = max(scores[index], 0.0)
            fitness[place, 0] = score
            ids[place] = child_ids[index]
            birth[place] = told + counts[0]
            parents[place, 0] = child_parents[index, 0]
            parents[place, 1] = -1
            status[place] = OK if score > 0 else OVER_BUDGET if scores[index] < 0 else DIVERGED
            counts[0] += 1
            if score > best:
                best = score
                at = counts[6]
                copy_program(child_tables, child_sizes, index, found[0], found[1], at)
                found[2][at, 0] = best
                found[3][at] = ids[place]
                found[4][at] = birth[place]
                found[5][at, 0] = parents[place, 0]
                found[5][at, 1] = -1
                found[6][at] = status[place]
                counts[6] += 1


@compiled
def _select(fitness, streams, tournament, chosen):
    """The winner of one tournament a stream, the first drawn of equals."""
    state = np.zeros(1, np.uint64)
    for index in range(len(streams)):
        state[0] = streams[index]
        winner = below(state, len(fitness))
        for _ in range(tournament - 1):
            entrant = below(state, len(fitness))
            if fitness[entrant, 0] > fitness[winner, 0]:
                winner = entrant
        chosen[index] = winner


@compiled
def _score(tables, sizes, keys, exact, functional, extent, run, scoring, counts):
    """Fitness of canonical programs, [n], through the cost limit and both caches, as the evaluator
    does; -1 for over the limit.
    """
    fitness = np.full(len(keys), -1.0)
    within = np.arange(len(keys))
    if scoring[0] < np.inf:
        within = np.flatnonzero(costs(tables, sizes, within, extent[1][0]) <= scoring[0])
    counts[3] += len(keys) - len(within)
    known = np.full(len(within), np.nan)
    if len(exact[0]) > 0:
        _find_exact(exact[0], exact[1], keys[within], known)
    missing = np.flatnonzero(np.isnan(known))
    counts[1] += len(known) - len(missing)
    which = within[missing]
    if len(functional[0]) > 0:
        _, prints, steps = _interpret(tables, sizes, which, extent[0], run, scoring[1])
        counts[5] += steps
        found = np.empty(len(prints))
        _find(
            functional[0],
            functional[1],
            functional[2],
            functional[3],
            functional[4],
            functional[5],
            functional[6],
            prints,
            found,
        )
        fresh = np.flatnonzero(np.isnan(found))
        counts[2] += len(found) - len(fresh)
        found[fresh], _, steps = _interpret(tables, sizes, which[fresh], extent[1], run, scoring[1])
        _insert(
            functional[0],
            functional[1],
            functional[2],
            functional[3],
            functional[4],
            functional[5],
            functional[6],
            prints[fresh],
            found[fresh],
        )
        counts[4] += len(fresh)
    else:
        found, _, steps = _interpret(tables, sizes, which, extent[1], run, scoring[1])
        counts[4] += len(which)
    counts[5] += steps
    if len(exact[0]) > 0:
        _insert_exact(exact[0], exact[1], keys[which], found)
    known[missing] = found
    fitness[within] = known
    return fitness


@compiled
def _interpret(tables, sizes, which, extent, run, median):
    """Combined fitness, error hashes and training steps of the programs `which`."""
    (
        kinds, layout, memory, train_x, train_y, later_x, later_y, valid_x, valid_y, seeds,
        tasks, examples, classify, limit, errors,
    ) = run  # fmt: skip
    # not written at the call: Numba would compile everything below for each literal
    train, valid, epochs, record = extent
    out = np.zeros((len(which), seeds.size))
    hashes = np.zeros(len(which), np.uint64)
    steps = _evaluate(
        tables, sizes, which, kinds, layout, memory, train_x, train_y, later_x, later_y, valid_x,
        valid_y, seeds, tasks, train, valid, epochs, examples, classify, limit, errors, record, out,
        hashes,
    )  # fmt: skip
    return combine(out, tasks, median), hashes, steps
