"""Binary image classification: two classes of an image set, seen through a random Gaussian
projection.

Real, Liang, So, Le, "AutoML-Zero: Evolving Machine Learning Algorithms From Scratch", ICML 2020,
arXiv 2003.03384, section 4.2; the recipe is the published script's. A task is a pair of classes and
a projection seed. Raw pixels are multiplied by a [pixels, F] matrix of N(0, 1) numbers that the
seed gives, then standardised by the training examples; label 1 is the pair's first class.

Departures: the images of a class are split once, for all pairs and runs, 80 / 10 / 10, so that the
test part, on which `test` alone is measured, is in no search or selection task of any pair; and
every task has its own projection seed, of up to ten digits. Images of two classes are one pair, for
search, selection and test alike; then each of the three is measured on a tenth of its own.

Without `data` the images are scikit-learn's 8 x 8 digits. `data` is an .npz with `images` and
`labels`, or with ready tasks (`pos`, `neg`, `seed`, and `_x` and `_y` of `train`, `valid`, `test`).
Ready tasks are used as they are, one or more a pair: asking for more tasks than a group has gives
as many as it has. They were split a task at a time, so there an image of one pair's test part may
be a training image of another pair; all tasks of a pair are in one group. A file of fewer than
three pairs, or of the paper's nine held-out ones, is for the test alone.
"""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from evoml.contracts.objective import ACCURACY
from evoml.contracts.task import TaskSet
from evoml.core.errors import InputError
from evoml.tasks import _families
from evoml.tasks._class_pairs import Pair, Source, listed, own_images, read
from evoml.tasks._families import Split

TaskCount = Annotated[
    int,
    Field(ge=0, le=100_000, description="number of tasks; 0 is one for every pair of the group"),
]
Pairs = tuple[tuple[int, int], ...]


class SearchSizes(_families.Sizes):
    """10 tasks of at most 8000 + 1000 examples; all there are, where a pair has fewer."""

    tasks: TaskCount = 10
    train: _families.Train = 8000
    valid: _families.Valid = 1000


class SelectSizes(SearchSizes):
    """9 tasks."""

    tasks: TaskCount = 9


class TestSizes(SearchSizes):
    """A task for every test pair."""

    __test__ = False  # not a test of pytest's

    tasks: TaskCount = 0


class Settings(_families.FamilySettings):
    """F = 16 and the published sizes, which are maxima; the pairs of classes divide themselves into
    three groups.
    """

    features: int = Field(
        default=16, ge=1, le=1024, description="F, the length of a projected image"
    )
    search: SearchSizes = Field(
        default=SearchSizes(),
        description="tasks that candidates are scored on, fresh in each experiment",
    )
    select: SelectSizes = Field(
        default=SelectSizes(), description="tasks that choose among the best of the experiments"
    )
    test: TestSizes = Field(
        default=TestSizes(),
        description="tasks of the reported result, on images that no other task holds",
    )
    search_pairs: Pairs = Field(
        default=(),
        description="pairs of class labels, such as [[3, 8]], to search on; empty is the automatic "
        "division",
    )
    select_pairs: Pairs = Field(
        default=(),
        description="pairs of class labels, such as [[3, 8]], to select on; empty is the automatic "
        "division",
    )
    test_pairs: Pairs = Field(
        default=(),
        description="pairs of class labels, such as [[3, 8]], to test on; empty is the automatic "
        "division",
    )


class ProjectedBinaryTask(_families.Family):
    """Tasks of pairs of classes; every search has its own pairs and projections, and only the test
    set measures on the test part.
    """

    kind: ClassVar[Literal["classification"]] = "classification"
    objective = ACCURACY
    scaling = (
        "Features were pixels @ RandomState(seed).randn(pixels, F), less the mean and over the "
        "deviation of the training examples."
    )

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """Read the images once.

        Raises InputError for a bad file, and for pairs and features that do not fit it.
        """
        self.settings, self.seed = settings, seed
        self._source = own_images() if data is None else read(Path(data))
        self._source.check(settings.features)
        given = {split.key: getattr(settings, f"{split.key}_pairs") for split in Split}
        # keys search, select, test
        self.pairs: dict[str, tuple[Pair, ...]] = override(self._source, given)

    def _tasks(self, sizes: _families.Sizes, split: Split, experiment: int = 0) -> TaskSet:
        source = self._source
        held = source.held(split.key)
        drawn = self._draw(sizes, split, experiment)
        n = min(sizes.train, *(source.count(pair, "train") for pair, _ in drawn))
        m = min(sizes.valid, *(source.count(pair, held) for pair, _ in drawn))
        train_x, valid_x = (np.empty((len(drawn), size, self.settings.features)) for size in (n, m))
        train_y, valid_y = (np.empty((len(drawn), size)) for size in (n, m))
        names = []
        for index, (pair, variant) in enumerate(drawn):
            rng = _families.generator(self.seed, split, experiment, index)
            projection = _families.task_seed(self.seed, split, experiment, index, bits=32)
            raw, train_y[index] = source.examples(pair, variant, "train", rng, n)
            raw_valid, valid_y[index] = source.examples(pair, variant, held, rng, m)
            train_x[index], valid_x[index] = source.features(
                raw, raw_valid, projection, self.settings.features
            )
            names.append(source.name(pair, variant, projection))
        seeds = _families.task_seeds(self.seed, split, experiment, len(drawn))
        return TaskSet(self.kind, train_x, train_y, valid_x, valid_y, tuple(names), seeds)

    def _draw(
        self, sizes: _families.Sizes, split: Split, experiment: int
    ) -> list[tuple[Pair, int]]:
        """The pairs of a set, each with the number of its data set: drawn without replacement, then
        again from the first. Raises InputError where the group has none.
        """
        group = [
            (pair, variant)
            for pair in self.pairs[split.key]
            for variant in range(self._source.variants(pair))
        ]
        if not group:
            raise InputError(self._why_none(split))
        tasks = sizes.tasks or len(group)
        if not self._source.repeats:
            tasks = min(tasks, len(group))
        order = _families.generator(self.seed, split, experiment).permutation(len(group))
        return [group[place] for place in np.resize(order, tasks)]

    def _why_none(self, split: Split) -> str:
        where, automatic = self._source.where, self._source.divide()
        if automatic[split.key]:
            return (
                f"{split.key}_pairs: the other groups take all pairs of the automatic division; "
                "give some here"
            )
        count = len(self._source.pairs)
        return (
            f"{split.key}_pairs: {where} has {count} pair{'s' * (count != 1)} of classes, which "
            "the automatic division gives to the test; name pairs for search and select (3 pairs "
            "are needed), or search on another file and evaluate on this one"
        )


def override(source: Source, given: Mapping[str, tuple[Pair, ...]]) -> dict[str, tuple[Pair, ...]]:
    """The division in which given groups replace automatic ones, which lose the pairs that a given
    group takes; where one pair is all there is, every group has it.

    A group may be left empty, but for the test's. Raises InputError.
    """
    known, classes = {frozenset(pair) for pair in source.pairs}, sorted(set(chain(*source.pairs)))
    automatic = source.divide()
    shared = set(automatic["search"]) & set(automatic["test"])
    owner: dict[frozenset[int], str] = {}
    for key, pair in ((f"{group}_pairs", pair) for group, pairs in given.items() for pair in pairs):
        shown = f"{pair[0]}-{pair[1]}"
        for label in pair:
            if label not in classes:
                raise InputError(
                    f"{key}: {shown}: no class {label} in {source.where}; there are "
                    f"{listed(classes)}"
                )
        if frozenset(pair) not in known:
            what = (
                "a pair is of two classes"
                if pair[0] == pair[1]
                else f"no task of this pair in {source.where}"
            )
            raise InputError(f"{key}: {shown}: {what}")
        if not shared and frozenset(pair) in owner:
            raise InputError(
                f"{key}: {shown} is also in {owner[frozenset(pair)]}; a pair may stand once, in "
                "one group"
            )
        owner[frozenset(pair)] = key
    groups = {
        group: given[group]
        or tuple(pair for pair in pairs if shared or frozenset(pair) not in owner)
        for group, pairs in automatic.items()
    }
    if not groups["test"]:
        raise InputError(
            "test_pairs: the other groups take all pairs of the automatic division; give some here"
        )
    return groups
