"""The operation table compiled to LLVM vector code: lanes are tasks, one instruction runs on all of
them at once.

Memory is one flat array `[address, element..., lane]`, lanes innermost; a lane group is
`LANES[dtype]` tasks. Plain loops over a lane axis do not vectorise reliably (index wrap-around,
possible aliasing, short trip counts), so the kernels of `instructions.OPS` are translated to
explicit vector loads, arithmetic and stores here. Nothing is contracted or reordered: float64 lanes
give the reference's results.
"""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from evoml.compilation.numba_cache import compiled_callback
from evoml.phenotypes.instructions import OPS, Op

LANES = {np.dtype(np.float32): 16, np.dtype(np.float64): 8}  # two registers of AVX2, one of AVX-512

UNROLLED = (4, 8, 16)  # vector lengths that have an interpreter of their own

I32, I64 = ir.IntType(32), ir.IntType(64)
_COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=="}
_LIBM = {
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "exp": "exp",
    "log": "log",
}


class Lanes:
    """Emits vector instructions for one element type. Every vector has `width` lanes."""

    def __init__(self, builder: ir.IRBuilder, dtype: Any) -> None:
        self.b = builder
        self.double = np.dtype(dtype) == np.float64
        self.scalar = ir.DoubleType() if self.double else ir.FloatType()
        self.width = LANES[np.dtype(dtype)]
        self.size = 8 if self.double else 4
        self.vector = ir.VectorType(self.scalar, self.width)

    def splat(self, value: ir.Value) -> ir.Value:
        """One scalar in every lane."""
        kind = ir.VectorType(value.type, self.width)
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.width), [0] * self.width)
        return self.b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

    def number(self, value: float) -> ir.Value:
        return ir.Constant(self.vector, [value] * self.width)

    def whole(self, value: int) -> ir.Value:
        """An integer, as 64 bits in every lane."""
        bits = value & 0xFFFFFFFFFFFFFFFF
        return ir.Constant(
            ir.VectorType(I64, self.width), [bits - (1 << 64) if bits >> 63 else bits] * self.width
        )

    def address(self, base: ir.Value, index: ir.Value) -> ir.Value:
        """The address of vector number `index` behind `base`."""
        return self.b.gep(self.b.bitcast(base, self.vector.as_pointer()), [index], inbounds=True)

    def load(self, base: ir.Value, index: ir.Value) -> ir.Value:
        return self.b.load(self.address(base, index), align=self.size)

    def store(self, value: ir.Value, base: ir.Value, index: ir.Value) -> None:
        self.b.store(value, self.address(base, index), align=self.size)

    def call(self, name: str, x: ir.Value) -> ir.Value:
        """An LLVM intrinsic on whole vectors: sqrt, fabs, rint."""
        kind = f"v{self.width}f{self.size * 8}"
        return self.b.call(
            cgutils.get_or_insert_function(
                self.b.module, ir.FunctionType(self.vector, [self.vector]), f"llvm.{name}.{kind}"
            ),
            [x],
        )

    def libm(self, name: str, x: ir.Value) -> ir.Value:
        """A function of the C library, lane by lane (exp in single precision is computed on the
        whole vector).
        """
        if name == "exp" and not self.double:
            return self._exp(x)
        function = cgutils.get_or_insert_function(
            self.b.module,
            ir.FunctionType(self.scalar, [self.scalar]),
            _LIBM[name] + ("" if self.double else "f"),
        )
        out: ir.Value = ir.Constant(self.vector, ir.Undefined)
        for lane in range(self.width):
            at = ir.Constant(I32, lane)
            out = self.b.insert_element(
                out, self.b.call(function, [self.b.extract_element(x, at)]), at
            )
        return out

    def _exp(self, x: ir.Value) -> ir.Value:
        """exp in single precision: Cody-Waite reduction, a minimax polynomial of degree 6 (Cephes),
        two factors for the ends of the range.
        """
        b, n = self.b, self.number
        x = b.select(b.fcmp_ordered(">", x, n(89.0)), n(89.0), x)
        x = b.select(b.fcmp_ordered("<", x, n(-105.0)), n(-105.0), x)
        whole = self.call("rint", b.fmul(x, n(1.4426950408889634)))
        r = b.fsub(b.fsub(x, b.fmul(whole, n(0.693359375))), b.fmul(whole, n(-2.12194440e-4)))
        p = n(1.9875691500e-4)
        for c in (
            1.3981999507e-3,
            8.3334519073e-3,
            4.1665795894e-2,
            1.6666665459e-1,
            5.0000001201e-1,
        ):
            p = b.fadd(b.fmul(p, r), n(c))
        p = b.fadd(b.fadd(b.fmul(b.fmul(p, r), r), r), n(1.0))
        words = ir.VectorType(I32, self.width)
        exponent = b.fptosi(b.select(b.fcmp_unordered("uno", x, x), n(0.0), whole), words)
        half = b.ashr(exponent, ir.Constant(words, [1] * self.width))
        for part in (half, b.sub(exponent, half)):
            scale = b.shl(
                b.add(part, ir.Constant(words, [127] * self.width)),
                ir.Constant(words, [23] * self.width),
            )
            p = b.fmul(p, b.bitcast(scale, self.vector))
        return p

    def sigmoid(self, x: ir.Value) -> ir.Value:
        one = self.number(1.0)
        return self.b.fdiv(one, self.b.fadd(one, self.libm("exp", self.b.fneg(x))))

    def from_whole(self, bits: ir.Value) -> ir.Value:
        return self.b.uitofp(bits, self.vector)

    def noise(self, seeds: ir.Value, counter: ir.Value) -> ir.Value:
        """64 random bits a lane: output number `counter` of SplitMix64 (Steele, Lea, Flood 2014);
        seeds: address of the lanes' seeds.
        """
        b, w = self.b, self.whole
        words = b.load(b.bitcast(seeds, ir.VectorType(I64, self.width).as_pointer()), align=8)
        z = b.add(words, b.mul(self.splat(counter), w(0x9E3779B97F4A7C15)))
        z = b.mul(b.xor(z, b.lshr(z, w(30))), w(0xBF58476D1CE4E5B9))
        z = b.mul(b.xor(z, b.lshr(z, w(27))), w(0x94D049BB133111EB))
        return b.xor(z, b.lshr(z, w(31)))

    def uniform(self, bits: ir.Value) -> ir.Value:
        """Uniform in [0, 1), with as many bits as the type holds."""
        kept = 53 if self.double else 24
        return self.b.fmul(
            self.from_whole(self.b.lshr(bits, self.whole(64 - kept))), self.number(2.0**-kept)
        )

    def gaussian(self, bits: ir.Value) -> ir.Value:
        """Standard normal, by Box and Muller from the two halves of the bits."""
        b, n = self.b, self.number
        radius = b.fmul(b.fadd(self.from_whole(b.lshr(bits, self.whole(32))), n(0.5)), n(2.0**-32))
        angle = b.fmul(
            self.from_whole(b.and_(bits, self.whole(0xFFFFFFFF))), n(2.0**-32 * 2.0 * np.pi)
        )
        return b.fmul(
            self.call("sqrt", b.fmul(n(-2.0), self.libm("log", radius))), self.libm("cos", angle)
        )


class Machine:
    """What a kernel may touch while one instruction runs: operands, constants, the vector length,
    noise.
    """

    def __init__(
        self,
        lanes: Lanes,
        operands: dict[str, ir.Value],
        constants: dict[str, ir.Value],
        features: ir.Value,
        seeds: ir.Value,
        count: ir.Value,
    ) -> None:
        self.lanes = lanes
        self.operands = operands  # a, b, out: pointers to the first element
        self.constants = constants  # x, y, z: scalars
        self.features = features  # F
        self.seeds = seeds  # address of [lanes] uint64
        self.count = count  # noise already drawn before this instruction's first element


class Kernel:
    """Translates one kernel of the operation table; `indices` maps index names to values inside the
    loops around it.
    """

    def __init__(self, op: Op, machine: Machine) -> None:
        self.op = op
        self.m = machine
        self.lanes = machine.lanes
        self.b = machine.lanes.b
        self.indices: dict[str, ir.Value] = {}
        self.kinds = dict(zip("ab", op.ins, strict=False)) | {"out": op.out}
        self.tree = ast.parse(op.kernel, mode="eval").body

    def emit(self) -> None:
        """Loop over the output's elements and store each; through a scratch area where an input of
        the same type is read elsewhere.
        """
        out = self.m.operands["out"]
        target = self.m.operands["scratch"] if self._reads_elsewhere() else out
        with self._loops("ij"[: "svm".index(self.op.out)]):
            self.lanes.store(self.vector(self.tree), target, self._place(self.op.out, ["i", "j"]))
        if target is not out:
            with self._loops("ij"[: "svm".index(self.op.out)]):
                at = self._place(self.op.out, ["i", "j"])
                self.lanes.store(self.lanes.load(target, at), out, at)

    def _reads_elsewhere(self) -> bool:
        own = ["i", "j"][: "svm".index(self.op.out)]
        return any(
            isinstance(node, ast.Subscript)
            and self.kinds[ast.unparse(node.value)] == self.op.out
            and self._names(node) != own
            for node in ast.walk(self.tree)
        )

    @staticmethod
    def _names(node: ast.Subscript) -> list[str]:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [ast.unparse(part) for part in parts]

    @contextmanager
    def _loops(self, names: str) -> Iterator[None]:
        if not names:
            yield
            return
        with cgutils.for_range(self.b, self.m.features) as loop:
            self.indices[names[0]] = loop.index
            with self._loops(names[1:]):
                yield

    def _place(self, kind: str, names: list[str]) -> ir.Value:
        """Element number within an operand."""
        if kind == "s":
            return ir.Constant(I64, 0)
        row = self.indices[names[0]]
        return (
            row
            if kind == "v"
            else self.b.add(self.b.mul(row, self.m.features), self.indices[names[1]])
        )

    def vector(self, node: ast.AST) -> ir.Value:
        """The value of an expression in every lane."""
        b, lanes = self.b, self.lanes
        match node:
            case ast.Constant(value=int() | float() as value):
                return lanes.number(float(value))
            case ast.Name(id="F"):
                return lanes.splat(b.sitofp(self.m.features, lanes.scalar))
            case ast.Name(id=name) if name in self.m.constants:
                return lanes.splat(self.m.constants[name])
            case ast.Name(id=name):
                return lanes.load(self.m.operands[name], ir.Constant(I64, 0))
            case ast.Subscript(value=ast.Name(id=name)):
                return lanes.load(
                    self.m.operands[name], self._place(self.kinds[name], self._names(node))
                )
            case ast.BinOp(left=left, op=operator, right=right):
                emit = {ast.Add: b.fadd, ast.Sub: b.fsub, ast.Mult: b.fmul, ast.Div: b.fdiv}[
                    type(operator)
                ]
                return emit(self.vector(left), self.vector(right))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self._call(name, arguments)
        raise NotImplementedError(ast.dump(node))

    def _call(self, name: str, arguments: list[ast.expr]) -> ir.Value:
        b, lanes = self.b, self.lanes
        match name:
            case "total":
                return self._total(arguments[0])
            case "where":
                return b.select(
                    self.condition(arguments[0]),
                    self.vector(arguments[1]),
                    self.vector(arguments[2]),
                )
            case "square":
                value = self.vector(arguments[0])
                return b.fmul(value, value)
            case "uniform" | "gaussian":
                element = self._place(self.op.out, ["i", "j"])
                bits = lanes.noise(self.m.seeds, b.add(self.m.count, element))
                return lanes.uniform(bits) if name == "uniform" else lanes.gaussian(bits)
            case "sqrt":
                return lanes.call("sqrt", self.vector(arguments[0]))
            case "abs":
                return lanes.call("fabs", self.vector(arguments[0]))
        return lanes.libm(name, self.vector(arguments[0]))

    def _total(self, summand: ast.AST) -> ir.Value:
        """A sum in ascending order over the indices k and l that occur in it.

        It starts at -0, the neutral element of addition.
        """
        sum_ = cgutils.alloca_once_value(self.b, self.lanes.number(-0.0))
        used = {node.id for node in ast.walk(summand) if isinstance(node, ast.Name)}
        with self._loops("".join(name for name in "kl" if name in used)):
            self.b.store(self.b.fadd(self.b.load(sum_), self.vector(summand)), sum_)
        return self.b.load(sum_)

    def condition(self, node: ast.AST) -> ir.Value:
        match node:
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
                return self.b.and_(self.condition(left), self.condition(right))
            case ast.Compare(
                left=ast.Name(id=name),
                comparators=[ast.Call(func=ast.Name(id="at"), args=[ast.Name(id=constant)])],
            ):
                return self.b.icmp_signed("==", self.indices[name], self._element(constant))
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return self.b.fcmp_ordered(
                    _COMPARE[type(operator)], self.vector(left), self.vector(right)
                )
        raise NotImplementedError(ast.dump(node))

    def _element(self, constant: str) -> ir.Value:
        """at(): floor(F * x) in single precision, at most F - 1."""
        b, single = self.b, ir.FloatType()
        x = self.m.constants[constant]
        x = b.fptrunc(x, single) if self.lanes.double else x
        at = b.fptosi(b.fmul(b.sitofp(self.m.features, single), x), I64)
        last = b.sub(self.m.features, ir.Constant(I64, 1))
        return b.select(b.icmp_signed("<", at, last), at, last)


def _data(context: Any, builder: ir.IRBuilder, kind: types.Array, value: ir.Value) -> ir.Value:
    return context.make_array(kind)(context, builder, value=value).data


# -- the interpreter -------------------------------------------------------------------------------
#
# A phase (setup, an epoch of training, validation) is one call, in which the loop over examples is
# made of instructions too. A row of code is four int32: the operation, with the instruction's place
# in its program above bit 16; vector numbers of a, b and out in memory.

LOAD = len(OPS)  # the first example: v0 becomes the features and s0 zero
# the error of s1: in training see `Phase._trained`; in validation see `Phase._validated`, which
# ends the example
SCORE = LOAD + 1
# the next example, from the row in the place of a on; after the last the phase ends
NEXT = LOAD + 2
END = LOAD + 3  # the phase ends, as it does when every lane has failed

# What a phase reads and leaves behind, an int64 each: functions run so far, from which noise
# derives; lanes that have not failed, as bits; training steps, over lanes that had not failed.
STEP, ACTIVE, STEPS = range(3)

_PARAMETERS = (
    "code", "begin", "constants", "memory", "v0", "scratch", "features", "seeds", "lane", "state",
    "x", "y", "example", "examples", "errors", "error", "stride", "loss", "learn", "classify",
    "limit",
)  # fmt: skip
_ARRAYS = ("code", "constants", "memory", "seeds", "state", "x", "y", "errors", "loss")


@intrinsic
def run(
    typingctx, code, begin, constants, memory, v0, scratch, features, seeds, lane, state,
    x, y, example, examples, errors, error, stride, loss, learn, classify, limit,
):  # fmt: skip
    """Run a phase on one lane group, from row `begin` of `code` on.

    code: int32 [n, 4]; constants: [n, 4] of the lanes' type; memory: flat, s0 first, v0 and F * F
    vectors of scratch being vectors `v0` and `scratch` of it; seeds: uint64, flat, the group's from
    `lane` on; state: int64 [3]; x, y: flat, the group's first example being number `example` of
    `examples` to run; errors: flat, vector `error` and every `stride`-th gets an example's absolute
    errors; loss: float64 [lanes], what validation adds to; learn: 1 in training, 0 in validation;
    classify: 0 or 1; limit: float64, an error that is not at most this is a failure. The
    interpreter is a symbol that `prepare` defines, so that it is compiled once and not again in
    everything that calls it.
    """
    given, dtype = locals(), np.float64 if memory.dtype == types.float64 else np.float32

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        values = [
            _data(context, b, kind, argument) if name in _ARRAYS else argument
            for name, kind, argument in zip(_PARAMETERS, signature.args, arguments, strict=True)
        ]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        b.call(cgutils.get_or_insert_function(b.module, kind, _symbol(dtype)), values)
        return context.get_dummy_value()

    kinds = [given[name] if name in _ARRAYS else types.int64 for name in _PARAMETERS[:-1]]
    return types.void(*kinds, types.float64), codegen


def _symbol(dtype: Any) -> str:
    return f"evoml_run_{np.dtype(dtype).name}"


@cache
def prepare(dtype: Any) -> None:
    """Compile the interpreter for one element type, or load it from the disk, and make it callable
    by name.

    Needed before anything that runs.
    """
    real = types.float64 if np.dtype(dtype) == np.float64 else types.float32
    pointed = {
        "code": types.int32,
        "seeds": types.uint64,
        "state": types.int64,
        "loss": types.float64,
    }
    kinds = [
        types.CPointer(pointed.get(name, real)) if name in _ARRAYS else types.int64
        for name in _PARAMETERS[:-1]
    ]

    def interpreter(
        code, begin, constants, memory, v0, scratch, features, seeds, lane, state,
        x, y, example, examples, errors, error, stride, loss, learn, classify, limit,
    ):  # fmt: skip
        _interpret(
            code, begin, constants, memory, v0, scratch, features, seeds, lane, state,
            x, y, example, examples, errors, error, stride, loss, learn, classify, limit,
        )  # fmt: skip

    binding.add_symbol(
        _symbol(dtype), compiled_callback(types.void(*kinds, types.float64), interpreter).address
    )


@intrinsic
def _interpret(
    typingctx, code, begin, constants, memory, v0, scratch, features, seeds, lane, state,
    x, y, example, examples, errors, error, stride, loss, learn, classify, limit,
):  # fmt: skip
    """The interpreter: for a vector length in UNROLLED one of its own, in which every loop unrolls,
    else one for any length.
    """
    given, dtype = locals(), np.float64 if memory.dtype == types.float64 else np.float32

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        values = dict(zip(_PARAMETERS, arguments, strict=True))
        done = b.append_basic_block("done")
        other = b.append_basic_block("any_length")
        switch = b.switch(values["features"], other)
        for length in (*UNROLLED, 0):
            if length:
                block = b.append_basic_block(f"length_{length}")
                switch.add_case(ir.Constant(I64, length), block)
            b.position_at_end(block if length else other)
            Phase(
                Lanes(b, dtype), values | ({"features": ir.Constant(I64, length)} if length else {})
            ).emit(done)
        b.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*(given[name] for name in _PARAMETERS)), codegen


class Phase:
    """Emits the loop over instructions: load one, branch to its operation."""

    def __init__(self, lanes: Lanes, values: dict[str, ir.Value]) -> None:
        self.lanes, self.b = lanes, lanes.b
        self.p = values  # the interpreter's parameters
        self.seeds = lanes.b.gep(values["seeds"], [values["lane"]])
        limit = values["limit"] if lanes.double else lanes.b.fptrunc(values["limit"], lanes.scalar)
        self.limit = lanes.splat(limit)
        self.label, self.prediction = ir.Constant(I64, 0), ir.Constant(I64, 1)  # s0 and s1

    def _state(self, which: int) -> ir.Value:
        return self.b.gep(self.p["state"], [ir.Constant(I64, which)])

    def _add(self, pointer: ir.Value, value: ir.Value) -> ir.Value:
        """Add to a variable; returns its new value."""
        new = self.b.add(self.b.load(pointer), value)
        self.b.store(new, pointer)
        return new

    def emit(self, done: ir.Block) -> None:
        """Everything, ending with a branch to `done`."""
        b, one = self.b, ir.Constant(I64, 1)
        self.n = cgutils.alloca_once_value(b, ir.Constant(I64, 0))  # the example
        at = cgutils.alloca_once_value(b, self.p["begin"])
        self.variables = [
            cgutils.alloca_once_value(b, b.load(self._state(which)))
            for which in (STEP, ACTIVE, STEPS)
        ]
        fetch, after, leave = (b.append_basic_block(name) for name in ("fetch", "after", "leave"))
        b.branch(fetch)
        b.position_at_end(fetch)
        row = b.mul(b.load(at), ir.Constant(I64, 4))
        fields = [
            b.load(b.gep(self.p["code"], [b.add(row, ir.Constant(I64, i))])) for i in range(4)
        ]
        operands = {
            key: self.lanes.address(self.p["memory"], b.sext(f, I64))
            for key, f in zip(("a", "b", "out"), fields[1:], strict=True)
        }
        operands["scratch"] = self.lanes.address(self.p["memory"], self.p["scratch"])
        place = b.zext(b.lshr(fields[0], ir.Constant(I32, 16)), I64)
        switch = b.switch(b.and_(fields[0], ir.Constant(I32, 0xFFFF)), leave)
        for op in OPS:
            self._case(switch, op.id, op.name)
            if op.out:
                self._operation(op, row, operands, place)
            b.branch(after)
        self._case(switch, LOAD, "load")
        self._load(self.p["example"])
        b.branch(after)
        self._case(switch, SCORE, "score")
        training, validation, further = (
            b.append_basic_block(name) for name in ("training", "validation", "further")
        )
        b.cbranch(b.icmp_signed("!=", self.p["learn"], ir.Constant(I64, 0)), training, validation)
        b.position_at_end(training)
        b.cbranch(self._trained(), after, leave)
        b.position_at_end(validation)
        b.cbranch(self._validated(), further, leave)
        self._case(switch, NEXT, "next")
        b.branch(further)
        b.position_at_end(further)
        self._add(self.variables[STEP], one)
        example = self._add(self.n, one)
        more = b.append_basic_block("more")
        b.cbranch(b.icmp_signed("<", example, self.p["examples"]), more, leave)
        b.position_at_end(more)
        self._load(b.add(self.p["example"], example))
        b.store(b.sext(fields[1], I64), at)
        b.branch(fetch)
        b.position_at_end(after)
        self._add(at, one)
        b.branch(fetch)
        b.position_at_end(leave)
        for which, variable in enumerate(self.variables):
            b.store(b.load(variable), self._state(which))
        b.branch(done)

    def _case(self, switch: ir.SwitchInstr, number: int, name: str) -> None:
        block = self.b.append_basic_block(name)
        switch.add_case(ir.Constant(I32, number), block)
        self.b.position_at_end(block)

    def _operation(
        self, op: Op, row: ir.Value, operands: dict[str, ir.Value], place: ir.Value
    ) -> None:
        b = self.b
        constants = {
            key: b.load(b.gep(self.p["constants"], [b.add(row, ir.Constant(I64, i))]))
            for i, key in enumerate("xyz"[: len(op.constants)])
        }
        drawn = ir.Constant(I64, 0)
        if op.noisy:
            drawn = b.shl(
                b.add(b.shl(b.load(self.variables[STEP]), ir.Constant(I64, 10)), place),
                ir.Constant(I64, 20),
            )
        Kernel(
            op, Machine(self.lanes, operands, constants, self.p["features"], self.seeds, drawn)
        ).emit()

    def _load(self, example: ir.Value) -> None:
        """Give an example to predict."""
        b, lanes = self.b, self.lanes
        first = b.mul(example, self.p["features"])
        with cgutils.for_range(b, self.p["features"]) as loop:
            lanes.store(
                lanes.load(self.p["x"], b.add(first, loop.index)),
                self.p["memory"],
                b.add(self.p["v0"], loop.index),
            )
        lanes.store(lanes.number(0.0), self.p["memory"], self.label)

    def _trained(self) -> ir.Value:
        """s1 becomes sigmoid(s1) in classification, s0 the label; lanes that fail are dropped.

        Returns whether one is left.
        """
        b, lanes, memory = self.b, self.lanes, self.p["memory"]
        ones = b.call(
            cgutils.get_or_insert_function(b.module, ir.FunctionType(I64, [I64]), "llvm.ctpop.i64"),
            [b.load(self.variables[ACTIVE])],
        )
        self._add(self.variables[STEPS], ones)
        self._add(self.variables[STEP], ir.Constant(I64, 1))
        with b.if_then(b.icmp_signed("!=", self.p["classify"], ir.Constant(I64, 0))):
            lanes.store(lanes.sigmoid(lanes.load(memory, self.prediction)), memory, self.prediction)
        label = lanes.load(self.p["y"], b.add(self.p["example"], b.load(self.n)))
        lanes.store(label, memory, self.label)
        return self._checked(lanes.call("fabs", b.fsub(label, lanes.load(memory, self.prediction))))

    def _validated(self) -> ir.Value:
        """The loss, squared error or (in classification) whether it is wrong; lanes that fail are
        dropped.

        Returns whether one is left.
        """
        b, lanes = self.b, self.lanes
        prediction = lanes.load(self.p["memory"], self.prediction)
        label = lanes.load(self.p["y"], b.add(self.p["example"], b.load(self.n)))
        error_at = cgutils.alloca_once(b, lanes.vector)
        with b.if_else(b.icmp_signed("!=", self.p["classify"], ir.Constant(I64, 0))) as (
            classification,
            regression,
        ):
            with classification:
                half = lanes.number(0.5)
                truth, guess = (
                    b.fcmp_ordered(">", label, half),
                    b.fcmp_ordered(">", lanes.sigmoid(prediction), half),
                )
                b.store(b.uitofp(b.xor(truth, guess), lanes.vector), error_at)
            with regression:
                b.store(lanes.call("fabs", b.fsub(label, prediction)), error_at)
        error = b.load(error_at)
        wide = ir.VectorType(ir.DoubleType(), lanes.width)
        exact = error if lanes.double else b.fpext(error, wide)
        loss_at = b.bitcast(self.p["loss"], wide.as_pointer())
        b.store(b.fadd(b.load(loss_at, align=8), b.fmul(exact, exact)), loss_at, align=8)
        return self._checked(error)

    def _checked(self, error: ir.Value) -> ir.Value:
        """Record an error and drop the lanes where it is NaN or above the limit; returns whether
        one is left.
        """
        b, lanes = self.b, self.lanes
        lanes.store(
            error, self.p["errors"], b.add(self.p["error"], b.mul(b.load(self.n), self.p["stride"]))
        )
        passed = b.zext(
            b.bitcast(b.fcmp_ordered("<=", error, self.limit), ir.IntType(lanes.width)), I64
        )
        active = b.and_(b.load(self.variables[ACTIVE]), passed)
        b.store(active, self.variables[ACTIVE])
        return b.icmp_unsigned("!=", active, ir.Constant(I64, 0))
