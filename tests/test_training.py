"""The trainer: two runs are equal, a killed run resumes exactly, and what it promises about steps, rates and logs."""

import csv
import math
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autograder.reference.training import TrainingConfig, adamw, step_seed, train

CONFIG = TrainingConfig(steps=30, learning_rate=0.01, warmup_steps=5, evaluate_every=10, checkpoint_every=7)


def made() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.Dropout(0.2), nn.Tanh(), nn.LayerNorm(12), nn.Linear(12, 3))


def data(number: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(number))
    return x, (x[:, :3] > 0).int().argmax(1)


def loss_for(model: nn.Module):
    def loss_of_step(step: int) -> Tensor:
        x, y = data(step)
        return nn.functional.cross_entropy(model(x), y)

    return loss_of_step


def evaluation_of(model: nn.Module):
    def evaluate() -> dict[str, float]:
        x, y = data(10_000)
        logits = model(x)
        return {
            "loss": nn.functional.cross_entropy(logits, y).item(),
            "right": (logits.argmax(1) == y).float().mean().item(),
        }

    return evaluate


def trained(config: TrainingConfig = CONFIG, folder: Path | None = None) -> nn.Module:
    model = made()
    train(model, loss_for(model), config, evaluation_of(model), folder=folder)
    return model


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_seed_makes_two_runs_equal_and_another_seed_does_not() -> None:
    assert same(trained(), trained())
    assert not same(trained(), trained(replace(CONFIG, seed=1)))


def test_it_learns() -> None:
    model = made()
    history = train(model, loss_for(model), replace(CONFIG, steps=300), evaluation_of(model))
    assert history.rows[0]["held_out_loss"] > 0.6
    assert history.best_loss < 0.4


def test_a_step_agrees_with_torch_used_by_hand() -> None:
    config = replace(CONFIG, steps=8, evaluate_every=0)
    model, by_hand = made(), made()
    train(model, loss_for(model), config)
    matrices = {id(p) for p in (by_hand[0].weight, by_hand[4].weight)}
    optimizer = torch.optim.AdamW(
        [{"params": [p], "weight_decay": 0.01 if id(p) in matrices else 0.0} for p in by_hand.parameters()],
        betas=config.betas,
    )
    for step in range(8):
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        torch.manual_seed(step_seed(0, step))
        x, y = data(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(by_hand(x), y).backward()
        torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
        optimizer.step()
    for ours, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert (ours - theirs).abs().max() < 1e-6


def test_only_matrices_decay() -> None:
    groups = adamw(made(), CONFIG).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(2, 0.01), (4, 0.0)]


def test_a_new_head_may_learn_faster() -> None:
    config = replace(CONFIG, steps=1, warmup_steps=1, faster=(("4.", 10.0),), weight_decay=0.0)
    before, model = made(), made()
    train(model, loss_for(model), config)
    # Adam's first step moves every number that has a gradient by the rate.
    moved = [
        (one - other).abs().max().item() for one, other in zip(model.parameters(), before.parameters(), strict=True)
    ]
    assert moved == pytest.approx([0.01] * 4 + [0.1] * 2, rel=1e-3)


def test_the_rate_climbs_in_a_line_and_falls_along_a_cosine() -> None:
    config = TrainingConfig(steps=101, learning_rate=2.0, warmup_steps=10, final_rate=0.1)
    assert [config.rate(step) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert config.rate(10) == pytest.approx(2.0)
    assert config.rate(55) == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert config.rate(100) == pytest.approx(0.2)
    rates = [config.rate(step) for step in range(10, 101)]
    assert rates == sorted(rates, reverse=True)


def test_large_gradients_are_clipped_together() -> None:
    def largest_move(clip: float) -> float:
        model = nn.Linear(4, 1)
        nn.init.zeros_(model.weight)
        start = model.weight.detach().clone()
        config = TrainingConfig(steps=1, learning_rate=1e-3, warmup_steps=1, clip_norm=clip, weight_decay=0)
        seen = []
        model.weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.norm().item()))
        train(model, lambda step: 1e6 * model(torch.ones(1, 4)).sum(), config)
        assert seen[0] > 1e5
        assert model.weight.grad is not None
        assert not torch.equal(model.weight, start)
        return model.weight.grad.norm().item()

    assert largest_move(1.0) <= 1.0
    assert largest_move(1e9) > 1e5


def test_the_best_weights_are_what_is_left_and_patience_ends_a_training() -> None:
    model = made()
    losses = iter([3.0, 1.0, 2.0, 2.5, 0.5])
    seen: list[dict[str, Tensor]] = []

    def evaluate() -> dict[str, float]:
        assert not model.training
        seen.append({key: value.clone() for key, value in model.state_dict().items()})
        return {"loss": next(losses)}

    history = train(model, loss_for(model), replace(CONFIG, steps=50, patience=2), evaluate)
    assert history.stopped_early
    assert (history.best_loss, history.best_step, len(history.rows)) == (1.0, 20, 4)
    assert all(torch.equal(value, seen[1][key]) for key, value in model.state_dict().items())
    assert model.training


def test_evaluating_does_not_change_the_training() -> None:
    model = made()

    def noisy() -> dict[str, float]:
        torch.rand(100)
        losses.append(-float(len(losses)))
        return {"loss": losses[-1]}

    losses: list[float] = []
    train(model, loss_for(model), CONFIG, noisy)
    plain = made()
    train(plain, loss_for(plain), replace(CONFIG, evaluate_every=0))
    assert len(losses) == 3
    assert same(model, plain)


def test_the_log_has_a_row_for_each_evaluation(tmp_path: Path) -> None:
    model = made()
    train(model, loss_for(model), CONFIG, evaluation_of(model), tokens_per_step=16, folder=tmp_path, name="tiny")
    with (tmp_path / "tiny.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(float(row["step"])) for row in rows] == [10, 20, 30]
    assert [int(float(row["tokens"])) for row in rows] == [160, 320, 480]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    assert "held_out_right" in rows[0]


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    trained(folder=tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        trained(replace(CONFIG, learning_rate=0.02), folder=tmp_path)


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    model, again = trained(folder=tmp_path), made()
    history = train(again, lambda step: pytest.fail("a step was taken"), CONFIG, evaluation_of(again), folder=tmp_path)
    assert same(model, again)
    assert len(history.rows) == 3


def test_a_loss_that_is_not_finite_is_said_with_its_step() -> None:
    model = made()
    with pytest.raises(FloatingPointError, match="step 2 is not finite"):
        train(model, lambda step: loss_for(model)(step) * (math.nan if step == 2 else 1.0), CONFIG)


@pytest.mark.parametrize("has", [True, False], ids=["a processor with bfloat16", "one without"])
def test_bfloat16_is_used_where_asked_and_had_and_weights_stay_in_float32(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has)
    model, seen = made(), []
    model[0].register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    train(model, loss_for(model), replace(CONFIG, steps=2, bfloat16=True))
    assert set(seen) == {torch.bfloat16 if has else torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_training import CONFIG, evaluation_of, loss_for, made
import torch
from autograder.reference.training import train

torch.set_num_threads({threads})

def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)

model = made()
loss_of_step = loss_for(model)
folder, moment = Path(sys.argv[1]), sys.argv[2]
if moment == "while a checkpoint is kept":
    replace = os.replace
    os.replace = lambda old, new: die() if (folder / "training.csv").exists() else replace(old, new)
train(
    model,
    lambda step: die() if str(step) == moment else loss_of_step(step),
    CONFIG,
    evaluation_of(model),
    folder=folder,
)
"""


@pytest.mark.parametrize("moment", ["3", "8", "22", "29", "while a checkpoint is kept"])
def test_a_training_killed_at_any_moment_resumes_to_the_same_weights(tmp_path: Path, moment: str) -> None:
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), threads=torch.get_num_threads())
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), moment], stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == -signal.SIGKILL
    assert same(trained(folder=tmp_path), trained())
