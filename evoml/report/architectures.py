"""What the commands say of architectures, and how their winner is tested: trained anew, beside
baselines. A table is asked for what it reports.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from evoml.contracts.executor import Stage
from evoml.contracts.objective import MULTIPLY_ADDS, PARAMETERS
from evoml.core.errors import InputError
from evoml.core.wording import duration, plural
from evoml.report import console, print_json, warn
from evoml.report._kind import Kind, Request, scored, tested
from evoml.report._tables import plain_table, shown
from evoml.search.opened import Opened
from evoml.search.problem import Problem

if TYPE_CHECKING:
    from evoml.search.baselines import Baseline
    from evoml.search.winner import Trained

FIRST_STEPS = 5  # of a training, after which it can be said how long it takes


class Architectures(Kind):
    """Networks of layers."""

    noun = "architecture"
    article = "an"
    winner = "found architecture"
    takes = ("task.*", "evaluator.*", "space.skeleton.*", "search.seed")

    def next_steps(self, problem: Problem, folder: str) -> Iterable[str]:
        if problem.trains:
            yield (
                f"train it at full size and test it: evoml evaluate {folder} --preset final\nthe "
                f"network itself: evoml export {folder} --to torch -o network"
            )

    def evaluate(self, opened: Opened, request: Request) -> None:
        request.check(self.takes)
        layers = request.layers(named=True)
        if request.preset not in (None, "final"):
            raise InputError(f"evaluate: --preset {request.preset}: must be final")
        run = opened.problem
        other_task = any("task" in layer and layer["task"] for _, layer in layers)
        if run is not None and not run.trains and request.preset is None and not other_task:
            _ask(opened, run, layers, request)
        else:
            self._train(opened, layers, request)

    def _train(
        self, opened: Opened, layers: list[tuple[str, dict[str, Any]]], request: Request
    ) -> None:
        """Train a winner, or a file's architecture, and test it."""
        from evoml.search.donor import donor as donor_of
        from evoml.search.winner import final_folder, final_problem, train_final
        from evoml.tasks._image_splits import baseline_scores

        path, run, remarks = opened.path, opened.problem, [*opened.remarks]
        donor = None if request.inherit is None else donor_of(request.inherit)
        about = donor.problem if donor is not None and run is None else opened.about
        final = final_problem(about, layers, request.preset)
        if donor is not None:
            donor.check(opened.space, final)
            if run is not None and donor.search is not None and donor.run.samefile(path):
                remarks += _of_another(opened, run, donor.search)
        own = (
            run is not None
            and run.trains
            and request.preset == "final"
            and donor is None
            and _on_same_images(run, final)
        )

        def before(trains: bool, keeps: bool, epochs: int) -> None:
            warn([*remarks, *([not_kept(opened)] if own and trains and not keeps else [])])
            if trains and not request.as_json:
                line = f"{path}: {training_line(final, epochs)}"
                console(stderr=True).print(line, soft_wrap=True)

        trained = train_final(
            final,
            opened.genotype,
            opened.keeps if own else None,
            None if request.as_json else course(),
            before,
            donor,
        )
        simple = baseline_scores(final.test_tasks) if request.baselines else {}
        if not request.as_json:
            _print_accuracy(final, self._called(opened), trained, simple)
        networks = []
        if request.baselines:
            folder = opened.keeps if own else None
            place = None if folder is None else final_folder(folder)
            networks = _baselines(final, trained, place, request.as_json)
        if request.as_json:
            key = opened.space.key(opened.genotype)
            about_it = {
                "baselines": simple | {each.name: each.accuracy for each in networks},
                "baseline_networks": [asdict(each) for each in networks],
                "curve": list(trained.curve),
            }
            print_json({"objectives": trained.scores, "key": key} | about_it)


def _ask(
    opened: Opened, run: Problem, layers: list[tuple[str, dict[str, Any]]], request: Request
) -> None:
    """Print what an evaluator reports that trains nothing."""
    looked_up = run.objectives[0].kind == "looked up"
    answers = "a table answers as it is" if looked_up else "the evaluator answers as it is"
    if given := [
        f"{group}.{key}" for _, layer in layers for group, values in layer.items() for key in values
    ]:
        raise InputError(
            f"evaluate: {given[0]}: {answers}; settings are for a training, with --task"
        )
    if request.inherit is not None:
        raise InputError(
            f"evaluate: --inherit {request.inherit}: {answers}; weights are for a training, with "
            "--task"
        )
    scores = scored(run, opened.genotype)
    warn(opened.remarks)
    if request.as_json:
        print_json({"objectives": scores})
    else:
        console().print(tested(run, scores))


def _of_another(opened: Opened, run: Problem, search: int) -> list[str]:
    """That the best candidate of a run is not of the search whose weights there are, where it is
    not.
    """
    best = run.archive(opened.path).best(1)[0][0]["id"]
    return (
        []
        if best == search
        else [
            f"{opened.path}: the best architecture is of search {best}, the weights are of the "
            f"last one, {search}"
        ]
    )


def not_kept(opened: Opened) -> str:
    """What to say where a run cannot hold the network that is trained for it."""
    return f"{opened.path}: cannot be written, so the trained network is not kept in it"


def _on_same_images(problem: Problem, final: Problem) -> bool:
    """Whether a training is on the run's own data, so that the run may keep it as its network."""
    return (problem.config.task["name"], problem.data_digest) == (
        final.config.task["name"],
        final.data_digest,
    )


def _baselines(
    problem: Problem, trained: "Trained", place: Path | None, as_json: bool
) -> "list[Baseline]":
    """Train the baselines of a winner, and print them as they come."""
    from evoml.search.baselines import Baselines

    out, err = console(), console(stderr=True)
    held = Baselines(problem, trained.network, place)
    if not as_json and not held.done:
        err.print(
            f"\nbaselines with the same recipe for the same cost, three of about "
            f"{duration(trained.seconds)}; --no-baselines leaves them out ...",
            soft_wrap=True,
        )
    networks = list(held.trained())
    if as_json or not networks:
        return networks
    epochs = problem.config.part("evaluator").epochs
    out.print("\nnetworks that nobody searched for, trained with its recipe for as long:")
    table = plain_table("network", "accuracy", "parameters", "epochs", "seconds")
    scores = trained.scores
    own = (scores["test_accuracy"], scores["parameters"], epochs)
    rows = [("this one", *own, trained.seconds)]
    rows += [
        (each.name, each.accuracy, each.parameters, each.epochs, each.seconds) for each in networks
    ]
    for name, accuracy, *counts, seconds in rows:
        table.add_row(name, shown(accuracy), *(f"{count:,.0f}" for count in counts),
                      f"{seconds:.1f}", style="bold" if name == "this one" else "")  # fmt: skip
    out.print(table)
    _verdict(out, scores["test_accuracy"], networks, len(problem.test_tasks.valid_y))
    return networks


def _verdict(out: Console, accuracy: float, networks: "list[Baseline]", images: int) -> None:
    """What a comparison of accuracies says, and what it cannot say."""
    from evoml.search.baselines import RANDOM

    # twice the standard error of the difference of two shares
    noise = 2 * (2 * max(accuracy * (1 - accuracy), 1 / images) / images) ** 0.5
    for each in networks:
        gain = each.accuracy - accuracy
        if gain > noise:
            why = (
                "this search did no better than chance"
                if each.name == RANDOM
                else "this search has not paid off yet: search longer, or take that network"
            )
            out.print(f"the {each.name} is better by {gain:.4f}: {why}", soft_wrap=True)
    out.print(
        f"(one training each; differences below {noise:.4f} are noise of {images:,} test images)",
        soft_wrap=True,
    )


def _print_accuracy(
    problem: Problem, name: str, trained: "Trained", baselines: dict[str, float]
) -> None:
    """The winner's test accuracy beside that of simple methods."""
    out, scores = console(), trained.scores
    out.print(
        f"\ntest accuracy on {len(problem.test_tasks.valid_y):,} images that the search never saw "
        f"({problem.config.name('task')})"
    )
    table = plain_table("method", "accuracy", "parameters", "multiply-adds")
    table.add_row(
        Text(name, "bold"),
        Text(shown(scores["test_accuracy"]), "bold"),
        *(shown(scores[each.name], each.unit) for each in (PARAMETERS, MULTIPLY_ADDS)),
    )
    if "inherited_accuracy" in scores:
        baselines = {
            "the shared weights that it started from": scores["inherited_accuracy"]
        } | baselines
    for title, value in baselines.items():
        table.add_row(title, shown(value))
    out.print(table)


def training_line(problem: Problem, done: int = 0) -> str:
    """What a final training is done with, in a line. done: epochs of it."""
    data, skeleton = problem.test_tasks, problem.config.complete()["space"].get("skeleton", {})
    named = ("cells", "filters", "reductions", "width")
    size = ", ".join(f"{name} {value}" for name, value in skeleton.items() if name in named)
    images = (
        f"{len(data.train_y):,} training and validation images of {data.size[1]} x {data.size[2]}"
    )
    epochs = plural(problem.config.part("evaluator").epochs, "epoch")
    going_on = f"; going on behind epoch {done:,}" if done else ""
    return f"training for {epochs} on {images}; {size}{going_on}"


def course(every: float = 10.0) -> Callable[[Stage, Sequence[float]], None]:
    """Says how long a training takes once its first steps are measured, then every so many seconds
    how far it is, with the training loss of the last whole epoch. The test comes once, at the end.
    """
    err, spoke = console(stderr=True), 0.0
    first: Stage | None = None  # whose step has the warming up in it

    def watch(stage: Stage, losses: Sequence[float]) -> None:
        nonlocal spoke, first
        now = time.monotonic()
        if first is None:
            first, spoke = stage, now
        sized = stage.step == first.step + FIRST_STEPS
        if not sized and now - spoke < every:
            return
        spoke, steps = now, max(stage.step - first.step, 1)
        each = (stage.seconds - first.seconds) / steps
        left = f"about {duration(each * (stage.steps - stage.step))}"
        if sized:
            err.print(f"  {left}; Ctrl-C leaves it, and the same command goes on")
        else:
            loss = f", training loss {losses[-1]:.4f}" if losses else ""
            err.print(f"  epoch {stage.epoch:,} of {stage.epochs:,}{loss}, {left} left")

    return watch
