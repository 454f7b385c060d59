"""The command line as a user meets it: exit statuses, one-line errors, JSON alone on standard
output.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import evoml

from evoml.commands.search import _claimed_folder
from evoml.config import build, systems
from evoml.core.registry import AXES, names

TINY = [
    "--task",
    "linear_regression",
    "--budget",
    "1500",
    "--set",
    "task.select.tasks=4",
    "--set",
    "task.test.tasks=4",
]


def refused(*arguments: str | Path, says: str, cwd: Path | None = None) -> None:
    """Bad input: status 2, and one line on standard error that says this."""
    done = evoml(*arguments, cwd=cwd)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert says in done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert evoml("search", "automl-zero", *TINY, "--run", folder, "--json").returncode == 0
    return folder


def test_search_prints_one_json_object(tmp_path: Path) -> None:
    done = evoml("search", "automl-zero", *TINY, "--seed", "3", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert result["evaluations"] == 1500
    assert result["evaluations_per_second"] > 0
    assert {"id", "key", "objectives", "text"} <= set(result["best"])
    assert len(result["baselines"]) == 3
    assert result["run"] == "populations/automl-zero-linear_regression-3"
    assert (tmp_path / result["run"] / "run.toml").is_file()


def test_show_and_evaluate_and_resume(run: Path) -> None:
    shown = json.loads(evoml("show", run, "--best", "3", "--json").stdout)
    assert len(shown["best"]) == 3
    best = shown["best"][0]
    assert best["event"] == "selected"
    scored = json.loads(evoml("evaluate", run, "--json").stdout)
    assert scored["objectives"]["fitness"] == shown["finished"]["test"]["fitness"]
    assert scored["key"] == best["key"]
    assert len(scored["baselines"]) == 3
    further = json.loads(evoml("resume", run, "--budget", "2000", "--json").stdout)
    assert further["evaluations"] == 2000
    plain = evoml("show", run)
    assert plain.returncode == 0
    assert "def learn():" in plain.stdout


def test_any_archived_candidate(run: Path, tmp_path: Path) -> None:
    rows = json.loads(evoml("show", run, "--best", "30", "--json").stdout)["best"]
    best, other = rows[0], rows[-1]

    def shown(candidate: int) -> dict[str, Any]:
        done = evoml("show", run, "--candidate", candidate, "--json")
        (row,) = json.loads(done.stdout)["best"]
        return dict(row)

    assert best["key"] != other["key"] and shown(other["id"]) == other
    assert shown(best["id"])["text"] == best["text"]
    assert f"candidate {other['id']}, key {other['key']}" in (
        evoml("show", run, "--candidate", other["id"]).stdout
    )
    scored = evoml("evaluate", run, "--candidate", other["id"])
    assert f"candidate {other['id']}" in scored.stdout
    file = tmp_path / "other.py"
    assert evoml("export", run, "--candidate", other["id"], "-o", file).returncode == 0
    assert json.loads(evoml("show", file, "--json").stdout)["best"][0]["key"] == other["key"]
    refused("show", run, "--candidate", "99999999", says="candidate 99999999 is not archived")
    refused("show", run, "--candidate", "1", "--best", "2", says="leave out --best")
    refused("evaluate", file, "--candidate", "1", says="is for a run")
    refused("export", run, "--candidate", "1", "--to", "front", says="of a run as a whole")
    refused("export", run, "--to", "front", says="needs a run of several objectives")


def test_a_search_in_which_nothing_is_scored_has_a_status_of_its_own(tmp_path: Path) -> None:
    """A function that fails for every network."""
    (tmp_path / "broken.py").write_text("def fitness(network):\n    return float('nan')\n")
    task = ("--task", "function:broken:fitness", "--budget", "150")
    shape = ("--set", "task.inputs=1", "--set", "task.outputs=1")
    done = evoml("search", "neat", *task, *shape, cwd=tmp_path, path=str(tmp_path))
    assert done.returncode == 3 and "no network could be scored" in done.stdout


def test_exported_text_is_read_again_and_python_runs(run: Path, tmp_path: Path) -> None:
    assert evoml("export", run, "--to", "text", "-o", tmp_path / "program.py").returncode == 0
    key = json.loads(evoml("show", run, "--json").stdout)["best"][0]["key"]
    assert (
        json.loads(evoml("show", tmp_path / "program.py", "--json").stdout)["best"][0]["key"] == key
    )
    assert evoml("export", run, "--to", "python", "-o", tmp_path / "module.py").returncode == 0
    code = (
        "import module, numpy as np; module.train(np.ones((5, 4)), np.ones(5)); "
        "print(module.prediction(np.ones(4)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    float(done.stdout)


@pytest.mark.parametrize("axis", [*AXES, "systems"])
def test_lists_show_what_the_folder_holds(axis: str) -> None:
    listed = json.loads(evoml(axis, "--json").stdout)[axis]
    assert [row["name"] for row in listed] == list(systems() if axis == "systems" else names(axis))
    for row in listed:
        done = evoml(axis, row["name"])
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_start_up_imports_nothing_heavy() -> None:
    code = (
        "import evoml.cli, sys; print([m for m in ('torch', 'numba', 'ray', 'matplotlib', "
        "'sklearn', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["strategy.tournament=0"], "strategy.tournament: 0: "),
        (
            ["strategy.tournamnet=5"],
            (
                "strategy.tournamnet: no such setting; there are block, population, replace, "
                "tournament"
            ),
        ),
        (
            ["space.mutations=insert"],
            "space.mutations: 'insert': input should be a list, such as [1, 2]",
        ),
        (["evaluator.hurdle.tasks=16"], "evaluator.hurdle.tasks: 16: there are 16 search tasks"),
        (["workers=9999999"], "workers: 9999999: "),
        (["search.seed=abc"], "search.seed: 'abc': "),
        (["search.budget=true"], "search.budget: True: must be a number"),
        (["search.budget='7'"], "search.budget: '7': must be a number"),
        (["task.data=5"], "task.data: 5: must be the path of a file"),
        (["space.data=5"], "space.data: no such setting"),
        (["evaluator.exact_cache=1099511627776"], "evaluator.exact_cache: 1099511627776: "),
        (["search.seed=-1"], "search.seed: -1: "),
        (["nonsense=1"], "nonsense: no such setting"),
        (['space.learn.ops=["scalar_sun"]'], "no operation 'scalar_sun'"),
        (["space.matrices=0"], "needs matrices >= 1"),
        (["space.learn.most=3", "space.learn.least=5"], "least <= initial <= most"),
        (["search.stop_at=nan"], "search.stop_at: nan: must be a number or none"),
        (["search.stop_at=soon"], "search.stop_at: 'soon': must be a number or none"),
        (["evaluator.hurdle.percentile=200"], "evaluator.hurdle.percentile: 200: "),
        (["archive.keep=most"], "archive.keep: 'most': "),
        (["task.features=0"], "task.features: 0: "),
        (["space=5"], "space: 5: must be a table"),
        (["seed"], "must be key=value"),
    ],
)
def test_bad_settings_name_the_key(sets: list[str], says: str, tmp_path: Path) -> None:
    refused("search", *[part for text in sets for part in ("--set", text)], says=says, cwd=tmp_path)
    assert not (tmp_path / "populations").exists()


def test_bad_names_suggest_the_right_ones(tmp_path: Path) -> None:
    refused("search", "automl-zeroo", says="did you mean automl-zero?", cwd=tmp_path)
    refused(
        "search",
        "--strategy",
        "aging_evolutoin",
        says="did you mean aging_evolution?",
        cwd=tmp_path,
    )
    refused("search", "--task", "nothing", says="tasks: no 'nothing'", cwd=tmp_path)
    refused("search", "--backend", "tpu", says="backends: no 'tpu'", cwd=tmp_path)
    refused(
        "search", "--preset", "huge", says="preset: 'huge' is not one of desk, paper", cwd=tmp_path
    )
    refused("show", "nowhere", says="nowhere: No such file", cwd=tmp_path)
    refused("resume", "nowhere", says="nowhere: not a run", cwd=tmp_path)
    refused("show", tmp_path, says="not a run", cwd=tmp_path)


def test_bad_configuration_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[strategy]\ntournament = 0\n")
    refused("search", "--config", "a.toml", says="a.toml: strategy.tournament: 0: ", cwd=tmp_path)
    (tmp_path / "b.toml").write_text("[strategy\n")
    refused("search", "--config", "b.toml", says="b.toml: not TOML", cwd=tmp_path)
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe\x00")
    refused("search", "--config", "c.toml", says="c.toml: not a text file", cwd=tmp_path)
    (tmp_path / "d.toml").write_text("a = " + "[" * 20_000)
    refused("search", "--config", "d.toml", says="d.toml: not TOML", cwd=tmp_path)
    refused("search", "--run", "x" * 300, says="cannot write (File name too long)", cwd=tmp_path)
    refused("search", "--config", "none.toml", says="none.toml: No such file", cwd=tmp_path)


def test_a_configuration_file_does_what_the_flags_do(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'system = "automl-zero"\n[search]\nbudget = 500\nseed = 4\n[task]\nname = '
        '"linear_regression"\nselect = {tasks = 4}\ntest = {tasks = 4}\n'
    )
    one = json.loads(
        evoml("search", "--config", "a.toml", "--run", "one", "--json", cwd=tmp_path).stdout
    )
    flags = [
        "--task",
        "linear_regression",
        "--seed",
        "4",
        "--budget",
        "500",
        "--set",
        "task.select.tasks=4",
        "--set",
        "task.test.tasks=4",
    ]
    other = json.loads(evoml("search", *flags, "--run", "other", "--json", cwd=tmp_path).stdout)
    assert one["best"] == other["best"]


def test_bad_programs_name_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(
        "def setup():\n    s2 = sine(s1)\n\ndef predict():\n    ...\n\ndef learn():\n    ...\n"
    )
    refused(
        "show",
        "p.py",
        says="p.py:2: `s2 = sine(s1)`: no operation sine; did you mean sin?",
        cwd=tmp_path,
    )
    refused("search", "--start", "p.py", says="p.py:2: ", cwd=tmp_path)
    refused("evaluate", "p.py", "--task", "linear_regression", says="p.py:2: ", cwd=tmp_path)


def test_bad_data_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", images=np.ones((50, 8, 8)), labels=np.zeros(50, np.int64))
    np.savez(tmp_path / "nan.npz", images=np.full((90, 4), np.nan), labels=np.arange(90) % 3)
    (tmp_path / "text.npz").write_text("no")
    for name in ("one.npz", "nan.npz", "text.npz", "absent.npz"):
        refused("search", "--data", name, says=name, cwd=tmp_path)
    refused(
        "search",
        "--task",
        "linear_regression",
        "--data",
        "one.npz",
        says="generate their data",
        cwd=tmp_path,
    )


def test_a_file_needs_a_task(tmp_path: Path) -> None:
    program = Path(__file__).parents[2] / "programs" / "automl_zero" / "linear_regression.py"
    refused("evaluate", program, says="needs --task", cwd=tmp_path)
    scored = json.loads(
        evoml(
            "evaluate",
            program,
            "--task",
            "linear_regression",
            "--set",
            "task.test.tasks=4",
            "--json",
        ).stdout
    )
    assert scored["objectives"]["fitness"] > 0.9999


def test_a_used_folder_is_refused(run: Path) -> None:
    refused("search", *TINY, "--run", run, says="already a run; go on with")


def test_a_run_s_own_configuration_repeats_it(run: Path, tmp_path: Path) -> None:
    start = Path(__file__).parents[2] / "programs" / "automl_zero" / "linear_regression.py"
    assert (
        evoml("search", *TINY, "--start", start, "--run", tmp_path / "one", "--json").returncode
        == 0
    )
    again = evoml(
        "search", "--config", tmp_path / "one" / "run.toml", "--run", tmp_path / "other", "--json"
    )
    assert again.returncode == 0, again.stderr
    for name in ("part-000000.parquet", "start-000.py"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_what_a_command_would_ignore_is_refused(run: Path, tmp_path: Path) -> None:
    refused(
        "evaluate",
        run,
        "--set",
        "search.islands=2",
        says="--set search.islands: an evaluation takes task.*",
    )
    refused(
        "evaluate",
        run,
        "--set",
        "space.scalars=9",
        says="--set space.scalars: an evaluation takes task.*",
    )
    refused(
        "export", run, "--to", "python", "--task", "linear_regression", says="--task is for a file"
    )
    refused("resume", run, "--budget", "100", says="--budget 100: the run has had")
    refused("search", "--budgt", "5", says="No such option: --budgt")
    refused("serch", says="No such command 'serch'")


def test_a_table_answers_as_it_is(data_folder: Path, tmp_path: Path) -> None:
    """Settings of a training, which it would ignore, are refused."""
    parts = (
        "--space",
        "nasbench201",
        "--evaluator",
        "table",
        "--data",
        data_folder / "nasbench201_cifar10.npz",
        "--budget",
        "200",
    )
    assert evoml("search", *parts, "--run", "r", "--json", cwd=tmp_path).returncode == 0
    assert evoml("evaluate", "r", cwd=tmp_path).stdout.startswith("test accuracy")
    refused(
        "evaluate",
        "r",
        "--set",
        "evaluator.epochs=3",
        says="evaluate: evaluator.epochs: a table answers as it is",
        cwd=tmp_path,
    )
    refused(
        "evaluate",
        "r",
        "--seed",
        "3",
        says="evaluate: search.seed: a table answers as it is",
        cwd=tmp_path,
    )


def test_only_tasks_that_the_search_never_saw_are_called_so(run: Path) -> None:
    assert "that the search never saw" in evoml("evaluate", run).stdout
    assert (
        "that the search never saw" not in evoml("evaluate", run, "--set", "task.features=5").stdout
    )
    assert "that the search never saw" not in evoml("evaluate", run, "--seed", "9").stdout


def test_settings_that_belong_to_no_part_are_listed() -> None:
    listed = {
        row["key"]: row["description"]
        for row in json.loads(evoml("settings", "--json").stdout)["settings"]
    }
    assert {"search.budget", "search.seed", "archive.keep", "workers", "backend"} <= set(listed)
    assert all(listed.values())


def piped(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_an_output_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    call = f"{sys.executable} -m evoml"
    full = piped(f"{call} systems > /dev/full", tmp_path)
    assert (full.returncode, full.stderr) == (
        1,
        "evoml: standard output: cannot write (No space left on device)\n",
    )
    closed = piped(f"{call} systems >&-", tmp_path)
    assert (closed.returncode, closed.stderr) == (1, "evoml: standard output is closed\n")
    cut = piped(f"{call} spaces automl_zero | true; echo ${{PIPESTATUS[0]}}", tmp_path)
    assert (cut.stdout, cut.stderr) == ("0\n", "")


@pytest.mark.parametrize("silence", ["2>/dev/full", "2>&-", "2> >(true)"])
def test_a_search_goes_on_when_nobody_hears_its_progress(silence: str, tmp_path: Path) -> None:
    done = piped(f"{sys.executable} -m evoml search {' '.join(TINY)} --run r {silence}", tmp_path)
    assert done.returncode == 0
    assert "The discovered program" in done.stdout
    assert (tmp_path / "r" / "result.json").is_file()


def test_searches_that_start_at_once_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = build(("test", {"system": "neat"}))
    assert [_claimed_folder(config).name for _ in range(3)] == [
        "neat-xor-0", "neat-xor-0-2", "neat-xor-0-3",
    ]  # fmt: skip
    (tmp_path / "other").mkdir()
    refused(
        "search", "neat", "--task", "examples", "--data", "nowhere.csv", says="no such",
        cwd=tmp_path / "other",
    )  # fmt: skip
    assert not list((tmp_path / "other").iterdir())


def test_an_export_replaces_a_file_whole_and_no_file_of_the_run(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.py"
    path.write_text("before")
    done = evoml("export", run, "-o", path)
    assert done.returncode == 0 and "best.py: replaced" in done.stderr
    assert "def learn" in path.read_text() and [*tmp_path.iterdir()] == [path]
    for name in ("run.toml", "result.json", "checkpoint/state.safetensors"):
        before = (run / name).read_bytes()
        refused("export", run, "-o", run / name, says="is a file of the run")
        assert (run / name).read_bytes() == before


def test_an_export_to_a_full_disk_is_the_disk_s_fault(run: Path, tmp_path: Path) -> None:
    done = evoml("export", run, "-o", "/dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        "evoml: /dev/full: cannot write (No space left on device)\n",
    )
    refused(
        "export",
        run,
        "-o",
        tmp_path / "no" / "file.py",
        says="cannot write (No such file or directory)",
    )


def interrupted(delays: tuple[float, ...], folder: Path, *more: str) -> tuple[int, str, float]:
    """Exit status, standard error, and seconds from the last of the signals, which come one after
    another, to the end.
    """
    command = [
        sys.executable,
        "-m",
        "evoml",
        "search",
        *TINY,
        "--budget",
        "0",
        *more,
        "--run",
        str(folder),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    for delay in delays:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    return process.returncode, said, time.monotonic() - began


@pytest.mark.parametrize("survives", [False, True])
def test_a_closed_terminal_ends_a_search_unless_it_was_told_not_to_care(
    survives: bool, tmp_path: Path
) -> None:
    call = [sys.executable, "-m", "evoml", "search", "automl-zero", *TINY, "--budget", "0"]
    call += ["--run", str(tmp_path / "run")]
    words = ["nohup", *call] if survives else call
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "run" / "checkpoint" / "state.safetensors").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    if survives:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.terminate()
    assert process.wait(timeout=60) == 130


def test_an_interrupt_while_starting_is_quiet(tmp_path: Path) -> None:
    for delay in (0.15, 0.4, 0.8):
        status, said, _ = interrupted((delay,), tmp_path / f"{delay}")
        assert status == 130
        assert "Traceback" not in said


@pytest.mark.parametrize("delays", [(6.0,), (6.0, 0.2)])
def test_a_call_that_never_ends_is_left_and_the_run_is_named(
    delays: tuple[float, ...], tmp_path: Path
) -> None:
    """A program trained for millions of epochs is one compiled call: it hears nothing."""
    status, said, seconds = interrupted(
        delays, tmp_path / "run", "--set", "evaluator.epochs=99999999"
    )
    assert status == 130
    assert f"interrupted; go on with: evoml resume {tmp_path / 'run'}" in said
    assert seconds < 30  # not the hours that the call takes


def test_an_edited_run_is_not_taken_for_what_it_was(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "run.toml").write_text(
        (folder / "run.toml").read_text().replace("seed = 0", "seed = 1")
    )
    refused("resume", folder, says="run.toml: not the settings that the run was made with")
    done = evoml("evaluate", folder)
    assert done.returncode == 0
    assert "not the settings that the run was made with" in done.stderr
    assert "that the search never saw" not in done.stdout


BITS = '''"""Strings of bits."""

from evoml.contracts.space import Space
from evoml.core.settings import Settings as Base
from evoml.genotypes.domains import Choice
from evoml.genotypes.schema import Column, Schema, Table


class Settings(Base):
    """None."""


class BitsSpace(Space):
    """Eight bits."""

    schema = Schema((Table("bits", (Column("bit", Choice(("off", "on"))),), 8, 8),))
'''
ONES = '''"""Counts bits that are on."""

from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.objective import Objective
from evoml.core.settings import Settings as Base
from evoml.genotypes.population import OK


class Settings(Base):
    """None."""


class OnesEvaluator(CandidateEvaluator):
    """Bits that are on, and a number in a unit."""

    def __init__(self, settings, tasks, space, backend):
        super().__init__(settings, tasks, space, backend)
        self.objectives = self.objectives_of(settings, None)

    @classmethod
    def objectives_of(cls, settings, task):
        return Objective("ones", True), Objective("cost", False, "s", "predicted")

    def candidate(self, genotype, stream):
        ones = float(genotype.tables["bits"]["bit"].sum())
        return Evaluation.of([ones / 8, ones / 4], OK)
'''
NOTHING = '''"""No data."""

from evoml.contracts.task import Task
from evoml.core.settings import Settings as Base


class Settings(Base):
    """None."""


class NothingTask(Task):
    """Nothing."""

    def search(self, experiment=0):
        return ()

    select = test = search
'''


def test_a_space_of_the_contract_alone_is_searched_shown_evaluated_and_exported(
    tmp_path: Path,
) -> None:
    for name, text in (("bits", BITS), ("ones", ONES), ("nothing", NOTHING)):
        (tmp_path / f"{name}.py").write_text(text)
    parts = ("--space", "./bits.py", "--evaluator", "./ones.py", "--task", "./nothing.py")
    limits = ("--budget", "120", "--workers", "1", "--run", "run")
    done = evoml("search", *parts, *limits, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The best genotype (candidate " in done.stdout and "cost (s)" in done.stdout
    # whoever opens the run has not named its files
    for command in ("show", "evaluate", "export", "resume"):
        refused(
            command,
            "run",
            says="would be executed; if you know what it does, name it: evoml --trust",
            cwd=tmp_path,
        )
    shown = json.loads(evoml("show", "run", "--trust", "--json", cwd=tmp_path).stdout)["best"][0]
    scored = json.loads(evoml("evaluate", "run", "--trust", "--json", cwd=tmp_path).stdout)
    assert scored == {"objectives": shown["objectives"], "key": shown["key"]}
    assert "cost (s)" in evoml("evaluate", "run", "--trust", cwd=tmp_path).stdout
    exported = evoml("export", "run", "--trust", cwd=tmp_path)
    assert exported.stdout == shown["text"]
    for arguments, says in (
        (("--to", "svg"), "does not say how its genotypes are drawn"),
        (("--to", "torch", "-o", "out"), "of a genotype there are svg, text"),
    ):
        refused("export", "run", "--trust", *arguments, says=says, cwd=tmp_path)
    more = evoml("resume", "run", "--trust", "--budget", "130", "--json", cwd=tmp_path)
    assert json.loads(more.stdout)["evaluations"] == 130


def test_targets_and_kinds_are_what_their_folders_hold() -> None:
    from evoml.core.registry import own
    from evoml.export import summaries
    from evoml.export._target import target
    from evoml.report._kind import kind

    kinds = {kind(name).name for name in own("report")}
    assert kinds == set(own("report")) and kind("made elsewhere").name in kinds
    for name in own("export"):
        assert set(target(name).kinds) <= kinds and summaries()[name]
    refused("export", "absent", "--to", "nothing", says=", ".join(names("export")))
