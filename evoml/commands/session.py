"""What the commands do: run a search with a display, show, evaluate and export what is in a run or
a file.
"""

import json
from math import isfinite
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from evoml.archive.archive import finite, lock, read_config, read_result
from evoml.commands import interrupts
from evoml.compilation.numba_cache import cache_folder, cached, on_compile
from evoml.config import Config, build, check_origins
from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.part import strategy_class, task_class
from evoml.core.errors import InputError, cannot_write
from evoml.core.wording import plural
from evoml.export.text import source as text_source
from evoml.genotypes.schema import Genotype
from evoml.report import TolerantStderr, architectures, console, probabilities
from evoml.report import neurons as graphs
from evoml.report.baselines import baselines, memory_of
from evoml.report.progress import Display
from evoml.search.open import open_search, resume
from evoml.search.problem import Problem, edited, open_file, stored_config
from evoml.search.run import Result, Run

TARGETS = ("text", "python", "svg", "species", "probabilities", "correlation", "torch", "onnx")
UNSEEN = "test tasks that the search never saw"
# the settings that an evaluation takes
PROGRAM = ("task.*", "evaluator.*", "search.seed", "backend")
ARCHITECTURE = ("task.*", "evaluator.*", "space.skeleton.*", "search.seed")


def new_run(config: Config, folder: Path | None, as_json: bool) -> int:
    """Search into a new run folder; returns the exit status."""
    search = open_search(config, folder or _free_folder(config))
    search.create()
    with lock(search.archive.folder):
        return _search(search, True, as_json)


def resume_run(
    folder: Path,
    budget: int | None,
    seconds: float | None,
    workers: int | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Go on with a run; returns the exit status."""
    with lock(folder):
        _warn(check_origins(read_config(folder), stored_config(folder), str(folder)))
        return _search(resume(folder, budget, seconds, workers, data), False, as_json)


def _free_folder(config: Config) -> Path:
    """populations/<system>-<task>-<seed>, with a number behind where it is taken."""
    name = f"{config.system}-{config.name('task')}-{config.search.seed}"
    base = Path("populations")
    for number in range(1, 10_000):
        folder = base / (name if number == 1 else f"{name}-{number}")
        if not folder.exists():
            return folder
    raise InputError(f"{base}: too many runs called {name}; name one with --run")


def _kind(space: Any) -> str:
    """What a space makes: programs, architectures or graphs, of which different things are to be
    said.
    """
    return {"architectures": "architectures", "neurons": "graphs"}.get(space.phenotype, "programs")


def _search(search: Run, fresh: bool, as_json: bool) -> int:
    folder, problem = search.archive.folder, search.problem
    quoted, err = quote(str(folder)), console(stderr=True)
    if not as_json:
        verb = (
            "searching"
            if fresh
            else f"resuming at {plural(search.evaluations, 'candidate')}"
            if search.evaluations
            else "going on"
            if search.under_way
            else "starting again"
        )
        err.print(
            f"{search.config.system} on {search.config.name('task')}, seed "
            f"{search.config.search.seed}: {verb}, run {folder}",
            soft_wrap=True,
        )
        _remark(search, err)
        if search.compiles:
            announce_compilation(err)
    interrupts.advise(f"go on with: evoml resume {quoted}")
    search.prepare()
    if not as_json:
        _remark_on_workers(search, err)
    with interrupts.stopping() as stop, _display(search, err, as_json) as display:
        result = search.run(display, stop)
        interrupted = stop.is_set()
    if result.reason != "interrupted":
        interrupts.advise(f"the search is complete: evoml show {quoted}")
    if interrupted and result.reason != "interrupted":
        err.print(f"interrupted, but the search is complete: evoml show {quoted}", soft_wrap=True)
    elif as_json:
        print_json(_summary(problem, result))
    elif interrupted:
        err.print(
            f"interrupted at {plural(result.evaluations, 'candidate')}; go on with: evoml resume "
            f"{quoted}",
            soft_wrap=True,
        )
    else:
        reporters = {
            "architectures": architectures.print_result,
            "graphs": graphs.print_result,
            "programs": _print_result,
        }
        reporters[_kind(problem.space)](problem, result)
    return interrupts.STATUS if interrupted else 0


def announce_compilation(err: Console) -> None:
    """Say so, once, when something has to be compiled."""
    if cached():
        on_compile(
            lambda: err.print("compiling kernels, once for this machine (about 20 seconds) ...")
        )
    else:
        err.print(
            f"compiling kernels (about 20 seconds); {cache_folder()} cannot be used, so they are "
            "not kept ...",
            soft_wrap=True,
        )


def _remark(search: Run, err: Console) -> None:
    """Warn of settings that are allowed and seldom meant."""
    budget = search.config.search.budget
    alive = search.config.search.islands * search.config.part("strategy").alive
    if (
        not budget
        and not search.config.search.seconds
        and not search.config.search.training_seconds
        and search.config.search.stop_at == "none"
    ):
        err.print("note: no limit is set (--budget, --seconds), so it goes on until Ctrl-C")
    if 0 < budget <= alive and strategy_class(search.config.name("strategy")).evolves:
        fills = "only fills" if budget == alive else "does not fill"
        err.print(
            f"note: a budget of {budget:,} {fills} the populations of {alive:,}, so nothing will "
            "evolve"
        )


def _remark_on_workers(search: Run, err: Console) -> None:
    """One worker trains in this process, without isolation; said after `prepare`, which decides."""
    if search.evaluates_here:
        err.print(
            "note: one worker trains in this process; a crash there ends the search, to be resumed"
        )


def _display(search: Run, console: Console, quiet: bool) -> Display:
    settings = search.config.search
    title = f"{search.config.system} on {search.config.name('task')}, seed {settings.seed}"
    return Display(
        title,
        search.problem.objective,
        settings.budget,
        settings.seconds,
        console,
        quiet,
        search.problem.every_row,
    )


def _summary(problem: Problem, result: Result) -> dict[str, Any]:
    kind = _kind(problem.space)
    more = graphs.facts(problem, result) if kind == "graphs" else {}
    return {
        "run": str(result.run), "evaluations": result.evaluations, "seconds": result.seconds,
        "evaluations_per_second": result.evaluations_per_second, "best": result.best,
        "test": {problem.objective: result.test[problem.objective]} if result.test else None,
        "baselines": baselines(
            problem, problem.test_tasks,
        ) if result.test and kind == "programs" else None,
        "reason": result.reason,
    } | more | (
        {} if result.audit is None else {
            "trust": result.audit, "check_seconds": result.check_seconds,
        }
    )  # fmt: skip


def _print_result(problem: Problem, result: Result) -> None:
    out = console()
    if result.best is None or result.test is None:
        out.print(
            f"nothing was selected in {plural(result.evaluations, 'candidate')}; run {result.run}"
        )
        return
    out.print(
        f"\nThe discovered program (candidate {result.best['id']}), without instructions that "
        "cannot reach the prediction:\n"
    )
    print_program(out, result.best["essence"])
    out.print("\ns0 is the label, s1 the prediction, v0 the features; all memory starts at zero.")
    _print_scores(out, problem, "discovered program", result.test[problem.objective], UNSEEN)
    rate = (
        f"{plural(result.evaluations, 'candidate')} in {result.seconds:.1f} s "
        f"({result.evaluations_per_second:,.0f} a second); ended by {result.reason}"
    )
    out.print(f"\n{rate}\nrun: {result.run}", soft_wrap=True)


def print_program(out: Console, text: str) -> None:
    """Source in colour in a terminal, as it is in a pipe."""
    if out.is_terminal:
        out.print(Syntax(text.rstrip(), "python", background_color="default"))
    else:
        print(text.rstrip())


def _print_scores(out: Console, problem: Problem, name: str, score: float, which: str) -> None:
    tasks = problem.test_tasks
    out.print(f"\n{problem.objective} on {len(tasks)} {which}")
    table = Table(box=None, pad_edge=False)
    table.add_column("method")
    table.add_column(problem.objective, justify="right")
    table.add_row(Text(name, "bold"), Text(f"{score:.4f}", "bold"))
    for title, value in baselines(problem, tasks).items():
        table.add_row(title, f"{value:.4f}")
    out.print(table)


# -- runs and files --------------------------------------------------------------------------------


def _open(path: Path) -> tuple[Problem | None, Any, Genotype, list[str]]:
    """The problem a run was made for (None for a file), its space, the best genotype, and what
    could not be read.
    """
    if path.is_dir():
        problem = Problem(stored_config(path))
        best, problems = problem.archive(path).best(1)
        problems += _edited(path, problem)
        if not best:
            raise InputError(
                f"{path}: no candidate has been archived yet"
                + "".join(f"; {line}" for line in problems)
            )
        if problem.every_row and best[0]["status"] != "ok":
            raise InputError(
                f"{path}: no candidate was evaluated; the best one's status is "
                f"{best[0]['status'].replace('_', ' ')}"
            )
        if _kind(problem.space) == "graphs" and not isfinite(best[0][problem.objective]):
            raise graphs.nothing(path)
        return problem, problem.space, best[0]["genotype"], problems
    space, genotype = open_file(path)
    return None, space, genotype, []


def show(path: Path, count: int, as_json: bool) -> None:
    """The best candidates of a run with their text, or a file's program."""
    out = console()
    if not path.is_dir():
        _, space, genotype, _ = _open(path)
        more = graphs.describe(space, genotype) if _kind(space) == "graphs" else {}
        if as_json:
            print_json(
                {
                    "file": str(path),
                    "best": [{"key": space.key(genotype), "text": space.format(genotype)} | more],
                }
            )
        elif more:
            graphs.print_file(space, genotype)
        else:
            print_program(out, space.format(genotype))
        return
    problem = Problem(stored_config(path))
    best, problems = problem.archive(path).best(count + 1)
    _warn([*problems, *_edited(path, problem)])
    if _kind(problem.space) == "graphs" and best and not isfinite(best[0][problem.objective]):
        raise graphs.nothing(path)
    one_more = [_describe(problem, row) for row in best]
    described = one_more[:count]
    result = read_result(path)
    now: dict[str, Any] = {}
    if _kind(problem.space) == "graphs":
        described = [
            row | graphs.described(problem, path, row, each["genotype"])
            for row, each in zip(described, best)
        ]
        now = graphs.population(path)
    elif problem.every_row:
        now = probabilities.described(problem, path)
    if as_json:
        names = ("reason", "evaluations", "seconds", "test", "trust", "check_seconds")
        finished = (
            None if result is None else {name: result[name] for name in names if name in result}
        )
        print_json(
            {
                "run": str(path),
                "objective": problem.objective,
                "finished": finished,
                "best": described,
            }
            | now
        )
        return
    state = (
        "not finished"
        if result is None
        else f"{plural(result['evaluations'], 'candidate')} in {result['seconds']:.1f} s, ended by "
        f"{result['reason']}"
    )
    out.print(
        f"{path}: {problem.config.system} on {problem.config.name('task')}, seed "
        f"{problem.config.search.seed}; {state}",
        soft_wrap=True,
    )
    if problem.every_row:
        architectures.print_best(
            out, one_more, problem.names, count, problem.stand_alone is not problem
        )
        # a search that diverged derived nothing
        if described and (described[0]["status"] != "diverged" or described[0]["seconds"]):
            print(f"\n{described[0]['text'].rstrip()}")
        probabilities.print_means(out, now)
        architectures.print_audit(out, result)
        return
    if _kind(problem.space) == "graphs":
        graphs.print_best(out, problem, described, now, graphs.units(problem, path))
        return
    for row in described:
        where = "on the selection tasks" if row["event"] == "selected" else "in search"
        out.print(
            f"\ncandidate {row['id']}, key {row['key']}: {problem.objective} "
            f"{row['objectives'][problem.objective]:.4f} {where}",
            highlight=False,
        )
        print_program(out, row["text"])


def _describe(problem: Problem, row: dict[str, Any]) -> dict[str, Any]:
    objectives = {name: row[name] for name in problem.names}
    row["key"] = "".join(character for character in row["key"] if character.isalnum())[:64]
    rest = {
        key: row[key]
        for key in (
            "id",
            "key",
            "parents",
            "birth",
            "status",
            "seconds",
            "event",
            "island",
            "experiment",
            "evaluations",
        )
    }
    if len(objectives) > 1 and "front" in row:
        rest["front"] = row["front"]
    return rest | {"objectives": objectives, "text": problem.space.format(row["genotype"])}


def evaluate(
    path: Path,
    task: str | None,
    data: Path | None,
    seed: int | None,
    preset: str | None,
    sets: list[dict[str, Any]],
    as_json: bool,
    inherit: Path | None = None,
) -> None:
    """Score on test tasks, beside baselines."""
    problem, space, genotype, problems = _open(path)
    kind = _kind(space)
    if kind == "architectures":
        _check_sets(sets, ARCHITECTURE)
        _evaluate_architecture(
            path,
            problem,
            space,
            genotype,
            problems,
            _layers(task, data, seed, sets),
            preset,
            as_json,
            inherit,
        )
        return
    if inherit is not None:
        raise InputError(
            f"evaluate: --inherit {inherit}: is for architectures; a program is scored as it is"
        )
    if preset is not None:
        raise InputError(
            f"evaluate: --preset {preset}: is for architectures; a program is scored as it is"
        )
    _check_sets(sets, PROGRAM)
    base = (
        {}
        if problem is None
        else {
            key: value
            for key, value in problem.config.complete().items()
            if key not in ("system", "start")
        }
    )
    if problem is None and kind == "graphs":
        base = {"space": _settings(space)}
    if task is not None and task != base.get("task", {}).get("name"):
        base["task"] = {"name": task}
    flags: dict[str, Any] = {
        "task": {} if data is None else {"data": str(data)},
        "search": {} if seed is None else {"seed": seed},
    }
    if problem is None and task is None and not any("task" in each for each in sets):
        raise InputError("evaluate: a file needs --task; `evoml tasks` lists them")
    other = Problem(build((str(path), base), *(("--set", each) for each in sets), ("flags", flags)))
    other.space = space
    _ = other.test_tasks  # what is bad is said alone, before anything else
    _warn(problems)
    if not as_json:
        announce_compilation(console(stderr=True))
    scores = other.test(genotype)
    if as_json:
        result = {
            "objectives": {other.objective: scores[other.objective]},
            "tasks": scores["tasks"],
            "key": space.key(genotype),
        }
        print_json(
            result
            | ({"baselines": baselines(other, other.test_tasks)} if kind == "programs" else {})
        )
        return
    if kind == "graphs":
        why = other.test_tasks.failure
        graphs.print_scores(
            "champion" if problem else path.name, other.config.name("task"), scores["tasks"], why
        )
        return
    same = problem is not None and not edited(path) and _about_tasks(problem) == _about_tasks(other)
    which = (
        UNSEEN
        if same
        else f"test tasks of {other.config.name('task')}, seed {other.config.search.seed}"
    )
    _print_scores(
        console(),
        other,
        "discovered program" if problem else path.name,
        scores[other.objective],
        which,
    )


def _layers(
    task: str | None, data: Path | None, seed: int | None, sets: list[dict[str, Any]]
) -> list[tuple[str, dict[str, Any]]]:
    """--set and flags, as `build` takes them."""
    about = {
        key: value
        for key, value in (("name", task), ("data", None if data is None else str(data)))
        if value is not None
    }
    flags: dict[str, Any] = {"task": about, "search": {} if seed is None else {"seed": seed}}
    return [*(("--set", each) for each in sets), ("flags", flags)]


def _evaluate_architecture(
    path: Path,
    problem: Problem | None,
    space: Any,
    genotype: Genotype,
    problems: list[str],
    layers: list[tuple[str, dict[str, Any]]],
    preset: str | None,
    as_json: bool,
    inherit: Path | None,
) -> None:
    """Train a winner, or a file's architecture, and test it; a table is asked for what it
    reports.
    """
    if preset not in (None, "final"):
        raise InputError(f"evaluate: --preset {preset}: must be final")
    if (
        problem is not None
        and not problem.trains
        and preset is None
        and not any("task" in layer and layer["task"] for _, layer in layers)
    ):
        if given := [
            f"{group}.{key}"
            for _, layer in layers
            for group, values in layer.items()
            for key in values
        ]:
            raise InputError(
                f"evaluate: {given[0]}: a table answers as it is; settings are for a training, "
                "with --task"
            )
        if inherit is not None:
            raise InputError(
                f"evaluate: --inherit {inherit}: a table answers as it is; weights are for a "
                "training, with --task"
            )
        evaluator = problem.evaluator(problem.task.search(0))
        assert isinstance(evaluator, CandidateEvaluator)
        scores = evaluator.reported(genotype) or {}
        _warn(problems)
        if as_json:
            print_json({"objectives": scores})
        else:
            console().print(architectures.tested(scores))
        return
    from evoml.search.donor import donor as donor_of
    from evoml.search.winner import final_problem, train_final
    from evoml.tasks._image_splits import baseline_scores

    donor = None if inherit is None else donor_of(inherit)
    final = final_problem(
        donor.problem if donor is not None and problem is None else _about(problem, space),
        layers,
        preset,
    )
    if donor is not None:
        donor.check(space, final)
        if problem is not None and donor.search is not None and donor.run.samefile(path):
            problems = [*problems, *_of_another(path, problem, donor.search)]
    own = (
        problem is not None
        and problem.trains
        and preset == "final"
        and donor is None
        and _on_same_images(problem, final)
    )

    def before(trains: bool, keeps: bool) -> None:
        _warn([*problems, *([_not_kept(path)] if own and trains and not keeps else [])])
        if trains and not as_json:
            console(stderr=True).print(
                f"{path}: {architectures.training_line(final)}", soft_wrap=True
            )

    trained = train_final(
        final,
        genotype,
        path if own else None,
        architectures.epochs(console(stderr=True), as_json),
        before,
        donor,
    )
    baselines = baseline_scores(final.test_tasks)
    if as_json:
        print_json(
            {
                "objectives": trained.scores,
                "key": space.key(genotype),
                "baselines": baselines,
                "curve": list(trained.curve),
            }
        )
        return
    architectures.print_scores(
        console(), final, "found architecture" if problem else path.name, trained.scores, baselines
    )


def _of_another(path: Path, problem: Problem, search: int) -> list[str]:
    """That the best candidate of a run is not of the search whose weights there are, where it is
    not.
    """
    best = problem.archive(path).best(1)[0][0]["id"]
    return (
        []
        if best == search
        else [
            f"{path}: the best architecture is of search {best}, the weights are of the last one, "
            f"{search}"
        ]
    )


def _not_kept(path: Path) -> str:
    return f"{path}: cannot be written, so the trained network is not kept in it"


def _on_same_images(problem: Problem, final: Problem) -> bool:
    """Whether a training is on the run's own data, so that the run may keep it as its network."""
    return (problem.config.task["name"], problem.data_digest) == (
        final.config.task["name"],
        final.data_digest,
    )


def _edited(path: Path, problem: Problem) -> list[str]:
    return (
        [f"{path / 'run.toml'}: not the settings that the run was made with"]
        if edited(path)
        else []
    )


def _check_sets(sets: list[dict[str, Any]], takes: tuple[str, ...]) -> None:
    """Refuse settings that an evaluation would not look at. takes: those that it does."""
    for each in sets:
        group, values = next(iter(each.items()))
        keys = [f"{group}.{key}" for key in values] if isinstance(values, dict) else [group]
        for key in keys:
            if not {key, f"{key}.*", f"{group}.*"} & set(takes):
                raise InputError(f"--set {key}: an evaluation takes {', '.join(takes)}")


def _about_tasks(problem: Problem) -> Any:
    """What decides the test tasks, and which the search saw."""
    return problem.config.complete()["task"], problem.config.search.seed, problem.data_digest


def _task_of_file(task: str | None) -> Problem:
    if task is None:
        raise InputError(
            "export: --to python of a file needs --task, since vectors have the task's length; "
            "`evoml tasks` lists them"
        )
    return Problem(build(("flags", {"task": {"name": task}})))


def export(path: Path, to: str, output: Path | None, task: str | None, data: Path | None) -> None:
    """Write a genotype in another form."""
    if to not in TARGETS:
        raise InputError(f"export: --to {to}: must be one of {', '.join(TARGETS)}")
    if to in ("probabilities", "correlation"):
        _write(_course(path, to, task), output)
        return
    problem, space, genotype, problems = _open(path)
    if problem is not None and task is not None:
        raise InputError("export: --task is for a file; a run knows its own")
    if to == "species":
        text = _species(path, problem)
    elif _kind(space) == "graphs":
        if task is not None or data is not None:
            raise InputError(
                "export: --task and --data are for a training; a network of neurons is written as "
                "it is"
            )
        units = _units(path, problem) if to in ("python", "torch") else None
        if to == "torch":
            _export_graph(path, output, space, genotype, problems, units)
            return
        text = _graph(path, to, space, genotype, units)
    elif to in ("torch", "onnx"):
        _export_network(path, to, output, problem, space, genotype, problems, task, data)
        return
    elif to == "text":
        text = text_source(space, genotype)
    elif to == "svg":
        from evoml.export.svg import svg

        text = svg(space, genotype, str(path))
    else:
        text = _export_program(path, problem, space, genotype, task)
    _warn(problems)
    _write(text, output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write(output, error) from None


def _species(path: Path, problem: Problem | None) -> str:
    from evoml.export.species import svg

    if problem is None:
        raise InputError(f"export: --to species needs a run; {path} is a file")
    return svg(path, str(path))


def _course(path: Path, to: str, task: str | None) -> str:
    """A picture of a run as a whole, which there may be before there is a candidate."""
    from evoml.export import correlation, probabilities

    if not path.is_dir() or task is not None:
        raise InputError(
            f"export: --to {to} needs a run, and no --task; {path} is "
            f"{'one' if path.is_dir() else 'none'}"
        )
    problem = Problem(stored_config(path))
    text = {"probabilities": probabilities, "correlation": correlation}[to].svg(
        path, problem, str(path)
    )
    _warn(_edited(path, problem))
    return text


def _units(path: Path, problem: Problem | None) -> Any:
    """What a table's columns are to a run's network; None where there is no table, as of a file."""
    if problem is None or problem.task.units is None:
        return None
    if (out := graphs.units(problem, path)) is None:
        raise InputError(
            f"{problem.config.data}: not the data that the run was made with, which say how "
            "columns are scaled; put them back"
        )
    return out


def _graph(path: Path, to: str, space: Any, genotype: Genotype, units: Any) -> str:
    """A network of neurons as text, Python or a picture."""
    if to == "onnx":
        raise InputError(
            "export: --to onnx needs an architecture; of a network of neurons there are text, "
            "python, svg and torch"
        )
    if to == "text":
        return text_source(space, genotype)
    if to == "svg":
        from evoml.export._neurons_svg import svg

        return svg(space, genotype, str(path))
    from evoml.export._neurons import source

    return source(space, genotype, str(path), units)


def _export_graph(
    path: Path, output: Path | None, space: Any, genotype: Genotype, problems: list[str], units: Any
) -> None:
    from evoml.export._neurons_torch import write

    if output is None:
        raise InputError("export: --to torch needs --output, a folder to write")
    _warn(problems)
    written = write(space, genotype, output, str(path), units)
    console(stderr=True).print(f"wrote {', '.join(map(str, written))}", soft_wrap=True)


def _export_program(
    path: Path, problem: Problem | None, space: Any, genotype: Genotype, task: str | None
) -> str:
    from evoml.export.python import source

    memory = memory_of(space)
    about = problem or _task_of_file(task)
    family = task_class(about.config.name("task"))
    features, classify = about.config.part("task").features, family.kind == "classification"
    return source(genotype, features, classify, memory, str(path), _training(about))


def _export_network(
    path: Path,
    to: str,
    output: Path | None,
    problem: Problem | None,
    space: Any,
    genotype: Genotype,
    problems: list[str],
    task: str | None,
    data: Path | None,
) -> None:
    """The trained winner, as `evaluate` left it in the run; trained now where it did not."""
    if not isinstance(space, ArchitectureSpace):
        raise InputError(
            f"export: --to {to} needs an architecture, which this is not; --to python writes a "
            "program"
        )
    if output is None:
        raise InputError(
            f"export: --to {to} needs --output, a {'folder' if to == 'torch' else 'file'} to write"
        )
    if problem is None and task is None:
        raise InputError(
            f"export: --to {to} of a file needs --task, to be trained on; `evoml tasks` lists them"
        )
    from evoml.export.torch import claim
    from evoml.search.winner import final_problem, kept, train_final

    if to == "torch":
        claim(output)  # before anything is trained
    trained = kept(path, genotype) if problem is not None else None
    if trained is None:
        final = final_problem(_about(problem, space), _layers(task, data, None, []), "final")

        def before(trains: bool, keeps: bool) -> None:
            _warn(
                [
                    *problems,
                    *([_not_kept(path)] if problem is not None and trains and not keeps else []),
                ]
            )
            if trains:
                console(stderr=True).print(
                    f"not trained at full size yet: {architectures.training_line(final)} ...",
                    soft_wrap=True,
                )

        trained = train_final(
            final,
            genotype,
            None if problem is None else path,
            architectures.epochs(console(stderr=True)),
            before,
        )
    else:
        _warn(problems)
    title = f"{path}, test accuracy {trained.scores['test_accuracy']:.4f}"
    if to == "torch":
        from evoml.export.torch import write

        written = write(trained, output, title)
    else:
        from evoml.export.onnx import write as write_onnx

        write_onnx(trained, output)
        written = [output]
    console(stderr=True).print(
        f"wrote {', '.join(map(str, written))} (test accuracy "
        f"{trained.scores['test_accuracy']:.4f})",
        soft_wrap=True,
    )


def _about(problem: Problem | None, space: Any) -> Problem:
    """The problem of a run, or one for a file's space."""
    if problem is not None:
        return problem
    return Problem(build(("file", {"space": _settings(space)})))


def _settings(space: Any) -> dict[str, Any]:
    """The settings of a file's space, as a configuration has them."""
    return {"name": space.name, **space.settings.model_dump(mode="json", exclude_none=True)}


def _training(problem: Problem) -> str:
    """How a program of this problem is trained, for who trains it elsewhere."""
    epochs = getattr(problem.config.part("evaluator"), "epochs", 1)
    inputs = task_class(problem.config.name("task")).scaling
    return (
        f"evoml trained it for {epochs} epoch{'s' * (epochs > 1)}; of later epochs the best on "
        f"validation counts.\n{inputs}"
    )


def _warn(problems: list[str]) -> None:
    for line in problems:
        print(f"evoml: {line}", file=TolerantStderr(), flush=True)


def print_json(value: Any) -> None:
    """One JSON object on standard output; infinities and NaN as null."""
    print(json.dumps(finite(value)))
