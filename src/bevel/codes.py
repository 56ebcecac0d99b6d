"""The page behind each code of a finding: what it means, why it happens, an example, what to do.

A finding says in one line what is wrong; the lesson is here, behind its code. `PAGES` is the only
list of codes. `explain` prints a page, `docs/codes.md` is generated from the table, and a test
audits every example and looks for its code in the report.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import indent, wrap

from bevel.errors import BevelValueError

_WIDTH = 88


@dataclass(frozen=True)
class Page:
    """What is known about one code.

    Attributes:
        code: The stable code, `B` and three digits. The first digit is the family: 1 a cut, 2 no
            response, 3 not finite, 4 a declared gradient, 5 a kink, 6 no use of the prediction,
            7 the audit itself.
        title: What was found, in a few words.
        meaning: What it means.
        why: Why it happens, and whether it matters.
        example: A TensorFlow file with `loss`, `y_true` and `y_pred` that shows it.
        instead: What to do.
    """

    code: str
    title: str
    meaning: str
    why: str
    example: str
    instead: str


def explain(code: str) -> str:
    """Return the page of a code as text for a terminal.

    Args:
        code: A code such as `B101`; upper or lower case.

    Returns:
        The page, without a final line break.

    Raises:
        BevelValueError: There is no such code. The message lists those that there are.

    Example:
        >>> print(explain("B501").splitlines()[0])
        B501: a kink, where a subgradient is used
    """
    page = PAGES.get(code.strip().upper())
    if page is None:
        raise BevelValueError(
            f"`code` must be a known code; got {code!r}.", help="one of " + ", ".join(PAGES)
        )
    sections = (
        ("What it means", _filled(page.meaning)),
        ("Why", _filled(page.why)),
        ("Example", indent(page.example.strip(), "    ")),
        ("What to do", _filled(page.instead)),
    )
    return "\n\n".join(
        [f"{page.code}: {page.title}", *(f"{heading}\n\n{body}" for heading, body in sections)]
    )


def _filled(text: str) -> str:
    """Wrap prose, but never inside a piece of code."""
    prose = " ".join(text.split())
    glued = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\0"), prose)
    lines = wrap(glued, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


_PAGES = (
    Page(
        "B101",
        "a step stops the gradient",
        """
        A comparison, a sign, a rounding or an equality stands between the prediction and the
        loss. The loss responds to the prediction, but only in jumps, so no gradient gets
        through.
        """,
        """
        A step is constant between its jumps. Its derivative is 0 wherever it exists, and at the
        jump there is none. Frameworks answer with `None`, or with zeros and no warning at all:
        a model trained on it keeps its first weights.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


def loss(y_true, y_pred):
    hard = tf.cast(y_pred > 0.5, tf.float32)
    return tf.reduce_mean(tf.abs(y_true - hard))
        """,
        """
        `bevel.relax(loss)` trains on the function as it stands: the comparison becomes a smooth
        step whose sharpness is the temperature. By hand, write
        `bevel.ops.greater(y_pred, 0.5)`, or `bevel.ops.round`, `sign`, `floor`, `equal`. With
        `forward="hard"` the value stays exact and only the gradient is the smooth one's. Keep
        the hard function for reporting.
        """,
    ),
    Page(
        "B102",
        "a choice of position stops the gradient",
        """
        The loss uses where in the prediction something stands (`argmax`, `argmin`, the indices
        of a `top_k`, `argsort`, `searchsorted`), and not how large it is.
        """,
        """
        A position is an integer. It stays the same until two elements change places, then it
        jumps. The values that a sort or a `top_k` returns do carry a gradient; their indices
        never do.
        """,
        """
import tensorflow as tf

y_true = tf.constant([[1.0, 4.0, 2.0], [3.0, 0.5, 1.0]])
y_pred = tf.constant([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])


def loss(y_true, y_pred):
    chosen = tf.argmax(y_pred, axis=-1)
    return tf.reduce_mean(tf.gather(y_true, chosen, batch_dims=1))
        """,
        """
        `bevel.relax(loss)` reads the position as a distribution over the candidates, so that a
        look-up becomes an expectation. By hand, `bevel.ops.argmax(y_pred)` gives those weights;
        in the example, multiply them with `y_true` and sum over the last axis.
        """,
    ),
    Page(
        "B103",
        "a cast to an integer stops the gradient",
        """
        The prediction, or something computed from it, is cast to an integer before it reaches
        the loss.
        """,
        """
        Casting to an integer cuts off the fraction: it is a step, and integers have no
        derivative in any framework. Casting back to a float does not bring the gradient back.
        """,
        """
import tensorflow as tf

y_true = tf.constant([1.0, 3.0, 2.0, 0.0])
y_pred = tf.constant([1.4, 2.7, 0.3, 0.9])


def loss(y_true, y_pred):
    stars = tf.cast(y_pred, tf.int32)
    return tf.reduce_mean(tf.square(y_true - tf.cast(stars, tf.float32)))
        """,
        """
        Leave the cast out where the integer is not needed. Where it is meant,
        `bevel.relax(loss)` reads it as a rounding with a slope; by hand, that is
        `bevel.ops.trunc(y_pred)`.
        """,
    ),
    Page(
        "B104",
        "the computation leaves the graph",
        """
        Part of the loss runs as Python or numpy code that the framework does not see: a
        `tf.numpy_function` or `tf.py_function`, a `.numpy()`, a `float(...)` or an `if` on a
        value. Or a value is put into a variable and read back, as by the `update_state` and
        `result` of a metric.
        """,
        """
        A framework differentiates the operations that it recorded. What was computed elsewhere
        comes back as a constant, so everything before it is cut off, whether it was smooth or
        not.
        """,
        """
import numpy as np
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


def mean_distance(a, b):
    return np.float32(np.mean(np.abs(a - b)))


def loss(y_true, y_pred):
    return tf.numpy_function(mean_distance, [y_true, y_pred], tf.float32)
        """,
        """
        Write the same computation with `tf` or `keras.ops` functions; then Bevel can see into
        it and relax the steps in it. An `if` on a tensor is fine in a plain function: AutoGraph
        records both branches. A routine that cannot be rewritten has no gradient to find, only
        one to estimate, and Bevel does not do that yet. What only passes
        through a variable is followed when the loss is relaxed; the variable stays as it is.
        """,
    ),
    Page(
        "B105",
        "`stop_gradient` stops the gradient",
        """
        The code asks for it: `stop_gradient` passes its value on and no gradient.
        """,
        """
        That is right for a target, a baseline, a mask or a weight that must be treated as a
        constant. It is wrong when it is the only way from the prediction to the loss.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


def loss(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_true - tf.stop_gradient(y_pred)))
        """,
        """
        If it is meant, leave it: `bevel.relax` respects it too. If not, take the call out.
        """,
    ),
    Page(
        "B106",
        "an operation without a gradient",
        """
        The framework has no derivative for this operation, and Bevel has no name for it. Both
        treat what comes out of it as a constant.
        """,
        """
        Some operations have no derivative by nature (histograms, set operations, an edit
        distance, hashing). For others nobody wrote one down.
        """,
        """
import tensorflow as tf

y_true = tf.constant([[1, 4, 2, 2]])
y_pred = tf.constant([[0.2, 0.5, 0.3, 0.9]])


def loss(y_true, y_pred):
    text = tf.strings.as_string(y_pred)
    return tf.reduce_mean(tf.strings.to_number(text))
        """,
        """
        Say the same with operations that have a derivative, or that Bevel relaxes: a histogram
        as a sum of comparisons, a set intersection as a product of memberships. `bevel.relax`
        names the operation and its line and stops; with `on_unknown="keep"` it runs it as it
        is, as a constant.
        """,
    ),
    Page(
        "B107",
        "a branch is chosen by the prediction",
        """
        The condition of an `if`, a `while` or a `tf.cond` depends on the prediction. The branch
        that is taken may carry a gradient; the choice of the branch carries none.
        """,
        """
        A gradient describes what happens while the same branch stays taken. What would be
        gained by crossing over to the other branch is left out. Where both sides meet at the
        border, as in a Huber loss, nothing is left out, and the audit reports a kink instead.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


def loss(y_true, y_pred):
    if tf.reduce_sum(y_pred) > 1.5:
        fine = tf.constant(10.0)
    else:
        fine = tf.constant(0.0)
    return fine
        """,
        """
        `bevel.relax(loss)` runs both branches and blends them by how clearly the condition
        holds. By hand, compute both and join them with
        `bevel.ops.where(bevel.ops.greater(total, 1.5), a, b)`.
        """,
    ),
    Page(
        "B108",
        "the prediction is only counted, or used as a position",
        """
        The prediction decides into which bucket something falls: as a bin number, a segment id,
        or an index that a value is gathered from or scattered to.
        """,
        """
        The result depends on which bucket is hit, which is an integer. Moving a prediction
        inside its bucket changes nothing, and moving it over the border makes the count jump.
        """,
        """
import tensorflow as tf

y_true = tf.constant([2.0, 1.0, 1.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


def loss(y_true, y_pred):
    counts = tf.histogram_fixed_width(y_pred, [0.0, 1.0], nbins=3)
    return tf.reduce_mean(tf.square(y_true - tf.cast(counts, tf.float32)))
        """,
        """
        Share each prediction out among the neighbouring buckets. `bevel.relax` does so for
        `bincount`, segment sums, `scatter` and `gather` whose indices come from a rounding, a
        cast or an `argmax`. By hand, which the example needs, a soft bucket is the difference of
        two `bevel.ops.greater`.
        """,
    ),
    Page(
        "B201",
        "flat for these inputs",
        """
        The gradient is zero here, and the loss does not respond either: not to a small change
        of the prediction, nor to a larger random one.
        """,
        """
        The operations have derivatives, but all the inputs lie where the slope is 0: a
        saturated sigmoid, the flat side of a clamp, boxes that do not overlap yet, a margin
        that all examples meet. Training cannot leave such a place, though elsewhere the same
        loss trains.
        """,
        """
import tensorflow as tf

y_true = tf.constant([[0.0, 1.0], [2.0, 3.0]])
y_pred = tf.constant([[50.0, 51.0], [70.0, 72.0]])


def loss(y_true, y_pred):
    first_end = tf.minimum(y_true[:, 1], y_pred[:, 1])
    last_start = tf.maximum(y_true[:, 0], y_pred[:, 0])
    return -tf.reduce_mean(tf.nn.relu(first_end - last_start))
        """,
        """
        Audit with inputs such as a fresh model would give; if they are flat too, start closer,
        scale the inputs, or take a loss that also measures how far off a prediction is (for
        boxes, one that adds the distance). Where the margin is met by all examples, there is
        nothing left to learn.
        """,
    ),
    Page(
        "B202",
        "an optimum for these inputs",
        """
        The gradient is zero because the loss is at an optimum: it responds to every change of
        the prediction, equally in both directions.
        """,
        """
        A derivative is 0 at a smooth minimum. Nothing is cut, so the verdict is `trains`.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.0, 1.0, 1.0, 0.0])


def loss(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_true - y_pred))
        """,
        """
        Nothing. To see the gradient at work, audit with predictions that are not perfect.
        """,
    ),
    Page(
        "B301",
        "a gradient that is not finite is born here",
        """
        The value is finite and the gradient is not: this operation is where the first NaN or
        infinity of the backward pass comes from. It often surfaces far from here.
        """,
        """
        The slope of `sqrt`, of a norm, of a logarithm, a division or a power is infinite, or
        0/0, at one point, and one element of these inputs lies on it. Once it is NaN, every
        weight is, after one step.
        """,
        """
import tensorflow as tf

y_true = tf.constant([[0.0, 1.0], [2.0, 3.0]])
y_pred = tf.constant([[0.5, 1.5], [2.0, 3.0]])


def loss(y_true, y_pred):
    squared = tf.reduce_sum(tf.square(y_true - y_pred), axis=-1)
    return tf.reduce_mean(tf.sqrt(squared))
        """,
        """
        Keep the argument away from the point, with a small constant of the argument's own
        scale: `tf.sqrt(squared + 1e-6)`. Or use a form that has no such point, such as the
        squared norm, or `tf.math.divide_no_nan`. Clipping the gradient afterwards does not
        help: NaN stays NaN.
        """,
    ),
    Page(
        "B302",
        "the `where` trap",
        """
        A `where` keeps a bad value out of the result, and its gradient gets in all the same:
        the branch that was not taken sends 0 times infinity, which is NaN.
        """,
        """
        Both branches are computed for all elements. Going back, the branch not taken receives a
        zero gradient, and multiplies it with its own slope. Where that slope is infinite, the
        product is NaN.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.5, 1.0, 0.0])
y_pred = tf.constant([0.5, 2.0, 0.0])


def loss(y_true, y_pred):
    safe = tf.where(y_pred > 0.0, tf.math.log(y_pred), 0.0)
    return tf.reduce_mean(tf.square(y_true - safe))
        """,
        """
        Use two `where`: first replace the argument where the branch is not taken, then choose
        the result. In the example, `x = tf.where(y_pred > 0.0, y_pred, 1.0)` and
        `tf.where(y_pred > 0.0, tf.math.log(x), 0.0)`.
        """,
    ),
    Page(
        "B303",
        "a value that is not finite",
        """
        The loss itself is NaN or infinite for these inputs, so its gradient says nothing.
        """,
        """
        Something overflowed, a logarithm or a division met 0, or the inputs held a NaN already.
        """,
        """
import tensorflow as tf

y_true = tf.constant([1.0, 0.0, 2.0])
y_pred = tf.constant([0.1, -1.0, 200.0])


def loss(y_true, y_pred):
    return tf.reduce_mean(tf.exp(y_pred) - y_true * y_pred)
        """,
        """
        Look at the inputs first. Then use the stable form where there is one (`log_softmax`,
        `log1p`, a loss `from_logits`), or bound the argument of the operation that overflows.
        """,
    ),
    Page(
        "B401",
        "a declared gradient disagrees with the function",
        """
        A `tf.custom_gradient` returns something else than the slope that is measured when the
        prediction is varied, and the difference is larger than the error of the measurement.
        """,
        """
        A declared gradient is believed by the framework without a check. A forgotten factor, a
        sign, or a formula that belongs to an older version of the forward code go unnoticed,
        and the loss still falls, only more slowly, or to another place.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


@tf.custom_gradient
def cube(x):
    return x * x * x, lambda upstream: -3.0 * upstream * x * x


def loss(y_true, y_pred):
    return tf.reduce_mean(cube(y_pred) - y_true)
        """,
        """
        Correct the declared gradient, here the sign, or delete it where the framework can
        derive it. If it differs on purpose, as in a straight-through estimator, write it as one
        (see B403).
        """,
    ),
    Page(
        "B402",
        "a declared gradient is used",
        """
        A `tf.custom_gradient` or a `stop_gradient` lies on the way. The audit takes its word for
        the slope and has compared it with the measured one: they agree.
        """,
        """
        Declared gradients are there for numerical stability or speed, and a stopped maximum in a
        stable `log(sum(exp))` cancels out. This note says only that the gradient at this line is
        not the framework's own.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


@tf.custom_gradient
def softplus(x):
    return tf.math.log1p(tf.exp(x)), lambda upstream: upstream * tf.sigmoid(x)


def loss(y_true, y_pred):
    return tf.reduce_mean(softplus(y_pred) - y_true * y_pred)
        """,
        """
        Nothing. `bevel.relax` leaves the declared gradient in place.
        """,
    ),
    Page(
        "B403",
        "a straight-through estimator",
        """
        The value is a step's, the gradient is declared to be something else's, as in
        `p + stop_gradient(round(p) - p)`. A gradient arrives, and it is not the derivative.
        """,
        """
        That is the design: the true derivative is 0, so another one takes its place. It is
        biased, and in practice often good enough. The audit cannot say whether it points the
        right way.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


def loss(y_true, y_pred):
    hard = y_pred + tf.stop_gradient(tf.round(y_pred) - y_pred)
    return tf.reduce_mean(tf.square(y_true - hard))
        """,
        """
        Nothing, if it is meant. `bevel.relax(fn, forward="hard")` builds the same kind of
        estimator from a function without one, with a gradient that fades where the step is far
        away.
        """,
    ),
    Page(
        "B501",
        "a kink, where a subgradient is used",
        """
        The function has corners (`abs`, `relu`, `maximum`, a clip, a hinge, a branch whose two
        sides meet). Away from them there is an ordinary slope; at a corner the framework picks
        one of those on either side.
        """,
        """
        A corner is not a step: the value does not jump, and the slopes beside it tell the way.
        This is how ReLU networks and L1 losses train. Nothing is wrong.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


def loss(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_true - y_pred))
        """,
        """
        Nothing.
        """,
    ),
    Page(
        "B601",
        "the loss does not use the prediction",
        """
        No path leads from the prediction to the loss: it would be the same for any prediction.
        """,
        """
        Usually a mistake in a name, as in comparing the labels with themselves, or a term that
        was simplified until the prediction was gone. No operation is to blame, so none is
        pointed at.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


def loss(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_true[1:] - y_true[:-1]))
        """,
        """
        Read the function for the place where the prediction should be. If the argument that
        must receive a gradient is another one, name it:
        `bevel.audit(loss, y_true, y_pred, wrt="y_true")`.
        """,
    ),
    Page(
        "B602",
        "some elements of the prediction receive no gradient",
        """
        A gradient arrives, but not everywhere: for some elements of the prediction it is zero,
        and the loss does not respond to them.
        """,
        """
        They are sliced away, masked out or on a flat side, for all of these inputs. That may be
        meant (padding, an ignored class). If a whole output column is dead, the model learns
        nothing about it.
        """,
        """
import tensorflow as tf

y_true = tf.constant([[0.0, 1.0], [2.0, 3.0]])
y_pred = tf.constant([[0.5, 1.5], [1.0, 4.0]])


def loss(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_true[:, 0] - y_pred[:, 0]))
        """,
        """
        Check the slice, the mask or the axis. If those elements are not meant to learn, leave
        it.
        """,
    ),
    Page(
        "B701",
        "the audit could not tell",
        """
        How the value responds to the prediction could not be measured. What the structure shows
        is still reported; what rests on the measurement is left open.
        """,
        """
        The loss draws random numbers, so that its value differs from run to run, or it varies so
        wildly that the measured slope and its standard error are of one size.
        """,
        """
import tensorflow as tf

y_true = tf.constant([0.0, 1.0, 1.0, 0.0])
y_pred = tf.constant([0.2, 0.7, 0.4, 0.6])


def loss(y_true, y_pred):
    dice = tf.random.uniform([4])
    return tf.reduce_mean(tf.abs(y_true - tf.cast(dice < y_pred, tf.float32)))
        """,
        """
        Take the randomness out while auditing (a fixed noise as a constant), or audit with a
        larger batch or at other inputs.
        """,
    ),
)

PAGES = {page.code: page for page in _PAGES}
"""Code to its page, in the order of the codes."""
