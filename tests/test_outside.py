"""Parts from outside: the examples of docs/extending.md as they stand there, installed as a third
party's would be and from files, and those that are broken.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import evoml

DOCS = Path(__file__).parents[1] / "docs" / "extending.md"
BLOCKS = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", DOCS.read_text(), re.S))
ROWS = r"\[evoml\.(operations|activations|layers)\]\n.*\n"  # in a file of entry points
PARTS = ("--space", "./bits.py", "--evaluator", "./ones.py", "--task", "./target.py")
RUN = ("--space", "bits", "--strategy", "random_search", "--budget", "30", "--set", "workers=1")


class Outside:
    """A folder on the path, with a distribution in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.has_rows = False  # which are read when evoml's tables are imported

    def write(self, files: dict[str, str], version: str = "1.0", name: str = "toy") -> None:
        """Put modules there; `entry_points.txt` is the distribution's."""
        about = self.folder / f"{name}.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        for file, text in files.items():
            (about if file == "entry_points.txt" else self.folder).joinpath(file).write_text(text)
            self.has_rows |= file == "entry_points.txt" and bool(re.search(ROWS, text))

    def python(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """What `python ...` writes, here."""
        paths = [str(self.folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, text=True, capture_output=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout, done.stderr

    def evoml(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """What a command writes."""
        if self.has_rows:
            return self.python("-m", "evoml", *arguments, status=status)
        done = evoml(*arguments, cwd=self.folder, path=str(self.folder))
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout, done.stderr

    def json(self, *arguments: str) -> Any:
        """What a command says as JSON."""
        return json.loads(self.evoml(*arguments, "--json")[0])

    def refused(self, *arguments: str) -> str:
        """The one line with which a command is refused."""
        said = self.evoml(*arguments, status=2)[1].strip().splitlines()
        assert len(said) == 1, said
        return said[0]


@pytest.fixture
def nobody(tmp_path: Path) -> Outside:
    return Outside(tmp_path)


@pytest.fixture
def toy(nobody: Outside) -> Outside:
    """All parts of the page, without its rows."""
    points = re.sub(ROWS, "", BLOCKS["entry_points.txt"])
    nobody.write(BLOCKS | {"entry_points.txt": points})
    return nobody


@pytest.fixture
def page(nobody: Outside) -> Outside:
    """All that the page has."""
    nobody.write(BLOCKS)
    return nobody


def test_the_page_as_it_stands(page: Outside) -> None:
    page.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py")


def test_parts_by_their_entry_points(page: Outside) -> None:
    listed = {row["name"]: row for row in page.json("spaces")["spaces"]}
    assert listed["bits"]["distribution"] == "toy 1.0" and "problem" not in listed["bits"]
    assert "space.length" in page.evoml("spaces", "bits")[0]
    said = page.json("search", *RUN, "--run", "run")
    assert said["best"]["objectives"]["f1"] > 0.5  # larger is better
    rows = page.json("show", "run", "--best", "30")["best"]
    scores = [row["objectives"]["f1"] for row in rows]
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1]
    config = (page.folder / "run" / "run.toml").read_text()
    for part in ("space", "evaluator", "task", "operations"):
        assert f"[parts.{part}]" in config
    assert "[parts.strategy]" not in config
    more = page.json("resume", "run", "--budget", "40")
    assert more["evaluations"] == 40
    whole = page.json("search", *RUN, "--budget", "40", "--run", "whole")
    assert whole["best"] == more["best"]
    assert "nothing to test on" in page.refused("evaluate", "run")
    page.write({}, version="2.0")
    warned = page.evoml("resume", "run", "--budget", "42")[1]
    assert "version 1.0" in warned and "version 2.0" in warned


def test_two_objectives_have_their_own_directions(toy: Outside) -> None:
    given = ("--set", 'evaluator.objectives=["f1", "bits"]', "--run", "run")
    toy.evoml("search", *RUN, *given)
    rows = toy.json("show", "run", "--best", "30")["best"]
    front = [row["objectives"] for row in rows if row.get("front")]
    assert not any(
        other["f1"] >= one["f1"] and other["bits"] <= one["bits"] and other != one
        for one in front
        for other in front
    )


def test_an_objective_without_a_direction_is_refused(toy: Outside) -> None:
    text = BLOCKS["ones.py"].replace("chosen(settings.objectives, KNOWN)", "settings.objectives")
    toy.write({"ones.py": text})
    line = toy.refused("search", *RUN, "--run", "run")
    assert "ones" in line and "Objective" in line and "larger" in line


def test_files_by_their_paths(toy: Outside) -> None:
    assert "strategy.first" in toy.evoml("strategies", "./climb.py")[0]
    given = ("--space", "bits", "--strategy", "./climb.py", "--budget", "20", "--run", "run")
    first = toy.json("search", *given)
    assert str(toy.folder / "climb.py") in (toy.folder / "run" / "run.toml").read_text()
    assert "--trust" in toy.refused("show", "run")  # nobody named the file
    assert toy.json("--trust", "climb.py", "show", "run")["best"][0]["key"] == first["best"]["key"]
    assert toy.json("--trust", "climb.py", "resume", "run", "--budget", "30")["evaluations"] == 30
    (toy.folder / "climb.py").write_text(BLOCKS["climb.py"] + "\n# changed\n")
    line = toy.refused("--trust", "climb.py", "resume", "run", "--budget", "40")
    assert "climb.py" in line and "changed" in line


def test_all_parts_from_files_on_more_than_one_worker(nobody: Outside) -> None:
    modules = {name: text for name, text in BLOCKS.items() if name.endswith(".py")}
    modules["ones.py"] = modules["ones.py"].replace(
        'task = "target"', 'task = "target"\n    costly = True'
    )
    nobody.write(modules)
    given = ("--strategy", "./climb.py", "--budget", "12", "--set", "search.window=2")
    one = nobody.json("search", *PARTS, *given, "--workers", "1", "--run", "one")
    two = nobody.json("search", *PARTS, *given, "--workers", "2", "--run", "two")
    assert one["best"] == two["best"]


def test_a_system_from_a_file(toy: Outside) -> None:
    assert toy.evoml("systems", "./climbing.toml")[0] == BLOCKS["climbing.toml"]
    said = toy.json("search", "./climbing.toml", "--run", "run")
    assert said["evaluations"] == 40
    (toy.folder / "climbing.toml").unlink()
    config = (toy.folder / "run" / "run.toml").read_text()
    assert 'system = "climbing"' in config and "[final" in config and "window = 1" in config
    shown = toy.evoml("--trust", "climb.py", "show", "run")[0]
    assert shown.startswith("run: climbing on target")
    code = (
        "from pathlib import Path\n"
        "from evoml.config import final_settings\n"
        "from evoml.core.registry import trust\n"
        "from evoml.search.problem import stored_config\n"
        "trust('climb.py'); print(final_settings(stored_config(Path('run'))))"
    )
    assert toy.python("-c", code)[0].strip() == "{'task': {'every': 3}}"
    toy.write({"climbing.toml": BLOCKS["climbing.toml"]})
    paper = toy.json("search", "./climbing.toml", "--preset", "paper", "--run", "paper")
    assert paper["evaluations"] == 400


def test_an_installed_system(toy: Outside) -> None:
    (toy.folder / "package").mkdir()
    for name in ("__init__.py", "climb.py"):
        (toy.folder / "package" / name).write_text(BLOCKS.get(name, ""))
    text = BLOCKS["climbing.toml"].replace("./climb.py", "random_search")
    (toy.folder / "package" / "climbing.toml").write_text(text)
    points = BLOCKS["entry_points.txt"] + "\n[evoml.systems]\nclimbing = package:climbing.toml\n"
    points += "gone = package:gone.toml\n"
    toy.write({"entry_points.txt": points})
    listed = {row["name"]: row for row in toy.json("systems")["systems"]}
    assert listed["climbing"]["title"] == "Climbing bits"
    assert "toy 1.0" in listed["gone"]["problem"]
    assert toy.json("search", "climbing", "--run", "run")["evaluations"] == 40


@pytest.mark.parametrize("key", ["for", "paper", "final", "space", "nothing"])
def test_a_wrong_system_is_a_line(toy: Outside, key: str) -> None:
    toy.write({"wrong.toml": f"{key} = 3\n"})
    line = toy.refused("search", "./wrong.toml", "--run", "run")
    assert "wrong.toml" in line and key in line


STRATEGY = "from evoml.contracts import Strategy\n"
SETTINGS = "from evoml.contracts import StrategySettings as Settings\n"
ONE = "class One(Strategy): pass\n"
BROKEN = {
    "no_settings": (STRATEGY + ONE, "Settings"),
    "no_class": (SETTINGS, "no public subclass"),
    "two_classes": (STRATEGY + SETTINGS + ONE + "class Two(One): pass\n", "2 public subclasses"),
    "broken": ("1 / 0\n", "ZeroDivisionError"),
    "leaves": ("import sys\nsys.exit()\n", "SystemExit"),
    "not_python": ("def\n", "SyntaxError"),
}


def test_broken_parts_are_lines_with_their_distribution(nobody: Outside) -> None:
    points = ["[evoml.strategies]", *(f"{name} = {name}" for name in BROKEN)]
    points += ["gone = gone", "not_there = broken_not:Gone", "random_search = no_class"]
    nobody.write({f"{name}.py": text for name, (text, _) in BROKEN.items()})
    nobody.write({"entry_points.txt": "\n".join(points), "broken_not.py": ""}, name="third")
    stdout, stderr = nobody.evoml("strategies")
    assert "aging_evolution" in stdout
    assert "random_search (third 1.0): is not used; evoml has one of that name" in stderr
    listed = {row["name"]: row for row in nobody.json("strategies")["strategies"]}
    reasons = {name: why for name, (_, why) in BROKEN.items()}
    reasons |= {"gone": "ModuleNotFoundError", "not_there": "has no Gone"}
    for name, why in reasons.items():
        assert why in listed[name]["problem"] and "third 1.0" in listed[name]["problem"]
        line = nobody.refused("search", "neat", "--strategy", name, "--run", "run")
        assert why in line and "third 1.0" in line
    assert "problem" not in listed["random_search"]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("ROWS = (1,)", "must be a"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "has no ROWS"),
        (
            "from evoml.phenotypes.rows import Op\n"
            "ROWS = Op(0, 'no_op', '', '', 'pass', lambda: None, '', 1)",
            "no_op is there already",
        ),
    ],
)
def test_broken_rows_are_a_line_with_their_distribution(
    nobody: Outside, rows: str, why: str
) -> None:
    nobody.write({"mine.py": rows, "entry_points.txt": "[evoml.operations]\nmine = mine:ROWS\n"})
    line = nobody.refused("spaces", "automl_zero")
    assert "toy 1.0" in line and why in line


def test_an_operation_is_searched_with_and_exported(page: Outside) -> None:
    page.evoml(
        "search", "automl-zero", "--budget", "300", "--run", "run", "--task", "linear_regression",
        "--set", "strategy.population=20", "--set", "strategy.tournament=5",
        "--set", "archive.keep=all",
        "--set", 'space.learn.ops=["vector_softplus"]',
    )  # fmt: skip
    (page.folder / "soft.py").write_text(
        "def setup():\n    ...\n\ndef predict():\n    v1 = softplus(v0)\n    s1 = norm(v1)\n\n"
        "def learn():\n    ...\n"
    )
    source = page.evoml("export", "soft.py", "--to", "python", "--task", "linear_regression")[0]
    (page.folder / "exported.py").write_text(source)
    code = (
        "import numpy as np, exported\nx = np.linspace(-1, 1, exported.F)\n"
        "assert np.isclose(exported.prediction(x), np.linalg.norm(np.log(1 + np.exp(x))))"
    )
    page.python("-c", code)


def test_an_activation_is_searched_with_and_exported(page: Outside) -> None:
    page.evoml(
        "search", "neat", "--budget", "60", "--run", "run", "--set", "strategy.population=20",
        "--set", 'space.activations=["swish"]',
    )  # fmt: skip
    minimal = DOCS.parents[1] / "programs" / "neat" / "minimal.toml"
    (page.folder / "mine.toml").write_text(minimal.read_text().replace('"sigmoid"', '"swish"'))
    assert "swish" in page.evoml("show", "mine.toml")[0]
    source = page.evoml("export", "mine.toml", "--to", "python")[0]
    (page.folder / "exported.py").write_text(source)
    code = (
        "import math, exported\n"
        "assert math.isclose(exported.network([1.0, 1.0])[0], 1.5 / (1 + math.exp(-1.5)))"
    )
    page.python("-c", code)


def test_a_layer_is_in_the_table(page: Outside) -> None:
    code = (
        "from evoml.phenotypes.layers import primitives\n"
        "assert len(primitives('conv_3x3_twice', 8, 8)) == 6"
    )
    page.python("-c", code)


def test_a_space_of_the_public_class_alone_is_shown_and_written(toy: Outside) -> None:
    toy.evoml("search", *RUN, "--run", "run")
    shown = toy.evoml("show", "run")[0]
    assert "on = true" in shown
    toy.evoml("export", "run", "--to", "text", "-o", "best.toml")
    assert "on = true" in toy.evoml("show", "best.toml")[0]
    assert "Traceback" not in toy.evoml("export", "run", "--to", "svg", status=2)[1]


def test_cells_draw_a_layer_of_others_where_it_is_named(nobody: Outside) -> None:
    nobody.write(BLOCKS | {"entry_points.txt": "[evoml.layers]\nmine = layers_of_mine:LAYERS\n"})
    given = ("--space", "cell", "--strategy", "random_search", "--task", "digits", "--budget", "1")
    small = ("--set", "space.blocks=1", "--set", "space.skeleton.cells=0", "--set",
             "space.skeleton.filters=4", "--set", "evaluator.epochs=1")  # fmt: skip
    layer = ("--set", 'space.operations=["conv_3x3_twice"]', "--set", "task.examples=40")
    nobody.json("search", *given, *small, *layer, "--workers", "1", "--run", "run")
    assert 'op_a = "conv_3x3_twice"' in nobody.evoml("show", "run")[0]
    line = nobody.refused("search", *given, "--set", 'space.operations=["conv_3x3_twic"]')
    assert "did you mean conv_3x3_twice?" in line


RAISE = "raise RuntimeError('out of luck')"
FAULTY = {  # a part, what becomes of its text, what the line says, and whether it names a place
    "ask raises": ("climb.py", "if self.asked >= ", f"{RAISE}\n        if self.asked >= ", "luck"),
    "tell raises": ("climb.py", "evaluated.birth[:] =", f"{RAISE}\n        self.birth =", "luck"),
    "a state of sets": ("climb.py", '"asked": self.asked,', '"asked": {1},', "a set cannot be"),
    "nothing is asked": ("climb.py", "        return out\n", "", "must be a Population"),
    "too many are asked": (
        "climb.py", "        return out\n", "        return Population.joined([out, out])\n",
        "not more",
    ),
    "a row too many": (
        "bits.py", "        super().__init__(settings)\n",
        "        super().__init__(settings)\n        self.frame = lambda choose: "
        "{'bits': [{}] * 13}\n", "13 rows",
    ),
    "the task raises": ("target.py", "        return np", f"        {RAISE}\n        np", "luck"),
    "no evaluation": (
        "ones.py", "class Ones(CandidateEvaluator):\n",
        "class Ones(CandidateEvaluator):\n    def evaluate(self, population, streams=None):\n"
        "        return None\n\n", "must give an Evaluation",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTY)
def test_what_a_part_does_wrong_is_a_line(nobody: Outside, fault: str) -> None:
    name, old, new, why = FAULTY[fault]
    assert old in BLOCKS[name]
    nobody.write({file: text for file, text in BLOCKS.items() if file.endswith(".py")})
    nobody.write({name: BLOCKS[name].replace(old, new)})
    parts = (*PARTS, "--budget", "20")
    line = nobody.refused("search", *parts, "--strategy", "./climb.py", "--json")
    assert why in line
    assert (f"{name}:" in line) == ("raises" in fault), line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_why_a_candidate_crashed_is_told(nobody: Outside, workers: str) -> None:
    text = BLOCKS["ones.py"].replace('task = "target"', 'task = "target"\n    costly = True')
    signature = "stream: int) -> Evaluation:\n"
    assert signature in text
    broken = f"{signature}        if genotype.tables['bits']['on'][0]:\n            {RAISE}\n"
    modules = {name: each for name, each in BLOCKS.items() if name.endswith(".py")}
    nobody.write(modules | {"ones.py": text.replace(signature, broken)})
    given = ("--strategy", "random_search", "--budget", "6", "--workers", workers)
    said = nobody.evoml("search", *PARTS, *given, "--run", "run")[0]
    assert "crashed; the first: RuntimeError: out of luck" in said
    events = (nobody.folder / "run" / "events.jsonl").read_text()
    assert events.count('"failure"') == 1


def test_what_a_part_prints_is_no_result(nobody: Outside) -> None:
    nobody.write({"climb.py": BLOCKS["climb.py"] + "print('loaded')\n"})
    assert nobody.json("strategies", "./climb.py")["settings"]
    nobody.write({"climb.py": BLOCKS["climb.py"] + "class Other(Climb): pass\n"})
    assert "2 public subclasses" in nobody.refused("strategies", "./climb.py")
    assert "no such file" in nobody.refused("--trust", "gone.py", "strategies")
