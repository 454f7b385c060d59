"""Multiplicative interactions: the prediction is a' M b, of two shifted copies of the features, by stochastic gradient descent.

Real, Liang, So, Le 2020, arXiv 2003.03384, figure 6: the model that evolution finds on binary CIFAR-10, with a = x + u and b = x - u.
Here u is a constant 0.5 in place of the paper's noise (noisy_inputs.py adds that): the shift is what gives a quadratic form linear terms
and a constant. With error e = label - prediction the gradient in M is e a b'. m0 is M, v1 the shift, s2 the learning rate.
"""


def setup():
    s2 = 0.002
    s3 = 0.5
    v1 = broadcast(s3)


def predict():
    v2 = v0 + v1  # a
    v3 = v0 - v1  # b
    v4 = dot(m0, v3)
    s1 = dot(v2, v4)


def learn():
    s3 = s0 - s1
    s3 = s2 * s3
    v4 = s3 * v2
    m1 = outer(v4, v3)
    m0 = m0 + m1
