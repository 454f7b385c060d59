"""One step of a network of single neurons as LLVM vector code: lanes are inputs, or episodes, of
one network.

A network's memory is `[slot, lane]`, a row being a whole number of vectors. A node adds its links
up in registers, four vectors at a time (64 lanes of float32), so that a link costs one load and one
multiplication a vector; its function then goes over the row once more. Both are chosen by a switch
outside the loops over lanes, with one case a row of `evoml.phenotypes.activations`, whose texts are
translated here.

float64 is neither contracted nor reordered: what is made of sums, products and comparisons alone is
the reference's to the last bit. float32 fuses multiplications into additions. exp and tanh are
computed on whole vectors, in float32 sin and cos too: polynomials and rational functions after
Cephes (Moshier 1989), and the rational minimax form of degree 13/6 for tanh in float32 that Eigen
made known.
"""

import ast
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from evoml.backends._lanes import I64, Lanes, _data
from evoml.compilation.numba_cache import compiled_callback
from evoml.phenotypes.activations import ACTIVATIONS, AGGREGATIONS, Aggregation

BLOCK = 4  # vectors that a node's links are added up in at a time
_COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_PARAMETERS = (
    "first",
    "last",
    "slot",
    "activation",
    "aggregation",
    "links",
    "source",
    "weight",
    "old",
    "new",
    "vectors",
)
_ARRAYS = {
    "slot": types.int32,
    "activation": types.uint8,
    "aggregation": types.uint8,
    "links": types.int64,
    "source": types.int32,
}


class Functions(Lanes):
    """The functions of nodes on whole vectors."""

    def __init__(self, builder: ir.IRBuilder, dtype: Any) -> None:
        super().__init__(builder, dtype)
        self.flags = () if self.double else ("contract",)

    def add(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fadd(x, y, flags=self.flags)

    def mul(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fmul(x, y, flags=self.flags)

    def polynomial(self, x: ir.Value, *coefficients: float) -> ir.Value:
        """From the highest power down."""
        out = self.number(coefficients[0])
        for each in coefficients[1:]:
            out = self.add(self.mul(out, x), self.number(each))
        return out

    def within(self, x: ir.Value, low: float, high: float) -> ir.Value:
        """`x`, at least `low` and at most `high`; NaN stays."""
        x = self.b.select(self.b.fcmp_ordered(">", x, self.number(high)), self.number(high), x)
        return self.b.select(self.b.fcmp_ordered("<", x, self.number(low)), self.number(low), x)

    def formula(self, node: ast.AST, names: dict[str, ir.Value]) -> ir.Value:
        """The value of an expression of these names in every lane."""
        b = self.b
        match node:
            case ast.Constant(value=int() | float() as value):
                return self.number(float(value))
            case ast.Name(id=name):
                return names[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return b.fneg(self.formula(operand, names))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.add(self.formula(left, names), self.formula(right, names))
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return b.fsub(
                    self.formula(left, names), self.formula(right, names), flags=self.flags
                )
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.mul(self.formula(left, names), self.formula(right, names))
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return b.fdiv(self.formula(left, names), self.formula(right, names))
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return b.fcmp_ordered(
                    _COMPARE[type(operator)], self.formula(left, names), self.formula(right, names)
                )
            case ast.Call(func=ast.Name(id="where"), args=arguments):
                return b.select(*(self.formula(each, names) for each in arguments))
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                return self._call(name, self.formula(argument, names))
        raise NotImplementedError(ast.dump(node))

    def _call(self, name: str, x: ir.Value) -> ir.Value:
        match name:
            case "abs" | "sqrt":
                return self.call("fabs" if name == "abs" else name, x)
            case "exp":
                return self.exp(x)
            case "tanh":
                return self._tanh_double(x) if self.double else self._tanh_single(x)
            case "sin" | "cos" if not self.double:
                return self._wave(x, name == "cos")
        return self.libm(name, x)

    def exp(self, x: ir.Value) -> ir.Value:
        """2^n exp(r), the power in two factors for the ends of the range."""
        n = self.number
        x = self.within(x, -746.0, 710.0) if self.double else self.within(x, -105.0, 89.0)
        whole = self.call("rint", self.mul(x, n(1.4426950408889634)))
        high, low = (
            (0.693145751953125, 1.42860682030941723212e-6)
            if self.double
            else (0.693359375, -2.12194440e-4)
        )
        r = self.add(self.add(x, self.mul(whole, n(-high))), self.mul(whole, n(-low)))
        if self.double:
            square = self.mul(r, r)
            p = self.mul(
                r,
                self.polynomial(
                    square,
                    1.26177193074810590878e-4,
                    3.02994407707441961300e-2,
                    9.99999999999999999910e-1,
                ),
            )
            q = self.polynomial(
                square,
                3.00198505138664455042e-6,
                2.52448340349684104192e-3,
                2.27265548208155028766e-1,
                2.00000000000000000009,
            )
            p = self.b.fdiv(p, self.b.fsub(q, p))
            out = self.add(self.add(p, p), n(1.0))
        else:
            p = self.polynomial(
                r,
                1.9875691500e-4,
                1.3981999507e-3,
                8.3334519073e-3,
                4.1665795894e-2,
                1.6666665459e-1,
                5.0000001201e-1,
            )
            out = self.add(self.add(self.mul(self.mul(p, r), r), r), n(1.0))
        half = self.call("floor", self.mul(whole, n(0.5)))
        for part in (half, self.b.fsub(whole, half)):
            out = self.mul(out, self._power(part))
        return out

    def _power(self, whole: ir.Value) -> ir.Value:
        """2^whole: beside a number this large it stands in the lowest bits, from where it moves to
        the exponent's place.
        """
        digits, offset = (52, 1023) if self.double else (23, 127)
        words = ir.VectorType(ir.IntType(self.size * 8), self.width)
        bits = self.b.bitcast(self.b.fadd(whole, self.number(1.5 * 2.0**digits + offset)), words)
        return self.b.bitcast(
            self.b.shl(bits, ir.Constant(words, [digits] * self.width)), self.vector
        )

    def _tanh_single(self, x: ir.Value) -> ir.Value:
        x = self.within(x, -7.90531110763549805, 7.90531110763549805)
        z = self.mul(x, x)
        p = self.polynomial(
            z, -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11,
            5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
        )  # fmt: skip
        q = self.polynomial(
            z,
            1.19825839466702e-06,
            1.18534705686654e-04,
            2.26843463243900e-03,
            4.89352518554385e-03,
        )
        return self.b.fdiv(self.mul(x, p), q)

    def _tanh_double(self, x: ir.Value) -> ir.Value:
        b, n = self.b, self.number
        size, z = self.call("fabs", x), self.mul(x, x)
        p = self.polynomial(
            z, -9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3
        )
        q = self.polynomial(
            z, 1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3
        )
        near = self.add(x, self.mul(x, self.mul(z, b.fdiv(p, q))))
        far = b.fsub(n(1.0), b.fdiv(n(2.0), b.fadd(self.exp(b.fadd(size, size)), n(1.0))))
        far = b.select(b.fcmp_ordered("<", x, n(0.0)), b.fneg(far), far)
        return b.select(b.fcmp_ordered("<", size, n(0.625)), near, far)

    def _wave(self, x: ir.Value, cosine: bool) -> ir.Value:
        """Sine or cosine: the nearest multiple of a right angle is taken off in three parts, exact
        enough while the phase is.
        """
        b, n = self.b, self.number
        quarter = self.call("rint", self.mul(x, n(0.6366197723675814)))
        r = x
        for part in (1.5703125, 4.837512969970703e-4, 7.549789948768648e-8):
            r = self.add(r, self.mul(quarter, n(-part)))
        r = self.within(r, -0.7853982, 0.7853982)
        z = self.mul(r, r)
        sine = self.add(
            self.mul(
                self.mul(
                    self.polynomial(z, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1), z
                ),
                r,
            ),
            r,
        )
        other = self.polynomial(
            z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5, 1.0
        )
        turn = b.fadd(quarter, n(1.0)) if cosine else quarter
        # 0, 1, 2 or 3
        turn = b.fsub(turn, b.fmul(n(4.0), self.call("floor", b.fmul(turn, n(0.25)))))
        half = b.fmul(n(2.0), self.call("floor", b.fmul(turn, n(0.5))))
        out = b.select(b.fcmp_ordered("==", turn, half), sine, other)
        return b.select(b.fcmp_ordered("==", half, n(0.0)), out, b.fneg(out))


class Step:
    """Emits one step of a network: node by node its links, then its function."""

    def __init__(self, lanes: Functions, values: dict[str, ir.Value]) -> None:
        self.lanes, self.b, self.p = lanes, lanes.b, values

    def _read(self, name: str, at: ir.Value) -> ir.Value:
        return self.b.load(self.b.gep(self.p[name], [at]))

    def _row(self, slot: ir.Value) -> ir.Value:
        """The first vector of a slot."""
        return self.b.mul(self.b.sext(slot, I64), self.p["vectors"])

    def emit(self) -> None:
        b, vectors = self.b, self.p["vectors"]
        accumulators = [cgutils.alloca_once(b, self.lanes.vector) for _ in range(BLOCK)]
        whole = b.and_(vectors, ir.Constant(I64, -BLOCK))
        with cgutils.for_range(b, self.p["last"], start=self.p["first"]) as loop:
            begin, end = (
                self._read("links", loop.index),
                self._read("links", b.add(loop.index, ir.Constant(I64, 1))),
            )
            out = self._row(self._read("slot", loop.index))
            with b.if_else(b.icmp_signed("<", begin, end)) as (active, inactive):
                with active:
                    self._switch(
                        self._read("aggregation", loop.index),
                        [
                            partial(self._gather, row, begin, end, out, whole, accumulators)
                            for row in AGGREGATIONS
                        ],
                    )
                    self._switch(
                        self._read("activation", loop.index),
                        [
                            partial(self._apply, ast.parse(row.text, mode="eval").body, out)
                            for row in ACTIVATIONS
                        ],
                    )
                with inactive, cgutils.for_range(b, vectors) as each:
                    self.lanes.store(self.lanes.number(0.0), self.p["new"], b.add(out, each.index))

    def _switch(self, kind: ir.Value, cases: list[Callable[[], None]]) -> None:
        b = self.b
        after = b.append_basic_block("after")
        switch = b.switch(kind, after)
        for number, case in enumerate(cases):
            block = b.append_basic_block(f"case_{number}")
            switch.add_case(ir.Constant(kind.type, number), block)
            b.position_at_end(block)
            case()
            b.branch(after)
        b.position_at_end(after)

    def _gather(
        self,
        row: Aggregation,
        begin: ir.Value,
        end: ir.Value,
        out: ir.Value,
        whole: ir.Value,
        accumulators: list[ir.Value],
    ) -> None:
        """Fold a node's weighted inputs into its row: blocks of vectors up to `whole`, then one
        vector at a time.
        """
        for start, stop, step in (
            (ir.Constant(I64, 0), whole, BLOCK),
            (whole, self.p["vectors"], 1),
        ):
            with cgutils.for_range_slice(self.b, start, stop, ir.Constant(I64, step), I64) as (
                at,
                _,
            ):
                self._fold(row, begin, end, out, at, accumulators[:step])

    def _fold(
        self,
        row: Aggregation,
        begin: ir.Value,
        end: ir.Value,
        out: ir.Value,
        at: ir.Value,
        accumulators: list[ir.Value],
    ) -> None:
        b, lanes = self.b, self.lanes
        step = ast.parse(row.step, mode="eval").body
        places = [b.add(at, ir.Constant(I64, number)) for number in range(len(accumulators))]
        for each in accumulators:
            b.store(lanes.number(row.start), each)
        with cgutils.for_range(b, end, start=begin) as loop:
            weight = lanes.splat(self._read("weight", loop.index))
            source = self._row(self._read("source", loop.index))
            for each, place in zip(accumulators, places, strict=True):
                a = lanes.mul(weight, lanes.load(self.p["old"], b.add(source, place)))
                b.store(lanes.formula(step, {"out": b.load(each), "a": a}), each)
        count = lanes.splat(b.sitofp(b.sub(end, begin), lanes.scalar)) if row.mean else None
        for each, place in zip(accumulators, places, strict=True):
            value = b.load(each)
            lanes.store(
                b.fdiv(value, count) if row.mean else value, self.p["new"], b.add(out, place)
            )

    def _apply(self, text: ast.AST, out: ir.Value) -> None:
        """A function of every value in a row."""
        with cgutils.for_range(self.b, self.p["vectors"]) as loop:
            at = self.b.add(out, loop.index)
            self.lanes.store(
                self.lanes.formula(text, {"a": self.lanes.load(self.p["new"], at)}),
                self.p["new"],
                at,
            )


@intrinsic
def step(
    typingctx, first, last, slot, activation, aggregation, links, source, weight, old, new, vectors
):
    """One step of the network whose node rows are first .. last - 1: its values from `old` to
    `new`, which are the same array in a feed-forward network.

    slot .. weight: the arrays of `NeuronGraphs`, the weights of the memory's type; old, new:
    memory, rows of `vectors` vectors. The code is a symbol that `prepare` defines.
    """
    given, dtype = locals(), np.float64 if old.dtype == types.float64 else np.float32

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        values = [
            _data(context, b, kind, argument) if isinstance(kind, types.Array) else argument
            for kind, argument in zip(signature.args, arguments, strict=True)
        ]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        b.call(cgutils.get_or_insert_function(b.module, kind, _symbol(dtype)), values)
        return context.get_dummy_value()

    return types.void(
        *(
            given[name] if isinstance(given[name], types.Array) else types.int64
            for name in _PARAMETERS
        )
    ), codegen


def _symbol(dtype: Any) -> str:
    return f"evoml_graph_{np.dtype(dtype).name}"


@cache
def prepare(dtype: Any) -> None:
    """Compile `step` for one element type, or load it from the disk, and make it callable by name.

    Needed before anything that steps.
    """
    real = types.float64 if np.dtype(dtype) == np.float64 else types.float32
    pointed = _ARRAYS | dict.fromkeys(("weight", "old", "new"), real)
    kinds = [
        types.CPointer(pointed[name]) if name in pointed else types.int64 for name in _PARAMETERS
    ]

    def graph(first, last, slot, activation, aggregation, links, source, weight, old, new, vectors):
        _emit(first, last, slot, activation, aggregation, links, source, weight, old, new, vectors)

    binding.add_symbol(_symbol(dtype), compiled_callback(types.void(*kinds), graph).address)


@intrinsic
def _emit(
    typingctx, first, last, slot, activation, aggregation, links, source, weight, old, new, vectors
):
    given, dtype = locals(), np.float64 if old.dtype == types.float64 else np.float32

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        Step(Functions(b, dtype), dict(zip(_PARAMETERS, arguments, strict=True))).emit()
        return context.get_dummy_value()

    return types.void(*(given[name] for name in _PARAMETERS)), codegen
