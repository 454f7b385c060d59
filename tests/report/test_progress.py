"""What is shown while a search runs."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from evoml.contracts.executor import Stage
from evoml.contracts.objective import Objective
from evoml.core.wording import duration
from evoml.report._progress import Display, curve_of
from evoml.search.run import Progress

OBJECTIVES = (Objective("accuracy", True), Objective("parameters", False, unit="parameters"))
STAGES = {20: Stage(30, 100, 2, 6, 10.0), 21: Stage(60, 100, 4, 6, 10.0), 22: None}


def progress(told: int = 0, **values: Any) -> Progress:
    nothing = float("nan")
    known = {"best": nothing, "selected": nothing, "champion": "", "mean": nothing, "counts": {}}
    return Progress(told, 12.0, 0, **(known | values))


def lines(*shown: Progress, budget: int = 100) -> list[str]:
    """What a pipe is told."""
    out = StringIO()
    display = Display("toy", OBJECTIVES, budget, 0.0, Console(file=out, width=300), steady=True)
    for each in shown:
        display(each)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1.2, "1 s"),
        (99, "99 s"),
        (150, "2.5 min"),
        (3000, "50 min"),
        (7200, "2 h"),
        (1e6, "12 days"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_first_line_comes_at_once_and_says_what_is_trained() -> None:
    (line,) = lines(progress(stages=STAGES), progress(stages=STAGES))
    assert "0 of 100 candidates" in line
    assert "training 20, 21 and 22, epoch 2 of 6, step 30 of 100" in line
    assert "nan" not in line


def test_the_size_of_the_job_is_said_once_it_is_known() -> None:
    first, known = progress(), progress(each=150.0, workers=2, stages=STAGES, left=7500.0)
    said = lines(first, known, known)
    assert len(said) == 3
    assert said[1].startswith("about 2.5 min a candidate, 100 candidates: about 2.1 h on 2 workers")
    assert "--seconds" in said[1] and said[2].endswith("about 2.1 h left")


def test_the_panel_fits_eighty_columns_and_has_a_curve_and_the_best() -> None:
    out = StringIO()
    console = Console(file=out, width=200, force_terminal=True, color_system=None)
    display = Display("toy", OBJECTIVES, 100, 0.0, console, steady=True)
    for told, best in ((1, 0.5), (10, 0.75), (20, 1.0)):
        p = progress(
            told, best=best, selected=best, champion="text", stages=STAGES, left=60.0, share=0.2,
            leaders=[(7, (best, 1234.0))],
        )  # fmt: skip
        display(p)
    console.print(display._panel(p))
    panel = out.getvalue()[out.getvalue().rindex("╭") :].splitlines()
    assert {len(line) for line in panel} == {80}
    text = "\n".join(panel)
    assert "20%, 60 s left" in text and "0.5000 to 1.0000" in text and "1,234" in text
    assert "text" not in text.replace("context", "")


def test_a_curve_goes_from_the_least_to_the_most() -> None:
    assert curve_of([(0, 0.0), (5, 0.5), (10, 1.0)], 10) == "▁▁▁▁▅▅▅▅▅█"
    assert curve_of([(0, 2.0), (10, 2.0)], 4) == "▁▁▁▁"
