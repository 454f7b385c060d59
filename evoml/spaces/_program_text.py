"""Programs as Python source: three functions, one instruction a line. Read with `ast` against the
operation table; never executed.

A function without instructions holds `...`; `pass` is the instruction that does nothing. An
instruction is found by the shape of its statement, in which addresses are letters of their type and
numbers are '#': `s1 = dot(v0, v1)` has the shape `s = dot(v, v)`.
"""

import ast
import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache

import numpy as np

from evoml.core.errors import InputError
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.instructions import BY_NAME, OPS, Op
from evoml.phenotypes.programs import FUNCTIONS, INSTRUCTION, LONGEST, Memory

_SYMBOL = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.MatMult: "@"}
_ADDRESS = re.compile(r"[svm](?:0|[1-9][0-9]{0,3})")
_TYPES = {"s": "scalar", "v": "vector", "m": "matrix"}


def format_program(genotype: Genotype) -> str:
    """The three functions as Python source."""
    return "\n\n".join(format_function(name, genotype.tables[name]) for name in FUNCTIONS) + "\n"


def format_function(name: str, rows: np.ndarray) -> str:
    lines = [f"    {format_instruction(row)}" for row in rows] or ["    ..."]
    return "\n".join([f"def {name}():", *lines])


def format_instruction(row: np.void) -> str:
    """One instruction as a statement."""
    op = OPS[row["op"]]
    operands = {
        name: f"{kind}{row[name]}"
        for name, kind in zip(("a", "b", "out"), (op.ins + "  ")[:2] + op.out, strict=False)
    }
    operands |= {name: repr(float(row[name])) for name in "xyz"}
    return re.sub(r"\b(out|a|b|x|y|z)\b", lambda match: operands[match[0]], op.text)


def parse_program(
    text: str, where: str, memory: Memory, most: Sequence[int] | np.ndarray = (LONGEST,) * 3
) -> dict[str, np.ndarray]:
    """The instructions of setup, predict and learn, at most `most` of each.

    Raises InputError with file and line.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise InputError(
            f"{where}:{line}: not Python source ({getattr(error, 'msg', None) or error})"
        ) from None
    tables: dict[str, np.ndarray] = {}
    for node in tree.body:
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            continue  # the docstring
        if not isinstance(node, ast.FunctionDef) or node.name not in FUNCTIONS:
            raise InputError(
                f"{where}:{node.lineno}: only the functions setup, predict and learn may stand here"
            )
        if node.name in tables:
            raise InputError(f"{where}:{node.lineno}: {node.name} is there twice")
        if (
            any(value for _, value in ast.iter_fields(node.args))
            or node.decorator_list
            or node.returns
        ):
            raise InputError(f"{where}:{node.lineno}: must be `def {node.name}():`")
        rows = tables[node.name] = _rows(node.body, where, memory)
        limit = most[FUNCTIONS.index(node.name)]
        if len(rows) > limit:
            raise InputError(
                f"{where}:{node.lineno}: {node.name} has {len(rows)} instructions, at most {limit} "
                f"are allowed (space.{node.name}.most)"
            )
    for name in FUNCTIONS:
        if name not in tables:
            raise InputError(
                f"{where}:1: no function {name}; a program has setup, predict and learn"
            )
    return tables


def _rows(body: list[ast.stmt], where: str, memory: Memory) -> np.ndarray:
    statements = [node for node in body if not _is_remark(node)]
    rows = np.zeros(len(statements), INSTRUCTION)
    for index, node in enumerate(statements):
        rows[index] = _instruction(node, where, memory)
    return rows


def _is_remark(node: ast.stmt) -> bool:
    """A docstring or `...`."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and (node.value.value is ... or isinstance(node.value.value, str))
    )


class _NotAnInstruction(Exception):
    pass


def _shape(node: ast.AST, operands: list[str | float]) -> str:
    """The shape of a statement or expression; its addresses and numbers are appended to `operands`
    in order.
    """
    match node:
        case ast.Pass():
            return "pass"
        case ast.Assign(targets=[target], value=value):
            return f"{_shape(target, operands)} = {_shape(value, operands)}"
        case ast.Subscript(value=value, slice=index):
            return f"{_shape(value, operands)}[{_shape(index, operands)}]"
        case ast.Tuple(elts=parts):
            return ", ".join(_shape(part, operands) for part in parts)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _SYMBOL:
            return f"({_shape(left, operands)} {_SYMBOL[type(operator)]} {_shape(right, operands)})"
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return f"{name}({', '.join(_shape(argument, operands) for argument in arguments)})"
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if (
            not isinstance(value, bool)
        ):
            operands.append(-float(value))
            return "#"
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            operands.append(float(value))
            return "#"
        case ast.Name(id=name) if _ADDRESS.fullmatch(name):
            operands.append(name)
            return name[0]
    raise _NotAnInstruction


@cache
def _shapes() -> dict[str, tuple[Op, list[str | float]]]:
    """Shape -> operation, with the place of each operand: 'out', 'a', 'b', 'x', 'y', 'z', or the
    number that must stand there.
    """
    found: dict[str, tuple[Op, list[str | float]]] = {}
    for op in OPS:
        letters = dict(zip(("a", "b", "out"), ((op.ins + "  ")[:2] + op.out), strict=False))
        filled = re.sub(r"\b[xyz]\b", "0.5", op.text)
        for name, letter in letters.items():
            filled = re.sub(rf"\b{name}\b", f"{letter}0", filled)
        places = re.findall(r"\b(?:out|a|b|x|y|z|\d+)\b", op.text)
        operands: list[str | float] = []
        found[_shape(ast.parse(filled).body[0], operands)] = (
            op,
            [float(place) if place.isdigit() else place for place in places],
        )
    return found


def _instruction(node: ast.stmt, where: str, memory: Memory) -> tuple[int | float, ...]:
    """One statement as a row of the table."""
    place = f"{where}:{node.lineno}"
    try:
        text = ast.unparse(node).splitlines()[0]
    except (RecursionError, ValueError):  # nested hundreds deep, or a number of thousands of digits
        raise InputError(
            f"{place}: not an instruction; one looks like `s1 = dot(v0, v1)`"
        ) from None
    operands: list[str | float] = []
    try:
        shape = _shape(node, operands)
    except (_NotAnInstruction, OverflowError):
        raise InputError(
            f"{place}: `{text}` is not an instruction; one looks like `s1 = dot(v0, v1)`"
        ) from None
    if shape not in _shapes():
        raise InputError(f"{place}: `{text}`: {_hint(shape)}")
    op, places = _shapes()[shape]
    row: dict[str, int | float] = dict.fromkeys(("a", "b", "out"), 0) | dict.fromkeys("xyz", 0.0)
    for name, operand in zip(places, operands, strict=True):
        if isinstance(name, float):
            if operand != name:
                raise InputError(f"{place}: `{text}`: the number must be {name:g}")
        elif isinstance(operand, str):
            row[name] = _address(operand, name == "out", memory, f"{place}: `{text}`")
        else:
            row[name] = operand
    for name, domain in zip("xyz", op.constants, strict=False):
        _check_constant(domain, row[name], f"{place}: `{text}`")
    return (op.id, *row.values())


def _address(name: str, written: bool, memory: Memory, place: str) -> int:
    kind, number = name[0], int(name[1:])
    count = {"s": memory.scalars, "v": memory.vectors, "m": memory.matrices}[kind]
    if number >= count:
        there = (
            f"there are {kind}0..{kind}{count - 1}"
            if count
            else f"this memory has no {_TYPES[kind]}"
        )
        raise InputError(f"{place}: no {name}; {there}")
    if written and name in ("s0", "v0"):
        raise InputError(
            f"{place}: {name} is given ({'the label' if kind == 's' else 'the features'}) and may "
            "not be written"
        )
    return number


def _check_constant(domain: str, value: float, place: str) -> None:
    if not np.isfinite(value):
        raise InputError(f"{place}: a constant must be finite")
    if domain == "index" and not 0 <= value < 1:
        raise InputError(f"{place}: an element index must be in [0, 1)")
    if domain == "deviation" and value < 0:
        raise InputError(f"{place}: a standard deviation may not be negative")


def _hint(shape: str) -> str:
    """What would be right for a shape that no operation has."""
    name = re.search(r"(\w+)\(", shape)
    if not name:
        return f"no operation `{shape}`; s is a scalar, v a vector, m a matrix, # a number"
    known = sorted(
        {
            match[1]
            for text in (op.text for op in BY_NAME.values())
            if (match := re.search(r"= (\w+)\(", text))
        }
    )
    if name[1] not in known:
        near = get_close_matches(name[1], known, n=1)
        return f"no operation {name[1]}; " + (
            f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        )
    right = [known_shape for known_shape in _shapes() if f" {name[1]}(" in known_shape]
    return (
        f"wrong types for {name[1]}; right would be {' or '.join(right)} (s scalar, v vector, m "
        "matrix, # number)"
    )
