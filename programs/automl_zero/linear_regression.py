"""Linear regression by stochastic gradient descent.

Real, Liang, So, Le 2020, "AutoML-Zero: Evolving Machine Learning Algorithms From Scratch", ICML, arXiv 2003.03384, section 4.1: the
program that evolution rediscovers on linear tasks. v1 weights, s2 learning rate. No bias: the tasks have none.
"""


def setup():
    s2 = 0.01


def predict():
    s1 = dot(v0, v1)


def learn():
    s3 = s0 - s1
    s3 = s2 * s3
    v2 = s3 * v0
    v1 = v1 + v2
