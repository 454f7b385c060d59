"""CUDA C from the functions of nodes: one case a function, put into `_cuda_graphs.cu`."""

import ast
from functools import cache
from importlib.resources import files

from evoml.backends._cuda_source import _COMPARE, _FUNCTIONS, _OPERATORS
from evoml.phenotypes.activations import ACTIVATIONS, AGGREGATIONS


@cache
def graph_source(dtype: str) -> str:
    """The whole module for one element type, float32 or float64. It includes nothing."""
    text = (files("evoml.backends") / "_cuda_graphs.cu").read_text(encoding="utf-8")
    text = text.replace("//activations", _cases([(row.name, row.text) for row in ACTIVATIONS]))
    text = text.replace("//aggregations", _cases([(row.name, row.step) for row in AGGREGATIONS]))
    means = " || ".join(f"kind == {at}" for at, row in enumerate(AGGREGATIONS) if row.mean)
    return f"#define T {'double' if dtype == 'float64' else 'float'}\n\n" + text.replace(
        "//means\n}", f"{means}; }}"
    )


def _cases(rows: list[tuple[str, str]]) -> str:
    """A case of the switch for every name and expression."""
    return "\n".join(
        f"        case {at}: return {formula(ast.parse(text, mode='eval').body)};  // {name}"
        for at, (name, text) in enumerate(rows)
    )


def formula(node: ast.AST) -> str:
    """An expression as C."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return f"T({number})"
        case ast.Name(id=name):
            return name
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return f"(-{formula(operand)})"
        case ast.BinOp(left=left, op=operator, right=right):
            return f"({formula(left)} {_OPERATORS[type(operator)]} {formula(right)})"
        case ast.Compare(left=left, ops=[compare], comparators=[right]):
            return f"{formula(left)} {_COMPARE[type(compare)]} {formula(right)}"
        case ast.Call(func=ast.Name(id="where"), args=[condition, yes, no]):
            return f"({formula(condition)} ? {formula(yes)} : {formula(no)})"
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return f"T({_FUNCTIONS.get(name, name)}({formula(argument)}))"
    raise NotImplementedError(ast.dump(node))
