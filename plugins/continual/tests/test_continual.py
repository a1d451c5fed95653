"""Methods against forgetting on the embedded model: equal to plain fine-tuning where they should
be, and holding on where they should.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import bench_continual as continual
import pytest
import torch
from bench_continual.fisher import fisher_on_old_tasks
from bench_continual.mixing import mixing
from bench_continual.penalties import copies, distillation, ewc
from bench_continual.tuning import FineTuning

from bench.accounting.budget import Budget
from bench.data.formats import Format
from bench.methods.method import Method
from bench.methods.recipe import obstacle
from bench.testing import tiny_session

from .fine_tuning import TUNED, distance, loaded, plain, same, trained, weights


@pytest.mark.parametrize(
    "method",
    [
        continual.Replay(replay_ratio=0, **TUNED),
        continual.L2SP(alpha=0, **TUNED),
        continual.EWC(ewc_lambda=0, fisher_examples=2, **TUNED),
        continual.RecAdam(k=1000, t0=-1, **TUNED),
        continual.Mixout(p=0, **TUNED),
        continual.WiseFT(alpha=1, **TUNED),
        continual.SelfReplay(replay_ratio=0, **TUNED),
        continual.DERpp(alpha=0, beta=0, **TUNED),
        continual.OnlineEWC(ewc_lambda=0, fisher_examples=2, **TUNED),
        continual.MAS(mas_lambda=0, examples=2, **TUNED),
        continual.SI(**TUNED),
    ],
    ids=lambda method: type(method).__name__,
)
def test_at_no_strength_it_is_plain_fine_tuning_bit_for_bit(
    method: FineTuning, tmp_path: Path
) -> None:
    assert same(trained(method, tiny_session(tmp_path / "a")), plain(tiny_session(tmp_path / "b")))


def test_lwf_without_distillation_is_plain_fine_tuning(tmp_path: Path) -> None:
    """Within rounding: it adds up losses of rows rather than of tokens."""
    lwf = tiny_session(tmp_path / "a")
    trained(continual.LwF(lambda_o=0, **TUNED), lwf)
    free = tiny_session(tmp_path / "b")
    plain(free)
    assert lwf.log.losses == pytest.approx(free.log.losses, rel=1e-3)
    assert lwf.log.losses[0] == pytest.approx(free.log.losses[0], rel=1e-5)


@pytest.mark.parametrize(
    "method",
    [
        continual.L2SP(alpha=1e6, **TUNED),
        continual.RecAdam(gamma=1e6, k=100, t0=2, **TUNED),
        continual.WiseFT(alpha=0, **TUNED),
    ],
    ids=lambda method: type(method).__name__,
)
def test_at_every_strength_it_stays_by_the_start(method: FineTuning, tmp_path: Path) -> None:
    steps = Budget("steps", 12)
    session = tiny_session(tmp_path / "a", steps)
    held, free = trained(method, session), plain(tiny_session(tmp_path / "b", steps))
    start = tiny_session(tmp_path / "c").model()
    assert distance(held, start) < 0.4 * distance(free, start)


@pytest.mark.slow
def test_ewc_holds_what_matters_to_old_tasks_and_little_else(tmp_path: Path) -> None:
    steps = Budget("steps", 24)
    held = trained(
        continual.EWC(ewc_lambda=1e8, fisher_examples=32, **TUNED),
        tiny_session(tmp_path / "a", steps),
    )
    free = plain(tiny_session(tmp_path / "b", steps))
    judge = tiny_session(tmp_path / "c", steps)
    torch.manual_seed(judge.seed)
    fisher = fisher_on_old_tasks(judge, Format.PROMPT_COMPLETION, 32)
    start = copies(judge.model())
    costs = [
        float(ewc(list(model.parameters()), start, fisher, 1.0).detach()) for model in (held, free)
    ]
    assert costs[0] < 0.2 * costs[1]
    assert distance(held, judge.model()) > 0.1 * distance(free, judge.model())


def test_the_fisher_information_is_charged_and_comes_from_old_tasks(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    fisher = fisher_on_old_tasks(session, Format.PROMPT_COMPLETION, 6)
    rows = session.old_rows(Format.PROMPT_COMPLETION, 6)
    asked = session.encode(*(next(rows)[column] for column in ("prompt", "completion")))
    spent = session.ledger.by_purpose()
    assert set(spent) == {"fisher"}
    assert spent["fisher"]["samples"] == 6
    assert spent["fisher"]["tokens"] == pytest.approx(float(asked["attention_mask"].sum()), rel=0.3)
    assert [f.shape for f in fisher] == [p.shape for p in session.model().parameters()]
    assert all(bool((f >= 0).all()) for f in fisher) and any(bool(f.any()) for f in fisher)


def test_the_fisher_information_leaves_most_of_a_small_budget(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("tokens", 600))
    trained(continual.EWC(**TUNED), session)
    spent = session.ledger.by_purpose()
    assert 0 < spent["fisher"]["tokens"] < 0.3 * 600
    assert session.ledger.steps > 2


@pytest.mark.parametrize("ratio", [0.25, 0.3])
def test_replay_keeps_the_size_of_batches_and_its_share_of_old_rows(
    ratio: float, tmp_path: Path
) -> None:
    session = tiny_session(tmp_path)
    batches = list(islice(continual.Replay(replay_ratio=ratio).mixed(session), 10))
    assert all(len(prompts) == len(completions) == 8 for prompts, completions in batches)
    fresh = [[p for p in prompts if p.startswith("smallest")] for prompts, _ in batches]
    old = [p for prompts, _ in batches for p in prompts if not p.startswith("smallest")]
    assert len(old) == pytest.approx(80 * ratio, abs=1)
    assert sum(p.startswith("last") for p in old) == pytest.approx(len(old) / 2, abs=1), (
        "both old tasks have the same share"
    )
    expected = session.dataset(Format.PROMPT_COMPLETION)["prompt"]
    assert all(new == expected[8 * i : 8 * i + len(new)] for i, new in enumerate(fresh)), (
        "new rows are those of everybody's batch"
    )


@pytest.mark.parametrize(
    "method",
    [continual.Replay(), continual.EWC(), continual.AGEM(), continual.DERpp(), continual.MAS()],
    ids=lambda method: type(method).__name__,
)
def test_without_old_data_they_say_why_they_cannot_run(method: Method, tmp_path: Path) -> None:
    assert obstacle(method, tiny_session(tmp_path)) is None
    reason = obstacle(method, tiny_session(tmp_path, old=()))
    assert reason is not None and "prompt-completion" in reason
    text_only = tiny_session(tmp_path / "text", task="tiny/text").task
    assert obstacle(method, tiny_session(tmp_path, old=(text_only,))) == reason


def test_the_teacher_of_lwf_is_charged_for_the_same_tokens(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    trained(continual.LwF(**TUNED), session)
    spent = session.ledger.by_purpose()
    assert spent["reference"]["tokens"] == spent["train"]["tokens"] > 0
    assert spent["reference"]["samples"] == spent["train"]["samples"]


@pytest.mark.slow
def test_the_teacher_of_lwf_is_the_untouched_start(tmp_path: Path) -> None:
    """Nothing is to be distilled before training; with enough weight little is afterwards; and that
    is the distance to the start.
    """
    steps = Budget("steps", 12)
    held = trained(continual.LwF(lambda_o=1e4, **TUNED), tiny_session(tmp_path / "a", steps))
    free = plain(tiny_session(tmp_path / "b", steps))
    third = tiny_session(tmp_path / "c", batch_size=128)
    look = third.validation(third.start)
    start, held, free = (
        loaded(look, weights) for weights in ({}, held.state_dict(), free.state_dict())
    )
    with torch.no_grad():
        before, after, unheld = (
            continual.LwF().objective(look, model)["distillation"] for model in (start, held, free)
        )
        batch = next(iter(look.batches(Format.PROMPT_COMPLETION)))
        text = batch["attention_mask"][:, 1:].bool()
        said, wanted = (
            model(input_ids=batch["input_ids"]).logits[:, :-1][text] for model in (free, start)
        )
    assert before == pytest.approx(0, abs=1e-6)
    assert 0 < after < 0.5 * unheld
    assert unheld == pytest.approx(distillation(said, wanted, 2.0).mean().item(), rel=1e-4)


def test_mixout_mixes_every_step_anew_and_leaves_weights_clean(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    model = session.model()
    batch = next(iter(session.batches(Format.PROMPT_COMPLETION)))
    with torch.no_grad():
        unmixed = model(**batch).logits
        with mixing(model, 0.7) as draw_again:
            at_the_start = model(**batch).logits
            for parameter in model.parameters():
                parameter.mul_(1.02)
            first, same_step = model(**batch).logits, model(**batch).logits
            draw_again()
            second = model(**batch).logits
        after, again = model(**batch).logits, model(**batch).logits
    session.close()
    assert torch.allclose(at_the_start, unmixed, atol=1e-4), "at the start there is nothing to mix"
    assert torch.equal(first, same_step)
    assert not torch.equal(first, second)
    assert torch.equal(after, again)


def test_mixout_costs_what_plain_fine_tuning_costs(tmp_path: Path) -> None:
    mixed = tiny_session(tmp_path / "a")
    tuned = trained(continual.Mixout(p=0.5, **TUNED), mixed)
    unmixed = tiny_session(tmp_path / "b")
    free = plain(unmixed)
    assert mixed.ledger.by_purpose() == unmixed.ledger.by_purpose()
    assert tuned.state_dict().keys() == free.state_dict().keys() and not same(tuned, free)


def test_wise_ft_lies_halfway(tmp_path: Path) -> None:
    model = trained(continual.WiseFT(alpha=0.5, **TUNED), tiny_session(tmp_path / "a"))
    tuned, start = plain(tiny_session(tmp_path / "b")), tiny_session(tmp_path / "c").model()
    for name, weight in weights(model).items():
        assert torch.allclose(weight, (weights(tuned)[name] + weights(start)[name]) / 2, atol=1e-7)


def test_a_soup_is_the_mean_of_runs_that_share_the_budget(tmp_path: Path) -> None:
    session = tiny_session(tmp_path / "a", Budget("steps", 6))
    model = trained(continual.ModelSoup(k=3, **TUNED), session)
    assert session.ledger.steps == 6

    again = tiny_session(tmp_path / "b", Budget("steps", 6))
    ingredients, prompts = [], []
    for number in range(3):
        with again.stage(str(number), (number + 1) / 3) as part:
            prompts.append(part.dataset(Format.PROMPT_COMPLETION)["prompt"][:8])
            ingredients.append(weights(FineTuning(**TUNED).train(part)))
    again.close()
    assert prompts[0] != prompts[1], "each in another order of the data"
    assert not torch.equal(
        ingredients[0]["model.embed_tokens.weight"], ingredients[1]["model.embed_tokens.weight"]
    )
    for name, weight in weights(model).items():
        assert torch.allclose(
            weight, torch.stack([i[name] for i in ingredients]).mean(0), atol=1e-6
        )


@pytest.mark.parametrize(
    "method",
    [
        continual.Replay(**TUNED),
        continual.LwF(**TUNED),
        continual.EWC(fisher_examples=4, **TUNED),
        continual.L2SP(**TUNED),
        continual.RecAdam(gamma=100, **TUNED),
        continual.Mixout(**TUNED),
        continual.WiseFT(**TUNED),
        continual.ModelSoup(**TUNED),
        continual.OLora(lr=3e-3),
        continual.SelfReplay(samples=16, **TUNED),
        continual.AGEM(**TUNED),
        continual.DERpp(**TUNED),
        continual.OnlineEWC(fisher_examples=4, **TUNED),
        continual.MAS(examples=4, **TUNED),
        continual.SI(**TUNED),
    ],
    ids=lambda method: type(method).__name__,
)
def test_in_bfloat16_it_trains_float32_masters(method: Method, tmp_path: Path) -> None:
    session = tiny_session(tmp_path, Budget("steps", 3), dtype=torch.bfloat16)
    model = trained(method, session)
    assert session.ledger.steps == 3
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [continual.LwF(**TUNED), continual.Mixout(**TUNED), continual.ModelSoup(**TUNED)],
    ids=lambda method: type(method).__name__,
)
def test_what_it_gives_back_can_be_measured_by_the_session_it_came_from(
    method: Method, tmp_path: Path
) -> None:
    session = tiny_session(tmp_path)
    model = trained(method, session)
    with session.unmetered(), torch.no_grad():
        look = session.validation(session.start)
        before, after = (method.objective(look, m.eval())["nll"] for m in (look.model(), model))
    assert after < before
