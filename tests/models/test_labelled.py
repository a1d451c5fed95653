"""Losses of labelled tokens equal those from all logits, and the head computes for them alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import (
    LoraConfig,
    PeftModelForCausalLM,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
)
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from bench import token_log_probs, token_logits, token_losses
from bench.models import labelled

VOCABULARY, IGNORED = 67, -100
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _llama() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=True))


def _adapted(config: Any) -> Any:
    return PeftModelForCausalLM(_llama(), config)


MODELS: dict[str, Callable[[], Any]] = {
    "full": _llama,
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0
        )
    ),
    "softcapping": lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=0.2)),
    "logits-scaling": lambda: GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=8.0)),
    "logit-scale": lambda: Cohere2ForCausalLM(Cohere2Config(**SMALL, logit_scale=0.25)),
    "lora": lambda: _adapted(LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")),
    "lora-on-the-head": lambda: _adapted(
        LoraConfig(
            target_modules=["q_proj", "lm_head"], init_lora_weights=False, task_type="CAUSAL_LM"
        )
    ),
    "head-saved": lambda: _adapted(
        LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM")
    ),
    "prompt": lambda: _adapted(PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")),
    "p-tuning": lambda: _adapted(PromptEncoderConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")),
    "prefix": lambda: _adapted(PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")),
}
PIECES = (10**6, 5)
"""Labelled tokens whose logits are made at once: all of them, or few."""


def _made(kind: str) -> Any:
    torch.manual_seed(0)
    model = MODELS[kind]()
    model.config.use_cache = False
    return model.train()


def _batch(mask: list[list[bool]]) -> dict[str, Tensor]:
    """Rows of different length, labelled where the mask says."""
    torch.manual_seed(1)
    asked = torch.tensor(mask)
    ids = torch.randint(3, VOCABULARY, asked.shape)
    lengths = torch.arange(asked.shape[0]) % 3
    attention = (torch.arange(asked.shape[1]) < asked.shape[1] - lengths[:, None]).long()
    labels = torch.where(asked & attention.bool(), ids, IGNORED)
    return {"input_ids": ids * attention, "attention_mask": attention, "labels": labels}


MASK = [[True] * 9, [False] * 9, [False] * 4 + [True] * 5, [True, False, True] * 3]


def _from_all_logits(model: Any, batch: dict[str, Tensor], temperature: float = 1) -> Tensor:
    labels = batch["labels"]
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    logits = model(**inputs).logits[:, -labels.shape[1] : -1].float()
    losses = cross_entropy(logits.transpose(1, 2) / temperature, labels[:, 1:], reduction="none")
    return losses[labels[:, 1:] != IGNORED]


def _loss_and_gradients(model: Any, losses: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The losses, and the gradient of a sum in which each has a weight of its own."""
    model.zero_grad()
    (losses * torch.linspace(0.5, 1.5, len(losses))).sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    return losses.detach(), [
        torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in trained
    ]


@pytest.mark.parametrize("kind", MODELS)
def test_logits_and_gradients_of_labelled_tokens_are_those_of_all(kind: str) -> None:
    model, batch = _made(kind), _batch(MASK)
    learned = (batch["labels"] != IGNORED)[:, 1:]
    torch.manual_seed(2)
    said, gradients = _loss_and_gradients(model, token_logits(model, batch).sum(1))
    torch.manual_seed(2)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    every = model(**inputs).logits[:, -learned.shape[1] - 1 : -1].float()
    expected, plain = _loss_and_gradients(model, every[learned].sum(1))
    assert said.shape == (int(learned.sum()),)
    assert torch.allclose(said, expected, atol=1e-5)
    for one, other in zip(gradients, plain, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.fixture(params=PIECES, ids=["at-once", "in-pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(labelled, "LOGITS_AT_ONCE", request.param * VOCABULARY)
    return request.param


@pytest.mark.parametrize("kind", MODELS)
def test_losses_and_gradients_are_those_of_all_logits(kind: str, pieces: int) -> None:
    model, batch = _made(kind), _batch(MASK)
    torch.manual_seed(2)
    said, gradients = _loss_and_gradients(model, token_losses(model, batch))
    torch.manual_seed(2)
    expected, plain = _loss_and_gradients(model, _from_all_logits(model, batch))
    assert said.shape == expected.shape
    assert torch.allclose(said, expected, atol=1e-6, rtol=0)
    assert max(float(gradient.abs().max()) for gradient in plain) > 1e-4
    for one, other in zip(gradients, plain, strict=True):
        assert torch.allclose(one, other, atol=1e-6, rtol=1e-6)


def test_packed_texts_too(pieces: int) -> None:
    model, batch = _made("full"), _batch([[True] * 9] * 2)
    del batch["attention_mask"]
    batch["position_ids"] = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4]] * 2)
    said, gradients = _loss_and_gradients(model, token_losses(model, batch))
    expected, plain = _loss_and_gradients(model, _from_all_logits(model, batch))
    assert torch.allclose(said, expected, atol=1e-6, rtol=0)
    for one, other in zip(gradients, plain, strict=True):
        assert torch.allclose(one, other, atol=1e-6, rtol=1e-6)


masks = st.integers(2, 7).flatmap(
    lambda width: st.lists(
        st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=4
    )
)


@settings(max_examples=40, deadline=None)
@given(masks, st.sampled_from(["full", "prompt"]), st.integers(1, 9), st.floats(0.5, 2.0))
def test_any_labels_have_their_losses_and_their_places(
    mask: list[list[bool]], kind: str, piece: int, temperature: float
) -> None:
    model, batch = _made(kind), _batch(mask)
    asked = batch["labels"][:, 1:] != IGNORED
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(labelled, "LOGITS_AT_ONCE", piece * VOCABULARY)
        losses, placed = token_losses(model, batch), token_log_probs(model, batch, temperature)
        plain, warm = _from_all_logits(model, batch), _from_all_logits(model, batch, temperature)
    assert torch.allclose(losses, plain, atol=1e-6, rtol=0)
    assert torch.allclose(placed[asked], -warm, atol=1e-6, rtol=0)
    assert placed.shape == asked.shape
    assert not placed[~asked].any()


@pytest.mark.parametrize("kind", ["full", "softcapping", "head-saved", "prompt"])
def test_no_more_logits_than_labels_are_made_and_few_at_once(kind: str, pieces: int) -> None:
    model, batch = _made(kind), _batch(MASK)
    asked = int((batch["labels"][:, 1:] != IGNORED).sum())
    with _heads_rows(model) as rows:
        losses = token_losses(model, batch)
    assert sum(rows) == asked
    assert max(rows) <= min(pieces, asked)
    with _heads_rows(model) as rows:
        losses.sum().backward()
    assert sum(rows) == (asked if pieces < asked else 0), "made anew rather than kept"


@contextmanager
def _heads_rows(model: Any) -> Iterator[list[int]]:
    """How many positions the output head gets in each call."""
    seen: list[int] = []
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[:-1].numel()))
    yield seen
    hook.remove()
