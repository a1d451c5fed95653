"""Models for a session: loaded outside of the clock, metered, in the suite's precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.accounting.metering import Meter
from bench.models import padding_free
from bench.models.compiled import compile_layers
from bench.models.precision import compute_in
from bench.models.sharding import placed
from bench.models.shared import share_frozen

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bench.methods.state import SessionState


def hand_out(
    session: SessionState, load: Callable[..., PreTrainedModel], purpose: str
) -> PreTrainedModel:
    """A model from the session's start, charged to a purpose. Loading it is not charged."""
    with session.loading():
        model = placed(lambda on: load(session.start, session.dtype, on), session.device)
        if session.padding_free:
            padding_free.turn_on(model)  # looks at the model, for which nobody is charged
        metered(session, model, purpose)
        if session.checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if session.compiled:
            compile_layers(model)
    return model


def metered(session: SessionState, model: PreTrainedModel, purpose: str) -> None:
    """Let a model of any kind charge its passes, and compute in the suite's precision."""
    model.config.get_text_config().use_cache = False
    Meter(model, session._account, purpose)
    session.log.handed_out(model)
    compute_in(model, session.dtype)


def adapted(session: SessionState, model: PreTrainedModel) -> Any:
    """A model that was handed out to be trained: with the session's adapter, if it has one."""
    if session.adapter is None:
        return model
    with_adapter = session.adapter.on(model, session)
    _share(session, model)
    return with_adapter


def frozen(session: SessionState, model: PreTrainedModel) -> PreTrainedModel:
    """A model that was handed out to be looked at: it never trains."""
    model.requires_grad_(False).eval()
    _share(session, model)
    return model


def _share(session: SessionState, model: PreTrainedModel) -> None:
    """Hold frozen weights once that another model of the session has too."""
    share_frozen(model, [other for other in session.log.models() if other is not model])
