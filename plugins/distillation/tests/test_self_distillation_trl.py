"""SDFT and SDPO on the completions of TRL's trainers: the same prompts, losses and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bench_distillation import SDFT_TEMPLATE, SDPO, SDPO_TEMPLATE
from bench_distillation.context import shown, text_of
from bench_distillation.self_distillation import both_of, completion_losses, retold
from bench_distillation.teachers import past_self
from datasets import Dataset
from torch import Tensor
from trl.experimental.sdft import SDFTConfig, SDFTTrainer
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

from bench import Format
from bench.testing import tiny_session

KNOWN = "tiny/largest"  # the base answers it


def _settings(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 6,
        "distillation_is_clip": None,
    }


def _said(batch: dict[str, Any]) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts and completions of a batch of TRL's as token ids."""
    pairs = (("prompt_ids", "prompt_mask"), ("completion_ids", "completion_mask"))
    ids, said = (
        [i[m.bool()].tolist() for i, m in zip(batch[name], batch[mask], strict=True)]
        for name, mask in pairs
    )
    return ids, said


def _gradient(model: Any, loss: Tensor) -> Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def _same(one: Tensor, ids: Tensor, mask: Tensor, padded: Tensor) -> None:
    """Two batches hold the same rows, whichever side is padded."""
    rows = [i[m.bool()].tolist() for i, m in zip(ids, mask, strict=True)]
    assert [i[m.bool()].tolist() for i, m in zip(one, padded, strict=True)] == rows


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_sdft_has_the_prompts_loss_and_gradient_of_trl(alpha: float, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    rows = session.dataset(Format.PROMPT_COMPLETION)[:8]
    demonstrations = [text_of(completion) for completion in rows["completion"]]
    data = [
        {"prompt": p, "privileged_context": c}
        for p, c in zip(rows["prompt"], demonstrations, strict=True)
    ]
    template = SDFT_TEMPLATE.replace("{demonstration}", "{privileged_context}")
    student = session.model().eval()
    trainer: Any = SDFTTrainer(
        student,
        args=SDFTConfig(
            **_settings(tmp_path),
            distillation_mode="full_logits",
            distillation_alpha=alpha,
            teacher_prompt_template=template,
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=session.tokenizer,
    )
    trainer.model.eval()
    session._account.open_batch()
    batch = trainer._prepare_training_batch(data)
    theirs = trainer.compute_loss(trainer.model, batch)
    their_gradient = _gradient(student, theirs)

    ids, said = _said(batch)
    seen = [shown(SDFT_TEMPLATE, p, c) for p, c in zip(rows["prompt"], demonstrations, strict=True)]
    teacher = past_self(session)
    both = both_of(session, teacher, ids, seen, said)
    _same(
        batch["teacher_input_ids"],
        both["teacher"]["input_ids"],
        both["teacher"]["attention_mask"],
        batch["teacher_attention_mask"],
    )
    ours = completion_losses(alpha, None, student, teacher, both).mean()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5) and ours.item() > 0.01
    assert torch.allclose(_gradient(student, ours), their_gradient, atol=1e-4)
    assert float(their_gradient.norm()) > 0.05


@pytest.mark.slow
def test_sdpo_has_the_prompts_loss_and_gradient_of_trl(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task=KNOWN)
    prompts = session.dataset(Format.PROMPT_ONLY)[:2]["prompt"]
    data = [{"prompt": prompt} for prompt in prompts for _ in range(4)]
    rewards = [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    student = session.model().eval()
    template = SDPO_TEMPLATE.replace(
        "\nCorrect solution:\n\n{demonstration}\n\n", "{solution}{feedback}"
    )
    trainer: Any = SDPOTrainer(
        student,
        reward_funcs=lambda completions, **_: rewards[: len(completions)],
        args=SDPOConfig(
            **_settings(tmp_path),
            temperature=3.0,
            distillation_mode="topk_logits",
            distillation_topk=20,
            distillation_add_tail=True,
            distillation_alpha=0.5,
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=session.tokenizer,
    )
    assert trainer.args.reprompt_template == template, "ours is theirs without feedback"
    trainer.temperature = 1.0  # completions differ, and the divergence is that of the model itself
    trainer.model.eval()
    session._account.open_batch()
    batch = trainer._prepare_training_batch(data)
    theirs = trainer.compute_loss(trainer.model, batch)
    their_gradient = _gradient(student, theirs)

    method = SDPO(num_generations=4, top_k=20, alpha=0.5)
    ids, said = _said(batch)
    teacher = past_self(session)
    both = retold(method, session, teacher, {"prompt": prompts}, ids, said, torch.tensor(rewards))
    assert both is not None
    learning = batch["self_distillation_mask"].bool()
    assert learning.tolist() == [True] * 6 + [False, True]
    _same(
        batch["teacher_input_ids"][learning],
        both["teacher"]["input_ids"],
        both["teacher"]["attention_mask"],
        batch["teacher_attention_mask"][learning],
    )
    of_each = completion_losses(0.5, 20, student, teacher, both)
    ours = of_each.sum() / len(rewards)  # TRL counts those without a teacher as 0
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5) and ours.item() > 0.01
    assert torch.allclose(_gradient(student, ours), their_gradient, atol=1e-4)
