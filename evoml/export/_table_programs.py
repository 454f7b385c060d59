"""A program of a table as a module: rows and answers as the table has them.

Several classes are told apart by a vote of all pairs, each with a memory of its own, as the table's
test does.
"""

from collections.abc import Iterable
from textwrap import indent

from evoml.export import _programs
from evoml.export._neurons import FEW, encoder, encoder_constants, scaled_row, tupled
from evoml.export._texts import escaped
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.programs import Memory
from evoml.tasks._table_tasks import TableTasks
from evoml.tasks._table_units import Units

# what of the program itself is called in the module
_NAMES = {
    "reset": "reset_program",
    "train": "train_on_features",
    "prediction": "prediction_of_features",
    "predictions": "predictions_of_features",
    "fit": "fit_features",
}

_USE = """\
A learning algorithm found by evoml, for a table whose rows are sequences of {columns}.
`fit(rows, targets)` learns from nothing as evoml did, in {epochs} epoch{plural}; `train(rows, targets)` learns from rows in order on top of what is
known; `prediction(row)` and `predictions(rows)` answer with {answers}; `reset(seed)` forgets everything."""  # noqa: E501

_TABLE = '''

# Of the table: what a row holds, in this order, and the mean and deviation of each column in evoml's training part.
{constants}{matrix}
{encoder}

def scaled(rows):
    """The features [N, F] of rows as the table has them."""
    out = []
    for row in rows:
{scaled}
        out.append(inputs)
    x = np.array(out, np.float64).reshape(-1, len(MEAN))
    return {features}

'''  # noqa: E501

_STANDARDISED = '''
def standardised(x, learn=False):
    """Features less the mean and over the deviation of the examples that are learnt first."""
    global CENTRE, SPREAD
    if learn and CENTRE is None and len(x):
        CENTRE, SPREAD = x.mean(axis=0), x.std(axis=0)
        SPREAD[SPREAD <= 1e-12 * np.abs(CENTRE)] = 1.0
    if CENTRE is None:
        raise RuntimeError("nothing is known yet: call train or fit, with rows of every class")
    return (x - CENTRE) / SPREAD

'''
_AS_THEY_ARE = '''
def standardised(x, learn=False):
    """Features as they are: `scaled` has seen to it."""
    return x

'''

_CLASS = '''
def labels(targets):
    """The places of classes in CLASSES, [N]."""
    if unknown := [each for each in targets if each not in CLASSES]:
        raise ValueError(f"{unknown[0]!r} is no class; there are {CLASSES}")
    return np.array([CLASSES.index(each) for each in targets], np.int64)


def answers(probabilities):
    """Classes as the table has them, for probabilities of the second."""
    return [CLASSES[int(each > 0.5)] for each in probabilities]

'''
_NUMBER = '''
def labels(targets):
    """Targets as the program sees them, [N]."""
    return (np.asarray(targets, np.float64) - OFFSET[0]) / SCALE[0]


def answers(labels):
    """Numbers in the target's unit."""
    return [float(OFFSET[0] + SCALE[0] * each) for each in labels]

'''

_ONE = '''
def reset(seed=SEED):
    """Forget everything."""
    global CENTRE, SPREAD
    CENTRE = SPREAD = None
    reset_program(seed)


def train(rows, targets):
    """Learn from rows with their targets, one after the other, on top of what is known."""
    train_on_features(standardised(scaled(rows), learn=True), labels(targets))


def predictions(rows):
    """{given} for rows of the table, one after the other: a list."""
    return answers(predictions_of_features(standardised(scaled(rows))))


def prediction(row):
    """{given} for one row of the table."""
    return predictions([row])[0]


def fit(rows, targets, validation=(), epochs={epochs}, seed=SEED):
    """Learn as evoml does, from nothing. Returns the answers for the rows `validation` after every epoch: a list of lists."""
    reset(seed)
    x = standardised(scaled(rows), learn=True)
    found = fit_features(x, labels(targets), standardised(scaled(validation)), epochs, seed)
    return [answers(each) for each in found]


reset()
'''  # noqa: E501

_VOTE = '''
PAIRS = [(a, b) for a in range(len(CLASSES)) for b in range(a + 1, len(CLASSES))]
# of the noise and the order of later epochs, one a pair
{seeds}
MEMORY = {{}}  # of every pair: what its program knows


def load(pair):
    globals().update(MEMORY[pair])


def keep(pair):
    MEMORY[pair] = {{name: globals()[name] for name in ({state})}}


def reset():
    """Forget everything."""
    global CENTRE, SPREAD
    for pair, seed in zip(PAIRS, SEEDS, strict=True):
        CENTRE = SPREAD = None
        reset_program(seed)
        keep(pair)


def train(rows, targets):
    """Learn from rows with their classes, one after the other, on top of what is known; every pair from those of its two classes."""
    x, label = scaled(rows), labels(targets)
    for pair in PAIRS:
        own = np.isin(label, pair)
        if own.any():
            load(pair)
            train_on_features(standardised(x[own], learn=True), label[own] == pair[1])
            keep(pair)


def voted(probabilities):
    """The classes [N] with most votes, for probabilities [pairs, N] of every pair's second; ties go to the first."""
    votes = np.zeros((len(probabilities[0]), len(CLASSES)))
    for pair, each in zip(PAIRS, probabilities, strict=True):
        votes[:, pair[1]] += each > 0.5
        votes[:, pair[0]] += ~(each > 0.5)
    return [CLASSES[each] for each in votes.argmax(axis=1)]


def predictions(rows):
    """{given} for rows of the table: a list."""
    x, found = scaled(rows), []
    for pair in PAIRS:
        load(pair)
        found.append(predictions_of_features(standardised(x)))
        keep(pair)
    return voted(found)


def prediction(row):
    """{given} for one row of the table."""
    return predictions([row])[0]


def fit(rows, targets, validation=(), epochs={epochs}):
    """Learn as evoml does, from nothing. Returns the answers for the rows `validation` after every epoch: a list of lists."""
    x, label, held, found = scaled(rows), labels(targets), scaled(validation), []
    reset()
    for pair, seed in zip(PAIRS, SEEDS, strict=True):
        own = np.isin(label, pair)
        load(pair)
        known = standardised(x[own], learn=True)
        found.append(fit_features(known, label[own] == pair[1], standardised(held), epochs, seed))
        keep(pair)
    return [voted([each[epoch] for each in found]) for epoch in range(epochs)]


reset()
'''  # noqa: E501


def source(genotype: Genotype, tasks: TableTasks, memory: Memory, title: str, epochs: int) -> str:
    """A module with `fit`, `train`, `prediction` and `predictions` for a table's own values.

    genotype: instructions as evoml runs them. epochs: of `fit`, where nothing else is said.
    """
    units: Units = tasks.units
    projection, seeds = tasks.deployed
    votes = len(tasks.pairs) > 1
    constants, scaled = scaled_row(units)
    constants |= _target(units)
    given = "The class" if units.classes else f"The predicted {units.targets[0]}"
    given = "".join(map(escaped, given))
    module, state = _programs.parts(
        genotype, tasks.features, bool(units.classes), memory, title, _use(units, epochs), seeds[0],
        epochs, _NAMES,
    )  # fmt: skip
    matrix = (
        "\n# evoml's projection, of standard normal numbers\n"
        f"MATRIX = np.random.RandomState({projection}).randn(len(MEAN), F)"
        if tasks.settings.features
        else ""
    )
    lines = [line for name, each in constants.items() for line in tupled(f"{name} = ", each)]
    table = _TABLE.format(
        constants="\n".join([*lines, *encoder_constants(units)]),
        encoder=encoder(units, "COLUMNS", "FILL[len(out)]"),
        scaled=indent("\n".join(scaled), " " * 8),
        matrix=matrix,
        features='np.einsum("np,pf->nf", x, MATRIX)' if matrix else "x",
    )
    standardised = _STANDARDISED if tasks.standardises else _AS_THEY_ARE
    target = _CLASS if units.classes else _NUMBER
    names = ", ".join(map(repr, [*state, "CENTRE", "SPREAD"]))
    driver = (_VOTE if votes else _ONE).format(
        epochs=epochs,
        given=given,
        seeds="\n".join(tupled("SEEDS = ", map(str, seeds))),
        state=names,
    )
    return f"{module}{table}{standardised}{target}{driver}"


def _target(units: Units) -> dict[str, Iterable[str]]:
    if units.classes:
        return {"CLASSES": map(ascii, units.classes)}
    return {"OFFSET": map(repr, units.offset), "SCALE": map(repr, units.scale)}


def _use(units: Units, epochs: int) -> str:
    names = [*[*units.table][:FEW], *["..."] * (len(units.table) > FEW)]
    return _USE.format(
        columns="".join(map(escaped, f"({', '.join(names)})")),
        epochs=epochs,
        plural="s" * (epochs > 1),
        answers="the class, as the table has it" if units.classes else "the target, in its unit",
    )
