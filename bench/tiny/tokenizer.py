"""Tokenizers: one word or digit a token for the tiny language, byte-level BPE for other text."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from bench.tiny.facts import RELATIONS
from bench.tiny.language import RETAINED_SKILLS, SEED, TARGET_SKILLS
from bench.tiny.words import CITIES, FIRST, FOREIGN, JOBS, LAST, LETTERS, NOUNS, PETS

PAD, BOS, EOS, UNK = SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>"]
SPACE = "\u2581"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}{%"
    " generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}{% else %}{{"
    " message['content'] }}{% endif %}{% endfor %}"
)


@cache
def vocabulary() -> tuple[str, ...]:
    """Every word of the language but digits, in a fixed order."""
    rng = random.Random(SEED)
    texts = [relation_text for r in RELATIONS for relation_text in (*r.questions, *r.statements)]
    for skill in (*RETAINED_SKILLS, *TARGET_SKILLS):
        items = [skill.draw(rng) for _ in range(3)]
        texts += [item.question for item in items] + [item.statement for item in items]
    words = {w for text in texts for w in text.split() if not w.startswith("{") and not w.isdigit()}
    return tuple(
        sorted({*words, "?", ".", *LETTERS, *FIRST, *LAST, *CITIES, *JOBS, *PETS, *NOUNS, *FOREIGN})
    )


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Splits at spaces and between digits; a token that follows a space carries it, so decoding
    gives the text back.
    """
    digits = [prefix + digit for digit in "0123456789" for prefix in (SPACE, "")]
    words = [*SPECIAL, *digits, *(SPACE + word for word in vocabulary())]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNK)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(SPACE, prepend_scheme="always"),
            pre_tokenizers.Split(Regex(f"{SPACE}?[0-9]"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(SPACE, prepend_scheme="always")
    return _finished(tokenizer)


def bpe_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE of at most `size` tokens, learned from the texts; digits stay apart."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _finished(tokenizer)


def _finished(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS} $B",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
