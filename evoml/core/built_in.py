"""Genotypes that evoml brings: published and textbook ones, a folder a space."""

from importlib.resources import files
from pathlib import Path


def programs_folder() -> Path:
    """Where they are: beside the package in a checkout, inside it when installed."""
    inside = Path(str(files("evoml") / "_programs"))
    return inside if inside.is_dir() else Path(__file__).parents[2] / "programs"


def built_in(space: str) -> dict[str, Path]:
    """The files of one space, by name."""
    folder = programs_folder() / space
    return {path.stem: path for path in sorted(folder.glob("*")) if path.suffix in (".toml", ".py")}


def built_in_file(name: str, space: str = "") -> Path | None:
    """A file by `space/name`, or by its name where the space is known; None where there is none."""
    of, _, last = name.rpartition("/")
    return built_in(of or space).get(last) if (of or space) and "/" not in of else None
