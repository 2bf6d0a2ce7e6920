"""The reference Vision Transformer against transformers', and its patches against a strided convolution."""

from dataclasses import replace

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.transformer_layer import attention_weights
from autograder.reference.vit import (
    PatchEmbedding,
    VisionTransformer,
    ViTConfig,
    attention_rollout,
    interpolate_positions,
    patchify,
    unpatchify,
)

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)

CONFIGS = [
    ViTConfig(8, 2, 1, 10, 12, 2, 3, 20, dropout=0.0),
    ViTConfig(15, 5, 3, 7, 30, 4, 5, 47, dropout=0.0, layer_norm_eps=1e-6),
    ViTConfig(28, 7, 2, 3, 16, 1, 1, 31, dropout=0.0),
]
configs = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"d{config.d_model}")


def their_config(config: ViTConfig, **other) -> transformers.ViTConfig:
    return transformers.ViTConfig(
        image_size=config.image_size,
        patch_size=config.patch_size,
        num_channels=config.num_channels,
        num_labels=config.num_classes,
        hidden_size=config.d_model,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.d_ff,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        layer_norm_eps=config.layer_norm_eps,
        **other,
    )


def randomize(model: nn.Module, dtype: torch.dtype, seed: int) -> nn.Module:
    """Every parameter different from its neighbor, biases and norms too."""
    generator = torch.Generator().manual_seed(seed)
    model.to(dtype).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            around = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.copy_(around + 0.2 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return model


OUR_NAMES = {
    "vit.embeddings.patch_embeddings.": "patch_embedding.",
    "vit.embeddings.cls_token": "class_token",
    "vit.embeddings.position_embeddings": "positions",
    "vit.layernorm.": "final_norm.",
    # transformers 5
    "vit.layers.": "layers.",
    "attention.q_proj.": "attention.query_projection.",
    "attention.k_proj.": "attention.key_projection.",
    "attention.v_proj.": "attention.value_projection.",
    "attention.o_proj.": "attention.output_projection.",
    "mlp.fc1.": "feed_forward.expand.",
    "mlp.fc2.": "feed_forward.contract.",
    # transformers 4
    "vit.encoder.layer.": "layers.",
    "attention.attention.query.": "attention.query_projection.",
    "attention.attention.key.": "attention.key_projection.",
    "attention.attention.value.": "attention.value_projection.",
    "attention.output.dense.": "attention.output_projection.",
    "intermediate.dense.": "feed_forward.expand.",
    "output.dense.": "feed_forward.contract.",
    # both
    "layernorm_before.": "attention_norm.",
    "layernorm_after.": "feed_forward_norm.",
}
"""What the parts of transformers' names are in ours."""


def parameter_pairs(ours: nn.Module, theirs: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Each parameter of ours beside the same one of theirs. All of theirs are used."""
    named = {}
    for name, parameter in theirs.named_parameters():
        for their_part, our_part in OUR_NAMES.items():
            name = name.replace(their_part, our_part)
        named[name] = parameter
    pairs = [(parameter, named.pop(name)) for name, parameter in ours.named_parameters()]
    assert not named
    return pairs


def assert_close(ours: Tensor, other: Tensor) -> None:
    """Equal within the tolerance of the type, relative to the largest entry where that is above 1."""
    assert ours.shape == other.shape
    scale = max(1.0, other.abs().max().item())
    assert (ours - other).abs().max().item() <= TOLERANCE[ours.dtype] * scale


def two_models(config: ViTConfig, dtype: torch.dtype, seed: int, **other) -> tuple[VisionTransformer, nn.Module]:
    theirs = randomize(transformers.ViTForImageClassification(their_config(config, **other)), dtype, seed)
    ours = VisionTransformer(config).to(dtype).eval()
    with torch.no_grad():
        for our_parameter, their_parameter in parameter_pairs(ours, theirs):
            our_parameter.copy_(their_parameter.view_as(our_parameter))
    return ours, theirs


def some_images(config: ViTConfig, seed: int, dtype: torch.dtype, size: tuple[int, int] | None = None) -> Tensor:
    height, width = size or (config.image_size, config.image_size)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, config.num_channels, height, width, generator=generator, dtype=dtype)


@dtypes
@configs
def test_hidden_states_logits_and_gradients_agree_with_transformers(config, dtype):
    ours, theirs = two_models(config, dtype, seed=1)
    images = some_images(config, seed=2, dtype=dtype)
    answer = theirs(images, labels=torch.arange(4) % config.num_classes, output_hidden_states=True)
    states = ours.hidden_states(images)
    assert len(states) == config.num_layers + 1
    for our_state, their_state in zip(states[:-1], answer.hidden_states[:-1], strict=True):
        assert_close(our_state, their_state)
    assert_close(states[-1], theirs.vit(images).last_hidden_state)
    logits = ours(images)
    assert_close(logits, answer.logits)

    pairs = parameter_pairs(ours, theirs)
    loss = F.cross_entropy(logits, torch.arange(4) % config.num_classes)
    assert_close(loss, answer.loss)
    our_gradients = torch.autograd.grad(loss, [pair[0] for pair in pairs])
    their_gradients = torch.autograd.grad(answer.loss, [pair[1] for pair in pairs])
    assert max(gradient.abs().max() for gradient in our_gradients) > 1e-3
    for our_gradient, their_gradient in zip(our_gradients, their_gradients, strict=True):
        assert_close(our_gradient, their_gradient.view_as(our_gradient))


@dtypes
@pytest.mark.parametrize("grid", [(5, 5), (2, 2), (3, 6), (4, 4)])
def test_images_of_another_size_agree_with_transformers(grid, dtype):
    config = CONFIGS[0]
    ours, theirs = two_models(config, dtype, seed=3)
    images = some_images(config, seed=4, dtype=dtype, size=(2 * grid[0], 2 * grid[1]))
    assert_close(ours(images), theirs(images, interpolate_pos_encoding=True).logits)


@configs
def test_attention_weights_agree_with_transformers_and_roll_out(config):
    ours, theirs = two_models(config, torch.float32, seed=5, attn_implementation="eager")  # its softmax is in float32
    images = some_images(config, seed=6, dtype=torch.float32)
    with torch.no_grad(), attention_weights(ours) as weights:
        ours(images)
    their_weights = theirs(images, output_attentions=True).attentions
    assert len(weights) == config.num_layers
    for our_weights, other in zip(weights, their_weights, strict=True):
        assert_close(our_weights, other)
    rollout = attention_rollout(weights)
    assert_close(rollout.sum(dim=-1), torch.ones(rollout.shape[:-1]))


def test_in_training_dropout_agrees_with_transformers_place_by_place():
    config = replace(CONFIGS[1], dropout=0.3)
    ours, theirs = two_models(config, torch.float64, seed=7)
    images = some_images(config, seed=8, dtype=torch.float64)
    torch.manual_seed(9)
    ours_out = ours.train()(images)
    torch.manual_seed(9)
    assert_close(ours_out, theirs.train()(images).logits)


@pytest.mark.parametrize(("C", "size", "rows", "columns"), [(1, 2, 3, 4), (3, 5, 2, 1), (2, 1, 4, 3), (4, 3, 1, 1)])
def test_patches_agree_with_a_strided_convolution_and_can_be_put_together_again(C, size, rows, columns):
    images = torch.randn(2, C, rows * size, columns * size, generator=torch.Generator().manual_seed(10))
    patches = patchify(images, size)
    assert patches.shape == (2, rows * columns, C * size * size)
    assert torch.equal(unpatchify(patches, size, rows * size, columns * size), images)
    for row in range(rows):
        for column in range(columns):
            cut = images[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size]
            assert torch.equal(patches[:, row * columns + column], cut.flatten(1))

    embedding = PatchEmbedding(C, size, 11)
    kernel = embedding.projection.weight.view(11, C, size, size)
    convolved = F.conv2d(images, kernel, embedding.projection.bias, stride=size)
    assert_close(embedding(images), convolved.flatten(2).transpose(1, 2))


def test_positions_on_the_same_grid_stay_and_the_class_token_keeps_its_own():
    positions = torch.randn(1 + 3 * 4, 5, generator=torch.Generator().manual_seed(11))
    assert_close(interpolate_positions(positions, (3, 4), (3, 4)), positions)
    larger = interpolate_positions(positions, (3, 4), (6, 7))
    assert larger.shape == (1 + 42, 5)
    assert torch.equal(larger[0], positions[0])
    flat = torch.cat([positions[:1], torch.full((12, 5), 2.5)])
    assert_close(interpolate_positions(flat, (3, 4), (6, 7))[1:], torch.full((42, 5), 2.5))


def test_rollout_is_the_product_of_the_layers_last_first():
    generator = torch.Generator().manual_seed(12)
    layers = [torch.rand(2, 3, 5, 5, generator=generator, dtype=torch.float64).softmax(dim=-1) for _ in range(3)]
    mixed = [0.5 * layer.mean(dim=1) + 0.5 * torch.eye(5, dtype=torch.float64) for layer in layers]
    assert_close(attention_rollout(layers), mixed[2] @ mixed[1] @ mixed[0])
    assert (attention_rollout(layers) - mixed[0] @ mixed[1] @ mixed[2]).abs().max() > 1e-4


def test_the_order_of_the_patches_matters_through_their_positions_alone():
    model = randomize(VisionTransformer(CONFIGS[0]), torch.float64, seed=13)
    images = some_images(CONFIGS[0], seed=14, dtype=torch.float64)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(15))
    shuffled = unpatchify(patchify(images, 2)[:, order], 2, 8, 8)
    assert (model(images) - model(shuffled)).abs().max() > 1e-3
    with torch.no_grad():
        model.positions.zero_()
    assert_close(model(images), model(shuffled))


def test_vit_base_has_as_many_parameters_as_published_and_agrees_with_transformers():
    with torch.device("meta"):
        ours, theirs = VisionTransformer(ViTConfig()), transformers.ViTForImageClassification(their_config(ViTConfig()))
    numbers = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
    assert numbers == [86_567_656] * 2  # "86M" in table 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: patchify(torch.zeros(1, 1, 7, 8), 2), "patches of 2 do not fill an image of 7 × 8"),
        (
            lambda: VisionTransformer(replace(CONFIGS[0], patch_size=3)),
            r"patch_size \(3\) must divide image_size \(8\)",
        ),
    ],
)
def test_patches_that_do_not_fill_the_image_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_new_model_starts_with_the_spread_that_was_asked_for():
    model = VisionTransformer(replace(CONFIGS[1], d_model=60, initial_std=0.05))
    drawn = [p for name, p in model.named_parameters() if p.dim() == 2 or name == "class_token"]
    together = torch.cat([p.detach().flatten() for p in drawn])
    assert abs(together.std().item() / 0.05 - 1) < 6 / (2 * together.numel()) ** 0.5
    for name, p in model.named_parameters():
        if "norm" in name or name.endswith("bias"):
            assert torch.equal(p, torch.full_like(p, float("norm" in name and name.endswith("weight"))))
