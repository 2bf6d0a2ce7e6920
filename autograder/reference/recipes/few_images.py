"""A Vision Transformer beside a small convolutional network: few images and many, as they are and rearranged.

    python -m autograder.reference.recipes.few_images --folder build/few_images

Every model gets as many steps and the same choice of learning rates. It is made with all images as they are, on a seed
of its own, by the loss on images that are neither learned nor tested. ``few_images.csv`` in the folder has a row for
each training; trainings that are in it are not run again. Its copy beside this file is what the book draws; so far it
has the first settings. Half an hour on one thread.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from autograder.data.datasets import Split
from autograder.reference.recipes.run_log import RunLog
from autograder.reference.recipes.vision import Pictures, accuracy, load_pictures
from autograder.reference.training import TrainingConfig, step_seed, train
from autograder.reference.vit import VisionTransformer, ViTConfig, patchify, unpatchify

CONFIGS = {
    "mnist": ViTConfig(28, 7, 1, 10, 64, 2, 4, 128, dropout=0.1, initial_std=0.05),
    "digits": ViTConfig(8, 2, 1, 10, 48, 2, 4, 96, dropout=0.1, initial_std=0.05),
}
CHANNELS = {"mnist": (16, 32, 36), "digits": (24, 48, 40)}
"""Of the two kinds of convolutions, and of the hidden layer: they make as many parameters as the Transformers have."""

MOST = {"mnist": 3_000, "digits": 1_440}
"""Images to learn from at most; the rest of the training part is tested on too."""

COUNTS = (300, 1_000, 100)
"""Of fewer images."""

BATCH, STEPS, EVERY, WARMUP = 50, 400, 100, 100
RATES = (1e-3, 3e-3, 1e-2)
SEEDS, CHOICE_SEED = (0, 1, 2), 100
SHIFT = 2
COLUMNS = ("images", "model", "arrangement", "count", "seed", "rate", "role", "loss", "right", "seconds", "parameters")


class ConvolutionalNetwork(nn.Module):
    """Three convolutions, each 3 × 3 and followed by ReLU, the first two by max pooling; then two linear layers.

    Args:
        image_size: height and width; a multiple of 4.
        channels: of the first convolution, of the other two, and the width of the hidden layer.
    """

    def __init__(self, image_size: int, channels: tuple[int, int, int], num_classes: int = 10) -> None:
        super().__init__()
        first, second, hidden = channels
        self.layers = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(second, second, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(second * (image_size // 4) ** 2, hidden),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, number of classes) for images (B, 1, height, width)."""
        return self.layers(images)


def without_positions(config: ViTConfig) -> VisionTransformer:
    """A Vision Transformer that is not told where a patch is."""
    model = VisionTransformer(config)
    nn.init.zeros_(model.positions)
    model.positions.requires_grad_(False)
    return model


MODELS: dict[str, Callable[[str], nn.Module]] = {
    "ViT": lambda images: VisionTransformer(CONFIGS[images]),
    "ViT without positions": lambda images: without_positions(CONFIGS[images]),
    "CNN": lambda images: ConvolutionalNetwork(CONFIGS[images].image_size, CHANNELS[images]),
}


def as_they_are(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    return images


def patches_in_one_order(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """The patches of all images in one and the same new order."""
    patches = patchify(images, size)
    order = torch.randperm(patches.size(1), generator=torch.Generator().manual_seed(0))
    return unpatchify(patches[:, order], size, *images.shape[-2:])


def pixels_in_one_order(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """The pixels of all images in one and the same new order."""
    pixels = images.flatten(1)
    order = torch.randperm(pixels.size(1), generator=torch.Generator().manual_seed(0))
    return pixels[:, order].view_as(images)


def patches_in_fresh_orders(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """The patches of each image in an order of its own, another one each time."""
    patches = patchify(images, size)
    orders = torch.rand(patches.shape[:2], generator=generator).argsort(dim=1)
    return unpatchify(patches.gather(1, orders.unsqueeze(2).expand_as(patches)), size, *images.shape[-2:])


def shifted(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to two pixels up or down, and left or right."""
    B, _, height, width = images.shape
    padded = F.pad(images, (SHIFT,) * 4)
    down, right = torch.randint(2 * SHIFT + 1, (2, B, 1), generator=generator)
    rows = (down + torch.arange(height)).view(B, 1, height, 1)
    columns = (right + torch.arange(width)).view(B, 1, 1, width)
    return padded[torch.arange(B).view(B, 1, 1, 1), 0, rows, columns]


class Arrangement(NamedTuple):
    """What is done to the images, whether also to those that are judged, and how many times as many steps there are."""

    apply: Callable[[Tensor, int, torch.Generator], Tensor]
    always: bool = True
    longer: int = 1


ARRANGEMENTS = {
    "as they are": Arrangement(as_they_are),
    "patches, one order": Arrangement(patches_in_one_order),
    "four times as long": Arrangement(as_they_are, longer=4),
    "patches, fresh orders": Arrangement(patches_in_fresh_orders),
    "pixels, one order": Arrangement(pixels_in_one_order),
    "shifted": Arrangement(shifted, always=False),
}


class Setting(NamedTuple):
    """What is trained on what; ``number`` images to learn from."""

    images: str
    model: str
    arrangement: str
    number: int


def settings() -> Iterator[Setting]:
    """All settings of the recipe, in the order in which they are run."""
    whole = MOST["mnist"]
    for model in MODELS:
        yield Setting("mnist", model, "as they are", whole)
    first, *others = list(ARRANGEMENTS)[1:]
    for model in ("ViT", "CNN"):
        yield Setting("mnist", model, first, whole)
    for number in COUNTS:
        for model in ("ViT", "CNN"):
            yield Setting("mnist", model, "as they are", number)
    for name in others:
        for model in ("ViT", "CNN"):
            yield Setting("mnist", model, name, whole)
    for model in MODELS:
        yield Setting("digits", model, "as they are", MOST["digits"])


@lru_cache(maxsize=2)
def parts(images: str) -> Split[Pictures]:
    """Images to learn from, to choose by and to test on; no image is in two of them."""
    loaded, most = load_pictures(images), MOST[images]
    order = torch.randperm(len(loaded.train.labels), generator=torch.Generator().manual_seed(0))
    learned, rest = order[:most], order[most:]
    test = Pictures(
        torch.cat([loaded.test.images, loaded.train.images[rest]]),
        torch.cat([loaded.test.labels, loaded.train.labels[rest]]),
    )
    train_part = Pictures(loaded.train.images[learned], loaded.train.labels[learned])
    return Split(train_part, loaded.validation, test)


def run(setting: Setting, rate: float, seed: int, steps: int = STEPS) -> tuple[nn.Module, dict[str, float]]:
    """Train one model.

    Returns:
        the model; and "loss", its least loss on the images to choose by, and "right", its accuracy on those to test on.
    """
    torch.manual_seed(seed)
    model = MODELS[setting.model](setting.images)
    arrangement, size = ARRANGEMENTS[setting.arrangement], CONFIGS[setting.images].patch_size
    pictures = parts(setting.images)

    def judged(part: Pictures) -> Pictures:
        if not arrangement.always:
            return part
        return replace(part, images=arrangement.apply(part.images, size, torch.Generator().manual_seed(1)))

    held_out, test = judged(pictures.validation), judged(pictures.test)
    # Every seed learns from other images.
    mine = torch.randperm(MOST[setting.images], generator=torch.Generator().manual_seed(seed))[: setting.number]

    def loss_of_step(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step_seed(seed, step))
        rows = mine[torch.randint(setting.number, (BATCH,), generator=generator)]
        images = arrangement.apply(pictures.train.images[rows], size, generator)
        return F.cross_entropy(model(images), pictures.train.labels[rows])

    def evaluate() -> dict[str, float]:
        return {"loss": F.cross_entropy(model(held_out.images), held_out.labels).item()}

    steps *= arrangement.longer
    warmup, every = min(WARMUP, steps // 4), min(EVERY, steps)
    config = TrainingConfig(steps, rate, warmup_steps=warmup, weight_decay=0.05, evaluate_every=every, seed=seed)
    history = train(model, loss_of_step, config, evaluate, show=False)
    return model, {"loss": history.best_loss, "right": accuracy(model, test)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/few_images"), help="where the log is kept")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    log = RunLog(chosen.folder / "few_images.csv", COLUMNS, key_size=7)

    def measured(setting: Setting, rate: float, seed: int, role: str) -> dict[str, float]:
        """What has come of a training, run now or before."""
        key = (*setting, seed, rate, role)
        rows = log.rows_of(*key)
        if not rows:
            began = time.perf_counter()
            model, found = run(setting, rate, seed)
            seconds = time.perf_counter() - began
            size = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
            values = (round(found["loss"], 4), round(found["right"], 4), round(seconds, 1), size)
            rows = log.add(key, [values])
            bar.update()
        return {name: float(rows[-1][name]) for name in ("loss", "right")}

    def chosen_rate(setting: Setting) -> float:
        """The rate with the least loss with all images as they are."""
        plain = setting._replace(arrangement="as they are", number=MOST[setting.images])
        return min(RATES, key=lambda rate: measured(plain, rate, CHOICE_SEED, "choice")["loss"])

    everything = list(settings())
    choices = len(CONFIGS) * len(MODELS) * len(RATES)
    with tqdm(total=choices + len(everything) * len(SEEDS), unit="training", dynamic_ncols=True) as bar:
        for setting in everything:
            best = chosen_rate(setting)
            found = [measured(setting, best, seed, "test")["right"] for seed in SEEDS]
            tqdm.write(f"{', '.join(map(str, setting)):55} rate {best:g}  {mean(found):.3f}  {found}")


if __name__ == "__main__":
    main()
