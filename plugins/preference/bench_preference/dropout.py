"""Dropout off: a reference and a policy that has not moved yet must agree on every completion."""

from __future__ import annotations

from typing import Any


def disable_dropout(model: Any) -> Any:
    """The same model, which drops nothing even in training mode.

    As TRL's preference trainers do by default (`disable_dropout`). Beyond layers of dropout it
    covers the rates that some models keep as plain numbers, such as the attention's in Llama.
    """
    from torch.nn import Dropout

    for module in model.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if name.endswith("dropout") and isinstance(value, float):
                setattr(module, name, 0.0)
    return model
