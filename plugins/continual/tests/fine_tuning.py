"""What the tests of the methods against forgetting share."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from bench import Format, Method, Session, token_losses

LR = 1e-3
TUNED: dict[str, Any] = {"lr": LR}


def plain(session: Session) -> PreTrainedModel:
    """Supervised fine-tuning, written out."""
    model = session.model()
    optimizer = session.optimizer(model, LR)
    for batch in session.batches(Format.PROMPT_COMPLETION):
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    session.close()
    return model


def trained(method: Method, session: Session) -> PreTrainedModel | PeftModel:
    torch.manual_seed(session.seed)
    model = method.train(session)
    session.close()
    return model


def loaded(session: Session, state: dict[str, Tensor]) -> PreTrainedModel:
    """A model of that session with other weights."""
    model = session.model().eval()
    model.load_state_dict(state, strict=bool(state))
    return model


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def distance(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return float(torch.stack([(a - b).square().sum() for a, b in pairs]).sum().sqrt().detach())
