"""The command line.

Commands only: what they do is elsewhere, and is imported when a command needs it.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Evolve learning algorithms and architectures. `evoml search automl-zero` discovers a "
    "learning algorithm from empty programs, `evoml search amoebanet --data images.npz` a network "
    "for your images.",
)

# Click's exception for wrong usage; Typer has carried its own copy of Click since 0.20 and exports
# subclasses only.
_USAGE: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting by its dotted key, such as search.islands=2; may be repeated.",
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Execute the .py files that the run or file names as its space and others."
    ),
]
Run = Annotated[Path, typer.Argument(help="A run folder.")]

RunOrFile = Annotated[
    Path,
    typer.Argument(
        metavar="RUN|FILE",
        help="A run folder, a genotype's file, or a built-in one such as cell/darts_v2.",
    ),
]

Candidate = Annotated[
    int | None,
    typer.Option(metavar="ID", help="A candidate of the run by its id. Default the best."),
]


def _named(text: str) -> Path:
    if not text:
        raise typer.BadParameter("is empty; name a file, or a folder of images by class")
    return Path(text)


def run(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status.

    Raises InputError, DiskError and what writing to the standard streams raises.
    """
    from evoml.core.errors import InputError

    try:
        return app(arguments, prog_name="evoml", standalone_mode=False) or 0
    except SystemExit:  # Typer's answer to a closed pipe
        raise BrokenPipeError from None
    except _USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return 2
        command = error.ctx.command_path if getattr(error, "ctx", None) else "evoml"
        raise InputError(f"{error.format_message().rstrip('.')}; see {command} --help") from None


def _version(wanted: bool) -> None:
    if wanted:
        from evoml import __version__

        print(f"evoml {__version__}")
        raise typer.Exit


@app.callback()
def _evoml(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
    trust: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.py",
            help="A file that a run names as a part, to be executed; may be repeated.",
        ),
    ] = None,
) -> None:
    from evoml.core import registry

    for path in trust or []:
        registry.trust(str(path))


@app.command()
def search(
    system: Annotated[
        str | None,
        typer.Argument(
            metavar="[SYSTEM|FILE.toml]",
            help="A published system, or a TOML file; `evoml systems` lists them. Default "
            "automl-zero.",
        ),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="Search space in place of the system's.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="Search strategy in place of the system's.")
    ] = None,
    evaluator: Annotated[
        str | None, typer.Option(help="Evaluator in place of the system's.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="What to learn; `evoml tasks` lists them.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(parser=_named, metavar="PATH", help="A data file for the task.")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Candidates to evaluate; 0: no limit.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds to search; 0: no limit.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Same seed, same archive, whatever the number of workers.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Run folder. Default populations/<system>-<task>-<seed>.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Threads, or processes for architectures. Default one a core."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="With what programs run; `evoml backends` lists them.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="desk (default), paper or final: which of the system's values."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    sets: Sets = None,
    start: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file whose genotype the first population is made of, or a built-in one by its "
            "name, such as residual; may be repeated."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Search. Settings come from the system's preset, then --config, then --set, then the flags."""
    from evoml.commands.configuration import search_configuration

    flags: dict[str, Any] = {
        "search": without_none(budget=budget, seconds=seconds, seed=seed),
        "space": without_none(name=space), "strategy": without_none(name=strategy),
        "evaluator": without_none(name=evaluator),
        "task": without_none(name=task, data=None if data is None else str(data)),
        **without_none(
            workers=workers, backend=backend, preset=preset,
            start=None if not start else [str(path) for path in start],
        ),
    }  # fmt: skip
    wanted = search_configuration(system, config, sets or [], flags)
    from evoml.commands.search import search as search_  # behind what may be refused

    raise typer.Exit(search_(wanted, run, json_))


@app.command()
def resume(
    run: Run,
    budget: Annotated[
        int | None, typer.Option(help="A new total of candidates; 0: no limit.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="A new total of seconds; 0: no limit.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads. Does not change the result.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(parser=_named, metavar="PATH", help="Where the run's data file is now."),
    ] = None,
    trust: Trust = False,
    json_: Json = False,
) -> None:
    """Go on with a run from its last checkpoint; it ends as the run that was never interrupted."""
    from evoml.commands.search import resume as resume_

    raise typer.Exit(resume_(run, budget, seconds, workers, data, json_, trust))


@app.command()
def show(
    run: RunOrFile,
    best: Annotated[
        int | None,
        typer.Option(min=1, help="How many candidates. Default the best; or the Pareto front."),
    ] = None,
    candidate: Candidate = None,
    lineage: Annotated[
        bool,
        typer.Option("--lineage", help="Its line of ancestors, and what each changed and gained."),
    ] = False,
    trust: Trust = False,
    json_: Json = False,
) -> None:
    """Show the best candidates of a run, any one of it, or a file."""
    from evoml.commands.show import show as show_

    show_(run, best, json_, trust, candidate, lineage)


@app.command()
def evaluate(
    run: RunOrFile,
    candidate: Candidate = None,
    task: Annotated[str | None, typer.Option(help="On which task. Default the run's own.")] = None,
    data: Annotated[
        Path | None, typer.Option(parser=_named, metavar="PATH", help="A data file for the task.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the tasks. Default the run's own.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="final: train an architecture at full size.")
    ] = None,
    inherit: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Start from the shared weights of this run's supernet, and say what they score as "
            "they are.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Try simple methods and networks beside it, at the same cost.")
    ] = True,
    sets: Sets = None,
    trust: Trust = False,
    json_: Json = False,
) -> None:
    """Test the best candidate of a run, any one of it, or a file, beside baselines: a program on
    tasks that its search never saw, an architecture trained anew.
    """
    from evoml.commands.evaluate import evaluate as evaluate_
    from evoml.config import assign

    given = [assign(text) for text in sets or []]
    evaluate_(run, task, data, seed, preset, given, json_, inherit, trust, candidate, baselines)


class _Export(TyperCommand):
    """Says in its help which targets there are."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from evoml.export import summaries

        lines = (f"{name}: {what}" if what else name for name, what in summaries().items())
        for parameter in self.params:
            if parameter.name == "to" and isinstance(parameter, TyperOption):
                parameter.help = "; ".join(lines) + "."
        super().format_help(ctx, formatter)


@app.command(cls=_Export)
def export(
    run: RunOrFile,
    to: Annotated[
        str,
        typer.Option("--to", help="A form; `evoml export --help` lists them."),
    ] = "text",
    candidate: Candidate = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A file, or a folder for torch. Default standard output."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="The task a file is for; a run knows its own.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(parser=_named, metavar="PATH", help="A data file for the task of a file."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="What a network is trained with that has to be: final (default), at full size; "
            "search, as candidates were."
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Of onnx: from raw pixels to probabilities, normalisation and softmax inside.",
        ),
    ] = False,
    sets: Sets = None,
    trust: Trust = False,
) -> None:
    """Write the best candidate of a run, any one of it, or a file, in another form."""
    from evoml.commands.export import export as export_
    from evoml.config import assign

    given = [assign(text) for text in sets or []]
    export_(run, to, output, task, data, trust, preset, given, candidate, raw)


@app.command()
def latency(
    system: Annotated[
        str | None, typer.Argument(help="A system whose space and task are meant.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="Search space in place of the system's. Default mobile.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Whose images the networks are for. Default digits.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(parser=_named, metavar="PATH", help="A data file for the task.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="desk (default), paper or final: which of the system's values."),
    ] = None,
    sets: Sets = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The table's file, Parquet.")
    ] = None,
    check: Annotated[
        int, typer.Option(min=0, max=10_000, help="Random networks to compare predictions with.")
    ] = 0,
    repeats: Annotated[
        int, typer.Option(min=1, max=100_000, help="Measurements of every row.")
    ] = 50,
    json_: Json = False,
) -> None:
    """Measure how long a space's layers take on this machine: a table for ProxylessNAS and for
    searches with predicted_latency.
    """
    from evoml.commands.configuration import configuration
    from evoml.commands.latency import latency as latency_
    from evoml.config import assign

    flags: dict[str, Any] = {
        "space": without_none(name=space),
        "task": without_none(name=task, data=None if data is None else str(data)),
        **without_none(preset=preset),
    }
    named = without_none(system=system) if system else {"space": {"name": space or "mobile"}}
    layers = [
        ("system", named),
        *(("--set", assign(text)) for text in sets or []),
        ("flags", flags),
    ]
    latency_(configuration(layers), output, check, repeats, json_)


def _lists(axis: str) -> None:
    """A command that lists one axis, and with a name shows the settings of that part."""

    def command(
        name: Annotated[str | None, typer.Argument(help="Show the settings of this one.")] = None,
        json_: Json = False,
    ) -> None:
        from evoml.commands.lists import show_axis

        show_axis(axis, name, json_)

    command.__doc__ = f"List {axis}, or the settings of one."
    app.command(axis, rich_help_panel="What there is")(command)


for _axis in ("systems", "spaces", "strategies", "evaluators", "backends", "tasks"):
    _lists(_axis)


@app.command(rich_help_panel="What there is")
def settings(json_: Json = False) -> None:
    """List the settings that belong to no part: search.*, archive.* and others."""
    from evoml.commands.lists import show_settings

    show_settings(json_)


def without_none(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
