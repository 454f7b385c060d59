"""The winner trained at full size: what it is trained with, where its weights are kept, and what is
refused.
"""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import evoml

from evoml.config import build
from evoml.contracts.executor import Stage
from evoml.core.errors import InputError
from evoml.search.open import open_search
from evoml.search.problem import Problem, stored_config
from evoml.search.winner import BEGUN, FINAL, final_problem, kept, train_final

TINY = {
    "system": "amoebanet",
    "search": {"budget": 3},
    "workers": 1,
    "space": {"blocks": 1, "skeleton": {"cells": 0, "filters": 2}},
    "strategy": {"population": 2, "tournament": 1},
    "evaluator": {"epochs": 1},
    "task": {"examples": 120, "size": 4},
}
SMALL = ("test", {"space": {"skeleton": {"cells": 0, "filters": 2}}, "evaluator": {"epochs": 1}})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("winner") / "run"
    search = open_search(build(("test", TINY)), folder)
    search.create()
    search.prepare()
    search.run()
    return folder


@pytest.fixture
def problem(run: Path) -> Problem:
    return Problem(stored_config(run))


def winner(problem: Problem, run: Path):  # type: ignore[no-untyped-def]
    return problem.archive(run).best(1)[0][0]["genotype"]


def test_full_size_is_full_size(problem: Problem) -> None:
    """Epochs and skeleton of the system's final settings, and none of the proxies on data."""
    final = final_problem(problem, [], "final").config
    assert final.part("evaluator").epochs == 60 and final.part("space").skeleton.filters == 16
    assert final.part("task").examples == final.part("task").size == 0
    assert final_problem(problem, [], None).config.part("task").examples == 120


def test_settings_given_lie_over_the_final_ones(problem: Problem) -> None:
    assert (
        final_problem(problem, [("--set", {"evaluator": {"epochs": 3}})], "final")
        .config.part("evaluator")
        .epochs
        == 3
    )


def test_trained_on_all_but_the_test_part(problem: Problem, run: Path) -> None:
    final = final_problem(problem, [SMALL], "final")
    searched, tested = problem.task.search(0), final.test_tasks
    assert len(tested.train_y) > len(searched.train_y) + len(searched.valid_y)
    pixels = {image.tobytes() for image in tested.train_x}
    # a few digits are there twice
    assert sum(image.tobytes() in pixels for image in tested.valid_x) < len(tested.valid_x) // 20
    trained = train_final(final, winner(problem, run), None)
    assert (
        0 <= trained.scores["test_accuracy"] <= 1
        and trained.scores["parameters"] == trained.network.parameters
    )


def test_images_that_are_made_alike_keep_their_size(tmp_path: Path) -> None:
    """They have no common one to go back to."""
    image_module = pytest.importorskip("PIL.Image")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for each in range(4):
            image_module.new("L", (5 + each, 7)).save(tmp_path / name / f"{each}.png")
    task = {"name": "images", "data": str(tmp_path), "size": 6, "resize": "crop", "examples": 0}
    problem = Problem(build(("test", TINY | {"task": task})))
    final = final_problem(problem, [], "final").config.part("task")
    assert (final.size, final.resize) == (6, "crop")


def test_the_last_epoch_counts_whatever_the_run_reports(problem: Problem, run: Path) -> None:
    final = final_problem(
        problem, [SMALL, ("test", {"evaluator": {"epochs": 4, "report": "best"}})], "final"
    )
    trained = train_final(final, winner(problem, run), None)
    assert trained.scores["test_accuracy"] == trained.curve[-1]


def test_weights_are_kept_and_found_again(problem: Problem, run: Path) -> None:
    genotype, final = winner(problem, run), final_problem(problem, [SMALL], "final")
    trained = train_final(final, genotype, run)
    again = kept(run, genotype)
    assert (
        again is not None
        and again.scores == trained.scores
        and kept(run, genotype, final) is not None
    )
    for name, tensor in trained.module.state_dict().items():
        assert np.array_equal(tensor, again.module.state_dict()[name])
    other = final_problem(problem, [SMALL, ("test", {"evaluator": {"epochs": 2}})], "final")
    assert kept(run, genotype, other) is None
    changed = problem.space.mutate(
        problem.space.random(np.arange(1, dtype=np.uint64)), np.array([0]), np.array([5], np.uint64)
    ).genotype(0)
    assert changed == genotype or kept(run, changed) is None


def test_another_candidate_than_the_best_has_weights_of_its_own(
    problem: Problem, run: Path
) -> None:
    best, other = problem.archive(run).best(2)[0]
    small = ("--set", "evaluator.epochs=1", "--set", "space.skeleton={cells=0, filters=2}")
    for row in (best, other):
        named = ("--candidate", row["id"], "--preset", "final", "--json", "--no-baselines")
        done = evoml("evaluate", run, *named, *small)
        assert done.returncode == 0, done.stderr
    place = run / f"candidate-{other['id']}"
    assert kept(place, other["genotype"]) is not None and kept(run, other["genotype"]) is None
    assert kept(run, best["genotype"]) is not None
    assert not (run / f"candidate-{best['id']}").exists()


@pytest.mark.parametrize(
    "more",
    [
        {"lr": 0.01},
        {"optimiser": "adam", "schedule": "constant", "shift": 1, "cutout": 1, "report": "best"},
    ],
)
def test_a_training_that_was_left_is_gone_on_with(
    more: dict[str, Any], problem: Problem, run: Path, tmp_path: Path
) -> None:
    layer = ("test", {"evaluator": {"epochs": 4, **more}})
    final, genotype = final_problem(problem, [SMALL, layer], "final"), winner(problem, run)
    expected = train_final(final, genotype, None)

    def leave(stage: Stage, losses: Sequence[float]) -> None:
        if stage.epoch == 3:
            assert len(losses) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_final(final, genotype, tmp_path, leave)
    begun, said = tmp_path / FINAL / BEGUN, []
    held = begun.read_bytes()
    trained = train_final(final, genotype, tmp_path, before=lambda *which: said.append(which))
    assert said == [(True, True, 2)] and not begun.exists()
    assert (trained.scores, trained.curve) == (expected.scores, expected.curve)
    for name, tensor in expected.module.state_dict().items():
        assert torch.equal(tensor, trained.module.state_dict()[name])
    # of another training, or damaged: from the start
    other = final_problem(problem, [SMALL, layer, ("test", {"search": {"seed": 9}})], "final")
    for content, which in ((held, other), (held[:-9], final)):
        (tmp_path / FINAL / "weights.safetensors").unlink(missing_ok=True)
        begun.write_bytes(content)
        train_final(which, genotype, tmp_path, before=lambda *which: said.append(which))
    assert said[1:] == [(True, True, 0)] * 2


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_weights_are_refused(
    content: bytes, problem: Problem, run: Path, tmp_path: Path
) -> None:
    (tmp_path / FINAL).mkdir()
    (tmp_path / FINAL / "weights.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="weights"):
        kept(tmp_path, winner(problem, run))


def test_a_link_is_not_written_through(problem: Problem, run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / FINAL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="link"):
        train_final(final_problem(problem, [SMALL], "final"), winner(problem, run), tmp_path)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_is_refused_is_refused_before_anything_is_trained(
    problem: Problem, run: Path, tmp_path: Path
) -> None:
    (tmp_path / FINAL).write_text("a file")
    final, said = final_problem(problem, [SMALL], "final"), []
    with pytest.raises(InputError, match=f"{FINAL}: cannot write"):
        train_final(final, winner(problem, run), tmp_path, before=lambda *which: said.append(which))
    if not torch.cuda.is_available():
        elsewhere = final_problem(
            problem, [SMALL, ("--set", {"evaluator": {"device": "cuda"}})], "final"
        )
        with pytest.raises(InputError, match="no such device"):
            train_final(
                elsewhere, winner(problem, run), None, before=lambda *which: said.append(which)
            )
    assert not said


def test_a_run_that_can_only_be_read_is_said_to_keep_nothing(
    problem: Problem, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(**more: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    said: list[tuple[bool, bool, int]] = []
    final, genotype = final_problem(problem, [SMALL], "final"), winner(problem, run)
    with monkeypatch.context() as patch:
        patch.setattr("evoml.search.winner.TemporaryFile", no)
        train_final(final, genotype, tmp_path, before=lambda *which: said.append(which))
    assert said == [(True, False, 0)] and kept(tmp_path, genotype) is None
    for _ in range(2):
        train_final(final, genotype, tmp_path, before=lambda *which: said.append(which))
    assert said[1:] == [(True, True, 0), (False, False, 0)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--set", "space.blocks=3"],
            (
                "--set space.blocks: an evaluation takes task.*, evaluator.*, space.skeleton.*, "
                "search.seed"
            ),
        ),
        (["--set", "strategy.population=3"], "--set strategy.population: an evaluation takes"),
        (["--set", "workers=3"], "--set workers: an evaluation takes"),
        (["--set", "evaluator.epochs=0"], "evaluator.epochs: 0: "),
        (["--set", "evaluator.device=cuda:77"], "evaluator.device: cuda:77: "),
        (["--task", "images", "--data", "nowhere.npz"], "nowhere.npz: no such file"),
        (["--preset", "paper"], "--preset paper: must be final"),
    ],
)
def test_bad_evaluations_are_one_line(
    arguments: list[str], says: str, problem: Problem, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "cell.toml").write_text(problem.space.format(winner(problem, run)))
    done = evoml("evaluate", tmp_path / "cell.toml", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert says in done.stderr


def test_the_skeleton_of_a_file_s_architecture_can_be_set(
    problem: Problem, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "cell.toml").write_text(problem.space.format(winner(problem, run)))
    sets = (
        "space.skeleton.cells=0",
        "space.skeleton.filters=2",
        "evaluator.epochs=1",
        "task.examples=120",
    )
    done = evoml(
        "evaluate", tmp_path / "cell.toml", *(part for text in sets for part in ("--set", text))
    )
    assert done.returncode == 0, done.stderr
    assert "cells 0, filters 2" in done.stderr and "test accuracy" in done.stdout


def test_another_test_part_is_another_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 4, 4), np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "train.npz", images=images, labels=labels)
    np.savez(tmp_path / "test.npz", images=images[::-1], labels=labels)
    values = TINY | {
        "task": {
            "name": "images",
            "data": str(tmp_path / "train.npz"),
            "test_data": str(tmp_path / "test.npz"),
        }
    }
    before = Problem(build(("test", values))).data_digest
    np.savez(tmp_path / "test.npz", images=images[::-1], labels=labels[::-1])
    assert Problem(build(("test", values))).data_digest != before


def test_a_table_run_is_trained_on_images_that_are_named(data_folder: Path) -> None:
    values = {
        "space": {"name": "nasbench201"},
        "evaluator": {"name": "table"},
        "task": {"data": str(data_folder / "nasbench201_cifar10.npz")},
    }
    problem = Problem(build(("test", values)))
    with pytest.raises(InputError, match="--task"):
        final_problem(problem, [], "final")
    assert (
        final_problem(problem, [("flags", {"task": {"name": "digits"}})], "final").config.name(
            "evaluator"
        )
        == "training"
    )
