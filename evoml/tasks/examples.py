"""Examples to learn by evolution: any table, from an .npz, a CSV or a Parquet file.

An .npz has arrays `inputs` [N, I] and `targets` [N] or [N, O] (`x` and `y` will do); of a CSV or
Parquet file, the target is the last column or what `target` names, and all others are inputs.
Inputs are standardised with mean and deviation of the training part; so are the targets of a
regression, which networks are to answer with outputs of any size (`scaling` has another way). In
classification there is one output a class and the largest wins; of two classes there is one output,
the second class being above 0.5. `Units` says all of this of one table, so that what leaves evoml
takes and gives the table's own values. Another table is measured as the one that was learned from.
Programs that learn have tasks of the table's rows (`_table_tasks`), with the same three parts.
"""

from copy import copy
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from evoml.contracts.task import Task, TrialResult, Trials
from evoml.core.errors import InputError
from evoml.core.wording import one_line
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.tasks._table_columns import (
    class_values,
    encoded,
    filled,
    inputs_of,
    labels_of,
    names_of,
    numbers,
    refuse_holes,
    rows,
    said,
)
from evoml.tasks._table_files import Columns, read
from evoml.tasks._table_settings import TableSettings
from evoml.tasks._table_tasks import ProgramSettings, TableTasks
from evoml.tasks._table_units import Units
from evoml.tasks._trials import as_result, check_shape, outputs_of

FEW = 20  # whole numbers of so many values at most, each twice, are taken for classes
MOST_CLASSES = 1000
REMARK = 240  # characters of a line that is said of a table
# outputs that stand for the least and the greatest target where they are scaled by their range
LOW, HIGH = 0.1, 0.9
MEANING = {
    "accuracy": "share of the rows whose class is right",
    "r2": "share of the targets' variance that is explained: 1 is perfect, 0 the mean",
    "rmse": "root mean squared error, in the target's unit",
}


class Settings(TableSettings):
    """Which column is the target, and how the examples are divided."""

    kind: Literal["auto", "regression", "classification"] = Field(
        default="auto",
        description="auto: classification where the target is text, true or false, or whole "
        "numbers of at most 20 values, each in two rows at least; others are a regression",
    )
    scaling: Literal["standard", "range"] = Field(
        default="standard",
        description="of a regression's targets: standard: an output of 0 is their mean, 1 a "
        "deviation above it, and output nodes do not squash; range: 0.1 is the least and 0.9 the "
        "greatest, and output nodes are sigmoids. Both in the training part",
    )
    valid: float = Field(
        default=0.2, gt=0, lt=0.8, description="share of the examples that choose among champions"
    )
    test: float = Field(
        default=0.2,
        gt=0,
        lt=0.8,
        description="share of the examples that the reported result is measured on",
    )
    split_seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="of the division; apart from the run's seed, so that runs share a test part",
    )
    sweeps: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="sweeps of a recurrent network on each example, from zero memory",
    )
    dtype: Literal["float32", "float64"] = Field(
        default="float64", description="precision of the networks in the search"
    )
    features: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="of programs: F, so many random projections of the inputs; 0: the inputs",
    )
    programs: ProgramSettings = Field(
        default=ProgramSettings(),
        description="of programs: tasks made of the rows, and their sizes",
    )


class Examples(Trials):
    """Some of the examples: inputs [N, I] standardised, and targets as the outputs should be, [N,
    O].
    """

    def __init__(
        self, task: "ExamplesTask", rows: np.ndarray, final: bool, tested: bool = False
    ) -> None:
        """final: whether champions are scored. tested: whether it is the test, with more scores."""
        self.task, self.final, self.tested = task, final, tested
        self.inputs, self.outputs = task.x.shape[1], task.y.shape[1]
        self.x, self.y = task.x[rows], task.y[rows]
        self.labels = task.labels[rows]
        errors = (
            [f"mean_squared_error_of_{name}" for name in task.targets]
            if self.outputs > 1
            else ["mean_squared_error"]
        )
        self.names: tuple[str, ...] = ("fitness", *errors)
        if tested:
            self.names += ("r2", *(name.replace("mean_squared_error", "rmse") for name in errors))
        if task.classes:
            self.names = ("accuracy", "fitness") if final else ("fitness", "accuracy")
        self.meaning = MEANING | {
            "fitness": "1 less the mean squared error of the outputs: what the search maximises"
            if task.classes
            else "1 / (1 + mean squared error / variance): what the search maximises"
        }

    def run(self, graphs: NeuronGraphs, backend: str, workers: int = 1) -> TrialResult:
        """Regression: 1 / (1 + mean squared error in units of the training targets' variance), and
        the mean squared error of every target in its own unit. Classification: 1 less the mean
        squared error of the outputs, and accuracy, which is first where this is a test.
        """
        check_shape(graphs, self.inputs, self.outputs)
        scores = np.empty((len(graphs), len(self.names)))

        def take(first: int, last: int, outputs: np.ndarray) -> None:
            with np.errstate(all="ignore"):  # outputs of any size, whose score is then not finite
                scores[first:last] = self.scores(np.asarray(outputs, np.float64))

        dtype = "float64" if self.final else self.task.settings.dtype
        return as_result(
            scores,
            outputs_of(graphs, self.x, backend, workers, take, self.task.settings.sweeps, dtype),
        )

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        """What outputs are worth. [P, N, O] -> [P, names]"""
        if not self.task.classes:
            errors = ((outputs - self.y) ** 2).mean(1)
            loss = (errors / self.task.unit**2).mean(1)
            columns = [
                np.where(np.isfinite(loss), 1 / (1 + loss), np.nan)[:, None],
                errors * self.task.scale**2,
            ]
            if self.tested:
                spread = self.y.var(0)  # 0: a constant, of which there is nothing to explain
                explained = 1 - (errors / np.where(spread > 0, spread, np.nan)).mean(1)
                columns += [explained[:, None], np.sqrt(errors) * self.task.scale]
            return np.hstack(columns)
        loss = ((outputs - self.y) ** 2).mean((1, 2))
        guess = (
            outputs.argmax(2) if self.y.shape[1] > 1 else (outputs[..., 0] > 0.5).astype(np.int64)
        )
        accuracy = np.where(np.isfinite(loss), (guess == self.labels).mean(1), np.nan)
        return np.stack([accuracy, 1 - loss] if self.final else [1 - loss, accuracy], 1)


class ExamplesTask(Task):
    """One table in three parts: search learns from the first, champions are chosen on the second
    and reported on the third.
    """

    example = None
    kind = "trials"
    tests_other_data = True

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """Read and divide the examples. `seed` changes nothing. Raises InputError."""
        if data is None:
            raise InputError(
                "data: task examples has none of its own; give a .npz, .csv or .parquet file"
            )
        self.settings, self.seed = settings, seed
        columns = read(Path(data), settings)
        self.where, self._nothing = columns.where, columns.nothing
        self._table = inputs_of(columns, settings)
        self.targets = tuple(columns.targets)
        self.classes: tuple[str, ...] = ()
        self._values: tuple[Any, ...] = ()  # the same as the table has them
        raw = encoded(columns, self._table, settings)
        classifies = self._classifies(columns)
        self.labels, targets = self._labels_and_targets(columns, classifies)
        kept = self._with_values(columns, raw, self.labels, targets)
        raw, targets, self.labels = raw[kept], targets[kept], self.labels[kept]
        if classifies:
            self._check_classes()
        self._parts = divide(self.labels, settings, self._class)
        raw = self._of_training(raw)
        self.columns, _ = names_of(self._table)
        raw, self._fill = filled(self.where, self._table, raw, self._parts[0], settings)
        train = raw[self._parts[0]]
        self.mean, deviation = train.mean(0), train.std(0)  # [I] each
        # a constant column: its inputs are 0
        constant = deviation <= 1e-12 * np.abs(self.mean)
        self.deviation = np.where(constant, 1.0, deviation)
        self.x = (raw - self.mean) / self.deviation
        if constant.any():
            at, more = int(constant.argmax()), int(constant.sum()) - 1
            columns.remarks.append(
                f"column {said(self.columns[at])}{f' (and {more:,} more)' * (more > 0)}: "
                + (
                    "the same"
                    if np.ptp(train[:, at]) == 0
                    else "too little differs beside its size"
                )
                + " in every training row, so it says nothing"
            )
        self.remarks = tuple(one_line(each, REMARK) for each in columns.remarks)
        self.y, self.offset, self.scale, self.unit = (
            self._one_hot(self.labels) if self.classes else self._scaled(targets)
        )
        self.inputs, self.outputs = self.x.shape[1], self.y.shape[1]
        # of the output nodes, where nothing else is said
        self.output = "sigmoid" if self.classes or settings.scaling == "range" else "identity"

    def tested_on(self, data: Path) -> "ExamplesTask":
        """The same task, whose test are all rows of another table: columns, classes, scales and
        what fills holes are those of this one. Raises InputError.
        """
        settings = self.settings
        if data.suffix.lower() != ".npz":  # by their names, wherever they are
            settings = settings.model_copy(update={"target": ",".join(self.targets)})
        columns = read(data, settings)
        missing = [name for name in self._table if name not in columns.inputs]
        if missing or tuple(columns.targets) != self.targets:
            name = (missing or list(self.targets))[0]
            raise InputError(
                f"{data}: no column {said(name)!r}; there must be those of {self.where}, which the "
                "candidate has learned from"
            )
        raw = encoded(columns, self._table, settings)
        if self.classes:
            ((name, target),) = columns.targets.items()
            labels = labels_of(columns.where, name, target, settings, self._values)
            targets = np.zeros((len(raw), 0))
        else:
            labels, targets = self._labels_and_targets(columns, False)
        kept = self._with_values(columns, raw, labels, targets)
        raw, labels, targets = raw[kept], labels[kept], targets[kept]
        if self._fill:
            raw = np.where(np.isnan(raw), self._fill, raw)
        refuse_holes(columns.where, self._table, np.isnan(raw))
        y = self._one_hot(labels)[0] if self.classes else (targets - self.offset) / self.scale
        out = copy(self)
        out.x = np.vstack([self.x, (raw - self.mean) / self.deviation])
        out.y, out.labels = np.vstack([self.y, y]), np.concatenate([self.labels, labels])
        out._parts = (*self._parts[:2], np.arange(len(self.x), len(out.x)))
        out.remarks = tuple(one_line(each, REMARK) for each in columns.remarks)
        return out

    @property
    def units(self) -> Units:
        """What inputs and outputs stand for."""
        mean, deviation, offset, scale = (
            tuple(each.tolist()) for each in (self.mean, self.deviation, self.offset, self.scale)
        )
        return Units(
            self.columns,
            mean,
            deviation,
            self.targets,
            offset,
            scale,
            self._values,
            self.settings.sweeps,
            self._table,
            self._fill,
            (*self._nothing, *self.settings.markers),
        )

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of training, selection and test part."""
        return self._parts

    @classmethod
    def tasks_in(cls, settings: Settings) -> int:  # type: ignore[override]
        return settings.programs.search.tasks

    def for_programs(self) -> TableTasks:
        """Tasks of the table's rows."""
        return TableTasks(self)

    def search(self, experiment: int = 0) -> Examples:
        """The training part; the same in every experiment."""
        if self.settings.features:
            raise InputError(
                f"task.features: {self.settings.features}: is for programs; networks of neurons "
                "take the inputs as they are: leave it out"
            )
        return Examples(self, self._parts[0], False)

    def select(self) -> Examples:
        """The selection part."""
        return Examples(self, self._parts[1], True)

    def test(self) -> Examples:
        """The test part, which neither search nor selection saw."""
        return Examples(self, self._parts[2], True, True)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Textbook methods, which learn from the training and selection parts."""
        from evoml.tasks._table_baselines import predictions

        rows, test = np.concatenate(self._parts[:2]), self.test()
        learned = self.labels if self.classes else self.y
        out = {}
        for name, guess in predictions(
            self.x[rows], learned[rows], test.x, bool(self.classes)
        ).items():
            if self.classes:
                out[name] = {"accuracy": float((guess == test.labels).mean())}
            else:
                scores = test.scores(guess.reshape(1, *test.y.shape))[0]
                out[name] = dict(zip(test.names, map(float, scores), strict=True))
        return out

    def _classifies(self, columns: Columns) -> bool:
        if self.settings.kind != "auto" or len(columns.targets) > 1:
            if self.settings.kind == "classification" and len(columns.targets) > 1:
                raise InputError(
                    f"{self.where}: {len(columns.targets)} targets ({', '.join(columns.targets)}); "
                    "classification has one"
                )
            return self.settings.kind == "classification"
        (target,) = columns.targets.values()
        if target.dtype.kind in ("iuf" if self.settings.infers else "iu"):
            known = target[~np.isnan(target) & ~np.isin(target, self.settings.markers)]
            with np.errstate(invalid="ignore"):
                whole = bool((known == np.round(known)).all())
            _, counts = np.unique(known, return_counts=True)
            return whole and 1 < len(counts) <= FEW and bool(counts.min() > 1)
        return target.dtype.kind != "f"

    def _labels_and_targets(
        self, columns: Columns, classifies: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Every row's class [N], -1 where there is none, and in regression its targets [N, O]."""
        count = len(next(iter(columns.targets.values())))
        if not classifies:
            numeric = [
                numbers(columns.where, name, column, self.settings, columns.remarks)
                for name, column in columns.targets.items()
            ]
            return np.zeros(count, np.int64), np.stack(numeric, 1)
        ((name, target),) = columns.targets.items()
        values, labels = class_values(columns.where, name, target, self.settings)
        self._values = tuple(values.tolist())
        self.classes = tuple(map(str, self._values))
        return labels, np.zeros((count, 0))

    def _with_values(
        self, columns: Columns, raw: np.ndarray, labels: np.ndarray, targets: np.ndarray
    ) -> np.ndarray:
        """Which rows can be taken [N]. Raises InputError where a row without its target is not to
        be left out.
        """
        none = (labels < 0) | np.isnan(targets).any(1)
        if self.settings.missing != "drop":
            if none.any():
                raise InputError(
                    f"{columns.where}: column {said(', '.join(self.targets))}: no value in row "
                    f"{none.argmax()} of the data ({rows(none)}); every example must have its "
                    "target: task.missing=drop leaves such rows out; where NA and the like are "
                    "values: task.missing_values=[]"
                )
            return np.ones(len(raw), bool)
        left: np.ndarray = ~(none | np.isnan(raw).any(1))
        if not left.any():
            raise InputError(f"{columns.where}: every row lacks a value; take task.missing=mean")
        if not left.all():
            columns.remarks.append(
                f"{int((~left).sum()):,} of {len(left):,} rows lack a value: left out "
                "(task.missing)"
            )
        return left

    def _of_training(self, raw: np.ndarray) -> np.ndarray:
        """Inputs without those of texts that no training row has, nor does the table know these any
        more.
        """
        _, owners = names_of(self._table)
        text = np.array([self._table[owner] is not None for owner in owners])
        unseen = text & ~(raw[self._parts[0]] > 0).any(0)
        for name, values in self._table.items():
            if values is None:
                continue
            mine = [at for at, owner in enumerate(owners) if owner == name]
            if unseen[mine].all():
                raise InputError(
                    f"{self.where}: column {said(name)}: no value in any training row; leave it "
                    "out: task.ignore"
                )
            self._table[name] = tuple(
                value for at, value in zip(mine, values, strict=True) if not unseen[at]
            )
        return raw[:, ~unseen]

    def _check_classes(self) -> None:
        many, name = len(self._values), said(self.targets[0])
        if many > max(FEW, len(self.labels) / 2) and isinstance(self._values[0], str):
            raise InputError(
                f"{self.where}: column {name}: text of {many:,} different values, such as "
                f"{one_line(repr(self._values[0]), 40)}, which cannot be classes; numbers must be "
                "without units"
            )
        if not 2 <= many <= MOST_CLASSES:
            raise InputError(
                f"{self.where}: column {name}: {many} class{'es' * (many != 1)}; there "
                f"must be 2 to {MOST_CLASSES}"
            )

    def _class(self, label: int) -> str:
        """What examples of a label are called in a message."""
        return f"{self.where}: class {self.classes[label]}" if self.classes else self.where

    def _one_hot(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        one_hot = np.eye(len(self.classes))[labels]
        y = one_hot if len(self.classes) > 2 else one_hot[:, 1:]
        count = y.shape[1]
        return y, np.zeros(count), np.ones(count), np.ones(count)

    def _scaled(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Targets as outputs, then what makes targets of outputs, offset and scale [O], and the
        training targets' deviation as outputs [O].
        """
        train = raw[self._parts[0]]
        low, high = train.min(0), train.max(0)
        if (constant := high <= low).any():
            name = self.targets[int(constant.argmax())]
            raise InputError(
                f"{self.where}: column {name}: {low[constant.argmax()]:g} in every example of the "
                "training part; nothing to learn"
            )
        if self.settings.scaling == "standard":
            scale, offset = train.std(0), train.mean(0)
        else:
            scale = (high - low) / (HIGH - LOW)
            offset = low - LOW * scale
        return (raw - offset) / scale, offset, scale, train.std(0) / scale


def divide(
    labels: np.ndarray, settings: Settings, name: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of training, selection and test part, by label.

    Raises InputError for a label of fewer than 3 rows; `name(label)` begins the message.
    """
    parts: list[list[np.ndarray]] = [[], [], []]
    if settings.valid + settings.test >= 1:
        raise InputError(
            f"task.test: {settings.test}: with {settings.valid} for selection nothing is left to "
            "learn from; both together must be below 1"
        )
    for label in range(int(labels.max()) + 1):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 3:
            raise InputError(
                f"{name(label)}: {len(rows)} example{'s' * (len(rows) != 1)}; 3 are needed, to "
                "learn, to select and to test"
            )
        rows = np.random.default_rng([settings.split_seed, label]).permutation(rows)
        test = max(1, min(len(rows) - 2, round(settings.test * len(rows))))
        valid = max(1, min(len(rows) - 1 - test, round(settings.valid * len(rows))))
        for part, piece in zip(
            parts, np.split(rows, [len(rows) - test - valid, len(rows) - test]), strict=True
        ):
            part.append(piece)
    train, valid_rows, test_rows = (np.sort(np.concatenate(part)) for part in parts)
    return train, valid_rows, test_rows
