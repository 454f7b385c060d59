"""The walls of the house: imports run one way, and only some rooms may import torch."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "evoml"
SOURCES = {
    path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", "."): path
    for path in PACKAGE.rglob("*.py")
}


def imports(path: Path, top_level: bool = False) -> set[str]:
    """Modules that a file imports, `from x import y` as x and x.y."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else list(ast.walk(tree))
    out: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            out |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return out


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


# What a room may import: itself, and the rooms of the floors below.
FLOORS = (
    ("core",),
    ("genotypes",),
    ("phenotypes",),
    ("compilation",),
    ("contracts",),
    ("archive", "predictors"),
    ("networks",),
    ("workers",),
    ("backends", "tasks", "spaces", "strategies", "evaluators", "systems"),
    ("config",),
    ("search",),
    ("export",),
    ("report",),
    ("testing",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
FLOOR = {f"evoml.{name}": number for number, floor in enumerate(FLOORS) for name in floor}
AXES = {"evoml.spaces", "evoml.strategies", "evoml.evaluators"}
REGISTRIES = {"evoml.backends", "evoml.tasks", "evoml.systems"} | AXES


def test_parts_of_different_axes_never_import_each_other() -> None:
    for module, path in SOURCES.items():
        if room(module) in AXES:
            assert not {room(each) for each in imports(path)} & (AXES - {room(module)}), module


def test_every_room_stands_on_a_floor() -> None:
    assert {room(module) for module in SOURCES} - {"evoml.__init__"} <= set(FLOOR)


@pytest.mark.parametrize("module", sorted(set(SOURCES) - {"evoml.__init__"}))
def test_imports_run_downwards(module: str) -> None:
    """Parts may use tasks' and backends' data, which stand on their floor; nobody else's room."""
    mine = room(module)
    for other in {room(each) for each in imports(SOURCES[module])} & set(FLOOR) - {mine}:
        beside = {mine, other} <= REGISTRIES
        assert FLOOR[other] < FLOOR[mine] or beside, f"{module} imports {other}"


def test_only_networks_and_export_import_torch() -> None:
    for module, path in SOURCES.items():
        if any(each.split(".")[0] == "torch" for each in imports(path)):
            assert room(module) in {
                "evoml.networks",
                "evoml.export",
                "evoml.phenotypes",
                "evoml.evaluators",
                "evoml.search",
            }, module


def test_nothing_on_disk_is_a_pickle() -> None:
    """Numba's cache of kernels is one, for this machine alone; see
    `evoml.compilation.numba_cache`.
    """
    for module, path in SOURCES.items():
        assert not {each.split(".")[0] for each in imports(path)} & {
            "pickle",
            "dill",
            "cloudpickle",
            "marshal",
            "shelve",
        }, module
        assert "allow_pickle=True" not in path.read_text(), module


def test_public_names_are_there() -> None:
    import evoml

    for name in evoml.__all__:
        assert getattr(evoml, name) is not None
