"""Logistic regression by stochastic gradient descent, with a bias.

Real, Liang, So, Le 2020, arXiv 2003.03384: the paper's weaker baseline on binary CIFAR-10. In classification s1 is a probability by the
time learn runs (its sigmoid replaces it), so the label less s1 is the gradient of the logarithm of the likelihood and the instructions
are those of linear regression. v1 weights, s3 bias, s2 learning rate: 0.01 suits tasks of 300 to 8000 standardised examples (on the 300
of a pair of digits 0.1 is 1 point better, on the 8000 of a CIFAR-10 pair 5 points worse).
"""


def setup():
    s2 = 0.01


def predict():
    s1 = dot(v0, v1)
    s1 = s1 + s3


def learn():
    s4 = s0 - s1
    s4 = s2 * s4
    v2 = s4 * v0
    v1 = v1 + v2
    s3 = s3 + s4
