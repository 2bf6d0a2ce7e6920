"""The Vision Transformer: an image is a sentence of patches (Dosovitskiy et al. 2021).

The layers are those of the Transformer's encoder, pre-norm. ``tests/test_reference_vit.py`` proves the model equal to
transformers' ViTForImageClassification.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.transformer_layer import EncoderLayer


@dataclass(frozen=True)
class ViTConfig:
    """The numbers that make a Vision Transformer; as they stand, those of ViT-Base with patches of 16 (table 1).

    Attributes:
        image_size: height and width of an image; a multiple of ``patch_size``.
        patch_size: height and width of a patch.
        num_channels: numbers for each pixel, C.
        num_classes: kinds of images.
        d_model: width, D.
        num_layers: number of layers, L.
        num_heads: attention heads in each layer, H; must divide ``d_model``.
        d_ff: width inside the feed-forward networks.
        dropout: share that is set to 0 in training.
        initial_std: spread of the weights before training.
        layer_norm_eps: added to the variance in the layer norms.
    """

    image_size: int = 224
    patch_size: int = 16
    num_channels: int = 3
    num_classes: int = 1000
    d_model: int = 768
    num_layers: int = 12
    num_heads: int = 12
    d_ff: int = 3072
    dropout: float = 0.1
    initial_std: float = 0.02
    layer_norm_eps: float = 1e-12


def patchify(images: Tensor, size: int) -> Tensor:
    """Cut images into square patches, row by row.

    Args:
        images: (B, C, height, width).
        size: height and width of a patch; must divide both of the image.

    Returns:
        (B, N, C · size · size): N patches, each flattened channel by channel, then row by row.

    Raises:
        ValueError: if ``size`` does not divide height and width.
    """
    B, C, height, width = images.shape
    if height % size or width % size:
        raise ValueError(
            f"patches of {size} do not fill an image of {height} × {width}: choose a size that divides both"
        )
    rows = images.view(B, C, height // size, size, width // size, size)
    return rows.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * size * size)


def unpatchify(patches: Tensor, size: int, height: int, width: int) -> Tensor:
    """Put images of a known height and width together again, the inverse of :func:`patchify`.

    Args:
        patches: (B, N, C · size · size).

    Returns:
        (B, C, height, width).
    """
    grid = patches.unflatten(2, (-1, size, size)).unflatten(1, (height // size, width // size))
    B, _, _, C, _, _ = grid.shape  # (B, rows, columns, C, size, size)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(B, C, height, width)


class PatchEmbedding(nn.Module):
    """One linear map for all patches (§3.1, eq. 1): a convolution whose stride is its width.

    Args:
        num_channels: C. patch_size: height and width of a patch. d_model: width of the embeddings, D.
    """

    def __init__(self, num_channels: int, patch_size: int, d_model: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Linear(num_channels * patch_size**2, d_model)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, height, width) → (B, N, D)."""
        return self.projection(patchify(images, self.patch_size))


def interpolate_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Stretch learned positions to another grid of patches, for images of another size (§3.2).

    Args:
        positions: (1 + rows · columns, D); the first is the class token's, which stays as it is.
        old, new: rows and columns of patches.

    Returns:
        (1 + new rows · new columns, D), by bicubic interpolation.
    """
    grid = positions[1:].T.unflatten(1, old).unsqueeze(0)  # (1, D, rows, columns)
    stretched = F.interpolate(grid, size=new, mode="bicubic", align_corners=False)
    return torch.cat([positions[:1], stretched[0].flatten(1).T])


class VisionTransformer(nn.Module):
    """Classifies images by what the encoder made of a class token put before the patches (§3.1).

    Raises:
        ValueError: if ``patch_size`` does not divide ``image_size``, or ``num_heads`` ``d_model``.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        if config.image_size % config.patch_size:
            raise ValueError(f"patch_size ({config.patch_size}) must divide image_size ({config.image_size})")
        self.config = config
        D, self.grid = config.d_model, (config.image_size // config.patch_size,) * 2
        self.patch_embedding = PatchEmbedding(config.num_channels, config.patch_size, D)
        self.class_token = nn.Parameter(torch.empty(D))
        self.positions = nn.Parameter(torch.empty(1 + self.grid[0] * self.grid[1], D))
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(D, config.num_heads, config.d_ff, config.dropout, True, F.gelu, config.layer_norm_eps)
            for _ in range(config.num_layers)
        )
        self.final_norm = nn.LayerNorm(D, config.layer_norm_eps)
        self.classifier = nn.Linear(D, config.num_classes)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name:
                nn.init.normal_(parameter, std=config.initial_std)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, number of classes) for images (B, C, height, width); arguments as :meth:`hidden_states`."""
        return self.classifier(self.hidden_states(images)[-1][:, 0])

    def hidden_states(self, images: Tensor) -> list[Tensor]:
        """What each layer makes of the class token and the patches.

        Args:
            images: (B, C, height, width); the positions are stretched if it is not the size in the configuration.

        Returns:
            L + 1 tensors (B, 1 + N, D): the embeddings, then each layer's output, the last after the final norm.

        Raises:
            ValueError: if the patches do not fill the images.
        """
        patches = self.patch_embedding(images)  # (B, N, D)
        class_token = self.class_token.expand(images.size(0), 1, -1)
        x = torch.cat([class_token, patches], dim=1)  # (B, 1 + N, D)
        size = self.config.patch_size
        grid = (images.size(2) // size, images.size(3) // size)
        positions = self.positions if grid == self.grid else interpolate_positions(self.positions, self.grid, grid)
        states = [self.dropout(x + positions)]
        for layer in self.layers:
            states.append(layer(states[-1]))
        states[-1] = self.final_norm(states[-1])
        return states


def attention_rollout(attentions: Sequence[Tensor]) -> Tensor:
    """How much of each input reaches each position through all layers (Abnar and Zuidema 2020, §3).

    In each layer a position passes on half of itself, by the residual connection, and half of what the mean of its
    heads looks at.

    Args:
        attentions: weights of the layers, first to last, each (B, H, T, T).

    Returns:
        (B, T, T); row t is how position t of the last layer is made up of the inputs, and sums to 1.
    """
    T = attentions[0].size(-1)
    through = torch.eye(T, dtype=attentions[0].dtype, device=attentions[0].device)
    rollout = through
    for weights in attentions:
        rollout = (weights.mean(dim=1) + through) / 2 @ rollout
    return rollout
