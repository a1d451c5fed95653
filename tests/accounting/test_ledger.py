"""The ledger against torch's own counter of operations, and against plain counting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import (
    GraloraConfig,
    HRAConfig,
    LoraConfig,
    MissConfig,
    OFTConfig,
    PeftModelForCausalLM,
    PrefixTuningConfig,
    PromptTuningConfig,
    ShiraConfig,
)
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from bench import token_losses
from bench.accounting.budget import Budget
from bench.accounting.ledger import Account, BudgetSpent, Ledger
from bench.accounting.metering import Meter
from bench.data.tokenize import pack
from bench.models import labelled
from bench.models.load import load_tokenizer
from bench.models.spec import ModelSpec

from .counted import CPU_ATTENTION, metered

TOKENIZER = load_tokenizer(ModelSpec(path="tiny"))


def _llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=320,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


ADAPTED: dict[str, Callable[[PreTrainedModel], Any]] = {
    "full": lambda m: m,
    "lora": lambda m: PeftModelForCausalLM(
        m, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")
    ),
    "lora-qv": lambda m: PeftModelForCausalLM(
        m, LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    ),
    "modules-to-save": lambda m: PeftModelForCausalLM(  # copies of what the meter sits on
        m,
        LoraConfig(
            r=8,
            target_modules=["q_proj", "v_proj"],
            modules_to_save=["embed_tokens", "lm_head"],
            ensure_weight_tying=True,
            task_type="CAUSAL_LM",
        ),
    ),
    "prompt": lambda m: PeftModelForCausalLM(
        m, PromptTuningConfig(num_virtual_tokens=20, task_type="CAUSAL_LM")
    ),
    "prefix": lambda m: PeftModelForCausalLM(
        m, PrefixTuningConfig(num_virtual_tokens=20, task_type="CAUSAL_LM")
    ),
}


WITHOUT_LAYERS: dict[str, Callable[[], Any]] = {
    "miss-bat": lambda: MissConfig(
        r=16, init_weights="bat", target_modules="all-linear", task_type="CAUSAL_LM"
    ),
    "hra": lambda: HRAConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"),
    "shira": lambda: ShiraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    "oft": lambda: OFTConfig(oft_block_size=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    "gralora": lambda: GraloraConfig(
        r=8, gralora_k=2, target_modules="all-linear", task_type="CAUSAL_LM"
    ),
}
"""Adapters that compute with the weights themselves, or in blocks, and call no layer that a hook
could sit on.
"""


@pytest.mark.parametrize("kind", WITHOUT_LAYERS)
def test_adapters_that_pass_their_layers_by_are_charged_all_the_same(kind: str) -> None:
    base = _llama()
    ledger = metered(base)
    model = PeftModelForCausalLM(base, WITHOUT_LAYERS[kind]())
    for rows in (4, 1):  # a weight has as many entries as 256 tokens have hidden states
        ids = torch.randint(3, 320, (rows, 64))
        before = ledger.spent("flops")
        with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
            model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
        assert ledger.spent("flops") - before == pytest.approx(counter.get_total_flops(), rel=0.05)


@pytest.mark.parametrize("length", [32, 512])
@pytest.mark.parametrize("kind", ADAPTED)
def test_training_flops_are_within_5_percent_of_torch(kind: str, length: int) -> None:
    base = _llama()
    ledger = metered(base)
    model = ADAPTED[kind](base)
    ids = torch.randint(3, 320, (4, length))
    for _ in range(2):  # the first pass probes the model, the second uses what was found
        before = ledger.spent("flops")
        with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
            model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
        assert ledger.spent("flops") - before == pytest.approx(counter.get_total_flops(), rel=0.05)
    assert ledger.spent("tokens") == 2 * 4 * length
    assert ledger.spent("samples") == 8


@pytest.mark.parametrize("kind", ADAPTED)
def test_the_head_is_charged_for_labelled_tokens_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = _llama()
    ledger = metered(base)
    model = ADAPTED[kind](base)
    batch = {"input_ids": torch.randint(3, 320, (4, 64))}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    batch["labels"] = batch["input_ids"].where(torch.arange(64) >= 60, -100)
    said = 0.0
    for _ in range(2):
        before = ledger.spent("flops")
        with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
            token_losses(model, batch).sum().backward()
        said = ledger.spent("flops") - before
        assert said == pytest.approx(counter.get_total_flops(), rel=0.03)
    monkeypatch.setattr(labelled, "LOGITS_AT_ONCE", 5 * 320)
    before = ledger.spent("flops")
    token_losses(model, batch).sum().backward()
    assert ledger.spent("flops") - before == said, "what is computed anew is charged once"


@pytest.mark.parametrize("length", [32, 512])
@pytest.mark.parametrize("kind", ADAPTED)
def test_generation_flops_are_within_5_percent_of_torch(kind: str, length: int) -> None:
    base = _llama()
    ledger = metered(base)
    model = ADAPTED[kind](base).eval()
    ids = torch.randint(3, 320, (4, length))
    counted = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
    with counted as counter, torch.no_grad(), ledger.passes_for("rollout"):
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=8,
            min_new_tokens=8,
            do_sample=False,
            use_cache=True,
        )
    assert out.shape[1] == length + 8
    assert ledger.spent("flops") == pytest.approx(counter.get_total_flops(), rel=0.05)
    # The last token that is generated is never passed through the model.
    assert ledger.spent("tokens") == 4 * (length + 7)
    assert set(ledger.by_purpose()) == {"rollout"}


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
    st.sampled_from(["full", "lora", "prompt", "prefix"]),
)
def test_tokens_are_exactly_the_data_in_the_mask(lengths: list[int], kind: str) -> None:
    base = _llama()
    ledger = metered(base)
    model = ADAPTED[kind](base)
    mask = torch.tensor([[1] * n + [0] * (12 - n) for n in lengths])
    model(input_ids=mask * 7, attention_mask=mask)
    assert ledger.spent("tokens") == sum(lengths)


def test_padding_costs_no_flops() -> None:
    base = _llama()
    ledger = metered(base)
    ids = torch.randint(3, 320, (2, 20))
    base(input_ids=ids, attention_mask=torch.ones_like(ids))
    plain = ledger.spent("flops")
    padded = torch.nn.functional.pad(ids, (0, 20))
    base(input_ids=padded, attention_mask=(padded != 0).long())
    assert ledger.spent("flops") == pytest.approx(2 * plain, rel=1e-6)


def test_a_spent_budget_stops_the_next_pass_but_not_the_present_batch() -> None:
    base = _llama()
    account = Account(Budget("tokens", 10), Ledger())
    Meter(base, account, "train")
    ids = torch.full((1, 8), 7)
    assert account.open_batch()
    base(input_ids=ids)
    base(input_ids=ids)  # over the budget now, within the batch that began before
    assert not account.open_batch()
    with pytest.raises(BudgetSpent, match="10 tokens"):
        base(input_ids=ids)


def test_an_optimizer_step_is_counted_and_is_a_boundary() -> None:
    base = _llama()
    ledger = Ledger()
    account = Account(Budget("steps", 1), ledger)
    Meter(base, account, "train")
    optimizer = torch.optim.SGD(base.parameters(), lr=0.1)
    ids = torch.full((1, 8), 7)
    assert account.open_batch()
    base(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    assert ledger.spent("steps") == 1
    with pytest.raises(BudgetSpent):
        base(input_ids=ids)
    account.close()


@pytest.mark.parametrize("kind", ADAPTED)
def test_a_text_is_a_sample_whoever_reads_it(kind: str) -> None:
    base = _llama()
    ledger = metered(base)
    model = ADAPTED[kind](base).eval()
    ids = torch.randint(3, 320, (4, 16))
    mask = torch.ones_like(ids)
    model(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
    assert ledger.spent("samples") == 4
    with torch.no_grad(), ledger.passes_for("reference"):
        model(input_ids=ids, attention_mask=mask)
    assert ledger.by_purpose()["reference"]["samples"] == 4
    for number in (1, 2):
        with torch.no_grad(), ledger.passes_for("rollout"):
            model.generate(
                input_ids=ids[:2],
                attention_mask=mask[:2],
                num_return_sequences=3,
                do_sample=True,
                max_new_tokens=5,
                min_new_tokens=5,
                use_cache=True,
            )
        made = ledger.by_purpose()["rollout"]["samples"]
        assert made == 6 * number, "a completion is one sample, its prompt included"


def test_a_pass_that_goes_on_with_a_cache_reads_no_new_text() -> None:
    base = _llama().eval()
    ledger = metered(base)
    ids = torch.randint(3, 320, (2, 8))
    with torch.no_grad():
        cache = base(input_ids=ids, use_cache=True).past_key_values
        base(input_ids=ids[:, :1], past_key_values=cache, use_cache=True)
        assert ledger.spent("samples") == 2
        base(input_ids=ids, use_cache=True)
    assert ledger.spent("samples") == 4


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_a_packed_row_holds_as_many_samples_as_texts(words: list[int]) -> None:
    base = _llama()
    ledger = metered(base)
    packed = pack([" ".join("a" * n) for n in words], TOKENIZER, 32)
    base(input_ids=packed["input_ids"], position_ids=packed["position_ids"])
    assert ledger.spent("samples") == len(words)
