"""TensorFlow and Keras cases, with the symptom seen on TensorFlow 2.21 and Keras 3.15.

The loss bodies are kept exactly as they are: findings point at their lines and columns.
"""

import numpy as np
import tensorflow as tf
from keras import ops as K

from .case import Case, R, binary, f32, probs, scores, series

GH = "https://github.com/"

CASES = []


def case(name, url, fw, symptom, blockers, goal, make, lower=True, **kw):
    def deco(fn):
        CASES.append(Case(name, url, fw, symptom, blockers, goal, make, fn, lower, **kw))
        return fn
    return deco


@case("tf_floor_mae", GH + "tensorflow/tensorflow/issues/8625", "tensorflow", "none", ["Floor"],
      "binarise a sigmoid inside the loss, then mean absolute error", binary(),
      title="No gradients provided for any variable ... tf.floor",
      reported="No gradients provided for any variable",
      fix="maintainer: correct, tf.floor has no gradient; links an SO answer")
def tf_floor_mae(t, p):
    return tf.reduce_mean(tf.abs(t - tf.floor(p + 0.5)))


@case("tf_mean_signum_difference", GH + "huseinzol05/Stock-Prediction-Models/issues/27",
      "tensorflow", "zero", ["Sign"], "stock direction: mean signum difference of day-to-day moves",
      series(), title="Mean directional accuracy",
      reported="wants it in place of MSE; no recipe", fix="'write your custom loss' (no working one given)",
      note="tf.sign has a registered all-zero gradient: no error, nothing moves")
def tf_mean_signum_difference(t, p):
    dt, dp = t[1:] - t[:-1], p[1:] - t[:-1]
    return 0.5 * tf.reduce_mean(tf.abs(tf.sign(dt) - tf.sign(dp)))


@case("keras_mean_directional_accuracy", GH + "rstudio/keras3/issues/193", "keras", "none",
      ["Equal", "Sign"], "maximise mean directional accuracy of a forecast", series(), lower=False,
      title="Custom Mean Directional Accuracy loss function",
      reported="An operation has `None` for gradient ... K.argmax, K.round, K.eval", fix="none seen")
def keras_mda(t, p):
    same = K.equal(K.sign(t[1:] - t[:-1]), K.sign(p[1:] - p[:-1]))
    return K.mean(K.cast(same, "float32"))


@case("keras_three_level_action", GH + "keras-team/keras/issues/7370", "keras", "none",
      ["Less", "Greater", "SelectV2"], "step activation: sell / hold / buy levels 0, 0.5, 1",
      lambda s: f32(R(s).randint(0, 3, 18) / 2.0, R(s + 1).rand(18)),
      title="How to create a step function to use as activation function in Keras?",
      reported="py_func step built by hand with an invented derivative, cannot plug it in", fix="none seen")
def keras_three_level_action(t, p):
    act = K.where(K.less(p, 0.33), 0.0, K.where(K.greater(p, 0.66), 1.0, 0.5))
    return K.mean(K.square(t - act))


@case("tf_pnl_python_if", GH + "keras-team/keras/issues/8556", "tensorflow", "none",
      ["py:if", "Greater"], "trading: earn the next move if p>0.5, else lose it", lower=False,
      make=lambda s: f32(R(s).randn(16) * 0.02, R(s + 9).rand(16)),
      title="Writing a custom loss function element by element",
      reported="cannot write the loop with backend ops", fix="none seen")
def tf_pnl_python_if(ret, p):
    money = tf.constant(0.0)
    for i in range(ret.shape[0]):
        if p[i] > 0.5:
            money += ret[i]
        else:
            money -= ret[i]
    return money


@case("tf_phase_of_real", GH + "tensorflow/tensorflow/issues/50854", "tensorflow", "none",
      ["Less", "Select"], "phase error of a (real-valued) network output",
      lambda s: f32(R(s).randn(12), R(s + 4).randn(12)),
      title="Gradient not working with tf.math.angle", reported="None gradients",
      fix="commenter: for real input angle() is only a where(), so no gradient")
def tf_phase_of_real(t, p):
    return tf.reduce_mean(tf.abs(tf.math.angle(t) - tf.math.angle(p)))


@case("tf_hits_over_labels", GH + "tensorflow/tensorflow/issues/58614", "tensorflow", "none",
      ["Round", "Equal"], "share of correct 0s and 1s in a filtered batch", binary(30), lower=False,
      title="Gradient return None", reported="tape.gradient gives None",
      fix="not seen")
def tf_hits_over_labels(t, p):
    ok = tf.math.count_nonzero(tf.equal(tf.round(p), t), dtype=tf.float32)
    return ok / tf.cast(tf.size(t), tf.float32)


@case("keras_qwk_hard",
      "https://exchangetuts.com/how-can-i-specify-a-loss-function-to-be-quadratic-weighted-kappa-in-keras-1641563945036533",
      "tensorflow", "none", ["ArgMax"], "train on quadratic weighted kappa (ordinal grades)",
      probs(20, 5), lower=False, title="How can I specify a loss function to be quadratic weighted kappa in Keras? (SO mirror)",
      reported="passes sklearn / tf.contrib cohen_kappa as loss",
      fix="answer wraps the streaming metric (still no gradient); later tfa.WeightedKappaLoss, now unmaintained")
def keras_qwk_hard(t, p):
    n = p.shape[1]
    o = tf.cast(tf.math.confusion_matrix(tf.argmax(t, 1), tf.argmax(p, 1), num_classes=n), tf.float32)
    g = tf.range(n, dtype=tf.float32)
    w = tf.square(g[:, None] - g[None, :])
    e = tf.reduce_sum(o, 1)[:, None] * tf.reduce_sum(o, 0)[None, :] / tf.reduce_sum(o)
    return 1.0 - tf.reduce_sum(w * o) / tf.reduce_sum(w * e)


def _mk_tokens(seed):
    r = R(seed)
    return f32(np.eye(3)[r.randint(0, 3, 6)], r.randn(6, 5, 8))


_EMB = np.random.RandomState(0).randn(8, 3).astype(np.float32)


@case("keras_token_ids_decoder", GH + "keras-team/keras/issues/11157", "keras", "none", ["ArgMax"],
      "encoder emits token ids that a second model must classify", _mk_tokens,
      title="backend argmax has none for gradients. Can you even define one?",
      reported="An operation has `None` for gradient", fix="not seen")
def keras_token_ids_decoder(t, logits):
    ids = K.cast(K.argmax(logits, axis=-1), "float32")
    h = K.mean(K.take(K.convert_to_tensor(_EMB), K.cast(ids, "int32"), axis=0), axis=1)
    return -K.mean(K.sum(t * K.log_softmax(h, axis=-1), axis=-1))


@case("tf_dice_after_argmax", GH + "tensorlayer/TensorLayer/issues/891", "tensorflow", "none",
      ["ArgMax", "Cast"], "Dice of the arg-maxed segmentation", probs(36, 2),
      title="Loss minimization with dice_coe", reported="cannot run gradient descent after argmax",
      fix="not seen")
def tf_dice_after_argmax(t, p):
    seg, ref = tf.cast(tf.argmax(p, -1), tf.float32), t[:, 1]
    return 1.0 - (2.0 * tf.reduce_sum(seg * ref) + 1e-5) / (tf.reduce_sum(seg) + tf.reduce_sum(ref) + 1e-5)


_CODES = np.linspace(-2, 2, 5).astype(np.float32)


@case("tf_nearest_codeword", GH + "Justin-Tan/generative-compression/issues/27", "tensorflow", "none",
      ["ArgMin", "GatherV2"], "reconstruct through a scalar codebook",
      lambda s: f32(R(s).randn(18), R(s + 6).randn(18)),
      title="Question about gradient calculation in the quantizer",
      reported="reader finds the encoder gets no gradient", fix="author: straight-through override")
def tf_nearest_codeword(t, z):
    k = tf.argmin(tf.square(z[:, None] - tf.constant(_CODES)[None]), axis=1)
    return tf.reduce_mean(tf.square(t - tf.gather(tf.constant(_CODES), k)))


@case("tf_rank_footrule", GH + "keras-team/keras/issues/16663", "tensorflow", "none", ["TopKV2"],
      "predict an ordering: sum |true rank - predicted rank|", scores(),
      title="No gradients provided for any variable",
      reported="No gradients provided; 'replace by mse and the error is gone'", fix="not seen; issue closed as stalled",
      note="loss is an int32 tensor, as in the thread")
def tf_rank_footrule(t, p):
    a, b = tf.argsort(tf.argsort(t)), tf.argsort(tf.argsort(p))
    return tf.reduce_sum(tf.abs(a - b))


def _mk_rec(seed):
    r = R(seed)
    y = np.stack([r.choice(12, 4, replace=False) for _ in range(3)])
    return y.astype(np.float32), r.randn(3, 12).astype(np.float32)


@case("tf_recall_at_k_sets", GH + "tensorflow/recommenders/issues/183", "tensorflow", "none",
      ["TopKV2", "DenseToDenseSetOperation"], "recall@5: intersect top-5 items with the relevant set",
      _mk_rec, lower=False, title="how to add recall@k metrics?",
      reported="wanted as a metric; error from tfrs", fix="not seen",
      note="metric thread, not a failed training run")
def tf_recall_at_k_sets(t, p):
    hit = tf.sets.intersection(tf.math.top_k(p, 5).indices, tf.cast(t, tf.int32))
    return tf.reduce_mean(tf.cast(tf.sets.size(hit), tf.float32)) / float(t.shape[1])


@case("keras_weighted_f1_sklearn", "https://stackguides.com/questions/59963911/how-to-write-a-custom-f1-loss-function-with-weighted-average-for-keras",
      "tensorflow", "none", ["py:EagerTensor.numpy"], "weighted F1 through sklearn (SO 59963911)", probs(20, 4),
      title="How to write a custom f1 loss function with weighted average for keras?",
      reported="errors converting tensors to numpy", fix="answer: same formula on probabilities, delete the argmax lines")
def keras_weighted_f1_sklearn(t, p):
    from sklearn.metrics import f1_score
    v = f1_score(np.argmax(t.numpy(), 1), np.argmax(p.numpy(), 1), average="weighted", zero_division=0)
    return tf.constant(1.0 - v, tf.float32)


@case("keras_label_only_loss", GH + "rstudio/keras3/issues/515", "keras", "none", [],
      "directional accuracy rewritten until nothing of y_pred is left", series(),
      title="reviewing custom mean directional accuracy", reported="None gradient although 'every op is differentiable'",
      fix="maintainer finds by bisection that the term uses y_true only",
      note="no blocking op at all: the output simply does not depend on y_pred")
def keras_label_only_loss(t, p):
    return K.sum(K.abs(t[1:] - t[:-1]))


def _mk_exact_rows(seed):
    r = R(seed)
    t = r.randn(6, 4)
    p = t + 0.2 * r.randn(6, 4)
    p[2] = t[2]
    return f32(t, p)


@case("tf_relative_norm_loss", GH + "tensorflow/tensorflow/issues/42889", "tensorflow", "nan", ["Sqrt"],
      "relative L2 error of an operator network", _mk_exact_rows, title="nan gradient issue",
      reported="NaN after some epochs", fix="asker traces the NaN to tf.sqrt; a maintainer removes it by squaring")
def tf_relative_norm_loss(t, p):
    return tf.reduce_mean(tf.norm(t - p, axis=1) / tf.norm(t, axis=1))


@case("tf_two_branch_transfer", GH + "tensorflow/tensorflow/issues/20355", "tensorflow", "nan",
      ["RealDiv", "SelectV2"], "custom activation 1/(1-x) | log(1+x)",
      lambda s: f32(R(s).rand(4), [1.0, -0.5, 0.3, -1.0]), title="Bug in tf.where gradient calculation.",
      reported="f(1) and f(-1) finite, gradients NaN", fix="none seen (issue open)")
def tf_two_branch_transfer(t, x):
    y = tf.where(x < 0.0, 1.0 / (1.0 - x), tf.math.log(x + 1.0))
    return tf.reduce_mean(tf.square(y - t))


@case("ctl_tf_hinge", "https://stackoverflow.com/questions/40752801/non-smooth-and-non-differentiable-customized-loss-function-tensorflow/40758135",
      "tensorflow", "fine", [], "hinge loss (relu kink)", kind="control",
      make=lambda s: f32(np.sign(R(s).randn(16)), R(s + 1).randn(16)),
      title="Non-smooth and non-differentiable customized loss function tensorflow",
      fix="answer: kinks are fine, flat pieces are not")
def ctl_tf_hinge(t, p):
    return tf.reduce_mean(tf.nn.relu(1.0 - t * p))


@case("ctl_tf_wrapped_angle", GH + "tensorflow/tensorflow/issues/6365", "tensorflow", "fine", [],
      "angular error wrapped with floormod", lambda s: f32(R(s).rand(12) * 6, R(s + 1).rand(12) * 6), kind="control",
      title="Support of gradient for TF.MOD", reported="LookupError: no gradient for Mod (2016)",
      fix="gradient registered upstream since", note="'known bad op' lists copied from old threads are wrong here")
def ctl_tf_wrapped_angle(t, p):
    return tf.reduce_mean(tf.square(tf.math.floormod(p - t + np.pi, 2 * np.pi) - np.pi))


@case("ctl_tf_segment_prod", GH + "tensorflow/tensorflow/issues/41090", "tensorflow", "fine", [],
      "product of features per segment", lambda s: f32(R(s).rand(2), 0.5 + R(s + 1).rand(5)), kind="control",
      title="Issue using segment_prod in custom keras layer",
      reported="LookupError: gradient registry has no entry for: SegmentProd (2020)", fix="works in TF 2.21")
def ctl_tf_segment_prod(t, p):
    return tf.reduce_mean(tf.abs(tf.math.segment_prod(p, [0, 0, 0, 1, 1]) - t))


@case("ctl_tf_topk_values", GH + "tensorflow/tensorflow/issues/5726", "tensorflow", "fine", [],
      "hard-example mining: mean of the k largest errors", series(), kind="control",
      title="Don't imply top_k is nondifferentiable",
      note="same TopKV2 as the rank cases, but the values output is used")
def ctl_tf_topk_values(t, p):
    return tf.reduce_mean(tf.math.top_k(tf.square(t - p), 5).values)
