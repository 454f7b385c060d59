"""The bilinear model trained on noisy inputs, a regulariser for few examples.

Real, Liang, So, Le 2020, arXiv 2003.03384, figure 6: the prediction is a' M b with a = x + u, b = x - u and u uniform noise. Departures:
u is bilinear.py's constant shift plus noise; and learn draws the noise for the next example, which predict takes away once it is used, so
that validation, where learn does not run, sees clean inputs after its first example. m0 is M, v1 the shift, v5 the noise, s2 the learning
rate.
"""


def setup():
    s2 = 0.002
    s3 = 0.5
    v1 = broadcast(s3)


def predict():
    v4 = v1 + v5  # u
    v2 = v0 + v4  # a
    v3 = v0 - v4  # b
    v4 = dot(m0, v3)
    s1 = dot(v2, v4)
    v5 = v5 - v5


def learn():
    s3 = s0 - s1
    s3 = s2 * s3
    v4 = s3 * v2
    m1 = outer(v4, v3)
    m0 = m0 + m1
    v5 = uniform_vector(-0.5, 0.5)
