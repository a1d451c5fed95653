"""Conversations: the same tokens and labels as TRL's, in training and in evaluation alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from bench.data.chat import ChatSpec, Conversation, opened, settled, spread
from bench.data.formats import Format
from bench.data.render import IGNORED
from bench.data.tasks import Task, TaskSpec, find_task
from bench.data.tokenize import encode, encode_pairs, prompt_ids
from bench.evaluation.lm_eval import open_model, score
from bench.models.load import load_model, load_tokenizer
from bench.models.spec import ModelSpec
from bench.system.errors import UserError
from bench.tiny.tasks import tiny_task
from bench.tiny.tokenizer import bpe_tokenizer

TINY = ModelSpec(path="tiny")
MARKED = (
    "{% if tools %}{{ tools | length }} {% endif %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}Boris : "
    "{% generation %}{{ m.content }}<eos>{% endgeneration %}. {% else %}"
    "{{ m.role }} : {{ m.content }} . {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Boris : {% endif %}"
)
"""A template that marks what the assistant says, as TRL's training templates do."""
UNMARKED = MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
USER = {"role": "user", "content": "add 2 and 1 ?"}
REPLY = {"role": "assistant", "content": "3"}
AGAIN = {"role": "user", "content": "add 3 and 1 ?"}
SECOND = {"role": "assistant", "content": "4"}
SYSTEM = {"role": "system", "content": "Anna"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}


def tokenizer_with(template: str | None) -> PreTrainedTokenizerBase:
    return load_tokenizer(TINY.in_suite(template))


def ours(rows: list[dict[str, Any]], format: Format, template: str) -> list[Any]:
    data = settled(
        Dataset.from_list([spread(row, format) for row in rows]), "own", format, ChatSpec()
    )
    return encode(opened(data[:]), format, tokenizer_with(template), 512)


def trls(rows: list[dict[str, Any]], template: str, **config: Any) -> list[Any]:
    """Tokens and labels as TRL's own trainer makes them."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    args = SFTConfig(use_cpu=True, bf16=False, report_to="none", max_length=None, **config)
    trainer = SFTTrainer(
        load_model(TINY, torch.float32, torch.device("cpu")),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer_with(template),
    )
    data: Any = trainer.train_dataset
    return [(row["input_ids"], row["labels"]) for row in data]


@pytest.mark.parametrize("template", [MARKED, UNMARKED])
def test_a_prompt_and_its_completion_become_trls_tokens_and_labels(
    template: str, tmp_path: Path
) -> None:
    rows = [
        {"prompt": [USER], "completion": [REPLY]},
        {"prompt": [SYSTEM, USER, REPLY, AGAIN], "completion": [SECOND]},
    ]
    only = {"assistant_only_loss": True} if template == MARKED else {"completion_only_loss": True}
    expected = trls(rows, template, output_dir=str(tmp_path), **only)
    assert ours(rows, Format.PROMPT_COMPLETION, template) == expected


def test_messages_of_several_turns_become_trls_tokens_and_labels(tmp_path: Path) -> None:
    rows = [
        {"messages": [USER, REPLY]},
        {"messages": [SYSTEM, USER, REPLY, AGAIN, SECOND]},
    ]
    expected = trls(rows, MARKED, output_dir=str(tmp_path), assistant_only_loss=True)
    assert ours(rows, Format.PROMPT_COMPLETION, MARKED) == expected


def test_tools_reach_the_template_as_in_trl(tmp_path: Path) -> None:
    rows = [{"prompt": [USER], "completion": [REPLY], "tools": json.dumps([TOOL, TOOL])}]
    expected = trls(rows, UNMARKED, output_dir=str(tmp_path), completion_only_loss=True)
    assert ours(rows, Format.PROMPT_COMPLETION, UNMARKED) == expected
    assert expected != ours([{**rows[0], "tools": None}], Format.PROMPT_COMPLETION, UNMARKED)


WORDS = st.lists(st.sampled_from("add sort copy Anna Boris 1 2 3".split()), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_loss_falls_on_every_turn_of_the_assistant_and_on_nothing_else(talk: list[Any]) -> None:
    messages = []
    for question, answer in talk:
        messages.append({"role": "user", "content": " ".join(question)})
        messages.append({"role": "assistant", "content": " ".join(answer)})
    marked = ours([{"messages": messages}], Format.PROMPT_COMPLETION, MARKED)[0]
    unmarked = ours([{"messages": messages}], Format.PROMPT_COMPLETION, UNMARKED)[0]
    tokenizer = tokenizer_with(None)
    learned = [i for i, label in zip(*marked, strict=True) if label != IGNORED]
    assert (
        str(tokenizer.decode(learned, skip_special_tokens=True)).split()
        == " ".join(" ".join(answer) for _, answer in talk)
        .replace("1", " 1")
        .replace("2", " 2")
        .replace("3", " 3")
        .split()
    )
    assert marked[0] == unmarked[0]
    # without marks the dot behind each turn is learned too: only the template knows who says it
    more = [
        i for i, a, b in zip(marked[0], marked[1], unmarked[1], strict=True) if a == IGNORED != b
    ]
    said = str(tokenizer.decode(more, skip_special_tokens=True))
    assert said.replace(" ", "") == "." * len(talk)


def test_plain_prompts_become_a_users_turn_and_the_suites_system_turn_comes_first() -> None:
    data = Dataset.from_list([{"prompt": "add 2 and 1 ?", "completion": " 3"}])
    chat = ChatSpec(system="Anna")
    row = settled(data, "own", Format.PROMPT_COMPLETION, chat)[0]
    assert row == {"prompt": [SYSTEM, USER], "completion": [REPLY]}
    own = Dataset.from_list([{"prompt": [{"role": "system", "content": "Boris"}, USER]}])
    kept = settled(own, "own", Format.PROMPT_ONLY, chat)[0]["prompt"]
    assert [turn["content"] for turn in kept] == ["Boris", "add 2 and 1 ?"]


def test_conversations_without_a_chat_are_refused_with_what_to_write() -> None:
    data = Dataset.from_list([{"prompt": [USER], "completion": [REPLY]}])
    with pytest.raises(UserError, match=r"prompt holds conversations.*add chat: true"):
        settled(data, "own", Format.PROMPT_COMPLETION, None)


def test_a_tokenizer_without_a_template_says_what_to_give() -> None:
    tokenizer = tokenizer_with(None)
    tokenizer.chat_template = None
    with pytest.raises(UserError, match=r"no chat template.*chat: \{template: file.jinja\}"):
        prompt_ids([Conversation((USER,))], tokenizer)


def test_a_preference_without_a_prompt_begins_with_what_both_share() -> None:
    row = {"chosen": [USER, REPLY], "rejected": [USER, SECOND]}
    assert spread(row, Format.PREFERENCE)["prompt"] == [USER]
    plain = {"chosen": "Q: a\nA: yes sir", "rejected": "Q: a\nA: yes ma'am"}
    assert spread(plain, Format.PREFERENCE) == {
        "prompt": "Q: a\nA: yes",
        "chosen": " sir",
        "rejected": " ma'am",
    }


def test_whole_conversations_beside_a_plain_prompt_ask_it_once() -> None:
    """The shape of ultrafeedback_binarized, as TRL's `maybe_extract_prompt` reads it."""
    from trl.data_utils import maybe_extract_prompt

    row = {"prompt": "add 2 and 1 ?", "chosen": [USER, REPLY], "rejected": [USER, SECOND]}
    expected = {"prompt": [USER], "chosen": [REPLY], "rejected": [SECOND]}
    assert spread(row, Format.PREFERENCE) == maybe_extract_prompt(row) == expected
    answers = {"prompt": "add 2 and 1 ?", "chosen": [REPLY], "rejected": [SECOND]}
    assert spread(answers, Format.PREFERENCE) == answers


@pytest.mark.parametrize("format", [Format.PROMPT_COMPLETION, Format.PROMPT_ONLY])
def test_messages_beside_their_plain_question_keep_the_systems_turn(format: Format) -> None:
    """The shape of no_robots."""
    row = {"prompt": "add 2 and 1 ?", "messages": [SYSTEM, USER, REPLY]}
    assert spread(row, format)["prompt"] == [SYSTEM, USER]
    answered = row | {"completion": "three"}
    found = spread(answered, format)
    assert (found["prompt"], found["completion"]) == ("add 2 and 1 ?", "three")


def test_preferences_become_trls_tokens(tmp_path: Path) -> None:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    rows = [{"prompt": [SYSTEM, USER], "chosen": [REPLY], "rejected": [SECOND]}]
    model, reference = (load_model(TINY, torch.float32, torch.device("cpu")) for _ in range(2))
    trainer = DPOTrainer(
        model,
        ref_model=reference,
        args=DPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none"),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer_with(UNMARKED),
    )
    theirs: Any = trainer.train_dataset
    chosen = ours(
        [{"prompt": [SYSTEM, USER], "completion": [REPLY]}], Format.PROMPT_COMPLETION, UNMARKED
    )[0]
    assert theirs[0]["prompt_ids"] + theirs[0]["chosen_ids"] == chosen[0]
    assert [i for i in chosen[1] if i != IGNORED] == theirs[0]["chosen_ids"]


@pytest.mark.parametrize("name", ["tiny/add", "tiny/people"])
def test_evaluation_asks_in_the_template_that_training_learns(name: str) -> None:
    """Tiny's own template renders plain text, and so gives the scores of plain text."""
    device = torch.device("cpu")
    scores = []
    for chat, template in ((None, None), (ChatSpec(), None), (ChatSpec(), MARKED)):
        spec = TINY.in_suite(template)
        model = load_model(spec, torch.float32, device)
        task = tiny_task(name)
        asked = Task(name, task.loaders, task.evaluation, task.fingerprint, chat=chat)
        lm = open_model(model, load_tokenizer(spec), 64, device)
        scores.append(score(lm, asked, "test")[0])
    plain, same, other = scores
    assert same.items == plain.items
    assert other.value < plain.value - 0.2  # a format that the model never saw


@pytest.mark.parametrize("prompt", ["It is ", "It is go"])
def test_an_answer_that_begins_within_a_token_is_learned(prompt: str) -> None:
    """A prompt that ends with a space, or with half a word, has other tokens alone."""
    tokenizer = bpe_tokenizer(["It is good.", "It is so good.", "good good good"], 300)
    answer = "It is good"[len(prompt) :]
    ((ids, labels),) = encode_pairs([prompt], [answer], tokenizer, 64)
    learned = [label for label in labels if label != IGNORED]
    assert tokenizer.decode(learned) == " good<eos>"
    assert tokenizer.decode(ids[: len(ids) - len(learned)], skip_special_tokens=True) == "It is"


def _declared(folder: Path, rows: list[dict[str, Any]], **chat: Any) -> Any:
    """The first rows of a file, as methods get them."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return _loaded(folder, "json", "rows.jsonl", **chat)


def _loaded(folder: Path, path: str, name: str, **chat: Any) -> Any:
    files = {"train": name, "validation": name}
    spec = {"prompt-completion": {"path": path, "data_files": files}}
    task = find_task("own", {"own": TaskSpec.model_validate(spec)}, folder, **chat)
    return opened(task.load(Format.PROMPT_COMPLETION, "train")[:])


@pytest.mark.parametrize("first", [0, 1, 1001])
def test_rows_with_tools_may_stand_beside_rows_without(tmp_path: Path, first: int) -> None:
    without = {"prompt": [USER], "completion": [REPLY], "tools": None}
    tools = json.dumps([TOOL])
    given = [without] * first + [{**without, "tools": tools}, {**without, "tools": ""}]
    found = [one.tools for one in _declared(tmp_path, given, chat=ChatSpec())["prompt"]]
    assert found == [()] * first + [(TOOL,), ()]


def test_keys_that_only_other_rows_have_are_not_taught(tmp_path: Path) -> None:
    def row(name: str, **arguments: int) -> dict[str, Any]:
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        asks = {"role": "assistant", "content": "", "tool_calls": [call]}
        return {"prompt": [USER], "completion": [asks], "tools": [{"name": name} | arguments]}

    one, other = row("one", a=1), row("other", b=2)
    pq.write_table(pa.Table.from_pylist([one, other]), tmp_path / "rows.parquet")
    found = _loaded(tmp_path, "parquet", "rows.parquet", chat=ChatSpec())
    assert [list(said.turns) for said in found["completion"]] == [
        one["completion"],
        other["completion"],
    ]
    assert [list(said.tools) for said in found["prompt"]] == [one["tools"], other["tools"]]


def test_tools_are_ignored_without_a_chat(tmp_path: Path) -> None:
    rows = [{"prompt": "add 2 and 1 ?", "completion": " 3", "tools": "a hammer"}]
    assert _declared(tmp_path, rows) == {"prompt": ["add 2 and 1 ?"], "completion": [" 3"]}
