"""Compiled loops over programs: random programs, mutation, canonical form and its key. The
operation table decides what an instruction may hold.
"""

import numpy as np

from evoml.compilation.numba_cache import compiled
from evoml.compilation.random_kernels import below, finish, normal, uniform
from evoml.core.streams import outputs
from evoml.phenotypes.instructions import BOUND, DEVIATION, INDEX, KINDS, OPS, VALUE

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
# [ops, (x, y, z)]
CONSTANTS = np.array(
    [[_CONSTANT[c] for c in op.constants] + [0] * (3 - len(op.constants)) for op in OPS], np.int64
)
OVERWRITES = np.array([not op.reads_out for op in OPS], np.uint64)

# Flags of operations, and the alphabet of the hash of a program's flow of data.
CONSTANT, READS, COMMUTES, IDEMPOTENT, KEEPS_ZERO, NOISY = 1, 2, 4, 8, 16, 32
_FLAG = {
    CONSTANT: "constants",
    READS: "reads_out",
    COMMUTES: "commutes",
    IDEMPOTENT: "idempotent",
    KEEPS_ZERO: "keeps_zero",
    NOISY: "noisy",
}
FLAGS = np.array(
    [sum(flag for flag, name in _FLAG.items() if getattr(op, name)) for op in OPS], np.uint8
)
WORD = outputs(np.array([1], np.uint64), np.arange(len(OPS)))
_WORDS = outputs(np.array([2], np.uint64), np.arange(8)) | np.uint64(1)
ZERO, FEATURES, LABEL, SQUASHED, CARRIED, FIRST, SECOND, THIRD = (
    np.uint64(word) for word in _WORDS
)


@compiled
def _draw_constant(state, kind):
    if kind == 1 or kind == 4:
        return 2.0 * uniform(state) - 1.0
    return uniform(state) if kind > 0 else 0.0


@compiled
def _draw_instruction(state, row, op, addresses):
    """A random instruction of one operation.

    addresses: how many there are of each type, [4] with index 1..3.
    """
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
    """Redraw one of: each input, the output, the constants as a whole; uniform over those the
    operation has.
    """
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
    """Fill a batch with random programs, one stream each; ranges: [3, 2] least and most
    instructions, uniform.
    """
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
def mutate(
    tables,
    sizes,
    parents,
    streams,
    mutations,
    probability,
    operations,
    bounds,
    addresses,
    child_tables,
    child_sizes,
):
    """One child a stream: the parent's copy, changed by one mutation with `probability`.

    mutations: numbers in MUTATIONS that may happen, uniform; operations: allowed ids a function;
    bounds: [3, 2] least and most rows.
    """
    state = np.zeros(1, np.uint64)
    functions = np.array([f for f in range(3) if len(operations[f]) > 0])
    for child in range(len(parents)):
        copy_program(tables, sizes, parents[child], child_tables, child_sizes, child)
        state[0] = streams[child]
        if uniform(state) < probability:
            mutation = mutations[below(state, len(mutations))]
            _change(
                state,
                child_tables,
                child_sizes,
                child,
                mutation,
                functions,
                operations,
                bounds,
                addresses,
            )


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
            _draw_instruction(
                state, rows[below(state, size)], ops[below(state, len(ops))], addresses
            )
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


# -- canonical form --------------------------------------------------------------------------------
#
# Addresses of all types are numbered as one sequence of places: 0 is no address, then come scalars,
# vectors and matrices. A set of places is an array of 64-bit words.


def places(addresses: np.ndarray) -> np.ndarray:
    """Place of the first address of every type, and behind them the number of places.

    addresses: how many there are of each type, [4].
    """
    return np.concatenate([[0], np.cumsum([1, *addresses[1:]])])


@compiled
def canonical(tables, sizes, first, out_tables, out_sizes, keys):
    """The canonical form of every program, which is what runs: dead instructions gone, the inputs
    of commutative operations in order.

    And its key, a hash of its flow of data. first: the layout of `places`.
    """
    rows = 0
    for function in range(3):
        rows += tables[function].shape[1]
    at, ends, keep = np.zeros((rows, 3), np.uint8), np.zeros(4, np.int64), np.zeros(rows, np.uint8)
    sets, bits = np.zeros((2, (first[4] + 63) // 64), np.uint64), np.zeros((rows, 3), np.uint64)
    hashes, flags = np.zeros(rows, np.uint64), np.zeros(rows, np.uint8)
    values, loops, colours = (
        np.zeros(first[4], np.uint64),
        np.zeros(first[4], np.uint8),
        np.zeros(first[4], np.uint64),
    )
    for program in range(len(sizes)):
        _number(tables, sizes, program, first, at, ends, bits, flags)
        _live(at, ends, bits, flags, first, sets, keep)
        _keep(tables, sizes, program, keep, at, ends, hashes, flags, out_tables, out_sizes)
        keys[program] = _flow(at, ends, hashes, flags, sets[0], first, values, loops, colours)


@compiled
def _number(tables, sizes, program, first, at, ends, bits, flags):
    """The places (a, b, out) and flags of every instruction, and where setup, predict and learn
    begin and end.

    bits: places as sets of one word: what the output is in, what is overwritten, what is read.
    """
    one, count = np.uint64(1), 0
    for function in range(3):
        rows = tables[function][program]
        for index in range(sizes[program, function]):
            row = rows[index]
            op = row.op
            a, b, out = (
                first[KINDS[op, 0]] + row.a,
                first[KINDS[op, 1]] + row.b,
                first[KINDS[op, 2]] + row.out,
            )
            at[count, 0], at[count, 1], at[count, 2] = a, b, out
            flags[count] = FLAGS[op]
            bit = one << np.uint64(out)
            bits[count, 0], bits[count, 1] = bit, ~(bit * OVERWRITES[op])
            bits[count, 2] = (one << np.uint64(a) | one << np.uint64(b)) & ~one
            count += 1
        ends[function + 1] = count


@compiled
def _live(at, ends, bits, flags, first, sets, keep):
    """Fixed point of liveness over setup, then predict and learn repeated, then predict repeated.
    s1 is read after every predict.

    `keep` gets which instructions can reach a prediction, sets[0] what is live before predict.
    """
    if sets.shape[1] == 1:
        sets[0, 0] = _live_in_a_word(ends, bits, first, keep)
        return
    carried, live = sets[0], sets[1]
    carried[:] = 0
    prediction = first[1] + 1
    changed = True
    while changed:
        changed = False
        live[:] = carried
        _backwards(at, flags, ends[2], ends[3], live, keep)
        _given(live, first)
        for word in range(len(live)):
            live[word] |= carried[word]
        live[prediction >> 6] |= np.uint64(1) << np.uint64(prediction & 63)
        _backwards(at, flags, ends[1], ends[2], live, keep)
        _given(live, first)
        for word in range(len(live)):
            changed |= live[word] != carried[word]
            carried[word] = live[word]
    _backwards(at, flags, 0, ends[1], live, keep)


@compiled
def _live_in_a_word(ends, bits, first, keep):
    """The same where all places fit into a word: no branches, for none could be foreseen.

    Returns what is live before predict.
    """
    one = np.uint64(1)
    # the label and the features are given
    between = ~(one << np.uint64(first[1]) | one << np.uint64(first[2]))
    prediction = one << np.uint64(first[1] + 1)
    carried = np.uint64(0)
    while True:
        word = carried
        for index in range(ends[3] - 1, ends[2] - 1, -1):
            hit = (word & bits[index, 0]) != 0
            word = (word & bits[index, 1]) | bits[index, 2] if hit else word
            keep[index] = hit
        word = (word & between) | carried | prediction
        for index in range(ends[2] - 1, ends[1] - 1, -1):
            hit = (word & bits[index, 0]) != 0
            word = (word & bits[index, 1]) | bits[index, 2] if hit else word
            keep[index] = hit
        word &= between
        if word == carried:
            break
        carried = word
    for index in range(ends[1] - 1, -1, -1):
        hit = (word & bits[index, 0]) != 0
        word = (word & bits[index, 1]) | bits[index, 2] if hit else word
        keep[index] = hit
    return carried


@compiled
def _backwards(at, flags, begin, end, live, keep):
    """Mark which instructions can reach what is live after them; `live` becomes what is live
    before.
    """
    one = np.uint64(1)
    for index in range(end - 1, begin - 1, -1):
        a, b, out = at[index, 0], at[index, 1], at[index, 2]
        shift = np.uint64(out & 63)
        hit = (live[out >> 6] >> shift) & one
        if not flags[index] & READS:
            live[out >> 6] &= ~(hit << shift)
        live[a >> 6] |= hit << np.uint64(a & 63)
        live[b >> 6] |= hit << np.uint64(b & 63)
        live[0] &= ~one
        keep[index] = hit


@compiled
def _given(live, first):
    """The label and the features are given before predict and before learn, so they are never live
    across a function.
    """
    for place in (first[1], first[2]):
        live[place >> 6] &= ~(np.uint64(1) << np.uint64(place & 63))


@compiled
def _keep(tables, sizes, program, keep, at, ends, hashes, flags, out_tables, out_sizes):
    """Leave the live instructions in `at`, `flags`, `ends` and the tables, with their hashes."""
    count, read = 0, 0
    for function in range(3):
        rows, out_rows = tables[function][program], out_tables[function][program]
        start = count
        for index in range(sizes[program, function]):
            if keep[read]:
                out_rows[count - start] = rows[index]
                row = out_rows[count - start]
                at[count, 0], at[count, 1], at[count, 2] = at[read, 0], at[read, 1], at[read, 2]
                flag = flags[read]
                flags[count] = flag
                hashes[count] = _word(row, flag, function << 16 | count)
                if flag & COMMUTES and row.a > row.b:
                    row.a, row.b = row.b, row.a
                count += 1
            read += 1
        out_sizes[program, function] = count - start
        ends[function + 1] = count


@compiled
def _word(row, flag, place):
    """The hash of an operation with its constants; noise differs by the function and the place of
    its instruction.
    """
    word = WORD[row.op]
    if flag & CONSTANT:
        if flag & NOISY:
            word += np.uint64(place)
        word = finish(word ^ np.float64(row.x).view(np.uint64))
        if CONSTANTS[row.op, 1]:
            word = finish(word ^ np.float64(row.y).view(np.uint64))
        if CONSTANTS[row.op, 2]:
            word = finish(word ^ np.float64(row.z).view(np.uint64))
    return word


@compiled
def _flow(at, ends, hashes, flags, carried, first, values, loops, colours):
    """A hash of what a canonical program computes, whatever its addresses and the order of
    independent instructions.

    Every place holds a hash of the expression that made its value. What is carried over from
    example to example has no finite expression; there the hash, the colour of a place, is refined
    as in Moore's minimisation of automata: places keep one colour if they had one and become equal
    by predict, and by predict and learn. When a round tells no more of them apart, the set of its
    colours and the prediction's expression of them are the key. In two programs with one set of
    colours in which no two classes are told apart by a further round, places of one colour have
    equal values for ever, so the predictions are equal, bit for bit. `values`, `loops` and
    `colours` are scratch, one number a place.
    """
    label, prediction, features = first[1], first[1] + 1, first[2]
    values[:] = ZERO
    _run_hashes(at, 0, ends[1], hashes, flags, values)
    count = _carried_and_written(at, ends, carried, prediction, loops)
    for index in range(count):
        # what it begins with, which is not what it is
        values[loops[index]] = _stirred(values[loops[index]] + CARRIED)
    apart, before = _apart(values, loops, count), -1
    while apart != before:
        before = apart
        values[label], values[features] = ZERO, FEATURES
        for index in range(count):
            colours[index] = values[loops[index]]
        _run_hashes(at, ends[1], ends[2], hashes, flags, values)
        for index in range(count):
            colours[index] = _stirred(colours[index] + values[loops[index]] * FIRST)
        values[label], values[prediction] = LABEL, _stirred(values[prediction] + SQUASHED)
        _run_hashes(at, ends[2], ends[3], hashes, flags, values)
        for index in range(count):
            values[loops[index]] = _stirred(colours[index] + values[loops[index]] * SECOND)
        apart = _apart(values, loops, count)
    key = _sum(values, loops, count)
    values[label], values[features] = ZERO, FEATURES
    _run_hashes(at, ends[1], ends[2], hashes, flags, values)
    return finish(key + values[prediction])


@compiled
def _stirred(word):
    return (word ^ word >> np.uint64(32)) * THIRD


@compiled
def _new(values, loops, index):
    """Whether no earlier one of these places holds the same value."""
    new = True
    for earlier in range(index):
        new &= values[loops[earlier]] != values[loops[index]]
    return new


@compiled
def _apart(values, loops, count):
    """How many different values these places hold."""
    out = 0
    for index in range(count):
        out += _new(values, loops, index)
    return out


@compiled
def _sum(values, loops, count):
    """A hash of the set of values that these places hold."""
    out = np.uint64(0)
    for index in range(count):
        if _new(values, loops, index):
            out += finish(values[loops[index]])
    return out


@compiled
def _carried_and_written(at, ends, carried, prediction, loops):
    """Fill `loops` with the carried places that predict, learn or the squashing of s1 change;
    returns how many.
    """
    count = 0
    one = np.uint64(1)
    if carried[prediction >> 6] >> np.uint64(prediction & 63) & one:
        loops[0] = prediction
        count = 1
    for index in range(ends[1], ends[3]):
        out = at[index, 2]
        new = (carried[out >> 6] >> np.uint64(out & 63)) & one
        for known in range(count):
            new &= np.uint64(loops[known] != out)
        if new:
            loops[count] = out
            count += 1
    return count


@compiled
def _run_hashes(at, begin, end, hashes, flags, values):
    """Run instructions on hashes in place of values."""
    for index in range(begin, end):
        word, flag, out = hashes[index], flags[index], at[index, 2]
        if flag & READS:
            word += values[out] * SECOND
        if flag & CONSTANT:
            values[out] = _stirred(word)
            continue
        a, b = values[at[index, 0]], values[at[index, 1]]
        if flag & COMMUTES:
            a, b = min(a, b), max(a, b)
        if flag & IDEMPOTENT and a == b:
            values[out] = a
        elif flag & KEEPS_ZERO and a == ZERO and b == ZERO:
            values[out] = ZERO
        else:
            values[out] = _stirred(word + a * FIRST + b * SECOND)
