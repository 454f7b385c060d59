"""Pole balancing compiled together with the network that balances: every episode is one loop
without an array in it but the network's memory.

The equations are those of `double_pole.py` and `single_pole.py`, in the same order; sine and cosine
are the polynomials of fdlibm (Sun Microsystems, 1993), good to the last bit up to pi/4, which an
angle passes only when the pole has fallen. They are summed by pairs, as the loop waits for them
more than for anything else.
"""

import numpy as np

from evoml.compilation.activation_kernels import activate
from evoml.compilation.numba_cache import compiled

S1, S2, S3, S4, S5, S6 = (
    -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
    2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10,
)  # fmt: skip
C1, C2, C3, C4, C5, C6 = (
    4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
    -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11,
)  # fmt: skip
SMALL = np.pi / 4
WINDOW = 100  # last steps that the sway is summed over


@compiled
def sine_cosine(angle):
    """Of an angle in radians."""
    if not abs(angle) <= SMALL:
        return np.sin(angle), np.cos(angle)
    z = angle * angle
    z2 = z * z
    z4 = z2 * z2
    sine = (S1 + z * S2) + z2 * (S3 + z * S4) + z4 * (S5 + z * S6)
    cosine = (C1 + z * C2) + z2 * (C3 + z * C4) + z4 * (C5 + z * C6)
    return angle + angle * z * sine, 1.0 - (0.5 * z - z2 * cosine)


@compiled
def two_poles(force, speed, angle1, rate1, angle2, rate2, constants):
    """Accelerations of cart, long and short pole; `constants` as `double_pole.constants` gives
    them.
    """
    gravity, cart, mass1, mass2, half1, half2, hinge, friction = constants
    sine1, cosine1 = sine_cosine(angle1)
    sine2, cosine2 = sine_cosine(angle2)
    pull1 = hinge / (mass1 * half1) * rate1 + gravity * sine1
    pull2 = hinge / (mass2 * half2) * rate2 + gravity * sine2
    push1 = mass1 * half1 * (rate1 * rate1) * sine1 + 0.75 * mass1 * cosine1 * pull1
    push2 = mass2 * half2 * (rate2 * rate2) * sine2 + 0.75 * mass2 * cosine2 * pull2
    held1 = mass1 * (1.0 - 0.75 * (cosine1 * cosine1))
    held2 = mass2 * (1.0 - 0.75 * (cosine2 * cosine2))
    drag = friction if speed > 0.0 else -friction if speed < 0.0 else 0.0
    cart_out = (force - drag + push1 + push2) / (cart + held1 + held2)
    return (
        cart_out,
        -0.75 / half1 * (cart_out * cosine1 + pull1),
        -0.75 / half2 * (cart_out * cosine2 + pull2),
    )


@compiled
def runge_kutta(x, v, a, w, b, u, force, h, constants):
    """The six numbers of the state after h seconds of constant force: one step of the classical
    fourth-order method.
    """
    p1, q1, r1 = two_poles(force, v, a, w, b, u, constants)
    half = 0.5 * h
    v2, w2, u2 = v + half * p1, w + half * q1, u + half * r1
    p2, q2, r2 = two_poles(force, v2, a + half * w, w2, b + half * u, u2, constants)
    v3, w3, u3 = v + half * p2, w + half * q2, u + half * r2
    p3, q3, r3 = two_poles(force, v3, a + half * w2, w3, b + half * u2, u3, constants)
    v4, w4, u4 = v + h * p3, w + h * q3, u + h * r3
    p4, q4, r4 = two_poles(force, v4, a + h * w3, w4, b + h * u3, u4, constants)
    sixth = h / 6.0
    return (
        x + sixth * (v + 2.0 * (v2 + v3) + v4), v + sixth * (p1 + 2.0 * (p2 + p3) + p4),
        a + sixth * (w + 2.0 * (w2 + w3) + w4), w + sixth * (q1 + 2.0 * (q2 + q3) + q4),
        b + sixth * (u + 2.0 * (u2 + u3) + u4), u + sixth * (r1 + 2.0 * (r2 + r3) + r4),
    )  # fmt: skip


@compiled
def double_pole(
    tables,
    inputs,
    slots,
    bias,
    recurrent,
    starts,
    first,
    last,
    limit,
    velocities,
    constants,
    steps,
    sways,
):
    """Episodes first .. last - 1, number e being network e // S from start e % S.

    Fills `steps` [P, S] with the control steps after which everything is still up, at most `limit`,
    and `sways` [P, S] with the sum over the last WINDOW of them of |x| + |x'| + |a1| + |a1'|.
    `tables` are the arrays of `NeuronGraphs` from `nodes` to `weight`.
    """
    nodes, slot, activation, aggregation, links, source, weight = tables
    values, scratch, ring = np.zeros(slots), np.zeros(slots), np.zeros(WINDOW)
    angle_limit = 36.0 * np.pi / 180.0
    for episode in range(first, last):
        network, start = episode // len(starts), episode % len(starts)
        values[:] = 0.0
        ring[:] = 0.0
        values[inputs] = bias
        x, v, a, w, b, u = starts[start]
        step = 0
        while step < limit:
            if velocities:
                values[0], values[1], values[2] = x / 4.8, v / 2.0, a / 0.52
                values[3], values[4], values[5] = w / 2.0, b / 0.52, u / 2.0
            else:
                values[0], values[1], values[2] = x / 4.8, a / 0.52, b / 0.52
            activate(
                nodes,
                slot,
                activation,
                aggregation,
                links,
                source,
                weight,
                recurrent,
                network,
                values,
                scratch,
            )
            y = values[inputs + 1]
            force = 20.0 * ((0.0 if y < 0.0 else 1.0 if y > 1.0 else y) - 0.5)
            x, v, a, w, b, u = runge_kutta(x, v, a, w, b, u, force, 0.01, constants)
            x, v, a, w, b, u = runge_kutta(x, v, a, w, b, u, force, 0.01, constants)
            if not (abs(x) <= 2.4 and abs(a) <= angle_limit and abs(b) <= angle_limit):
                break
            if not velocities:
                ring[step % WINDOW] = abs(x) + abs(v) + abs(a) + abs(w)
            step += 1
        steps[network, start] = step
        total = 0.0
        for each in range(WINDOW):
            total += ring[each]
        sways[network, start] = total


@compiled
def single_pole(
    tables,
    inputs,
    slots,
    bias,
    recurrent,
    starts,
    first,
    last,
    limit,
    velocities,
    bang,
    scales,
    constants,
    steps,
):
    """Episodes first ..

    last - 1 of one pole, as `double_pole`: fills `steps` [P, S]. `scales` [4]: what the state is
    divided by.
    """
    nodes, slot, activation, aggregation, links, source, weight = tables
    gravity, cart, mass, half, push, seconds, x_limit, angle_limit = constants
    total, values, scratch = cart + mass, np.zeros(slots), np.zeros(slots)
    for episode in range(first, last):
        network, start = episode // len(starts), episode % len(starts)
        values[:] = 0.0
        values[inputs] = bias
        x, v, a, w = starts[start]
        step = 0
        while step < limit:
            if velocities:
                values[0], values[1], values[2], values[3] = (
                    x / scales[0],
                    v / scales[1],
                    a / scales[2],
                    w / scales[3],
                )
            else:
                values[0], values[1] = x / scales[0], a / scales[2]
            activate(
                nodes,
                slot,
                activation,
                aggregation,
                links,
                source,
                weight,
                recurrent,
                network,
                values,
                scratch,
            )
            y = values[inputs + 1]
            if bang:
                y = 1.0 if y > 0.5 else 0.0
            force = 2.0 * push * ((0.0 if y < 0.0 else 1.0 if y > 1.0 else y) - 0.5)
            sine, cosine = sine_cosine(a)
            pulled = (force + mass * half * (w * w) * sine) / total
            turn = (gravity * sine - cosine * pulled) / (
                half * (4.0 / 3.0 - mass * (cosine * cosine) / total)
            )
            speed = pulled - mass * half * turn * cosine / total
            x, v, a, w = x + seconds * v, v + seconds * speed, a + seconds * w, w + seconds * turn
            if not (abs(x) <= x_limit and abs(a) <= angle_limit):
                break
            step += 1
        steps[network, start] = step
