"""Textbook methods on a table, which a network that was evolved is held against."""

import warnings

import numpy as np

NEIGHBOURS = 5
MOST = 50_000  # rows that are learned from, so that it takes seconds


def predictions(
    x: np.ndarray, y: np.ndarray, asked: np.ndarray, classes: bool
) -> dict[str, np.ndarray]:
    """What each method says of the rows `asked` [M, I], by its name: classes [M] or numbers [M, O].

    x: [N, I], standardised. y: [N] classes, or [N, O] numbers.
    """
    from sklearn import dummy, ensemble, linear_model, multioutput, neighbors

    rows = np.random.default_rng(0).permutation(len(x))[:MOST]
    x, y = x[rows], y[rows]
    count = min(NEIGHBOURS, len(x))
    methods = (
        {
            "majority class": dummy.DummyClassifier(),
            "logistic regression": linear_model.LogisticRegression(max_iter=1000),
            f"{count} nearest neighbours": neighbors.KNeighborsClassifier(count),
            "gradient boosting": ensemble.HistGradientBoostingClassifier(random_state=0),
        }
        if classes
        else {
            "mean": dummy.DummyRegressor(),
            "linear regression": linear_model.LinearRegression(),
            f"{count} nearest neighbours": neighbors.KNeighborsRegressor(count),
            "gradient boosting": multioutput.MultiOutputRegressor(
                ensemble.HistGradientBoostingRegressor(random_state=0)
            ),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that rounds are bounded, or a class is rare
        return {name: method.fit(x, y).predict(asked) for name, method in methods.items()}
