"""The recipes of chapter 10: small models beside each other, and the one that reads a digit drawn in the page."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autograder.reference.pretrained import figures, load_vit
from autograder.reference.recipes import drawn_digits, few_images
from autograder.reference.recipes.few_images import ARRANGEMENTS, CONFIGS, MODELS, MOST, Setting
from autograder.reference.recipes.vision import accuracy, load_pictures
from autograder.reference.vit import patchify

LOG = Path(few_images.__file__).with_suffix(".csv")
DRAWN = [
    *((model, name) for model in ("ViT", "CNN") for name in ARRANGEMENTS),
    ("ViT without positions", "as they are"),
]
"""What chapter 10 draws from the log."""


def rearranged(name: str, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return ARRANGEMENTS[name].apply(images, 7, torch.Generator().manual_seed(seed))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_rivals_have_the_same_size() -> None:
    for images in CONFIGS:
        sizes = [sum(p.numel() for p in make(images).parameters() if p.requires_grad) for make in MODELS.values()]
        assert max(sizes) < 1.05 * min(sizes), images


def test_no_picture_is_in_two_parts() -> None:
    for images, most in MOST.items():
        parts = few_images.parts(images)
        seen = [{picture.numpy().tobytes() for picture in part.images} for part in parts]
        assert len(parts.train.labels) == most
        assert not any(one & other for k, one in enumerate(seen) for other in seen[:k])
        assert sum(len(part.labels) for part in parts) == sum(len(part.labels) for part in load_pictures(images))


def test_shuffles_keep_what_they_should(images: torch.Tensor) -> None:
    def patches(some: torch.Tensor) -> list[list[tuple[float, ...]]]:
        return [[tuple(patch.tolist()) for patch in picture] for picture in patchify(some, 7)]

    before = patches(images)
    places = {}
    for name in ("patches, one order", "patches, fresh orders"):
        after = patches(rearranged(name, images))
        assert [sorted(picture) for picture in after] == [sorted(picture) for picture in before]
        places[name] = [[old.index(patch) for patch in new] for old, new in zip(before, after, strict=True)]
        assert places[name][0] != list(range(16))
    assert all(order == places["patches, one order"][0] for order in places["patches, one order"])
    assert len({tuple(order) for order in places["patches, fresh orders"]}) == len(images)
    scattered = rearranged("pixels, one order", images)
    assert torch.equal(scattered.flatten(1).sort().values, images.flatten(1).sort().values)
    assert not {patch for picture in patches(scattered) for patch in picture} & {p for old in before for p in old}
    for name in ("patches, one order", "pixels, one order"):
        assert torch.equal(rearranged(name, images, 5), rearranged(name, images, 6))
    assert torch.equal(rearranged("as they are", images), images)


def test_a_shift_moves_a_picture_as_a_whole() -> None:
    dot = torch.zeros(200, 1, 28, 28)
    dot[:, 0, 14, 14], dot[:, 0, 10, 12] = 1.0, 0.5
    moved = rearranged("shifted", dot)
    rows, columns = (moved[:, 0] == 1).nonzero()[:, 1:].T
    assert len(rows) == 200
    assert set(rows.tolist()) == set(columns.tolist()) == set(range(12, 17))
    assert torch.equal(moved[torch.arange(200), 0, rows - 4, columns - 2], torch.full((200,), 0.5))
    assert not ARRANGEMENTS["shifted"].always


def test_a_model_without_positions_is_blind_to_the_order_of_patches_before_and_after_training() -> None:
    model, _ = few_images.run(Setting("mnist", "ViT without positions", "as they are", 300), 3e-3, 0, steps=20)
    images = few_images.parts("mnist").validation.images[:20]
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(images), model(rearranged("patches, fresh orders", images)))
        assert (model(images) - model(rearranged("pixels, one order", images))).abs().max() > 1e-2


def test_the_log_is_that_of_the_recipe_that_is_here() -> None:
    with LOG.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == few_images.COLUMNS
    tested = {(r["images"], r["model"], r["arrangement"], int(r["count"])) for r in rows if r["role"] == "test"}
    assert tested == {tuple(setting) for setting in few_images.settings()}
    for model, arrangement in DRAWN:
        setting = [r for r in rows if [r["images"], r["model"], r["count"]] == ["mnist", model, str(MOST["mnist"])]]
        losses = {float(r["rate"]): float(r["loss"]) for r in setting if r["role"] == "choice"}
        assert set(losses) == set(few_images.RATES)
        found = [r for r in setting if [r["arrangement"], r["role"]] == [arrangement, "test"]]
        assert {int(r["seed"]) for r in found} == set(few_images.SEEDS)
        assert {float(r["rate"]) for r in found} == {min(losses, key=lambda rate, losses=losses: losses[rate])}


def test_the_log_is_what_comes_out() -> None:
    setting, seed = Setting("mnist", "CNN", "as they are", MOST["mnist"]), few_images.SEEDS[0]
    key = [*map(str, setting), str(seed), "test"]
    with LOG.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        logged = next(r for r in rows if [r[c] for c in (*few_images.COLUMNS[:5], "role")] == key)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _, found = few_images.run(setting, float(logged["rate"]), seed)
    finally:
        torch.set_num_threads(threads)
    assert found["right"] == pytest.approx(float(logged["right"]), abs=0.015)
    assert found["loss"] == pytest.approx(float(logged["loss"]), abs=0.03)


def test_varied_digits_are_moved_turned_and_stretched_but_little() -> None:
    cross = torch.zeros(300, 1, 28, 28)
    cross[:, 0, 12:16, 6:22] = 1.0
    varied = drawn_digits.varied(cross, torch.Generator().manual_seed(0))
    assert varied.shape == cross.shape
    mass = varied.sum(dim=(1, 2, 3)) / cross[0].sum()
    assert 0.75 < mass.min() < 0.9 < 1.1 < mass.max() < 1.35
    rows, columns = (torch.arange(28.0) - 13.5).view(28, 1), (torch.arange(28.0) - 13.5).view(1, 28)
    total = varied[:, 0].sum(dim=(1, 2))
    down, across = ((varied[:, 0] * place).sum(dim=(1, 2)) / total for place in (rows, columns))
    assert 2 < down.abs().max() < 4.5
    assert 2 < across.abs().max() < 4.5
    turned = (varied[:, 0] * (rows - down.view(-1, 1, 1)) * (columns - across.view(-1, 1, 1))).sum(dim=(1, 2)) / total
    assert turned.min() < -3
    assert turned.max() > 3


def test_what_reads_drawn_digits_reaches_what_stands_beside_it() -> None:
    model, about = load_vit(), figures("vit")
    assert sum(parameter.numel() for parameter in model.parameters()) == about["parameters"]
    assert accuracy(model, load_pictures("mnist").test) == pytest.approx(about["test_right"], abs=0.005)


def test_the_recipe_of_the_drawn_digits_is_the_one_that_is_here(tmp_path: Path) -> None:
    about = figures("vit")
    assert about["training"]["steps"] == drawn_digits.TRAINING.steps
    assert about["training"]["learning_rate"] == drawn_digits.TRAINING.learning_rate
    assert load_vit().config == drawn_digits.CONFIG
    model, few = drawn_digits.run(replace(drawn_digits.TRAINING, steps=30, warmup_steps=10), tmp_path, show=False)
    assert few["validation_loss"] < math.log(10)
    assert (tmp_path / "vit.csv").exists()
    assert not model.training
