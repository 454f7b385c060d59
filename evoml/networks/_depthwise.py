"""The gradient of a depthwise convolution's weights, compiled: oneDNN has a fast one for undilated 3x3 kernels alone.

Images lie as [N, H, W * C], so that a tap's products are one long loop over a row, whatever the number of channels.
"""

import numpy as np

from evoml.compiled import compiled


@compiled
def weight_gradient(x, g, kernel, stride, dilation, padding, out):
    """x [N, H, W*C] and the output's gradient g [N, H', W'*C] to out [kh*kw, C], all float32."""
    count, height, length = x.shape
    channels, rows, span = out.shape[1], g.shape[1], g.shape[2]
    width = length // channels
    high, wide = rows + (kernel[0] - 1) * dilation // stride[0] + 1, span // channels + (kernel[1] - 1) * dilation // stride[1] + 1
    row = wide * channels
    # an image with its padding, a part for every phase of the strides, so that a tap reads neighbours from neighbours
    image = np.zeros(stride[0] * stride[1] * high * row, np.float32)
    sums = np.zeros(kernel[0] * kernel[1] * span, np.float32)
    grads = g.reshape(-1)
    for n in range(count):
        for y in range(height):
            place, phase = divmod(y + padding[0], stride[0])
            if place < high:
                for at in range(width):
                    column, side = divmod(at + padding[1], stride[1])
                    start = ((phase * stride[1] + side) * high + place) * row + column * channels
                    if column < wide:
                        for c in range(channels):
                            image[start + c] = x[n, y, at * channels + c]
        for i in range(kernel[0]):
            down, phase = divmod(i * dilation, stride[0])
            first, last = 0, rows  # output rows for which this tap is inside the image
            while first < rows and first * stride[0] + i * dilation < padding[0]:
                first += 1
            while last > first and (last - 1) * stride[0] + i * dilation - padding[0] >= height:
                last -= 1
            for j in range(kernel[1]):
                right, side = divmod(j * dilation, stride[1])
                start = ((phase * stride[1] + side) * high + down) * row + right * channels
                tap = sums[(i * kernel[1] + j) * span : (i * kernel[1] + j + 1) * span]
                y = first
                while y + 4 <= last:
                    a, b = start + y * row, (n * rows + y) * span
                    x0, x1, x2, x3 = image[a : a + span], image[a + row : a + row + span], image[a + 2 * row : a + 2 * row + span], image[a + 3 * row : a + 3 * row + span]
                    g0, g1, g2, g3 = grads[b : b + span], grads[b + span : b + 2 * span], grads[b + 2 * span : b + 3 * span], grads[b + 3 * span : b + 4 * span]
                    for t in range(span):
                        tap[t] += x0[t] * g0[t] + x1[t] * g1[t] + x2[t] * g2[t] + x3[t] * g3[t]
                    y += 4
                while y < last:
                    a, b = start + y * row, (n * rows + y) * span
                    x0, g0 = image[a : a + span], grads[b : b + span]
                    for t in range(span):
                        tap[t] += x0[t] * g0[t]
                    y += 1
    out[:] = 0
    for k in range(kernel[0] * kernel[1]):
        for at in range(span // channels):
            for c in range(channels):
                out[k, c] += sums[k * span + at * channels + c]
