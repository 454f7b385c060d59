"""What `evoml search` and `evoml resume` do: settings, a run folder, a display, and what is said at
the end.
"""

from contextlib import nullcontext, suppress
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console

from evoml.archive.files import lock, read_config
from evoml.commands import interrupts
from evoml.commands.inputs import trust_all
from evoml.config import Config, check_origins
from evoml.contracts.part import strategy_class
from evoml.core.errors import InputError, cannot_write
from evoml.core.wording import plural
from evoml.report import announce_compilation, console, getting_ready, print_json, warn
from evoml.report._kind import kind_of
from evoml.report._progress import Display
from evoml.search.open import open_search
from evoml.search.open import resume as resumed
from evoml.search.problem import Problem, stored_config
from evoml.search.run import Result, Run

NOTHING = 3  # the status of a search that ended and in which no candidate could be scored


def search(config: Config, folder: Path | None, as_json: bool) -> int:
    """Search into a new run folder; returns the exit status."""
    place = folder or _claimed_folder(config)
    try:
        run = open_search(config, place)
        run.create()
    except BaseException:
        for made in (place, place.parent) if folder is None else ():
            with suppress(OSError):  # others are in it
                made.rmdir()
        raise
    with lock(run.archive.folder):
        return _search(run, True, as_json)


def resume(
    folder: Path,
    budget: int | None,
    seconds: float | None,
    workers: int | None,
    data: Path | None,
    as_json: bool,
    trust: bool = False,
) -> int:
    """Go on with a run; returns the exit status. trust: execute the files of its parts."""
    if trust:
        trust_all(folder)
    with lock(folder):
        warn(check_origins(read_config(folder), stored_config(folder), str(folder)))
        return _search(resumed(folder, budget, seconds, workers, data), False, as_json)


def _claimed_folder(config: Config) -> Path:
    """populations/<system>-<task>-<seed>, made now, with a number behind where it is taken: two
    searches that start at once have two.
    """
    parts = (Path(name).name for name in (config.system, config.name("task")))
    system, task = (name.removesuffix(".toml").removesuffix(".py") for name in parts)
    name, base = f"{system}-{task}-{config.search.seed}", Path("populations")
    for number in range(1, 10_000):
        folder = base / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_write(folder, error) from None
    raise InputError(f"{base}: too many runs called {name}; name one with --run")


def _search(search: Run, fresh: bool, as_json: bool) -> int:
    folder, problem = search.archive.folder, search.problem
    quoted, err, kind = quote(str(folder)), console(stderr=True), kind_of(problem.space)
    if not as_json:
        err.print(f"{_title(search)}: {_verb(search, fresh)}, run {folder}", soft_wrap=True)
        for line in problem.task.remarks:
            err.print(f"note: {line}", soft_wrap=True, markup=False, highlight=False)
        _remark(search, err)
        if search.compiles:
            announce_compilation(err)
    interrupts.advise(f"go on with: evoml resume {quoted}")
    with nullcontext() if as_json else getting_ready(err):
        search.prepare()
    if not as_json and (why := search.idle_workers):
        err.print(f"note: {why}", soft_wrap=True)
    if not as_json and search.evaluates_here:  # which `prepare` decides
        err.print(
            "note: one worker trains in this process; a crash there ends the search, to be resumed"
        )
    limits = search.config.search
    display = Display(
        _title(search), problem.objectives, limits.budget, limits.seconds, err, as_json,
        problem.every_row, kind.language,
    )  # fmt: skip
    with interrupts.stopping() as stop, display:
        result = search.run(display, stop)
        interrupted = stop.is_set()
    if result.reason != "interrupted":
        interrupts.advise(f"the search is complete: evoml show {quoted}")
    if interrupted and result.reason != "interrupted":
        err.print(f"interrupted, but the search is complete: evoml show {quoted}", soft_wrap=True)
    elif as_json:
        print_json(_summary(problem, result, kind.facts(problem, result)))
    elif interrupted:
        if result.best is not None:
            kind.print_result(problem, result)
        err.print(
            f"interrupted at {plural(result.evaluations, 'candidate')}; go on with: evoml resume "
            f"{quoted}",
            soft_wrap=True,
        )
    else:
        kind.print_result(problem, result)
    if interrupted:
        return interrupts.STATUS
    return NOTHING if result.best is None else 0


def _title(search: Run) -> str:
    config = search.config
    return f"{config.system} on {config.name('task')}, seed {config.search.seed}"


def _verb(search: Run, fresh: bool) -> str:
    """What a search is about to do."""
    if fresh:
        return "searching"
    if search.evaluations:
        return f"resuming at {plural(search.evaluations, 'candidate')}"
    return "going on" if search.under_way else "starting again"


def _remark(search: Run, err: Console) -> None:
    """Warn of settings that are allowed and seldom meant."""
    limits = search.config.search
    alive = limits.islands * search.config.part("strategy").alive
    if not (limits.budget or limits.seconds or limits.training_seconds or limits.stop_at != "none"):
        err.print("note: no limit is set (--budget, --seconds), so it goes on until Ctrl-C")
    if 0 < limits.budget <= alive and strategy_class(search.config.name("strategy")).evolves:
        fills = "only fills" if limits.budget == alive else "does not fill"
        err.print(
            f"note: a budget of {limits.budget:,} {fills} the populations of {alive:,}, so nothing "
            "will evolve"
        )


def _summary(problem: Problem, result: Result, facts: dict[str, Any]) -> dict[str, Any]:
    """The end of a search as plain values. facts: what its kind of phenotype adds."""
    name, audit = problem.objective, {"trust": result.audit, "check_seconds": result.check_seconds}
    tested = {name} if problem.every_row else set(result.test or {}) - {"tasks"}
    return {
        "run": str(result.run), "evaluations": result.evaluations, "seconds": result.seconds,
        "evaluations_per_second": result.evaluations_per_second, "best": result.best,
        "test": {each: result.test[each] for each in result.test if each in tested}
        if result.test
        else None,
        "baselines": None, "reason": result.reason,
    } | facts | ({} if result.audit is None else audit)  # fmt: skip
