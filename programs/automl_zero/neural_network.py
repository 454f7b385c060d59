"""A two-layer ReLU network, trained by stochastic gradient descent with hand-written backpropagation.

Real, Liang, So, Le 2020, arXiv 2003.03384: the paper's stronger baseline, its figure 5, and the yardstick of the train budget. F hidden
units with biases; weights from N(0, 0.1), biases zero. The same instructions serve squared error and, with s1 a probability in learn,
cross entropy. m0 and v1 weights and biases of the hidden layer, v2 and s3 those of the output, v3 zeros, s2 learning rate.
"""


def setup():
    s2 = 0.03
    m0 = gaussian_matrix(0.0, 0.1)
    v2 = gaussian_vector(0.0, 0.1)


def predict():
    v4 = dot(m0, v0)
    v4 = v4 + v1
    v4 = maximum(v4, v3)  # hidden units
    s1 = dot(v4, v2)
    s1 = s1 + s3


def learn():
    s4 = s0 - s1
    s4 = s2 * s4
    v5 = s4 * v2  # back through the output weights, before they change
    v6 = heaviside(v4)
    v5 = v5 * v6
    s3 = s3 + s4
    v6 = s4 * v4
    v2 = v2 + v6
    v1 = v1 + v5
    m1 = outer(v5, v0)
    m0 = m0 + m1
