"""What a run of networks of neurons found, as an object to call."""

from pathlib import Path

from evoml.core.errors import InputError
from evoml.genotypes.population import Population
from evoml.search.problem import open_file, stored_problem
from evoml.tasks.function import Network


def network(path: Path, candidate: int | None = None, backend: str = "numba") -> Network:
    """The best network of a run, or of a genotype's file: called with inputs [..., I] it gives
    outputs [..., O], as a task of functions is given it. Inputs are as the search scaled them.

    candidate: another one of the run, by its id. backend: with what it runs. Raises InputError.
    """
    if path.is_dir():
        problem = stored_problem(path)
        space, (found, _) = problem.space, problem.archive(path).best(1, candidate)
        if not found:
            which = "no candidate" if candidate is None else f"candidate {candidate} is not"
            raise InputError(f"{path}: {which} archived")
        genotype = found[0]["genotype"]
    else:
        space, genotype = open_file(path)
    if space.phenotype != "neurons":
        raise InputError(f"{path}: is of space {space.name}, which makes no networks of neurons")
    return Network(space.phenotypes(Population.of(space.schema, [genotype])), backend)
