"""PyTorch's front end: what is written down, audited and relaxed of ordinary eager code."""

from __future__ import annotations

import linecache

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another framework here", allow_module_level=True)

import torch

import bevel
from bevel import frontends
from tests.confusion import relaxed_and_by_weights
from tests.descent_torch import descend
from tests.torch_losses import LOSSES, Rounding

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


def hard_share(y, p):
    return ((p > 0.5).float() - y).abs().mean()


def drawn(n: int = 24):
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(n, generator=generator) > 0.5).float()
    return y, torch.rand(n, generator=generator, requires_grad=True)


def test_a_weight_from_outside_gets_its_gradient_through_relaxed_code():
    scale = torch.nn.Parameter(torch.tensor(2.0))
    y, p = drawn()
    value = bevel.relax(lambda y, p: scale * hard_share(y, p))(y, p)
    value.backward()
    torch.testing.assert_close(scale.grad, value.detach() / 2)
    with torch.no_grad():
        scale.mul_(2)
    again = bevel.relax(lambda y, p: scale * hard_share(y, p))(y, p)
    torch.testing.assert_close(again, 2 * value)


def test_a_model_trains_on_the_relaxed_metric():
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    y = (x @ torch.tensor([1.0, -2.0, 0.5, 3.0]) > 0).float()
    model, relaxed = torch.nn.Linear(4, 1), bevel.relax(hard_share)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        relaxed(y, torch.sigmoid(model(x)[:, 0])).backward()
        optimizer.step()
    assert hard_share(y, torch.sigmoid(model(x)[:, 0])) < 0.05


def test_the_parameters_of_a_module_are_those_of_its_forward():
    class Loss(torch.nn.Module):
        def forward(self, p, y):
            return hard_share(y, p)

    y, p = drawn()
    bevel.relax(Loss(), wrt="p")(p, y).backward()
    assert torch.all(p.grad != 0)


def test_half_precision_and_autocast():
    y, p = drawn()
    relaxed = bevel.relax(lambda y, p: hard_share(y, torch.sigmoid(p @ p.T)))
    square = torch.randn(4, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = relaxed(torch.ones(4, 4), square)
    value.backward()
    assert torch.all(torch.isfinite(square.grad))
    half = p.detach().bfloat16().requires_grad_()
    bevel.relax(hard_share)(y.bfloat16(), half).backward()
    assert half.grad.dtype == torch.bfloat16
    assert torch.any(half.grad != 0)


def test_without_grad_there_is_a_value_and_no_gradient():
    y, p = drawn()
    with torch.no_grad():
        assert not bevel.relax(hard_share)(y, p).requires_grad
    with torch.inference_mode():
        bevel.relax(hard_share)(y, p)


@pytest.mark.slow
@pytest.mark.parametrize("name", RELAXED)
def test_the_hard_forward_gives_the_exact_value(name):
    y, p = tensors(name)
    exact = LOSSES[name].fn(y.clone(), p.clone())
    found = bevel.relax(LOSSES[name].fn, wrt=1, forward="hard")(y, p)
    torch.testing.assert_close(found, exact, check_dtype=False)


def test_an_argument_is_not_written_into():
    def overwriting(y, p):
        p[p < 0] = 0
        return (p - y).sum()

    y, p = tensors("masked_assignment")
    before = p.clone()
    trace = frontends.frontend().trace(overwriting, (y, p), {})
    assert torch.equal(p, before)
    assert not trace.depends_on_values


def test_a_branch_is_noted_with_its_line_and_both_sides():
    def by_mean(y, p):
        if p.mean() > 0.5:
            return (p - y).abs().mean()
        return ((p - y) ** 2).mean()

    y, p = drawn()
    program = bevel.trace(by_mean, y, p)
    (node,) = [node for node in program.nodes if node.op == "cond"]
    assert "p.mean() > 0.5" in node.loc.text
    relaxed = bevel.relax(by_mean, temperature=1e-4)
    for moved in (p.detach() * 0.4, 0.6 + p.detach() * 0.4):
        torch.testing.assert_close(relaxed(y, moved), by_mean(y, moved))


def test_a_check_of_arguments_is_no_branch_of_the_result():
    report = bevel.audit(LOSSES["accuracy_with_checks"].fn, *tensors("accuracy_with_checks"), wrt=1)
    lines = {f.loc.text for f in report.findings if f.severity == "error"}
    assert len(lines) == 1
    assert ">= 0.5" in lines.pop()


def test_what_goes_through_numpy_is_refused_at_its_line():
    y, p = tensors("by_numpy")
    with pytest.raises(bevel.errors.UnknownOperationError, match="py_call") as caught:
        bevel.relax(LOSSES["by_numpy"].fn, wrt=1)(y, p)
    assert ".numpy()" in caught.value.loc.text


def test_python_and_numpy_are_themselves_again_after_a_trace():
    def lengths(y, p):
        return torch.tensor(float(len(p)) / max(len(y), 1)) * p.sum()

    bevel.trace(lengths, *drawn())
    assert "float" not in globals()
    assert "len" not in globals()
    assert torch.autograd.Function.apply.__module__ == "torch.autograd.function"


def test_an_error_of_the_function_is_shown_at_its_line():
    def broken(y, p):
        return (y[:3] * p).sum()

    with pytest.raises(bevel.errors.TraceError) as caught:
        bevel.trace(broken, *drawn())
    assert "y[:3] * p" in caught.value.loc.text


def test_views_that_are_written_through_each_other():
    def tangled(y, p):
        grid = p.reshape(4, 6).clone()
        row, column = grid[1], grid[:, 2]
        row += 1
        column[0] = row[2]
        grid.t()[3] *= 2
        flat = grid.view(-1)
        flat[5:7] = column[:2]
        return (flat * y).sum() + row.sum() + column.sum()

    y, p = drawn()
    trace = frontends.frontend().trace(tangled, (y, p), {})
    (found,) = frontends.executor().run_program(trace.program, [y, p, *trace.captured])
    exact = tangled(y, p)
    torch.testing.assert_close(found, exact)
    torch.testing.assert_close(torch.autograd.grad(found, p)[0], torch.autograd.grad(exact, p)[0])


def counted_one_by_one(y_true, y_pred):
    table = torch.zeros(3, 3)
    for i in range(len(y_true)):
        table[y_true[i], y_pred[i].long()] += 1
    return table


def test_counting_in_a_loop_adds_up_whatever_the_order():
    labels, numbers = torch.tensor([0, 2, 1, 2, 0, 1]), torch.tensor([0.2, 2.1, 1.4, 0.7, 1.9, 2.6])
    soft = bevel.relax(counted_one_by_one)
    there, back = soft(labels, numbers), soft(labels.flip(0), numbers.flip(0))
    torch.testing.assert_close(there, back)
    torch.testing.assert_close(there.sum(), torch.tensor(6.0))


def test_a_confusion_matrix_of_keras_is_one_operation():
    def matrix(y_true, y_pred):
        pairs = keras.ops.stack([y_true, keras.ops.cast(y_pred, "int64")], axis=1)
        return keras.ops.scatter(pairs, keras.ops.ones_like(y_pred), (3, 3))

    labels, numbers = torch.zeros(500, dtype=torch.int64), torch.rand(500) * 2.9
    program = bevel.trace(matrix, labels, numbers)
    assert len(program.nodes) < 20
    assert [n.op for n in program.nodes if n.op.startswith("scatter")] == ["scatter_add"]


BOX = torch.rand(4, 3, 3, 5, generator=torch.Generator().manual_seed(1))
ROW, COLUMN = torch.triu_indices(3, 3, 1)
TWICE = torch.tensor([0, 0, 1])
LOOK_UPS = {
    "neighbours": lambda p: p[:, ROW, COLUMN],
    "apart": lambda p: p[ROW, :, COLUMN],
    "last-two": lambda p: p[:, :, ROW, COLUMN],
    "ends": lambda p: p[ROW, :, :, COLUMN],
    "two-of-each": lambda p: p[:, ROW[:, None], COLUMN[None]],
    "a-mask-and-a-position": lambda p: p[torch.tensor([True, False, True, False]), TWICE[:2]],
    "largest-of-groups": lambda p: torch.zeros(2, 3, 3, 5).scatter_reduce(
        0, torch.tensor([0, 0, 1, 1])[:, None, None, None].expand(4, 3, 3, 5), p, "amax"
    ),
    "twice-the-rows": lambda p: torch.zeros(2, 3, 3, 5).index_add(
        0, torch.tensor([0, 0, 1, 1]), p, alpha=2
    ),
}


@pytest.mark.parametrize("name", LOOK_UPS)
def test_look_ups_by_hard_positions_pass_values_and_gradients(name):
    def total(w, p):
        return (LOOK_UPS[name](p) * w).sum()

    p = BOX.clone().requires_grad_()
    w = torch.rand(LOOK_UPS[name](BOX).shape)
    found, exact = bevel.relax(total)(w, p), total(w, p)
    torch.testing.assert_close(found, exact)
    torch.testing.assert_close(torch.autograd.grad(found, p)[0], torch.autograd.grad(exact, p)[0])
    assert bevel.audit(total, w, BOX).verdict == "trains"


def test_soft_positions_behind_a_whole_axis_tend_to_the_hard_ones():
    def at_the_largest(p):
        return p[:, p[0, :, 0].argmax(0), p[1, 0].argmax(0)]

    cold = bevel.relax(at_the_largest, temperature=1e-4)(BOX)
    torch.testing.assert_close(cold, at_the_largest(BOX), atol=0.02, rtol=0)


def test_columns_of_a_table_of_positions_stay_soft_positions():
    found, expected = relaxed_and_by_weights()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_step_with_a_declared_gradient_is_a_straight_through_estimator():
    y, p = torch.tensor([0.3, 1.8, -0.7, 0.1]), torch.tensor([0.6, 0.9, -1.7, 0.4])
    report = bevel.audit(lambda y, p: ((Rounding.apply(p) - y) ** 2).mean(), y, p)
    assert {f.code for f in report.findings} == {"B403"}, str(report)


def test_torch_equal_asks_for_a_truth():
    def accuracy(y, scores):
        hits = 0.0
        for i in range(len(scores)):
            if torch.equal(scores[i].argmax(), y[i]):
                hits += 1
        return torch.tensor(hits / len(scores))

    y, scores = torch.tensor([0, 2, 1]), torch.randn(3, 3, generator=torch.manual_seed(0))
    assert bevel.audit(accuracy, y, scores).verdict == "blocked"
    scores.requires_grad_()
    (found,) = torch.autograd.grad(bevel.relax(accuracy)(y, scores), scores)
    assert (found != 0).all()


PICKED = {
    "spread": lambda y, p: y[p > 0.4].std() + p[p > 0.4].var(unbiased=False),
    "columns": lambda y, p: torch.stack([p, y], 1)[p > 0.4].var(0).sum(),
    "product": lambda y, p: (1 + p[p > 0.4]).prod(),
    "median": lambda y, p: p[p > 0.4].median(),
    "quantile": lambda y, p: torch.quantile(p[p > 0.4], 0.3),
    "largest": lambda y, p: torch.topk(p[p > 0.4], 2).values.sum(),
    "span": lambda y, p: p[p > 0.4][:3].sum() + (y * p)[p > 0.4][-2:].sum(),
    "last": lambda y, p: p[p > 0.4][-1] + p[p > 0.4][0],
    "sorted": lambda y, p: y[p > 0.4][torch.sort(p[p > 0.4], descending=True).indices[0]],
    "best": lambda y, p: torch.stack([p, y], 1)[p > 0.4][p[p > 0.4].argmax(), 1],
    "differences": lambda y, p: torch.diff(y[p > 0.4]).abs().mean() + p[p > 0.4].diff().std(),
    "places": lambda y, p: ((p > 0.4).nonzero().squeeze()[1:].float() ** 2).mean(),
    "both": lambda y, p: torch.cat(
        [p[p > 0.4].view(-1, 1), y[p < 0.4].unsqueeze(1), y[:, None]]
    ).std(),
    "as many": lambda y, p: torch.nn.functional.mse_loss(p[p > 0.4], torch.ones_like(p[p > 0.4])),
    "nearest": lambda y, p: torch.cdist((p > 0.4).nonzero().float(), y[:, None]).min(0)[0].sum(),
    "scattered": lambda y, p: (torch.zeros(9).masked_scatter(p > 0.4, p[p > 0.4]) - y).abs().sum(),
    "bins": lambda y, p: (torch.histc(p[p > 0.4], 3, 0.0, 1.0) ** 2).sum(),
    "distinct": lambda y, p: (
        (torch.unique(p.view(3, 3).argmax(1), return_counts=True)[1] ** 2).sum() + p[p > 0.4].sum()
    ),
    "again": lambda y, p: y[p > 0.4][p[p > 0.4] > 0.5].sum(),
    "positions": lambda y, p: y[torch.where(p > 0.4)[0][torch.where(p[p > 0.4] < 0.8)[0]]].sum(),
    "first": lambda y, p: y[p > 0.4][torch.where(p[p > 0.4] == p[p > 0.4].max())[0][0]],
}


@pytest.mark.parametrize("name", PICKED)
def test_what_is_asked_of_picked_rows_has_its_hard_limit_and_a_gradient(name):
    rng = np.random.default_rng(2)
    y, p = (torch.tensor(rng.random(9), dtype=torch.float32) for _ in range(2))
    limit = bevel.relax(PICKED[name], temperature=1e-4)(y, p)
    torch.testing.assert_close(limit, PICKED[name](y, p), atol=2e-3, rtol=0)
    p.requires_grad_()
    (found,) = torch.autograd.grad(bevel.relax(PICKED[name])(y, p), p)
    assert found.isfinite().all()
    assert (found != 0).sum() >= 8


def test_a_way_without_a_gradient_warns_at_its_branch_and_gives_zeros():
    def best_taken(y, p):
        taken = y[p > 2]
        if len(taken) > 0:
            return taken.max()
        return torch.tensor(0.0)

    y, p = drawn()
    with pytest.warns(bevel.errors.ConstantWarning, match="`best_taken`") as caught:
        value = bevel.relax(best_taken)(y, p)
    assert "if len(taken)" in linecache.getline(caught[0].filename, caught[0].lineno)
    (found,) = torch.autograd.grad(value, p)
    assert not found.any()


def test_a_gradient_that_cannot_be_taken_is_named_at_the_write():
    def shifted(y, p):
        e = torch.exp(p)
        e += 1
        return ((e - y) ** 2).mean()

    def cut(y, p):
        q = p * 2
        q.detach_()
        return ((q - y) ** 2).mean()

    def nearest(y, p):
        image, grid = torch.arange(16.0).reshape(1, 1, 4, 4), torch.stack([p, p], 1)
        how = {"mode": "nearest", "align_corners": False}
        found = torch.nn.functional.grid_sample(image, grid[None, None], **how)
        return ((found - y) ** 2).mean()

    y, p = drawn()
    wanted = {
        shifted: ("B106", "e += 1"),
        cut: ("B105", "detach_()"),
        nearest: ("B101", "grid"),
    }
    for fn, (code, text) in wanted.items():
        report = bevel.audit(fn, y, p)
        (finding,) = (f for f in report.findings if f.severity == "error")
        assert (report.verdict, finding.code) == ("blocked", code)
        assert text in finding.loc.text


def test_a_chain_of_calls_is_named_at_its_own_line():
    def chained(y, p):
        x = (
            p
            .reshape(-1, 3)
            .argmax(dim=1)
        )  # fmt: skip
        return (x - y[:1]).abs().mean()

    p = torch.rand(9, generator=torch.Generator().manual_seed(0))
    (finding,) = (f for f in bevel.audit(chained, p, p).findings if f.severity == "error")
    assert finding.loc.text.strip() == ".argmax(dim=1)"
