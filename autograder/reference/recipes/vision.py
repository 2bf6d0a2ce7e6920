"""A Vision Transformer for handwritten digits, on one thread within half a minute.

    python -m autograder.reference.recipes.vision mnist

Images are split into three parts, so that no image is in two; the weights are those that were best on validation.
"""

import argparse
from dataclasses import dataclass, replace
from statistics import mean, stdev

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from autograder.data import load
from autograder.data.datasets import Images, Split
from autograder.reference.training import TrainingConfig, evaluating, train
from autograder.reference.vit import VisionTransformer, ViTConfig

BATCH = 100

CONFIGS = {
    "digits": ViTConfig(8, 2, 1, 10, 48, 2, 4, 192, dropout=0.1, initial_std=0.05),
    "mnist": ViTConfig(28, 7, 1, 10, 64, 3, 4, 256, dropout=0.1, initial_std=0.05),
}
TRAINING = {
    "digits": TrainingConfig(1_200, 2e-3, weight_decay=0.05, evaluate_every=200),
    "mnist": TrainingConfig(1_200, 2e-3, weight_decay=0.05, evaluate_every=200),
}


@dataclass(frozen=True)
class Pictures:
    """Images (N, 1, height, width) from 0 to 1 and what they show (N,)."""

    images: Tensor
    labels: Tensor

    @staticmethod
    def of(part: Images) -> "Pictures":
        return Pictures(
            torch.from_numpy(np.asarray(part.images)).unsqueeze(1), torch.from_numpy(np.asarray(part.labels))
        )


def load_pictures(name: str) -> Split[Pictures]:
    """The three parts of "digits" or "mnist"."""
    dataset = load("digits" if name == "digits" else "mnist", allow_stand_in=False)
    return Split(*map(Pictures.of, dataset.split()))


def train_on_pictures(
    model: torch.nn.Module, pictures: Split[Pictures], training: TrainingConfig, show: bool = True
) -> None:
    """Train any model from images (B, 1, height, width) to logits (B, classes), in place."""
    count = len(pictures.train.labels)

    def loss_of_step(step: int) -> Tensor:
        epoch, number = divmod(step, count // BATCH)
        order = np.random.default_rng([training.seed, epoch]).permutation(count)
        chosen = torch.from_numpy(order[number * BATCH : (number + 1) * BATCH])
        return F.cross_entropy(model(pictures.train.images[chosen]), pictures.train.labels[chosen])

    def evaluate() -> dict[str, float]:
        held_out = pictures.validation
        return {"loss": F.cross_entropy(model(held_out.images), held_out.labels).item()}

    train(model, loss_of_step, training, evaluate, name="ViT", show=show)


def accuracy(model: torch.nn.Module, pictures: Pictures) -> float:
    """The share of the images that are told right."""
    with evaluating(model):
        return (model(pictures.images).argmax(dim=1) == pictures.labels).double().mean().item()


def run(name: str, seed: int = 0, training: TrainingConfig | None = None) -> tuple[VisionTransformer, float]:
    """Train a model of the recipe; returns it and its accuracy on the test part."""
    pictures = load_pictures(name)
    torch.manual_seed(seed)
    model = VisionTransformer(CONFIGS[name])
    train_on_pictures(model, pictures, replace(training or TRAINING[name], seed=seed))
    return model, accuracy(model, pictures.test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", choices=list(CONFIGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    scores = [run(chosen.images, seed)[1] for seed in range(chosen.seeds)]
    spread = f" ± {stdev(scores):.3f}" if len(scores) > 1 else ""
    print(f"accuracy on the test part: {mean(scores):.3f}{spread} ({len(scores)} seeds)")


if __name__ == "__main__":
    main()
