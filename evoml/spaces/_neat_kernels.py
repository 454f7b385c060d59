"""Compiled loops over NEAT genomes: crossover, mutation, distance, and the order in which a network
is computed.

Rows are kept in order: nodes by their number (inputs, the bias, outputs, then hidden ones), links
by their innovation.
"""

from typing import NamedTuple

import numpy as np

from evoml.compilation.numba_cache import compiled
from evoml.compilation.random_kernels import below, mix, next_bits, normal, uniform

INPUT, BIAS, OUTPUT, HIDDEN = range(4)
SPARSE = 64  # numbers a node from which on they are searched for and not looked up
TRIES = 20  # draws of two nodes before a new link is given up
CLASSIC, UNSCALED, RELATIVE = range(3)  # distances


class Rates(NamedTuple):
    """What variation needs, as numbers; strategies/neat.py says what each is.

    A kernel reads it by name.
    """

    mate_only: float
    averaged: float
    stays_disabled: float
    layered: float
    mixed: float
    add_node: float
    add_link: float
    delete_node: float
    delete_link: float
    exclusive: float
    weights: float
    perturb: float
    replace: float
    gaussian: float
    power: float
    range: float
    limit: float
    severe: float
    toggle: float
    alter: float
    split_disabled: float


@compiled
def _weight(state, rates):
    """A new link's weight."""
    if rates.gaussian > 0.0:
        return _clipped(rates.range * normal(state), rates.limit)
    return _clipped(rates.range * (2.0 * uniform(state) - 1.0), rates.limit)


@compiled
def _clipped(weight, limit):
    return min(max(weight, -limit), limit)


@compiled
def _place(nodes, count, number):
    """The row of a node's number, or -1."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if nodes[middle].id < number:
            low = middle + 1
        else:
            high = middle
    return low if low < count and nodes[low].id == number else -1


@compiled
def _insert_node(nodes, count, number, kind, activation, aggregation):
    """Put a node where its number belongs. Returns the new count."""
    at = count
    while at > 0 and nodes[at - 1].id > number:
        nodes[at] = nodes[at - 1]
        at -= 1
    nodes[at].id, nodes[at].kind = number, kind
    nodes[at].activation, nodes[at].aggregation = activation, aggregation
    return count + 1


@compiled
def _insert_link(links, count, innovation, source, target, weight):
    at = count
    while at > 0 and links[at - 1].innovation > innovation:
        links[at] = links[at - 1]
        at -= 1
    links[at].innovation, links[at].source, links[at].target = innovation, source, target
    links[at].enabled, links[at].weight = 1, weight
    return count + 1


@compiled
def reaches(nodes, node_count, links, link_count, start, goal):
    """Whether a path of links, disabled ones too, leads from one node to another."""
    if start == goal:
        return True
    seen = np.zeros(node_count, np.uint8)
    seen[_place(nodes, node_count, start)] = 1
    grew = True
    while grew:
        grew = False
        for index in range(link_count):
            source = _place(nodes, node_count, links[index].source)
            target = _place(nodes, node_count, links[index].target)
            if seen[source] == 1 and seen[target] == 0:
                if links[index].target == goal:
                    return True
                seen[target] = 1
                grew = True
    return False


@compiled
def _closes_cycle(links, count, source, target):
    """`reaches` from target to source for links whose nodes are not listed yet."""
    if source == target:
        return True
    reached = np.empty(count + 1, np.int64)
    reached[0] = target
    found = 1
    at = 0
    while at < found:
        for index in range(count):
            if links[index].source == reached[at]:
                node = np.int64(links[index].target)
                if node == source:
                    return True
                known = False
                for each in range(found):
                    known |= reached[each] == node
                if not known:
                    reached[found] = node
                    found += 1
        at += 1
    return False


# -- crossover -------------------------------------------------------------------------------------


@compiled
def _inherit(state, out, gene, disabled, rates):
    """Copy a gene; disabled: whether it is in a parent that has it."""
    out.innovation, out.source, out.target, out.weight = (
        gene.innovation,
        gene.source,
        gene.target,
        gene.weight,
    )
    out.enabled = gene.enabled
    if disabled:
        stays = uniform(state) < rates.stays_disabled
        if rates.layered > 0.0:
            out.enabled = 0 if stays else gene.enabled
        else:
            out.enabled = 0 if stays else 1


@compiled
def _has_link(links, count, source, target):
    found = False
    for index in range(count):
        found |= links[index].source == source and links[index].target == target
    return found


@compiled
def _fits(out, count, gene, equal, recurrent):
    """Whether a child may have a gene too; it may have all of a fitter parent's."""
    if not equal:
        return True
    if _has_link(out, count, gene.source, gene.target):
        return False
    return recurrent or not _closes_cycle(out, count, gene.source, gene.target)


@compiled
def cross_links(state, one, n, other, m, equal, recurrent, rates, out):
    """The child's links of two parents', aligned by innovation; `one` is the fitter, or as fit
    where `equal`. Returns how many.

    Of parents as fit as each other a link that the child has already, under another number, is left
    out, and without recurrence one that would close a cycle. One number for two links, which
    genomes of different runs may have, is the fitter's.
    """
    i = j = count = 0
    average = rates.averaged > 0.0 and uniform(state) < rates.averaged
    while i < n or j < m:
        a = np.int64(one[i].innovation) if i < n else np.int64(2**62)
        b = np.int64(other[j].innovation) if j < m else np.int64(2**62)
        if a == b and (one[i].source != other[j].source or one[i].target != other[j].target):
            if _fits(out, count, one[i], equal, recurrent):
                _inherit(
                    state, out[count], one[i], one[i].enabled == 0 and rates.layered == 0.0, rates
                )
                count += 1
            i += 1
            j += 1
            continue
        if a == b:
            i += 1
            j += 1
            if not _fits(out, count, one[i - 1], equal, recurrent):
                continue
            either = one[i - 1].enabled == 0 or other[j - 1].enabled == 0
            first = average or next_bits(state) >> np.uint64(63) == 0
            _inherit(state, out[count], one[i - 1] if first else other[j - 1], either, rates)
            if average:
                out[count].weight = 0.5 * (one[i - 1].weight + other[j - 1].weight)
            elif rates.mixed > 0.0:  # gene by gene attributes, one by one
                out[count].weight = (
                    one[i - 1].weight
                    if next_bits(state) >> np.uint64(63) == 0
                    else other[j - 1].weight
                )
            count += 1
            continue
        mine = a < b
        gene = one[i] if mine else other[j]
        wanted = mine if not equal else next_bits(state) >> np.uint64(63) == 0
        if wanted and _fits(out, count, gene, equal, recurrent):
            _inherit(state, out[count], gene, gene.enabled == 0 and rates.layered == 0.0, rates)
            count += 1
        i += mine
        j += not mine
    return count


@compiled
def cross_nodes(state, one, n, other, m, links, count, out):
    """The nodes that the child's links need, and those that every network has; of functions of
    common nodes one parent's.

    Returns how many.
    """
    fixed = 0
    while fixed < n and one[fixed].kind != HIDDEN:
        out[fixed] = one[fixed]
        fixed += 1
    total = fixed
    for index in range(count):
        for end in range(2):
            number = links[index].source if end == 0 else links[index].target
            if number >= fixed and _place(out, total, number) < 0:
                mine, theirs = _place(one, n, number), _place(other, m, number)
                from_one = theirs < 0 or (mine >= 0 and next_bits(state) >> np.uint64(63) == 0)
                activation = one[mine].activation if from_one else other[theirs].activation
                aggregation = one[mine].aggregation if from_one else other[theirs].aggregation
                total = _insert_node(out, total, number, HIDDEN, activation, aggregation)
    return total


# -- mutation --------------------------------------------------------------------------------------


@compiled
def _mutate_weights(state, links, count, rates):
    """Every weight moves or is drawn anew, in the paper's shares; `severe`: the published
    program's, by age and a coin.
    """
    severe = rates.severe > 0.0 and uniform(state) < 0.5
    for index in range(count):
        move, anew = rates.perturb, rates.replace
        if rates.severe > 0.0:
            if severe:
                move, anew = 0.7, 0.2
            elif count >= 10 and index > 0.8 * count:
                move, anew = 0.5, 0.2
            else:
                move, anew = 1.0, 0.0
        chance = uniform(state)
        if chance < move:
            step = normal(state) if rates.gaussian > 0.0 else 2.0 * uniform(state) - 1.0
            links[index].weight = _clipped(links[index].weight + rates.power * step, rates.limit)
        elif chance < move + anew:
            links[index].weight = _weight(state, rates)


@compiled
def _number_of_link(source, target, news, counters):
    """The innovation of a new link: that of the same one in this generation, else the next.

    news: [k, 3] (kind, key, number) rows, counters[2] of them.
    """
    # no counters: from the ends alone, below 2**30 so that none is ever beyond an Integer
    if counters[2] < 0:
        return np.int64(
            mix(np.uint64(source) * np.uint64(2**31) + np.uint64(target), np.uint64(0))
            >> np.uint64(34)
        )
    key = source * 2**31 + target
    for index in range(counters[2]):
        if news[index, 0] == 0 and news[index, 1] == key:
            return news[index, 2]
    number = counters[1]
    counters[1] += 1
    if counters[2] < len(news):
        news[counters[2], 0], news[counters[2], 1], news[counters[2], 2] = 0, key, number
        counters[2] += 1
    return number


@compiled
def _add_link(state, nodes, node_count, links, count, recurrent, rates, news, counters):
    """A link between two nodes that have none. Returns the count."""
    first = 0
    while nodes[first].kind <= BIAS:
        first += 1
    hidden = first
    while hidden < node_count and nodes[hidden].kind == OUTPUT:
        hidden += 1
    for _ in range(TRIES):
        source_row, target_row = below(state, node_count), first + below(state, node_count - first)
        if not recurrent and first <= source_row < hidden:
            continue
        source, target = np.int64(nodes[source_row].id), np.int64(nodes[target_row].id)
        if _has_link(links, count, source, target):
            continue
        if not recurrent and reaches(nodes, node_count, links, count, target, source):
            continue
        number = _number_of_link(source, target, news, counters)
        for index in range(count):  # two pairs of ends may have one number where it is made of them
            if links[index].innovation == number:
                return count
        return _insert_link(links, count, number, source, target, _weight(state, rates))
    return count


@compiled
def _add_node(
    state, nodes, node_count, links, count, rates, activations, aggregations, news, counters
):
    """Split a link: the old one is disabled, the one in gets weight 1, the one out the old weight.

    Returns whether it did.
    """
    for _ in range(TRIES):
        at = below(state, count)
        source = _place(nodes, node_count, links[at].source)
        if nodes[source].kind == BIAS or (links[at].enabled == 0 and rates.split_disabled == 0.0):
            continue
        activation = (
            activations[below(state, len(activations))] if len(activations) > 1 else activations[0]
        )
        aggregation = (
            aggregations[below(state, len(aggregations))]
            if len(aggregations) > 1
            else aggregations[0]
        )
        key = np.int64(links[at].innovation)
        number, into = np.int64(-1), np.int64(-1)
        if counters[2] < 0:
            number = np.int64(mix(np.uint64(key), np.uint64(1)) >> np.uint64(34)) + 2**29
            into = np.int64(mix(np.uint64(key), np.uint64(2)) >> np.uint64(34))
            taken = _place(nodes, node_count, number) >= 0
            for index in range(count):
                taken |= links[index].innovation == into or links[index].innovation == into + 1
            if taken:
                return False
        else:
            for index in range(counters[2]):
                if (
                    news[index, 0] == 1
                    and news[index, 1] == key
                    and _place(nodes, node_count, news[index, 2]) < 0
                ):
                    number, into = news[index, 2], news[index, 3]
                    break
            if number < 0:
                number, into = counters[0], counters[1]
                counters[0] += 1
                counters[1] += 2
                if counters[2] < len(news):
                    news[counters[2], 0], news[counters[2], 1] = 1, key
                    news[counters[2], 2], news[counters[2], 3] = number, into
                    counters[2] += 1
        source_id, target_id, weight = links[at].source, links[at].target, links[at].weight
        links[at].enabled = 0
        _insert_node(nodes, node_count, number, HIDDEN, activation, aggregation)
        _insert_link(links, count, into, source_id, number, 1.0)
        _insert_link(links, count + 1, into + 1, number, target_id, weight)
        return True
    return False


@compiled
def _delete_link(state, links, count):
    at = below(state, count)
    for index in range(at, count - 1):
        links[index] = links[index + 1]
    return count - 1


@compiled
def _delete_node(state, nodes, node_count, links, count):
    """A hidden node with its links. Returns both counts."""
    fixed = 0
    while fixed < node_count and nodes[fixed].kind != HIDDEN:
        fixed += 1
    if fixed == node_count:
        return node_count, count
    at = fixed + below(state, node_count - fixed)
    number = nodes[at].id
    for index in range(at, node_count - 1):
        nodes[index] = nodes[index + 1]
    kept = 0
    for index in range(count):
        if links[index].source != number and links[index].target != number:
            links[kept] = links[index]
            kept += 1
    return node_count - 1, kept


@compiled
def mutate_one(
    state, nodes, sizes, links, recurrent, rates, activations, aggregations, news, counters
):
    """Mutate one genome in place; there must be room for one node and three links.

    sizes: [2] nodes and links.
    """
    structural = False
    if rates.add_node > 0.0 and uniform(state) < rates.add_node and sizes[1] > 0:
        structural = _add_node(
            state,
            nodes,
            sizes[0],
            links,
            sizes[1],
            rates,
            activations,
            aggregations,
            news,
            counters,
        )
        sizes[0] += structural
        sizes[1] += 2 * structural
    if (
        rates.add_link > 0.0
        and not (structural and rates.exclusive > 0.0)
        and uniform(state) < rates.add_link
    ):
        before = sizes[1]
        sizes[1] = _add_link(
            state, nodes, sizes[0], links, sizes[1], recurrent, rates, news, counters
        )
        structural |= sizes[1] > before
    if rates.delete_node > 0.0 and uniform(state) < rates.delete_node:
        sizes[0], sizes[1] = _delete_node(state, nodes, sizes[0], links, sizes[1])
    if rates.delete_link > 0.0 and sizes[1] > 0 and uniform(state) < rates.delete_link:
        sizes[1] = _delete_link(state, links, sizes[1])
    if not (structural and rates.exclusive > 0.0) and uniform(state) < rates.weights:
        _mutate_weights(state, links, sizes[1], rates)
    if rates.toggle > 0.0 and sizes[1] > 0 and uniform(state) < rates.toggle:
        at = below(state, sizes[1])
        links[at].enabled = 1 - links[at].enabled
    if rates.alter > 0.0 and uniform(state) < rates.alter:
        at = below(state, sizes[0])
        if nodes[at].kind == HIDDEN:
            nodes[at].activation = activations[below(state, len(activations))]
            nodes[at].aggregation = aggregations[below(state, len(aggregations))]


# -- populations -----------------------------------------------------------------------------------


@compiled
def breed(
    nodes, links, sizes, mothers, fathers, equal, elite, streams, recurrent, rates, activations,
    aggregations, counters, out_nodes, out_links, out_sizes,
):  # fmt: skip
    """Children of a population, one after the other, since what is new in one generation is
    numbered once.

    mothers, fathers: [n] indices, the mother the fitter (or as fit where `equal`), no father: -1.
    elite: [n] copied unchanged. counters: [3] the next node, the next innovation, and room for the
    kernel.
    """
    news = np.zeros((2 * len(mothers) + 1, 4), np.int64)
    if counters[2] >= 0:
        counters[2] = 0
    state = np.zeros(1, np.uint64)
    for child in range(len(mothers)):
        state[0] = streams[child]
        mother, father = mothers[child], fathers[child]
        n, m = sizes[mother, 0], sizes[mother, 1]
        if father < 0:
            for index in range(n):
                out_nodes[child, index] = nodes[mother, index]
            for index in range(m):
                out_links[child, index] = links[mother, index]
            out_sizes[child, 0], out_sizes[child, 1] = n, m
        else:
            count = cross_links(
                state,
                links[mother],
                m,
                links[father],
                sizes[father, 1],
                equal[child] > 0,
                recurrent,
                rates,
                out_links[child],
            )
            out_sizes[child, 0] = cross_nodes(
                state,
                nodes[mother],
                n,
                nodes[father],
                sizes[father, 0],
                out_links[child],
                count,
                out_nodes[child],
            )
            out_sizes[child, 1] = count
        if elite[child] > 0 or (
            father >= 0 and rates.mate_only > 0.0 and uniform(state) < rates.mate_only
        ):
            continue
        mutate_one(
            state,
            out_nodes[child],
            out_sizes[child],
            out_links[child],
            recurrent,
            rates,
            activations,
            aggregations,
            news,
            counters,
        )


@compiled
def distance(one, n, other, m, c1, c2, c3, kind):
    """How different two genomes' links are.

    CLASSIC: c1 E / N + c2 D / N + c3 W, N the genes of the larger, 1 below 20. UNSCALED: N is 1.
    RELATIVE: (c1 (E + D) + c3 sum of differences) / N, N always as it is.
    """
    larger = max(n, m)
    size = float(larger)
    if kind == UNSCALED or (kind == CLASSIC and larger < 20):
        size = 1.0
    size = max(size, 1.0)
    i = j = matching = 0
    total = 0.0
    while i < n and j < m:
        a, b = one[i].innovation, other[j].innovation
        same = a == b
        total += abs(one[i].weight - other[j].weight) if same else 0.0
        matching += same
        i += a <= b
        j += b <= a
    excess = n - i + m - j
    disjoint = i + j - 2 * matching
    if kind == RELATIVE:
        return (c1 * excess + c2 * disjoint + c3 * total) / size
    return (
        c1 * excess / size + c2 * disjoint / size + c3 * (total / matching if matching > 0 else 0.0)
    )


@compiled
def speciate(links, sizes, rep_links, rep_sizes, c1, c2, c3, kind, threshold, nearest, species):
    """The place of every genome's species, [P]: a representative's, or behind those of the k-th
    genome that fits none and begins one. Returns how many did.

    nearest: the closest representative, else the first that is close enough. Genomes that begin a
    species are representatives for those behind them.
    """
    begun = 0
    founders = np.zeros(len(links), np.int64)
    for index in range(len(links)):
        best, found = np.inf, np.int64(0)
        known = len(rep_links)
        hit = False
        for place in range(known + begun):
            if place < known:
                gap = distance(
                    links[index],
                    sizes[index, 1],
                    rep_links[place],
                    rep_sizes[place, 1],
                    c1,
                    c2,
                    c3,
                    kind,
                )
            else:
                other = founders[place - known]
                gap = distance(
                    links[index], sizes[index, 1], links[other], sizes[other, 1], c1, c2, c3, kind
                )
            if gap < threshold and gap < best:
                best, found, hit = gap, place, True
                if not nearest:
                    break
        if hit:
            species[index] = found
        else:
            species[index] = known + begun
            founders[begun] = index
            begun += 1
    return begun


@compiled
def distances(links, sizes, members, other_links, other_sizes, other, c1, c2, c3, kind, out):
    """The distance of every member to one genome, into `out`."""
    for place in range(len(members)):
        index = members[place]
        out[place] = distance(
            links[index],
            sizes[index, 1],
            other_links[other],
            other_sizes[other, 1],
            c1,
            c2,
            c3,
            kind,
        )


@compiled
def unsound(nodes, links, sizes):
    """The first genome whose rows are not in order or that has a link to nowhere; -1: none."""
    for p in range(len(sizes)):
        n = sizes[p, 0]
        for row in range(1, n):
            if (
                nodes[p, row].id <= nodes[p, row - 1].id
                or nodes[p, row].kind < nodes[p, row - 1].kind
            ):
                return p
        for index in range(sizes[p, 1]):
            if index and links[p, index].innovation <= links[p, index - 1].innovation:
                return p
            source, target = (
                _place(nodes[p], n, links[p, index].source),
                _place(nodes[p], n, links[p, index].target),
            )
            if source < 0 or target < 0 or nodes[p, target].kind <= BIAS:
                return p
    return -1


# -- from a genome to a network --------------------------------------------------------------------


@compiled
def lower(
    nodes,
    links,
    sizes,
    recurrent,
    shift,
    slots,
    node_ends,
    slot,
    activation,
    aggregation,
    link_ends,
    source,
    weight,
):
    """Instruction tables of P genomes, as in `evoml.phenotypes.neuron_graphs`.

    shift: 1 where the genomes have no bias node, whose address stays free. Returns rows used.
    """
    widest = 0
    for index in range(len(sizes)):
        widest = max(widest, sizes[index, 0])
    longest = 0
    for index in range(len(sizes)):
        longest = max(longest, sizes[index, 1])
    highest = 0
    for index in range(len(sizes)):
        if sizes[index, 0]:
            highest = max(highest, nodes[index, sizes[index, 0] - 1].id)
    dense = highest < SPARSE * max(len(sizes) * widest, 1)
    # the row of a node's number in the genome at hand
    place_of = np.zeros(highest + 1 if dense else 1, np.int32)
    # rows of the ends of enabled links, in order; source first
    row_of = np.empty((longest, 2), np.int64)
    gene = np.empty(longest, np.int64)
    wanted = np.empty(widest, np.uint8)
    waiting = np.empty(widest, np.int64)
    order = np.empty(widest, np.int64)
    first = np.empty(widest + 1, np.int64)
    by_target = np.empty(longest, np.int64)
    row = link = 0
    for p in range(len(sizes)):
        n = sizes[p, 0]
        enabled = 0
        if dense:
            for each in range(n):
                place_of[nodes[p, each].id] = each
        for index in range(sizes[p, 1]):
            if links[p, index].enabled:
                start, end = links[p, index].source, links[p, index].target
                row_of[enabled, 0] = place_of[start] if dense else _place(nodes[p], n, start)
                row_of[enabled, 1] = place_of[end] if dense else _place(nodes[p], n, end)
                gene[enabled] = index
                enabled += 1
        fixed = hidden = 0
        while fixed < n and nodes[p, fixed].kind <= BIAS:
            fixed += 1
        hidden = fixed
        while hidden < n and nodes[p, hidden].kind == OUTPUT:
            hidden += 1
        # Links by target, in the order of innovation: a counting sort.
        for each in range(n + 1):
            first[each] = 0
        for each in range(enabled):
            first[row_of[each, 1] + 1] += 1
        for each in range(n):
            first[each + 1] += first[each]
            waiting[each] = first[each]
        for each in range(enabled):
            by_target[waiting[row_of[each, 1]]] = each
            waiting[row_of[each, 1]] += 1
        # What reaches an output.
        for each in range(n):
            wanted[each] = fixed <= each < hidden
        head = tail = 0
        for each in range(fixed, hidden):
            order[tail] = each
            tail += 1
        while head < tail:
            node = order[head]
            head += 1
            for each in range(first[node], first[node + 1]):
                other = row_of[by_target[each], 0]
                if not wanted[other] and other >= fixed:
                    wanted[other] = 1
                    order[tail] = other
                    tail += 1
        count = 0
        if recurrent:
            for each in range(fixed, n):
                if wanted[each]:
                    order[count] = each
                    count += 1
        else:
            count = _sorted(first, by_target, row_of, wanted, fixed, n, order, waiting)
        slots[p] = n + shift
        node_ends[p + 1] = node_ends[p] + count
        for each in range(count):
            node = order[each]
            slot[row] = node + shift
            activation[row], aggregation[row] = (
                nodes[p, node].activation,
                nodes[p, node].aggregation,
            )
            for at in range(first[node], first[node + 1]):
                origin = row_of[by_target[at], 0]
                source[link] = origin + shift if origin >= fixed else origin
                weight[link] = links[p, gene[by_target[at]]].weight
                link += 1
            row += 1
            link_ends[row] = link
    return row, link


@compiled
def _sorted(first, by_target, row_of, wanted, fixed, n, order, waiting):
    """Wanted nodes from row `fixed` on into `order`, sources before targets: depth first, in the
    order of rows.

    Returns how many.
    """
    count = 0
    done = np.zeros(n, np.uint8)
    depth = 0
    for start in range(fixed, n):
        if not wanted[start] or done[start]:
            continue
        # grows from the other end of the same array: there are never more than n in both
        stack = order[n - 1 :: -1]
        stack[0] = start
        waiting[start] = first[start]
        done[start] = 1
        depth = 1
        while depth > 0:
            node = stack[depth - 1]
            descended = False
            while waiting[node] < first[node + 1]:
                other = row_of[by_target[waiting[node]], 0]
                waiting[node] += 1
                if other >= fixed and not done[other]:
                    done[other] = 1
                    waiting[other] = first[other]
                    stack[depth] = other
                    depth += 1
                    descended = True
                    break
            if not descended:
                depth -= 1
                order[count] = node
                count += 1
    return count
