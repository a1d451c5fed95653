"""Build a small base model: on the tiny language, or on anybody's plain text."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.data.tokenize import IGNORED, collate, token_id
from bench.system.errors import UserError
from bench.tiny import facts, language
from bench.tiny.tokenizer import bpe_tokenizer, word_tokenizer

Example = tuple[list[int], list[int]]
"""Token ids and labels of one line, of equal length; a label of -100 is not learned from."""


@dataclass(frozen=True)
class Shape:
    """The size of a Llama and of its pre-training."""

    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    context: int = 256
    steps: int = 2000
    batch: int = 128
    lr: float = 3e-3
    seed: int = language.SEED


def build_tiny(folder: Path, shape: Shape, progress: Callable[[int, float], None]) -> None:
    """Train the embedded base from its seed and save it as float16. `progress` receives the steps
    done and the loss.
    """
    tokenizer = word_tokenizer()
    model = pretrain(
        _model(shape, tokenizer), tokenizer, _tiny_examples(tokenizer, shape.seed), shape, progress
    )
    _save(model.half(), tokenizer, folder)


def build_from_text(
    files: list[Path],
    folder: Path,
    shape: Shape,
    vocabulary: int,
    progress: Callable[[int, float], None],
) -> None:
    """Train a base on plain text. The last twentieth of every file is kept back and stored as
    `held-out.txt`.
    """
    learned, kept_back = [], []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{file} is not a text file in UTF-8") from None
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        cut = len(lines) - max(1, len(lines) // 20)
        learned += lines[:cut]
        kept_back += lines[cut:]
    tokenizer = bpe_tokenizer(learned, vocabulary)
    examples = _text_examples(tokenizer, learned, shape)
    model = pretrain(_model(shape, tokenizer), tokenizer, examples, shape, progress)
    _save(model, tokenizer, folder)
    (folder / "held-out.txt").write_text("\n".join(kept_back) + "\n", encoding="utf-8")


def pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    examples: Iterator[Example],
    shape: Shape,
    progress: Callable[[int, float], None],
) -> LlamaForCausalLM:
    """AdamW under a one-cycle schedule, `shape.steps` batches of `shape.batch` lines."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=shape.lr, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, shape.lr, total_steps=shape.steps, pct_start=0.1
    )
    for step in range(1, shape.steps + 1):
        batch = collate(list(itertools.islice(examples, shape.batch)), tokenizer)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        progress(step, float(loss.detach()))
    return model.eval()


def _model(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(shape.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden_size,
            intermediate_size=3 * shape.hidden_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=shape.context,
            tie_word_embeddings=True,
            pad_token_id=token_id(tokenizer, "pad"),
            bos_token_id=token_id(tokenizer, "bos"),
            eos_token_id=token_id(tokenizer, "eos"),
        )
    )


def _tiny_examples(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[Example]:
    """Questions of every retained kind (learned from their answers) among plain statements (learned
    whole).
    """
    rng = random.Random(seed)
    asked = facts.questions_about("known", "train")
    statements = facts.statements_about("known")
    while True:
        kind = rng.random()
        if kind < 0.30:
            yield _question(tokenizer, rng.choice(asked))
        elif kind < 0.50:
            yield _whole(tokenizer, rng.choice(statements))
        else:
            item = rng.choice(language.RETAINED_SKILLS).draw(rng)
            if language.split_of(item.question) == "train":
                yield (
                    _whole(tokenizer, item.statement)
                    if rng.random() < 0.15
                    else _question(tokenizer, item)
                )


def _question(tokenizer: PreTrainedTokenizerFast, item: language.Item) -> Example:
    prompt = tokenizer(item.prompt)["input_ids"]
    answer = tokenizer(item.completion, add_special_tokens=False)["input_ids"] + [
        token_id(tokenizer, "eos")
    ]
    return prompt + answer, [IGNORED] * len(prompt) + answer


def _whole(tokenizer: PreTrainedTokenizerFast, text: str) -> Example:
    ids = tokenizer(text)["input_ids"] + [token_id(tokenizer, "eos")]
    return ids, ids


def _text_examples(
    tokenizer: PreTrainedTokenizerFast, lines: list[str], shape: Shape
) -> Iterator[Example]:
    """Blocks of `context` tokens cut from all lines in a row, shuffled anew each time round."""
    stream = list(itertools.chain.from_iterable(_whole(tokenizer, line)[0] for line in lines))
    blocks = [
        stream[i : i + shape.context] for i in range(0, len(stream) - shape.context, shape.context)
    ]
    if not blocks:
        raise UserError(
            f"the text has {len(stream):,} tokens, fewer than a block of --context {shape.context}"
        )
    rng = random.Random(shape.seed)
    while True:
        rng.shuffle(blocks)
        yield from ((block, block) for block in blocks)


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.generation_config = GenerationConfig(
        do_sample=False,
        bos_token_id=token_id(tokenizer, "bos"),
        eos_token_id=token_id(tokenizer, "eos"),
        pad_token_id=token_id(tokenizer, "pad"),
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
