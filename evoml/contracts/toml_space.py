"""What spaces share whose genotypes are TOML files that say which space they are of."""

import json
import tomllib
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from evoml.core import settings
from evoml.core.errors import InputError
from evoml.genotypes.schema import Genotype, toml
from evoml.spaces import Space


class FileSpace(Space):
    """A space with a name and settings, some of which a genotype's file holds. A subclass gives `schema` and `frame`."""

    name: ClassVar[str]  # its module's
    meaning: ClassVar[tuple[str, ...]] = ()  # settings without which a genotype is something else
    settings: Any

    def header(self) -> dict[str, Any]:
        """The settings that a genotype means nothing without, for its file."""
        return {}

    def format(self, genotype: Genotype) -> str:
        """TOML: the space, then one array of tables a gene table."""
        header = "".join(f"space.{toml({key: value})}" for key, value in {"name": self.name, **self.header()}.items())
        return header + "\n" + self.schema.format(genotype)

    def parse(self, text: str, where: str) -> Genotype:
        tables = read_genotype(text, where)
        given = tables.pop("space", {"name": self.name})
        if not isinstance(given, dict) or given.get("name") != self.name:
            raise InputError(f"{where}: space.name: {given.get('name') if isinstance(given, dict) else given!r}: must be {self.name}")
        default = type(self.settings)().model_dump(mode="json")
        mine = {key: self.settings.model_dump(mode="json")[key] for key in self.meaning}
        for key, value in mine.items():
            if given.get(key, default[key]) != value:
                theirs, ours = (json.dumps(each, default=str) for each in (given.get(key, default[key]), value))
                raise InputError(
                    f"{where}: space.{key}: {theirs}, where this search or task has {ours}; set space.{key} to the file's, or take another file"
                )
        genotype = self.from_plain(tables, where)
        if problem := self.problem(genotype):
            raise InputError(f"{where}: {problem}")
        return genotype

    def from_plain(self, tables: dict[str, Any], where: str) -> Genotype:
        """The genotype of a file's gene tables. Raises InputError."""
        return self.schema.from_plain(tables, where)

    def problem(self, genotype: Genotype) -> str | None:
        """What is wrong with a genotype beyond its schema; None if nothing is."""
        return None


def read_genotype(text: str, where: str) -> dict[str, Any]:
    """A genotype's file as nested dictionaries. Raises InputError."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not TOML ({' '.join(str(error).split())[:200]})") from None


S = TypeVar("S", bound=FileSpace)


def opened(space: Callable[[Any], S], values: type[settings.Settings], text: str, where: str) -> tuple[S, Genotype]:
    """What a space's `open_text` gives: the space that a genotype's file names, made of its settings `values`, and the genotype. Raises InputError."""
    made = space(values.read(read_header(text, where), f"{where}: space"))
    return made, made.parse(text, where)


def read_header(text: str, where: str) -> dict[str, Any]:
    """The settings of a genotype's space, from its file. Raises InputError."""
    given = read_genotype(text, where).get("space", {})
    if not isinstance(given, dict):
        raise InputError(f"{where}: space: {given!r}: must be a table with the space's name")
    return {key: value for key, value in given.items() if key != "name"}
