"""The program language: one row an operation.

Ids, names, signatures and compute costs are those of AutoML-Zero (Real, Liang, So, Le 2020,
"AutoML-Zero: Evolving Machine Learning Algorithms From Scratch", ICML, arXiv 2003.03384) and of its
published program. Everything else reads this table: the reference interpreter calls `numpy`, the
compiled backends translate `kernel`, the text form is `text`, the address domains come from `ins`
and `out`.

A kernel is the value of one element of the output, in index notation:
  a, a[i], a[i, j]   an input scalar, vector or matrix;  out[i] is the output's old value
  i, j               the element of the output (row, column);  k, l are summed over by total(), k
                     first, in ascending order
  x, y, z            the instruction's constants;  F is the length of a vector;  at(x) is the
                     element index floor(F * x) in single precision
Arithmetic is IEEE 754 throughout: division by zero, the logarithm of a negative and the like give
infinities and NaN, and the program runs on.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from evoml.core.registry import extended
from evoml.phenotypes.rows import BOUND, DEVIATION, INDEX, VALUE, Array, Op


def total(x: Array, axis: int = -1) -> Array:
    """Sum over one axis in ascending order of its index, as the kernels do (np.sum goes
    pairwise).
    """
    return np.add.accumulate(x, axis)[(slice(None),) * (x.ndim + axis) + (-1,)]


def _all(x: Array) -> Array:
    return total(x.reshape(-1))


def _st_dev(mean_of_squares: Array, mean: Array) -> Array:
    return np.sqrt(mean_of_squares - mean * mean)


def element(index: float, features: int) -> int:
    """The element a constant in [0, 1) stands for: floor(F * index) in single precision."""
    return min(int(np.float32(features) * np.float32(index)), features - 1)


def _set(out: Array, value: float, *index: float) -> Array:
    changed = out.copy()
    changed[tuple(element(at, len(out)) for at in index)] = value
    return changed


def _uniform(noise: Any, out: Array, low: float, high: float) -> Array:
    return low + max(high - low, 0.0) * noise.uniform(np.shape(out))


def _gaussian(noise: Any, out: Array, mean: float, deviation: float) -> Array:
    return mean + deviation * noise.gaussian(np.shape(out))


_UNIFORM = "x + where(y - x > 0, y - x, 0) * uniform()"
_GAUSSIAN = "x + y * gaussian()"

# fmt: off
_OWN: tuple[Op, ...] = (
    Op(0, "no_op", "", "", "pass", lambda: None, "", 3013921),
    Op(1, "scalar_sum", "s", "ss", "out = a + b", lambda a, b: a + b, "a + b", 4703759),
    Op(2, "scalar_diff", "s", "ss", "out = a - b", lambda a, b: a - b, "a - b", 5102027),
    Op(3, "scalar_product", "s", "ss", "out = a * b", lambda a, b: a * b, "a * b", 4418347),
    Op(4, "scalar_division", "s", "ss", "out = a / b", lambda a, b: a / b, "a / b", 3963916),
    Op(5, "scalar_abs", "s", "s", "out = abs(a)", lambda a: np.abs(a), "abs(a)", 3684352),
    Op(6, "scalar_reciprocal", "s", "s", "out = 1 / a", lambda a: 1 / a, "1 / a", 4212086),
    Op(7, "scalar_sin", "s", "s", "out = sin(a)", lambda a: np.sin(a), "sin(a)", 7538523),
    Op(8, "scalar_cos", "s", "s", "out = cos(a)", lambda a: np.cos(a), "cos(a)", 7452807),
    Op(9, "scalar_tan", "s", "s", "out = tan(a)", lambda a: np.tan(a), "tan(a)", 7583203),
    Op(10, "scalar_arcsin", "s", "s", "out = arcsin(a)", lambda a: np.arcsin(a), "arcsin(a)",
       9145616),
    Op(11, "scalar_arccos", "s", "s", "out = arccos(a)", lambda a: np.arccos(a), "arccos(a)",
       7673039),
    Op(12, "scalar_arctan", "s", "s", "out = arctan(a)", lambda a: np.arctan(a), "arctan(a)",
       9273978),
    Op(13, "scalar_exp", "s", "s", "out = exp(a)", lambda a: np.exp(a), "exp(a)", 11755929),
    Op(14, "scalar_log", "s", "s", "out = log(a)", lambda a: np.log(a), "log(a)", 11627725),
    Op(15, "scalar_heaviside", "s", "s", "out = heaviside(a)", lambda a: np.float64(a >= 0),
       "where(a >= 0, 1, 0)", 4057075),
    Op(16, "vector_heaviside", "v", "v", "out = heaviside(a)", lambda a: np.float64(a > 0),
       "where(a[i] > 0, 1, 0)", 3965743),
    Op(17, "matrix_heaviside", "m", "m", "out = heaviside(a)", lambda a: np.float64(a > 0),
       "where(a[i, j] > 0, 1, 0)", 6728311),
    Op(18, "scalar_vector_product", "v", "sv", "out = a * b", lambda a, b: a * b, "a * b[i]",
       3705015),
    Op(19, "scalar_broadcast", "v", "s", "out = broadcast(a)", lambda a: a, "a", 4165814),
    Op(20, "vector_reciprocal", "v", "v", "out = 1 / a", lambda a: 1 / a, "1 / a[i]", 6311851),
    Op(21, "vector_norm", "s", "v", "out = norm(a)", lambda a: np.sqrt(total(a * a)),
       "sqrt(total(a[k] * a[k]))", 4810562),
    Op(22, "vector_abs", "v", "v", "out = abs(a)", lambda a: np.abs(a), "abs(a[i])", 3713533),
    Op(23, "vector_sum", "v", "vv", "out = a + b", lambda a, b: a + b, "a[i] + b[i]", 4701519),
    Op(24, "vector_diff", "v", "vv", "out = a - b", lambda a, b: a - b, "a[i] - b[i]", 4165747),
    Op(25, "vector_product", "v", "vv", "out = a * b", lambda a, b: a * b, "a[i] * b[i]", 4504555),
    Op(26, "vector_division", "v", "vv", "out = a / b", lambda a, b: a / b, "a[i] / b[i]", 4556237),
    Op(27, "vector_inner_product", "s", "vv", "out = dot(a, b)", lambda a, b: total(a * b),
       "total(a[k] * b[k])", 4294617),
    Op(28, "vector_outer_product", "m", "vv", "out = outer(a, b)", lambda a, b: a[:, None] * b,
       "a[i] * b[j]", 9833707),
    Op(29, "scalar_matrix_product", "m", "sm", "out = a * b", lambda a, b: a * b, "a * b[i, j]",
       5986302),
    Op(30, "matrix_reciprocal", "m", "m", "out = 1 / a", lambda a: 1 / a, "1 / a[i, j]", 24336141),
    Op(31, "matrix_vector_product", "v", "mv", "out = dot(a, b)", lambda a, b: total(a * b),
       "total(a[i, k] * b[k])", 9310002),
    Op(32, "vector_column_broadcast", "m", "v", "out = column_broadcast(a)",
       lambda a: np.tile(a[:, None], len(a)), "a[i]", 10993088),
    Op(33, "vector_row_broadcast", "m", "v", "out = row_broadcast(a)",
       lambda a: np.tile(a, (len(a), 1)), "a[j]", 11087322),
    Op(34, "matrix_norm", "s", "m", "out = norm(a)", lambda a: np.sqrt(_all(a * a)),
       "sqrt(total(a[k, l] * a[k, l]))", 6422746),
    Op(35, "matrix_column_norm", "v", "m", "out = column_norm(a)",
       lambda a: np.sqrt(total(a * a, -2)), "sqrt(total(a[k, i] * a[k, i]))", 6682187),
    Op(36, "matrix_row_norm", "v", "m", "out = row_norm(a)", lambda a: np.sqrt(total(a * a)),
       "sqrt(total(a[i, k] * a[i, k]))", 13351123),
    Op(37, "matrix_transpose", "m", "m", "out = transpose(a)", lambda a: a.T.copy(), "a[j, i]",
       9394756),
    Op(38, "matrix_abs", "m", "m", "out = abs(a)", lambda a: np.abs(a), "abs(a[i, j])", 4630926),
    Op(39, "matrix_sum", "m", "mm", "out = a + b", lambda a, b: a + b, "a[i, j] + b[i, j]",
       5579381),
    Op(40, "matrix_diff", "m", "mm", "out = a - b", lambda a, b: a - b, "a[i, j] - b[i, j]",
       5429452),
    Op(41, "matrix_product", "m", "mm", "out = a * b", lambda a, b: a * b, "a[i, j] * b[i, j]",
       5475227),
    Op(42, "matrix_division", "m", "mm", "out = a / b", lambda a, b: a / b, "a[i, j] / b[i, j]",
       18234378),
    Op(43, "matrix_matrix_product", "m", "mm", "out = dot(a, b)",
       lambda a, b: total(a[:, None, :] * b.T), "total(a[i, k] * b[k, j])", 14516296),
    Op(44, "scalar_min", "s", "ss", "out = minimum(a, b)", lambda a, b: b if b < a else a,
       "where(b < a, b, a)", 3677265),
    Op(45, "vector_min", "v", "vv", "out = minimum(a, b)", lambda a, b: np.where(b < a, b, a),
       "where(b[i] < a[i], b[i], a[i])", 3989956),
    Op(46, "matrix_min", "m", "mm", "out = minimum(a, b)", lambda a, b: np.where(a < b, a, b),
       "where(a[i, j] < b[i, j], a[i, j], b[i, j])", 5457728),
    Op(47, "scalar_max", "s", "ss", "out = maximum(a, b)", lambda a, b: b if a < b else a,
       "where(a < b, b, a)", 4573695),
    Op(48, "vector_max", "v", "vv", "out = maximum(a, b)", lambda a, b: np.where(a < b, b, a),
       "where(a[i] < b[i], b[i], a[i])", 3974229),
    Op(49, "matrix_max", "m", "mm", "out = maximum(a, b)", lambda a, b: np.where(a > b, a, b),
       "where(a[i, j] > b[i, j], a[i, j], b[i, j])", 5840952),
    Op(50, "vector_mean", "s", "v", "out = mean(a)", lambda a: total(a) / len(a), "total(a[k]) / F",
       4280443),
    Op(51, "matrix_mean", "s", "m", "out = mean(a)", lambda a: _all(a) / a.size,
       "total(a[k, l]) / (F * F)", 4595196),
    Op(52, "matrix_row_mean", "v", "m", "out = row_mean(a)", lambda a: total(a) / len(a),
       "total(a[i, k]) / F", 9763956),
    Op(53, "matrix_row_st_dev", "v", "m", "out = row_std(a)",
       lambda a: _st_dev(total(a * a) / len(a), total(a) / len(a)),
       "sqrt(total(a[i, k] * a[i, k]) / F - square(total(a[i, k]) / F))", 16766477),
    Op(54, "vector_st_dev", "s", "v", "out = std(a)",
       lambda a: _st_dev(total(a * a) / len(a), total(a) / len(a)),
       "sqrt(total(a[k] * a[k]) / F - square(total(a[k]) / F))", 5585730),
    Op(55, "matrix_st_dev", "s", "m", "out = std(a)",
       lambda a: _st_dev(_all(a * a) / a.size, _all(a) / a.size),
       "sqrt(total(a[k, l] * a[k, l]) / (F * F) - square(total(a[k, l]) / (F * F)))", 10640216),
    Op(56, "scalar_const_set", "s", "", "out = x", lambda noise, out, x: np.float64(x), "x",
       3691108, (VALUE,)),
    Op(57, "vector_const_set", "v", "", "out[at(x)] = y", lambda noise, out, x, y: _set(out, y, x),
       "where(i == at(x), y, out[i])", 3991421, (INDEX, VALUE)),
    Op(58, "matrix_const_set", "m", "", "out[at(x), at(y)] = z",
       lambda noise, out, x, y, z: _set(out, z, x, y),
       "where((i == at(x)) & (j == at(y)), z, out[i, j])", 3693035, (INDEX, INDEX, VALUE)),
    Op(59, "scalar_uniform_set", "s", "", "out = uniform(x, y)", _uniform, _UNIFORM, 26610704,
       (BOUND, BOUND)),
    Op(60, "vector_uniform_set", "v", "", "out = uniform_vector(x, y)", _uniform, _UNIFORM,
       57817372, (BOUND, BOUND)),
    Op(61, "matrix_uniform_set", "m", "", "out = uniform_matrix(x, y)", _uniform, _UNIFORM,
       208339446, (BOUND, BOUND)),
    Op(62, "scalar_gaussian_set", "s", "", "out = gaussian(x, y)", _gaussian, _GAUSSIAN, 20775635,
       (VALUE, DEVIATION)),
    Op(63, "vector_gaussian_set", "v", "", "out = gaussian_vector(x, y)", _gaussian, _GAUSSIAN,
       77483018, (VALUE, DEVIATION)),
    Op(64, "matrix_gaussian_set", "m", "", "out = gaussian_matrix(x, y)", _gaussian, _GAUSSIAN,
       277690384, (VALUE, DEVIATION)),
)
# fmt: on

# by their ids; those that others add have the next ones, which no archive holds
OPS = tuple(replace(op, id=at) for at, op in enumerate(extended("operations", _OWN)))
NAMES = tuple(op.name for op in OPS)
OWN_NAMES = NAMES[: len(_OWN)]  # what programs are made of where nothing else is said
BY_NAME = {op.name: op for op in OPS}
# [ops, (a, b, out)]
KINDS = np.array(
    [["-svm".index(kind) for kind in (op.ins + "--")[:2] + (op.out or "-")] for op in OPS], np.int64
)
