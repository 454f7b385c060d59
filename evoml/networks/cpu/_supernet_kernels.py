"""What a supernet's pass is made of, compiled: separable convolutions with what stands before them,
and the sum of all candidates that end in a node.

Images lie as [N, H, W, C]. A separable convolution goes image by image, so that everything between
two normalisations stays in the processor's cache: the input is normalised and rectified while it is
copied into an image with a border, and the moments of the result are taken as it is written.
Neither what the depthwise convolution gives nor a normalised image is ever stored. Moments and what
follows from them are float64 whatever the images are.
"""

import numpy as np
from numba import carray

from evoml.compilation.numba_cache import compiled
from evoml.networks.cpu._vector_kernels import LANES, pointer, product, slopes, taps

_BLOCK = 8  # rows that stay in the nearest cache while candidates are summed


@compiled
def _period(channels):
    """After how many numbers both channels and vectors begin anew."""
    a, b = channels, LANES
    while b:
        a, b = b, a % b
    return channels // a * LANES


@compiled
def _tiled(values, length, like):
    """values [C] repeated to this length, in the dtype of `like`."""
    out = np.empty(length, like.dtype)
    for t in range(length):
        out[t] = values[t % len(values)]
    return out


@compiled
def _lines(values, length, like):
    """Each row of values [K, C] as `_tiled`, [K, length]."""
    out = np.empty((len(values), length), like.dtype)
    for k in range(len(values)):
        for t in range(length):
            out[k, t] = values[k, t % values.shape[1]]
    return out


@compiled
def _copied(given, at, count, to, start):
    source, target = given[at : at + count], to[start : start + count]
    for t in range(count):
        target[t] = source[t]


@compiled
def _tap_rows(narrow, period, flipped):
    """A depthwise convolution's weights [C, k*k] as rows of vectors, [k*k * period]."""
    channels, count = narrow.shape
    out = np.empty(count * period, narrow.dtype)
    for k in range(count):
        for t in range(period):
            out[k * period + t] = narrow[t % channels, count - 1 - k if flipped else k]
    return out


@compiled
def _columns(kernel, dilation, stride, phase, channels):
    """How far the kernel's columns are from the first, in an image whose columns lie by their
    phase.
    """
    out = np.empty(kernel, np.int64)
    for j in range(kernel):
        out[j] = j * dilation % stride * phase + j * dilation // stride * channels
    return out


@compiled
def _bordered(
    given, height, width, channels, scale, shift, least, padding, stride, image, row, phase
):
    """An image [H*W*C] with its border: max(given * scale + shift, least), columns of equal phase
    side by side.

    The border is zero already.
    """
    length = width * channels
    for y in range(height):
        at, start = y * length, (y + padding) * row
        if stride == 1:
            line, to = (
                given[at : at + length],
                image[start + padding * channels : start + padding * channels + length],
            )
            for t in range(length):
                value = line[t] * scale[t] + shift[t]
                to[t] = least if value < least else value
        else:
            for x in range(width):
                place = start + (x + padding) % stride * phase + (x + padding) // stride * channels
                for c in range(channels):
                    value = given[at + x * channels + c] * scale[c] + shift[c]
                    image[place + c] = least if value < least else value


@compiled
def _finished(sums, squares, first, count, epsilon, moments):
    """Mean and 1/deviation [2, C] from sums of differences from `first`, one a column of a row."""
    channels = moments.shape[1]
    for c in range(channels):
        one, two = 0.0, 0.0
        for t in range(c, len(sums), channels):
            one += sums[t]
            two += squares[t]
        mean = one / count
        moments[0, c] = mean + first[c]
        moments[1, c] = 1.0 / np.sqrt(max(two / count - mean * mean, 0.0) + epsilon)


@compiled
def _gathered(flat, start, rows, first, sums, squares):
    """Add differences from `first`, and their squares, of rows that lie one behind the other."""
    length = len(sums)
    for r in range(rows):
        row = flat[start + r * length : start + (r + 1) * length]
        for t in range(length):
            difference = row[t] - first[t]
            sums[t] += difference
            squares[t] += difference * difference


@compiled
def moments_of(rows, channels, epsilon, moments):
    """Mean and 1/deviation [2, C] of rows [R, W*C]."""
    length = rows.shape[1]
    sums, squares, first = (
        np.zeros(length, rows.dtype),
        np.zeros(length, rows.dtype),
        _tiled(rows[0, :channels], length, rows),
    )
    _gathered(rows.reshape(-1), 0, rows.shape[0], first, sums, squares)
    _finished(sums, squares, first, np.float64(rows.size // channels), epsilon, moments)


@compiled
def separable(
    x, scale, shift, least, narrow, wide, kernel, dilation, stride, epsilon, out, moments
):
    """max(x * scale + shift, least), a depthwise convolution [C, k*k] and a 1x1 convolution [C', C]
    into `out`, and the moments of that, [2, C'].

    least: 0 for a ReLU, -infinity for none.
    """
    count, height, width, channels = x.shape
    rows, columns, outputs = out.shape[1:]
    padding, period, span = dilation * (kernel - 1) // 2, _period(channels), columns * channels
    phase = -(-(width + 2 * padding) // stride) * channels
    row = stride * phase
    image = np.zeros((height + 2 * padding) * row + 2 * period, x.dtype)
    between = np.empty(rows * span + period, x.dtype)
    weights, moves = (
        _tap_rows(narrow, period, False),
        _columns(kernel, dilation, stride, phase, channels),
    )
    across = np.ascontiguousarray(wide.T)
    length = width * channels if stride == 1 else channels
    factor, summand, bottom = (
        _tiled(scale, length, x),
        _tiled(shift, length, x),
        x.dtype.type(least),
    )
    images, flat = x.reshape(count, -1), out.reshape(-1)
    sums, squares, first = (
        np.zeros(columns * outputs, x.dtype),
        np.zeros(columns * outputs, x.dtype),
        np.zeros(columns * outputs, x.dtype),
    )
    for n in range(count):
        _bordered(
            images[n],
            height,
            width,
            channels,
            factor,
            summand,
            bottom,
            padding,
            stride,
            image,
            row,
            phase,
        )
        taps(
            kernel, image, stride * row, dilation * row, moves, weights, period, between, rows, span
        )
        product(
            between,
            0,
            channels,
            1,
            across,
            0,
            outputs,
            flat,
            n * rows * columns * outputs,
            outputs,
            rows * columns,
            outputs,
            channels,
            False,
        )
        if n == 0:
            first = _tiled(flat[:outputs], columns * outputs, x)
        _gathered(flat, n * rows * len(sums), rows, first, sums, squares)
    _finished(sums, squares, first, np.float64(count * rows * columns), epsilon, moments)


@compiled
def separable_back(
    g, u, slope, x, scale, shift, least, narrow, wide, kernel, dilation, stride, of_weights,
    to_narrow, to_wide, of_input, more, mean, to_x, sums,
):  # fmt: skip
    """The gradients of `separable`, whose result u has the gradient  slope[0] * g + slope[1] * (u -
    slope[2]) + slope[3],  slope [4, C'].

    to_x is that of x before it was scaled (behind the ReLU only), added to what is there where
    `more`. sums [2, C]: of it, and of it times (x - mean).
    """
    count, height, width, channels = x.shape
    rows, columns, outputs = u.shape[1:]
    padding, period, span = dilation * (kernel - 1) // 2, _period(channels), columns * channels
    phase = -(-(width + 2 * padding) // stride) * channels
    row = stride * phase
    image = np.zeros((height + 2 * padding) * row + 2 * period if of_weights else 1, x.dtype)
    # a row of the gradient with its border, pixels spread by the stride
    broad = (width + 2 * padding) * channels
    spread = np.zeros((height + 2 * padding) * broad + 2 * period, x.dtype)
    between, grads = (
        np.empty(rows * span + period, x.dtype),
        np.empty(rows * columns * outputs, x.dtype),
    )
    inner = np.empty(rows * span + period, x.dtype)
    weights, flipped = _tap_rows(narrow, period, False), _tap_rows(narrow, period, True)
    moves, steps = (
        _columns(kernel, dilation, stride, phase, channels),
        _columns(kernel, dilation, 1, 0, channels),
    )
    length, reach = width * channels, columns * outputs
    factor, summand, bottom = (
        _tiled(scale, length, x),
        _tiled(shift, length, x),
        x.dtype.type(least),
    )
    lines, middle = _lines(slope, reach, x), _tiled(mean, length, x)
    a, b, m, e = lines[0], lines[1], lines[2], lines[3]
    ones, twos, found = (
        np.zeros(length, x.dtype),
        np.zeros(length, x.dtype),
        np.empty(height * length + period, x.dtype),
    )
    taken = np.zeros(kernel * kernel * period, x.dtype)
    to, zero, back = to_wide.reshape(-1), x.dtype.type(0), wide.reshape(-1)
    images, gains, uppers, results = (
        x.reshape(count, -1),
        to_x.reshape(count, -1),
        g.reshape(count, -1),
        u.reshape(count, -1),
    )
    for n in range(count):
        above, made = uppers[n], results[n]
        for y in range(rows):
            upper, result, into = (
                above[y * reach : (y + 1) * reach],
                made[y * reach : (y + 1) * reach],
                grads[y * reach : (y + 1) * reach],
            )
            for t in range(reach):
                into[t] = a[t] * upper[t] + b[t] * (result[t] - m[t]) + e[t]
        product(
            grads,
            0,
            outputs,
            1,
            back,
            0,
            channels,
            between,
            0,
            channels,
            rows * columns,
            channels,
            outputs,
            False,
        )
        if of_weights:
            _bordered(
                images[n],
                height,
                width,
                channels,
                factor,
                summand,
                bottom,
                padding,
                stride,
                image,
                row,
                phase,
            )
            taps(
                kernel,
                image,
                stride * row,
                dilation * row,
                moves,
                weights,
                period,
                inner,
                rows,
                span,
            )
            product(
                grads,
                0,
                1,
                outputs,
                inner,
                0,
                channels,
                to,
                0,
                channels,
                outputs,
                channels,
                rows * columns,
                n > 0,
            )
            slopes(
                kernel,
                image,
                stride * row,
                dilation * row,
                moves,
                taken,
                period,
                between,
                rows,
                span,
            )
        if not of_input:
            continue
        for y in range(rows):
            start = (y * stride + padding) * broad + padding * channels
            if stride == 1:
                _copied(between, y * span, span, spread, start)
            else:
                for at in range(columns):
                    place = start + at * stride * channels
                    for c in range(channels):
                        spread[place + c] = between[y * span + at * channels + c]
        taps(kernel, spread, broad, dilation * broad, steps, flipped, period, found, height, length)
        given, gained = images[n], gains[n]
        for y in range(height):
            at = slice(y * length, (y + 1) * length)
            line, passed, to_line = given[at], found[at], gained[at]
            if more:
                for t in range(length):
                    value, before = passed[t], line[t] * factor[t] + summand[t]
                    to_line[t] += value if before > bottom else zero
            else:
                for t in range(length):
                    value, before = passed[t], line[t] * factor[t] + summand[t]
                    value = value if before > bottom else zero
                    to_line[t] = value
                    ones[t] += value
                    twos[t] += value * (line[t] - middle[t])
    if of_weights:
        for k in range(kernel * kernel):
            for c in range(channels):
                total = 0.0
                for t in range(c, period, channels):
                    total += taken[k * period + t]
                to_narrow[c, k] = total
    for c in range(channels):
        one, two = 0.0, 0.0
        for t in range(c, length, channels):
            one += ones[t]
            two += twos[t]
        sums[0, c], sums[1, c] = one, two


@compiled
def mixed(addresses, factors, shift, out):
    """out [R, W*C] = shift + sum over k of factors[k] * the rows at addresses[k]; factors [K, C],
    shift [C].
    """
    rows, length = out.shape
    start = _tiled(shift, length, out)
    lines = _lines(factors, length, out)
    for first in range(0, rows, _BLOCK):
        last = min(first + _BLOCK, rows)
        for r in range(first, last):
            _copied(start, 0, length, out[r], 0)
        for k in range(len(addresses)):
            given, factor = carray(pointer(addresses[k], out), (rows, length)), lines[k]
            for r in range(first, last):
                row, to = given[r], out[r]
                for t in range(length):
                    to[t] += factor[t] * row[t]


@compiled
def mixed_back(g, addresses, means, sums, products):
    """sums [C] of g [R, W*C], and products [K, C] of g and the rows at addresses[k] less
    means[k].
    """
    rows, length = g.shape
    channels, several = len(sums), len(addresses)
    total, found = np.zeros(length, g.dtype), np.zeros((several, length), g.dtype)
    lines = _lines(means, length, g)
    for first in range(0, rows, _BLOCK):
        last = min(first + _BLOCK, rows)
        for r in range(first, last):
            row = g[r]
            for t in range(length):
                total[t] += row[t]
        for k in range(several):
            given, mean, to = carray(pointer(addresses[k], g), (rows, length)), lines[k], found[k]
            for r in range(first, last):
                grad, row = g[r], given[r]
                for t in range(length):
                    to[t] += grad[t] * (row[t] - mean[t])
    for c in range(channels):
        one = 0.0
        for t in range(c, length, channels):
            one += total[t]
        sums[c] = one
        for k in range(several):
            one = 0.0
            for t in range(c, length, channels):
                one += found[k, t]
            products[k, c] = one


@compiled
def sloped(g, u, slope, more, out):
    """out = (or += where `more`) slope[0] * g + slope[1] * (u - slope[2]) + slope[3]; rows [R,
    W*C], slope [4, C].
    """
    rows, length = g.shape
    lines = _lines(slope, length, g)
    a, b, m, e = lines[0], lines[1], lines[2], lines[3]
    for r in range(rows):
        above, made, to = g[r], u[r], out[r]
        if more:
            for t in range(length):
                to[t] += a[t] * above[t] + b[t] * (made[t] - m[t]) + e[t]
        else:
            for t in range(length):
                to[t] = a[t] * above[t] + b[t] * (made[t] - m[t]) + e[t]
