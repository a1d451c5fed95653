"""One optimizer step's gradient, whatever the parts that its batch is split into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bench.data.tokenize import IGNORED

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from torch.optim import Optimizer

B = TypeVar("B")


def token_losses(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Negative log-likelihood in nats of every labelled token: float32, shape (labelled tokens,).

    `batch` is as a session gives it: labels of shape (rows, length), and what the model takes.
    Logits are computed for labelled tokens alone, a bounded number at once.
    """
    return _losses(model, batch, _labelled(batch), 1.0)


def token_log_probs(model: Any, batch: Mapping[str, Tensor], temperature: float = 1.0) -> Tensor:
    """Log-probability in nats of every labelled token but the first of a row: float32, shape (rows,
    length - 1), 0 where nothing is labelled. The sum over a row is the log-likelihood of its
    completion.

    `batch` is as for `token_losses`. Logits are divided by `temperature`.
    """
    labelled = _labelled(batch)
    losses = _losses(model, batch, labelled, temperature)
    return losses.new_zeros(labelled[:, 1:].shape).masked_scatter(labelled[:, 1:], -losses)


def token_logits(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Logits that predict every labelled token but the first of a row, one row after the other:
    float32, shape (labelled tokens, vocabulary).

    `batch` is as for `token_losses`. All logits are there at once: a batch that is too large for
    the memory is one for `micro`.
    """
    from bench.models.labelled import logits_at  # plugins import this when listed

    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    # the token in a column is predicted by the column before it
    return logits_at(model, inputs, _labelled(batch).roll(-1, 1)).float()


def _labelled(batch: Mapping[str, Tensor]) -> Tensor:
    """Which tokens are to be predicted, (rows, length): nothing stands before the first."""
    labelled = batch["labels"] != IGNORED
    labelled[:, 0] = False
    return labelled


def _losses(
    model: Any, batch: Mapping[str, Tensor], labelled: Tensor, temperature: float
) -> Tensor:
    from bench.models.labelled import negative_log_likelihoods  # plugins import this when listed

    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    return negative_log_likelihoods(model, inputs, batch["labels"], labelled, temperature)


def backward(batch: B, parts: int, loss_of: Callable[[B], Tensor], optimizer: Optimizer) -> Tensor:
    """Leave the gradient of the mean loss over all items in the parameters; gives that mean, which
    stays on the device: float64, shape ().

    How many items a batch holds is known only when its last part is done. So the parts add up
    gradients of sums over a guess, and what the guess is wrong by is mended once at the end.
    """
    pieces = list(split(batch, parts))
    total: Any = 0.0
    items, guess = 0, 0
    for piece in pieces:
        losses = one_per_item(loss_of(piece))
        guess = guess or max(1, len(losses) * len(pieces))
        (losses.sum() / guess).backward()
        total = total + losses.detach().sum()
        items += len(losses)
    if items != guess:
        for parameter in trained(optimizer):
            if parameter.grad is not None:
                parameter.grad.mul_(guess / max(items, 1))
    return total.double() / max(items, 1)


def one_per_item(losses: Tensor) -> Tensor:
    """What a method's `loss_of` gave. Raises `TypeError` where it is not one loss per item."""
    if losses.dim() != 1:
        raise TypeError(
            "loss_of must give one loss per item as a 1-D tensor, not one of shape"
            f" {tuple(losses.shape)}; bench.token_losses gives one per labelled token"
        )
    return losses


def trained(optimizer: Optimizer) -> list[Parameter]:
    """Every parameter that an optimizer steps."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def taken(optimizer: Optimizer) -> list[Tensor]:
    """The gradient of each parameter of an optimizer, which has none from here on."""
    found = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in trained(optimizer)]
    optimizer.zero_grad()  # lets go of the tensors found
    return found


def split(batch: B, parts: int) -> Iterator[B]:
    """A batch in so many parts of equal size, or fewer where it has not enough rows.

    What counts is their number: a row may be a group of completions, or several texts packed.
    """
    rows = _rows(batch)
    if parts == 1:
        yield batch
        return
    size = -(-rows // parts)
    for first in range(0, rows, size):
        yield _part(batch, slice(first, first + size))


def _rows(value: Any) -> int:
    """How many rows everything in a batch has. Raises `ValueError` where they differ."""
    found = set(_lengths(value))
    if len(found) != 1:
        raise ValueError(f"a batch has one entry per row in all it holds, not {sorted(found)}")
    return found.pop()


def _lengths(value: Any) -> Iterator[int]:
    from torch import Tensor

    if isinstance(value, Tensor):
        if value.dim():
            yield value.shape[0]
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _lengths(inner)
    elif _is_record(value):
        for inner in _inside(value).values():
            yield from _lengths(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield len(value)


def _part(value: Any, rows: slice) -> Any:
    from torch import Tensor

    if isinstance(value, Tensor):
        return value[rows] if value.dim() else value
    if isinstance(value, Mapping):
        return {name: _part(inner, rows) for name, inner in value.items()}
    if _is_record(value):
        inside = {name: _part(inner, rows) for name, inner in _inside(value).items()}
        kind: Any = type(value)
        return kind(**inside)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value[rows]
    return value


def _is_record(value: Any) -> bool:
    named = isinstance(value, tuple) and hasattr(value, "_fields")
    return named or (is_dataclass(value) and not isinstance(value, type))


def _inside(value: Any) -> dict[str, Any]:
    if isinstance(value, tuple):
        return value._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    return {f.name: getattr(value, f.name) for f in fields(value)}
