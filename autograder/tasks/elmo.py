"""05-elmo: letters to vectors, highways, two directions, a mix of layers, features, senses."""

from collections.abc import Iterator

import torch
import torch.nn as nn
import torch.nn.functional as F

from autograder.checking.given import Given
from autograder.checking.student import Student
from autograder.checking.tasks import Case, case, expected_gradient, filled, task
from autograder.reference import elmo as reference


class WordByWord(nn.Module):
    """The encoder of the statement, one word, one filter, one place at a time."""

    def __init__(self, num_characters: int, character_size: int, widths: tuple[int, ...], filters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_characters, character_size)
        self.convolutions = nn.ModuleList(nn.Conv1d(character_size, filters, width) for width in widths)

    def forward(self, chars: torch.Tensor) -> torch.Tensor:
        """(B, T, W) → (B, T, D)."""
        words = chars.flatten(0, 1)
        return torch.stack([self.word(word[word != 0]) for word in words]).view(*chars.shape[:2], -1)

    def word(self, letters: torch.Tensor) -> torch.Tensor:
        """(W,) → (D,)."""
        strongest = []
        for convolution in self.convolutions:
            width = convolution.get_parameter("weight").shape[2]
            x = F.pad(self.embedding(letters), (0, 0, 0, width - 1))  # (W + width − 1, C)
            patches = x.unfold(0, width, 1).flatten(1)  # (W, C·width)
            weight, bias = convolution.get_parameter("weight").flatten(1), convolution.get_parameter("bias")
            strongest.append((patches @ weight.T + bias).amax(dim=0))
        return torch.tanh(torch.cat(strongest))


def spelled(given: Given, B: int, T: int, W: int, num_characters: int) -> torch.Tensor:
    """Words of random letters and lengths, (B, T, W), 0 behind the end of each."""
    letters = given.integers(1, num_characters, B, T, W)
    lengths = given.integers(1, W + 1, B, T, 1)
    lengths[0, 0], lengths[-1, -1] = W, 1
    return letters.masked_fill(torch.arange(W) >= lengths, 0)


@task("character_encoder", asks="CharacterEncoder")
def character_encoder(student: Student, given: Given) -> Iterator[Case]:
    """The strongest answer of each filter along a word; the padding never wins."""
    for name, (B, T, W), sizes, weight in (
        ("widths 1 and 2", (2, 3, 5), (9, 4, (1, 2), 3), 2),
        ("widths 2, 3 and 4", (3, 2, 6), (7, 3, (2, 3, 4), 2), 3),
        ("one long filter", (2, 2, 4), (6, 5, (3,), 4), 2),
    ):
        encoder = WordByWord(*sizes)
        weights = given.weights(encoder)
        for key in weights:
            if key.endswith("bias"):
                weights[key] = weights[key] - 1.0  # most answers are below 0, where a 0 of the padding would win
        filled(encoder, weights)
        theirs = student.CharacterEncoder(*sizes).load(weights)
        chars = spelled(given, B, T, W, sizes[0])
        yield case(name, theirs(chars), encoder(chars), weight=weight, axes="B T D")
    wide = F.pad(chars, (0, 7))
    yield case("the same words in a wider tensor", theirs(wide), encoder(chars), weight=2, axes="B T D")
    upstream = given.normal(*chars.shape[:2], 4)
    yield case(
        "gradients",
        theirs.gradient(chars, upstream=upstream),
        expected_gradient(encoder, chars, upstream=upstream),
    )


character_encoder.equivalent(
    "answers = convolution(F.pad(x, (0, convolution.kernel_size[-1] - 1)))",
    "a filter along one axis has one size",
)
character_encoder.equivalent(
    "return torch.tanh(torch.cat(strongest, dim=1)).reshape(B, T, -1)",
    "the last of two axes is the second",
)
character_encoder.hints(
    "Put all words of all sentences behind each other first, (B·T, W), and take them apart again at the end.",
    "A convolution wants the channels before the places: `self.embedding(words).transpose(1, 2)`. Make the padding's "
    "vectors 0, and add width − 1 zeros behind the word with `F.pad`, so that there is an answer for every character.",
    "Answers that begin in the padding must not win: `masked_fill(~inside, -math.inf)` before `amax(dim=-1)`.",
)
character_encoder.misconception_patch(
    "mean_pooling",
    "The answers are averaged along the word; the largest of each filter is asked for.",
    (
        "strongest.append(answers.masked_fill(~inside, -math.inf).amax(dim=-1))",
        "strongest.append(answers.masked_fill(~inside, 0.0).sum(dim=-1) / inside.sum(dim=-1))",
    ),
)
character_encoder.misconception_patch(
    "padding_may_win",
    "Answers that begin in the padding take part in the maximum, so that a word changes with the width of the "
    "tensor. Give them −∞ first.",
    ("answers.masked_fill(~inside, -math.inf)", "answers"),
)
character_encoder.misconception_patch(
    "padding_counts_as_zero",
    "Answers in the padding are set to 0, and 0 wins where all answers of the word are below it. Set them to −∞.",
    ("-math.inf", "0.0"),
)
character_encoder.misconception_patch(
    "padding_is_read",
    "The filters read the vector of the padding behind the word; they are to see zeros there.",
    (".transpose(1, 2) * inside", ".transpose(1, 2)"),
)
character_encoder.misconception_patch(
    "no_zeros_behind_the_word",
    "No zeros are added behind the word, so that the last characters have no answer of their own, and a word that is "
    "shorter than a filter none at all: `F.pad(x, (0, width − 1))`.",
    (
        "answers = convolution(F.pad(x, (0, convolution.kernel_size[0] - 1)))",
        "answers = F.pad(convolution(x), (0, convolution.kernel_size[0] - 1), value=-math.inf)",
    ),
)
character_encoder.misconception_patch(
    "zeros_in_front",
    "The zeros are added in front of the word; a filter is laid on at a character and reaches to those behind it.",
    ("F.pad(x, (0, convolution.kernel_size[0] - 1))", "F.pad(x, (convolution.kernel_size[0] - 1, 0))"),
)
character_encoder.misconception_patch(
    "only_laid_on_inside",
    "The filters are laid on only where all of their characters are inside the tensor, and the padding is read and may "
    "win. Three things are needed: zeros in the place of the padding's vectors, width − 1 zeros behind, and −∞ for "
    "answers that begin in the padding.",
    (".transpose(1, 2) * inside", ".transpose(1, 2)"),
    (
        "answers = convolution(F.pad(x, (0, convolution.kernel_size[0] - 1)))",
        "answers = F.pad(convolution(x), (0, convolution.kernel_size[0] - 1), value=-math.inf)",
    ),
    ("answers.masked_fill(~inside, -math.inf)", "answers"),
)
character_encoder.misconception_patch(
    "padding_read_and_may_win",
    "The padding's vector is read, and answers that begin in the padding take part in the maximum: make the vectors "
    "there 0, and the answers −∞.",
    (".transpose(1, 2) * inside", ".transpose(1, 2)"),
    ("answers.masked_fill(~inside, -math.inf)", "answers"),
)
character_encoder.misconception_patch(
    "padding_vector_changed",
    "The vector of the padding is set to 0 in the table itself, which changes the module. Make the vectors that were "
    "looked up 0, and leave the table as it is.",
    (
        "        x = self.embedding(words).transpose(1, 2) * inside",
        "        with torch.no_grad():\n            self.embedding.weight[0] = 0\n"
        "        x = self.embedding(words).transpose(1, 2)",
    ),
)
character_encoder.misconception_patch(
    "no_tanh", "The tanh is missing.", ("torch.tanh(torch.cat(strongest, dim=-1))", "torch.cat(strongest, dim=-1)")
)
character_encoder.misconception_patch(
    "tanh_of_the_letters",
    "The tanh is taken of the letters' vectors, before the filters; it belongs behind the maximum.",
    ("self.embedding(words)", "torch.tanh(self.embedding(words))"),
    ("torch.tanh(torch.cat(strongest, dim=-1))", "torch.cat(strongest, dim=-1)"),
)
character_encoder.misconception_patch(
    "maximum_over_the_filters",
    "The maximum runs over the filters, and each place of the word keeps one number; it runs along the word.",
    (
        "strongest.append(answers.masked_fill(~inside, -math.inf).amax(dim=-1))",
        "strongest.append(answers.masked_fill(~inside, 0.0).amax(dim=1)[:, : answers.shape[1]])",
    ),
)
character_encoder.misconception_patch(
    "widths_interleaved",
    "The filters of different widths are interleaved; all of the first width come first.",
    (
        "torch.cat(strongest, dim=-1)",
        "torch.stack(strongest, dim=-1).flatten(1)",
    ),
)
character_encoder.equivalent("inside = (words > 0)[:, None, :]", "no character has a number below 0")
character_encoder.alternative_patch(
    "maximum_pooling",
    (
        "answers.masked_fill(~inside, -math.inf).amax(dim=-1)",
        "F.adaptive_max_pool1d(torch.where(inside, answers, torch.full_like(answers, -1e9)), 1).squeeze(-1)",
    ),
)
character_encoder.alternative_patch(
    "tanh_before_the_maximum",
    (
        "strongest.append(answers.masked_fill(~inside, -math.inf).amax(dim=-1))",
        "strongest.append(torch.tanh(answers).masked_fill(~inside, -2.0).max(dim=2).values)",
    ),
    ("torch.tanh(torch.cat(strongest, dim=-1))", "torch.cat(strongest, dim=1)"),
)
character_encoder.alternative_patch(
    "by_the_library",
    (
        "convolution(F.pad(x, (0, convolution.kernel_size[0] - 1)))",
        "F.conv1d(F.pad(x, (0, convolution.weight.shape[2] - 1)), convolution.weight, convolution.bias)",
    ),
    ("def forward(self, chars):", "def forward(self, chars, mask=None):"),
)


@task("highway", asks="Highway")
def highway(student: Student, given: Given) -> Iterator[Case]:
    """t · relu(W x + b) + (1 − t) · x."""
    for name, shape, weight in (("a batch of words", (2, 3, 5), 3), ("rows", (4, 6), 2), ("one vector", (3,), 1)):
        layer = reference.Highway(shape[-1])
        weights = given.weights(layer)
        filled(layer, weights)
        theirs, x = student.Highway(shape[-1]).load(weights), 2 * given.normal(*shape)
        yield case(name, theirs(x), layer(x), weight=weight)
    layer = reference.Highway(4)
    weights = given.weights(layer)
    filled(layer, weights)
    x, upstream = given.normal(3, 4), given.normal(3, 4)
    yield case(
        "gradients",
        student.Highway(4).load(weights).gradient(x, upstream=upstream),
        expected_gradient(layer, x, upstream=upstream),
    )


highway.hints(
    "The gate is `torch.sigmoid(self.gate(x))`; where it is 1 the number is transformed, where it is 0 carried on.",
    "`t * F.relu(self.transform(x)) + (1 - t) * x`.",
)
highway.misconception_patch(
    "gate_and_carry_swapped",
    "Transforming and carrying on have changed places: t belongs to what is transformed, 1 − t to x.",
    ("t * transformed + (1 - t) * x", "(1 - t) * transformed + t * x"),
)
highway.misconception_patch(
    "gate_without_sigmoid",
    "The gate has no sigmoid around it, so it is no share between 0 and 1.",
    ("torch.sigmoid(self.gate(x))", "self.gate(x)"),
)
highway.misconception_patch(
    "nothing_carried_on",
    "Nothing is carried on: (1 − t) · x is missing.",
    ("t * transformed + (1 - t) * x", "t * transformed"),
)
highway.misconception_patch(
    "relu_of_the_sum",
    "The ReLU is taken of the sum, so that nothing below 0 can be carried on; it belongs to the transformed numbers "
    "alone.",
    ("t * transformed + (1 - t) * x", "F.relu(t * transformed + (1 - t) * x)"),
    ("F.relu(self.transform(x))", "self.transform(x)"),
)
highway.misconception_patch(
    "transformed_twice",
    "The transformed numbers take both shares, so that x is never carried on: 1 − t belongs to x.",
    ("t * transformed + (1 - t) * x", "t * transformed + (1 - t) * transformed"),
)
highway.misconception_patch(
    "residual",
    "All of x is added, as in a residual connection; here the gate takes from x what it gives to the transformed.",
    ("(1 - t) * x", "x"),
)
highway.misconception_patch("no_relu", "The ReLU is missing.", ("F.relu(self.transform(x))", "self.transform(x)"))
highway.misconception_patch(
    "gate_of_the_transformed",
    "The gate is computed from the transformed numbers; it is computed from x.",
    (
        "        t = torch.sigmoid(self.gate(x))\n        transformed = F.relu(self.transform(x))\n",
        "        transformed = F.relu(self.transform(x))\n        t = torch.sigmoid(self.gate(transformed))\n",
    ),
)
highway.misconception_patch("tanh_for_relu", "There is a tanh in the place of the ReLU.", ("F.relu(", "torch.tanh("))
highway.misconception_patch(
    "layers_swapped",
    "The two layers have changed their roles: `gate` is for the gate, `transform` for the transformed numbers.",
    ("torch.sigmoid(self.gate(x))", "torch.sigmoid(self.transform(x))"),
    ("F.relu(self.transform(x))", "F.relu(self.gate(x))"),
)
highway.alternative_patch("one_product", ("t * transformed + (1 - t) * x", "x + t * (transformed - x)"))
highway.alternative_patch(
    "interpolated", ("return t * transformed + (1 - t) * x", "return torch.lerp(x, transformed, t)")
)
highway.alternative_patch(
    "by_hand",
    ("torch.sigmoid(self.gate(x))", "1 / (1 + torch.exp(-(x @ self.gate.weight.T + self.gate.bias)))"),
    ("F.relu(self.transform(x))", "self.transform(x).clamp(min=0)"),
    ("def forward(self, x):", "def forward(self, x, training=False):"),
)


def padded_ids(given: Given, B: int, T: int, V: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sentences of different lengths, with other words in their padding."""
    return given.integers(1, V, B, T), given.lengths(B, T)


@task("bilm_targets")
def bilm_targets(student: Student, given: Given) -> Iterator[Case]:
    """The next word, the word before, and −100 where there is none."""
    parts, axes = ("following", "before"), ("B T", "B T")
    for name, B, T, weight in (("four sentences", 4, 7, 3), ("six short ones", 6, 4, 2)):
        ids, lengths = padded_ids(given, B, T, 50)
        right = reference.bilm_targets(ids, lengths)
        yield case(name, student.bilm_targets(ids, lengths), right, weight=weight, parts=parts, axes=axes)
    for name, ids, lengths in (
        ("no padding", given.integers(1, 50, 2, 5), torch.tensor([5, 5])),
        ("one word", given.integers(1, 50, 1, 1), torch.tensor([1])),
    ):
        right = reference.bilm_targets(ids, lengths)
        yield case(name, student.bilm_targets(ids, lengths), right, parts=parts, axes=axes)


bilm_targets.equivalent(
    "following = ids.roll(-1).masked_fill(t + 1 >= ends, -100)",
    "the borders of the rows, where it would reach into the next one, have no target",
)
bilm_targets.equivalent(
    "before = ids.roll(1).masked_fill((t == 0) | (t >= ends), -100)",
    "the borders of the rows, where it would reach into the next one, have no target",
)
bilm_targets.hints(
    "`ids.roll(-1, dims=1)` brings the next word to each position, `ids.roll(1, dims=1)` the one before.",
    "There is no next word where t + 1 ≥ length, and none before where t = 0; and the padding, t ≥ length, has "
    "neither.",
)


@bilm_targets.misconception(
    "The targets are the words themselves, which each direction has just read: it would learn to copy."
)
def leaks_the_word(ids, lengths):
    inside = torch.arange(ids.shape[1]) < lengths[:, None]
    return ids.masked_fill(~inside, -100), ids.masked_fill(~inside, -100)


@bilm_targets.misconception(
    "The two have changed places: the forward direction predicts the next word, the backward direction the one before."
)
def exchanged(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = ids.roll(-1, 1).masked_fill(t + 1 >= ends, -100)
    before = ids.roll(1, 1).masked_fill((t == 0) | (t >= ends), -100)
    return before, following


@bilm_targets.misconception("The backward targets are shifted the wrong way: they too are the words that follow.")
def both_following(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = ids.roll(-1, 1).masked_fill(t + 1 >= ends, -100)
    return following, following.clone()


@bilm_targets.misconception(
    "The padding is predicted: at the last word of a sentence, or behind it, there are targets from the padding."
)
def lengths_ignored(ids, lengths):
    t = torch.arange(ids.shape[1])
    following = ids.roll(-1, 1).masked_fill(t + 1 >= ids.shape[1], -100)
    before = ids.roll(1, 1).masked_fill((t == 0).expand_as(ids), -100)
    return following, before


@bilm_targets.misconception(
    "The ends of the tensor are joined: at the first position the word before is the last of the row, since `roll` "
    "goes round. There is none."
)
def goes_round(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = ids.roll(-1, 1).masked_fill(t >= ends, -100)
    before = ids.roll(1, 1).masked_fill(t >= ends, -100)
    return following, before


@bilm_targets.misconception(
    "At the last word of a sentence the forward direction is asked for what stands in the padding: there is no next "
    "word where t + 1 reaches the length."
)
def one_target_too_many(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = F.pad(ids[:, 1:], (0, 1), value=-100).masked_fill(t >= ends, -100)
    before = ids.roll(1, 1).masked_fill((t == 0) | (t >= ends), -100)
    return following, before


@bilm_targets.misconception(
    "The backward direction predicts the last word at the first place of the padding: where t ≥ length there is "
    "nothing to predict."
)
def before_in_the_padding(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = ids.roll(-1, 1).masked_fill(t + 1 >= ends, -100)
    before = ids.roll(1, 1).masked_fill((t == 0) | (t > ends), -100)
    return following, before


@bilm_targets.misconception(
    "At the last word of a sentence there is nothing before it to predict, says this; there is: the last but one. "
    "`before` is missing where t = 0 alone, and in the padding."
)
def last_word_without_before(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = ids.roll(-1, 1).masked_fill(t + 1 >= ends, -100)
    before = ids.roll(1, 1).masked_fill((t == 0) | (t + 1 >= ends), -100)
    return following, before


@bilm_targets.misconception(
    "`roll` goes along the sentences of the batch, dim 0; the words of a sentence lie along dim 1."
)
def along_the_batch(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = ids.roll(-1, 0).masked_fill(t + 1 >= ends, -100)
    before = ids.roll(1, 0).masked_fill((t == 0) | (t >= ends), -100)
    return following, before


@bilm_targets.misconception(
    "Both are shifted the wrong way: `roll(-1)` brings the next word to each position, `roll(1)` the one before."
)
def shifted_the_wrong_way(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = ids.roll(1, 1).masked_fill(t + 1 >= ends, -100)
    before = ids.roll(-1, 1).masked_fill((t == 0) | (t >= ends), -100)
    return following, before


@bilm_targets.misconception(
    "The padding of `before` is not left out: behind the end of a sentence there is nothing to predict."
)
def before_not_masked(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = ids.roll(-1, 1).masked_fill(t + 1 >= ends, -100)
    return following, ids.roll(1, 1).masked_fill((t == 0).expand_as(ids), -100)


@bilm_targets.misconception("The label of what does not count is 0, which is a word; it is −100.")
def zero_for_nothing(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = ids.roll(-1, 1).masked_fill(t + 1 >= ends, 0)
    before = ids.roll(1, 1).masked_fill((t == 0) | (t >= ends), 0)
    return following, before


@bilm_targets.misconception(
    "The backward targets are in the order in which the backward direction reads; they stand at their positions, as "
    "the words do."
)
def in_reading_order(ids, lengths):
    t, ends = torch.arange(ids.shape[1]), lengths[:, None]
    following = ids.roll(-1, 1).masked_fill(t + 1 >= ends, -100)
    turned = torch.where(t < ends, ends - 1 - t, t)
    before = ids.gather(1, turned).roll(-1, 1).masked_fill(t + 1 >= ends, -100)
    return following, before


@bilm_targets.alternative
def filled_in(ids, lengths):
    following, before = torch.full_like(ids, -100), torch.full_like(ids, -100)
    for b, n in enumerate(lengths.tolist()):
        following[b, : n - 1] = ids[b, 1:n]
        before[b, 1:n] = ids[b, : n - 1]
    return following, before


@bilm_targets.alternative
def concatenated(ids, lengths):
    nothing = ids.new_full((len(ids), 1), -100)
    t, ends = torch.arange(ids.size(1))[None], lengths[:, None]
    following = torch.where(t < ends - 1, torch.cat([ids[:, 1:], nothing], dim=1), -100)
    before = torch.where(t < ends, torch.cat([nothing, ids[:, :-1]], dim=1), -100)
    return following, before


@bilm_targets.alternative
def hidden_first(ids, lengths, ignore_index=-100):
    words = ids.masked_fill(torch.arange(ids.shape[1]) >= lengths[:, None], ignore_index)
    following = F.pad(words, (0, 1), value=ignore_index)[:, 1:]
    before = F.pad(words, (1, 0), value=ignore_index)[:, :-1]
    return following, before.masked_fill(words == ignore_index, ignore_index)


@task("bilm_loss")
def bilm_loss(student: Student, given: Given) -> Iterator[Case]:
    """The mean over all predictions of both directions."""
    for name, B, T, V, weight in (
        ("four sentences", 4, 6, 7, 3),
        ("three sentences", 3, 5, 9, 3),
        ("six short ones", 6, 3, 5, 2),
    ):
        ids, lengths = padded_ids(given, B, T, V)
        logits = 2 * given.normal(B, T, V), 2 * given.normal(B, T, V)
        answer = student.bilm_loss(*logits, ids, lengths)
        yield case(name, answer, reference.bilm_loss(*logits, ids, lengths), weight=weight)
    ids, lengths = given.integers(1, 6, 2, 4), torch.tensor([4, 4])
    logits = given.normal(2, 4, 6), given.normal(2, 4, 6)
    yield case("no padding", student.bilm_loss(*logits, ids, lengths), reference.bilm_loss(*logits, ids, lengths))
    ids, lengths = padded_ids(given, 3, 4, 5)
    logits, upstream = (given.normal(3, 4, 5), given.normal(3, 4, 5)), given.normal(1)[0]
    yield case(
        "gradients",
        student.bilm_loss.gradient(*logits, ids, lengths, upstream=upstream),
        expected_gradient(reference.bilm_loss, *logits, ids, lengths, upstream=upstream),
        weight=2,
    )


bilm_loss.hints(
    "`bilm_targets` has done the work: the logits at position t belong to the targets at position t, and −100 is not "
    "counted.",
    "Both directions in one go: `torch.cat` the logits and `torch.cat` the targets, flatten them, and hand them to "
    "`F.cross_entropy`.",
)
bilm_loss.equivalent("return F.cross_entropy(logits, targets)", "−100 is what cross_entropy leaves out by itself")


@bilm_loss.misconception("Only the forward direction is counted; the loss is over the predictions of both.")
def forward_only(forward_logits, backward_logits, ids, lengths):
    following, _ = bilm_targets(ids, lengths)
    return F.cross_entropy(forward_logits.flatten(0, 1), following.flatten()) + 0 * backward_logits.sum()


@bilm_loss.misconception("Only the backward direction is counted; the loss is over the predictions of both.")
def backward_only(forward_logits, backward_logits, ids, lengths):
    _, before = bilm_targets(ids, lengths)
    return F.cross_entropy(backward_logits.flatten(0, 1), before.flatten()) + 0 * forward_logits.sum()


@bilm_loss.misconception("The means of both directions are added, which is twice the mean over all predictions.")
def sum_of_means(forward_logits, backward_logits, ids, lengths):
    following, before = bilm_targets(ids, lengths)
    one = F.cross_entropy(forward_logits.flatten(0, 1), following.flatten())
    return one + F.cross_entropy(backward_logits.flatten(0, 1), before.flatten())


@bilm_loss.misconception(
    "Every sentence has its own mean, and these are averaged: a word in a short sentence counts more than one in a "
    "long. Take the mean over all predictions."
)
def mean_of_sentence_means(forward_logits, backward_logits, ids, lengths):
    following, before = bilm_targets(ids, lengths)
    means = []
    for b in range(len(ids)):
        if int(lengths[b]) > 1:
            logits = torch.cat([forward_logits[b], backward_logits[b]])
            means.append(F.cross_entropy(logits, torch.cat([following[b], before[b]])))
    return torch.stack(means).mean()


@bilm_loss.misconception(
    "The sum is divided by the number of all positions, the padding included; divide by the number of targets that "
    "count."
)
def padding_in_the_mean(forward_logits, backward_logits, ids, lengths):
    following, before = bilm_targets(ids, lengths)
    logits = torch.cat([forward_logits, backward_logits]).flatten(0, 1)
    targets = torch.cat([following, before]).flatten()
    return F.cross_entropy(logits, targets, reduction="sum") / len(targets)


@bilm_loss.misconception("The losses are summed; their mean is asked for.")
def summed(forward_logits, backward_logits, ids, lengths):
    following, before = bilm_targets(ids, lengths)
    logits = torch.cat([forward_logits, backward_logits]).flatten(0, 1)
    return F.cross_entropy(logits, torch.cat([following, before]).flatten(), reduction="sum")


@bilm_loss.misconception("The padding is predicted as well: use the targets of `bilm_targets`, which leave it out.")
def lengths_not_used(forward_logits, backward_logits, ids, lengths):
    forward = F.cross_entropy(forward_logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    backward = F.cross_entropy(backward_logits[:, 1:].flatten(0, 1), ids[:, :-1].flatten())
    return (forward + backward) / 2


@bilm_loss.misconception(
    "The targets of the two directions have changed places: forward belongs to what follows, backward to what was "
    "before."
)
def targets_exchanged(forward_logits, backward_logits, ids, lengths):
    following, before = bilm_targets(ids, lengths)
    logits = torch.cat([forward_logits, backward_logits]).flatten(0, 1)
    return F.cross_entropy(logits, torch.cat([before, following]).flatten())


@bilm_loss.misconception(
    "Only one of the two mistakes is mended: the padding is no longer asked for, but at the place before it and in the "
    "padding itself the backward logits are still asked for the words of the sentence. Use the targets of "
    "`bilm_targets`, which leave out both."
)
def half_mended(forward_logits, backward_logits, ids, lengths):
    words = ids.masked_fill(torch.arange(ids.shape[1]) >= lengths[:, None], -100)
    forward = F.cross_entropy(forward_logits[:, :-1].flatten(0, 1), words[:, 1:].flatten())
    backward = F.cross_entropy(backward_logits[:, 1:].flatten(0, 1), words[:, :-1].flatten())
    return (forward + backward) / 2


@bilm_loss.misconception(
    "The logits are brought to another shape without moving their axes, so that positions and words are mixed: "
    "`transpose(1, 2)`, or flatten logits and targets alike."
)
def axes_mixed_up(forward_logits, backward_logits, ids, lengths):
    following, before = bilm_targets(ids, lengths)
    B, T, V = forward_logits.shape
    one = F.cross_entropy(forward_logits.reshape(B, V, T), following)
    return (one + F.cross_entropy(backward_logits.reshape(B, V, T), before)) / 2


@bilm_loss.misconception(
    "The targets are shifted twice: those of `bilm_targets` stand already at the position that predicts them."
)
def shifted_twice(forward_logits, backward_logits, ids, lengths):
    following, before = bilm_targets(ids, lengths)
    one = F.cross_entropy(forward_logits[:, :-1].flatten(0, 1), following[:, 1:].flatten())
    return (one + F.cross_entropy(backward_logits[:, 1:].flatten(0, 1), before[:, :-1].flatten())) / 2


@bilm_loss.misconception(
    "The sum is divided by the number of words; a sentence of n words has n − 1 predictions in each direction."
)
def divided_by_the_words(forward_logits, backward_logits, ids, lengths):
    following, before = bilm_targets(ids, lengths)
    logits = torch.cat([forward_logits, backward_logits]).flatten(0, 1)
    targets = torch.cat([following, before]).flatten()
    return F.cross_entropy(logits, targets, reduction="sum") / (2 * lengths.sum())


@bilm_loss.misconception("There is a softmax before the cross-entropy, which takes its own: hand it the logits.")
def softmax_twice(forward_logits, backward_logits, ids, lengths):
    following, before = bilm_targets(ids, lengths)
    logits = torch.cat([forward_logits, backward_logits]).flatten(0, 1).softmax(dim=-1)
    return F.cross_entropy(logits, torch.cat([following, before]).flatten())


@bilm_loss.alternative
def half_and_half(forward_logits, backward_logits, ids, lengths):
    following, before = bilm_targets(ids, lengths)
    one = F.cross_entropy(forward_logits.transpose(1, 2), following)
    return (one + F.cross_entropy(backward_logits.transpose(1, 2), before)) / 2


@bilm_loss.alternative
def by_gathering(forward_logits, backward_logits, ids, lengths):
    total, count = torch.zeros(()), 0
    for logits, targets in zip((forward_logits, backward_logits), bilm_targets(ids, lengths), strict=True):
        counts = targets >= 0
        picked = logits.log_softmax(dim=-1)[counts].gather(1, targets[counts][:, None])
        total, count = total - picked.sum(), count + int(counts.sum())
    return total / count


@bilm_loss.alternative
def weighted(forward_logits, backward_logits, ids, lengths, ignore_index=-100):
    following, before = bilm_targets(ids, lengths)
    each = F.cross_entropy(
        torch.stack([forward_logits, backward_logits]).flatten(0, 2),
        torch.stack([following, before]).flatten(),
        reduction="none",
        ignore_index=ignore_index,
    )
    return each.sum() / (2 * (lengths - 1).sum())


@task("scalar_mix", asks="ScalarMix")
def scalar_mix(student: Student, given: Given) -> Iterator[Case]:
    """Shares by a softmax, times γ."""
    for name, L, shape, weight in (
        ("three layers", 3, (2, 4, 5), 3),
        ("five layers", 5, (3, 2, 4), 2),
        ("two layers of vectors", 2, (6,), 1),
        ("one layer", 1, (2, 3, 4), 1),
    ):
        mix = reference.ScalarMix(L)
        weights = given.weights(mix)
        filled(mix, weights)
        layers = [2 * given.normal(*shape) for _ in range(L)]
        theirs = student.ScalarMix(L).load(weights)
        yield case(name, theirs(layers), mix(layers), weight=weight)
    mix = reference.ScalarMix(3)
    weights = given.weights(mix)
    filled(mix, weights)
    layers, upstream = [given.normal(2, 3) for _ in range(3)], given.normal(2, 3)
    yield case(
        "gradients",
        student.ScalarMix(3).load(weights).gradient(layers, upstream=upstream),
        expected_gradient(mix, layers, upstream=upstream),
        weight=2,
    )
    large = {"weights": torch.tensor([120.0, 118.0, 119.0]), "gamma": torch.tensor(0.5)}
    shifted = filled(reference.ScalarMix(3), {**large, "weights": large["weights"] - 119.0})
    yield case("large weights", student.ScalarMix(3).load(large)(layers), shifted(layers))


scalar_mix.equivalent(
    "shares = torch.softmax(self.weights, dim=-1)",
    "a vector has one axis",
)
scalar_mix.equivalent(
    "for share, layer in zip(shares, layers):",
    "there are as many weights as layers",
)
scalar_mix.equivalent(
    "for share, layer in zip(shares, layers, strict=False):",
    "there are as many weights as layers",
)
scalar_mix.equivalent(
    "for share, layer in zip(layers, shares, strict=True):",
    "a product does not depend on its order",
)
scalar_mix.hints(
    "`torch.softmax(self.weights, dim=0)` gives one share for each layer, and they sum to 1.",
    "Sum up share times layer, and multiply the sum by `self.gamma`.",
)
scalar_mix.misconception_patch(
    "weights_as_they_are",
    "The weights are used as they are; the shares are their softmax, so that they are positive and sum to 1.",
    ("torch.softmax(self.weights, dim=0)", "self.weights"),
)
scalar_mix.misconception_patch(
    "gamma_inside",
    "γ is inside the softmax, where it makes the shares more or less equal; it multiplies the sum.",
    ("torch.softmax(self.weights, dim=0)", "torch.softmax(self.gamma * self.weights, dim=0)"),
    ("return self.gamma * mixed", "return mixed"),
)
scalar_mix.misconception_patch("no_gamma", "γ is missing.", ("return self.gamma * mixed", "return mixed"))
scalar_mix.misconception_patch(
    "mean_for_sum",
    "The weighted sum is divided by the number of layers; the shares sum to 1 already.",
    ("return self.gamma * mixed", "return self.gamma * mixed / len(layers)"),
)
scalar_mix.misconception_patch(
    "plain_mean",
    "All layers count alike: the weights are not used.",
    ("torch.softmax(self.weights, dim=0)", "torch.softmax(0 * self.weights, dim=0)"),
)
scalar_mix.misconception_patch(
    "softmax_of_the_layers",
    "The softmax is taken of the numbers of a layer; it is taken of the weights, one for each layer.",
    ("share * layer", "share * torch.softmax(layer, dim=-1)"),
)
scalar_mix.misconception_patch(
    "exponentials_not_divided",
    "The exponentials are not divided by their sum, so that the shares do not sum to 1.",
    ("torch.softmax(self.weights, dim=0)", "torch.exp(self.weights)"),
)
scalar_mix.misconception_patch(
    "layers_detached",
    "The layers are cut off from their graph, so that no gradient reaches what made them. That is for the caller "
    "to decide.",
    ("share * layer", "share * layer.detach()"),
)
scalar_mix.misconception_patch(
    "softmax_by_hand",
    "The exponential of a large weight overflows, and ∞/∞ is NaN: `torch.softmax` takes the largest weight off first.",
    ("torch.softmax(self.weights, dim=0)", "self.weights.exp() / self.weights.exp().sum()"),
)
scalar_mix.misconception_patch(
    "sigmoid_for_softmax",
    "Each weight has a sigmoid of its own; the shares are a softmax, so that they sum to 1.",
    ("torch.softmax(self.weights, dim=0)", "torch.sigmoid(self.weights)"),
)
scalar_mix.misconception_patch(
    "layers_turned_round",
    "The weights meet the layers in the wrong order: the first belongs to the first layer.",
    ("zip(shares, layers, strict=True)", "zip(shares.flip(0), layers, strict=True)"),
)
scalar_mix.alternative_patch(
    "stacked",
    (
        "        mixed = 0\n        for share, layer in zip(shares, layers, strict=True):\n"
        "            mixed = mixed + share * layer\n",
        '        mixed = torch.einsum("l,l...->...", shares, torch.stack(tuple(layers)))\n',
    ),
)
scalar_mix.alternative_patch(
    "gamma_first",
    ("shares = torch.softmax(self.weights, dim=0)", "shares = self.gamma * F.softmax(self.weights, -1)"),
    ("return self.gamma * mixed", "return mixed"),
    ("def forward(self, layers):", "def forward(self, layers, mask=None):"),
)
scalar_mix.alternative_patch(
    "summed_up",
    (
        "        mixed = 0\n        for share, layer in zip(shares, layers, strict=True):\n"
        "            mixed = mixed + share * layer\n",
        "        mixed = sum(shares[number] * layer for number, layer in enumerate(layers))\n",
    ),
)

HANDED = "once, with layers that have no graph"


@task("elmo_features")
def elmo_features(student: Student, given: Given) -> Iterator[Case]:
    """The mix of a frozen model's layers, read without dropout."""
    for name, B, T, V, D, training in (
        ("a model in training mode", 3, 5, 8, 4, True),
        ("a model in evaluation mode", 2, 6, 7, 3, False),
    ):
        parts = nn.ModuleDict({"embedding": nn.Embedding(V, D), "upward": nn.Linear(D, D)})
        weights, shares = given.weights(parts), given.normal(3)
        ids, lengths = padded_ids(given, B, T, V)
        bilm = student.fixture("PublicBilm", weights, V, D)
        bilm.call("train", training)
        mix = student.fixture("PublicMix", shares)
        answer = student.elmo_features(bilm, mix, ids, lengths)
        yield case(name, answer, features(weights, shares, ids, lengths), weight=3, axes="B T D")
        if not answer.failure:
            read = ("once, in evaluation mode", training, True)
            noted = (
                "how the language model was read",
                "whether it is in training mode afterwards",
                "whether it can learn",
            )
            yield case(f"the language model, {name}", bilm.call("report"), read, weight=2, parts=noted)
            yield case(f"the mix, {name}", mix.call("report"), HANDED, weight=2, subject="how the mix was called")
    bilm = student.fixture("PublicBilm", weights, V, D)
    bilm.call("eval")
    mix, upstream = student.fixture("PublicMix", shares), given.normal(2, 6, 3)
    answer = student.elmo_features.gradient(bilm, mix, ids, lengths, upstream=upstream, through=[1])
    total = expected_gradient(lambda s: features(weights, s, ids, lengths), shares, upstream=upstream)
    right = {"gradient of `weights`": total["gradient of argument 1"]}
    yield case("gradients of the mix", answer, right, weight=2)


def features(
    weights: dict[str, torch.Tensor], shares: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """The sum of three layers, without dropout."""
    x = weights["embedding.weight"][ids]
    inside = (torch.arange(ids.shape[1]) < lengths[:, None])[..., None]
    total = shares[0] * x
    for share in shares[1:]:
        x = torch.tanh(x @ weights["upward.weight"].T + weights["upward.bias"])
        total = total + share * x
    return total * inside


elmo_features.hints(
    "Three things: `bilm.eval()` before it reads, `torch.no_grad()` around it and around nothing else, and afterwards "
    "`bilm.train(was_training)`.",
    "`bilm.training` says in which mode it is. The mix is called outside of `torch.no_grad()`, or it could not learn.",
)
elmo_features.equivalent("bilm.train(bilm.training and was_training)", "the mode is the one that was noted")
elmo_features.misconception_patch(
    "gradients_reach_the_model",
    "Gradients can reach the language model, which is to stay as it is: let it read inside `with torch.no_grad():`.",
    ("    with torch.no_grad():\n        layers = bilm(ids, lengths)\n", "    layers = bilm(ids, lengths)\n"),
)
elmo_features.misconception_patch(
    "dropout_left_on",
    "The language model reads in training mode, so that its dropout changes the features at every call: "
    "`bilm.eval()` first.",
    ("    bilm.eval()\n", ""),
)
elmo_features.misconception_patch(
    "mix_without_gradients",
    "The mix is called inside `torch.no_grad()`, so that it cannot learn which layers it wants: only the language "
    "model belongs in there.",
    (
        "        layers = bilm(ids, lengths)\n    bilm.train(was_training)\n    return scalar_mix(layers)",
        "        mixed = scalar_mix(bilm(ids, lengths))\n    bilm.train(was_training)\n    return mixed",
    ),
)
elmo_features.misconception_patch(
    "result_detached",
    "The result is cut off from its graph, so that the mix cannot learn which layers it wants: return what it gives.",
    ("return scalar_mix(layers)", "return scalar_mix(layers).detach()"),
)
elmo_features.misconception_patch(
    "frozen_for_ever",
    "The parameters of the language model are told to ask for no gradients, and stay so: whoever wants to train it "
    "later cannot. `with torch.no_grad():` ends by itself.",
    (
        "    with torch.no_grad():\n        layers = bilm(ids, lengths)\n",
        "    for parameter in bilm.parameters():\n        parameter.requires_grad_(False)\n"
        "    layers = bilm(ids, lengths)\n",
    ),
)
elmo_features.misconception_patch(
    "mixed_by_hand",
    "The mix is never called: the layers are averaged. It is to learn how much of each it wants.",
    ("return scalar_mix(layers)", "return sum(layers) / len(layers)"),
)
elmo_features.misconception_patch(
    "read_twice",
    "The language model reads twice; once is enough.",
    ("        layers = bilm(ids, lengths)\n", "        bilm(ids, lengths)\n        layers = bilm(ids, lengths)\n"),
)
elmo_features.misconception_patch(
    "left_in_evaluation_mode",
    "The language model is left in evaluation mode: put it back into the mode in which it was.",
    ("    bilm.train(was_training)\n", ""),
)
elmo_features.misconception_patch(
    "always_back_to_training",
    "The language model is put into training mode afterwards, whatever it was in before: remember `bilm.training` "
    "first.",
    ("bilm.train(was_training)", "bilm.train()"),
)
elmo_features.misconception_patch(
    "highest_layer_only",
    "Only the highest layer is handed to the mix; it is to choose among all of them.",
    ("return scalar_mix(layers)", "return scalar_mix([layers[-1]] * len(layers))"),
)
elmo_features.misconception_patch(
    "lengths_not_handed_on",
    "The lengths are not handed on, so that the language model reads the padding as if it were words.",
    ("layers = bilm(ids, lengths)", "layers = bilm(ids, torch.full_like(lengths, ids.shape[1]))"),
)
elmo_features.alternative_patch(
    "detached",
    (
        "    with torch.no_grad():\n        layers = bilm(ids, lengths)\n",
        "    layers = [layer.detach() for layer in bilm(ids, lengths)]\n",
    ),
)
elmo_features.alternative_patch(
    "read_by_a_copy",
    (
        "    was_training = bilm.training\n    bilm.eval()\n    with torch.no_grad():\n"
        "        layers = bilm(ids, lengths)\n    bilm.train(was_training)\n",
        "    import copy\n\n    with torch.no_grad():\n        layers = copy.deepcopy(bilm).eval()(ids, lengths)\n",
    ),
)
elmo_features.alternative_patch(
    "tried_and_put_back",
    (
        "    with torch.no_grad():\n        layers = bilm(ids, lengths)\n    bilm.train(was_training)\n",
        "    try:\n        with torch.set_grad_enabled(False):\n            layers = bilm(ids, lengths)\n"
        "    finally:\n        bilm.train(mode=was_training)\n",
    ),
)
elmo_features.alternative_patch(
    "put_back_if_it_was",
    (
        "    bilm.train(was_training)\n",
        "    if was_training:\n        bilm.train()\n",
    ),
    (
        "def elmo_features(bilm, scalar_mix, ids, lengths):",
        "def elmo_features(bilm, scalar_mix, ids, lengths, layer=None):",
    ),
)


def nearest_centroids(train_vectors: torch.Tensor, train_senses: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Sense by sense."""
    senses = sorted(set(train_senses.tolist()))
    cosines = [
        F.cosine_similarity(vectors, train_vectors[train_senses == sense].mean(dim=0)[None], dim=1) for sense in senses
    ]
    return torch.tensor(senses)[torch.stack(cosines).argmax(dim=0)]


@task("sense_by_centroid")
def sense_by_centroid(student: Student, given: Given) -> Iterator[Case]:
    """The sense of the centroid with the largest cosine."""
    for name, senses, D, N, M, weight in (
        ("two senses", (0, 1), 4, 9, 200, 2),
        ("two senses with other numbers", (7, 3), 5, 8, 200, 2),
        ("three senses", (2, 9, 4), 6, 12, 200, 3),
    ):
        middles = given.normal(len(senses), D)
        which = torch.cat([torch.arange(len(senses)), given.integers(0, len(senses), N - len(senses))])
        lengths = 0.2 + 4 * given.uniform(len(senses), 1)  # some centroids are far longer than others
        own = 0.05 + 3 * given.uniform(N, 1) ** 3  # a few long vectors decide about a mean, and not about its parts
        train = lengths[which] * (middles[which] + given.normal(N, D)) * own
        asked = (middles[given.integers(0, len(senses), M)] + given.normal(M, D)) * (0.1 + 3 * given.uniform(M, 1))
        labels = torch.tensor(senses)[which]
        right = nearest_centroids(train, labels, asked)
        yield case(name, student.sense_by_centroid(train, labels, asked), right, weight=weight, axes="M")
    one = torch.full((4,), 5)
    yield case("one sense", student.sense_by_centroid(given.normal(4, 3), one, given.normal(6, 3)), torch.full((6,), 5))


sense_by_centroid.equivalent(
    "centroids = torch.stack([train_vectors[train_senses == sense].sum(dim=0) for sense in senses])",
    "a sum points the same way as the mean",
)
sense_by_centroid.equivalent(
    "cosines = F.normalize(vectors) @ F.normalize(centroids, dim=1).T",
    "F.normalize takes the second axis by itself",
)
sense_by_centroid.equivalent(
    "cosines = F.normalize(vectors, dim=1) @ F.normalize(centroids).T",
    "F.normalize takes the second axis by itself",
)
sense_by_centroid.equivalent(
    "cosines = vectors @ F.normalize(centroids, dim=1).T",
    "the length of a vector is the same for all centroids",
)
sense_by_centroid.hints(
    "`train_senses.unique()` lists the senses. The centroid of one is `train_vectors[train_senses == "
    "sense].mean(dim=0)`.",
    "With `F.normalize` on both sides the matrix product is a table of cosines, (M, number of senses). "
    "`argmax(dim=1)` gives places in the list of senses, and `senses[…]` makes senses of them.",
)


@sense_by_centroid.misconception(
    "The dot product is used without dividing by the lengths, so that a long centroid wins: take the cosine."
)
def dot_products(train_vectors, train_senses, vectors):
    senses = train_senses.unique()
    centroids = torch.stack([train_vectors[train_senses == s].mean(dim=0) for s in senses])
    return senses[(vectors @ centroids.T).argmax(dim=1)]


@sense_by_centroid.misconception(
    "The senses of the training vectors are told; asked for are those of `vectors`, which nobody has labeled."
)
def on_the_training_set(train_vectors, train_senses, vectors):
    senses = train_senses.unique()
    centroids = torch.stack([train_vectors[train_senses == s].mean(dim=0) for s in senses])
    return senses[(F.normalize(train_vectors, dim=1) @ F.normalize(centroids, dim=1).T).argmax(dim=1)]


@sense_by_centroid.misconception(
    "These are places in the list of senses, 0, 1, …; the senses themselves are asked for, which can be any numbers."
)
def places_for_senses(train_vectors, train_senses, vectors):
    senses = train_senses.unique()
    centroids = torch.stack([train_vectors[train_senses == s].mean(dim=0) for s in senses])
    return (F.normalize(vectors, dim=1) @ F.normalize(centroids, dim=1).T).argmax(dim=1)


@sense_by_centroid.misconception("The centroid with the smallest cosine is taken; it is the largest.")
def smallest(train_vectors, train_senses, vectors):
    senses = train_senses.unique()
    centroids = torch.stack([train_vectors[train_senses == s].mean(dim=0) for s in senses])
    return senses[(F.normalize(vectors, dim=1) @ F.normalize(centroids, dim=1).T).argmin(dim=1)]


@sense_by_centroid.misconception(
    "The nearest single use decides, not the nearest centroid: average the vectors of each sense first."
)
def nearest_neighbor(train_vectors, train_senses, vectors):
    cosines = F.normalize(vectors, dim=1) @ F.normalize(train_vectors, dim=1).T
    return train_senses[cosines.argmax(dim=1)]


@sense_by_centroid.misconception("The Euclidean distance to the centroids decides; the cosine is asked for.")
def euclidean(train_vectors, train_senses, vectors):
    senses = train_senses.unique()
    centroids = torch.stack([train_vectors[train_senses == s].mean(dim=0) for s in senses])
    return senses[torch.cdist(vectors, centroids).argmin(dim=1)]


@sense_by_centroid.misconception(
    "The centroids are made of vectors that were brought to length 1 first. Average the vectors as they are; the "
    "cosine takes care of the lengths afterwards."
)
def centroids_of_unit_vectors(train_vectors, train_senses, vectors):
    senses = train_senses.unique()
    unit = F.normalize(train_vectors, dim=1)
    centroids = torch.stack([unit[train_senses == s].mean(dim=0) for s in senses])
    return senses[(F.normalize(vectors, dim=1) @ F.normalize(centroids, dim=1).T).argmax(dim=1)]


@sense_by_centroid.misconception("The most frequent sense is told every time; the vectors are not used.")
def most_frequent(train_vectors, train_senses, vectors):
    return train_senses.mode().values.repeat(len(vectors))


@sense_by_centroid.misconception(
    "A mean is subtracted from the vectors first; the cosine is asked for between the vectors as they are. (For ELMo's "
    "it is a good idea, and whoever calls this function has done it.)"
)
def centered_first(train_vectors, train_senses, vectors):
    mean = train_vectors.mean(dim=0)
    train_vectors, vectors = train_vectors - mean, vectors - mean
    senses = train_senses.unique()
    centroids = torch.stack([train_vectors[train_senses == s].mean(dim=0) for s in senses])
    return senses[(F.normalize(vectors, dim=1) @ F.normalize(centroids, dim=1).T).argmax(dim=1)]


@sense_by_centroid.alternative
def vector_by_vector(train_vectors, train_senses, vectors):
    senses = sorted(set(train_senses.tolist()))
    means = {s: train_vectors[train_senses == s].mean(dim=0) for s in senses}
    return torch.tensor([max(senses, key=lambda s: float(F.cosine_similarity(v, means[s], dim=0))) for v in vectors])


@sense_by_centroid.alternative
def by_sums(train_vectors, train_senses, vectors):
    senses, places = torch.unique(train_senses, return_inverse=True)
    sums = torch.zeros(len(senses), train_vectors.shape[1]).index_add(0, places, train_vectors)
    scores = F.cosine_similarity(vectors[:, None, :], sums[None, :, :], dim=2)
    return senses[scores.max(dim=1).indices]


@sense_by_centroid.alternative
def by_one_hot(train_vectors, train_senses, vectors, eps=1e-12):
    senses = torch.unique(train_senses)
    member = (train_senses[None, :] == senses[:, None]).float()
    centroids = member @ train_vectors / member.sum(dim=1, keepdim=True)
    unit = centroids / (centroids.norm(dim=1, keepdim=True) + eps)
    return senses[torch.argmax(vectors @ unit.T, dim=-1)]
