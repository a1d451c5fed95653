"""Students of a teacher through the public door: what is learned, from whom, and who pays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from bench_distillation import GKD, KD, SeqKD
from bench_distillation.sampling import collate, generate, sample
from bench_distillation.supervised import (
    mixed_losses,
    own_batch,
    seq_kd_objective,
    teachers_batch,
    token_divergences,
)
from bench_distillation.teachers import TUNED, teacher_again, teacher_of
from torch.nn.functional import cross_entropy
from transformers import set_seed

from bench import Format, Method, Session, Skipped, token_log_probs, token_losses
from bench.accounting.budget import Budget
from bench.models.artifact import save_model
from bench.models.load import load_tokenizer
from bench.models.start import Start
from bench.testing import tiny_session
from bench.testing.trials import TINY, half_trained
from bench.tiny.tokenizer import bpe_tokenizer

SHORT: dict[str, Any] = {"max_completion_length": 6}
ROWS = 8  # in a batch of a tiny session


def _batch(session: Session) -> dict[str, torch.Tensor]:
    rows = session.dataset(Format.PROMPT_COMPLETION)[:ROWS]
    return session.encode(rows["prompt"], rows["completion"])


def _paid(session: Session) -> set[str]:
    return {name for name, spent in session.ledger.purposes.items() if float(spent.tokens)}


@pytest.fixture(scope="module")
def tutor() -> str:
    """The embedded model after some training on another task, as a folder with its tokenizer."""
    place = str(half_trained().path)
    load_tokenizer(TINY).save_pretrained(place)
    return place


# ── the teacher ──


def test_without_another_model_the_start_is_tuned_to_be_the_teacher(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 10))
    method = GKD(teacher_share=0.4, teacher_lr=1e-3)
    batch = _batch(session)
    before = token_losses(session.model(), batch).mean().item()
    session.ledger.purposes.clear()
    teacher = teacher_of(method, session)
    assert session.ledger.steps == 4, "its share of the budget"
    assert _paid(session) == {"teacher"}
    assert float(token_losses(teacher, batch).mean()) < before - 0.1
    assert not any(p.requires_grad for p in teacher.parameters()) and not teacher.training
    again = teacher_again(method, session)
    assert (session.folder / TUNED).is_file()
    for one, other in zip(teacher.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other), "what was learned is measured against the same teacher"


@pytest.mark.parametrize("kind", [KD, GKD, SeqKD])
def test_with_another_model_the_whole_budget_is_the_students(
    kind: type[KD | GKD | SeqKD], tutor: str, tmp_path: Path
) -> None:
    session = tiny_session(tmp_path, Budget("steps", 3))
    short = SHORT if "max_completion_length" in kind.model_fields else {}
    model = kind(teacher=tutor, **short).train(session)
    spent = session.ledger.purposes
    assert session.ledger.steps == 3
    assert int(spent["train"].samples) == 3 * ROWS <= int(spent["teacher"].samples)
    assert float(spent["teacher"].tokens) > 0
    assert all(p.requires_grad for p in model.parameters())


def test_the_teacher_is_charged_for_each_token_that_it_reads(tutor: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 3))
    GKD(teacher=tutor, lmbda=0.0).train(session)
    spent = session.ledger.purposes
    assert _paid(session) == {"train", "teacher"}, "without own completions nothing is sampled"
    assert float(spent["teacher"].tokens) == float(spent["train"].tokens) > 0
    assert float(spent["teacher"].flops) < float(spent["train"].flops) / 2


def test_a_teacher_that_is_the_student_teaches_nothing(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    student, teacher = session.model(), teacher_of(GKD(teacher="tiny"), session)
    for beta in (0.0, 0.5, 1.0):
        apart = token_divergences(beta, student, teacher, _batch(session))
        assert float(apart.abs().max()) < 1e-5


def test_a_teacher_needs_the_tokens_of_the_start(tutor: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path / "session")
    assert GKD(teacher=tutor).skip(session) is None and GKD(teacher="tiny").skip(session) is None
    other = tmp_path / "other"
    save_model(session.model(), other, torch.float32, Start(TINY))
    bpe_tokenizer(["some words of another model"] * 9, 300).save_pretrained(str(other))
    assert "other tokens" in (GKD(teacher=str(other)).skip(session) or "")
    with pytest.raises(Skipped, match="other tokens"):
        GKD(teacher=str(other)).train(session)
    missing = KD(teacher=str(tmp_path / "missing")).skip(session) or ""
    assert "there is no such folder" in missing and "missing" in missing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("teacher", "code", "said"),
    [
        ("/nowhere/my-teacher", 0, "there is no such folder"),
        ("./my-teacher", 2, "whole path"),
    ],
)
def test_what_is_wrong_with_a_teacher_is_told_before_anything_trains(
    teacher: str, code: int, said: str, tmp_path: Path
) -> None:
    suite = {
        "suite": "taught",
        "model": "tiny",
        "target": "tiny/smallest",
        "budget": {"steps": 2},
        "methods": ["sft", {"gkd": {"teacher": teacher}}],
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    told = subprocess.run(
        [Path(sys.executable).parent / "bench", "plan", "suite.yaml"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    words = " ".join((told.stdout + told.stderr).split())
    assert told.returncode == code and said in words and "Traceback" not in words


# ── what the student learns from ──


def test_word_level_distillation_is_cross_entropy_with_both_labels(
    tutor: str, tmp_path: Path
) -> None:
    session = tiny_session(tmp_path)
    student, teacher = session.model().eval(), teacher_of(KD(teacher=tutor), session)
    batch = _batch(session)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    learned, labels = batch["labels"][:, 1:] != -100, batch["labels"][:, 1:]
    with torch.no_grad():
        said, taught = (m(**inputs).logits[:, :-1][learned] for m in (student, teacher))
        soft = taught.softmax(-1)
        hard = cross_entropy(said, labels[learned], reduction="none")
        entropy = cross_entropy(taught, soft, reduction="none")
        expected = 0.7 * hard + 0.3 * (cross_entropy(said, soft, reduction="none") - entropy)
        assert torch.allclose(mixed_losses(0.3, student, teacher, batch), expected, atol=1e-5)


@pytest.mark.parametrize(("lmbda", "sampled"), [(0.0, 0), (1.0, 12), (0.5, None)])
def test_lmbda_is_the_share_of_batches_with_own_completions(
    lmbda: float, sampled: int | None, tutor: str, tmp_path: Path
) -> None:
    session = tiny_session(tmp_path, Budget("steps", 12))
    drawn: list[str] = []
    purpose = session.purpose
    session.purpose = lambda name: (drawn.append(name), purpose(name))[1]  # type: ignore[method-assign]
    set_seed(1)
    GKD(teacher=tutor, lmbda=lmbda, **SHORT).train(session)
    assert drawn.count("rollout") == sampled if sampled is not None else 2 < len(drawn) < 10


def test_own_completions_are_the_students_and_end_where_it_ends_them(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, task="tiny/largest")
    model = session.model().eval()
    rows = session.dataset(Format.PROMPT_COMPLETION)[:ROWS]
    set_seed(2)
    batch = own_batch(GKD(**SHORT), session, model, rows["prompt"])
    end = session.tokenizer.eos_token_id
    for ids, mask, labels in zip(*batch.values(), strict=True):
        said = ids[labels != -100]
        assert torch.equal(said, labels[labels != -100]) and len(said) <= 6
        assert int(mask.sum()) == len(session.prompt_ids([rows["prompt"][0]])[0]) or len(said)
        assert end not in said[:-1].tolist()
    # a base that knows the answers says them, so what it says is likely
    assert float(token_log_probs(model, batch).sum(1).mean()) > -3


def test_samples_have_the_models_distribution(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model = session.model().eval()
    (ids,) = session.prompt_ids(["smallest of 41 53 76 ?"])
    set_seed(3)
    how: dict[str, Any] = {"temperature": 1.0, "max_completion_length": 1}
    said = sample(session, model, [ids], num_samples=4000, **how)
    counted = torch.bincount(torch.tensor([one[0] for one in said]), minlength=300) / 4000
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)
    assert float((counted - expected).abs().max()) < 0.03


def test_what_a_model_declares_ends_a_completion_too(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model = session.model().eval()
    ids = session.prompt_ids(["smallest of 41 53 76 ?", "swap tom and ann ?"])
    whole = generate(session, model, ids, 8, do_sample=False)
    model.generation_config.eos_token_id = [whole[0][1]]
    first, second = generate(session, model, ids, 8, do_sample=False)
    assert first == whole[0][:2]
    assert second == whole[1][: len(second)]


def test_sequence_level_targets_are_what_beam_search_finds(tutor: str, tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    teacher = teacher_of(SeqKD(teacher=tutor), session)
    prompts = session.dataset(Format.PROMPT_COMPLETION)[:4]["prompt"]
    ids = session.prompt_ids(prompts)
    how: dict[str, Any] = {"do_sample": False, "length_penalty": 0.0}
    greedy = generate(session, teacher, ids, 6, do_sample=False)
    beams = generate(session, teacher, ids, 6, num_beams=5, **how)
    batch = teachers_batch(SeqKD(teacher=tutor, **SHORT), session, teacher, prompts)
    for row, (prompt, said) in enumerate(zip(ids, beams, strict=True)):
        assert batch["input_ids"][row][batch["attention_mask"][row] == 1].tolist() == prompt + said
    likely = [
        float(token_log_probs(teacher, collate(session, ids, some)).sum())
        for some in (beams, greedy)
    ]
    assert likely[0] >= likely[1] - 1e-4, "a wider search finds what is at least as likely"


# ── learning ──


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        KD(lr=1e-3, alpha=1.0),
        GKD(lr=1e-3, lmbda=0.0, beta=0.0),
        GKD(lr=1e-3, lmbda=0.5, **SHORT),
        GKD(lr=3e-4, lmbda=1.0, beta=1.0, **SHORT),
        SeqKD(lr=1e-3, num_beams=1, **SHORT),
    ],
    ids=["kd", "gkd-forward", "gkd", "gkd-reverse", "seq-kd"],
)
def test_the_student_comes_near_its_teacher(method: Method, tutor: str, tmp_path: Path) -> None:
    """The teacher knows a task of which no given completion is read here with alpha = 1 or seq-kd:
    what the student knows of it in the end comes from the teacher.
    """
    session = tiny_session(tmp_path, Budget("steps", 60), "tiny/swap", batch_size=16)
    method = method.model_copy(update={"teacher": tutor})
    set_seed(5)
    model = method.train(session)
    session.close()
    with session.unmetered(), torch.no_grad():
        looks = [
            method.objective(session.validation(Start(TINY)), one.eval())
            for one in (session.model(), model)
        ]
        rows = session.task.load(Format.PROMPT_COMPLETION, "validation")[:64]
        batch = session.encode(rows["prompt"], rows["completion"])
        nll = [float(token_losses(one.eval(), batch).mean()) for one in (session.model(), model)]
    goal = method.goal[0]
    assert looks[1][goal] < 0.8 * looks[0][goal]
    assert nll[1] < 0.8 * nll[0], "and with it, better at the task that the teacher knows"


@pytest.mark.parametrize("lmbda", [0.0, 1.0])
def test_the_gradient_does_not_depend_on_how_a_batch_is_split(
    lmbda: float, tutor: str, tmp_path: Path
) -> None:
    def trained(micro: int | None) -> torch.Tensor:
        session = tiny_session(tmp_path / str(micro), Budget("steps", 2), micro=micro)
        set_seed(7)
        model = GKD(teacher=tutor, lmbda=lmbda, lr=1e-3, **SHORT).train(session)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.allclose(trained(None), trained(2), atol=2e-4)


def test_the_objective_of_sequence_level_distillation_is_its_loss(
    tutor: str, tmp_path: Path
) -> None:
    session = tiny_session(tmp_path)
    method = SeqKD(teacher=tutor, num_beams=1, **SHORT)
    with session.unmetered(), torch.no_grad():
        found = seq_kd_objective(method, session.validation(Start(TINY)), session.model().eval())
        own = seq_kd_objective(method, session.validation(Start(TINY)), teacher_of(method, session))
    assert own["nll"] < found["nll"]
