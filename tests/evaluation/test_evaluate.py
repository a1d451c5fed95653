"""Evaluation: greedy whatever a model would like, the same alone as in a batch, and drift against
outside arithmetic.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModelForCausalLM, PrefixTuningConfig, PromptTuningConfig
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from bench.data.lm_eval_yaml import read_lm_eval_yaml
from bench.data.tasks import Task
from bench.data.tokenize import encode_pairs
from bench.evaluation.drift import drift, drift_of_rows
from bench.evaluation.lm_eval import open_model, score
from bench.execution.evaluate import _summary
from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec
from bench.system.errors import UserError
from bench.tiny.tasks import items, tiny_task

SPEC = ModelSpec(path="tiny")
CPU = torch.device("cpu")
TOKENIZER = load_tokenizer(SPEC)
TEXTS = ["Anna Adler lives in Rome .", "20 and 10 make 30 .", "the largest of 70 13 37 is 70 ."]


def _tiny(noise: float = 0.0) -> PreTrainedModel:
    model = load_model(SPEC, torch.float32, CPU).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=noise)
    return model


def _told(_: float) -> None: ...


def test_drift_equals_scipy_and_the_model_loss() -> None:
    base, tuned = _tiny(), _tiny(0.05)
    found = drift(base, tuned, TEXTS, TOKENIZER, 64, _told)
    nll, kl, count = 0.0, 0.0, 0
    for text in TEXTS:
        ids = torch.tensor([[*TOKENIZER(text)["input_ids"], TOKENIZER.eos_token_id]])
        predicted = ids.shape[1] - 1
        nll += float(tuned(input_ids=ids, labels=ids).loss) * predicted
        p, q = (
            m(input_ids=ids).logits[0, :-1].double().softmax(-1).detach().numpy()
            for m in (base, tuned)
        )
        kl += float(sum(scipy.stats.entropy(p[i], q[i]) for i in range(predicted)))
        count += predicted
    assert found.tokens == count
    assert found.nll == pytest.approx(nll / count, rel=1e-5)
    assert found.kl == pytest.approx(kl / count, rel=1e-4)


PAIRS = [("add 20 and 10 ?", " 30"), ("copy a b c ?", " a b c"), ("largest of 7 1 3 ?", " 7")]


def _target_kl(base: Any, tuned: Any, pairs: list[tuple[str, str]], folder: Path | None) -> Any:
    rows = encode_pairs([p for p, _ in pairs], [c for _, c in pairs], TOKENIZER, 64)
    return drift_of_rows(base, tuned, rows, TOKENIZER, _told, folder)


def test_target_kl_equals_torch_and_scipy_at_the_completions_alone(tmp_path: Path) -> None:
    base, tuned = _tiny(), _tiny(0.05)
    by_scipy, by_torch, count = 0.0, 0.0, 0
    for prompt, completion in PAIRS:
        first = len(TOKENIZER(prompt)["input_ids"])
        whole = [*TOKENIZER(prompt + completion)["input_ids"], TOKENIZER.eos_token_id]
        ids = torch.tensor([whole])
        with torch.no_grad():
            log_p, log_q = (
                m(input_ids=ids).logits[0, first - 1 : -1].double().log_softmax(-1)
                for m in (base, tuned)
            )
        # torch's kl_div(log_q, log_p) is KL(p ‖ q): the base stands on the left
        by_torch += float(
            torch.nn.functional.kl_div(log_q, log_p, log_target=True, reduction="sum")
        )
        by_scipy += float(
            scipy.stats.entropy(log_p.exp().numpy(), log_q.exp().numpy(), axis=1).sum()
        )
        count += len(whole) - first
    for folder in (None, tmp_path, tmp_path):  # the second time from what was kept
        found = _target_kl(base, tuned, PAIRS, folder)
        assert found.tokens == count
        assert found.kl == pytest.approx(by_torch / count, rel=1e-4)
        assert found.kl == pytest.approx(by_scipy / count, rel=1e-4)
    backwards = _target_kl(tuned, base, PAIRS, None).kl
    assert abs(backwards - found.kl) > 1e-3 * found.kl, "it has a direction"


@settings(max_examples=10, deadline=None)
@given(st.permutations(PAIRS), st.floats(0.01, 0.1))
def test_target_kl_is_positive_whatever_the_order_and_nothing_for_the_base(
    pairs: list[tuple[str, str]], noise: float
) -> None:
    base, tuned = _tiny(), _tiny(noise)
    assert _target_kl(base, base, pairs, None).kl == 0.0
    found = _target_kl(base, tuned, pairs, None)
    assert found.kl > 0
    each = [_target_kl(base, tuned, [pair], None) for pair in pairs]
    mean = sum(one.kl * one.tokens for one in each) / sum(one.tokens for one in each)
    assert found.kl == pytest.approx(mean, rel=1e-4)


@settings(max_examples=8, deadline=None)
@given(st.floats(0.0, 0.1))
def test_drift_of_a_model_from_itself_is_nothing_and_else_positive(noise: float) -> None:
    base, tuned = _tiny(), _tiny(noise)
    found = drift(base, tuned, TEXTS, TOKENIZER, 64, _told)
    assert found.kl >= 0
    assert noise < 1e-6 or found.kl > noise**2  # weights are float32: they round less noise away
    assert drift(tuned, tuned, TEXTS, TOKENIZER, 64, _told).kl == 0.0


@pytest.mark.parametrize("config", [PromptTuningConfig, PrefixTuningConfig])
def test_a_soft_prompt_answers_the_same_alone_as_in_a_batch(config: type) -> None:
    """Rows of different lengths in one batch must not be padded apart from their soft prompt."""
    torch.manual_seed(1)
    model = PeftModelForCausalLM(_tiny(), config(num_virtual_tokens=5, task_type="CAUSAL_LM"))
    prompts = [
        item.prompt for name in ("people", "sort", "add") for item in items(name, "test")[:6]
    ]
    alone = open_model(model, TOKENIZER, 1, CPU)
    together = open_model(model, TOKENIZER, 18, CPU)
    mine, ours = [], []
    for prompt in prompts:
        ids = torch.tensor([TOKENIZER(prompt)["input_ids"]])
        mine.append(
            alone._model_generate(ids, ids.shape[1] + 6, [], attention_mask=torch.ones_like(ids))[
                0, ids.shape[1] :
            ].tolist()
        )
    batch = TOKENIZER(prompts, return_tensors="pt", padding=True, padding_side="left")
    width = batch["input_ids"].shape[1]
    for row in together._model_generate(
        batch["input_ids"], width + 6, [], attention_mask=batch["attention_mask"]
    ):
        ours.append(row[width:].tolist())
    assert mine == ours


def test_decoding_is_greedy_even_if_the_model_and_the_task_ask_for_samples() -> None:
    model = _tiny()
    assert model.generation_config is not None
    model.generation_config.update(do_sample=True, temperature=5.0, top_k=0)
    task = tiny_task("tiny/last")
    assert isinstance(task.evaluation, dict)
    wild = {
        **task.evaluation,
        "generation_kwargs": {
            **task.evaluation["generation_kwargs"],
            "do_sample": True,
            "temperature": 5.0,
        },
    }
    lm = open_model(model, TOKENIZER, 64, CPU)
    found = score(lm, Task("wild", {}, wild, ""), "validation")[0]
    calm = score(open_model(_tiny(), TOKENIZER, 64, CPU), task, "validation")[0]
    assert found.items == calm.items
    assert lm.resolved is not None
    assert lm.resolved["do_sample"] is False
    assert lm.generated_tokens > 0


def test_a_multiple_choice_task_of_ones_own(tmp_path: Path) -> None:
    """The accuracy is that of comparing the likelihoods of both answers by hand."""
    rows = [item for item in items("largest", "test") if len(item.mistakes[0]) == 2][:20]
    (tmp_path / "test.jsonl").write_text(
        "\n".join(
            f'{{"q": "{item.prompt}", "right": "{item.answer}", "wrong": "{item.mistakes[0]}"}}'
            for item in rows
        )
    )
    (tmp_path / "task.yaml").write_text(
        "task: pick\ndataset_path: json\ndataset_kwargs: {data_files: {test:"
        " test.jsonl}}\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text:"
        " '{{q}}'\ndoc_to_choice: '{{[right, wrong]}}'\ndoc_to_target: 0\n"
    )
    model = _tiny(0.12)
    lm = open_model(model, TOKENIZER, 4, CPU)
    found = score(lm, Task("pick", {}, read_lm_eval_yaml(tmp_path / "task.yaml")[0], ""), "test")[0]

    def likelihood(prompt: str, answer: str) -> float:
        start = len(TOKENIZER(prompt)["input_ids"])
        ids = torch.tensor([TOKENIZER(f"{prompt} {answer}")["input_ids"]])
        logs = model(input_ids=ids).logits[0].log_softmax(-1)
        return sum(float(logs[i - 1, ids[0, i]]) for i in range(start, ids.shape[1]))

    by_hand = [
        float(likelihood(item.prompt, item.answer) > likelihood(item.prompt, item.mistakes[0]))
        for item in rows
    ]
    assert found.metric == "acc"
    assert [found.items[i] for i in range(len(rows))] == by_hand
    assert found.value == pytest.approx(sum(by_hand) / len(by_hand))
    assert 0 < found.value < 1
    assert math.isfinite(found.value)


LAST_WORD = """\
task: last-word
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl}}
test_split: test
output_type: loglikelihood
doc_to_text: '{{q}}'
doc_to_target: ' {{a}}'
metric_list:
  - {metric: perplexity, aggregation: perplexity, higher_is_better: false}
"""
ACC = "  - {metric: acc, aggregation: mean, higher_is_better: true}\n"


@pytest.mark.parametrize("also", ["", ACC])
def test_a_perplexity_is_no_mean_of_its_items(also: str, tmp_path: Path) -> None:
    """As lambada_openai is written, whose items are log-likelihoods."""
    rows = items("add", "validation")[:6]
    lines = (f'{{"q": "{item.prompt}", "a": "{item.answer}"}}\n' for item in rows)
    (tmp_path / "test.jsonl").write_text("".join(lines))
    (tmp_path / "task.yaml").write_text(LAST_WORD + also)
    lm = open_model(_tiny(), TOKENIZER, 4, CPU)
    group = score(lm, Task("it", {}, read_lm_eval_yaml(tmp_path / "task.yaml")[0], ""), "test")
    found = _summary(group)
    if also:
        assert (found["metric"], found["higher_is_better"]) == ("acc", True)
        assert found["items"] == len(rows) and 0 <= found["value"] <= 1
    else:
        assert (found["metric"], found["higher_is_better"]) == ("perplexity", False)
        assert found["items"] == 0 and found["value"] == group[0].value > 1


def test_a_missing_file_of_an_lm_eval_task_is_told(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(
        "task: x\ndataset_path: json\ndataset_kwargs: {data_files: {test: gone.jsonl}}\n"
    )
    with pytest.raises(UserError, match=r"gone\.jsonl"):
        read_lm_eval_yaml(tmp_path / "task.yaml")


def test_what_the_base_says_is_computed_once_and_kept(tmp_path: Path) -> None:
    base, tuned = _tiny(), _tiny(0.05)
    alone = drift(base, tuned, TEXTS, TOKENIZER, 64, _told)
    first = drift(base, tuned, TEXTS, TOKENIZER, 64, _told, tmp_path)
    [kept] = tmp_path.iterdir()
    calls: list[Any] = []
    base.base_model.register_forward_pre_hook(lambda *_: calls.append(1))
    assert drift(base, tuned, TEXTS, TOKENIZER, 64, _told, tmp_path) == first
    assert not calls, "the base was asked again"
    assert first.kl == pytest.approx(alone.kl, rel=1e-6)
    drift(base, tuned, TEXTS[:2], TOKENIZER, 64, _told, tmp_path)
    assert calls and len(list(tmp_path.iterdir())) == 2, "other texts are other states"
    assert kept.stat().st_size < 20_000
    taken = tmp_path / "taken"
    taken.write_text("a file where a folder belongs")
    assert drift(base, tuned, TEXTS, TOKENIZER, 64, _told, taken) == first


def test_a_model_that_does_more_than_its_head_is_asked_itself(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "gemma2", vocab_size=len(TOKENIZER), hidden_size=16, intermediate_size=16,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        final_logit_softcapping=0.1,
    )  # fmt: skip
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(config).eval()
    found = drift(base, base, TEXTS, TOKENIZER, 64, _told, tmp_path)
    assert found.kl == 0 and found.nll == found.base_nll
    assert not list(tmp_path.iterdir())
