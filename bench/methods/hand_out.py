"""Models for a session: loaded outside of the clock, metered, in the suite's precision."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.accounting import resources
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
    log = session.log
    with resources.stopwatch(session.device) as watch:
        # hooks tie a model and its meter into a cycle: what was handed out before and dropped
        # goes now
        gc.collect()
        model = placed(lambda on: load(session.start, session.dtype, on), session.device)
        model.config.use_cache = False
        if session.padding_free:
            padding_free.turn_on(model)  # looks at the model, for which nobody is charged
        Meter(model, session._account, purpose)
        log.handed_out(model)
        compute_in(model, session.dtype)
        if session.checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if session.compiled:
            compile_layers(model)
    if not session.ledger.steps:
        log.memory.restart(session.device)
    session.ledger.paused += watch.seconds
    log.load_seconds += watch.seconds
    return model


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
