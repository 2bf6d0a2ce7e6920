"""Rotary positions: a word's place turns its queries and keys (Su et al. 2021, RoFormer, §3.2–3.4).

The two features that are turned together lie half a head apart, as in the published Llama models; the paper has them
side by side, which is the same up to the order of the features.
"""

import torch
from torch import Tensor, nn

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of the angles of some positions, both (T, head size)."""


class RotaryPositions(nn.Module):
    """The angles t · base^(−2i/head size) of positions t and pairs of features i (§3.2.2).

    Args:
        head_size: width of a head; even.
        max_positions: how many positions there are angles for.
        base: the larger, the more slowly the last pairs turn.

    Raises:
        ValueError: if ``head_size`` is odd.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, head_size: int, max_positions: int, base: float = 10_000.0) -> None:
        super().__init__()
        if head_size % 2:
            raise ValueError(f"the head size is {head_size}; rotary positions need an even one")
        frequencies = 1 / base ** (torch.arange(0, head_size, 2) / head_size)  # (head_size/2,)
        angles = torch.arange(max_positions)[:, None] * frequencies.repeat(2)  # (max_positions, head_size)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, start: int, T: int) -> Rotation:
        """Cosines and sines of positions start … start + T − 1, each (T, head size)."""
        return self.cos[start : start + T], self.sin[start : start + T]


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn each pair of features by the angle of its position.

    The product of a turned query and a turned key depends on how far apart they are, not on where.

    Args:
        x: queries or keys, (B, H, T, head size).
        rotation: as :class:`RotaryPositions` gives it for the same T.

    Returns:
        (B, H, T, head size).
    """
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
