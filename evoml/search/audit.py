"""What shared weights are worth: behind every search that scores or derives architectures with them
stands a check, which answers what their users ask.

Do shared weights rank architectures as training does (Kendall's and Spearman's correlation over
architectures drawn at random and trained alone; Yu et al. 2020, "Evaluating the Search Phase of
Neural Architecture Search", arXiv 1902.08142)? Where candidates are scored with shared weights: are
those good alone whose predictions are near the whole supernet's (Bender et al. 2018, their
diagnosis)? Did the supernet learn at all? Is the search better than a random one of equal cost (the
best of as many of those as cost what the search did, in multiply-adds; Li, Talwalkar 2019, arXiv
1902.07638)? Have skip connections taken over (Zela et al. 2020, arXiv 1909.09656)? And where
candidates were only scored with shared weights, the best of them are trained alone, and the best of
those is the result (Bender et al. 2018).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, log
from typing import Any

import numpy as np

from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.executor import Executor, Halted, Job
from evoml.contracts.learner import Learner
from evoml.core.rank_correlation import kendall, spearman
from evoml.core.streams import AUDIT, TRAIN, streams
from evoml.core.wording import plural
from evoml.genotypes.population import OK, Individual, Population
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.network import Network
from evoml.search.problem import Problem
from evoml.search.slots import Slots
from evoml.workers.inline import Inline

FIRST = 2**40  # the number of the first random architecture: candidates are below it
PASSES = 3  # of a training step, in forward passes: forward, and backward to inputs and to weights
# share of a cell's layers that are skip connections, above which there is a warning
TAKEN_OVER = 0.5
LEAST = 3  # architectures whose order says something
DRAWS = 1000  # random architectures in a row that may be over a cap


@dataclass(frozen=True)
class AuditPlan:
    """The architectures that the audit trains from scratch."""

    random: list[Genotype]
    # how many of them, from the first, cost what the search did; more than there are: `limit` was
    # met
    equal: int
    best: list[Individual]  # by shared weights
    limit: str = ""  # why there are no more

    @property
    def jobs(self) -> dict[int, Genotype]:
        return {individual.id: individual.genotype for individual in self.best} | {
            FIRST + n: each for n, each in enumerate(self.random)
        }

    def winner(self, stand_alone: Mapping[int, Evaluation], weight: float) -> Individual | None:
        """The best of the best when they were trained alone, of equals the first that was found, as
        `Archive.best` has it.
        """
        trained = [
            individual for individual in self.best if stand_alone[individual.id].status[0] == OK
        ]
        return max(
            trained,
            key=lambda individual: (score(stand_alone[individual.id]) * weight, -individual.id),
            default=None,
        )


class SharedWeightsAudit:
    """The audit of one run. learner: the part that has the shared weights."""

    def __init__(self, problem: Problem, learner: Learner) -> None:
        self.problem, self.learner, self.scores_are_shared = (
            problem,
            learner,
            learner.scores_candidates,
        )
        self.settings = problem.config.search
        # by candidate, or FIRST + number: what training it by itself came to
        self.stand_alone: dict[int, Evaluation] = {}
        self.seconds = 0.0  # that these trainings took
        self.checked: AuditPlan | None = None  # once all of it is trained
        self.report: dict[str, Any] | None = None  # what shared weights turned out to be worth
        # of the best by shared weights, the best when trained alone
        self.winner: Individual | None = None

    def run(
        self, best: Sequence[Individual], champion: Individual, loss: float | None, workers: int,
        after: Callable[[int, int], None], stopped: Callable[[], bool],
    ) -> bool:  # fmt: skip
        """Train what the audit needs and find out; False where it was stopped. best: by shared
        weights, where these score candidates.

        loss: the shared weights', of their last epoch. after: called with how many are done, of how
        many.
        """
        plan = self.plan(best, [] if self.scores_are_shared else self.learner.stand_alone)
        if not self.train(plan, workers, after, stopped):
            return False
        self.winner = (
            plan.winner(self.stand_alone, self.problem.weights[0])
            if self.scores_are_shared
            else None
        )
        self.checked, self.report = plan, self.findings(plan, self.winner or champion, loss)
        return True

    def stand_alone_rows(self) -> list[tuple[Individual, Evaluation]]:
        """The best by shared weights, with what training them alone came to."""
        return (
            []
            if self.checked is None
            else [(each, self.stand_alone[each.id]) for each in self.checked.best]
        )

    @property
    def space(self) -> ArchitectureSpace:
        assert isinstance(self.problem.space, ArchitectureSpace)
        return self.problem.space

    @cached_property
    def _shape(self) -> tuple[Any, int, int]:
        """Size, classes and number of the training images."""
        images = self.problem.task.search(0)
        return images.size, images.head.outputs, len(images.train_y)

    def state_dict(self) -> dict[str, Any]:
        return {
            "alone": {
                str(id): evaluation.plain()[0] for id, evaluation in self.stand_alone.items()
            },
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises what a strange checkpoint raises."""
        objectives = len(self.problem.stand_alone.objectives)
        found = {
            int(id): Evaluation.from_plain([row], objectives) for id, row in state["alone"].items()
        }
        self.stand_alone, self.seconds = found, float(state["seconds"])

    def plan(self, best: Sequence[Individual], derived: Sequence[Genotype]) -> AuditPlan:
        """What to train.

        best: of the candidates by shared weights; derived: what the search had trained alone
        already.
        """
        best_few = (
            list(best[: self.settings.audit_best])
            if self.scores_are_shared and len(self.problem.weights) == 1
            else []
        )
        cost = self.learner.spent + sum(
            map(self.cost, [*derived, *(individual.genotype for individual in best_few)])
        )
        drawn: list[Genotype] = []
        equal = 0
        limit = "hardly any is within the caps"
        for genotype in self._random():
            if len(drawn) >= self.settings.audit and (
                cost <= 0 or len(drawn) >= self.settings.audit_most
            ):
                limit = "search.audit_most is the limit"
                break
            drawn.append(genotype)
            equal += cost > 0
            cost -= self.cost(genotype)
        return AuditPlan(drawn, equal + (cost > 0), best_few, limit)

    def cost(self, genotype: Genotype) -> int:
        """Multiply-adds of training a genotype alone."""
        return (
            int(self._network(genotype).multiply_adds)
            * PASSES
            * self._shape[2]
            * int(self._settings.epochs)
        )

    def _network(self, genotype: Genotype) -> Network:
        network: Network = self.space.network(genotype, *self._shape[:2])
        return network

    @cached_property
    def _settings(self) -> Any:
        """How an architecture is trained alone."""
        return self.problem.stand_alone.config.part("evaluator")

    def train(
        self,
        plan: AuditPlan,
        workers: int,
        after: Callable[[int, int], None],
        stopped: Callable[[], bool],
    ) -> bool:
        """Train what has not been trained yet; False where it was stopped.

        after: called with how many are done, of how many.
        """
        jobs = plan.jobs
        missing = [id for id in jobs if id not in self.stand_alone]
        if not missing:
            return True
        stand_alone = self.problem.stand_alone
        evaluator = stand_alone.evaluator(stand_alone.task.search(0))
        assert isinstance(evaluator, CandidateEvaluator)
        began = time.monotonic() - self.seconds

        def halt() -> None:
            if stopped():
                raise Halted

        executor: Executor = (
            Slots(stand_alone, workers, evaluator.timeout, evaluator.worst)
            if workers > 1
            else Inline(evaluator, halt)
        )
        try:
            for id in missing:
                one = Population.of(stand_alone.space.schema, [jobs[id]], stand_alone.weights)
                one.ids[:] = id
                executor.submit(
                    Job(one, int(streams(self.settings.seed, TRAIN, np.array([id]))[0]))
                )
            while any(id not in self.stand_alone for id in missing):
                if stopped():
                    return False
                if (done := executor.next(0.2)) is not None:
                    self.stand_alone[done[0]] = done[1]
                    self.seconds = time.monotonic() - began
                    after(sum(id in self.stand_alone for id in jobs), len(jobs))
        finally:
            executor.close()
        return True

    def findings(
        self, plan: AuditPlan, champion: Individual | None, loss: float | None = None
    ) -> dict[str, Any]:
        """What the check found, as plain values; `found` is what the search's own architecture has,
        trained alone, None where it was not.

        loss: the supernet's, of its last epoch.
        """
        weight = self.problem.stand_alone.weights[0]
        found = [self.stand_alone[FIRST + number] for number in range(len(plan.random))]
        scores = [score(each) if each.status[0] == OK else None for each in found]
        unfinished = self.learner.unfinished  # weights of a search that has only begun rank nothing
        shared = [
            float("nan") if unfinished else self.learner.score(genotype) for genotype in plan.random
        ]
        apart = [self.learner.divergence(genotype) for genotype in plan.random]
        pairs = [
            (a, b * weight, float("nan") if c is None else -c)
            for a, b, c in zip(shared, scores, apart, strict=True)
            if b is not None and isfinite(a)
        ]
        a, b, near = np.array(pairs, np.float64).reshape(-1, 3).T
        of_equal = [score for score in scores[: plan.equal] if score is not None]
        random = [
            {"key": self.problem.space.key(g), "shared": None if unfinished else s, "alone": t}
            | ({} if d is None else {"divergence": d})
            for g, s, t, d in zip(plan.random, shared, scores, apart, strict=True)
        ]
        return {
            "kendall": kendall(a, b), "spearman": spearman(a, b), "compared": len(pairs),
            "divergence_kendall": kendall(near, b) if len(near) and np.isfinite(
                near
            ).all() else None,
            "loss": None if unfinished else loss, "loss_of_guessing": log(self._shape[1]),
            "random_best": max(of_equal, key=lambda score: score * weight, default=None),
            "random_candidates": min(plan.equal, len(scores)),
            "random_limited": plan.equal > len(scores),
            "random_limit": plan.limit if plan.equal > len(scores) else "",
            "unfinished": unfinished, "several": len(self.problem.weights) > 1,
            "found": self._stand_alone(champion),
            "cut_off": champion is not None and not self._network(champion.genotype).connected,
            "skips": {} if champion is None else self.skips(champion.genotype), "random": random,
        }  # fmt: skip

    def skips(self, genotype: Genotype) -> dict[str, list[int]]:
        """Of every cell of a genotype, how many of its layers are skip connections, and how many
        layers there are.
        """
        groups = self.space.supernet(*self._shape[:2]).groups
        skips = self.space.skips
        out: dict[str, list[int]] = {}
        for group, row in zip(groups, self.space.paths(genotype), strict=True):
            counts = out.setdefault(group.name.split()[0] if " " in group.name else "cell", [0, 0])
            for name, count in zip(group.options, row.astype(int).tolist()):
                counts[0] += count * (name in skips)
                counts[1] += count * (name != "none" or name in skips)
        return out

    def _stand_alone(self, champion: Individual | None) -> float | None:
        if champion is None:
            return None
        if not self.scores_are_shared:
            return float(champion.fitness.values[0])
        trained = self.stand_alone.get(champion.id)
        return None if trained is None else score(trained)

    def _random(self) -> Iterator[Genotype]:
        """Random architectures within the caps, since one that is over a cap costs a random search
        nothing; no more where none is found.
        """
        allows = self._settings.allows
        number = missed = 0
        while missed < DRAWS:
            genotype = self.problem.space.random(
                streams(self.settings.seed, AUDIT, np.array([number]))
            ).genotype(0)
            number += 1
            missed = 0 if allows(self._network(genotype)) else missed + 1
            if not missed:
                yield genotype


def score(evaluation: Evaluation) -> float:
    """The first objective of one candidate."""
    return float(evaluation.objectives[0, 0])


def lines(audit: dict[str, Any]) -> list[str]:
    """A report in words."""
    out = []
    if audit["compared"] >= LEAST:
        out.append(
            "shared weights against training alone, "
            f"{plural(audit['compared'], 'random architecture')}: Kendall {audit['kendall']:.2f}, "
            f"Spearman {audit['spearman']:.2f}"
        )
    if audit.get("unfinished"):
        out.append(
            "shared weights against training alone: not compared, since the last search did not "
            "end or diverged"
        )
    if audit["compared"] >= LEAST and audit.get("divergence_kendall") is not None:
        out.append(
            "predictions near the whole supernet's against training alone: Kendall "
            f"{audit['divergence_kendall']:.2f}"
        )
    if audit["random_best"] is not None and audit["found"] is None and audit.get("several"):
        out.append(
            f"the best of {plural(audit['random_candidates'], 'random architecture')} trained "
            f"alone: {audit['random_best']:.4f}; of several objectives, none of the front is "
            "trained alone"
        )
    if audit["random_best"] is not None and audit["found"] is not None:
        limited = (
            f", which cost less: {audit.get('random_limit', 'search.audit_most is the limit')}"
            if audit["random_limited"]
            else ""
        )
        out.append(
            f"random search of equal cost ({plural(audit['random_candidates'], 'architecture')} "
            f"trained alone{limited}): {audit['random_best']:.4f}; this search: "
            f"{audit['found']:.4f}"
        )
    if audit.get("loss") is not None and audit["loss"] > audit["loss_of_guessing"]:
        out.append(
            f"warning: the supernet learned nothing: its loss, {audit['loss']:.4f}, is above that "
            f"of guessing, {audit['loss_of_guessing']:.4f}; make lr smaller"
        )
    if audit.get("cut_off"):
        out.append(
            "warning: what was found reads nothing of the image: every path to its output goes "
            "through none"
        )
    for cell, (skips, layers) in audit["skips"].items():
        if layers and skips / layers > TAKEN_OVER:
            where = "the cell" if cell == "cell" else f"the {cell} cell"
            out.append(
                f"warning: skip connections have taken over: {skips} of {layers} layers of {where}"
            )
    return out
