"""Compiled loops over programs: random programs, mutation, canonical form. The operation table decides what an instruction may hold."""

import numpy as np

from evoml._random import below, mix, normal, uniform
from evoml.compiled import compiled
from evoml.instructions import BOUND, DEVIATION, INDEX, KINDS, OPS, VALUE

MUTATIONS = (
    "alter_parameter",
    "randomize_instruction",
    "randomize_function",
    "insert",
    "remove",
    "trade",
    "randomize_algorithm",
    "identity",
)

_CONSTANT = {VALUE: 1, INDEX: 2, DEVIATION: 3, BOUND: 4}
CONSTANTS = np.array([[_CONSTANT[c] for c in op.constants] + [0] * (3 - len(op.constants)) for op in OPS], np.int64)  # [ops, (x, y, z)]
READS_OUT = np.array([op.reads_out for op in OPS])
COMMUTES = np.array([op.commutes for op in OPS])


@compiled
def _draw_constant(state, kind):
    if kind == 1 or kind == 4:
        return 2.0 * uniform(state) - 1.0
    return uniform(state) if kind > 0 else 0.0


@compiled
def _draw_instruction(state, row, op, addresses):
    """A random instruction of one operation. addresses: how many there are of each type, [4] with index 1..3."""
    row.op = op
    row.a = below(state, addresses[KINDS[op, 0]]) if KINDS[op, 0] else 0
    row.b = below(state, addresses[KINDS[op, 1]]) if KINDS[op, 1] else 0
    row.out = _draw_output(state, KINDS[op, 2], addresses) if KINDS[op, 2] else 0
    row.x = _draw_constant(state, CONSTANTS[op, 0])
    row.y = _draw_constant(state, CONSTANTS[op, 1])
    row.z = _draw_constant(state, CONSTANTS[op, 2])


@compiled
def _draw_output(state, kind, addresses):
    """The label s0 and the features v0 are never written."""
    return below(state, addresses[kind]) if kind == 3 else 1 + below(state, addresses[kind] - 1)


@compiled
def _draw_rows(state, rows, count, ops, addresses):
    for index in range(count):
        _draw_instruction(state, rows[index], ops[below(state, len(ops))], addresses)


@compiled
def _scaled(state, value):
    moved = value * np.exp(normal(state))
    return moved if np.isfinite(moved) else value


@compiled
def _scaled_or_flipped(state, value):
    return -value if uniform(state) < 0.1 else _scaled(state, value)


@compiled
def _moved(state, kind, value):
    if kind == 2:
        return uniform(state)
    return _scaled(state, value) if kind == 3 else _scaled_or_flipped(state, value)


@compiled
def _alter_constant(state, row):
    """Change one of the instruction's constants, uniform over those it has."""
    op = row.op
    count = 0
    for index in range(3):
        count += CONSTANTS[op, index] > 0
    chosen = below(state, count)
    if chosen == 0:
        row.x = _moved(state, CONSTANTS[op, 0], row.x)
    elif chosen == 1:
        row.y = _moved(state, CONSTANTS[op, 1], row.y)
    else:
        row.z = _moved(state, CONSTANTS[op, 2], row.z)
    if CONSTANTS[op, 0] == 4:
        row.x, row.y = min(row.x, row.y), max(row.x, row.y)


@compiled
def _alter_parameter(state, row, addresses):
    """Redraw one of: each input, the output, the constants as a whole; uniform over those the operation has."""
    op = row.op
    inputs = (KINDS[op, 0] > 0) + (KINDS[op, 1] > 0)
    count = inputs + (KINDS[op, 2] > 0) + (CONSTANTS[op, 0] > 0)
    if count == 0:
        return
    chosen = below(state, count)
    if chosen < inputs:
        if chosen == 0:
            row.a = below(state, addresses[KINDS[op, 0]])
        else:
            row.b = below(state, addresses[KINDS[op, 1]])
    elif chosen == inputs:
        row.out = _draw_output(state, KINDS[op, 2], addresses)
    else:
        _alter_constant(state, row)


@compiled
def _insert(state, rows, size, op, addresses):
    at = below(state, size + 1)
    for index in range(size, at, -1):
        rows[index] = rows[index - 1]
    _draw_instruction(state, rows[at], op, addresses)


@compiled
def _remove(state, rows, size):
    for index in range(below(state, size), size - 1):
        rows[index] = rows[index + 1]


@compiled
def _trade(state, rows, size, op, addresses):
    """Insert, then remove; done in one pass, since a full function has no room for one more row."""
    at = below(state, size + 1)
    new = np.zeros(1, rows.dtype)
    _draw_instruction(state, new[0], op, addresses)
    gone = below(state, size + 1)
    if gone < at:
        for index in range(gone, at - 1):
            rows[index] = rows[index + 1]
        rows[at - 1] = new[0]
    elif gone > at:
        for index in range(gone - 1, at, -1):
            rows[index] = rows[index - 1]
        rows[at] = new[0]


@compiled
def random_programs(tables, sizes, streams, operations, ranges, addresses):
    """Fill a batch with random programs, one stream each; ranges: [3, 2] least and most instructions, uniform."""
    state = np.zeros(1, np.uint64)
    for program in range(len(sizes)):
        state[0] = streams[program]
        for function in range(3):
            size = ranges[function, 0] + below(state, ranges[function, 1] - ranges[function, 0] + 1)
            sizes[program, function] = size
            if len(operations[function]) > 0:
                _draw_rows(state, tables[function][program], size, operations[function], addresses)


@compiled
def _copy_rows(source, target, count):
    for index in range(count):
        target[index] = source[index]


@compiled
def copy_program(tables, sizes, source, target_tables, target_sizes, target):
    """Copy program `source` of one batch over program `target` of another."""
    for function in range(3):
        size = sizes[source, function]
        target_sizes[target, function] = size
        _copy_rows(tables[function][source], target_tables[function][target], size)


@compiled
def mutate(tables, sizes, parents, streams, mutations, probability, operations, bounds, addresses, child_tables, child_sizes):
    """One child a stream: the parent's copy, changed by one mutation with `probability`.

    mutations: numbers in MUTATIONS that may happen, uniform; operations: allowed ids a function; bounds: [3, 2] least and most rows.
    """
    state = np.zeros(1, np.uint64)
    functions = np.array([f for f in range(3) if len(operations[f]) > 0])
    for child in range(len(parents)):
        copy_program(tables, sizes, parents[child], child_tables, child_sizes, child)
        state[0] = streams[child]
        if uniform(state) < probability:
            mutation = mutations[below(state, len(mutations))]
            _change(state, child_tables, child_sizes, child, mutation, functions, operations, bounds, addresses)


@compiled
def _change(state, tables, sizes, child, mutation, functions, operations, bounds, addresses):
    """One mutation of the published program, in place."""
    if mutation == 7 or len(functions) == 0:
        return
    if mutation == 6:
        for each in functions:
            _draw_rows(state, tables[each][child], sizes[child, each], operations[each], addresses)
        return
    function = functions[below(state, len(functions))]
    rows, size, ops = tables[function][child], sizes[child, function], operations[function]
    if mutation == 0:
        if size > 0:
            _alter_parameter(state, rows[below(state, size)], addresses)
    elif mutation == 1:
        if size > 0:
            _draw_instruction(state, rows[below(state, size)], ops[below(state, len(ops))], addresses)
    elif mutation == 2:
        _draw_rows(state, rows, size, ops, addresses)
    elif mutation == 3:
        if size < bounds[function, 1] - 1:
            _insert(state, rows, size, ops[below(state, len(ops))], addresses)
            sizes[child, function] = size + 1
    elif mutation == 4:
        if size > bounds[function, 0]:
            _remove(state, rows, size)
            sizes[child, function] = size - 1
    else:
        _trade(state, rows, size, ops[below(state, len(ops))], addresses)


@compiled
def _bit(address):
    return np.uint64(1) << np.uint64(address)


@compiled
def _backwards(rows, size, live, keep):
    """Mark in `keep` which instructions can reach what is live after them; `live` [4], a mask of addresses a type, becomes what is live before."""
    for index in range(size - 1, -1, -1):
        row = rows[index]
        op = row.op
        kind = KINDS[op, 2]
        if kind == 0 or not live[kind] & _bit(row.out):
            keep[index] = False
            continue
        keep[index] = True
        if not READS_OUT[op]:
            live[kind] &= ~_bit(row.out)
        if KINDS[op, 0]:
            live[KINDS[op, 0]] |= _bit(row.a)
        if KINDS[op, 1]:
            live[KINDS[op, 1]] |= _bit(row.b)


@compiled
def _live(tables, sizes, program, keep):
    """Fixed point of liveness over setup, then predict and learn repeated, then predict repeated. s1 is read after every predict.

    The label s0 and the features v0 are given before predict and before learn, so they are never live across a function.
    """
    before_predict = np.zeros(4, np.uint64)
    before_learn = np.zeros(4, np.uint64)
    live = np.zeros(4, np.uint64)
    setup, predict, learn = tables[0][program], tables[1][program], tables[2][program]
    keep_predict, keep_learn = keep[1], keep[2]
    changed = True
    while changed:
        changed = False
        live[:] = before_predict
        _given(live)
        _backwards(learn, sizes[program, 2], live, keep_learn)
        _given(live)
        for kind in range(4):
            changed |= live[kind] != before_learn[kind]
            before_learn[kind] = live[kind]
            live[kind] |= before_predict[kind]
        live[1] |= np.uint64(2)
        _backwards(predict, sizes[program, 1], live, keep_predict)
        _given(live)
        for kind in range(4):
            changed |= live[kind] != before_predict[kind]
            before_predict[kind] = live[kind]
    live[:] = before_predict
    _backwards(setup, sizes[program, 0], live, keep[0])


@compiled
def _given(live):
    live[1] &= ~np.uint64(1)
    live[2] &= ~np.uint64(1)


@compiled
def canonical(tables, sizes, out_tables, out_sizes, keys):
    """The canonical form of every program: dead instructions gone, the inputs of commutative operations in order; and its hash."""
    longest = 1
    for function in range(3):
        longest = max(longest, tables[function].shape[1])
    keep = np.zeros((3, longest), np.bool_)
    for program in range(len(sizes)):
        _live(tables, sizes, program, keep)
        key = np.uint64(0x2545F4914F6CDD1D)
        for function in range(3):
            rows, out_rows = tables[function][program], out_tables[function][program]
            out_sizes[program, function], key = _keep_rows(rows, sizes[program, function], keep[function], out_rows, function, key)
        keys[program] = key


@compiled
def _keep_rows(rows, size, keep, out_rows, function, key):
    """Copy the live rows of one function, in canonical order of inputs; returns how many there are and the hash so far."""
    at = 0
    for index in range(size):
        if keep[index]:
            out_rows[at] = rows[index]
            row = out_rows[at]
            if COMMUTES[row.op] and row.a > row.b:
                row.a, row.b = row.b, row.a
            key = _hash_row(key, row, function)
            at += 1
    return at, key


@compiled
def _hash_row(key, row, function):
    word = np.uint64(row.op) | np.uint64(row.a) << np.uint64(8) | np.uint64(row.b) << np.uint64(16) | np.uint64(row.out) << np.uint64(24)
    key = mix(key, word | np.uint64(function) << np.uint64(32))
    if CONSTANTS[row.op, 0]:
        key = mix(key, np.float64(row.x).view(np.uint64))
    if CONSTANTS[row.op, 1]:
        key = mix(key, np.float64(row.y).view(np.uint64))
    if CONSTANTS[row.op, 2]:
        key = mix(key, np.float64(row.z).view(np.uint64))
    return key
