"""PyTorch's front end: what is written down, audited and relaxed of ordinary eager code."""

from __future__ import annotations

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another framework here", allow_module_level=True)

import torch

import bevel
from bevel import frontends
from tests.descent_torch import descend
from tests.torch_losses import LOSSES

torch.set_num_threads(1)


def tensors(name: str, seed: int = 0):
    y, p = LOSSES[name].make(seed)
    return torch.tensor(y), torch.tensor(p)


@pytest.mark.parametrize("name", LOSSES)
def test_the_program_gives_what_the_function_gives(name):
    y, p = tensors(name)
    trace = frontends.frontend().trace(LOSSES[name].fn, (y, p), {})
    operands = [y, p, *trace.captured]
    found = trace.pack(frontends.executor().run_program(trace.program, operands))
    torch.testing.assert_close(found, LOSSES[name].fn(y.clone(), p.clone()), check_dtype=False)


@pytest.mark.parametrize("name", LOSSES)
def test_verdict_operation_and_line(name):
    case = LOSSES[name]
    report = bevel.audit(case.fn, *tensors(name), wrt=1)
    assert report.verdict == case.verdict, str(report)
    found = [f for f in report.findings if f.severity == "error"]
    if case.named:
        assert {f.native_op for f in found} & set(case.named), str(report)
    if case.line:
        assert any(f.loc and case.line in f.loc.text for f in found), str(report)
    assert all(f.loc for f in found), str(report)


RELAXED = [n for n, case in LOSSES.items() if case.descends is not None]


@pytest.mark.parametrize("name", RELAXED)
def test_relaxed_gradient_is_finite_and_not_zero(name):
    y, p = tensors(name)
    p.requires_grad_()
    value = bevel.relax(LOSSES[name].fn, wrt=1)(y, p)
    value.backward()
    assert torch.isfinite(value)
    assert torch.all(torch.isfinite(p.grad))
    assert torch.any(p.grad != 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", RELAXED)
def test_descent(name):
    case = LOSSES[name]
    y, p = case.make(0)
    best = case.best
    if best is None:
        best = float(case.fn(torch.tensor(y), torch.tensor(y)).detach())
    found = descend(case.fn, bevel.relax(case.fn, wrt=1), y, p, maximize=case.maximize, steps=300)
    assert found.share(best) >= case.descends, found
