"""CUDA C from the operation table: one case an operation, put into the interpreter `_cuda.cu`."""

import ast
from functools import cache
from importlib.resources import files

from evoml.phenotypes.instructions import OPS, Op
from evoml.phenotypes.programs import Memory

_BANKS = {"s": "SCALAR", "v": "VECTOR", "m": "MATRIX"}
_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=="}
# the others have the same name in C
_FUNCTIONS = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "abs": "fabs"}


@cache
def source(features: int, dtype: str, memory: Memory) -> str:
    """The whole module, for one vector length, element type (float32 or float64) and size of
    memory.

    It includes nothing.
    """
    values = {
        "F": features,
        "SCALARS": memory.scalars,
        "VECTORS": memory.vectors,
        "MATRICES": memory.matrices,
    }
    lines = [
        f"#define T {'double' if dtype == 'float64' else 'float'}",
        *(f"#define {name} {value}" for name, value in values.items()),
    ]
    interpreter = (files("evoml.backends") / "_cuda.cu").read_text(encoding="utf-8")
    return (
        "\n".join(lines)
        + "\n\n"
        + interpreter.replace("//cases", "\n".join(case(op) for op in OPS if op.out))
    )


def case(op: Op) -> str:
    """One operation as a case of the interpreter's switch."""
    return "\n".join(_indent(_indent(Kernel(op).lines())))


class Kernel:
    """Translates one kernel of the operation table; `sums` collects the statements that its totals
    need before an element is stored.
    """

    def __init__(self, op: Op) -> None:
        self.op = op
        self.kinds = dict(zip("ab", op.ins, strict=False)) | {"out": op.out}
        self.own = ["i", "j"][: "svm".index(op.out)]
        self.tree = ast.parse(op.kernel, mode="eval").body
        self.sums: list[str] = []

    def lines(self) -> list[str]:
        """Every element of the output, a row at a time; a matrix through the scratch area where it
        is an input that is read elsewhere.

        A row is stored when all of it is there: were every element stored at once, no element's
        loads could begin before that.
        """
        inputs = [
            f"const T* {name} = {_BANKS[kind]}({number});"
            for name, number, kind in zip("ab", ("first", "second"), self.op.ins)
        ]
        constants = [
            f"const T {name} = constants[at * 3 + {place}];"
            for place, name in enumerate("xyz"[: len(self.op.constants)])
        ]
        lines = [*inputs, f"T* out = {_BANKS[self.op.out]}(last);", *constants]
        value = self.value(self.tree)
        if self.op.out == "s":
            lines += [*self.sums, f"*out = {value};"]
        elif self.op.out == "v":
            lines += self._row("i", value, "out")
        elif clashes := self._clashes():
            lines += [
                f"T* to = {' || '.join(clashes)} ? SCRATCH : out;",
                *_loop("i", self._row("j", value, "to")),
            ]
            lines += [
                "if (to != out)",
                "    for (int i = 0; i < F * F; ++i) out[i * WARP] = to[i * WARP];",
            ]
        else:
            lines += _loop("i", self._row("j", value, "out"))
        return [f"case {self.op.id}: {{  // {self.op.name}", *_indent([*lines, "break;"]), "}"]

    def _row(self, index: str, value: str, to: str) -> list[str]:
        place = self._place(self.op.out, self.own)
        return [
            "T row[F];",
            *_loop(index, [*self.sums, f"row[{index}] = {value};"]),
            *_loop(index, [f"{to}[{place}] = row[{index}];"]),
        ]

    def _clashes(self) -> list[str]:
        """Conditions under which elements would be read after they were overwritten."""
        reads = [
            (ast.unparse(node.value), _names(node))
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Subscript)
        ]
        return sorted(
            {
                f"{name} == out"
                for name, at in reads
                if self.kinds[name] == self.op.out and at != self.own
            }
        )

    @staticmethod
    def _place(kind: str, at: list[str]) -> str:
        """Offset of an element within an operand."""
        return {
            "s": "0",
            "v": f"{at[0]} * WARP" if at else "",
            "m": f"({at[0]} * F + {at[-1]}) * WARP" if at else "",
        }[kind]

    def value(self, node: ast.AST) -> str:
        """An expression as C."""
        match node:
            case ast.Constant(value=int() | float() as number):
                return f"T({number})"
            case ast.Name(id="F"):
                return "T(F)"
            case ast.Name(id=name):
                return f"*{name}" if name in self.kinds else name
            case ast.Subscript(value=ast.Name(id=name)):
                return f"{name}[{self._place(self.kinds[name], _names(node))}]"
            case ast.BinOp(left=left, op=operator, right=right):
                return f"({self.value(left)} {_OPERATORS[type(operator)]} {self.value(right)})"
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self._call(name, arguments)
        raise NotImplementedError(ast.dump(node))

    def _call(self, name: str, arguments: list[ast.expr]) -> str:
        match name:
            case "total":
                return self._total(arguments[0])
            case "where":
                return (
                    f"({self.condition(arguments[0])} ? {self.value(arguments[1])} : "
                    f"{self.value(arguments[2])})"
                )
            case "square":
                value = self.value(arguments[0])
                return f"({value} * {value})"
            case "uniform" | "gaussian":
                element = {"s": "0", "v": "i", "m": "i * F + j"}[self.op.out]
                return f"{name}(noise(seed, count + u64({element})))"
        return f"{_FUNCTIONS.get(name, name)}({self.value(arguments[0])})"

    def _total(self, summand: ast.expr) -> str:
        """A sum in ascending order over the indices k and l that occur in it.

        It starts at -0, the neutral element of addition.
        """
        name = f"sum{len(self.sums) // 2}"
        used = {node.id for node in ast.walk(summand) if isinstance(node, ast.Name)}
        loops = [
            f"for (int {index} = 0; {index} < F; ++{index})" for index in "kl" if index in used
        ]
        self.sums += [f"T {name} = T(-0.0);", f"{' '.join(loops)} {name} += {self.value(summand)};"]
        return name

    def condition(self, node: ast.AST) -> str:
        match node:
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
                return f"({self.condition(left)} && {self.condition(right)})"
            case ast.Compare(
                left=ast.Name(id=name),
                comparators=[ast.Call(func=ast.Name(id="at"), args=[ast.Name(id=constant)])],
            ):
                return f"{name} == element({constant})"
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return f"{self.value(left)} {_COMPARE[type(operator)]} {self.value(right)}"
        raise NotImplementedError(ast.dump(node))


def _loop(index: str, body: list[str]) -> list[str]:
    return [f"for (int {index} = 0; {index} < F; ++{index}) {{", *_indent(body), "}"]


def _indent(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def _names(node: ast.Subscript) -> list[str]:
    """The indices of a subscript."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return [ast.unparse(part) for part in parts]
