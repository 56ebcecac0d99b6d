"""Keras's 42 task metrics as losses on JAX and PyTorch: what `metric_table.py` shows of TensorFlow.

`python benchmarks/metric_backends.py jax` measures one framework in this process, `torch` the
other; each keeps its figures in `benchmarks/results/metric_backends.json` and writes
`docs/metrics_backends.md`. `--docs` only writes the page again. For each metric: what the audit
says of it, whether the loss sends a finite gradient that is not zero, and the worst share of the
attainable improvement of the hard metric that free predictions reach.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from measure import machine

HERE = Path(__file__).parent
STORE = HERE / "results" / "metric_backends.json"
PAGE = HERE.parent / "docs" / "metrics_backends.md"
TITLES = {"jax": "JAX", "torch": "PyTorch"}
BAR = 0.99
HEAD = """\
# Keras's metrics as losses, on JAX and PyTorch

The same 42 metrics, the same rules and the same drawn batches of 64 rows as in
[metrics.md](metrics.md), which has TensorFlow's figures for more of them. Written by
`python benchmarks/metric_backends.py jax` and `torch`.

- *before*: what `bevel.audit` says of the metric as it is.
- *gradient*: whether the loss sends a finite one that is not zero.
- *descent*: free predictions, Adam, 500 steps, default settings; the share of the attainable
  improvement of the hard metric, worst of {seeds}.

"""


@dataclass(frozen=True)
class Row:
    """One metric's line for one framework."""

    name: str
    verdict: str
    gradient: bool
    descent: float


def use(framework: str) -> None:
    """Starts Keras with a framework; the tests' own helpers are found."""
    os.environ["KERAS_BACKEND"] = framework
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    sys.path.insert(0, str(HERE.parent))


def row(framework: str, name: str, seeds: int) -> Row:
    """Measures one metric."""
    import keras
    import numpy as np
    from tests.keras_metrics import draw, make
    from tests.links import linked

    import bevel
    from bevel import frontends
    from bevel.losses import MetricLoss
    from bevel.losses.conventions import CONVENTIONS
    from bevel.stateless import pure

    first = draw(name, 0)
    p = linked(first.z, first.link)
    verdict = bevel.audit(make(name), first.y_true, p).verdict
    loss, metric = MetricLoss(make(name)), pure(make(name))
    maximize = CONVENTIONS[name].maximize
    slope = frontends.executor().value_and_gradient(loss, [1], compiled=False)
    (gradient,) = slope([first.y_true, p])[1]
    flows = bool(gradient is not None and np.isfinite(gradient).all() and np.any(gradient))

    def hard(y: Any, q: Any) -> Any:
        return keras.ops.mean(metric(y, q))

    def relaxed(y: Any, q: Any) -> Any:
        return loss(y, q) * (-1.0 if maximize else 1.0)

    descend = _descent(framework, hard, relaxed, maximize, first.link)
    shares = []
    for seed in range(seeds):
        drawn = draw(name, seed)
        optimum = float(hard(*map(keras.ops.convert_to_tensor, (drawn.y_true, drawn.perfect))))
        shares.append(descend(drawn.y_true, linked(drawn.z, drawn.link)).share(optimum))
    return Row(name, verdict, flows, min(shares))


def _descent(
    framework: str, hard: Any, relaxed: Any, maximize: bool, link: str
) -> Callable[[Any, Any], Any]:
    if framework == "jax":
        from tests.wild.descent_jax import Descender

        return Descender(hard, relaxed, link, maximize=maximize)
    from tests.descent_torch import descend

    return lambda y, p: descend(hard, relaxed, y, p, maximize=maximize, link=link)


def page(stored: dict[str, Any]) -> str:
    """The text of `docs/metrics_backends.md`."""
    frameworks = [f for f in TITLES if f in stored]
    seeds = " and ".join(f"{stored[f]['seeds']} random starts ({TITLES[f]})" for f in frameworks)
    rows = {f: {r["name"]: r for r in stored[f]["rows"]} for f in frameworks}
    heads = [
        f"{TITLES[f]}: {what}" for f in frameworks for what in ("before", "gradient", "descent")
    ]
    lines = [
        HEAD.format(seeds=seeds),
        "| metric | " + " | ".join(heads) + " |",
        "|---|" + "---|---|---:|" * len(frameworks),
    ]
    for name in rows[frameworks[0]]:
        cells = [cell for f in frameworks for cell in _cells(rows[f].get(name))]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for f in frameworks:
        low = [n for n, r in rows[f].items() if r["descent"] < BAR]
        facts = ", ".join(f"{k} {v}" for k, v in stored[f]["machine"].items())
        lines += [
            "",
            f"{TITLES[f]}: below {BAR}: {', '.join(low) or 'none'}. Measured on: {facts}.",
        ]
    reasons = "Why some cannot get there is said below the table of [metrics.md](metrics.md)."
    return "\n".join([*lines, "", reasons, ""])


def _cells(found: dict[str, Any] | None) -> Sequence[str]:
    if found is None:
        return ("", "", "")
    return found["verdict"], "yes" if found["gradient"] else "no", f"{found['descent']:.3f}"


def main(
    framework: Annotated[str, typer.Argument(help="jax or torch.")] = "",
    docs: Annotated[bool, typer.Option("--docs", help="Only write the page again.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Random starts.")] = 2,
    only: Annotated[str, typer.Option(help="Names of metrics, by comma; others stay.")] = "",
) -> None:
    """Measures all metrics on one framework, keeps the figures and writes the page."""
    if not docs:
        if framework not in TITLES:
            raise typer.BadParameter(f"expected one of {', '.join(TITLES)}.")
        use(framework)
        from tests.keras_metrics import NAMES

        rows = []
        for name in only.split(",") if only else NAMES:
            rows.append(asdict(row(framework, name, seeds)))
            print(json.dumps(rows[-1]), flush=True)
        stored = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
        if only:
            again = {r["name"]: r for r in rows}
            rows = [again.get(r["name"], r) for r in stored[framework]["rows"]]
        stored[framework] = {"seeds": seeds, "machine": machine(), "rows": rows}
        STORE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(STORE.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
