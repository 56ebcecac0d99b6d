"""Plain Python functions with their derivatives, which tests turn into operations.

They stand at the top of a module, so that a saved model finds them by name.
"""

import math

import numpy as np

TABLE = (1.0, 2.0, 3.0)


def leaky(x):
    if x > 0:
        return x
    elif x > -1:
        return 0.5 * x
    return math.log(-x) - 0.5


def leaky_slope(x):
    if x > 0:
        return 1.0
    if x > -1:
        return 0.5
    return 1 / x


def helper(x):
    return math.tanh(x) ** 2


def with_helper(x):
    return max(0.0, helper(x)) + min(x, 1) - abs(x)


def with_helper_slope(x):
    t = math.tanh(x)
    return 2 * t * (1 - t * t) + (1 if x < 1 else 0) - (1 if x > 0 else -1)


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def elu_slope(x):
    return np.where(x > 0, 1.0, np.exp(np.minimum(x, 0)))


def overwritten(x):
    y = np.array(x, copy=True)
    y[y < 0] *= 0.1
    return y


def overwritten_slope(x):
    return np.where(x < 0, 0.1, 1.0)


def clipped(x):
    x = x.copy()
    x[x < -0.5] = -0.5
    return x


def clipped_slope(x):
    return np.where(x < -0.5, 0.0, 1.0)


def swish(x):
    return x / (1 + math.exp(-x))


def swish_slope(x):
    s = 1 / (1 + math.exp(-x))
    return s + x * s * (1 - s)


def halved(x):
    """A loop that runs until a condition holds."""
    while abs(x) > 1:
        x = x / 2
    return x


def halved_slope(x):
    slope = 1.0
    while abs(x) > 1:
        x, slope = x / 2, slope / 2
    return slope


def looked_up(x):
    return TABLE[min(2, max(0, int(x)))] * x


def looked_up_slope(x):
    return TABLE[min(2, max(0, int(x)))]


class Power:
    """An object that is called, with a setting."""

    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        y = 1.0
        for _ in range(self.n):
            y *= x
        return math.pow(y, 1) if self.n > 1 else y


def squared_error(y_true, y_pred):
    return np.mean((y_true - y_pred) ** 2)


def squared_error_slope(upstream, y_true, y_pred):
    return None, upstream * 2 * (y_pred - y_true) / 6


def huber(y_true, y_pred):
    d = y_pred - y_true
    if abs(d) < 1:
        return d * d / 2
    return abs(d) - 0.5


def huber_slope(upstream, y_true, y_pred):
    d = y_pred - y_true
    slope = d if abs(d) < 1 else (1.0 if d > 0 else -1.0)
    return -upstream * slope, upstream * slope


def sorted_rows(x):
    out = x.copy()
    for row in out:
        row.sort()
    return out


def sorted_rows_slope(upstream, x):
    back = np.empty_like(upstream)
    for n, row in enumerate(x):
        back[n, np.argsort(row)] = upstream[n]
    return back
