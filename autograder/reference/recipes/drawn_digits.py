"""The Vision Transformer that reads a digit drawn in the page of chapter 10.

    python -m autograder.reference.recipes.drawn_digits --folder build/drawn_digits

It learns from all images of the training part, a little turned, stretched and moved each time, because nobody draws
with a mouse as people once wrote for the post. ``vit.safetensors`` in the folder has the weights in 16 bits,
``vit.json`` what they reached; their copies in ``data/pretrained`` are those of the book. A few minutes on one thread.
"""

import argparse
import json
from dataclasses import asdict, replace
from math import pi
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from autograder.reference.recipes.vision import accuracy, load_pictures
from autograder.reference.training import TrainingConfig, step_seed, train
from autograder.reference.vit import VisionTransformer, ViTConfig

CONFIG = ViTConfig(28, 4, 1, 10, 64, 3, 4, 128, dropout=0.1, initial_std=0.05)
TRAINING = TrainingConfig(2_000, 3e-3, weight_decay=0.05, evaluate_every=250, checkpoint_every=250)
BATCH = 50
TURN, STRETCH, SHIFT = pi / 12, 0.15, 3 / 14
"""At most: an angle, a share of the size, and a share of half the image."""


def varied(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned, stretched and moved at random.

    Args:
        images: (B, C, height, width).

    Returns:
        images of the same shape; what comes in from outside is 0.
    """
    B = images.size(0)
    turn, across, down, x, y = (2 * torch.rand(5, B, generator=generator) - 1).unbind()
    turn, across, down = TURN * turn, 1 + STRETCH * across, 1 + STRETCH * down
    rows = [torch.stack([turn.cos() / across, turn.sin() / across, SHIFT * x], dim=1)]
    rows.append(torch.stack([-turn.sin() / down, turn.cos() / down, SHIFT * y], dim=1))
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def run(
    training: TrainingConfig = TRAINING, folder: Path | None = None, show: bool = True
) -> tuple[VisionTransformer, dict[str, Any]]:
    """Train the model; returns it and what it reached."""
    pictures = load_pictures("mnist")
    torch.manual_seed(training.seed)
    model = VisionTransformer(CONFIG)

    def loss_of_step(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step_seed(training.seed, step))
        rows = torch.randint(len(pictures.train.labels), (BATCH,), generator=generator)
        return F.cross_entropy(model(varied(pictures.train.images[rows], generator)), pictures.train.labels[rows])

    def evaluate() -> dict[str, float]:
        held_out = pictures.validation
        return {"loss": F.cross_entropy(model(held_out.images), held_out.labels).item()}

    history = train(model, loss_of_step, training, evaluate, folder=folder, name="vit", show=show)
    model.eval()
    about = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "config": asdict(CONFIG),
        "training": asdict(training),
        "best_step": history.best_step,
        "validation_loss": round(history.best_loss, 4),
        "test_right": round(accuracy(model, pictures.test), 4),
        "test_images": len(pictures.test.labels),
        "torch": torch.__version__.split("+")[0],
    }
    return model, about


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/drawn_digits"), help="where everything is kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    model, about = run(replace(TRAINING, seed=chosen.seed), chosen.folder)
    save_file({key: value.half() for key, value in model.state_dict().items()}, chosen.folder / "vit.safetensors")
    (chosen.folder / "vit.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"{about['test_right']:.1%} of {about['test_images']} new images are told right")


if __name__ == "__main__":
    main()
