"""What `evoml export` does: check what a target needs, train where it needs that, and write."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoml.archive.files import replace
from evoml.commands.configuration import trust_parts
from evoml.commands.inputs import edits, open_best, trust_all
from evoml.core.errors import InputError, cannot_write
from evoml.core.registry import names
from evoml.export._target import Given, RunTarget, Target, target
from evoml.report import console, warn
from evoml.report._kind import Request, kind, kind_of
from evoml.report.architectures import course, not_kept, training_line
from evoml.search.opened import Opened
from evoml.search.problem import stored_problem

if TYPE_CHECKING:
    from evoml.search.winner import Trained


def export(
    path: Path,
    to: str,
    output: Path | None,
    task: str | None,
    data: Path | None,
    trust: bool = False,
    preset: str | None = None,
    sets: Sequence[dict[str, Any]] = (),
    candidate: int | None = None,
    raw: bool = False,
) -> None:
    """Write a genotype, or a run, in another form. trust: execute the files of a run's parts.

    preset: what a network that has to be trained is trained with, `final` (at full size) or
    `search` (as candidates were). sets: settings over that. candidate: its id in the run; None: the
    best one. raw: whether what is written takes raw pixels and gives probabilities.
    """
    if trust:
        trust_all(path)
    trust_parts({"task": {"name": task or ""}})
    wanted = target(to)
    _refuse_own_files(path, output)
    if raw and not wanted.raw:
        takers = ", ".join(name for name in names("export") if target(name).raw)
        raise InputError(f"export: --raw: --to {to} has one form only; it is for --to {takers}")
    if isinstance(wanted, RunTarget):
        _write(_picture(path, wanted, task, candidate), output)
        return
    opened = open_best(path, candidate)
    if preset not in (None, "final", "search"):
        raise InputError(f"export: --preset {preset}: must be final or search")
    request = Request(task, data, None, preset, sets=list(sets))
    request.check(kind_of(opened.space).takes)
    _check(opened, wanted, output, request)
    network = _Network(opened, request)
    given = Given(opened, task, network, raw, request.layers(named=True))
    if not wanted.destination:
        text = wanted.text(given)
        network.say_remarks()
        _write(text, output)
        return
    assert output is not None
    written = wanted.write(given, output)
    network.say_remarks()
    scored = f" ({network.trained.accuracy})" if network.trained else ""
    err = console(stderr=True)
    err.print(f"wrote {', '.join(map(str, written))}{scored}", soft_wrap=True)
    if said := wanted.says(given):
        err.print(said, soft_wrap=True, markup=False)


def _picture(path: Path, wanted: RunTarget, task: str | None, candidate: int | None) -> str:
    if not path.is_dir() or task is not None:
        raise InputError(
            f"export: --to {wanted.name} needs a run, and no --task; {path} is "
            f"{'one' if path.is_dir() else 'none'}"
        )
    problem = stored_problem(path)
    text = wanted.picture_of(path, problem, candidate)
    warn(edits(path))
    return text


def _check(opened: Opened, wanted: Target, output: Path | None, request: Request) -> None:
    """Refuse what a target does not take, and what it needs and was not given."""
    task, trains = request.task, request.data is not None or request.preset or request.sets
    to, phenotype = f"export: --to {wanted.name}", opened.space.phenotype
    this = str(kind_of(opened.space))
    if opened.problem is not None and task is not None:
        raise InputError("export: --task is for a file; a run knows its own")
    if not wanted.takes(phenotype):
        kinds = " or ".join(str(kind(each)) for each in wanted.kinds)
        forms = ", ".join(name for name in names("export") if _fits(name, phenotype))
        raise InputError(f"{to} needs {kinds}; of {this} there are {forms}")
    why = wanted.task_for.get(phenotype)
    if why is None and (task is not None or trains):
        raise InputError(
            f"{to}: --task, --data, --preset and --set are for a training; {this} is written as it "
            "is"
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

        if self.trained is not None:
            return self.trained
        opened = self.opened
        run = opened.keeps
        layers = self.request.layers(named=True)
        asked = self.request.preset is not None or bool(self.request.sets)
        if run is not None and not asked and (found := kept(run, opened.genotype)) is not None:
            self.trained = found
            return found
        preset = None if self.request.preset == "search" else "final"
        final = final_problem(opened.about, layers, preset)
        run = None if preset is None else run  # which keeps what is trained at full size

        def before(trains: bool, keeps: bool, epochs: int) -> None:
            self.say_remarks()
            warn([not_kept(opened)] if run is not None and trains and not keeps else [])
            if trains:
                console(stderr=True).print(
                    f"not trained yet: {training_line(final, epochs)} ...", soft_wrap=True
                )

        self.trained = train_final(final, opened.genotype, run, course(), before)
        return self.trained


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    there = output.exists()
    try:
        if output.is_symlink() or (
            there and not output.is_file()
        ):  # a device, or where a link goes
            output.write_text(text, encoding="utf-8")
            return
        replace(output, text.encode())
    except OSError as error:
        raise cannot_write(output, error) from None
    if there:
        warn([f"{output}: replaced"])


def _refuse_own_files(run: Path, output: Path | None) -> None:
    """Raise InputError where an export would replace a file that a run consists of."""
    if output is None or not run.is_dir() or not output.exists():
        return
    inside = output.resolve().parent
    if run.resolve() in (inside, *inside.parents):
        own = ("run.toml", "result.json", "events.jsonl", "lock")
        of_folder = inside.name in ("checkpoint", "final") or output.suffix == ".parquet"
        if output.name in own or output.name.startswith("start-") or of_folder:
            raise InputError(f"export: --output {output}: is a file of the run; name another")
