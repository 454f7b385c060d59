"""The bilinear model with averaged weights: it trains with the latest M and is validated with the mean of all M so far.

Real, Liang, So, Le 2020, arXiv 2003.03384, figure 6; the idea is Polyak and Juditsky's (1992, "Acceleration of Stochastic Approximation
by Averaging"). Predict uses m2. Learn leaves the latest weights there and predict, done, puts the mean in their place: where learn does
not run, which is validation after its first example, the mean predicts. m0 latest weights, m1 their mean, s4 how many, v1 the shift, s2
the learning rate (five times bilinear.py's, which averaging bears). Needs three matrices: weights, mean and the gradient.
"""


def setup():
    s2 = 0.01
    s3 = 0.5
    v1 = broadcast(s3)
    s3 = 1.0


def predict():
    v2 = v0 + v1  # a
    v3 = v0 - v1  # b
    v4 = dot(m2, v3)
    s1 = dot(v2, v4)
    m2 = s3 * m1


def learn():
    s1 = s0 - s1
    s1 = s2 * s1
    v4 = s1 * v2
    m2 = outer(v4, v3)
    m0 = m0 + m2
    s4 = s4 + s3
    s1 = s3 / s4
    m2 = m0 - m1
    m2 = s1 * m2
    m1 = m1 + m2  # mean += (weights - mean) / count
    m2 = s3 * m0
