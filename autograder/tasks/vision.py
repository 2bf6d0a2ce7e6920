"""10-vision: patches, their vectors, the Vision Transformer, larger images, rollout, training, a shuffle."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F

from autograder.checking.client.fixtures import PublicRows, TrainingBatches
from autograder.checking.given import Given
from autograder.checking.student import Answer, Student
from autograder.checking.tasks import Case, case, expected_gradient, filled, task
from autograder.data import load
from autograder.reference import vit as reference


@task("patchify")
def patchify(student: Student, given: Given) -> Iterator[Case]:
    """Squares row by row, each channel by channel and row by row; and the way back."""
    for name, (B, C, H, W), P, weight in (
        ("one image, one channel", (1, 1, 4, 6), 2, 2),
        ("a batch with three channels", (2, 3, 9, 6), 3, 3),
        ("more columns than rows", (3, 2, 4, 10), 2, 2),
        ("a single patch", (2, 3, 4, 4), 4, 1),
        ("patches of one pixel", (2, 3, 4, 5), 1, 1),
    ):
        images = given.normal(B, C, H, W)
        patches = reference.patchify(images, P)
        answer = student.patchify(images, P)
        yield case(f"cut: {name}", answer, patches, weight=weight, axes="B N C·P·P")
        other = given.normal(*patches.shape)
        yield case(
            f"put together: {name}",
            student.unpatchify(other, P, H, W),
            reference.unpatchify(other, P, H, W),
            weight=weight,
            axes="B C H W",
        )
    images, upstream = given.normal(2, 3, 4, 6), given.normal(2, 6, 12)
    answer = student.patchify.gradient(images, 2, upstream=upstream)
    yield case("gradients", answer, expected_gradient(reference.patchify, images, 2, upstream=upstream))


patchify.hints(
    "Give every axis a name of its own first: `images.reshape(B, C, H // P, P, W // P, P)` has the axes batch, "
    "channel, row of patches, row in the patch, column of patches, column in the patch.",
    "Then bring them into the order batch, row of patches, column of patches, channel, row in the patch, column in the "
    "patch, with `permute`, and let `reshape` glue the second with the third and the last three together.",
    "The inverse goes the same way back: six axes, `permute(0, 3, 1, 4, 2, 5)`, and four axes.",
)
CUT = "grid.permute(0, 2, 4, 1, 3, 5)"
BACK = (
    "    grid = patches.reshape(len(patches), height // size, width // size, -1, size, size)\n"
    "    return grid.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), -1, height, width)\n"
)
patchify.misconception_patch(
    "channels_last",
    "In a patch that you cut the channels of a pixel stand side by side. A patch is flattened channel by channel: all "
    "pixels of the first channel, then all of the second.",
    (CUT, "grid.permute(0, 2, 4, 3, 5, 1)"),
)
patchify.misconception_patch(
    "channels_last_both_ways",
    "Both functions put the channels of a pixel side by side. They are inverse to each other, but a patch is to be "
    "flattened channel by channel.",
    (CUT, "grid.permute(0, 2, 4, 3, 5, 1)"),
    (
        BACK,
        "    grid = patches.reshape(len(patches), height // size, width // size, size, size, -1)\n"
        "    return grid.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, height, width)\n",
    ),
)
patchify.misconception_patch(
    "patches_column_by_column",
    "The patches come column by column; they come row by row: from left to right along the upper edge first.",
    (CUT, "grid.permute(0, 4, 2, 1, 3, 5)"),
)
patchify.misconception_patch(
    "patches_column_by_column_both_ways",
    "Both functions go through the patches column by column. They are inverse to each other, but the patches are to "
    "come row by row.",
    (CUT, "grid.permute(0, 4, 2, 1, 3, 5)"),
    (
        BACK,
        "    grid = patches.reshape(len(patches), width // size, height // size, -1, size, size)\n"
        "    return grid.permute(0, 3, 2, 4, 1, 5).reshape(len(patches), -1, height, width)\n",
    ),
)
patchify.misconception_patch(
    "pixels_column_by_column",
    "Rows and columns are swapped inside each patch: its pixels are to be read row by row.",
    (CUT, "grid.permute(0, 2, 4, 1, 5, 3)"),
)
patchify.misconception_patch(
    "rows_and_columns_swapped",
    "The image is turned on its side: both the patches and the pixels in them come column by column. Row by row is "
    "asked for, in both.",
    (CUT, "grid.permute(0, 4, 2, 1, 5, 3)"),
)
patchify.misconception_patch(
    "only_reshaped",
    "Patches are cut by `reshape` alone, which keeps the order of the numbers: each of yours is a piece of the rows of "
    "the image, not a square. The axes have to change places in between.",
    (CUT, "grid"),
)
patchify.misconception_patch(
    "a_patch_for_each_channel",
    "Each channel is cut into patches of its own. All channels of a square belong to one patch, C · P · P numbers.",
    (
        "grid.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * size * size)",
        "grid.permute(0, 1, 2, 4, 3, 5).reshape(B, -1, size * size)",
    ),
)
patchify.misconception_patch(
    "channels_in_front_of_the_patches",
    "The channel stands before the patch in the order of the axes, so that each vector is made of several patches of "
    "one channel. A vector has all channels of one patch.",
    (CUT, "grid.permute(0, 1, 2, 4, 3, 5)"),
)
patchify.misconception_patch(
    "patches_in_columns",
    "The patches stand in columns, as `F.unfold` gives them: exchange the last two axes, so that each patch is a row.",
    (
        "    return grid.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * size * size)\n",
        "    return grid.permute(0, 1, 3, 5, 2, 4).reshape(B, C * size * size, -1)\n",
    ),
)
patchify.misconception_patch(
    "put_together_by_reshape",
    "Images are put together by `reshape` alone, which leaves the numbers of a patch in one row: the axes have to "
    "change places, as they did when the patches were cut.",
    (BACK, "    return patches.reshape(len(patches), -1, height, width)\n"),
)
patchify.misconception_patch(
    "neither_way_permuted",
    "Both functions reshape and never exchange axes. They are inverse to each other, but no patch is a square.",
    (CUT, "grid"),
    (BACK, "    return patches.reshape(len(patches), -1, height, width)\n"),
)
patchify.misconception_patch(
    "height_and_width_swapped",
    "When images are put together, height and width are exchanged: there are height // size rows of patches, and "
    "width // size in a row.",
    ("height // size, width // size, -1, size, size", "width // size, height // size, -1, size, size"),
)
patchify.misconception_patch(
    "put_together_with_channels_last",
    "When images are put together, a patch is read as if the channels of a pixel stood side by side; it is channel by "
    "channel, as `patchify` gives it.",
    (
        BACK,
        "    grid = patches.reshape(len(patches), height // size, width // size, size, size, -1)\n"
        "    return grid.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, height, width)\n",
    ),
)
patchify.misconception_patch(
    "pixels_turned_when_put_together",
    "When images are put together, rows and columns are swapped inside each patch.",
    ("grid.permute(0, 3, 1, 4, 2, 5)", "grid.permute(0, 3, 1, 5, 2, 4)"),
)
patchify.alternative_patch(
    "unfolded",
    (
        "    grid = images.reshape(B, C, H // size, size, W // size, size)\n"
        "    return grid.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * size * size)\n",
        "    return F.unfold(images, size, stride=size).transpose(1, 2)\n",
    ),
    (BACK, "    return F.fold(patches.transpose(1, 2), (height, width), size, stride=size)\n"),
)
patchify.alternative_patch(
    "patch_by_patch",
    (
        "    grid = images.reshape(B, C, H // size, size, W // size, size)\n"
        "    return grid.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * size * size)\n",
        "    return torch.stack(\n"
        "        [\n"
        "            images[:, :, i : i + size, j : j + size].flatten(1)\n"
        "            for i in range(0, H, size)\n"
        "            for j in range(0, W, size)\n"
        "        ],\n"
        "        dim=1,\n"
        "    )\n",
    ),
    (
        BACK,
        "    B, N, features = patches.shape\n"
        "    images = torch.empty(B, features // size**2, height, width)\n"
        "    for n in range(N):\n"
        "        i, j = n // (width // size) * size, n % (width // size) * size\n"
        "        images[:, :, i : i + size, j : j + size] = patches[:, n].view(B, -1, size, size)\n"
        "    return images\n",
    ),
)
patchify.alternative_patch(
    "by_the_sliding_window",
    (
        "    grid = images.reshape(B, C, H // size, size, W // size, size)\n"
        "    return grid.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * size * size)\n",
        "    windows = images.unfold(2, size, size).unfold(3, size, size)\n"
        "    return windows.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)\n",
    ),
    (
        BACK,
        "    grid = patches.unflatten(2, (-1, size, size)).unflatten(1, (height // size, width // size))\n"
        "    return torch.einsum('brcdij->bdricj', grid).flatten(4).flatten(2, 3)\n",
    ),
    ("def patchify(images, size):", "def patchify(images, size=2):"),
)


@task("patch_embedding", asks="PatchEmbedding")
def patch_embedding(student: Student, given: Given) -> Iterator[Case]:
    """A linear map of each patch, and the convolution that is the same."""
    for name, (B, C, H, W), P, D, weight in (
        ("one channel", (2, 1, 4, 6), 2, 5, 2),
        ("three channels", (2, 3, 6, 9), 3, 4, 3),
        ("a single patch", (3, 2, 4, 4), 4, 5, 1),
    ):
        embedding = reference.PatchEmbedding(C, P, D)
        weights = given.weights(embedding)
        filled(embedding, weights)
        images = given.normal(B, C, H, W)
        theirs, right = student.PatchEmbedding(C, P, D).load(weights), embedding(images)
        yield case(f"cut, {name}", theirs(images), right, weight=weight, axes="B N D")
        yield case(f"by a convolution, {name}", theirs.call("convolve", images), right, weight=weight, axes="B N D")
    images, upstream = given.normal(2, 2, 4, 8), given.normal(2, 2, 5)
    yield case(
        "gradients",
        theirs.gradient(images, upstream=upstream),
        expected_gradient(embedding, images, upstream=upstream),
    )


patch_embedding.hints(
    "`forward` is one line: the linear layer works on the last axis, whatever stands before it.",
    "`self.projection.weight` is (D, C·P·P). `unflatten(1, (C, P, P))` gives it the three axes in the order in which a "
    "patch was flattened.",
    "The convolution gives (B, D, H/P, W/P). `flatten(2)` reads its points row by row, (B, D, N), and what is wanted "
    "is (B, N, D).",
)
KERNEL = "self.projection.weight.unflatten(1, (self.num_channels, P, P))"
MAPS = "return maps.flatten(2).transpose(1, 2)"
patch_embedding.misconception_patch(
    "kernel_with_channels_last",
    "The weights are made into a kernel in another order than a patch was flattened in: you read them as if the "
    "channels of a pixel stood side by side. They are (C, P, P), the channel first.",
    (KERNEL, "self.projection.weight.unflatten(1, (P, P, self.num_channels)).permute(0, 3, 1, 2)"),
)
patch_embedding.misconception_patch(
    "kernel_turned",
    "Rows and columns of the kernel are exchanged: the weights of a channel come row by row.",
    (KERNEL, KERNEL + ".transpose(2, 3)"),
)
patch_embedding.misconception_patch(
    "kernel_upside_down",
    "The kernel is flipped, as in the convolution of mathematics. `F.conv2d` lays it on as it is.",
    (KERNEL, KERNEL + ".flip(2, 3)"),
)
patch_embedding.misconception_patch(
    "no_stride",
    "The convolution moves on by one pixel, so that it sees every square there is; it is to move on by P, from patch "
    "to patch: `stride=P`.",
    (", stride=P)", ")"),
)
patch_embedding.misconception_patch(
    "bias_forgotten",
    "The convolution has no bias; that of `self.projection` belongs to it.",
    ("F.conv2d(images, kernel, self.projection.bias, stride=P)", "F.conv2d(images, kernel, stride=P)"),
)
patch_embedding.misconception_patch(
    "features_before_patches",
    "The convolution's result is left with the features before the patches: exchange the last two axes of (B, D, N).",
    (MAPS, "return maps.flatten(2)"),
)
patch_embedding.misconception_patch(
    "reshaped_for_transposed",
    "The convolution's result is brought into the shape (B, N, D) by `reshape`, which mixes features and patches. "
    "Exchange the axes with `transpose`.",
    (MAPS, "return maps.reshape(len(images), -1, maps.shape[1])"),
)
patch_embedding.misconception_patch(
    "maps_column_by_column",
    "The points of the convolution's maps are read column by column; patches come row by row, so that `flatten(2)` is "
    "enough.",
    (MAPS, "return maps.transpose(2, 3).flatten(2).transpose(1, 2)"),
)
patch_embedding.misconception_patch(
    "map_not_flattened",
    "The convolution's result still has rows and columns of patches: N is one axis, read row by row.",
    (MAPS, "return maps.permute(0, 2, 3, 1)"),
)
patch_embedding.misconception_patch(
    "a_word_for_each_row",
    "The rows of the image are cut into pieces, and each piece is taken for a patch: use your `patchify`, which cuts "
    "squares.",
    (
        "return self.projection(patchify(images, self.patch_size))",
        "return self.projection(images.reshape(len(images), -1, self.projection.in_features))",
    ),
)
patch_embedding.alternative_patch(
    "by_matrices",
    (
        "return self.projection(patchify(images, self.patch_size))",
        "return patchify(images, self.patch_size) @ self.projection.weight.T + self.projection.bias",
    ),
    (KERNEL, "self.projection.weight.reshape(-1, self.num_channels, P, P)"),
    (MAPS, "return maps.permute(0, 2, 3, 1).flatten(1, 2)"),
)
patch_embedding.alternative_patch(
    "by_einsum",
    (
        "return self.projection(patchify(images, self.patch_size))",
        "return torch.einsum('bnf,df->bnd', patchify(images, self.patch_size), self.projection.weight) "
        "+ self.projection.bias",
    ),
    (
        "F.conv2d(images, kernel, self.projection.bias, stride=P)",
        "F.conv2d(images, kernel, stride=(P, P)) + self.projection.bias[:, None, None]",
    ),
)
patch_embedding.alternative_patch(
    "patch_after_patch",
    (
        "return self.projection(patchify(images, self.patch_size))",
        "return torch.stack([self.projection(p) for p in patchify(images, self.patch_size).unbind(1)], dim=1)",
    ),
    (MAPS, "return maps.reshape(*maps.shape[:2], -1).mT.contiguous()"),
    ("def forward(self, images):", "def forward(self, images, mask=None):"),
)


def vit_weights(given: Given, model: nn.Module) -> dict[str, torch.Tensor]:
    """Numbers for a model's parameters, its norms not all alike and not near 1 and 0."""
    weights = given.weights(model)
    return {name: value + 1.2 if name.endswith("norm.weight") else value for name, value in weights.items()}


@task("vision_transformer", asks="VisionTransformer")
def vision_transformer(student: Student, given: Given) -> Iterator[Case]:
    """A class token before the patches, positions for all, layers, and what has become of the class token."""
    for name, image_size, B, sizes, weight in (
        ("two layers", 6, 3, {"patch_size": 2, "num_channels": 2, "num_classes": 5, "num_layers": 2}, 4),
        ("one layer, four patches", 6, 2, {"patch_size": 3, "num_channels": 1, "num_classes": 4, "num_layers": 1}, 3),
        ("no layer", 4, 2, {"patch_size": 2, "num_channels": 1, "num_classes": 3, "num_layers": 0}, 1),
        ("one image, three layers", 4, 1, {"patch_size": 1, "num_channels": 3, "num_classes": 7, "num_layers": 3}, 2),
    ):
        width: dict[str, Any] = {"image_size": image_size, "d_model": 8, "num_heads": 2, "d_ff": 12, "dropout": 1.0}
        model = reference.VisionTransformer(reference.ViTConfig(**sizes, **width, layer_norm_eps=1e-5))
        weights = vit_weights(given, model)
        filled(model, weights)
        theirs = student.VisionTransformer(student.ViTConfig(**sizes, **width)).load(weights)
        images = 2 * given.normal(B, sizes["num_channels"], image_size, image_size)
        yield case(name, theirs(images), model(images), weight=weight, axes="B K")
        if name == "one layer, four patches":
            upstream = given.normal(B, sizes["num_classes"])
            yield case(
                "gradients",
                theirs.gradient(images, upstream=upstream),
                expected_gradient(model, images, upstream=upstream),
                weight=2,
            )
    theirs.call("train")  # everything is dropped: nothing is left but what the norm and the classifier add
    nothing = model.classifier(model.final_norm.bias).expand(B, -1)
    yield case("in training, with a dropout of 1", theirs(images), nothing.clone(), axes="B K")


vision_transformer.hints(
    "`self.class_token` is (D,). `expand(len(images), 1, -1)` gives every image its own, (B, 1, D); then `torch.cat` "
    "puts it before the patches, along the axis 1.",
    "`self.positions` is (1 + N, D) and is added to all of them at once, the class token included. Then come "
    "`self.dropout` and, one after the other, the layers.",
    "What is classified is one vector for each image: `x[:, 0]`, after `self.final_norm`.",
)
TOKENS = "torch.cat([class_token, patches], dim=1) + self.positions"
vision_transformer.misconception_patch(
    "class_token_at_the_end",
    "The class token stands behind the patches, so that each of them gets the position of its neighbor: it comes "
    "first, and its position is row 0.",
    (TOKENS, "torch.cat([patches, class_token], dim=1) + self.positions"),
    ("self.final_norm(x[:, 0])", "self.final_norm(x[:, -1])"),
)
vision_transformer.misconception_patch(
    "class_token_at_the_end_first_read",
    "The class token stands behind the patches, and what you classify is the first patch: put the class token first.",
    (TOKENS, "torch.cat([patches, class_token], dim=1) + self.positions"),
)
vision_transformer.misconception_patch(
    "class_token_without_position",
    "The class token gets no position: the positions are added after it was put in front, to all 1 + N vectors.",
    (TOKENS, "torch.cat([class_token, patches + self.positions[1:]], dim=1)"),
)
vision_transformer.misconception_patch(
    "positions_off_by_one",
    "The patches get the rows 0 to N − 1 of the positions, and the class token none: row 0 is the class token's.",
    (TOKENS, "torch.cat([class_token, patches + self.positions[:-1]], dim=1)"),
)
vision_transformer.misconception_patch(
    "no_positions",
    "No positions are added, so that the model sees a bag of patches.",
    (TOKENS, "torch.cat([class_token, patches], dim=1)"),
)
vision_transformer.misconception_patch(
    "mean_pooling",
    "The mean of all positions is classified; the class token is there to be read: `x[:, 0]`.",
    ("self.final_norm(x[:, 0])", "self.final_norm(x).mean(dim=1)"),
)
vision_transformer.misconception_patch(
    "mean_of_the_patches",
    "The mean of the patches is classified, and what the class token has gathered is thrown away: read `x[:, 0]`.",
    ("self.final_norm(x[:, 0])", "self.final_norm(x)[:, 1:].mean(dim=1)"),
)
vision_transformer.misconception_patch(
    "last_position_read",
    "The last patch is classified; the class token stands at position 0.",
    ("self.final_norm(x[:, 0])", "self.final_norm(x[:, -1])"),
)
vision_transformer.misconception_patch(
    "no_final_norm",
    "The final norm is missing: the residual path has grown from layer to layer, and nothing has brought it back.",
    ("self.classifier(self.final_norm(x[:, 0]))", "self.classifier(x[:, 0])"),
)
vision_transformer.misconception_patch(
    "norm_before_the_layers",
    "The final norm is taken before the layers; it is the last thing before the classifier.",
    ("        x = self.dropout(x)\n", "        x = self.final_norm(self.dropout(x))\n"),
    ("self.classifier(self.final_norm(x[:, 0]))", "self.classifier(x[:, 0])"),
)
vision_transformer.misconception_patch(
    "normed_before_the_layers_as_well",
    "The final norm is used twice, before the layers as well; it belongs behind them, and nowhere else.",
    ("        x = self.dropout(x)\n", "        x = self.final_norm(self.dropout(x))\n"),
)
vision_transformer.misconception_patch(
    "every_layer_reads_the_input",
    "Every layer reads the embeddings, and only the last one's output is kept: each layer reads what the one before it "
    "has written.",
    (
        "        for layer in self.layers:\n            x = layer(x)\n",
        "        read = x\n        for layer in self.layers:\n            x = layer(read)\n",
    ),
)
vision_transformer.misconception_patch(
    "only_the_first_layer",
    "Only the first layer is used.",
    ("for layer in self.layers:", "for layer in self.layers[:1]:"),
)
vision_transformer.misconception_patch(
    "positions_in_every_layer",
    "The positions are added before every layer; they are added once, before the first.",
    ("            x = layer(x)\n", "            x = layer(x)\n            x = x + self.positions\n"),
)
vision_transformer.misconception_patch(
    "probabilities_returned",
    "There is a softmax at the end: logits are asked for, which the loss makes into probabilities itself.",
    (
        "return self.classifier(self.final_norm(x[:, 0]))",
        "return self.classifier(self.final_norm(x[:, 0])).softmax(-1)",
    ),
)
vision_transformer.misconception_patch(
    "every_position_classified",
    "Every position is classified; an image gets one row of logits, that of its class token.",
    ("self.final_norm(x[:, 0])", "self.final_norm(x)"),
)
vision_transformer.misconception_patch(
    "no_dropout",
    "The dropout is missing: it is applied to the sum of vectors and positions.",
    ("        x = self.dropout(x)\n", ""),
)
vision_transformer.misconception_patch(
    "dropout_before_the_positions",
    "The dropout comes before the positions are added, and drops none of them; it comes behind the sum.",
    (TOKENS, "self.dropout(torch.cat([class_token, patches], dim=1)) + self.positions"),
    ("        x = self.dropout(x)\n", ""),
)
vision_transformer.equivalent(
    "class_token = self.class_token.expand(len(patches), 1, -1)",
    "there are patches for each image",
)
vision_transformer.alternative_patch(
    "two_sums",
    (
        TOKENS,
        "torch.cat([class_token + self.positions[0], patches + self.positions[1:]], dim=1)",
    ),
    ("self.classifier(self.final_norm(x[:, 0]))", "self.classifier(self.final_norm(x)[:, 0, :])"),
)
vision_transformer.alternative_patch(
    "padded_in_front",
    (
        "class_token = self.class_token.expand(len(images), 1, -1)  # (B, 1, D)\n        x = " + TOKENS,
        "x = F.pad(patches, (0, 0, 1, 0))\n        x[:, 0] = self.class_token\n        x = x + self.positions",
    ),
    ("def forward(self, images):", "def forward(self, images, return_features=False):"),
)
vision_transformer.alternative_patch(
    "in_sequence",
    (
        "        for layer in self.layers:\n            x = layer(x)\n",
        "        x = nn.Sequential(*self.layers)(x)\n",
    ),
    (
        "self.class_token.expand(len(images), 1, -1)",
        "self.class_token[None, None].repeat(images.shape[0], 1, 1)",
    ),
    ("patches = self.patch_embedding(images)", "patches = self.patch_embedding.convolve(images)"),
    ("self.final_norm(x[:, 0])", "self.final_norm(x.select(1, 0))"),
)


@task("interpolate_positions")
def interpolate_positions(student: Student, given: Given) -> Iterator[Case]:
    """The grid stretched like a picture; the class token's position as it is."""
    for name, D, old, new, weight in (
        ("more rows and columns", 5, (2, 3), (4, 5), 3),
        ("a square grid", 7, (4, 4), (6, 6), 2),
        ("from 3 × 4 to 4 × 3", 6, (3, 4), (4, 3), 2),
        ("a smaller grid", 3, (5, 4), (2, 3), 1),
        ("the same grid", 4, (2, 3), (2, 3), 1),
        ("from a single patch", 4, (1, 1), (2, 3), 1),
    ):
        positions = given.normal(1 + old[0] * old[1], D)
        right = reference.interpolate_positions(positions, old, new)
        yield case(name, student.interpolate_positions(positions, old, new), right, weight=weight, axes="T D")
    positions, upstream = given.normal(7, 4), given.normal(13, 4)
    answer = student.interpolate_positions.gradient(positions, (2, 3), (3, 4), upstream=upstream)
    right = expected_gradient(reference.interpolate_positions, positions, (2, 3), (3, 4), upstream=upstream)
    yield case("gradients", answer, right)


interpolate_positions.hints(
    "Take the class token's row away first, `positions[:1]` and `positions[1:]`, and put it in front again at the end "
    "with `torch.cat`.",
    "`F.interpolate` wants (B, D, R, S): the features before the grid. `positions[1:]` is (R·S, D), so `.T` first, and "
    "then `reshape(1, D, R, S)`.",
    "On the way back the grid is read row by row: `stretched[0].flatten(1)` is (D, R'·S'), and `.T` of it is what is "
    "wanted.",
)
PICTURES = "others.T.reshape(1, -1, *old)"
RETURNED = "return torch.cat([class_position, stretched[0].flatten(1).T])"
interpolate_positions.misconception_patch(
    "class_position_in_the_row",
    "The position of the class token is stretched with the others, as if it were a patch. It stays as it is: take it "
    "away first, and put it in front again.",
    (
        PICTURES,
        "positions.T.reshape(1, -1, 1, len(positions))",
    ),
    ("size=new", "size=(1, 1 + new[0] * new[1])"),
    (RETURNED, "return stretched[0].flatten(1).T"),
)
interpolate_positions.misconception_patch(
    "class_position_lost",
    "The class token's position is missing in the result; it comes first, unchanged.",
    (RETURNED, "return stretched[0].flatten(1).T"),
)
interpolate_positions.misconception_patch(
    "class_position_at_the_end",
    "The class token's position stands at the end of the result; it comes first.",
    (RETURNED, "return torch.cat([stretched[0].flatten(1).T, class_position])"),
)
interpolate_positions.misconception_patch(
    "class_position_of_the_first_patch",
    "The result begins with the position of the first patch, a second time; the class token's is asked for, "
    "`positions[:1]`.",
    (RETURNED, "return torch.cat([positions[1:2], stretched[0].flatten(1).T])"),
)
interpolate_positions.misconception_patch(
    "features_not_in_front",
    "The features are made into the second axis by `reshape` alone, which mixes features and positions: exchange the "
    "axes of (R·S, D) first.",
    (PICTURES, "others.reshape(1, -1, *old)"),
)
interpolate_positions.misconception_patch(
    "features_not_brought_back",
    "On the way back (D, R'·S') is made into (R'·S', D) by `reshape`, which mixes features and positions: exchange the "
    "axes.",
    (RETURNED, "return torch.cat([class_position, stretched[0].reshape(-1, positions.shape[1])])"),
)
interpolate_positions.misconception_patch(
    "rows_and_columns_swapped",
    "Rows and columns of the old grid are exchanged: `old` is (rows, columns), and the positions come row by row.",
    (PICTURES, "others.T.reshape(1, -1, *old[::-1])"),
)
interpolate_positions.misconception_patch(
    "new_grid_swapped",
    "Rows and columns of the new grid are exchanged: hand `new` to `F.interpolate` as it is, (rows, columns).",
    ("size=new", "size=new[::-1]"),
)
interpolate_positions.misconception_patch(
    "read_column_by_column",
    "The new grid is read column by column; the positions come row by row.",
    (RETURNED, "return torch.cat([class_position, stretched[0].transpose(1, 2).flatten(1).T])"),
)
interpolate_positions.misconception_patch(
    "bilinear",
    'The grid is stretched in straight lines; `mode="bicubic"` is asked for.',
    ('mode="bicubic"', 'mode="bilinear"'),
)
interpolate_positions.misconception_patch(
    "nearest",
    'Each new position is a copy of the nearest old one; `mode="bicubic"` is asked for.',
    ('size=new, mode="bicubic", align_corners=False', "size=new"),
)
interpolate_positions.misconception_patch(
    "corners_aligned",
    "The corners of both grids are laid on each other: leave `align_corners=False`, so that the edges are.",
    ("align_corners=False", "align_corners=True"),
)
interpolate_positions.misconception_patch(
    "along_one_line",
    "The positions are stretched along one line, as if the patches were a sentence; they lie in a plane, `old[0]` rows "
    "of `old[1]`.",
    (PICTURES, "others.T.reshape(1, -1, 1, len(others))"),
    ("size=new", "size=(1, new[0] * new[1])"),
)
interpolate_positions.equivalent(
    "stretched = F.interpolate(pictures, size=new, mode='bicubic')",
    "align_corners=False is what F.interpolate does by itself",
)
interpolate_positions.equivalent(
    "return torch.cat([class_position, stretched[-1].flatten(1).T])",
    "there is one picture, which is the first and the last",
)
interpolate_positions.alternative_patch(
    "permuted",
    (PICTURES, "others.reshape(1, old[0], old[1], -1).permute(0, 3, 1, 2)"),
    (RETURNED, "return torch.cat([class_position, stretched.permute(0, 2, 3, 1).flatten(0, 2)], dim=0)"),
)
interpolate_positions.alternative_patch(
    "one_feature_at_a_time",
    (
        "    pictures = others.T.reshape(1, -1, *old)  # (1, D, R, S)\n"
        '    stretched = F.interpolate(pictures, size=new, mode="bicubic", align_corners=False)\n',
        "    columns = [\n"
        '        F.interpolate(f.view(1, 1, *old), size=list(new), mode="bicubic").flatten()\n'
        "        for f in others.unbind(1)\n"
        "    ]\n",
    ),
    (RETURNED, "return torch.vstack([class_position, torch.stack(columns, dim=1)])"),
)
interpolate_positions.alternative_patch(
    "filled_in",
    (
        RETURNED,
        "result = positions.new_empty(1 + new[0] * new[1], positions.shape[1])\n"
        "    result[0] = class_position[0]\n"
        "    result[1:] = stretched[0].permute(1, 2, 0).reshape(-1, positions.shape[1])\n"
        "    return result",
    ),
    (
        "def interpolate_positions(positions, old, new):",
        "def interpolate_positions(positions, old, new, antialias=False):",
    ),
)


def attention_of(given: Given, B: int, H: int, T: int, L: int) -> list[torch.Tensor]:
    """Weights of L layers, each (B, H, T, T), some near 0 and some large; rows sum to 1."""
    return [(2 * given.normal(B, H, T, T)).softmax(dim=-1) for _ in range(L)]


@task("attention_rollout")
def attention_rollout(student: Student, given: Given) -> Iterator[Case]:
    """Half of itself and half of what the mean head looks at, layer after layer."""
    for name, B, H, T, L, weight in (
        ("two layers", 2, 3, 4, 2, 3),
        ("four layers, one head", 3, 1, 5, 4, 3),
        ("one layer", 1, 2, 3, 1, 2),
        ("one position", 2, 3, 1, 2, 1),
    ):
        attentions = attention_of(given, B, H, T, L)
        right = reference.attention_rollout(attentions)
        yield case(name, student.attention_rollout(attentions), right, weight=weight, axes="B T T")


attention_rollout.hints(
    "Compare the loop with the formula of one layer, $M_\\ell$: what has become of the residual path?",
    "Compare the loop with the formula of all layers, $M_L \\cdots M_1$: on which side of what is there already does a "
    "further layer stand?",
)
LAYER = "passed_on = (identity + weights.mean(dim=1)) / 2"
STEP = "rollout = passed_on @ rollout"
attention_rollout.misconception_patch(
    "as_it_was_given",
    "Both mistakes are still there: there is no residual path, and a later layer is multiplied from the wrong side.",
    (LAYER, "passed_on = weights.mean(dim=1)"),
    (STEP, "rollout = rollout @ passed_on"),
)
attention_rollout.misconception_patch(
    "no_residual",
    "There is no residual path: in each layer a position passes on half of itself, so the identity is half of the "
    "matrix.",
    (LAYER, "passed_on = weights.mean(dim=1)"),
)
attention_rollout.misconception_patch(
    "first_layer_left",
    "The layers are multiplied in the wrong order: the last layer stands on the left, since its rows say which "
    "positions of the layer below it looks at.",
    (STEP, "rollout = rollout @ passed_on"),
)
attention_rollout.misconception_patch(
    "not_halved",
    "The identity is added and the sum is not halved, so that the rows sum to 2, to 4, to 8: the shares must sum to 1.",
    (LAYER, "passed_on = identity + weights.mean(dim=1)"),
)
attention_rollout.misconception_patch(
    "neither_halved_nor_in_order",
    "The sum of identity and weights is not halved, and the first layer stands on the left where it belongs on the "
    "right.",
    (LAYER, "passed_on = identity + weights.mean(dim=1)"),
    (STEP, "rollout = rollout @ passed_on"),
)
attention_rollout.misconception_patch(
    "heads_summed",
    "The heads are summed; take their mean, or a layer with many heads has no residual path to speak of.",
    ("weights.mean(dim=1)", "weights.sum(dim=1)"),
)
attention_rollout.misconception_patch(
    "largest_head",
    "The largest of the heads is taken at each place; their mean is asked for.",
    ("weights.mean(dim=1)", "weights.amax(dim=1)"),
)
attention_rollout.misconception_patch(
    "first_head_only",
    "Only the first head is followed; take the mean of all.",
    ("weights.mean(dim=1)", "weights[:, 0]"),
)
attention_rollout.misconception_patch(
    "rollout_for_the_identity",
    "What the layers below came to is added where the identity belongs, and is then multiplied as well: of its own "
    "vector a position passes on half, and that is half of the identity.",
    (LAYER, "passed_on = (rollout + weights.mean(dim=1)) / 2"),
)
attention_rollout.misconception_patch(
    "last_layer_only",
    "Only the last layer is left: each layer is to be multiplied with what the layers below it came to.",
    (STEP, "rollout = passed_on"),
)
attention_rollout.misconception_patch(
    "element_by_element",
    "The matrices are multiplied number by number; the product of matrices, `@`, adds over the positions in between.",
    (STEP, "rollout = passed_on * (1 if rollout is identity else rollout)"),
)
attention_rollout.misconception_patch(
    "layers_averaged",
    "The layers are averaged; they are multiplied, since what a layer reads has been mixed by the one below it.",
    ("    rollout = identity\n", "    rollout = 0\n"),
    (STEP, "rollout = rollout + passed_on / len(attentions)"),
)
attention_rollout.misconception_patch(
    "weights_turned",
    "The matrix of a layer is turned round: its row t is where position t looks, as the weights have it.",
    ("weights.mean(dim=1)", "weights.mean(dim=1).transpose(1, 2)"),
)
attention_rollout.misconception_patch(
    "residual_at_the_end",
    "The identity is added once, to the product of all layers; the residual path goes around every layer.",
    (LAYER, "passed_on = weights.mean(dim=1)"),
    ("    return rollout", "    return (identity + rollout) / 2"),
)
attention_rollout.equivalent("identity = torch.eye(attentions[0].shape[-2])", "the weights of a head are square")
attention_rollout.equivalent("identity = torch.eye(attentions[-1].shape[-1])", "all layers have the same positions")
attention_rollout.alternative_patch(
    "from_the_last_to_the_first",
    ("for weights in attentions:", "for weights in reversed(attentions):"),
    (STEP, "rollout = rollout @ passed_on"),
)
attention_rollout.alternative_patch(
    "added_up",
    (LAYER, "passed_on = weights.mean(dim=1)"),
    (STEP, "rollout = 0.5 * rollout + 0.5 * torch.einsum('bts,...su->btu', passed_on, rollout)"),
    ("rollout = identity\n", "rollout = identity.expand(len(attentions[0]), -1, -1)\n"),
    ("torch.einsum('bts,...su->btu', passed_on, rollout)", "torch.einsum('bts,bsu->btu', passed_on, rollout)"),
)
attention_rollout.alternative_patch(
    "stacked_and_normalized",
    (
        "    for weights in attentions:\n",
        "    for weights in torch.stack(list(attentions)):\n",
    ),
    (
        LAYER,
        "passed_on = identity + weights.mean(1)\n        passed_on = passed_on / passed_on.sum(dim=-1, keepdim=True)",
    ),
    (STEP, "rollout = torch.matmul(passed_on, rollout)"),
    ("def attention_rollout(attentions):", "def attention_rollout(attentions, discard_ratio=0.0):"),
)


STEPS, BATCH, FIRST_RATE, RATE = 60, 64, 0.02, 0.05
ENOUGH, WITHIN_REACH = 0.6, 0.7
"""Accuracies: what an answer must reach, and what the reference reaches from the weights that everybody begins with.

From other weights it reaches 0.60 to 0.84, and without positions at most 0.48 (24 seeds).
"""

SIZES = {"image_size": 8, "patch_size": 2, "num_channels": 1, "num_classes": 10}
WIDTHS: dict[str, Any] = {"d_model": 16, "num_layers": 1, "num_heads": 8, "d_ff": 32, "dropout": 0.0}


class Lesson(NamedTuple):
    """What is trained on, and what comes of the first steps.

    Attributes:
        train: images (N, 1, 8, 8) and labels (N,).
        held_out: a pair of images and labels that are not theirs: six in ten are what the stand-in says after three
            steps, so that its accuracy there is not the one anywhere else.
        secret: images that nobody has seen, and what they show.
        small: weights of the stand-in at the beginning.
        weights: of a Vision Transformer at the beginning.
        seed: of its batches. small_seed: of those of the stand-in.
        right: the stand-in after each number of steps.
    """

    train: tuple[torch.Tensor, torch.Tensor]
    held_out: tuple[torch.Tensor, torch.Tensor]
    secret: tuple[torch.Tensor, torch.Tensor]
    small: dict[str, torch.Tensor]
    weights: dict[str, torch.Tensor]
    seed: int
    small_seed: int
    right: dict[int, PublicRows]


STAND_IN = (8, 8, 6, 10)


def trained(model: nn.Module, train: tuple[torch.Tensor, torch.Tensor], rate: float, **how: int) -> Any:
    """Train a model as it should be; returns the last batch."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters())
    for step, batch in enumerate(TrainingBatches(*train, **how)):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / how["steps"])
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()
    model.eval().requires_grad_(False)
    return batch


def share_right(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, training: bool) -> float:
    """The accuracy of a model in one mode or the other."""
    model.train(training)
    right = (model(images).argmax(dim=1) == labels).double().mean().item()
    model.eval()
    return right


def small_vit() -> reference.VisionTransformer:
    """The reference of the Vision Transformer that is trained."""
    return reference.VisionTransformer(reference.ViTConfig(**SIZES, **WIDTHS, layer_norm_eps=1e-5))


def beginning(given: Given) -> dict[str, torch.Tensor]:
    """Weights from which it learns quickly: outputs about as large as inputs, and positions that can be noticed."""
    weights = given.weights(small_vit())
    for name, drawn in weights.items():
        if name.endswith("norm.weight"):
            drawn.fill_(1.0)
        elif name.endswith("bias"):
            drawn.zero_()
        elif drawn.ndim == 2 and name != "positions":
            drawn.mul_(2 / drawn.shape[1] ** 0.5)
    return weights


@lru_cache(maxsize=4)
def lesson(seed: int) -> Lesson:
    """Digits in an order and with numbers of their own; the same for every student."""
    given = Given(seed.to_bytes(8, "big"), "lesson")
    digits = load("digits", allow_stand_in=False)
    order = given.permutation(len(digits.labels))
    images = 2 * torch.as_tensor(digits.images)[order, None] - 1
    labels = given.permutation(10)[torch.as_tensor(digits.labels)[order]]
    train, secret = (images[:1_300], labels[:1_300]), (images[1_400:], labels[1_400:])
    asked = images[1_300:1_400]
    while True:
        weights, seed = beginning(given), given.seed()
        vit = small_vit()
        vit.load_state_dict(weights)
        trained(vit, train, FIRST_RATE, steps=STEPS, batch_size=BATCH, seed=seed)
        if share_right(vit, *secret, training=False) >= WITHIN_REACH:
            break
    while True:
        small, small_seed = given.weights(PublicRows(*STAND_IN)), given.seed()
        small["positions"] = 2 * small["positions"]
        right = {steps: PublicRows(*STAND_IN) for steps in (1, 3)}
        for steps, model in right.items():
            model.load_state_dict(small)
            seen, shown = trained(model, train, RATE, steps=steps, batch_size=32, seed=small_seed)
        said = model(asked).argmax(dim=1)
        wrong = (said + given.integers(1, 10, len(asked))) % 10
        told = torch.where(torch.arange(len(asked)) % 10 < 6, said, wrong)
        others = [(asked, told, True), (seen, shown, True), (seen, shown, False)]
        distinct = [0.6, *(share_right(model, *other) for other in others)]
        if all(abs(a - b) > 0.02 for i, a in enumerate(distinct) for b in distinct[:i]):
            return Lesson(train, (asked, told), secret, small, weights, seed, small_seed, right)


@task("train_vision_transformer", seconds=20)
def train_vision_transformer(student: Student, given: Given) -> Iterator[Case]:
    """A loop over batches with a rate that falls, dropout in training alone, and the accuracy on other images."""
    here = lesson(given.seed())
    shown = here.secret[0][:30]

    def batches(steps: int, size: int, seed: int) -> Answer:
        return student.fixture("TrainingBatches", *here.train, batch_size=size, steps=steps, seed=seed)

    for name, steps in (("after one step", 1), ("after three steps", 3)):
        theirs = student.fixture("PublicRows", *STAND_IN).load(here.small)
        reached = student.train_vision_transformer(theirs, batches(steps, 32, here.small_seed), here.held_out, RATE)
        if reached.failure:
            yield case(name, reached, weight=2)
        else:
            theirs.call("eval")
            # Adam's first steps are as large as the rate however small the gradient: the tolerance is a part of one.
            yield case(
                name,
                theirs(shown),
                here.right[steps](shown),
                weight=2,
                axes="B K",
                tolerance=RATE / 50,
                subject="what the trained model says",
            )
    yield case("the accuracy returned", reached, 0.6, weight=3, tolerance=1e-4, subject="the accuracy that it returns")

    theirs = student.VisionTransformer(student.ViTConfig(**SIZES, **WIDTHS)).load(here.weights)
    reached = student.train_vision_transformer(theirs, batches(STEPS, BATCH, here.seed), here.held_out, FIRST_RATE)
    images, labels = here.secret
    if reached.failure:
        yield case("digits that nobody saw", reached, weight=3)
    else:
        theirs.call("eval")
        yield case(
            "digits that nobody saw",
            theirs(images),
            torch.zeros(len(labels), 10),
            measure=lambda logits: (logits.argmax(dim=1) == labels).double().mean(),
            at_least=ENOUGH,
            measures="the accuracy on them",
            weight=3,
        )


train_vision_transformer.hints(
    "Make the optimizer once, before the loop, with `model.parameters()`, and call `model.train()`. The loop is `for "
    "step, (images, labels) in enumerate(batches):`.",
    'In each step set the rate, `optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / len(batches))`; then '
    "the loss, the old gradients away, the new ones, and the optimizer's step.",
    "After the loop: `model.eval()`, and under `torch.no_grad()` the share of `model(images).argmax(dim=-1) == labels` "
    "on the two tensors of `held_out`, as a float.",
)
train_vision_transformer.misconception_patch(
    "positions_not_trained",
    "The positions are not trained, so that the model learns as well as it can without: give the optimizer all "
    "parameters, `model.parameters()`.",
    (
        "torch.optim.Adam(model.parameters(), lr=learning_rate)",
        'torch.optim.Adam([p for n, p in model.named_parameters() if n != "positions"], lr=learning_rate)',
    ),
)
train_vision_transformer.misconception_patch(
    "evaluates_on_training_data",
    "The accuracy that is returned is that of the last batch of training. A model must be judged on images that it has "
    "not learned from: `held_out`.",
    ("    images, labels = held_out\n", ""),
)
train_vision_transformer.misconception_patch(
    "dropout_left_on",
    "The model is judged in training mode, with its dropout: call `model.eval()` before you look at `held_out`.",
    ("    model.eval()\n", ""),
)
train_vision_transformer.misconception_patch(
    "trained_in_evaluation_mode",
    "The model learns in evaluation mode, in which nothing is dropped: call `model.train()` before the loop, whatever "
    "mode the model is in when you get it.",
    ("    model.train()\n", ""),
)
train_vision_transformer.misconception_patch(
    "forgets_zero_grad",
    "The old gradients are never taken away, so that every step follows the sum of all batches so far: call "
    "`optimizer.zero_grad()` in every step.",
    ("        optimizer.zero_grad()\n", ""),
)
train_vision_transformer.misconception_patch(
    "never_moves",
    "The model has not changed at all: either `optimizer.step()` is missing, or it is called where there are no "
    "gradients, between `zero_grad` and `backward`.",
    ("        optimizer.step()\n", ""),
)
train_vision_transformer.misconception_patch(
    "rate_never_falls",
    "The learning rate stays what it was: set the rate of the optimizer in every step, learning_rate · (1 − s/S).",
    ('        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / len(batches))\n', ""),
)
train_vision_transformer.misconception_patch(
    "rate_falls_too_early",
    "The learning rate reaches 0 in the last step, so that this batch is wasted: count the steps from 0.",
    ("(1 - step / len(batches))", "(1 - (step + 1) / len(batches))"),
)
train_vision_transformer.misconception_patch(
    "softmax_twice",
    "There is a softmax before the cross-entropy, which takes its own: hand it the logits as they are.",
    ("F.cross_entropy(model(images), labels)", "F.cross_entropy(model(images).softmax(dim=-1), labels)"),
)
train_vision_transformer.misconception_patch(
    "count_returned",
    "The number of images that are right is returned; their share is asked for, from 0 to 1.",
    ("right.float().mean().item()", "right.sum().item()"),
)
train_vision_transformer.alternative_patch(
    "scheduled",
    ("    model.train()\n", "    model.train()\n    falling = lambda done: 1 - done / len(batches)\n"),
    (
        "    for step, (images, labels) in enumerate(batches):\n"
        '        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / len(batches))\n',
        "    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, falling)\n    for images, labels in batches:\n",
    ),
    ("        optimizer.step()\n", "        optimizer.step()\n        schedule.step()\n"),
)
train_vision_transformer.alternative_patch(
    "negative_log_likelihood",
    (
        "loss = F.cross_entropy(model(images), labels)",
        "loss = -model(images).log_softmax(dim=-1)[torch.arange(len(labels)), labels].mean()",
    ),
    ("model(images).argmax(dim=-1) == labels", "model(images).softmax(dim=1).max(dim=1).indices.eq(labels)"),
    ("return right.float().mean().item()", "model.train()\n    return int(right.sum()) / len(labels)"),
)
train_vision_transformer.alternative_patch(
    "adam_without_decay",
    (
        "torch.optim.Adam(model.parameters(), lr=learning_rate)",
        "torch.optim.AdamW(list(model.parameters()), learning_rate, weight_decay=0)",
    ),
    (
        '        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / len(batches))\n',
        '        for group in optimizer.param_groups:\n            group["lr"] = learning_rate - learning_rate * step '
        "/ len(batches)\n",
    ),
    ("return right.float().mean().item()", "return right.double().mean()"),
    ("batches, held_out, learning_rate):", "batches, held_out, learning_rate=0.01, verbose=False):"),
)


@task("rearrange_patches")
def rearrange_patches(student: Student, given: Given) -> Iterator[Case]:
    """Patch n of the new image is patch order[n] of the old one, in all images and channels."""
    for name, (B, C, H, W), P, weight in (
        ("one image", (1, 1, 4, 6), 2, 2),
        ("a batch with channels", (2, 3, 9, 6), 3, 3),
        ("more columns than rows", (3, 2, 4, 10), 2, 2),
        ("a single patch", (2, 3, 4, 4), 4, 1),
    ):
        images, N = given.normal(B, C, H, W), H // P * (W // P)
        order = given.permutation(N) if N > 2 else torch.zeros(1, dtype=torch.int64)
        right = reference.unpatchify(reference.patchify(images, P)[:, order], P, H, W)
        yield case(name, student.rearrange_patches(images, P, order), right, weight=weight, axes="B C H W")
    images, upstream = given.normal(2, 3, 4, 6), given.normal(2, 3, 4, 6)
    order = given.permutation(6)

    def rearranged(images: torch.Tensor, P: int, order: torch.Tensor) -> torch.Tensor:
        return reference.unpatchify(reference.patchify(images, P)[:, order], P, 4, 6)

    answer = student.rearrange_patches.gradient(images, 2, order, upstream=upstream)
    yield case("gradients", answer, expected_gradient(rearranged, images, 2, order, upstream=upstream))


rearrange_patches.hints(
    "Three steps: cut the images into patches, put the patches into the new order, put the images together again.",
    "`patches[:, order]` takes the patches of every image in the order wanted. Height and width for `unpatchify` are "
    "those of the images.",
)
PICKED = "patches[:, order]"
rearrange_patches.misconception_patch(
    "order_inverted",
    "The order is followed the wrong way round: patch n of the old image went to the place order[n]. Patch n of the "
    "new image is patch order[n] of the old one.",
    (PICKED, "patches[:, order.argsort()]"),
)
rearrange_patches.misconception_patch(
    "order_forgotten",
    "The images come back as they were: the order is not used.",
    (PICKED, "patches"),
)
rearrange_patches.misconception_patch(
    "patches_returned",
    "The patches are in the right order, but not put together: images (B, C, H, W) are asked for.",
    ("return unpatchify(patches[:, order], size, height, width)", "return patches[:, order]"),
)
rearrange_patches.misconception_patch(
    "pixels_of_a_patch_shuffled",
    "The numbers inside each patch change places; the patches are to change theirs, along axis 1 of (B, N, C·P·P).",
    (PICKED, "patches[:, :, torch.cat([order[order < patches.shape[2]], torch.arange(len(order), patches.shape[2])])]"),
)
rearrange_patches.misconception_patch(
    "height_and_width_swapped",
    "Height and width are exchanged when the images are put together.",
    ("size, height, width)", "size, width, height)"),
)
rearrange_patches.misconception_patch(
    "every_image_its_own",
    "The images are shuffled in different ways: one order is meant for all.",
    (PICKED, "torch.stack([p[order.roll(i)] for i, p in enumerate(patches)])"),
)
rearrange_patches.misconception_patch(
    "only_the_first_image",
    "Only the first image is shuffled; the order is meant for all images of the batch.",
    (PICKED, "torch.cat([patches[:1, order], patches[1:]])"),
)
rearrange_patches.misconception_patch(
    "applied_twice",
    "The order is followed twice.",
    (PICKED, "patches[:, order][:, order]"),
)
rearrange_patches.alternative_patch(
    "gathered",
    (PICKED, "patches.index_select(1, order)"),
    ("    height, width = images.shape[2:]\n", "    _, _, height, width = images.shape\n"),
)
rearrange_patches.alternative_patch(
    "written_to_their_places",
    (
        "    return unpatchify(patches[:, order], size, height, width)",
        "    placed = torch.empty_like(patches)\n"
        "    for n, old in enumerate(order.tolist()):\n"
        "        placed[:, n] = patches[:, old]\n"
        "    return unpatchify(placed, size, height=height, width=width)",
    ),
)


@rearrange_patches.alternative
def square_by_square(images, size, order, inplace=False):
    in_a_row = images.shape[3] // size
    result = images.clone()
    for n, old in enumerate(order.tolist()):
        i, j = n // in_a_row * size, n % in_a_row * size
        k, m = old // in_a_row * size, old % in_a_row * size
        result[:, :, i : i + size, j : j + size] = images[:, :, k : k + size, m : m + size]
    return result
