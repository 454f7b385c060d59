"""What `evoml export` does: check what a target needs, train where it needs that, and write."""

from pathlib import Path
from typing import TYPE_CHECKING

from evoml.commands.configuration import trust_parts
from evoml.commands.inputs import edits, open_best, trust_all
from evoml.core.errors import InputError, cannot_write
from evoml.core.registry import names
from evoml.export._target import Given, RunTarget, Target, target
from evoml.report import console, warn
from evoml.report._kind import Request, kind, kind_of
from evoml.report.architectures import every_epoch, not_kept, training_line
from evoml.search.opened import Opened
from evoml.search.problem import Problem, stored_config

if TYPE_CHECKING:
    from evoml.search.winner import Trained


def export(
    path: Path,
    to: str,
    output: Path | None,
    task: str | None,
    data: Path | None,
    trust: bool = False,
) -> None:
    """Write a genotype, or a run, in another form. trust: execute the files of a run's parts."""
    if trust:
        trust_all(path)
    trust_parts({"task": {"name": task or ""}})
    wanted = target(to)
    if isinstance(wanted, RunTarget):
        _write(_picture(path, wanted, task), output)
        return
    opened = open_best(path)
    _check(opened, wanted, output, task, data)
    network = _Network(opened, Request(task, data))
    given = Given(opened, task, network)
    if not wanted.destination:
        text = wanted.text(given)
        network.say_remarks()
        _write(text, output)
        return
    assert output is not None
    written = wanted.write(given, output)
    network.say_remarks()
    scored = f" ({network.trained.accuracy})" if network.trained else ""
    console(stderr=True).print(f"wrote {', '.join(map(str, written))}{scored}", soft_wrap=True)


def _picture(path: Path, wanted: RunTarget, task: str | None) -> str:
    if not path.is_dir() or task is not None:
        raise InputError(
            f"export: --to {wanted.name} needs a run, and no --task; {path} is "
            f"{'one' if path.is_dir() else 'none'}"
        )
    problem = Problem(stored_config(path))
    text = wanted.picture(path, problem)
    warn(edits(path))
    return text


def _check(
    opened: Opened, wanted: Target, output: Path | None, task: str | None, data: Path | None
) -> None:
    """Refuse what a target does not take, and what it needs and was not given."""
    to, phenotype = f"export: --to {wanted.name}", opened.space.phenotype
    this = str(kind_of(opened.space))
    if opened.problem is not None and task is not None:
        raise InputError("export: --task is for a file; a run knows its own")
    if not wanted.takes(phenotype):
        kinds = " or ".join(str(kind(each)) for each in wanted.kinds)
        forms = ", ".join(name for name in names("export") if _fits(name, phenotype))
        raise InputError(f"{to} needs {kinds}; of {this} there are {forms}")
    why = wanted.task_for.get(phenotype)
    if why is None and (task is not None or data is not None):
        raise InputError(
            f"export: --task and --data are for a training; {this} is written as it is"
        )
    if wanted.destination and output is None:
        raise InputError(f"{to} needs --output, {wanted.destination} to write")
    if why is not None and opened.problem is None and task is None:
        raise InputError(f"{to} of a file needs --task, {why}; `evoml tasks` lists them")
    wanted.check_packages()


def _fits(name: str, phenotype: str) -> bool:
    other = target(name)
    return not isinstance(other, RunTarget) and other.takes(phenotype)


class _Network:
    """The trained network of an architecture, as `evaluate` left it in the run; trained now where
    it did not. And the remarks on what was opened, which are said once, before a training.
    """

    def __init__(self, opened: Opened, request: Request) -> None:
        self.opened, self.request = opened, request
        self.trained: Trained | None = None
        self._remarks = iter(opened.remarks)

    def say_remarks(self) -> None:
        """Say what has not been said yet."""
        warn(self._remarks)

    def __call__(self) -> "Trained":
        from evoml.search.winner import final_problem, kept, train_final

        opened = self.opened
        run = None if opened.problem is None else opened.path
        self.trained = None if run is None else kept(run, opened.genotype)
        if self.trained is not None:
            return self.trained
        final = final_problem(opened.about, self.request.layers(named=True), "final")

        def before(trains: bool, keeps: bool) -> None:
            self.say_remarks()
            warn([not_kept(opened)] if run is not None and trains and not keeps else [])
            if trains:
                console(stderr=True).print(
                    f"not trained at full size yet: {training_line(final)} ...", soft_wrap=True
                )

        self.trained = train_final(final, opened.genotype, run, every_epoch(), before)
        return self.trained


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write(output, error) from None
