"""What torch has no quick CPU code for, compiled: batch normalisation with a ReLU, and the gradient
of a depthwise convolution's weights.

Images lie as [N, H, W * C] or [N * H, W * C], of any float dtype, so that every inner loop runs
over a whole row, whatever the number of channels.
"""

import numpy as np

from evoml.compilation.numba_cache import compiled


@compiled
def normalise(x, parameters, running, momentum, epsilon, relu, out, moments):
    """Batch normalisation of x [R, W*C], and a ReLU if wanted.

    parameters, running, moments [2, C]: scale and shift, mean and variance, mean and 1/deviation.
    """
    rows, length = x.shape
    channels = parameters.shape[1]
    count = np.float64(rows * (length // channels))
    sums, squares = np.zeros(length, x.dtype), np.zeros(length, x.dtype)
    scale, shift, first = (
        np.empty(length, x.dtype),
        np.empty(length, x.dtype),
        np.empty(length, x.dtype),
    )
    for t in range(length):
        # differences from a value of the same channel lose no digits when they are squared
        first[t] = x[0, t % channels]
    for r in range(rows):
        row = x[r]
        for t in range(length):
            difference = row[t] - first[t]
            sums[t] += difference
            squares[t] += difference * difference
    for c in range(channels):
        one, two = 0.0, 0.0
        for t in range(c, length, channels):
            one += sums[t]
            two += squares[t]
        mean = one / count
        variance = max(two / count - mean * mean, 0.0)
        mean += first[c]
        inverse = 1.0 / np.sqrt(variance + epsilon)
        moments[0, c], moments[1, c] = mean, inverse
        running[0, c] += momentum * (mean - running[0, c])
        running[1, c] += momentum * (variance * count / max(count - 1.0, 1.0) - running[1, c])
        for t in range(c, length, channels):
            scale[t] = parameters[0, c] * inverse
            shift[t] = parameters[1, c] - mean * parameters[0, c] * inverse
    least = x.dtype.type(0) if relu else x.dtype.type(-np.inf)
    for r in range(rows):
        row, to = x[r], out[r]
        for t in range(length):
            value = row[t] * scale[t] + shift[t]
            to[t] = least if value < least else value  # NaN stays


@compiled
def normalise_backward(g, x, out, parameters, moments, relu, to_x, to_parameters):
    """The gradients of `normalise`: g, x, out and to_x [R, W*C]; to_parameters [2, C]."""
    rows, length = x.shape
    channels = parameters.shape[1]
    count = np.float64(rows * (length // channels))
    sums, products = np.zeros(length, x.dtype), np.zeros(length, x.dtype)
    mean = np.empty(length, x.dtype)
    for t in range(length):
        mean[t] = moments[0, t % channels]
    for r in range(rows):
        grad, row, made = g[r], x[r], out[r]
        if relu:
            for t in range(length):
                passed = grad[t] if made[t] > 0 else x.dtype.type(0)
                sums[t] += passed
                products[t] += passed * (row[t] - mean[t])
        else:
            for t in range(length):
                sums[t] += grad[t]
                products[t] += grad[t] * (row[t] - mean[t])
    scale, slope, shift = (
        np.empty(length, x.dtype),
        np.empty(length, x.dtype),
        np.empty(length, x.dtype),
    )
    for c in range(channels):
        one, two = 0.0, 0.0
        for t in range(c, length, channels):
            one += sums[t]
            two += products[t]
        inverse = np.float64(moments[1, c])
        to_parameters[0, c], to_parameters[1, c] = two * inverse, one
        a = parameters[0, c] * inverse
        b = -a * two * inverse * inverse / count
        for t in range(c, length, channels):
            scale[t], slope[t], shift[t] = a, b, -a * one / count
    for r in range(rows):
        grad, row, made, to = g[r], x[r], out[r], to_x[r]
        if relu:
            for t in range(length):
                passed = grad[t] if made[t] > 0 else x.dtype.type(0)
                to[t] = passed * scale[t] + (row[t] - mean[t]) * slope[t] + shift[t]
        else:
            for t in range(length):
                to[t] = grad[t] * scale[t] + (row[t] - mean[t]) * slope[t] + shift[t]


@compiled
def depthwise_backward(x, g, kernel, stride, dilation, padding, to_weight):
    """x [N, H, W*C] and the output's gradient g [N, H', W'*C] to to_weight [C, kh*kw]."""
    count, height, length = x.shape
    channels, rows, span = to_weight.shape[0], g.shape[1], g.shape[2]
    width = length // channels
    high, wide = (
        rows + (kernel[0] - 1) * dilation // stride[0] + 1,
        span // channels + (kernel[1] - 1) * dilation // stride[1] + 1,
    )
    row = wide * channels
    # an image with its padding, a part for every phase of the strides, so that a tap reads
    # neighbours from neighbours
    image = np.zeros(stride[0] * stride[1] * high * row, x.dtype)
    sums = np.zeros(kernel[0] * kernel[1] * span, x.dtype)
    grads = g.reshape(-1)
    for n in range(count):
        for y in range(height):
            place, phase = (y + padding[0]) // stride[0], (y + padding[0]) % stride[0]
            if place < high and stride[1] == 1:
                start = (phase * high + place) * row + padding[1] * channels
                image[start : start + length] = x[n, y]
            elif place < high:
                for at in range(width):
                    column, side = (at + padding[1]) // stride[1], (at + padding[1]) % stride[1]
                    start = ((phase * stride[1] + side) * high + place) * row + column * channels
                    if column < wide:
                        for c in range(channels):
                            image[start + c] = x[n, y, at * channels + c]
        for i in range(kernel[0]):
            down, phase = i * dilation // stride[0], i * dilation % stride[0]
            first, last = 0, rows  # output rows for which this tap is inside the image
            while first < rows and first * stride[0] + i * dilation < padding[0]:
                first += 1
            while last > first and (last - 1) * stride[0] + i * dilation - padding[0] >= height:
                last -= 1
            for j in range(kernel[1]):
                right, side = j * dilation // stride[1], j * dilation % stride[1]
                start = ((phase * stride[1] + side) * high + down) * row + right * channels
                tap = sums[(i * kernel[1] + j) * span : (i * kernel[1] + j + 1) * span]
                y = first
                while y + 4 <= last:  # four rows a pass over the sums
                    a, b = start + y * row, (n * rows + y) * span
                    x0, x1 = image[a : a + span], image[a + row : a + row + span]
                    x2, x3 = (
                        image[a + 2 * row : a + 2 * row + span],
                        image[a + 3 * row : a + 3 * row + span],
                    )
                    g0, g1 = grads[b : b + span], grads[b + span : b + 2 * span]
                    g2, g3 = grads[b + 2 * span : b + 3 * span], grads[b + 3 * span : b + 4 * span]
                    for t in range(span):
                        tap[t] += x0[t] * g0[t] + x1[t] * g1[t] + x2[t] * g2[t] + x3[t] * g3[t]
                    y += 4
                while y < last:
                    a, b = start + y * row, (n * rows + y) * span
                    x0, g0 = image[a : a + span], grads[b : b + span]
                    for t in range(span):
                        tap[t] += x0[t] * g0[t]
                    y += 1
    to_weight[:] = 0
    for k in range(kernel[0] * kernel[1]):
        for at in range(span // channels):
            for c in range(channels):
                to_weight[c, k] += sums[k * span + at * channels + c]
