"""The innermost loops of a supernet, written in LLVM's own terms because Numba's compiler does not
keep a whole vector of channels in registers.

`tile`: a few rows of a matrix product. `taps`: a row of a depthwise convolution. `slopes`: what
such a row adds to the gradient of its weights. All of them read vectors of neighbouring numbers, of
any float dtype; where the machine can multiply and add in one instruction they do.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from evoml.compilation.numba_cache import compiled

LANES = 16  # numbers of a vector
ROWS = 6  # of a tile of a matrix product: so many sums, of two vectors each, stay in registers


def _pointer(context: Any, builder: Any, kind: Any, value: Any, offset: Any) -> Any:
    """Where element `offset` of an array lies."""
    data = context.make_array(kind)(context, builder, value).data
    return builder.gep(data, [offset])


def _vector(builder: Any, pointer: Any, lanes: int) -> tuple[Any, int]:
    number = pointer.type.pointee
    size = 8 if isinstance(number, ir.DoubleType) else 4
    return builder.bitcast(pointer, ir.VectorType(number, lanes).as_pointer()), size


def _load(builder: Any, pointer: Any, lanes: int) -> Any:
    where, size = _vector(builder, pointer, lanes)
    return builder.load(where, align=size)


def _store(builder: Any, value: Any, pointer: Any, lanes: int) -> None:
    where, size = _vector(builder, pointer, lanes)
    builder.store(value, where, align=size)


def _spread(builder: Any, value: Any, lanes: int) -> Any:
    """A number in every lane."""
    kind = ir.VectorType(value.type, lanes)
    one = builder.insert_element(
        ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    return builder.shuffle_vector(
        one,
        ir.Constant(kind, ir.Undefined),
        ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes),
    )


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    kind = a.type
    name = f"llvm.fmuladd.v{kind.count}f{64 if isinstance(kind.element, ir.DoubleType) else 32}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind, kind, kind]), name
    )
    return builder.call(function, [a, b, c])


def _tile(rows: int, lanes: int) -> Any:
    @intrinsic
    def tile(typing, a, at_a, row_a, step_a, b, at_b, row_b, out, at_out, row_out, depth, more):
        signature = types.void(
            a, *[types.int64] * 3, b, *[types.int64] * 2, out, *[types.int64] * 3, types.boolean
        )

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a, at_a, row_a, step_a, b, at_b, row_b, out, at_out, row_out, depth, more = args
            kinds = signature.args
            left = [
                _pointer(
                    context,
                    builder,
                    kinds[0],
                    a,
                    builder.add(at_a, builder.mul(row_a, ir.Constant(row_a.type, i))),
                )
                for i in range(rows)
            ]
            right = _pointer(context, builder, kinds[4], b, at_b)
            to = [
                _pointer(
                    context,
                    builder,
                    kinds[7],
                    out,
                    builder.add(at_out, builder.mul(row_out, ir.Constant(row_out.type, i))),
                )
                for i in range(rows)
            ]
            kind = ir.VectorType(right.type.pointee, lanes)
            zero = ir.Constant(kind, None)
            places = [cgutils.alloca_once(builder, kind) for _ in range(rows)]
            with builder.if_else(more) as (then, otherwise):
                with then:
                    for place, where in zip(places, to, strict=True):
                        builder.store(_load(builder, where, lanes), place)
                with otherwise:
                    for place in places:
                        builder.store(zero, place)
            with cgutils.for_range(builder, depth) as loop:
                vector = _load(builder, builder.gep(right, [builder.mul(loop.index, row_b)]), lanes)
                along = builder.mul(loop.index, step_a)
                for place, where in zip(places, left, strict=True):
                    number = _spread(builder, builder.load(builder.gep(where, [along])), lanes)
                    builder.store(
                        _multiply_add(builder, number, vector, builder.load(place)), place
                    )
            for place, where in zip(places, to, strict=True):
                _store(builder, builder.load(place), where, lanes)
            return context.get_dummy_value()

        return signature, build

    return tile


def _taps(kernel: int) -> Any:
    @intrinsic
    def taps(typing, x, at_x, step_x, row_x, columns, weights, period, out, at_out, lines, span):
        signature = types.void(
            x, *[types.int64] * 3, columns, weights, types.int64, out, *[types.int64] * 3
        )

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, at_x, step_x, row_x, columns, weights, period, out, at_out, lines, span = args
            kinds = signature.args
            rows, moves = _places(
                context, builder, kinds[0], kinds[4], kernel, x, at_x, row_x, columns
            )
            weight, to = (
                _pointer(context, builder, kinds[5], weights, ir.Constant(period.type, 0)),
                _pointer(context, builder, kinds[7], out, at_out),
            )
            zero = ir.Constant(ir.VectorType(to.type.pointee, LANES), None)
            with cgutils.for_range_slice(
                builder, ir.Constant(period.type, 0), period, ir.Constant(period.type, LANES)
            ) as (lane, _):
                held = [
                    _load(
                        builder,
                        builder.gep(
                            weight,
                            [builder.add(lane, builder.mul(period, ir.Constant(period.type, k)))],
                        ),
                        LANES,
                    )
                    for k in range(kernel * kernel)
                ]
                with (
                    cgutils.for_range(builder, lines) as line,
                    cgutils.for_range_slice(builder, lane, span, period) as (t, _),
                ):
                    sums, along = [zero, zero], builder.add(t, builder.mul(line.index, step_x))
                    for i in range(kernel):
                        row = builder.gep(rows[i], [along])
                        for j in range(kernel):
                            part = _load(builder, builder.gep(row, [moves[j]]), LANES)
                            sums[j % 2] = _multiply_add(
                                builder, part, held[i * kernel + j], sums[j % 2]
                            )
                    _store(
                        builder,
                        builder.fadd(*sums),
                        builder.gep(to, [builder.add(t, builder.mul(line.index, span))]),
                        LANES,
                    )
            return context.get_dummy_value()

        return signature, build

    return taps


def _slopes(kernel: int) -> Any:
    @intrinsic
    def slopes(typing, x, at_x, step_x, row_x, columns, sums, period, g, at_g, lines, span):
        signature = types.void(
            x, *[types.int64] * 3, columns, sums, types.int64, g, *[types.int64] * 3
        )

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, at_x, step_x, row_x, columns, sums, period, g, at_g, lines, span = args
            kinds = signature.args
            rows, moves = _places(
                context, builder, kinds[0], kinds[4], kernel, x, at_x, row_x, columns
            )
            total, grad = (
                _pointer(context, builder, kinds[5], sums, ir.Constant(period.type, 0)),
                _pointer(context, builder, kinds[7], g, at_g),
            )
            kind = ir.VectorType(grad.type.pointee, LANES)
            places = [cgutils.alloca_once(builder, kind) for _ in range(kernel * kernel)]
            with cgutils.for_range_slice(
                builder, ir.Constant(period.type, 0), period, ir.Constant(period.type, LANES)
            ) as (lane, _):
                where = [
                    builder.gep(
                        total, [builder.add(lane, builder.mul(period, ir.Constant(period.type, k)))]
                    )
                    for k in range(kernel * kernel)
                ]
                for place, pointer in zip(places, where, strict=True):
                    builder.store(_load(builder, pointer, LANES), place)
                with (
                    cgutils.for_range(builder, lines) as line,
                    cgutils.for_range_slice(builder, lane, span, period) as (t, _),
                ):
                    slope = _load(
                        builder,
                        builder.gep(grad, [builder.add(t, builder.mul(line.index, span))]),
                        LANES,
                    )
                    along = builder.add(t, builder.mul(line.index, step_x))
                    for i in range(kernel):
                        row = builder.gep(rows[i], [along])
                        for j in range(kernel):
                            place = places[i * kernel + j]
                            part = _load(builder, builder.gep(row, [moves[j]]), LANES)
                            builder.store(
                                _multiply_add(builder, part, slope, builder.load(place)), place
                            )
                for place, pointer in zip(places, where, strict=True):
                    _store(builder, builder.load(place), pointer, LANES)
            return context.get_dummy_value()

        return signature, build

    return slopes


def _places(
    context: Any,
    builder: Any,
    kind: Any,
    whole: Any,
    kernel: int,
    x: Any,
    at_x: Any,
    row_x: Any,
    columns: Any,
) -> tuple[list[Any], list[Any]]:
    """Where the kernel's rows begin, and how far its columns are from there."""
    starts = [
        builder.add(at_x, builder.mul(row_x, ir.Constant(row_x.type, i))) for i in range(kernel)
    ]
    moves = [
        builder.load(_pointer(context, builder, whole, columns, ir.Constant(row_x.type, j)))
        for j in range(kernel)
    ]
    return [_pointer(context, builder, kind, x, start) for start in starts], moves


@intrinsic
def pointer(typing, address, like):
    """An address as a pointer to numbers of the dtype of `like`, for `carray`."""
    signature = types.CPointer(like.dtype)(address, like)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return signature, build


_taps3, _taps5, _taps7 = map(_taps, (3, 5, 7))
_slopes3, _slopes5, _slopes7 = map(_slopes, (3, 5, 7))
_many32, _many16, _many8, _many4, _many1 = (
    _tile(ROWS, lanes) for lanes in (2 * LANES, 16, 8, 4, 1)
)
_one32, _one16, _one8, _one4, _one1 = (_tile(1, lanes) for lanes in (2 * LANES, 16, 8, 4, 1))
KERNELS = (3, 5, 7)


@compiled
def taps(kernel, x, step_x, row_x, columns, weights, period, out, lines, span):
    """The rows of a depthwise convolution, one behind the other, so many lines of this span.

    out[y * span + t] = sum over taps of x[y * step_x + i * row_x + columns[j] + t] * weights[tap *
    period + t % period]. Behind its end `out` has room for a vector.
    """
    # else a row's last vector runs into the next row, which must come after it
    several = lines if span % LANES == 0 else 1
    for y in range(0, lines, several):
        if kernel == 3:
            _taps3(
                x, y * step_x, step_x, row_x, columns, weights, period, out, y * span, several, span
            )
        elif kernel == 5:
            _taps5(
                x, y * step_x, step_x, row_x, columns, weights, period, out, y * span, several, span
            )
        else:
            _taps7(
                x, y * step_x, step_x, row_x, columns, weights, period, out, y * span, several, span
            )


@compiled
def slopes(kernel, x, step_x, row_x, columns, sums, period, g, lines, span):
    """sums[tap * period + t % period] += x[y * step_x + i * row_x + columns[j] + t] * g[y * span +
    t], of so many lines of this span.
    """
    whole = span % LANES == 0
    several = lines if whole else 1
    line = np.zeros(1 if whole else span + period, g.dtype)  # a row with nothing behind it
    for y in range(0, lines, several):
        if not whole:
            for t in range(span):
                line[t] = g[y * span + t]
        given = g if whole else line
        if kernel == 3:
            _slopes3(x, y * step_x, step_x, row_x, columns, sums, period, given, 0, several, span)
        elif kernel == 5:
            _slopes5(x, y * step_x, step_x, row_x, columns, sums, period, given, 0, several, span)
        else:
            _slopes7(x, y * step_x, step_x, row_x, columns, sums, period, given, 0, several, span)


@compiled
def product(
    a, at_a, row_a, step_a, b, at_b, row_b, out, at_out, row_out, height, width, depth, more
):
    """out[i, j] = (or += where `more`) sum over k of a[i, k] * b[k, j], [height, width]; a's rows
    and columns may lie any steps apart.
    """
    j = 0
    while j < width:
        lanes = (
            32
            if width - j >= 32
            else 16
            if width - j >= 16
            else 8
            if width - j >= 8
            else 4
            if width - j >= 4
            else 1
        )
        i = 0
        while i < height:
            rows = ROWS if height - i >= ROWS else 1
            left, right, to = at_a + i * row_a, at_b + j, at_out + i * row_out + j
            if rows == ROWS:
                if lanes == 32:
                    _many32(a, left, row_a, step_a, b, right, row_b, out, to, row_out, depth, more)
                elif lanes == 16:
                    _many16(a, left, row_a, step_a, b, right, row_b, out, to, row_out, depth, more)
                elif lanes == 8:
                    _many8(a, left, row_a, step_a, b, right, row_b, out, to, row_out, depth, more)
                elif lanes == 4:
                    _many4(a, left, row_a, step_a, b, right, row_b, out, to, row_out, depth, more)
                else:
                    _many1(a, left, row_a, step_a, b, right, row_b, out, to, row_out, depth, more)
            elif lanes == 32:
                _one32(a, left, row_a, step_a, b, right, row_b, out, to, row_out, depth, more)
            elif lanes == 16:
                _one16(a, left, row_a, step_a, b, right, row_b, out, to, row_out, depth, more)
            elif lanes == 8:
                _one8(a, left, row_a, step_a, b, right, row_b, out, to, row_out, depth, more)
            elif lanes == 4:
                _one4(a, left, row_a, step_a, b, right, row_b, out, to, row_out, depth, more)
            else:
                _one1(a, left, row_a, step_a, b, right, row_b, out, to, row_out, depth, more)
            i += rows
        j += lanes
