"""Rewards of a task: right answers by outside standards, functions with TRL's signature,
classifiers, and what is told when one cannot be had.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.filters.extraction import RegexFilter
from transformers import AutoModelForSequenceClassification

from bench import Conversation, Format, Reward
from bench.accounting.budget import Budget
from bench.data.rewards import functions
from bench.data.rewards.verifiers import VERIFIERS, choice, exact, last_number, number
from bench.data.tasks import TaskSpec, find_task
from bench.models.load import load_tokenizer
from bench.models.spec import TINY, ModelSpec
from bench.system.errors import BrokenReward, UserError
from bench.testing import tiny_session
from bench.tiny.tasks import items

from ..conftest import Bench

# ── right answers ──

GSM8K = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nShe sold 72.\n#### 72"


@pytest.mark.parametrize(
    ("completion", "answer", "right"),
    [
        ("The answer is 72.", GSM8K, True),
        ("72 clips, that is $72.00", GSM8K, True),
        ("48 + 24 = 72, so 73", GSM8K, False),
        ("", GSM8K, False),
        ("It costs $1,234,567.50.", "#### 1234567.5", True),
        ("-5", "#### 5", False),
        ("it is −5", "-5.0", True),
        ("-$5", "$-5", True),
        ("9-3 is 6", "6", True),
        ("9-3", "3", True),
        ("1,2", "2", True),
        ("between .5 and 0.50", "1/0.5", True),
    ],
)
def test_numbers(completion: str, answer: str, right: bool) -> None:
    assert number(completion, answer, {}) == right


@pytest.mark.parametrize(
    "completion",
    ["The answer is 72.", "#### 72", "$1,234.50", "He has 5 - 3 = 2 left.", "So -17", "1,000,000"],
)
def test_the_last_number_is_that_of_lm_evals_flexible_extraction(completion: str) -> None:
    """The filter of lm-eval's gsm8k, and what its exact match ignores."""
    flexible = RegexFilter("(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)
    found = str(next(iter(flexible.apply([[completion]], [{}])))[0])
    assert last_number(completion) == last_number(
        found.replace(",", "").replace("$", "").rstrip(".")
    )


@given(st.integers(-(10**12), 10**12), st.integers(0, 99), st.booleans(), st.booleans())
def test_a_number_is_the_same_however_it_is_written(
    whole: int, cents: int, commas: bool, dollar: bool
) -> None:
    sign, digits = "-" if whole < 0 else "", f"{abs(whole):,}" if commas else str(abs(whole))
    written = f"{sign}{'$' * dollar}{digits}.{cents:02}"
    assert number(f"12 of them: {written}.", f"#### {sign}{abs(whole)}.{cents:02}00", {}) == 1
    assert number(f"{written} or 7.125", f"{sign}{abs(whole)}.{cents:02}", {}) == 0


@given(st.text())
def test_any_text_has_a_last_number_or_none(text: str) -> None:
    found = last_number(text)
    assert found is None or any(c in "0123456789" for c in text)
    assert exact(text, text, {}) == 1


@pytest.mark.parametrize(
    ("completion", "answer", "choices", "right"),
    [
        (" B", "B", None, True),
        ("(B) because A is wrong", "B", None, True),
        ("Bread", "B", None, False),
        ("the answer is **C**.", "C", None, True),
        ("It is a b", "B", None, False),
        ("Not sure", "A", None, False),
        ("I say Positive!", "positive", ["negative", "positive"], True),
        ("nonpositive", "positive", ["negative", "positive"], False),
        ("New York City", "New York", ["New York City", "New York"], False),
        ("B", "B", ["a dog", "a cat"], True),
    ],
)
def test_choices(completion: str, answer: str, choices: Any, right: bool) -> None:
    assert choice(completion, answer, {"choices": choices}) == right


def test_an_answer_that_cannot_be_right_is_told() -> None:
    with pytest.raises(BrokenReward, match="the answer 'none' holds no number"):
        number("3", "none", {})
    with pytest.raises(BrokenReward, match="the answer 'F' is none of A, B, C, D, E"):
        choice("F", "F", {})


def test_math_is_what_trls_accuracy_reward_says() -> None:
    pytest.importorskip("math_verify")
    from trl.rewards.accuracy_rewards import accuracy_reward

    said = [r"\boxed{\frac{1}{3}}", r"\boxed{0.5}", "no idea", r"$x = \frac{2}{6}$"]
    answers = [r"\frac{1}{3}", r"$\frac{1}{2}$", "$7$", r"$\frac{1}{3}$"]
    theirs = accuracy_reward([[{"role": "assistant", "content": s}] for s in said], answers)
    ours = [VERIFIERS["math"](s, a, {}) for s, a in zip(said, answers, strict=True)]
    assert ours == theirs


# ── functions ──

FUNCTIONS = """
calls = []

def short(prompts, completions, bonus, **columns):
    calls.append((prompts, completions, bonus, sorted(columns)))
    return [None if b < 0 else b - len(c) for c, b in zip(completions, bonus)]

def raises(completions, **columns):
    text = "unlucky"
    raise ValueError(f"{len(completions)} is {text}")

def leaves(completions, **columns):
    raise SystemExit

def few(completions, **columns):
    return [1.0] * 3

def nan(completions, **columns):
    return [0.0, float("nan")] * (len(completions) // 2)

def word(completions, **columns):
    return ["good"] * len(completions)

def nothing(completions, **columns):
    pass

def hangs(completions, **columns):
    while True:
        try:
            while True:
                pass
        except Exception:
            pass

async def later(completions, **columns):
    return [2] * len(completions)

def strict(prompts, completions):
    return [0.0] * len(completions)

number = 3
"""


def _given(count: int, **columns: list[Any]) -> dict[str, Any]:
    return {"prompts": ["p"] * count, "completions": ["ab"] * count, **columns}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("raises", "reward rewards.py:raises raised ValueError: 8 is unlucky, at line 10"),
        ("leaves", "reward rewards.py:leaves raised SystemExit, at line 13"),
        ("few", "reward rewards.py:few gave 3 rewards for 8 completions"),
        ("nan", "reward rewards.py:nan gave nan for completion 1, not a finite number or None"),
        ("word", "reward rewards.py:word gave 'good' for completion 0"),
        ("nothing", "reward rewards.py:nothing gave None, not a list of rewards"),
        ("hangs", "reward rewards.py:hangs took more than 0.2 s for 8 completions"),
        ("short", "reward rewards.py:short raised TypeError: short() missing 1 required"),
    ],
)
def test_a_broken_function_is_named_with_what_it_did(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "rewards.py").write_text(FUNCTIONS)
    with pytest.raises(BrokenReward) as error:
        functions.earned(f"rewards.py:{name}", tmp_path, 8, _given(8), limit=0.2)
    assert str(error.value).startswith(told)


def test_a_function_is_called_as_trl_calls_it(tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text(FUNCTIONS)
    session = tiny_session(tmp_path / "work")
    several = [{"rewards.py:short": 0.5}, {"rewards.py:later": 2}]
    session.task = replace(session.task, reward=Reward.of(several, tmp_path))
    rows = {"prompt": ["copy a ?"] * 2, "answer": ["a", "a"], "bonus": [7, -1]}
    earned = session.reward(rows, ["a", "b c"])
    assert earned.dtype == torch.float32
    assert earned.tolist() == [0.5 * 6 + 4, 4], "None counts nothing"
    [(prompts, completions, bonus, others)] = functions.ready(
        "rewards.py:short", tmp_path
    ).__globals__["calls"]
    assert (prompts, completions, bonus) == (["copy a ?"] * 2, ["a", "b c"], [7, -1])
    assert others == ["answer", "completion_ids", "log_extra", "log_metric", "trainer_state"]
    session.close()


def test_conversations_have_the_shape_that_trls_own_functions_read(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    thinks = Reward.of("trl.rewards:think_format_reward")
    session.task = replace(session.task, reward=thinks)
    talk = Conversation(({"role": "user", "content": "Why?"},))
    said = ["<think>\nhm\n</think>\nso", "so"]
    assert session.reward({"prompt": [talk] * 2}, said).tolist() == [1, 0]
    session.close()


def test_verifiers_know_the_most_that_can_be_earned() -> None:
    assert Reward.of("number").highest == 1
    assert Reward.of([{"number": 0.8}, {"exact": 0.2}, {"choice": -1}]).highest == 1
    assert Reward.of(["exact", "rewards.py:short"]).highest is None
    assert Reward.of({"model": "judge"}).highest is None


# ── classifiers ──

TALK = "user : copy a ? assistant : {} "
TEMPLATE = "{% for turn in messages %}{{ turn.role }} : {{ turn.content }} {% endfor %}"


def _judge(folder: Path, template: str | None = None, outputs: int = 1) -> Any:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        TINY, num_labels=outputs, dtype=torch.float32
    )
    model.save_pretrained(folder)
    tokenizer = load_tokenizer(ModelSpec(path="tiny"))
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return model.eval(), tokenizer


def test_a_classifier_judges_frozen_once_loaded_and_charged(tmp_path: Path) -> None:
    model, tokenizer = _judge(tmp_path / "judge", TEMPLATE)
    session = tiny_session(tmp_path / "work", Budget("steps", 4))
    session.task = replace(session.task, reward=Reward.of({"model": "./judge"}, tmp_path))
    said = [" a", " a b", " c"]
    talk = Conversation(({"role": "user", "content": "copy a ?"},))
    for prompt, whole in (("copy a ?", "<bos>copy a ?{}"), (talk, TALK)):
        earned = session.reward({"prompt": [prompt] * 3}, said)
        with torch.no_grad():
            read = [tokenizer(whole.format(t), add_special_tokens=False)["input_ids"] for t in said]
            alone = [float(model(torch.tensor([ids])).logits) for ids in read]
        assert earned.tolist() == pytest.approx(alone, abs=1e-4)
        assert len(set(alone)) == 3
    assert len(session.judges) == 1
    [judge] = session.judges.values()
    assert not any(p.requires_grad for p in judge.model.parameters())
    [(purpose, spent)] = session.ledger.by_purpose().items()
    assert purpose == "reward" and spent["tokens"] > 40 and spent["samples"] == 6
    session.close()


def test_a_classifier_without_its_head_or_template_is_refused(tmp_path: Path) -> None:
    _judge(tmp_path / "judge")
    session = tiny_session(tmp_path / "work")
    talk = Conversation(({"role": "user", "content": "copy a ?"},))
    session.task = replace(session.task, reward=Reward.of({"model": "judge"}, tmp_path))
    with pytest.raises(BrokenReward, match="its tokenizer has no chat template"):
        session.reward({"prompt": [talk]}, ["a"])
    session.task = replace(session.task, reward=Reward.of({"model": str(TINY)}))
    with pytest.raises(BrokenReward, match=r"it has no score\.weight"):
        session.reward({"prompt": ["copy a ?"]}, ["a"])
    session.close()


# ── in a suite ──

SUITE = """\
suite: own
model: tiny
target: sizes
budget: {tokens: 6k}
batch: {size: 8, max_length: 48}
seeds: 1
methods:
METHODS
tasks:
  sizes:
    prompt-only: {path: json, data_files: {train: rows.jsonl, validation: rows.jsonl}}
    reward: REWARD
    evaluate: sizes.yaml
"""
EVALUATION = """\
task: sizes
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], do_sample: false, max_gen_toks: 4}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


def _write(folder: Path, reward: str, methods: str = "  - raft", source: str = FUNCTIONS) -> None:
    rows = [
        json.dumps({"prompt": item.prompt, "answer": item.answer, "bonus": number % 5})
        for number, item in enumerate(items("largest", "train")[:64])
    ]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    (folder / "rewards.py").write_text(source)
    (folder / "sizes.yaml").write_text(EVALUATION)
    suite = SUITE.replace("METHODS", methods).replace("REWARD", reward)
    (folder / "own.yaml").write_text(suite)


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        ("numbr", "there is no reward numbr; did you mean number?"),
        ("[{number: much}]", "valid number"),
        ("{number: 1, exact: 1}", "an entry has one reward, this one has number, exact"),
        ("{model: judge, wait: 1}", "beside model: stands weight: alone, not wait"),
        ("[]", "tasks.sizes.reward"),
        ("3", "a reward is exact, number, math, choice"),
        ("reward.py:short", "there is no file"),
        ("nowhere.at.all:short", "there is no module nowhere.at.all"),
        ("rewards.py:shor", "shor does not exist in rewards.py; did you mean short?"),
        ("rewards.py:number", "number is no function"),
        ("rewards.py:strict", "does not take completion_ids"),
        ("broken.py:short", "cannot be imported: SyntaxError"),
        ("raising.py:short", "cannot be imported: ZeroDivisionError: division by zero, at line 2"),
        ("leaving.py:short", "cannot be imported: SystemExit"),
        ("{model: ./judge}", "there is no model folder"),
        ("{model: ./two}", "has 2 outputs; a reward is one number"),
        ("{model: ./chat}", "is no sequence classifier but LlamaForCausalLM"),
    ],
)
def test_a_reward_that_cannot_be_had_is_told_before_anything_trains(
    bench: Bench, tmp_path: Path, reward: str, told: str
) -> None:
    _write(tmp_path, reward)
    (tmp_path / "broken.py").write_text("def short(:\n")
    (tmp_path / "raising.py").write_text("x = 0\ny = 1 / x\n")
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit()\n")
    if "two" in reward:
        _judge(tmp_path / "two", outputs=2)
    if "chat" in reward:
        (tmp_path / "chat").symlink_to(TINY)
    result = bench("plan", "own.yaml")
    assert result.returncode == 2, result.stdout
    assert told in " ".join(result.stderr.split()), result.stderr
    assert "line 11" in result.stderr or "line 12" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_a_file_prints_does_not_stand_in_the_plan(bench: Bench, tmp_path: Path) -> None:
    _write(tmp_path, "rewards.py:short", source="print('hello')\n" + FUNCTIONS)
    result = bench("plan", "own.yaml", "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["obstacles"] == {}
    assert "rewards.py:short: 1.0" in json.loads(result.stdout)["suite"]


def test_a_missing_package_is_told_with_how_to_install_it(bench: Bench, tmp_path: Path) -> None:
    _write(tmp_path, "math")
    result = bench("plan", "own.yaml")
    try:
        import math_verify as _  # pyright: ignore[reportMissingImports]  # noqa: F401
    except ImportError:
        assert result.returncode == 2
        assert 'pip install "finetuning-bench[math]"' in result.stderr
    else:
        assert result.returncode == 0


def test_a_reward_needs_prompts() -> None:
    source = {"path": "json"}
    with pytest.raises(ValueError, match="reward: belongs to prompt-only data"):
        TaskSpec.model_validate({"preference": source, "reward": "exact"})


def test_the_fingerprint_follows_the_function_and_nothing_else(tmp_path: Path) -> None:
    def mark(reward: Any = None, source: str = FUNCTIONS) -> str:
        _write(tmp_path, "", source=source)
        data = {"prompt-only": {"path": "json", "data_files": "rows.jsonl"}}
        spec = TaskSpec.model_validate(data | ({"reward": reward} if reward else {}))
        return find_task("own", {"own": spec}, tmp_path).fingerprint

    assert mark() == "dc211eb51c5b67ce", "as before tasks had rewards"
    assert mark() == mark(source="changed = 1")
    assert mark("rewards.py:short") == mark([{"rewards.py:short": 1.0}])
    others = [mark(), mark("number"), mark("rewards.py:short"), mark("rewards.py:later")]
    assert len(set(others) | {mark("rewards.py:short", FUNCTIONS + "# changed")}) == 5


def test_rows_keep_what_a_function_may_ask_for(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "bonus": 3, "completion": "b"}\n')
    (tmp_path / "rewards.py").write_text(FUNCTIONS)
    files = {"train": "rows.jsonl", "validation": "rows.jsonl"}
    data: Any = {"prompt-only": {"path": "json", "data_files": files, "prompt": "Q: {prompt}"}}

    def columns(reward: Any) -> Any:
        spec = TaskSpec.model_validate(data | {"reward": reward})
        return find_task("own", {"own": spec}, tmp_path).load(Format.PROMPT_ONLY, "train")[:]

    assert columns("rewards.py:short") == {"prompt": ["Q: a"], "bonus": [3]}
    assert columns({"model": "judge"}) == {"prompt": ["Q: a"]}
    with pytest.raises(UserError, match="no column 'answer'"):
        columns("number")


def _rows(told: str) -> dict[str, dict[str, Any]]:
    return {row["recipe"]: row for row in json.loads(told)["rows"]}


@pytest.mark.slow
def test_every_online_method_learns_from_a_function_and_a_classifier(
    bench_process: Bench, tmp_path: Path
) -> None:
    short = "max_completion_length: 4"
    methods = f"""\
  - grpo: {{num_generations: 4, {short}}}
  - rloo: {{{short}}}
  - ppo: {{{short}}}
  - raft: {{num_samples: 2, {short}}}
  - rejection-sampling: {{num_samples: 2, original_rows: false, {short}}}
  - slic-hf: {{rank_by: reward, num_candidates: 4, max_new_tokens: 4}}"""
    _write(tmp_path, "[{rewards.py:short: 0.5}, {model: ./judge, weight: 0.1}]", methods)
    _judge(tmp_path / "judge")
    result = bench_process("run", "own.yaml", "--json")
    assert result.returncode == 0, result.stderr
    assert {row["status"] for row in _rows(result.stdout).values()} == {"ok"}
    records = [json.loads(f.read_text()) for f in (tmp_path / "results").rglob("records/*.json")]
    trained = {r["method"]: r["train"] for r in records if r["method"] is not None}
    assert len(trained) == 6
    for method, seen in trained.items():
        spent = seen["ledger"]["by_purpose"]["reward"]
        assert spent["tokens"] > 0 and spent["samples"] > 0
        goal = seen["objective"][0]["goal"]
        assert seen["objective"][0]["after"]["values"][goal] != 0, method
    written = (tmp_path / "results/own/suite.yaml").read_text()
    assert "rewards.py:short: 0.5" in written


FAULTY = """
def short(completions, **columns):
    count = len(completions)
    if count == 16:
        raise ValueError("sixteen")
    return [1.0] * (count + 1) if count == 24 else [float("nan")] * count
"""


@pytest.mark.slow
def test_a_broken_function_fails_its_row_with_the_reason(
    bench_process: Bench, tmp_path: Path
) -> None:
    methods = "\n".join(f"  - {{raft: {{num_samples: {n}}}, as: raft-{n}}}" for n in (2, 3, 4))
    _write(tmp_path, "rewards.py:short", methods, FAULTY)
    result = bench_process("run", "own.yaml", "--json")
    assert result.returncode == 1
    records = [json.loads(f.read_text()) for f in (tmp_path / "results").rglob("records/*.json")]
    told = {r["recipe"]: r["reason"] for r in records if r["status"] == "failed"}
    assert told == {
        "raft-2": "reward rewards.py:short raised ValueError: sixteen, at line 5",
        "raft-3": "reward rewards.py:short gave 25 rewards for 24 completions",
        "raft-4": "reward rewards.py:short gave nan for completion 0, not a finite number or None",
    }
