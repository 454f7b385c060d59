"""Networks drawn by pattern-producing networks (CPPNs), compiled: which links are expressed, and
which nodes a quadtree finds.

A CPPN's outputs are the weight, then the bias of the target where there is one, then whether the
link is expressed (LEO) where that has an output.
"""

from typing import NamedTuple

import numpy as np

from evoml.backends._graphs import forward
from evoml.compilation.numba_cache import compiled


class Rules(NamedTuple):
    """What decoding needs, as numbers; spaces/hyperneat.py and es_hyperneat.py say what each is.

    A kernel reads it by name.
    """

    threshold: float
    range: float
    leo: int  # the position of that output; 0: there is none
    biases: bool
    distance: bool
    recurrent: bool
    initial: int = 0
    deepest: int = 0
    division: float = 0.0
    variance: float = 0.0
    band: float = 0.0
    iterations: int = 0


class Tools(NamedTuple):
    """A population's CPPNs, the arrays of `NeuronGraphs`, and room to run one of them in."""

    slots: np.ndarray
    nodes: np.ndarray
    slot: np.ndarray
    activation: np.ndarray
    aggregation: np.ndarray
    links: np.ndarray
    source: np.ndarray
    weight: np.ndarray
    memory: np.ndarray
    vectors: int
    lanes: int
    outputs: int


@compiled
def scaled(values, bias, rules):
    """The weight of a link by a CPPN's outputs [O]; 0: there is no link.

    Where a LEO says what is expressed, the weight is not cut off.
    """
    value = values[1] if bias else values[0]
    size = min(abs(value), 1.0)
    threshold = 0.0 if rules.leo > 0 else rules.threshold
    if not size > threshold or (rules.leo > 0 and not bias and not values[rules.leo] > 0.0):
        return 0.0
    size = (size - threshold) / (1.0 - threshold) * rules.range
    return size if value > 0.0 else -size


@compiled
def express(values, source, bias, rules, out):
    """Weights `out` [n, L] of links by the CPPNs' outputs [n, L, O]; `source` [L] says which come
    from the bias.
    """
    for network in range(len(values)):
        for link in range(len(source)):
            out[network, link] = scaled(values[network, link], source[link] == bias, rules)


@compiled
def lower(
    base, outputs, order, first, source, weight, row, link, slot, link_ends, out_source, out_weight
):
    """Write one network's rows from `row` on and its links from `link` on: nodes that reach an
    output, links of weight 0 left out. Returns both ends.

    order, first, source: as in `Layout`; base: the address of output 0.
    """
    count = len(order)
    place = np.empty(count, np.int64)
    for index in range(count):
        place[order[index]] = index
    wanted, stack = np.zeros(count, np.uint8), np.empty(count, np.int64)
    depth = 0
    for node in range(outputs):
        wanted[node] = 1
        stack[depth] = node
        depth += 1
    while depth > 0:
        depth -= 1
        at = place[stack[depth]]
        for index in range(first[at], first[at + 1]):
            other = source[index] - base
            if other >= 0 and weight[index] != 0.0 and not wanted[other]:
                wanted[other] = 1
                stack[depth] = other
                depth += 1
    for at in range(count):
        if not wanted[order[at]]:
            continue
        for index in range(first[at], first[at + 1]):
            if weight[index] != 0.0:
                out_source[link], out_weight[link] = source[index], weight[index]
                link += 1
        slot[row] = base + order[at]
        row += 1
        link_ends[row] = link
    return row, link


@compiled
def lower_all(
    base, outputs, order, first, source, weight, node_ends, slot, link_ends, out_source, out_weight
):
    """`lower` for networks of one substrate, weights [n, L].

    Fills node_ends [n + 1] as well; returns rows and links.
    """
    row = link = 0
    for network in range(len(weight)):
        row, link = lower(
            base,
            outputs,
            order,
            first,
            source,
            weight[network],
            row,
            link,
            slot,
            link_ends,
            out_source,
            out_weight,
        )
        node_ends[network + 1] = row
    return row, link


# -- nodes found by a quadtree ---------------------------------------------------------------------
#
# Squares of depth l lie on a lattice of 2^l x 2^l, which is kept with one more row of squares
# around it, the neighbours of those at the edge. Their centres are odd multiples of 2^-l, so that
# no two depths share one: a hidden node is known by its number, offset of the depth + column * 2^l
# + row.


@compiled
def _cell(start, depth, i, j):
    return start[depth] + (i + 1) * ((1 << depth) + 2) + j + 1


@compiled
def _centre(depth, i):
    return (2 * i + 1) / (1 << depth) - 1.0


@compiled
def _query(tools, which, ends, out):
    """Outputs [1, n, O] of a CPPN on inputs [I, n]."""
    vectors = min(tools.vectors, (ends.shape[1] + tools.lanes - 1) // tools.lanes)
    memory = tools.memory[: tools.slots[which[0]] * vectors * tools.lanes]
    forward(
        tools.slots, tools.nodes, tools.slot, tools.activation, tools.aggregation, tools.links,
        tools.source, tools.weight, False, which, ends, 1.0, memory, memory[:0], vectors,
        tools.lanes, 1, out,
    )  # fmt: skip


@compiled
def _ends(x1, y1, x2, y2, rules, ends, index):
    ends[0, index], ends[1, index], ends[2, index], ends[3, index] = x1, y1, x2, y2
    if rules.distance:
        ends[4, index] = np.sqrt((x1 - x2) ** 2 + (y1 - y2) ** 2)


@compiled
def _ask(tools, which, rules, x, y, outgoing, want, count, start, values, known):
    """Query the squares in `want` [.., 3] (depth, column, row) from or to the node at x, y."""
    if count == 0:
        return
    ends, out = np.empty((4 + int(rules.distance), count)), np.empty((1, count, tools.outputs))
    for index in range(count):
        depth = want[index, 0]
        cx, cy = _centre(depth, want[index, 1]), _centre(depth, want[index, 2])
        if outgoing:
            _ends(x, y, cx, cy, rules, ends, index)
        else:
            _ends(cx, cy, x, y, rules, ends, index)
    _query(tools, which, ends, out)
    for index in range(count):
        at = _cell(start, want[index, 0], want[index, 1], want[index, 2])
        known[at] = 1
        for output in range(tools.outputs):
            values[at, output] = out[0, index, output]


@compiled
def _spread_of_four(values, start, depth, i, j):
    """Variance of the weights of a square's four parts; depth and place are the square's."""
    total = square = 0.0
    for di in range(2):
        for dj in range(2):
            total += values[_cell(start, depth + 1, 2 * i + di, 2 * j + dj), 0]
    mean = total / 4
    for di in range(2):
        for dj in range(2):
            square += (values[_cell(start, depth + 1, 2 * i + di, 2 * j + dj), 0] - mean) ** 2
    return square / 4


@compiled
def _divide(tools, which, rules, x, y, outgoing, start, values, known, divided, want):
    """Divide squares down to the initial depth, and on where the four parts of the square above
    differ.
    """
    known[:] = 0
    divided[:] = 0
    count = 0
    for depth in range(1, rules.initial + 1):
        for i in range(1 << depth):
            for j in range(1 << depth):
                want[count, 0], want[count, 1], want[count, 2] = depth, i, j
                count += 1
                divided[_cell(start, depth, i, j)] = depth < rules.initial
    _ask(tools, which, rules, x, y, outgoing, want, count, start, values, known)
    for depth in range(rules.initial, rules.deepest):
        count = 0
        above = depth - 1
        for i in range(1 << above):
            for j in range(1 << above):
                if above > 0 and not divided[_cell(start, above, i, j)]:
                    continue
                if not _spread_of_four(values, start, above, i, j) > rules.division:
                    continue
                for di in range(4):
                    for dj in range(4):
                        divided[_cell(start, depth, 2 * i + di // 2, 2 * j + dj // 2)] = 1
                        want[count, 0], want[count, 1], want[count, 2] = (
                            depth + 1,
                            4 * i + di,
                            4 * j + dj,
                        )
                        count += 1
        _ask(tools, which, rules, x, y, outgoing, want, count, start, values, known)


@compiled
def _variances(rules, start, values, known, divided, moments):
    """Count, mean and sum of squared differences of the leaves under every square, from the deepest
    up, into moments [cells, 3].
    """
    for depth in range(rules.deepest, 0, -1):
        for i in range(1 << depth):
            for j in range(1 << depth):
                at = _cell(start, depth, i, j)
                if not known[at]:
                    continue
                if not divided[at]:
                    moments[at, 0], moments[at, 1], moments[at, 2] = 1.0, values[at, 0], 0.0
                    continue
                count = mean = squares = 0.0
                for di in range(2):
                    for dj in range(2):
                        part = _cell(start, depth + 1, 2 * i + di, 2 * j + dj)
                        gap, both = moments[part, 1] - mean, count + moments[part, 0]
                        squares += moments[part, 2] + gap * gap * count * moments[part, 0] / both
                        mean += gap * moments[part, 0] / both
                        count = both
                moments[at, 0], moments[at, 1], moments[at, 2] = count, mean, squares


@compiled
def _candidates(rules, start, known, divided, moments, visited, want, chosen):
    """Squares of little variance below squares of much, into `chosen`; and which neighbours of
    theirs are not known yet, into `want`.

    Returns both counts.
    """
    visited[:] = 0
    found = count = 0
    for depth in range(1, rules.deepest + 1):
        for i in range(1 << depth):
            for j in range(1 << depth):
                at = _cell(start, depth, i, j)
                if depth > 1 and not visited[at]:
                    continue
                if divided[at] and moments[at, 2] / moments[at, 0] > rules.variance:
                    for part in range(4):
                        visited[_cell(start, depth + 1, 2 * i + part // 2, 2 * j + part % 2)] = 1
                    continue
                chosen[found, 0], chosen[found, 1], chosen[found, 2] = depth, i, j
                found += 1
                for side in range(4):
                    ni, nj = i + (side == 0) - (side == 1), j + (side == 2) - (side == 3)
                    near = _cell(start, depth, ni, nj)
                    if not known[near]:
                        known[near] = 1
                        want[count, 0], want[count, 1], want[count, 2] = depth, ni, nj
                        count += 1
    return found, count


@compiled
def _explore(
    tools,
    which,
    rules,
    x,
    y,
    outgoing,
    start,
    values,
    known,
    divided,
    visited,
    moments,
    want,
    chosen,
    weights,
):
    """The links of the node at x, y: squares in `chosen` [.., 3] and their weights.

    Returns how many.
    """
    _divide(tools, which, rules, x, y, outgoing, start, values, known, divided, want)
    _variances(rules, start, values, known, divided, moments)
    found, count = _candidates(rules, start, known, divided, moments, visited, want, chosen)
    _ask(tools, which, rules, x, y, outgoing, want, count, start, values, known)
    kept = 0
    for index in range(found):
        depth, i, j = chosen[index, 0], chosen[index, 1], chosen[index, 2]
        at = _cell(start, depth, i, j)
        own = values[at, 0]
        left, right = (
            abs(own - values[_cell(start, depth, i - 1, j), 0]),
            abs(own - values[_cell(start, depth, i + 1, j), 0]),
        )
        below, above = (
            abs(own - values[_cell(start, depth, i, j - 1), 0]),
            abs(own - values[_cell(start, depth, i, j + 1), 0]),
        )
        if not max(min(left, right), min(below, above)) > rules.band:
            continue
        weight = scaled(values[at], False, rules)
        if weight != 0.0:
            chosen[kept, 0], chosen[kept, 1], chosen[kept, 2] = depth, i, j
            weights[kept] = weight
            kept += 1
    return kept


@compiled
def _grown(array, needed):
    """The same array, or a longer one where that has no room."""
    if needed <= len(array):
        return array
    out = np.empty(max(2 * len(array), needed), array.dtype)
    out[: len(array)] = array
    return out


@compiled
def discover(tools, network, rules, inputs, outputs):
    """One network, found from its CPPN: its hidden nodes [H, 2], slot, link_ends, source and weight
    as in `NeuronGraphs`, link_ends from 0 on.

    inputs [I, 2], outputs [O, 2]: coordinates. Links between hidden nodes of a feed-forward network
    lead up in y.
    """
    which = np.array([network])
    deepest = rules.deepest
    start, numbers = np.zeros(deepest + 2, np.int64), np.zeros(deepest + 2, np.int64)
    for depth in range(1, deepest + 1):
        start[depth + 1] = start[depth] + ((1 << depth) + 2) ** 2
        numbers[depth + 1] = numbers[depth] + (1 << depth) ** 2
    cells, places = start[deepest + 1], numbers[deepest + 1]
    values, moments = np.empty((cells, tools.outputs)), np.empty((cells, 3))
    known, divided, visited = (
        np.empty(cells, np.uint8),
        np.empty(cells, np.uint8),
        np.empty(cells, np.uint8),
    )
    want, chosen, weights = (
        np.empty((cells, 3), np.int64),
        np.empty((cells, 3), np.int64),
        np.empty(cells),
    )
    index_of, hidden = np.full(places, -1, np.int64), np.empty((places, 3), np.int64)
    base, answers = len(inputs) + 1, len(outputs)
    sources, targets, strengths = np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty(1024)
    count = links = explored = 0

    # From the inputs, and again and again from what was found before.
    for iteration in range(rules.iterations + 1):
        first, last = (0, len(inputs)) if iteration == 0 else (explored, count)
        for node in range(first, last):
            if iteration == 0:
                x, y = inputs[node, 0], inputs[node, 1]
            else:
                x, y = (
                    _centre(hidden[node, 0], hidden[node, 1]),
                    _centre(hidden[node, 0], hidden[node, 2]),
                )
            found = _explore(
                tools,
                which,
                rules,
                x,
                y,
                True,
                start,
                values,
                known,
                divided,
                visited,
                moments,
                want,
                chosen,
                weights,
            )
            sources, targets, strengths = (
                _grown(sources, links + found),
                _grown(targets, links + found),
                _grown(strengths, links + found),
            )
            for index in range(found):
                depth, i, j = chosen[index, 0], chosen[index, 1], chosen[index, 2]
                if iteration > 0 and not rules.recurrent and not _centre(depth, j) > y:
                    continue
                number = numbers[depth] + (i << depth) + j
                if index_of[number] < 0:
                    index_of[number] = count
                    hidden[count, 0], hidden[count, 1], hidden[count, 2] = depth, i, j
                    count += 1
                sources[links] = node if iteration == 0 else base + answers + node
                targets[links], strengths[links] = answers + index_of[number], weights[index]
                links += 1
        if iteration > 0:
            explored = last
    # To the outputs, from hidden nodes that are there.
    for node in range(answers):
        x, y = outputs[node, 0], outputs[node, 1]
        found = _explore(
            tools,
            which,
            rules,
            x,
            y,
            False,
            start,
            values,
            known,
            divided,
            visited,
            moments,
            want,
            chosen,
            weights,
        )
        sources, targets, strengths = (
            _grown(sources, links + found),
            _grown(targets, links + found),
            _grown(strengths, links + found),
        )
        for index in range(found):
            other = index_of[
                numbers[chosen[index, 0]]
                + (chosen[index, 1] << chosen[index, 0])
                + chosen[index, 2]
            ]
            if other >= 0:
                sources[links], targets[links], strengths[links] = (
                    base + answers + other,
                    node,
                    weights[index],
                )
                links += 1
    where = np.empty((answers + count, 2))
    where[:answers] = outputs
    for node in range(count):
        for axis in range(2):
            where[answers + node, axis] = _centre(hidden[node, 0], hidden[node, 1 + axis])
    if rules.biases:
        sources, targets, strengths = (
            _grown(sources, links + len(where)),
            _grown(targets, links + len(where)),
            _grown(strengths, links + len(where)),
        )
        ends, out = (
            np.empty((4 + int(rules.distance), len(where))),
            np.empty((1, len(where), tools.outputs)),
        )
        for node in range(len(where)):
            _ends(0.0, 0.0, where[node, 0], where[node, 1], rules, ends, node)
        _query(tools, which, ends, out)
        for node in range(len(where)):
            weight = scaled(out[0, node], True, rules)
            if weight != 0.0:
                sources[links], targets[links], strengths[links] = base - 1, node, weight
                links += 1
    return _network(
        base,
        answers,
        where,
        hidden[:count],
        deepest,
        sources[:links],
        targets[:links],
        strengths[:links],
    )


@compiled
def _network(base, answers, where, hidden, deepest, sources, targets, strengths):
    """What `discover` gives: hidden nodes by rising y, then x; those that reach no output left out,
    the others numbered anew.
    """
    count, links = len(hidden), len(sources)
    keys = np.empty(count, np.int64)
    for node in range(count):
        finer = deepest - hidden[node, 0]
        keys[node] = ((2 * hidden[node, 2] + 1) << finer + deepest + 2) + (
            (2 * hidden[node, 1] + 1) << finer
        )
    order = np.empty(answers + count, np.int64)
    order[:count] = answers + np.argsort(keys)
    order[count:] = np.arange(answers)
    place = np.empty(answers + count, np.int64)
    for index in range(len(order)):
        place[order[index]] = index
    # Links by target: a counting sort.
    first = np.zeros(answers + count + 1, np.int64)
    for link in range(links):
        first[place[targets[link]] + 1] += 1
    for index in range(len(order)):
        first[index + 1] += first[index]
    next_of, source, weight = first[:-1].copy(), np.empty(links, np.int32), np.empty(links)
    for link in range(links):
        at = next_of[place[targets[link]]]
        source[at], weight[at] = sources[link], strengths[link]
        next_of[place[targets[link]]] += 1
    slot, link_ends = np.empty(answers + count, np.int32), np.zeros(answers + count + 1, np.int64)
    out_source, out_weight = np.empty(links, np.int32), np.empty(links)
    rows, used = lower(
        base, answers, order, first, source, weight, 0, 0, slot, link_ends, out_source, out_weight
    )
    fresh = np.full(answers + count, -1, np.int64)
    kept = np.empty((rows - answers, 2))
    for node in range(answers):
        fresh[node] = node
    for row in range(rows - answers):
        node = slot[row] - base
        fresh[node] = answers + row
        kept[row] = where[node]
    for row in range(rows):
        slot[row] = base + fresh[slot[row] - base]
    for link in range(used):
        if out_source[link] >= base:
            out_source[link] = base + fresh[out_source[link] - base]
    return (
        kept,
        slot[:rows].copy(),
        link_ends[: rows + 1].copy(),
        out_source[:used].copy(),
        out_weight[:used].copy(),
    )
