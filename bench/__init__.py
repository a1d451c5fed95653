"""bench: a benchmark harness for fine-tuning methods. These names are all that a method plugin
needs, and `load` and `run` all that a notebook does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.accounting.budget import Budget
    from bench.analysis.results import Results, load
    from bench.data.chat import Conversation
    from bench.data.formats import Format
    from bench.data.rewards.reward import Reward
    from bench.data.tasks import Task, UnknownTask
    from bench.execution.notebook import run
    from bench.methods.adaptable import Adaptable
    from bench.methods.learning import token_log_probs, token_logits, token_losses
    from bench.methods.method import Merger, Method, Weights
    from bench.methods.schedule import Diverged
    from bench.methods.scorer import load_scorer
    from bench.methods.search_space import Choice, LogRange, Range
    from bench.methods.session import Session, ValidationSession
    from bench.methods.teacher import load_teacher, teacher_obstacle
    from bench.models.dropout import without_dropout
    from bench.models.load import decoder_layers
    from bench.models.sharding import whole_weights
    from bench.models.shared import take_over
    from bench.system.errors import Skipped, UserError

__all__ = [
    "Adaptable",
    "Budget",
    "Choice",
    "Conversation",
    "Diverged",
    "Format",
    "LogRange",
    "Merger",
    "Method",
    "Range",
    "Results",
    "Reward",
    "Session",
    "Skipped",
    "Task",
    "UnknownTask",
    "UserError",
    "ValidationSession",
    "Weights",
    "decoder_layers",
    "load",
    "load_scorer",
    "load_teacher",
    "run",
    "take_over",
    "teacher_obstacle",
    "token_log_probs",
    "token_logits",
    "token_losses",
    "whole_weights",
    "without_dropout",
]

_HOMES = {
    "Adaptable": "methods.adaptable",
    "Budget": "accounting.budget",
    "Choice": "methods.search_space",
    "Conversation": "data.chat",
    "Diverged": "methods.schedule",
    "Format": "data.formats",
    "LogRange": "methods.search_space",
    "Merger": "methods.method",
    "Method": "methods.method",
    "Range": "methods.search_space",
    "Results": "analysis.results",
    "Reward": "data.rewards.reward",
    "Session": "methods.session",
    "Skipped": "system.errors",
    "Task": "data.tasks",
    "UnknownTask": "data.tasks",
    "UserError": "system.errors",
    "ValidationSession": "methods.session",
    "Weights": "methods.method",
    "decoder_layers": "models.load",
    "load": "analysis.results",
    "load_scorer": "methods.scorer",
    "load_teacher": "methods.teacher",
    "run": "execution.notebook",
    "take_over": "models.shared",
    "teacher_obstacle": "methods.teacher",
    "token_log_probs": "methods.learning",
    "token_logits": "methods.learning",
    "token_losses": "methods.learning",
    "whole_weights": "models.sharding",
    "without_dropout": "models.dropout",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: the command line must not wait for what it
    does not use.
    """
    if name not in __all__:
        raise AttributeError(f"module bench has no attribute {name}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
