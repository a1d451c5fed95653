"""SDFT and SDPO: what teacher and student read, who pays, and a model that can use a demonstration
teaching itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bench_distillation import SDFT, SDFT_TEMPLATE, SDPO
from bench_distillation.context import shown, teachers_ids, text_of
from bench_distillation.sampling import generate
from bench_distillation.self_distillation import successes
from bench_distillation.teachers import follow, past_self
from pydantic import ValidationError
from torch import Tensor
from transformers import set_seed
from trl.trainer.callbacks import SyncRefModelCallback

from bench import Conversation, Format, Session, token_losses
from bench.accounting.budget import Budget
from bench.methods.objective import measured
from bench.models.artifact import save_model
from bench.models.spec import ModelSpec
from bench.models.start import Start
from bench.testing import tiny_session
from bench.testing.trials import TINY, half_trained

SHORT: dict[str, Any] = {"max_completion_length": 6}
KNOWN = "tiny/largest"  # the base answers it
USABLE = "{prompt} copy {demonstration} ?"
"""A template in words that the tiny language has."""


# ── what is read ──


def test_the_teacher_reads_the_papers_prompts() -> None:
    assert shown(SDFT_TEMPLATE, "What is {x}?", "{prompt}") == (
        "What is {x}?\n\nThis is an example for a response to the question:\n{prompt}\n\n"
        "Now answer with a response of your own, including the thinking process:"
    ), "braces of the texts themselves stay as they are"
    assert text_of(" 42\n") == "42"


def test_of_a_conversation_the_last_turn_is_shown_in_the_template() -> None:
    system, asked = {"role": "system", "content": "s"}, {"role": "user", "content": "q"}
    prompt = Conversation((system, asked), tools=("t",))
    answer = Conversation(
        ({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"})
    )
    seen = shown("{demonstration} | {prompt}", prompt, text_of(answer))
    assert isinstance(seen, Conversation) and seen.tools == ("t",)
    assert seen.turns == (system, {"role": "user", "content": "a\nb | q"})
    assert prompt.turns[1] == asked, "the student's prompt is as it was"


@pytest.mark.parametrize("template", ["{prompt}", "{demonstration}", "neither"])
def test_a_template_without_a_place_is_refused(template: str) -> None:
    with pytest.raises(ValidationError, match="holds no"):
        SDFT(template=template)


def test_a_teachers_prompt_may_pass_max_length_but_not_the_last_position(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, max_length=16)
    teacher, said = session.model(), [[5, 6, 2], [7, 2]]
    long, longer = "copy " + "a " * 100 + "?", "copy " + "a " * 400 + "?"
    ids = teachers_ids(session, teacher, [long, longer], said)
    assert ids[0] == session.prompt_ids([long])[0] and len(ids[0]) > 100
    assert len(ids[1]) + 3 == 256 and ids[1] == session.prompt_ids([longer])[0][-253:]


def test_another_attempt_that_succeeded_teaches() -> None:
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.0] + [0.0, 1.0, 0.0, 0.0] + [0.0, 0.5, 0.9, 0.0])
    assert successes(rewards, 4, 1.0) == [2, 0, 0, 0, 5, None, 5, 5, None, None, None, None]
    assert successes(rewards[:4], 4, 0.0) == [1, 0, 0, 0]


# ── the teacher's weights ──


def test_the_teacher_follows_as_trls_does(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    ours, theirs, student = past_self(session), past_self(session), session.model()
    with torch.no_grad():
        for p in student.parameters():
            p.add_(torch.randn_like(p))
    for _ in range(3):
        follow(ours, student, 0.05)
        SyncRefModelCallback._sync_target_model(student, theirs, 0.05)
    for one, other, start in zip(
        ours.parameters(), theirs.parameters(), session.model().parameters(), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-6) and not torch.equal(one, start)


def test_a_teacher_in_half_precision_follows_slowly_all_the_same(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, dtype=torch.bfloat16)
    teacher, student = past_self(session), session.model()
    before = [p.clone() for p in teacher.parameters()]
    with torch.no_grad():
        for p in student.parameters():
            p.mul_(1.01)
    follow(teacher, student, 0.01)
    moved = [not torch.equal(p, b) for p, b in zip(teacher.parameters(), before, strict=True)]
    assert all(moved), "a ten-thousandth is lost in bfloat16"


# ── training ──


def _paid(session: Session) -> dict[str, float]:
    return {n: float(s.tokens) for n, s in session.ledger.purposes.items() if float(s.tokens)}


def test_each_pass_is_charged_to_its_purpose(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 3), KNOWN)
    SDFT(**SHORT).train(session)
    paid = _paid(session)
    assert set(paid) == {"rollout", "teacher", "train"}
    assert paid["teacher"] > paid["train"], "the teacher reads a demonstration, too"
    assert session.ledger.purposes["train"].samples == 3 * 8


def test_where_no_attempt_succeeds_nobody_teaches_and_nothing_moves(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 2), "tiny/swap")
    start = [p.detach().clone() for p in session.model().parameters()]
    model = SDPO(num_generations=4, lr=1e-3, success_reward_threshold=2.0, **SHORT).train(session)
    assert set(_paid(session)) == {"rollout", "train"}
    assert session.ledger.steps == 2
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), start, strict=True))


def test_a_batch_of_attempts_is_a_whole_number_of_groups(tmp_path: Path) -> None:
    assert SDPO(num_generations=4).skip(tiny_session(tmp_path)) is None
    assert "3" in (SDPO(num_generations=3).skip(tiny_session(tmp_path)) or "")


@pytest.mark.parametrize("method", [SDFT(lr=1e-3, **SHORT), SDPO(lr=1e-3, **SHORT)])
def test_the_gradient_does_not_depend_on_how_a_batch_is_split(
    method: SDFT | SDPO, tmp_path: Path
) -> None:
    def trained(micro: int | None) -> Tensor:
        session = tiny_session(tmp_path / str(micro), Budget("steps", 2), KNOWN, micro=micro)
        set_seed(7)
        model = method.train(session)
        assert "teacher" in _paid(session)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.allclose(trained(None), trained(2), atol=5e-4)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """The embedded model after it has learned to use a demonstration, which it cannot by itself:
    what makes a model its own teacher.
    """
    place = tmp_path_factory.mktemp("reader")
    session = tiny_session(place / "session", Budget("steps", 200), "tiny/smallest", batch_size=16)
    model = session.model()
    optimizer = session.optimizer(model, 1e-3)
    for rows in session.rows(Format.PROMPT_COMPLETION):
        pairs = zip(rows["prompt"], rows["completion"], strict=True)
        batch = session.encode([shown(USABLE, p, text_of(c)) for p, c in pairs], rows["completion"])
        session.learn(optimizer, batch, lambda part: token_losses(model, part))
    session.close()
    save_model(model, place / "weights", torch.float32, session.start)
    return TINY.moved(place / "weights")


def _right(session: Session, model: Any) -> float:
    """Share of validation prompts that are answered rightly without a demonstration."""
    rows = session.task.load(Format.PROMPT_COMPLETION, "validation")[:100]
    ids = session.prompt_ids(rows["prompt"])
    with session.unmetered():
        said = generate(session, model.eval(), ids, 8, do_sample=False)
    texts = session.tokenizer.batch_decode(said, skip_special_tokens=True)
    pairs = zip(texts, rows["completion"], strict=True)
    return sum(text.strip() == right.strip() for text, right in pairs) / len(texts)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_a_model_that_can_use_a_demonstration_teaches_itself(
    alpha: float, reader: ModelSpec, tmp_path: Path
) -> None:
    session = tiny_session(
        tmp_path, Budget("steps", 80), "tiny/smallest", batch_size=32, start=reader
    )
    before = _right(session, session.model())
    method = SDFT(lr=1e-3, alpha=alpha, template=USABLE, max_completion_length=8)
    model = method.train(session)
    assert _right(session, model) > before + 0.3, "it answers without what its teacher saw"
    looks = measured(method, session, Start(reader), model)
    apart = [look["values"]["divergence"] for look in looks]
    assert apart[1] < 0.5 * apart[0]


@pytest.mark.slow
def test_attempts_that_succeed_teach_the_others(reader: ModelSpec, tmp_path: Path) -> None:
    session = tiny_session(
        tmp_path, Budget("steps", 60), "tiny/smallest", batch_size=32, start=reader
    )
    method = SDPO(lr=3e-4, template=USABLE, teacher_update_rate=0.01, max_completion_length=8)
    model = method.train(session)
    looks = measured(method, session, Start(reader), model)
    before, after = (look["values"] for look in looks)
    # the divergence need not fall: the more attempts succeed, the more of them have a teacher
    assert after["reward"] > before["reward"] + 0.1


def test_without_a_success_there_is_no_divergence_to_look_at(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task="tiny/swap", start=half_trained())
    method = SDPO(success_reward_threshold=2.0, **SHORT)
    found = method.objective(session.validation(session.start), session.reference())
    assert set(found) == {"reward"} and found["reward"] > 0
