"""The command line. Commands only: what they do is elsewhere, and is imported when a command needs it."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Evolve learning algorithms and architectures. `evoml search automl-zero` discovers a learning algorithm from empty programs.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by its dotted key, such as search.islands=2.")
]
Run = Annotated[Path, typer.Argument(help="A run folder.")]
RunOrFile = Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run folder, or a program file.")]


def main() -> None:
    """The entry point: bad input ends with one line and status 2, an interrupt with 130, a refused write with 1."""
    from evoml.archive import DiskError
    from evoml.errors import InputError

    try:
        app(standalone_mode=True)
    except InputError as error:
        print(f"evoml: {error}", file=sys.stderr)
        sys.exit(2)
    except DiskError as error:
        print(f"evoml: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("evoml: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


@app.command()
def search(
    system: Annotated[str | None, typer.Argument(help="A published system; `evoml systems` lists them. Default automl-zero.")] = None,
    space: Annotated[str | None, typer.Option(help="Search space in place of the system's.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Search strategy in place of the system's.")] = None,
    evaluator: Annotated[str | None, typer.Option(help="Evaluator in place of the system's.")] = None,
    task: Annotated[str | None, typer.Option(help="What to learn; `evoml tasks` lists them.")] = None,
    data: Annotated[Path | None, typer.Option(help="A data file for the task.")] = None,
    budget: Annotated[int | None, typer.Option(help="Candidates to evaluate.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds to search.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same archive, whatever the number of workers.")] = None,
    run: Annotated[Path | None, typer.Option(help="Run folder. Default populations/<system>-<task>-<seed>.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads. Default one a core.")] = None,
    backend: Annotated[str | None, typer.Option(help="With what programs run; `evoml backends` lists them.")] = None,
    preset: Annotated[str | None, typer.Option(help="desk (default) or paper: which of the system's values.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    sets: Sets = None,
    start: Annotated[
        list[Path] | None, typer.Option(help="A file whose genotype the first population is made of; may be repeated.")
    ] = None,
    json_: Json = False,
) -> None:
    """Search. Settings come from the system's preset, then --config, then --set, then the flags."""
    from evoml.config import assign, build, read_toml
    from evoml.report.session import new_run

    flags: dict[str, Any] = {
        "search": _given(budget=budget, seconds=seconds, seed=seed),
        "space": _given(name=space), "strategy": _given(name=strategy), "evaluator": _given(name=evaluator),
        "task": _given(name=task, data=None if data is None else str(data)),
        **_given(system=system, workers=workers, backend=backend, preset=preset, start=None if not start else [str(path) for path in start]),
    }  # fmt: skip
    file = read_toml(config) if config else {}
    named = system or file.get("system") or (None if space else "automl-zero")
    layers = [("system", _given(system=named)), (str(config), file), *(("--set", assign(text)) for text in sets or []), ("flags", flags)]
    raise typer.Exit(new_run(build(*layers), run, json_))


@app.command()
def resume(
    run: Run,
    budget: Annotated[int | None, typer.Option(help="A new total of candidates.")] = None,
    seconds: Annotated[float | None, typer.Option(help="A new total of seconds.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads. Does not change the result.")] = None,
    json_: Json = False,
) -> None:
    """Go on with a run from its last checkpoint; it ends as the run that was never interrupted."""
    from evoml.report.session import resume_run

    raise typer.Exit(resume_run(run, budget, seconds, workers, json_))


@app.command()
def show(run: RunOrFile, best: Annotated[int, typer.Option(min=1, help="How many candidates.")] = 1, json_: Json = False) -> None:
    """Show the best candidates of a run, or a file."""
    from evoml.report.session import show as show_

    show_(run, best, json_)


@app.command()
def evaluate(
    run: RunOrFile,
    task: Annotated[str | None, typer.Option(help="On which task. Default the run's own.")] = None,
    data: Annotated[Path | None, typer.Option(help="A data file for the task.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the tasks. Default the run's own.")] = None,
    sets: Sets = None,
    json_: Json = False,
) -> None:
    """Score the best candidate of a run, or a program file, on test tasks that no search has seen, beside baselines."""
    from evoml.config import assign
    from evoml.report.session import evaluate as evaluate_

    evaluate_(run, task, data, seed, [assign(text) for text in sets or []], json_)


@app.command()
def export(
    run: RunOrFile,
    to: Annotated[str, typer.Option("--to", help="text, or python: a module that needs only NumPy.")] = "text",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file. Default standard output.")] = None,
    task: Annotated[str | None, typer.Option(help="The task a program file is for; a run knows its own.")] = None,
) -> None:
    """Write the best candidate of a run, or a program file, in another form."""
    from evoml.report.session import export as export_

    export_(run, to, output, task)


def _lists(axis: str) -> None:
    """A command that lists one axis, and with a name shows the settings of that part."""

    def command(name: Annotated[str | None, typer.Argument(help="Show the settings of this one.")] = None, json_: Json = False) -> None:
        from evoml.report.lists import show_axis

        show_axis(axis, name, json_)

    command.__doc__ = f"List {axis}, or the settings of one."
    app.command(axis, rich_help_panel="What there is")(command)


for _axis in ("systems", "spaces", "strategies", "evaluators", "backends", "tasks"):
    _lists(_axis)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
