"""A-GEM, DER++, SI, MAS, online EWC and replay of a model's own texts: numbers by hand, and what
must always hold.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import bench_continual as continual
import pytest
import torch
from bench_continual.carried import recall
from bench_continual.fisher import fisher_on_old_tasks, sensitivity_on_old_tasks
from bench_continual.memory import distances
from bench_continual.penalties import importance, project
from bench_continual.sampling import own_texts
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from bench import Format, token_losses
from bench.accounting.budget import Budget
from bench.methods.artifact import next_start
from bench.methods.learning import trained as trained_by
from bench.testing import tiny_session

from .fine_tuning import TUNED, distance, plain, same, trained

# ── A-GEM ──


def test_projection_by_hand() -> None:
    gradients, reference = (
        [torch.tensor([1.0, 0.0]), torch.tensor([2.0])],
        [
            torch.tensor([-3.0, 1.0]),
            torch.tensor([0.0]),
        ],
    )
    project(gradients, reference)  # g·r = -3, r·r = 10
    torch.testing.assert_close(gradients[0], torch.tensor([0.1, 0.3]))
    torch.testing.assert_close(gradients[1], torch.tensor([2.0]))


@given(st.integers(0, 1000))
def test_a_projected_gradient_never_goes_against_the_reference(seed: int) -> None:
    torch.manual_seed(seed)
    gradients, reference = ([torch.randn(3, 2), torch.randn(4)] for _ in range(2))
    before = [g.clone() for g in gradients]
    project(gradients, reference)
    inner = sum(float((g * r).sum()) for g, r in zip(gradients, reference, strict=True))
    assert inner > -1e-5
    if sum(float((g * r).sum()) for g, r in zip(before, reference, strict=True)) >= 0:
        assert all(torch.equal(a, b) for a, b in zip(before, gradients, strict=True))


def test_a_projection_without_a_reference_changes_nothing() -> None:
    gradients = [torch.ones(3)]
    project(gradients, [torch.zeros(3)])
    assert torch.equal(gradients[0], torch.ones(3))


def test_the_gradient_of_a_session_is_that_of_its_step_however_it_is_split(tmp_path: Path) -> None:
    def found(micro: int | None) -> tuple[list[Tensor], Any, Any]:
        session = tiny_session(tmp_path / str(micro), micro=micro)
        model = session.model().eval()
        optimizer = session.optimizer(model, 1e-3)
        batch = next(iter(session.batches(Format.PROMPT_COMPLETION)))
        made = session.gradient(optimizer, batch, lambda part: token_losses(model, part))
        assert all(p.grad is None for p in model.parameters()) and session.ledger.steps == 0
        session.close()
        return made, model, batch

    whole, model, batch = found(None)
    by_hand = torch.autograd.grad(token_losses(model, batch).mean(), list(model.parameters()))
    for one, parts, expected in zip(whole, found(2)[0], by_hand, strict=True):
        torch.testing.assert_close(one, expected, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(parts, expected, atol=1e-6, rtol=1e-4)


def test_no_step_of_a_gem_goes_against_old_rows_which_are_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tiny_session(tmp_path, Budget("steps", 6))
    gradient = session.gradient
    references: list[list[Tensor]] = []
    inner: list[float] = []

    def watched(*given: Any) -> list[Tensor]:
        references.append(gradient(*given))
        return references[-1]

    def look(optimizer: Optimizer, *_: Any) -> None:
        pairs = zip(trained_by(optimizer), references[-1], strict=True)
        inner.append(sum(float((p.grad * r).sum()) for p, r in pairs if p.grad is not None))

    monkeypatch.setattr(session, "gradient", watched)
    hook = register_optimizer_step_post_hook(look)
    trained(continual.AGEM(**TUNED), session)
    hook.remove()
    assert len(inner) == len(references) == 6
    assert all(value > -1e-6 for value in inner)
    spent = session.ledger.by_purpose()
    assert spent["replay"]["samples"] == spent["train"]["samples"] / 2 == 24


# ── DER++ ──


def test_der_pp_is_the_sum_of_three_means(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model, start = session.model().eval(), session.reference()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.05)
    old = session.old_rows(Format.PROMPT_COMPLETION, 8)
    new, said, again = [
        session.encode(rows["prompt"], rows["completion"]) for rows in islice(old, 3)
    ]
    whole = {"new": new, "said": said, "old": again}
    per_row = {k: (b["labels"][:, 1:] >= 0).sum(1).float().mean() for k, b in whole.items()}
    method = continual.DERpp(alpha=0.3, beta=0.7)
    with session.unmetered(), torch.no_grad():
        made = method.losses(model, start, per_row, whole)
        asked = said["labels"][:, 1:] >= 0
        logits = [
            m(input_ids=said["input_ids"], attention_mask=said["attention_mask"]).logits[:, :-1]
            for m in (model, start)
        ]
        mse = torch.nn.functional.mse_loss(logits[0][asked], logits[1][asked])
        by_hand = token_losses(model, new).mean() + 0.7 * token_losses(model, again).mean()
        torch.testing.assert_close(made.mean(), by_hand + 0.3 * mse)
        assert not distances(start, start, said).any(), "at first there is nothing to keep"


def test_der_pp_does_not_depend_on_how_a_batch_is_split(tmp_path: Path) -> None:
    one, parts = (
        trained(continual.DERpp(**TUNED), tiny_session(tmp_path / str(micro), micro=micro))
        for micro in (None, 2)
    )
    start = tiny_session(tmp_path / "c").model()
    assert distance(one, parts) < 0.02 * distance(one, start)


# ── importance of weights ──


def test_the_importance_of_si_by_hand() -> None:
    found = importance(torch.tensor([0.6, -1.0, 0.2]), torch.tensor([0.1, 0.5, 0.0]), 0.02)
    torch.testing.assert_close(found, torch.tensor([20.0, 0.0, 10.0]))


def _next(session: Any, folder: Path, method: Any, model: Any, **changes: Any) -> Any:
    """The session of the next target of a sequence."""
    session.made_by = ("", method)
    start = next_start(session, model, "merged")
    old = (*session.old, session.task)
    return tiny_session(folder, start=start, memory=session.memory, old=old, **changes)


def test_si_carries_the_path_of_a_target_to_the_next(tmp_path: Path) -> None:
    first = tiny_session(tmp_path / "first", task="tiny/swap")
    model = trained(continual.SI(**TUNED), first)
    omega = recall(first, "importance")
    assert [o.shape for o in omega] == [p.shape for p in model.parameters()]
    assert all(bool((o >= 0).all()) for o in omega) and any(bool(o.any()) for o in omega)
    second = _next(first, tmp_path / "second", continual.SI(), model)
    held = trained(continual.SI(c=1e6, **TUNED), second)
    assert any(
        not torch.equal(a, b) for a, b in zip(recall(second, "importance"), omega, strict=True)
    )
    free = plain(tiny_session(tmp_path / "free", start=second.start))
    assert not same(held, free)
    begun = second.model()

    def moved(of: Any) -> float:
        pairs = zip(omega, of.parameters(), begun.parameters(), strict=True)
        return sum(float((o * (a - b).square()).sum().detach()) for o, a, b in pairs)

    assert moved(held) < moved(free)


def test_the_path_of_si_adds_up_to_what_the_loss_fell_by(tmp_path: Path) -> None:
    """Σ ω is the line integral of the gradient: over small steps, the fall of the loss."""
    session = tiny_session(tmp_path, Budget("steps", 30), batch_size=64)
    method = continual.SI(lr=1e-4, xi=1e-30)
    look = session.validation(session.start)
    model = trained(method, session)
    start = session.reference()
    with session.unmetered(), torch.no_grad():
        fell = method.objective(look, start)["nll"] - method.objective(look, model.eval())["nll"]
    pairs = zip(recall(session, "importance"), model.parameters(), start.parameters(), strict=True)
    path = sum(float((o * (a - b).square()).sum().detach()) for o, a, b in pairs)
    assert (
        0.1 * fell < path < 3 * fell
    )  # the gradient is clipped, and steps against it are left out


def test_online_ewc_lets_older_information_fade(tmp_path: Path) -> None:
    method = continual.OnlineEWC(gamma=0.5, fisher_examples=4, **TUNED)
    first = tiny_session(tmp_path / "first", task="tiny/swap")
    model = trained(method, first)
    older = recall(first, "fisher")
    second = _next(first, tmp_path / "second", method, model)
    torch.manual_seed(second.seed)
    newer = fisher_on_old_tasks(second, Format.PROMPT_COMPLETION, 4, (first.task,))
    trained(method, second)
    for carried, f, before in zip(recall(second, "fisher"), newer, older, strict=True):
        torch.testing.assert_close(carried, 0.5 * before + f)


def test_online_ewc_at_its_first_target_is_ewc(tmp_path: Path) -> None:
    settings = {"fisher_examples": 4, "ewc_lambda": 1e3, **TUNED}
    one = trained(continual.OnlineEWC(**settings), tiny_session(tmp_path / "a"))
    assert same(one, trained(continual.EWC(**settings), tiny_session(tmp_path / "b")))


def test_the_sensitivity_of_mas_to_the_last_norm_by_hand(tmp_path: Path) -> None:
    """z = W (g ∘ n) with n the normed state: ∂‖z‖²/∂g = 2 n ∘ Wᵀz, the mean over a row's tokens."""
    session = tiny_session(tmp_path)
    found = sensitivity_on_old_tasks(session, Format.PROMPT_COMPLETION, 1)
    spent = session.ledger.by_purpose()
    assert set(spent) == {"sensitivity"} and spent["sensitivity"]["samples"] == 1
    model: Any = session.model().eval()
    names = [name for name, _ in model.named_parameters()]
    row = next(session.old_rows(Format.PROMPT_COMPLETION, 1))
    batch = session.encode(row["prompt"], row["completion"])
    asked = batch.pop("labels")[0, 1:] >= 0
    with session.unmetered(), torch.no_grad():
        output = model(**batch, output_hidden_states=True)
    normed = (output.hidden_states[-1] / model.model.norm.weight)[0, :-1][asked]
    logits = output.logits[0, :-1][asked]
    by_hand = (2 * normed * (logits @ model.lm_head.weight)).mean(0).abs().detach()
    torch.testing.assert_close(
        found[names.index("model.norm.weight")], by_hand, rtol=1e-3, atol=1e-5
    )


# ── own texts ──


def test_own_texts_are_the_starts_and_charged_as_rollout(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("tokens", 100_000))
    torch.manual_seed(0)
    texts = own_texts(session, 32, 32)
    assert set(session.ledger.by_purpose()) == {"rollout"}
    assert 8 <= len(texts) <= 32 and len(set(texts)) > 8
    model = session.reference()
    batch = session.encode([""] * len(texts), texts)
    with session.unmetered(), torch.no_grad():
        own = token_losses(model, batch).mean()
        other = token_losses(model, session.encode([""] * 2, ["fish 3 3 3 9", "? ? 1 ?"])).mean()
    assert own < other


def test_own_texts_leave_most_of_a_small_budget_and_take_their_share(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("tokens", 8000))
    trained(continual.SelfReplay(samples=512, **TUNED), session)
    spent = session.ledger.by_purpose()
    assert 0 < spent["rollout"]["tokens"] < 0.35 * 8000
    assert session.ledger.steps > 20

    again = tiny_session(tmp_path / "b")
    batches = islice(continual.SelfReplay(replay_ratio=0.25).mixed(again, ["own"]), 10)
    assert sum(completions.count("own") for _, completions in batches) == 20
    again.close()


def test_self_replay_needs_no_old_data(tmp_path: Path) -> None:
    assert continual.SelfReplay().skip(tiny_session(tmp_path, old=())) is None
