"""The bilinear model with a normalised gradient: every step in M has the same length.

Real, Liang, So, Le 2020, arXiv 2003.03384, figure 6: the gradient e a b' of bilinear.py is divided by its norm. Departure: by no less
than 0.001 (s4), so that an error of exactly zero, as of a saturated sigmoid, is no division by zero; a step's Frobenius norm is s2, or
less than that where the gradient's is below 0.001. m0 is M, v1 the shift, s2 the length of a step. For classification; in regression the
fixed length keeps the weights from settling.
"""


def setup():
    s2 = 0.1
    s4 = 0.001
    s3 = 0.5
    v1 = broadcast(s3)


def predict():
    v2 = v0 + v1  # a
    v3 = v0 - v1  # b
    v4 = dot(m0, v3)
    s1 = dot(v2, v4)


def learn():
    s3 = s0 - s1
    v4 = s3 * v2
    m1 = outer(v4, v3)  # the gradient
    s3 = norm(m1)
    s3 = maximum(s3, s4)
    s3 = s2 / s3
    m1 = s3 * m1
    m0 = m0 + m1
