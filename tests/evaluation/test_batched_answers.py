"""However rows are batched, a model answers as it does when asked one row at a time."""

from __future__ import annotations

import random
from typing import Any

import peft
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import GPT2Config, GPT2LMHeadModel, MambaConfig, MambaForCausalLM

from bench.evaluation import likelihood
from bench.evaluation.lm_eval import open_model
from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec
from bench.tiny.tasks import items

SPEC = ModelSpec(path="tiny")
CPU = torch.device("cpu")
TOKENIZER = load_tokenizer(SPEC)
ALL = ["q_proj", "v_proj", "down_proj"]
FAMILIES: dict[str, Any] = {
    "whole": None,
    "gpt2": None,
    "mamba": None,
    "lora": lambda: peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=ALL),
    "dora": lambda: peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=ALL, use_dora=True),
    "alora": lambda: peft.LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules=ALL, alora_invocation_tokens=[7]
    ),
    "ia3": lambda: peft.IA3Config(
        task_type="CAUSAL_LM", target_modules=ALL, feedforward_modules=["down_proj"]
    ),
    "oft": lambda: peft.OFTConfig(task_type="CAUSAL_LM", target_modules=ALL, oft_block_size=16),
    "lily": lambda: peft.LilyConfig(task_type="CAUSAL_LM", r=4, target_modules=ALL),
    "adaption": lambda: peft.AdaptionPromptConfig(
        task_type="CAUSAL_LM", adapter_len=4, adapter_layers=2
    ),
    "prompt": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "p-tuning": lambda: peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "prefix": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
}


def _model(family: str) -> Any:
    """A model of a family whose every weight counts."""
    torch.manual_seed(3)
    if family == "gpt2":  # learned positions
        shape = GPT2Config(
            vocab_size=len(TOKENIZER), n_embd=32, n_layer=2, n_head=2, n_positions=64
        )
        model: Any = GPT2LMHeadModel(shape)
    elif family == "mamba":  # a state, and no attention
        state = MambaConfig(
            vocab_size=len(TOKENIZER), hidden_size=32, state_size=4, num_hidden_layers=2
        )
        model = MambaForCausalLM(state)
    else:
        model = load_model(SPEC, torch.float32, CPU)
    if FAMILIES[family]:
        model = peft.get_peft_model(model, FAMILIES[family]())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return model.eval()


def _questions() -> list[tuple[Any, list[int], list[int]]]:
    """With shared contexts and without, of one token and of several."""
    chance, rows = random.Random(0), []
    for number in range(12):
        context = [chance.randrange(5, 200) for _ in range(chance.randrange(3, 20))]
        for choice in range(chance.randrange(1, 5)):
            said = [chance.randrange(5, 200) for _ in range(1 if number % 3 else choice + 2)]
            rows.append((None, context, said))
    return rows


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_are_those_of_one_row_at_a_time(family: str) -> None:
    lm = open_model(_model(family), TOKENIZER, 16, CPU)
    rows = _questions()
    found = lm._loglikelihood_tokens(rows, disable_tqdm=True)
    alone = [
        HFLM._loglikelihood_tokens(lm, [row], disable_tqdm=True, override_bs=1)[0]  # pyright: ignore
        for row in rows
    ]
    assert [said for _, said in found] == [said for _, said in alone]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in alone], rel=1e-4)


def _prompts() -> list[str]:
    return [item.prompt for task in ("people", "sort", "add") for item in items(task, "test")[:5]]


def _answers(lm: Any, asked: list[str]) -> list[str]:
    given = {"until": ["."], "max_gen_toks": 6}
    requests = [Instance("generate_until", {}, (text, given), 0) for text in asked]
    return lm.generate_until(requests, disable_tqdm=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_generated_answers_are_those_of_one_row_at_a_time(family: str) -> None:
    lm = open_model(_model(family), TOKENIZER, 32, CPU)
    prompts = _prompts()
    assert _answers(lm, prompts) == [_answers(lm, [prompt])[0] for prompt in prompts]


@pytest.mark.parametrize("room", [1, 3])
def test_what_does_not_fit_the_memory_is_halved(room: int) -> None:
    model = _model("whole")
    lm = open_model(model, TOKENIZER, 32, CPU)
    prompts, rows = _prompts(), _questions()
    with_room = _answers(lm, prompts), lm._loglikelihood_tokens(rows)
    most: list[int] = []

    def look(layer: Any, given: Any) -> None:
        most.append(len(given[0]))
        if most[-1] > room:
            raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")

    model.model.layers[1].register_forward_pre_hook(look)
    lm._way = "by row"  # the sample that decides it has more rows than there is room for
    assert _answers(lm, prompts) == with_room[0]
    said = lm._loglikelihood_tokens(rows)
    assert [value for value, _ in said] == pytest.approx([v for v, _ in with_room[1]], rel=1e-4)
    assert max(most) > room


def test_other_errors_of_an_answer_are_not_tried_again() -> None:
    model = _model("whole")
    lm = open_model(model, TOKENIZER, 32, CPU)
    calls: list[int] = []

    def look(layer: Any, given: Any) -> None:
        calls.append(1)
        raise RuntimeError("broken")

    model.model.layers[1].register_forward_pre_hook(look)
    lm._batches = True
    with pytest.raises(RuntimeError, match="broken"):
        _answers(lm, _prompts())
    assert len(calls) == 1


def test_a_single_row_that_does_not_fit_is_out_of_memory() -> None:
    model = _model("whole")
    lm = open_model(model, TOKENIZER, 4, CPU)
    lm._batches = True

    def look(layer: Any, given: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")

    model.model.layers[1].register_forward_pre_hook(look)
    with pytest.raises(torch.OutOfMemoryError):
        _answers(lm, _prompts())


@pytest.mark.parametrize("family", ["whole", "prompt", "p-tuning", "prefix"])
def test_a_shared_context_passes_once_and_a_soft_prompt_with_none_of_them(family: str) -> None:
    model = _model(family)
    backbone = model.model if family == "whole" else model.get_base_model().model
    seen: list[int] = []

    def look(_: Any, __: Any, given: Any) -> None:
        ids = given["input_ids"]
        assert ids is not None, "a soft prompt passes with the text"
        seen.append(int(given["attention_mask"][:, -ids.shape[1] :].sum()))

    context, choices = tuple(range(10, 40)), [(50,), (51, 52), (53, 54, 55)]
    asked = [likelihood.Question(context, said) for said in choices]
    other = likelihood.Question((7, 8, 9), (60, 61))  # one that shares nothing
    one = likelihood.Likelihoods(model, 0, CPU, 64)
    one.of([*asked, other])  # the first questions decide how others are asked
    backbone.register_forward_pre_hook(look, with_kwargs=True)
    one.of([*asked, other])
    assert sum(seen) == len(context) + sum(len(said) - 1 for said in choices) + other.length
