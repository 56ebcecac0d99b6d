"""The metrics in PyTorch, line by line as in the other files of this folder."""

import torch
from torch.nn.functional import one_hot


def f1(y_true, y_pred):
    hit = (y_pred > 0.5).float()
    both = torch.sum(hit * y_true)
    return 2 * both / (torch.sum(hit) + torch.sum(y_true))


def accuracy_of_classes(y_true, y_pred):
    chosen = y_pred.argmax(dim=-1)
    right = torch.eq(chosen.int(), y_true)
    return torch.mean(right.float())


def precision(y_true, y_pred):
    hit = torch.ge(y_pred, 0.4).float()
    return torch.sum(hit * y_true) / hit.sum().clamp(min=1.0)


def intersection_over_union(y_true, y_pred):
    mask, truth = y_pred > 0.5, y_true > 0.5
    both = torch.sum(torch.logical_and(mask, truth).float())
    either = torch.sum(torch.logical_or(mask, truth).float())
    return both / either


def rounded_error(y_true, y_pred):
    return torch.mean(torch.abs(y_true - torch.round(y_pred)))


def direction(y_true, y_pred):
    same = torch.eq(torch.sign(y_pred), torch.sign(y_true))
    return torch.mean(same.float())


def direction_by_product(y_true, y_pred):
    return torch.mean(torch.sign(y_pred) * torch.sign(y_true))


def whole_units(y_true, y_pred):
    return torch.mean(torch.square(y_true - torch.floor(y_pred)))


def paid_units(y_true, y_pred):
    return torch.mean(torch.abs(y_true - torch.ceil(y_pred)))


def class_numbers(y_true, y_pred):
    stars = y_pred.int()
    return torch.mean(torch.square(y_true - stars.float()))


def rank_correlation(y_true, y_pred):
    ranks = torch.argsort(torch.argsort(y_pred)).float()
    theirs = torch.argsort(torch.argsort(y_true)).float()
    a, b = ranks - torch.mean(ranks), theirs - torch.mean(theirs)
    return torch.sum(a * b) / torch.sqrt(torch.sum(a * a) * torch.sum(b * b))


def gain_of_the_order(y_true, y_pred):
    order = torch.argsort(-y_pred)
    gains = y_true[order]
    places = torch.arange(1.0, 25.0)
    return torch.sum(gains / torch.log(1.0 + places))


def median_error(y_true, y_pred):
    errors = torch.sort(torch.abs(y_true - y_pred)).values
    return (errors[11] + errors[12]) / 2


def profit(y_true, y_pred):
    gain = torch.where(y_pred > 0.0, y_true, -0.1)
    return torch.mean(gain)


def profit_in_a_band(y_true, y_pred):
    inside = torch.logical_and(y_pred > -0.5, y_pred < 0.5)
    gain = torch.where(inside, 0.0, y_true * y_pred)
    return torch.mean(gain)


def balanced_accuracy(y_true, y_pred):
    hit = (y_pred > 0.5).float()
    sensitivity = torch.sum(hit * y_true) / torch.sum(y_true)
    specificity = torch.sum((1 - hit) * (1 - y_true)) / torch.sum(1 - y_true)
    return (sensitivity + specificity) / 2


def geometric_mean(y_true, y_pred):
    hit = (y_pred > 0.5).float()
    sensitivity = torch.sum(hit * y_true) / torch.sum(y_true)
    specificity = torch.sum((1 - hit) * (1 - y_true)) / torch.sum(1 - y_true)
    return torch.sqrt(sensitivity * specificity)


def exact_match(y_true, y_pred):
    right = torch.eq(y_pred > 0.5, y_true > 0.5)
    return torch.mean(torch.all(right, dim=-1).float())


def one_hit(y_true, y_pred):
    right = torch.logical_and(y_pred > 0.5, y_true > 0.5)
    return torch.mean(torch.any(right, dim=-1).float())


def wrong_labels(y_true, y_pred):
    wrong = torch.ne(y_pred > 0.5, y_true > 0.5)
    return torch.mean(torch.sum(wrong.float(), dim=-1))


def within_tolerance(y_true, y_pred):
    near = torch.lt(torch.abs(y_true - y_pred), 0.5)
    return torch.mean(near.float())


def ordered_pairs(y_true, y_pred):
    above = y_pred[:, None] > y_pred[None, :]
    better = (y_true[:, None] > y_true[None, :]).float()
    return torch.sum(better * above.float()) / torch.sum(better)


def confusion(y_true, y_pred):
    chosen = one_hot(y_pred.argmax(dim=-1), 4).float()
    table = torch.matmul(one_hot(y_true.long(), 4).float().T, chosen)
    right = torch.sum(table * torch.eye(4))
    return right / torch.sum(table)


def looked_up_price(y_true, y_pred):
    prices = torch.tensor([1.0, 4.0, 2.0, 0.5])
    return torch.mean(prices[y_pred.argmax(dim=-1)])


def margin(y_true, y_pred):
    return torch.mean(torch.relu(1.0 - (2 * y_true - 1) * y_pred))


def clipped_error(y_true, y_pred):
    return torch.mean(torch.abs(y_true - torch.clip(y_pred, -1.0, 1.0)))


def best_share(y_true, y_pred):
    return torch.mean((y_pred.amax(dim=-1) > 0.5).float())


def counted_bins(y_true, y_pred):
    low = torch.mean((y_pred < 0.3).float())
    high = torch.mean((y_pred > 0.7).float())
    middle = 1.0 - low - high
    return torch.abs(low - 0.2) + torch.abs(middle - 0.6) + torch.abs(high - 0.2)


def longest_run_of_losses(y_true, y_pred):
    money = torch.cumsum(torch.where(y_pred > 0.0, y_true, 0.0), 0)
    return torch.min(money) + torch.mean(money)


def top_share(y_true, y_pred):
    _, places = torch.topk(y_pred, 5)
    return torch.mean(y_true[places])


def matthews(y_true, y_pred):
    hit = (y_pred > 0.5).float()
    tp, fp = torch.sum(hit * y_true), torch.sum(hit * (1 - y_true))
    fn, tn = torch.sum((1 - hit) * y_true), torch.sum((1 - hit) * (1 - y_true))
    return (tp * tn - fp * fn) / torch.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def squared_error(y_true, y_pred):
    return torch.mean(torch.square(y_true - y_pred))
