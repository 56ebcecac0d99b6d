"""PyTorch cases, with the symptom seen on torch 2.15.

The loss bodies are kept exactly as they are.
"""

import numpy as np
import torch
import torch.nn.functional as F

from .case import Case, R, f32, scores, series

GH = "https://github.com/"
PT = "https://discuss.pytorch.org/t/"

CASES = []


def case(name, url, symptom, blockers, goal, make, lower=True, **kw):
    def deco(fn):
        CASES.append(Case(name, url, "torch", symptom, blockers, goal, make, fn, lower, **kw))
        return fn
    return deco


@case("torch_direction_sign", GH + "snap-stanford/GEARS/issues/52", "zero", ["aten::sign"],
      "gene expression: predicted change must have the true sign", series(),
      title="A question about directional loss.", reported="reader: sign is not differentiable, term has no effect",
      fix="authors: 'this is an error', use tanh")
def torch_direction_sign(t, p):
    ctrl = t.mean()
    return torch.mean((torch.sign(t - ctrl) - torch.sign(p - ctrl)) ** 2)


def _mk_apart(seed):
    r = R(seed)
    a = r.rand(5, 2) * 3
    b = a + 6 + r.rand(5, 2)
    return f32(np.c_[a, a + 1 + r.rand(5, 2)], np.c_[b, b + 1 + r.rand(5, 2)])


@case("torch_box_iou_disjoint", GH + "lilanxiao/Rotated_IoU/issues/9", "zero", ["aten::clamp"],
      "box IoU loss when the boxes do not overlap yet", _mk_apart,
      title="backpropagation when Rotate_IOU = 0", reported="no gradient when boxes are disjoint",
      fix="author: use GIoU / DIoU", note="op is differentiable; the whole batch sits on the flat side of the clamp")
def torch_box_iou_disjoint(t, p):
    wh = (torch.minimum(t[:, 2:], p[:, 2:]) - torch.maximum(t[:, :2], p[:, :2])).clamp(min=0)
    inter = wh[:, 0] * wh[:, 1]
    area = lambda b: (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    return 1 - (inter / (area(t) + area(p) - inter)).mean()


@case("torch_hist_match", GH + "albrateanu/LYT-Net/issues/17", "none", ["aten::histc"],
      "low-light enhancement: match brightness histograms",
      lambda s: f32(R(s).rand(40), R(s + 1).rand(40) ** 2), title="The derivative for 'histc' is not implemented",
      reported="derivative for 'histc' is not implemented / does not require grad",
      fix="authors replaced it by Gaussian soft binning")
def torch_hist_match(t, p):
    a, b = torch.histc(t, 16, 0, 1), torch.histc(p, 16, 0, 1)
    return torch.mean(torch.abs(a / a.sum() - b / b.sum()))


def _mk_boxpx(seed):
    r = R(seed)
    a = 3 + 6 * r.rand(2)
    b = a + r.randn(2)
    return f32(np.r_[a, a + 8], np.r_[b, b + 7])


@case("torch_raster_box_iou", GH + "pytorch/pytorch/issues/2774", "none", ["aten::gt", "aten::lt"],
      "IoU of two rectangles counted on a pixel grid", _mk_boxpx, title="None Grad with Custom Loss",
      reported="forward and backward run, every .grad is None", fix="not seen")
def torch_raster_box_iou(t, p):
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    inside = lambda b: ((x > b[0]) & (y > b[1]) & (x < b[2]) & (y < b[3])).float()
    m, n = inside(t), inside(p)
    return 1 - (m * n).sum() / torch.clamp(m + n, max=1.0).sum()


@case("torch_peak_iou_where",
      PT + "custom-loss-function-iou-is-not-differentiable-can-you-create-a-differentiable-iou-loss-function-for-ml/148899",
      "none", ["aten::lt", "aten::where", "aten::logical_and"], "1-D peak detection: IoU of thresholded signal",
      lambda s: f32(R(s).rand(4, 32) > 0.6, R(s + 1).rand(4, 32)), lower=False,
      title="Custom loss function IoU is not differentiable. Can you create a differentiable IoU loss function for ML?",
      reported="element 0 of variables does not require grad", fix="not seen")
def torch_peak_iou_where(t, p):
    h = torch.where(p < 0.5, 0, 1)
    i = torch.logical_and(h, t).view(len(t), -1).sum(-1)
    u = torch.logical_or(h, t).view(len(t), -1).sum(-1)
    return ((i + 1e-6) / (u + 1e-6)).mean()


@case("torch_topk_recall", GH + "teddykoker/torchsort/issues/24", "none", ["aten::topk", "aten::scatter_"],
      "recall@k through a top-k selection mask", lambda s: f32(R(s).rand(3, 12) > 0.7, R(s + 1).randn(3, 12)),
      lower=False, title="differentiable top k indices", reported="values back-propagate, indices do not",
      fix="author: can be done from soft ranks (points to torchsort#19)")
def torch_topk_recall(t, p):
    k = p.topk(4, dim=1).indices
    m = torch.zeros_like(p).scatter_(1, k, 1.0)
    return ((m * t).sum(1) / t.sum(1).clamp(min=1)).mean()


@case("torch_dcg_argsort", GH + "google-research/fast-soft-sort/issues/13", "none", ["aten::sort", "aten::index"],
      "DCG: gains re-ordered by predicted score, y[argsort(x)]", scores(), lower=False,
      title="Does it make argsort differentiable too?", reported="library offers soft sort / soft rank, not soft argsort",
      fix="open, unanswered")
def torch_dcg_argsort(t, p):
    g = t[torch.argsort(p, descending=True)]
    return ((2.0 ** g - 1) / torch.log2(torch.arange(len(g)) + 2.0)).sum()


def _mk_asr(seed):
    r = R(seed)
    return r.randint(0, 6, 7).astype(np.float32), r.randn(8, 6).astype(np.float32)


@case("torch_word_error_rate", GH + "OpenNMT/OpenNMT-py/issues/1528", "none", ["aten::argmax", "py:Tensor.tolist"],
      "speech translation: word error rate as the loss", _mk_asr, title="Coverage loss option failing (WER question inside)",
      reported="'tips on how to implement WER as a loss? (python-Levenshtein)'", fix="none seen")
def torch_word_error_rate(t, logits):
    hyp, ref = logits.argmax(-1).tolist(), t.long().tolist()
    d = list(range(len(hyp) + 1))
    for i, a in enumerate(ref, 1):
        prev, d[0] = d[0], i
        for j, b in enumerate(hyp, 1):
            prev, d[j] = d[j], min(d[j] + 1, d[j - 1] + 1, prev + (a != b))
    return torch.tensor(d[-1] / len(ref))


def _mk_rep(seed):
    r = R(seed)
    return f32(np.stack([2 + 6 * r.rand(16), r.rand(16) > 0.3]), np.stack([2 + 6 * r.rand(16), r.randn(16)]))


@case("torch_repetition_count", GH + "confifu/RepNet-Pytorch/issues/6", "fine", ["aten::gt"],
      "count repetitions: sum of in-period flag / period length", _mk_rep, kind="partial",
      title="calculate the count value by denominator with + 1e-1", reported="-",
      fix="author: 'gradient won't flow, y2>0 is not differentiable'", note="row 0 (period) gets gradient, row 1 (flag) gets none")
def torch_repetition_count(t, p):
    n = lambda v: torch.sum((v[1] > 0).float() / (v[0] + 0.1))
    return (n(p) - n(t)) ** 2


@case("ctl_torch_sorted_quantiles", GH + "google-research/fast-soft-sort/issues/15", "fine", [],
      "1-D Wasserstein distance by sorting both samples", series(), kind="control",
      title="Understanding soft-sorting", reported="'both work!'", fix="author: torch.sort values do differentiate; soft sort only gives easier landscapes")
def ctl_torch_sorted(t, p):
    return F.mse_loss(torch.sort(p).values, torch.sort(t).values)


@case("ctl_torch_l1", "", "fine", [], "mean absolute error (kink at 0)", series(), kind="control", title="textbook control")
def ctl_torch_l1(t, p):
    return (t - p).abs().mean()
