"""JAX cases, with the symptom seen on JAX 0.10 to 0.12.

A blocked operation almost never fails in JAX: integer and boolean outputs carry float0 tangents, and
the gradient comes back as zeros. The loss bodies are kept exactly as they are.
"""

import jax
import jax.numpy as jnp
import numpy as np

from .case import Case, R, binary, f32, probs, series

GH = "https://github.com/"

CASES = []


def case(name, url, symptom, blockers, goal, make, lower=True, **kw):
    def deco(fn):
        CASES.append(Case(name, url, "jax", symptom, blockers, goal, make, fn, lower, **kw))
        return fn
    return deco


@case("jax_argmax_loss", GH + "google-deepmind/dm-haiku/issues/442", "zero", ["argmax"],
      "squared error between arg-maxed class and label", probs(16, 2), title="Zero Gradients after argmax",
      reported="all-zero gradients, no error", fix="not seen")
def jax_argmax_loss(t, p):
    return jnp.mean((jnp.argmax(p, -1) - jnp.argmax(t, -1)) ** 2.0)


@case("jax_sampled_category", GH + "jax-ml/jax/issues/17555", "zero", ["argmax"],
      "learn a probability table from sampled actions", probs(8, 4),
      title="jax.value_and_grad return gradient is zero when use jax.random.categorical",
      reported="gradient is zero", fix="not seen")
def jax_sampled_category(t, p):
    a = jax.random.categorical(jax.random.PRNGKey(0), jnp.log(p), axis=-1)
    return -jnp.mean(t[jnp.arange(len(a)), a])


_PIC = np.add.outer(np.arange(8) ** 2, 3 * np.arange(8)).astype(np.int32)


@case("jax_register_integer_image", GH + "jax-ml/jax/issues/8684", "zero", ["round", "convert_element_type"],
      "rigid registration: shift that aligns two images", lambda s: f32([1.0], [0.3 + 0.4 * R(s).rand()]),
      title="Gradient 0 with jax.scipy.ndimage.map_coordinates", reported="gradient is always 0, loss varies with tx",
      note="our reading: an integer image makes map_coordinates round its output; same code on a float image is fine")
def jax_register_integer_image(t, tx):
    from jax.scipy.ndimage import map_coordinates
    img = jnp.asarray(_PIC)
    a, b = jnp.meshgrid(jnp.arange(8.0), jnp.arange(8.0), indexing="ij")
    shift = lambda d: map_coordinates(img, jnp.stack([a, b + d]), order=1)
    return jnp.mean((shift(tx[0]) - shift(t[0])) ** 2.0)


@case("jax_binned_yield", GH + "gradhep/relaxed/issues/1", "zero", ["scatter-add", "ge"],
      "particle physics: histogram of events passing a cut vs observed counts",
      lambda s: f32(R(s).randint(2, 9, 6), R(s + 1).rand(40)), title="Backend independence a la pyhf (differentiable histogram and cut)",
      reported="needs differentiable histogram and cut; built a package for it", fix="KDE histogram, sigmoid cut (neos / relaxed)")
def jax_binned_yield(t, x):
    n, _ = jnp.histogram(x, bins=6, range=(0.0, 1.0), weights=(x >= 0.1).astype(jnp.float32))
    return jnp.sum((n - t) ** 2 / (t + 1.0))


@case("jax_external_metric", GH + "jax-ml/jax/issues/30401", "none", ["py:pure_callback"],
      "score predictions with a numpy / external routine", binary(20),
      title="Revisiting custom_jvp with pure_callback", reported="Pure callbacks do not support JVP / transpose",
      fix="custom_jvp by hand; open when the rule itself needs a callback")
def jax_external_metric(t, p):
    f = lambda a, b: np.float32(np.mean((np.asarray(b) > 0.5) != (np.asarray(a) > 0.5)))
    return jax.pure_callback(f, jax.ShapeDtypeStruct((), jnp.float32), t, p)


@case("jax_where_sqrt", GH + "jax-ml/jax/issues/5798", "nan", ["sqrt", "select_n"],
      "material law: x below 1, sqrt(x) above", lambda s: f32(R(s).rand(5), np.r_[0.0, 3 * R(s + 1).rand(4)]),
      title="nan when using np.where and grad", reported="df(0.) is nan although the linear branch is taken",
      fix="double-where trick (FAQ)")
def jax_where_sqrt(t, x):
    return jnp.mean((jnp.where(x < 1.0, x, jnp.sqrt(x)) - t) ** 2)


def _mk_cloth(seed):
    r = R(seed)
    x = r.randn(6, 3)
    x[3] = x[2]
    return f32(np.full(5, 0.5), x)


@case("jax_spring_norm", GH + "jax-ml/jax/issues/3058", "nan", ["sqrt"], "cloth simulation: spring length error",
      _mk_cloth, title="NaN in gradient of np.linalg.norm at 0", reported="whole gradient NaN",
      fix="maintainers (also jax#21723): working as intended, no gradient at 0")
def jax_spring_norm(rest, x):
    return jnp.mean((jnp.linalg.norm(x[1:] - x[:-1], axis=1) - rest) ** 2)


@case("ctl_jax_relu_maximum", GH + "jax-ml/jax/issues/37821", "fine", [], "hinge via jnp.maximum", kind="control",
      make=lambda s: f32(np.sign(R(s).randn(16)), R(s + 1).randn(16)), title="grad of maximum(x, 0) at 0 is 0.5")
def ctl_jax_relu(t, p):
    return jnp.mean(jnp.maximum(0.0, 1.0 - t * p))


@case("ctl_jax_pinball", "", "fine", [], "pinball (quantile) loss", series(), kind="control", title="textbook control")
def ctl_jax_pinball(t, p):
    e = t - p
    return jnp.mean(jnp.maximum(0.9 * e, -0.1 * e))
