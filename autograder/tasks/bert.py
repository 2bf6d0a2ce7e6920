"""08-bert: three embeddings in a sum, two puzzles made of plain text, heads, published weights, and few labels."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F

from autograder.checking.client.fixtures import PublicClassifier, TrainingBatches
from autograder.checking.given import Given
from autograder.checking.student import Answer, Failure, Student
from autograder.checking.tasks import Case, Evidence, case, expected_gradient, filled, task
from autograder.data.generated.company import ALMANAC
from autograder.reference import bert as reference
from autograder.reference import bert_heads
from autograder.reference.bert import BertConfig

SIZES = {"vocab_size": 11, "d_model": 6, "num_layers": 2, "num_heads": 3, "d_ff": 8, "context_size": 9}


def config_of(sizes: dict[str, int]) -> BertConfig:
    """The reference's configuration with these numbers."""
    return BertConfig(**sizes)  # type: ignore[arg-type]


def embedding_weights(given: Given, embeddings: nn.Module) -> dict[str, torch.Tensor]:
    """Numbers for the tables and the norm, whose weights are not near 1."""
    weights = given.weights(embeddings)
    return weights | {"norm.weight": weights["norm.weight"] + 1.2}


@task("bert_embeddings", asks="BertEmbeddings")
def bert_embeddings(student: Student, given: Given) -> Iterator[Case]:
    """The norm of the sum of three vectors: of the token, of its place and of its segment."""
    for name, B, T, changes, weight in (
        ("two sentences in each row", 3, 5, {}, 3),
        ("as long as the context", 2, 7, {"context_size": 7, "d_model": 4}, 2),
        ("three kinds of segments", 4, 6, {"num_segments": 3, "d_model": 5}, 1),
        ("one token", 4, 1, {}, 1),
    ):
        sizes = SIZES | {"num_segments": 2} | changes
        embeddings = reference.BertEmbeddings(config_of(sizes))
        weights = embedding_weights(given, embeddings)
        filled(embeddings, weights)
        theirs = student.BertEmbeddings(student.fixture("settings", **sizes)).load(weights)
        ids, segments = given.integers(0, 11, B, T), given.integers(0, sizes["num_segments"], B, T)
        yield case(name, theirs(ids, segments), embeddings(ids, segments), weight=weight, axes="B T D")
    ids = given.permutation(11)[:8].view(2, 4)
    segments, upstream = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]]), given.normal(2, 4, 6)
    yield case(
        "gradients",
        theirs.gradient(ids, segments, upstream=upstream),
        expected_gradient(embeddings, ids, segments, upstream=upstream),
        weight=2,
    )


bert_embeddings.equivalent(
    "x = x + self.position_embedding.weight[:segments.shape[1]]", "there are as many segments as tokens"
)
bert_embeddings.hints(
    "A table of embeddings is called with a tensor of numbers, `self.word_embedding(ids)`, and gives a vector for "
    "each.",
    "The positions are the same for every sentence: the first T rows of the table, "
    "`self.position_embedding.weight[:T]`, are (T, D), and are added to every sentence of (B, T, D). The norm comes "
    "last, over the whole sum.",
)
POSITIONS = "        x = x + self.position_embedding.weight[: ids.shape[1]]  # (T, D), the same for every sentence\n"
bert_embeddings.misconception_patch(
    "no_segment",
    "The segments make no difference: add the vector of each token's segment, `self.segment_embedding(segments)`. (The "
    "number of a segment, added to all features alike, is taken away again by the norm.)",
    ("        x = x + self.segment_embedding(segments)\n", ""),
)
bert_embeddings.misconception_patch(
    "no_norm", "The layer norm is missing: return `self.norm` of the sum.", ("return self.norm(x)", "return x")
)
bert_embeddings.misconception_patch(
    "no_positions",
    "The positions are missing: without them the layers above cannot tell one order of the words from another.",
    (POSITIONS, ""),
)
bert_embeddings.misconception_patch(
    "positions_from_the_batch",
    "The positions are counted along the batch: the whole first sentence has position 0, the second position 1. "
    "T is `ids.shape[1]`, and every sentence begins with position 0.",
    ("self.position_embedding.weight[: ids.shape[1]]", "self.position_embedding.weight[: ids.shape[0], None]"),
)
bert_embeddings.misconception_patch(
    "positions_from_one",
    "The positions begin at 1. The first is 0; a sentence that fills the context would have no vector for its end.",
    ("weight[: ids.shape[1]]", "weight[1 : ids.shape[1] + 1]"),
)
bert_embeddings.misconception_patch(
    "word_alone_normed",
    "Only the word's vector is normed, and the others are added behind it. The norm is taken of the sum of all three.",
    ("x = self.word_embedding(ids)  # (B, T, D)", "x = self.norm(self.word_embedding(ids))"),
    ("return self.norm(x)", "return x"),
)
bert_embeddings.misconception_patch(
    "each_normed",
    "Each of the three is normed by itself before they are added; there is one norm, of the sum.",
    ("x = self.word_embedding(ids)  # (B, T, D)", "x = self.norm(self.word_embedding(ids))"),
    ("self.position_embedding.weight[: ids.shape[1]]", "self.norm(self.position_embedding.weight[: ids.shape[1]])"),
    ("self.segment_embedding(segments)", "self.norm(self.segment_embedding(segments))"),
    ("return self.norm(x)", "return x"),
)
bert_embeddings.misconception_patch(
    "segment_behind_the_norm",
    "The segment is added behind the norm; it belongs into the sum of which the norm is taken.",
    ("        x = x + self.segment_embedding(segments)\n", ""),
    ("return self.norm(x)", "return self.norm(x) + self.segment_embedding(segments)"),
)
bert_embeddings.misconception_patch(
    "scaled_by_the_root",
    "The word's vector is multiplied by √D, as the Transformer of chapter 7 does; BERT adds it as it is.",
    (
        "x = self.word_embedding(ids)  # (B, T, D)",
        "x = self.word_embedding(ids) * self.norm.normalized_shape[0] ** 0.5",
    ),
)
bert_embeddings.misconception_patch(
    "always_the_first_segment",
    "Every token is taken for one of the first sentence: look up each token's own segment in the table.",
    ("self.segment_embedding(segments)", "self.segment_embedding.weight[0]"),
)
bert_embeddings.misconception_patch(
    "whole_table_of_positions",
    "The whole table of positions is added, as if every sentence filled the context: take its first T rows.",
    ("self.position_embedding.weight[: ids.shape[1]]", "self.position_embedding.weight"),
)
bert_embeddings.misconception_patch(
    "positions_by_token",
    "The position's vector is looked up by the token. A position is the place in the sentence, 0 to T − 1, whatever "
    "token stands there.",
    ("self.position_embedding.weight[: ids.shape[1]]", "self.position_embedding(ids)"),
)
bert_embeddings.misconception_patch(
    "concatenated",
    "The vectors are put side by side, which makes them wider. They are added, number by number, and stay D wide.",
    (
        "        x = x + self.segment_embedding(segments)\n",
        "        x = torch.cat([x, self.segment_embedding(segments)], dim=-1)\n",
    ),
)
bert_embeddings.misconception_patch(
    "positions_turned_round",
    "The positions run backwards: the first token has position 0.",
    ("weight[: ids.shape[1]]", "weight[: ids.shape[1]].flip(0)"),
)
bert_embeddings.misconception_patch(
    "segments_for_positions",
    "The tables are mixed up: the position's vector is looked up by the number of the segment. A position is the "
    "place in the sentence, 0 to T − 1.",
    ("self.position_embedding.weight[: ids.shape[1]]", "self.position_embedding(segments)"),
)
bert_embeddings.alternative_patch(
    "counted_positions",
    (
        "self.position_embedding.weight[: ids.shape[1]]",
        "self.position_embedding(torch.arange(ids.size(-1)).expand_as(ids))",
    ),
    ("def forward(self, ids, segments):", "def forward(self, ids, segments=None):"),
)
bert_embeddings.alternative_patch(
    "by_one_hot",
    (
        "self.segment_embedding(segments)",
        "F.one_hot(segments, self.segment_embedding.num_embeddings).float() @ self.segment_embedding.weight",
    ),
    (
        "return self.norm(x)",
        "return F.layer_norm(x, x.shape[-1:], self.norm.weight, self.norm.bias, self.norm.eps)",
    ),
)
bert_embeddings.alternative_patch(
    "stacked_and_summed",
    (
        "        x = self.word_embedding(ids)  # (B, T, D)\n" + POSITIONS,
        "        places = self.position_embedding.weight[: len(ids[0])].unsqueeze(0).repeat(len(ids), 1, 1)\n"
        "        x = torch.stack([F.embedding(ids, self.word_embedding.weight), places]).sum(dim=0)\n",
    ),
)
bert_embeddings.alternative_patch(
    "position_by_position",
    (
        "        return self.norm(x)\n",
        "        return torch.stack([self.norm(x[:, t]) for t in range(ids.shape[1])], dim=1)\n",
    ),
)


CHANCE = 1e-9
"""How likely a right answer fails one statistical case, at most; a run has fewer than a hundred of them."""


def margin(p: float, n: torch.Tensor | int, compared: int = 1) -> Any:
    """How far a share may be from its probability by chance, by Bernstein's or Hoeffding's inequality.

    Args:
        p: the probability. n: independent draws, each of which hits with it.
        compared: number of such shares that must all be near.
    """
    logarithm = math.log(2 * compared / CHANCE)
    n = torch.as_tensor(n, dtype=torch.float64).clamp(min=1)
    bernstein = (logarithm / 3 + torch.sqrt(logarithm**2 / 9 + 2 * n * p * (1 - p) * logarithm)) / n
    return torch.minimum(bernstein, torch.sqrt(logarithm / (2 * n)))


MASK_ID, OWN_MASK_ID, CROWD_V = 103, 4, 120
"""The mask that is the default, another one, and the number of tokens in :func:`crowd`."""


@lru_cache(maxsize=1)
def crowd() -> tuple[torch.Tensor, torch.Tensor]:
    """Sentences by the hundreds, (500, 80), and which of their tokens are special: the ends and the padding."""
    given = Given(b"", "crowd")
    B, T = 500, 80
    ids, lengths = given.integers(5, CROWD_V, B, T), given.integers(30, T + 1, B, 1)
    ids[ids == MASK_ID] = 5  # so that what reads [MASK] was made so
    places = torch.arange(T)
    ids = torch.where(places == 0, 2, torch.where(places == lengths - 1, 3, ids)).masked_fill(places >= lengths, 0)
    return ids, ids < 4


@dataclass(frozen=True)
class Masking:
    """What became of the tokens of :func:`crowd`.

    Attributes:
        read, labels: as they were returned.
        mask_id: the number of [MASK].
    """

    read: torch.Tensor
    labels: torch.Tensor
    mask_id: int = MASK_ID

    @property
    def asked(self) -> torch.Tensor:
        """Where there is a label."""
        return self.labels != -100

    def share_asked(self, where: torch.Tensor) -> float:
        """The share of some tokens that is asked for."""
        return float(self.asked[where].double().mean())

    def shares(self) -> tuple[float, ...]:
        """Of the tokens that are asked for, which share is read as [MASK], as another token and as it was."""
        chosen = self.asked & ~crowd()[1]
        masked, kept = self.read[chosen] == self.mask_id, self.read[chosen] == crowd()[0][chosen]
        return tuple(float(part.double().mean()) for part in (masked, ~masked & ~kept, kept))

    def others(self) -> torch.Tensor:
        """The tokens that stand in the place of another, (N,)."""
        ids, special = crowd()
        changed = ~special & (self.read != ids) & (self.read != self.mask_id)
        return self.read[changed]


Measure = Callable[[Masking], float]


def unevenness(hits: torch.Tensor, among: torch.Tensor, p: float) -> float:
    """How far the share of hits in a sentence or at a position is from p, in parts of what chance allows."""
    worst = 0.0
    for axis in (0, 1):
        n = among.sum(dim=axis)
        share = (hits & among).sum(dim=axis).double() / n.clamp(min=1)
        ratio = (share - p).abs() / margin(p, n, len(n))
        worst = max(worst, float(ratio[n > 0].max()))
    return worst


def never_drawn(m: Masking) -> float:
    """How many tokens never come as a random one; [MASK] is left out."""
    return float(CROWD_V - 1 - m.others().unique().numel())


def unmoved(one: Any, other: Any) -> list[str]:
    """Which of the choices in two maskings of :func:`crowd`, with every second token asked for, are the same."""
    if not (is_masking(one) and is_masking(other)):
        return []
    a, b = masking(one, OWN_MASK_ID), masking(other, OWN_MASK_ID)
    ids, special = crowd()
    both = a.asked & b.asked & ~special
    changed = both & (a.read != ids) & (a.read != OWN_MASK_ID) & (b.read != ids) & (b.read != OWN_MASK_ID)
    found = []
    # Independent draws agree in half of the tokens, in two thirds of the fates, and in one of 119 random tokens.
    if float((a.asked == b.asked)[~special].double().mean()) > 0.6:
        found.append("which tokens are asked for")
    if both.any() and float(((a.read == OWN_MASK_ID) == (b.read == OWN_MASK_ID))[both].double().mean()) > 0.8:
        found.append("which become [MASK]")
    if changed.sum() >= 10 and float((a.read == b.read)[changed].double().mean()) > 0.7:
        found.append("which random tokens come")
    return found


def same_as(before: Answer) -> Callable[[Any], float]:
    """Counts the choices that are those of another masking."""
    return lambda got: float(len(unmoved(got, before.value)))


def masking(value: Any, mask_id: int) -> Masking:
    """What an answer made of the sentences."""
    read, labels = value
    return Masking(read, labels, mask_id)


def is_masking(value: Any) -> bool:
    """Whether a value is what ``mask_tokens`` is to return for :func:`crowd`, by its form."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(v, torch.Tensor) and v.dtype == torch.int64 and v.shape == crowd()[0].shape for v in value)
    )


MASKED, REPLACED, KEPT = (
    "four of five become [MASK]",
    "one of ten becomes another token",
    "one of ten stays what it is",
)
LABELS, CERTAIN, HALF, OTHER, AGAIN = (
    "the labels of many sentences",
    "every token asked for",
    "a rate of one half",
    "another generator",
    "the same generator once more",
)


@task("mask_tokens")
def mask_tokens(student: Student, given: Given) -> Iterator[Case]:
    """15 % of the tokens are asked for, each by itself; of these 80 % are hidden, 10 % replaced and 10 % kept."""
    parts, axes = ("what is read", "the labels"), ("B T", "B T")
    for name, ids, special in (
        ("special tokens alone", torch.tensor([[2, 3, 0], [2, 3, 0]]), torch.ones(2, 3, dtype=torch.bool)),
        ("a single token", torch.tensor([[2]]), torch.tensor([[True]])),
    ):
        answer = student.mask_tokens(ids, special, 9, student.fixture("generator", given.seed()), 4, 0.9)
        yield case(name, answer, (ids, torch.full_like(ids, -100)), parts=parts, axes=axes)

    ids, special = crowd()
    like = ids, ids

    def many(mask_id: int | None = None, rate: float | None = None, source: Answer | None = None) -> Answer:
        """Their masking of all sentences; with the defaults where nothing is given."""
        source = source or student.fixture("generator", given.seed())
        given_too = {} if mask_id is None else {"mask_id": mask_id, "rate": rate}
        return student.mask_tokens(ids, special, CROWD_V, source, **given_too)

    first = many()
    plain = ~special
    n = int(plain.sum())
    asked = int(n * (0.15 - margin(0.15, n)))  # there are hardly ever fewer
    for name, at_most, weight, measures, measure in (
        (LABELS, 0.0, 2, "the number of labels that are not the true token", wrong_labels),
        ("special tokens", 0.0, 1, "the number of special tokens that are asked for or changed", special_touched),
        ("tokens that are not asked for", 0.0, 1, "the number of these that are changed", changed_unasked),
        (
            "how many tokens are asked for",
            float(margin(0.15, n)),
            2,
            "the distance from 0.15 of the share that is asked for",
            lambda m: abs(m.share_asked(plain) - 0.15),
        ),
        (
            "each token by itself",
            1.0,
            1,
            "the distance from 0.15 of the share of one sentence, or of one position, as a multiple of what chance "
            "allows,",
            lambda m: unevenness(m.asked, plain, 0.15),
        ),
        (MASKED, float(margin(0.8, asked)), 2, "the distance from 0.8 of their share", share_off(0, 0.8)),
        (REPLACED, float(margin(0.1, asked)), 2, "the distance from 0.1 of their share", share_off(1, 0.1)),
        (KEPT, float(margin(0.1, asked)), 2, "the distance from 0.1 of their share", share_off(2, 0.1)),
    ):
        yield masked_case(name, first, like, measure, at_most=at_most, measures=measures, weight=weight)

    certain = many(OWN_MASK_ID, 1.0)
    yield case("the labels, with every token asked for", certain[1], ids.masked_fill(special, -100), axes="B T")
    yield masked_case(
        CERTAIN,
        certain,
        like,
        lambda m: unevenness(m.read == OWN_MASK_ID, plain, 0.8),
        OWN_MASK_ID,
        at_most=1.0,
        measures="the distance from 0.8 of the share of [MASK] in one sentence, or at one position, as a multiple of "
        "what chance allows,",
    )
    yield masked_case(
        "any token as a random one",
        certain,
        like,
        never_drawn,
        OWN_MASK_ID,
        at_most=0,
        measures="the number of tokens that never come as a random one",
    )

    source = student.fixture("generator", given.seed())
    half = many(OWN_MASK_ID, 0.5)
    yield masked_case(
        HALF,
        half,
        like,
        lambda m: abs(m.share_asked(plain) - 0.5),
        OWN_MASK_ID,
        at_most=float(margin(0.5, n)),
        measures="the distance from 0.5 of the share that is asked for",
    )
    same = "the number of choices (which tokens, which become [MASK], which random ones) that come as in another call"
    other = many(OWN_MASK_ID, 0.5, source)
    for name, answer, before in ((OTHER, other, half), (AGAIN, many(OWN_MASK_ID, 0.5, source), other)):
        yield case(
            name,
            answer,
            like,
            measure=same_as(before),
            at_most=0,
            measures=same,
            parts=parts,
            axes=axes,
        )


def masked_case(
    name: str, answer: Answer, like: Any, measure: Measure, mask_id: int = MASK_ID, weight: float = 1, **limits: Any
) -> Case:
    """A case that measures what became of :func:`crowd`."""

    def measured(got: Any) -> float:
        return measure(masking(got, mask_id))

    parts, axes = ("what is read", "the labels"), ("B T", "B T")
    return case(name, answer, like, measure=measured, parts=parts, axes=axes, weight=weight, **limits)


def wrong_labels(m: Masking) -> float:
    """How many labels are neither −100 nor the true token."""
    return float((m.asked & (m.labels != crowd()[0])).sum())


def special_touched(m: Masking) -> float:
    """How many special tokens are asked for or read as something else."""
    ids, special = crowd()
    return float((special & (m.asked | (m.read != ids))).sum())


def changed_unasked(m: Masking) -> float:
    """How many tokens are read as something else without being asked for."""
    ids, special = crowd()
    return float((~special & ~m.asked & (m.read != ids)).sum())


def share_off(part: int, wanted: float) -> Measure:
    """How far the share of one fate is from what is wanted; a random token is the true one, or [MASK], by chance."""
    by_chance = (0.1, -0.2, 0.1)[part] / CROWD_V
    return lambda m: abs(m.shares()[part] - wanted - by_chance)


def seen(evidence: Evidence, name: str = LABELS) -> Masking | None:
    """What became of the sentences in a case, if it has the right form."""
    value = evidence.get(name)
    return masking(value, MASK_ID if name == LABELS else OWN_MASK_ID) if is_masking(value) else None


def all_or_nothing(m: Masking) -> bool:
    """Whether in some sentences everything became [MASK], and in the others next to nothing."""
    plain = ~crowd()[1]
    shares = ((m.read == m.mask_id) & plain).sum(dim=1) / plain.sum(dim=1)
    return bool(((shares == 1) | (shares < 0.2)).all()) and 0.5 < float((shares == 1).double().mean()) < 1


def fates(masked: float, replaced: float, kept: float) -> Callable[[Evidence], bool]:
    """Recognizes shares of the three fates that are not the right ones."""

    def probe(evidence: Evidence) -> bool:
        m = seen(evidence)
        if m is None or not m.asked.any() or special_touched(m) or wrong_labels(m):
            return False
        pairs = zip(m.shares(), (masked, replaced, kept), strict=True)
        return all(abs(share - wanted) < min(0.006 + wanted / 3, 0.03) for share, wanted in pairs)

    return probe


def probed(test: Callable[[Masking, torch.Tensor, torch.Tensor], bool], name: str = LABELS) -> Callable[..., bool]:
    """A probe of what became of the sentences, the sentences themselves and where they are special."""

    def probe(evidence: Evidence) -> bool:
        m = seen(evidence, name)
        return m is not None and bool(test(m, *crowd()))

    return probe


mask_tokens.hints(
    "First decide which tokens are asked for: one number between 0 and 1 for each, `torch.rand(ids.shape, "
    "generator=generator)`, compared with the rate, and `& ~special`.",
    "What becomes of those is a second number for each, drawn anew: below 0.8 it is [MASK], from 0.9 on a random "
    "token, in between nothing changes.",
    "`torch.where(condition, this, that)` takes from the one or the other, number by number, and changes neither. The "
    "labels are `torch.where(asked, ids, -100)`, made from the ids as they came.",
)
ASKED = "asked = (torch.rand(ids.shape, generator=generator) < rate) & ~special"
FATE = "fate = torch.rand(ids.shape, generator=generator)"
HIDE = "    read = torch.where(asked & (fate < 0.8), mask_id, ids)\n"
REPLACE = "    read = torch.where(asked & (fate >= 0.9), anything, read)\n"
RETURN = "return read, torch.where(asked, ids, -100)"
mask_tokens.misconception_patch(
    "labels_everywhere",
    "Every position has a label, so that the model is also asked for what it sees. Where a token is not asked for, the "
    "label is −100.",
    (RETURN, "return read, ids.clone()"),
    probe=probed(lambda m, ids, special: torch.equal(m.labels, ids)),
)
mask_tokens.misconception_patch(
    "returned_the_wrong_way_round",
    "The two have changed places: first what the model reads, then the labels.",
    (RETURN, "return torch.where(asked, ids, -100), read"),
    probe=probed(lambda m, ids, special: bool((m.read[special] == -100).all())),
)
mask_tokens.misconception_patch(
    "labels_turned_round",
    "The labels are turned round: they stand where nothing is asked, and −100 stands where a word was hidden.",
    (RETURN, "return read, torch.where(asked, -100, ids)"),
    probe=probed(lambda m, ids, special: bool((m.asked & special).any()) and not (m.asked & (m.read != ids)).any()),
)
mask_tokens.misconception_patch(
    "zero_for_nothing",
    "Where nothing is asked the label is 0, and 0 is a token: the loss would ask for it. The label is −100 there.",
    (RETURN, "return read, torch.where(asked, ids, 0)"),
    probe=probed(
        lambda m, ids, special: not (m.labels == -100).any() and float((m.labels == 0)[~special].double().mean()) > 0.5
    ),
)
mask_tokens.misconception_patch(
    "labels_of_what_is_read",
    "The labels are taken from what is read, where the words are hidden already, so that the model is asked for "
    "[MASK]. Take them from the ids as they came; if you write into a tensor, write into a copy.",
    (RETURN, "return read, torch.where(asked, read, -100)"),
    probe=probed(
        lambda m, ids, special: (
            bool((m.labels[m.asked] == m.mask_id).any()) and torch.equal(m.labels[m.asked], m.read[m.asked])
        )
    ),
)
mask_tokens.misconception_patch(
    "special_tokens_asked_for",
    "Special tokens are asked for as well. [CLS], [SEP] and the padding are no words: leave them out, `& ~special`.",
    (ASKED, "asked = torch.rand(ids.shape, generator=generator) < rate"),
    probe=probed(lambda m, ids, special: 0.05 < m.share_asked(special) < 0.5 and m.share_asked(~special) > 0.05),
)
mask_tokens.misconception_patch(
    "only_special_tokens",
    "Only special tokens are asked for: `special` is True where a token must be left alone.",
    (ASKED, "asked = (torch.rand(ids.shape, generator=generator) < rate) & special"),
    probe=probed(lambda m, ids, special: m.share_asked(special) > 0 and not m.asked[~special].any()),
)
mask_tokens.misconception_patch(
    "asked_only_where_hidden",
    "Labels stand only where the word became [MASK]. A word that was replaced or kept is asked for as well: this is "
    "what these two are for.",
    (RETURN, "return read, torch.where(asked & (fate < 0.8), ids, -100)"),
    probe=probed(
        lambda m, ids, special: (
            changed_unasked(m) > 0 and bool(m.asked.any()) and bool((m.read[m.asked] == m.mask_id).all())
        )
    ),
)
mask_tokens.misconception_patch(
    "whole_sentences",
    "Whole sentences are chosen, and of each either everything is asked for or nothing: 15 % of the batch, not of the "
    "tokens. Draw one number for each token.",
    (ASKED, "asked = (torch.rand(len(ids), 1, generator=generator) < rate) & ~special"),
    probe=probed(
        lambda m, ids, special: (
            bool(m.asked.any()) and torch.equal(m.asked, m.asked.any(dim=1, keepdim=True).expand_as(special) & ~special)
        )
    ),
)
mask_tokens.misconception_patch(
    "the_same_positions_everywhere",
    "The same positions are asked for in every sentence: draw numbers of the shape of `ids`, one for each token.",
    (ASKED, "asked = (torch.rand(ids.shape[1], generator=generator) < rate) & ~special"),
    probe=probed(
        lambda m, ids, special: (
            bool(m.asked.any()) and torch.equal(m.asked, m.asked.any(dim=0).expand_as(special) & ~special)
        )
    ),
)
mask_tokens.misconception_patch(
    "always_hidden",
    "Everything that is asked for becomes [MASK]. One in ten is to be replaced and one in ten kept. If you have "
    "written that: it needs a draw of its own, since the number that was below the rate is below 0.8 as well.",
    (FATE, "fate = torch.zeros(ids.shape)"),
    probe=fates(1.0, 0.0, 0.0),
)
mask_tokens.misconception_patch(
    "random_overwritten",
    "The random tokens are overwritten by [MASK] again: what is hidden and what is replaced must exclude each other, "
    "fate < 0.8 and fate ≥ 0.9.",
    (
        HIDE + REPLACE,
        REPLACE.replace(", read)", ", ids)")
        + HIDE.replace("fate < 0.8", "(fate < 0.8) | (fate >= 0.9)").replace(", ids)", ", read)"),
    ),
    probe=fates(0.9, 0.0, 0.1),
)
mask_tokens.misconception_patch(
    "never_replaced",
    "No token is ever replaced by a random one: of five that are asked for, four are hidden and one is kept. One in "
    "ten becomes a random token.",
    (REPLACE, ""),
    probe=fates(0.8, 0.0, 0.2),
)
mask_tokens.misconception_patch(
    "never_kept",
    "No token that is asked for is kept as it is; one in ten is to be.",
    ("(fate >= 0.9)", "(fate >= 0.8)"),
    probe=fates(0.8, 0.2, 0.0),
)
mask_tokens.misconception_patch(
    "a_tenth_of_the_rest",
    "Of those that are not hidden, one in ten is replaced, which is 2 % of all that are asked for. It is to be 10 % of "
    "all: half of those that are not hidden.",
    ("(fate >= 0.9)", "(fate >= 0.8) & (torch.rand(ids.shape, generator=generator) < 0.1)"),
    probe=fates(0.8, 0.02, 0.18),
)
mask_tokens.misconception_patch(
    "a_tenth_hidden",
    "Shares are exchanged: 10 % are hidden and 80 % replaced. Most that are asked for become [MASK].",
    ("fate < 0.8", "fate < 0.1"),
    ("fate >= 0.9", "fate >= 0.2"),
    probe=fates(0.1, 0.8, 0.1),
)
mask_tokens.misconception_patch(
    "mostly_kept",
    "Shares are exchanged: 80 % are kept and 10 % hidden. Most that are asked for become [MASK].",
    ("fate < 0.8", "fate < 0.1"),
    probe=fates(0.1, 0.1, 0.8),
)
mask_tokens.misconception_patch(
    "rate_ignored",
    "The rate that is handed in makes no difference: it is 0.15 only where nothing else is given.",
    ("< rate)", "< 0.15)"),
    probe=probed(lambda m, ids, special: m.share_asked(~special) < 0.2, CERTAIN),
)
mask_tokens.misconception_patch(
    "mask_number_ignored",
    "Words become the token 103, whatever `mask_id` says: another vocabulary has another number for [MASK].",
    ("(fate < 0.8), mask_id, ids)", "(fate < 0.8), 103, ids)"),
    probe=probed(lambda m, ids, special: float((m.read[~special] == MASK_ID).double().mean()) > 0.5, CERTAIN),
)
mask_tokens.misconception_patch(
    "one_random_token",
    "One random token is drawn and serves everywhere: draw one for each position, `torch.randint(vocab_size, "
    "ids.shape, generator=generator)`.",
    (
        "anything = torch.randint(vocab_size, ids.shape, generator=generator)",
        "anything = torch.randint(vocab_size, (), generator=generator)",
    ),
    probe=probed(lambda m, ids, special: m.others().unique().numel() == 1, CERTAIN),
)
mask_tokens.misconception_patch(
    "random_from_the_batch",
    "The random tokens are taken from the batch itself. Each of the V tokens of the vocabulary is as likely as any "
    "other, also one that stands nowhere in the batch, or a special one.",
    (
        "anything = torch.randint(vocab_size, ids.shape, generator=generator)",
        "words = ids[~special] if (~special).any() else ids.flatten()\n"
        "    anything = words[torch.randint(len(words), ids.shape, generator=generator)]",
    ),
    probe=probed(
        lambda m, ids, special: m.others().unique().numel() > 1 and not torch.isin(m.others(), torch.arange(5)).any(),
        CERTAIN,
    ),
)
mask_tokens.misconception_patch(
    "one_fate_for_a_sentence",
    "What becomes of the tokens is decided once for each sentence; each token that is asked for has a draw of its own.",
    (FATE, "fate = torch.rand(len(ids), 1, generator=generator)"),
    probe=probed(lambda m, ids, special: all_or_nothing(m), CERTAIN),
)
mask_tokens.misconception_patch(
    "generator_ignored",
    "What is drawn does not depend on the generator that was handed in: give `generator=generator` to every function "
    "that draws, and leave its seed alone.",
    (ASKED, ASKED.replace(", generator=generator", "")),
    (FATE, FATE.replace(", generator=generator", "")),
    ("ids.shape, generator=generator)\n    read", "ids.shape)\n    read"),
    probe=lambda evidence: len(unmoved(evidence.get(HALF), evidence.get(OTHER))) == 3,
)
mask_tokens.misconception_patch(
    "generator_ignored_in_part",
    "Some of what is drawn does not depend on the generator that was handed in: there are three draws, and each needs "
    "`generator=generator`.",
    ("ids.shape, generator=generator)\n    read", "ids.shape)\n    read"),
    probe=lambda evidence: 0 < len(unmoved(evidence.get(HALF), evidence.get(OTHER))) < 3,
)
mask_tokens.misconception_patch(
    "generator_set_back",
    "The generator is set back at the beginning, so that the same tokens are hidden at every call. Leave its seed "
    "alone.",
    (ASKED, "generator.manual_seed(generator.initial_seed())\n    " + ASKED),
    probe=lambda evidence: bool(unmoved(evidence.get(OTHER), evidence.get(AGAIN))),
)
for drawn in (ASKED, FATE, "anything = torch.randint(vocab_size, ids.shape, generator=generator)"):
    mask_tokens.equivalent(drawn.replace("ids.shape", "special.shape"), "both have the same shape")
for changed in (
    ASKED.replace("< rate", "<= rate"),
    HIDE.strip().replace("fate < 0.8", "fate <= 0.8"),
    REPLACE.strip().replace("fate >= 0.9", "fate > 0.9"),
):
    mask_tokens.equivalent(changed, "a number that is drawn is hardly ever equal to the border")


@mask_tokens.alternative
def by_multinomial(ids, special, vocab_size, generator, mask_id=103, rate=0.15):
    asked = torch.bernoulli(torch.full(ids.shape, float(rate)).masked_fill(special, 0.0), generator=generator).bool()
    fate = torch.multinomial(torch.tensor([0.8, 0.1, 0.1]), ids.numel(), replacement=True, generator=generator)
    fate = fate.view(ids.shape)
    read, labels = ids.clone(), torch.full_like(ids, -100)
    labels[asked] = ids[asked]
    read[asked & (fate == 0)] = mask_id
    replaced = asked & (fate == 1)
    read[replaced] = torch.randint(0, vocab_size, (int(replaced.sum()),), generator=generator)
    return read, labels


@mask_tokens.alternative
def by_halves(ids, special, vocab_size, generator, mask_id=103, rate=0.15, ignore_index=-100):
    probabilities = torch.where(special, 0.0, rate)
    asked = torch.bernoulli(probabilities, generator=generator) > 0
    labels = ids.masked_fill(~asked, ignore_index)
    hidden = (torch.bernoulli(torch.full(ids.shape, 0.8), generator=generator) > 0) & asked
    replaced = (torch.bernoulli(torch.full(ids.shape, 0.5), generator=generator) > 0) & asked & ~hidden
    read = ids.masked_fill(hidden, mask_id)
    anything = (torch.rand(ids.shape, generator=generator, dtype=torch.float64) * vocab_size).long()
    return [torch.where(replaced, anything, read), labels]


@mask_tokens.alternative
def token_by_token(ids, special, vocab_size, generator, mask_id=103, rate=0.15):
    import random

    source = random.Random(int(torch.randint(2**62, (), generator=generator)))
    read, labels = ids.tolist(), [[-100] * ids.shape[1] for _ in ids]
    for row, untouched in enumerate(special.tolist()):
        for t, is_special in enumerate(untouched):
            if is_special or source.random() >= rate:
                continue
            labels[row][t] = read[row][t]
            fate = source.random()
            if fate < 0.8:
                read[row][t] = mask_id
            elif fate < 0.9:
                read[row][t] = source.randrange(vocab_size)
    return torch.tensor(read), torch.tensor(labels)


@mask_tokens.alternative
def places_first(ids, special, vocab_size, generator, mask_id=103, rate=0.15):
    rows, columns = (~special).nonzero(as_tuple=True)
    chosen = torch.rand(len(rows), generator=generator) < rate
    rows, columns = rows[chosen], columns[chosen]
    fate = torch.rand(len(rows), generator=generator)
    new = torch.where(fate < 0.8, mask_id, ids[rows, columns])
    new = torch.where(fate > 0.9, torch.randint(vocab_size, new.shape, generator=generator), new)
    read, labels = ids.clone(), torch.full(ids.shape, -100)
    read[rows, columns], labels[rows, columns] = new, ids[rows, columns]
    return read, labels


@task("sentence_pairs")
def sentence_pairs(student: Student, given: Given) -> Iterator[Case]:
    """By a coin, the next sentence or one of another document, each other document as likely as any."""
    alone = [["one sentence"], [], ["another one"]]
    yield case(
        "documents of one sentence", student.sentence_pairs(alone, student.fixture("generator", given.seed())), []
    )

    source = student.fixture("generator", given.seed())
    first = student.sentence_pairs(library(), student.fixture("generator", given.seed()))
    for name, at_most, weight, measures, measure in (
        (FIRSTS, 0.0, 3, "the number of pairs whose first sentence is not the one that it should be", wrong_firsts),
        ("label 0", 0.0, 2, "the number of pairs with the label 0 that are no neighbors in the text", wrong_neighbors),
        (
            "label 1",
            0.0,
            2,
            "the number of pairs with the label 1 whose second sentence is not from another document",
            lambda p: float(sum(pair.label == 1 and pair.second[0] == pair.first[0] for pair in p)),
        ),
        (
            "a fair coin",
            float(margin(0.5, len(right_firsts()))),
            2,
            "the distance from one half of the share of the label 1",
            lambda p: abs(share(pair.label for pair in p) - 0.5),
        ),
        (
            "a coin for each pair",
            float(margin(0.5, len(right_firsts()) - 1)),
            1,
            "the distance from one half of the share of pairs with the same label as the pair before",
            lambda p: abs(share(a.label == b.label for a, b in pairwise(p)) - 0.5),
        ),
        (
            "every other document as likely",
            1.0,
            2,
            "the distance of a document's share from what it should be, as a multiple of what chance allows,",
            uneven_documents,
        ),
        (
            "every sentence of a document as likely",
            1.0,
            1,
            "the distance of a sentence's share from what it should be, as a multiple of what chance allows,",
            uneven_sentences,
        ),
    ):
        yield pairs_case(name, first, measure, at_most=at_most, measures=measures, weight=weight)

    short = student.sentence_pairs(leaflets(), student.fixture("generator", given.seed()))
    yield pairs_case(
        SHORT,
        short,
        lambda p: share(len({q.label for q in p if q.first[0] == d}) == 1 for d in range(7, 67)),
        at_most=0.6,
        measures="the share of documents in which all pairs have the same label",
    )

    same = "the number of choices (which labels, which other documents and sentences) that come as in another call"
    other = student.sentence_pairs(library(), source)
    for name, answer, before in ((OTHER, other, first), (AGAIN, student.sentence_pairs(library(), source), other)):
        yield pairs_case(name, answer, as_before(before), at_most=0, measures=same)


FIRSTS, SHORT = "the first sentences of many pairs", "many short documents"
Place = tuple[int, int]
"""The number of a document, and that of a sentence in it."""


class Pair(NamedTuple):
    """A pair by the places of its sentences."""

    first: Place
    second: Place
    label: int


@lru_cache(maxsize=1)
def library() -> list[list[str]]:
    """Documents of all lengths, no sentence in two places."""
    lengths = (300, 1, 260, 0, 2, 300, 5)
    return [[f"sentence {i} of document {d}" for i in range(length)] for d, length in enumerate(lengths)]


@lru_cache(maxsize=1)
def leaflets() -> list[list[str]]:
    """Many short documents."""
    return [[f"line {i} of leaflet {d}" for i in range(5)] for d in range(60)]


@lru_cache(maxsize=1)
def places() -> dict[str, Place]:
    """Where each sentence stands."""
    both = [*library(), *leaflets()]
    return {text: (d, i) for d, document in enumerate(both) for i, text in enumerate(document)}


@lru_cache(maxsize=1)
def right_firsts() -> list[Place]:
    """The sentences that begin a pair, in their order."""
    return [(d, i) for d, document in enumerate(library()) for i in range(len(document) - 1)]


_read: dict[int, tuple[Any, list[Pair] | None]] = {}


def paired(value: Any) -> list[Pair] | None:
    """The pairs in an answer, or None if it has another form; the last few are kept."""
    if id(value) not in _read or _read[id(value)][0] is not value:
        if len(_read) >= 8:
            _read.clear()
        _read[id(value)] = value, read_pairs(value)
    return _read[id(value)][1]


def read_pairs(value: Any) -> list[Pair] | None:
    """The pairs in an answer, or None if it has another form."""
    if not isinstance(value, (list, tuple)) or not value:
        return None
    found = []
    for triple in value:
        if not isinstance(triple, (list, tuple)) or len(triple) != 3:
            return None
        first, second, label = triple
        known = isinstance(first, str) and isinstance(second, str) and first in places() and second in places()
        if isinstance(label, torch.Tensor) and label.numel() == 1:
            label = label.item()
        if not known or not isinstance(label, (int, float)) or label not in (0, 1):
            return None
        found.append(Pair(places()[first], places()[second], int(label)))
    return found


def pairs_case(
    name: str,
    answer: Answer,
    measure: Callable[[list[Pair]], float],
    *,
    measures: str,
    weight: float = 1,
    **limits: Any,
) -> Case:
    """A case that measures pairs, or says that these are none."""
    pairs = None if answer.failure else paired(answer.value)
    if pairs is None and not answer.failure:
        wanted = (
            "what it returned is no list of triples (first, second, label), with sentences of the documents and with "
            "labels that are 0 or 1"
        )
        answer = replace(answer, value=None, failure=Failure("structure", answer.subject, message=wanted))
    return case(name, answer, measure=lambda _: measure(pairs or []), measures=measures, weight=weight, **limits)


def share(hits: Any) -> float:
    """Of several numbers, the mean; 0 if there are none."""
    numbers = [float(hit) for hit in hits]
    return sum(numbers) / max(len(numbers), 1)


def wrong_firsts(pairs: list[Pair]) -> float:
    """How many pairs do not begin with the sentence that they should begin with, or are missing or too many."""
    firsts, right = [pair.first for pair in pairs], right_firsts()
    return float(sum(a != b for a, b in zip(firsts, right, strict=False)) + abs(len(firsts) - len(right)))


def is_next(pair: Pair) -> bool:
    """Whether the second sentence stands behind the first."""
    return pair.second == (pair.first[0], pair.first[1] + 1)


def wrong_neighbors(pairs: list[Pair]) -> float:
    """How many pairs with the label 0 are no neighbors."""
    return float(sum(pair.label == 0 and not is_next(pair) for pair in pairs))


def uneven_documents(pairs: list[Pair]) -> float:
    """How far the share of a document in the pairs with the label 1 is from what it should be."""
    others = [pair for pair in pairs if pair.label == 1]
    filled_ones = [d for d, document in enumerate(library()) if document]
    if not others:
        return math.inf
    worst = 0.0
    for long in (0, 2, 5):  # that one of five never comes has a chance below 1e-9 if a hundred are drawn
        drawn = [pair.second[0] for pair in others if pair.first[0] == long]
        if len(drawn) >= 100 and len(set(drawn)) < len(filled_ones) - 1:
            return math.inf
    for d in filled_ones:
        here = [pair for pair in others if pair.first[0] != d]
        expected = 1 / (len(filled_ones) - 1)
        off = abs(share(pair.second[0] == d for pair in here) - expected)
        worst = max(worst, off / float(margin(expected, len(here), len(filled_ones))))
    return worst


def uneven_sentences(pairs: list[Pair]) -> float:
    """How far the share of a short document's sentence, or of a long one's first half, is from what it should be."""
    seconds = [pair.second for pair in pairs if pair.label == 1]
    worst = 0.0
    for d, document in enumerate(library()):
        n = sum(place[0] == d for place in seconds)
        if len(document) < 2 or not n:
            continue
        parts = range(len(document)) if len(document) < 10 else (range(len(document) // 2),)
        for part in parts:
            members = {part} if isinstance(part, int) else set(part)
            expected = len(members) / len(document)
            off = abs(share(place[1] in members for place in seconds if place[0] == d) - expected)
            worst = max(worst, off / float(margin(expected, n, 10)))
    return worst


def alike(one: list[Pair], other: list[Pair] | None) -> int:
    """How many of the choices in two lists of pairs are the same: of labels, of documents, of sentences.

    The second sentences of the first document are compared in the order in which they were drawn.
    """
    if other is None or len(one) != len(other):
        return 0
    drawn = ([pair.second for pair in pairs if pair.label == 1 and pair.first[0] == 0] for pairs in (one, other))
    both = list(zip(*drawn, strict=False))
    lucky = [(a[1], b[1]) for a, b in both if a[0] == b[0] and len(library()[a[0]]) > 100]
    return sum(
        (
            share(a.label == b.label for a, b in zip(one, other, strict=True)) > 0.7,
            len(both) >= 50 and share(a[0] == b[0] for a, b in both) > 0.6,
            len(lucky) >= 3 and share(a == b for a, b in lucky) > 0.6,
        )
    )


def as_before(before: Answer) -> Callable[[list[Pair]], float]:
    """Counts the choices that are those of other pairs."""
    return lambda pairs: float(alike(pairs, paired(before.value)))


def of_pairs(test: Callable[[list[Pair]], bool], name: str = FIRSTS) -> Callable[[Evidence], bool]:
    """A probe of the pairs of a case."""

    def probe(evidence: Evidence) -> bool:
        pairs = paired(evidence.get(name))
        return pairs is not None and bool(test(pairs))

    return probe


def same_choices(evidence: Evidence, name: str, before: str) -> bool:
    """Whether all that was drawn for two cases is the same."""
    one, other = paired(evidence.get(name)), paired(evidence.get(before))
    return one is not None and alike(one, other) == 3


sentence_pairs.hints(
    "`pairwise(document)` gives each sentence together with the next one, and nothing for a document of one sentence. "
    "Sort out the documents without sentences first.",
    "A coin is `torch.randint(2, (), generator=generator) == 0`. The documents other than number i are "
    "`filled[:i] + filled[i + 1:]`, and `others[torch.randint(len(others), (), generator=generator)]` is one of them.",
)
COIN = "if torch.randint(2, (), generator=generator) == 0:"
OTHERS = "others = filled[:number] + filled[number + 1 :]"
NEGATIVE = "pairs.append((first, other[torch.randint(len(other), (), generator=generator)], 1))"
sentence_pairs.misconception_patch(
    "labels_turned_round",
    "The labels are turned round: 0 is the next sentence, 1 another.",
    ("following, 0))", "following, 1))"),
    ("generator=generator)], 1))", "generator=generator)], 0))"),
    probe=of_pairs(lambda p: not wrong_firsts(p) and all(is_next(pair) == (pair.label == 1) for pair in p)),
)
sentence_pairs.misconception_patch(
    "always_the_next",
    "Every pair has the next sentence: in half of them it is to be another.",
    (COIN, "if True:"),
    probe=of_pairs(lambda p: all(is_next(q) and q.label == 0 for q in p), SHORT),
)
sentence_pairs.misconception_patch(
    "never_the_next",
    "Every pair has a sentence of another document: in half of them it is to be the next.",
    (COIN, "if False:"),
    probe=of_pairs(lambda p: all(q.label == 1 and q.second[0] != q.first[0] for q in p), SHORT),
)
sentence_pairs.misconception_patch(
    "from_the_same_document",
    "The other sentence is taken from the same document, where it may even be the next one, and where it is about the "
    "same things. It comes from another document.",
    ("other = others[torch.randint(len(others), (), generator=generator)]", "other = document"),
    probe=of_pairs(
        lambda p: (
            any(pair.label == 1 for pair in p)
            and all(pair.second[0] == pair.first[0] for pair in p if pair.label == 1)
            and not wrong_firsts(p)
        )
    ),
)
sentence_pairs.misconception_patch(
    "from_any_document",
    "The other sentence may come from the same document as the first: leave this document out before you draw one.",
    (OTHERS, "others = filled"),
    probe=of_pairs(
        lambda p: (
            0.02 < share(pair.second[0] == pair.first[0] for pair in p if pair.label == 1) < 0.9 and not wrong_firsts(p)
        )
    ),
)
sentence_pairs.misconception_patch(
    "from_the_document_behind",
    "The other sentence always comes from the document behind; every other document is to be as likely as any other.",
    (OTHERS, "others = [(filled[number + 1 :] + filled)[0]]"),
    probe=of_pairs(
        lambda p: (
            not wrong_firsts(p)
            and sum(q.label for q in p) > 100
            and all(len({q.second[0] for q in p if q.label == 1 and q.first[0] == d}) <= 1 for d in range(7))
        )
    ),
)
sentence_pairs.misconception_patch(
    "long_documents_favored",
    "All sentences of the other documents are as likely as each other, so that long documents are drawn far more "
    "often. First draw a document, each as likely as any other, and then a sentence of it.",
    (
        "other = others[torch.randint(len(others), (), generator=generator)]",
        "other = [sentence for one in others for sentence in one]",
    ),
    probe=of_pairs(
        lambda p: (
            not wrong_firsts(p)
            and len([q for q in p if q.label == 1]) > 300
            and share(q.second[0] in (1, 4, 6) for q in p if q.label == 1) < 0.1
            and uneven_sentences(p) <= 1
            and len({q.second[0] for q in p if q.label == 1 and q.first[0] == 2}) > 1
        )
    ),
)
sentence_pairs.misconception_patch(
    "first_sentence_always",
    "It is always the first sentence of the other document; every sentence of it is to be as likely as any other.",
    ("other[torch.randint(len(other), (), generator=generator)]", "other[0]"),
    probe=of_pairs(lambda p: sum(q.label for q in p) > 100 and {q.second[1] for q in p if q.label == 1} == {0}),
)
sentence_pairs.misconception_patch(
    "order_tells",
    "In the pairs with the label 1 the two sentences have changed places: then the label shows in their order. The "
    "sentence of the text is the first in every pair.",
    (NEGATIVE, "pairs.append((other[torch.randint(len(other), (), generator=generator)], first, 1))"),
    probe=of_pairs(
        lambda p: (
            any(q.label == 1 for q in p)
            and not wrong_firsts([q._replace(first=q.second if q.label == 1 else q.first) for q in p])
        )
    ),
)
sentence_pairs.misconception_patch(
    "labels_in_turn",
    "The labels come in turn, 0, 1, 0, 1, so that the place in the list tells them. Throw a coin for each pair.",
    (COIN, "if len(pairs) % 2 == 0:"),
    probe=of_pairs(lambda p: not wrong_firsts(p) and all(a.label != b.label for a, b in pairwise(p))),
)
sentence_pairs.misconception_patch(
    "one_coin_for_a_document",
    "The coin is thrown once for a whole document; throw it for each pair.",
    (OTHERS, OTHERS + "\n        coin = torch.randint(2, (), generator=generator)"),
    (COIN, "if coin == 0:"),
    probe=of_pairs(
        lambda p: (
            {q.label for q in p} == {0, 1}
            and p == sorted(p)
            and all(a.label == b.label for a, b in pairwise(p) if a.first[0] == b.first[0])
        ),
        SHORT,
    ),
)
sentence_pairs.misconception_patch(
    "next_ones_first",
    "All pairs with the label 0 come first, and all with the label 1 behind them: the place in the list tells the "
    "label. The pairs come in the order of the text.",
    ("return pairs", "return sorted(pairs, key=lambda pair: pair[2])"),
    probe=of_pairs(
        lambda p: (
            {q.label for q in p} == {0, 1}
            and [q.label for q in p] == sorted(q.label for q in p)
            and not wrong_firsts(sorted(p, key=lambda q: q.first))
        )
    ),
)
sentence_pairs.misconception_patch(
    "both_for_each",
    "Every sentence begins two pairs, one with each label. It begins one; the coin says which.",
    ("            else:\n                other", "            if True:\n                other"),
    (COIN, "if True:"),
    probe=of_pairs(lambda p: len(p) == 2 * len(right_firsts())),
)
sentence_pairs.misconception_patch(
    "beyond_the_end",
    "The last sentence of a document is paired with the first of the next document, as if that followed it. The last "
    "sentence begins no pair.",
    (
        "pairwise(document):",
        "pairwise(document + filled[number + 1][:1] if number + 1 < len(filled) else document):",
    ),
    probe=of_pairs(lambda p: len(p) > 240 and any(q.label == 0 and q.second[0] != q.first[0] for q in p), SHORT),
)
sentence_pairs.misconception_patch(
    "last_one_never_drawn",
    "The last sentence of another document is never drawn: `torch.randint(n, …)` gives numbers below n, so n is the "
    "number of sentences.",
    ("torch.randint(len(other), ()", "torch.randint(max(len(other) - 1, 1), ()"),
    probe=of_pairs(
        lambda p: (
            not wrong_firsts(p)
            and sum(q.label for q in p) > 100
            and any(q.second[0] == 4 for q in p if q.label == 1)
            and not any(q.second == (4, 1) for q in p if q.label == 1)
            and any(q.second == (6, 3) for q in p if q.label == 1)
        )
    ),
)
sentence_pairs.misconception_patch(
    "generator_ignored",
    "What is drawn does not depend on the generator that was handed in: give `generator=generator` to every function "
    "that draws, and leave its seed alone.",
    ("pairs = []", "pairs, generator = [], None"),
    probe=lambda evidence: same_choices(evidence, OTHER, FIRSTS),
)
sentence_pairs.misconception_patch(
    "generator_set_back",
    "The generator is set back at the beginning, so that the same pairs come at every call. Leave its seed alone.",
    ("pairs = []", "pairs = []\n    generator.manual_seed(generator.initial_seed())"),
    probe=lambda evidence: same_choices(evidence, AGAIN, OTHER) and not same_choices(evidence, OTHER, FIRSTS),
)
sentence_pairs.misconception_patch(
    "empty_documents_kept",
    "A document without sentences is drawn as well, and has none to give: sort such documents out first.",
    ("filled = [document for document in documents if document]", "filled = list(documents)"),
)
for changed in (
    COIN.replace("== 0", "!= 0"),
    COIN.replace("== 0", "== 1"),
):
    sentence_pairs.equivalent(changed, "heads and tails are as likely as each other")


@sentence_pairs.alternative
def with_numbers_of_documents(documents, generator):
    useful = [number for number, document in enumerate(documents) if len(document) > 0]
    pairs = []
    for number in useful:
        for i in range(len(documents[number]) - 1):
            if float(torch.rand(1, generator=generator)) < 0.5:
                second, label = documents[number][i + 1], 0
            else:
                other = number
                while other == number:
                    other = useful[int(torch.randint(0, len(useful), (1,), generator=generator))]
                second, label = documents[other][int(torch.rand(1, generator=generator) * len(documents[other]))], 1
            pairs.append((documents[number][i], second, label))
    return pairs


@sentence_pairs.alternative
def by_python_random(documents, generator, share_of_next=0.5):
    import random

    source = random.Random(int(torch.randint(2**62, (), generator=generator)))
    pairs = []
    for document in documents:
        others = [other for other in documents if other and other is not document]
        for first, following in pairwise(document):
            label = int(source.random() >= share_of_next)
            pairs.append([first, source.choice(source.choice(others)) if label else following, label])
    return pairs


@sentence_pairs.alternative
def coins_in_advance(documents, generator):
    filled = [list(document) for document in documents if document]
    firsts = [(number, i) for number, document in enumerate(filled) for i in range(len(document) - 1)]
    coins = torch.randint(2, (len(firsts),), generator=generator)
    steps = torch.randint(1, len(filled), (len(firsts),), generator=generator) if firsts else coins
    parts = torch.rand(len(firsts), generator=generator, dtype=torch.float64)
    pairs = []
    for (number, i), coin, step, part in zip(firsts, coins, steps.tolist(), parts.tolist(), strict=True):
        other = filled[(number + step) % len(filled)]
        second = other[int(part * len(other))] if coin else filled[number][i + 1]
        pairs.append((filled[number][i], second, coin))
    return pairs


@task("mlm_loss")
def mlm_loss(student: Student, given: Given) -> Iterator[Case]:
    """The mean cross-entropy where there is a label, scored by the table that embeds."""
    B, T, D, V = 3, 5, 4, 7
    for name, asked, scale, weight in (
        ("some tokens asked for", (2, 1, 3), 1.0, 3),
        ("one token asked for", (0, 1, 0), 1.0, 1),
        ("all tokens asked for", (5, 5, 5), 1.0, 1),
        ("large scores", (1, 4, 2), 30.0, 1),
        ("none asked for", (0, 0, 0), 1.0, 1),
    ):
        while True:
            inputs = scale * given.normal(B, T, D), 1.5 * given.normal(V, D), 2 * given.normal(V)
            labels = some_labels(given, asked, T, V)
            if scale == 1 or has_underflow(*inputs, labels):
                break
        yield case(name, student.mlm_loss(*inputs, labels), reference.mlm_loss(*inputs, labels), weight=weight)
    inputs = given.normal(2, T, D), 1.5 * given.normal(V, D), 2 * given.normal(V)
    labels, upstream = some_labels(given, (3, 1), T, V), torch.tensor(1.5)
    yield case(
        "gradients",
        student.mlm_loss.gradient(*inputs, labels, upstream=upstream),
        expected_gradient(reference.mlm_loss, *inputs, labels, upstream=upstream),
        weight=3,
    )


def has_underflow(
    hidden: torch.Tensor, embedding_weight: torch.Tensor, bias: torch.Tensor, labels: torch.Tensor
) -> bool:
    """Whether the probability of some true token is too small for a float."""
    p = (hidden @ embedding_weight.T + bias).softmax(dim=-1)
    true = p.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return bool((true[labels >= 0] == 0).any())


def some_labels(given: Given, asked: tuple[int, ...], T: int, V: int) -> torch.Tensor:
    """Labels, as many in each sentence as are asked for, and −100 elsewhere; token 0 is not among them."""
    labels = given.integers(1, V, len(asked), T)
    for row, count in zip(labels, asked, strict=True):
        row[given.permutation(T)[count:]] = -100
    return labels


mlm_loss.hints(
    "`asked = labels != -100` is (B, T), and `hidden[asked]` picks out the N vectors at these positions, (N, D). "
    "`labels[asked]` are their N tokens, in the same order.",
    'The scores are `hidden[asked] @ embedding_weight.T + bias`. `F.cross_entropy(…, reduction="sum")` of nothing is '
    "0; divide by N, or by 1 if N is 0.",
)


@mlm_loss.misconception(
    "The positions that nobody asked for are counted as well, as if their label were token 0. A position with the "
    "label −100 takes no part in the loss."
)
def unasked_counted_as_zero(hidden, embedding_weight, bias, labels):
    logits = hidden @ embedding_weight.T + bias
    return F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten())


@mlm_loss.misconception(
    "The sum is divided by the number of all positions. It is divided by the number of those that are asked for: the "
    "loss must not change when words are added that nobody asks for."
)
def divided_by_all(hidden, embedding_weight, bias, labels):
    logits = hidden @ embedding_weight.T + bias
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / labels.numel()


@mlm_loss.misconception("This is the sum; the mean over the positions that are asked for is wanted.")
def summed(hidden, embedding_weight, bias, labels):
    logits = hidden @ embedding_weight.T + bias
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")


@mlm_loss.misconception("The bias is missing: every token has a number of its own that is added to its score.")
def no_bias(hidden, embedding_weight, bias, labels):
    asked = labels != -100
    total = F.cross_entropy(hidden[asked] @ embedding_weight.T + 0 * bias, labels[asked], reduction="sum")
    return total / asked.sum().clamp(min=1)


@mlm_loss.misconception(
    "The table that scores is a copy, cut off from the one that embeds, so that no gradient reaches it from here. It "
    "is one tensor in two places: use `embedding_weight` itself, without `detach`, `data` or `clone().detach()`."
)
def untied_copy(hidden, embedding_weight, bias, labels):
    asked = labels != -100
    logits = hidden[asked] @ embedding_weight.detach().clone().T + bias
    return F.cross_entropy(logits, labels[asked], reduction="sum") / asked.sum().clamp(min=1)


@mlm_loss.misconception(
    "Where nothing is asked for, the mean of no numbers is NaN, and one such batch ruins a model. The loss is 0 there: "
    "divide the sum by at least 1."
)
def nan_for_nothing(hidden, embedding_weight, bias, labels):
    logits = hidden @ embedding_weight.T + bias
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


@mlm_loss.misconception(
    "There is a softmax before the cross-entropy, which takes its own: hand it the scores as they are."
)
def softmax_twice(hidden, embedding_weight, bias, labels):
    asked = labels != -100
    logits = (hidden[asked] @ embedding_weight.T + bias).softmax(dim=-1)
    return F.cross_entropy(logits, labels[asked], reduction="sum") / asked.sum().clamp(min=1)


@mlm_loss.misconception(
    "The logarithm is taken of a softmax: where a probability is too small for a float, that is infinite. "
    "`F.cross_entropy` and `log_softmax` work with the scores themselves."
)
def logarithm_of_a_softmax(hidden, embedding_weight, bias, labels):
    asked = labels != -100
    p = (hidden[asked] @ embedding_weight.T + bias).softmax(dim=-1)
    picked = p[torch.arange(len(p)), labels[asked]]
    return -picked.log().sum() / asked.sum().clamp(min=1)


@mlm_loss.misconception(
    "The mean is taken within each sentence first, and then over the sentences, so that a word weighs more in a "
    "sentence where few are asked for. It is one mean over all that are asked for."
)
def mean_of_means(hidden, embedding_weight, bias, labels):
    means = []
    for vectors, wanted in zip(hidden, labels, strict=True):
        asked = wanted != -100
        logits = vectors[asked] @ embedding_weight.T + bias
        means.append(F.cross_entropy(logits, wanted[asked], reduction="sum") / asked.sum().clamp(min=1))
    return torch.stack(means).mean()


@mlm_loss.misconception("The sign is turned round: a loss falls when the true tokens become more likely.")
def sign_turned_round(hidden, embedding_weight, bias, labels):
    asked = labels != -100
    log_p = (hidden[asked] @ embedding_weight.T + bias).log_softmax(dim=-1)
    return log_p[torch.arange(len(log_p)), labels[asked]].sum() / asked.sum().clamp(min=1)


@mlm_loss.misconception(
    "Vectors and rows of the table are brought to length 1 first; the score is the dot product of both as they are."
)
def cosines_for_scores(hidden, embedding_weight, bias, labels):
    asked = labels != -100
    logits = F.normalize(hidden[asked], dim=-1) @ F.normalize(embedding_weight, dim=-1).T + bias
    return F.cross_entropy(logits, labels[asked], reduction="sum") / asked.sum().clamp(min=1)


@mlm_loss.misconception(
    "The bias is added to the true token's score alone, behind the softmax; it belongs to every score, before the "
    "softmax."
)
def bias_behind_the_softmax(hidden, embedding_weight, bias, labels):
    asked = labels != -100
    log_p = (hidden[asked] @ embedding_weight.T).log_softmax(dim=-1) + bias
    return -log_p[torch.arange(len(log_p)), labels[asked]].sum() / asked.sum().clamp(min=1)


@mlm_loss.misconception(
    "The softmax runs over the positions that are asked for. It runs over the V tokens of each position, the last axis."
)
def softmax_over_positions(hidden, embedding_weight, bias, labels):
    asked = labels != -100
    log_p = (hidden[asked] @ embedding_weight.T + bias).log_softmax(dim=0)
    return -log_p[torch.arange(len(log_p)), labels[asked]].sum() / asked.sum().clamp(min=1)


@mlm_loss.alternative
def ignoring(hidden, embedding_weight, bias, labels):
    logits = torch.einsum("btd,vd->btv", hidden, embedding_weight) + bias
    total = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="sum")
    return total / max(int((labels != -100).sum()), 1)


@mlm_loss.alternative
def linear_and_guarded(hidden, embedding_weight, bias, labels, ignore_index=-100):
    places = (labels != ignore_index).nonzero(as_tuple=True)
    if len(places[0]) == 0:
        return hidden.sum() * 0
    return F.cross_entropy(F.linear(hidden[places], embedding_weight, bias), labels[places])


@mlm_loss.alternative
def weighted_by_where(hidden, embedding_weight, bias, labels):
    asked = labels >= 0
    log_p = (hidden @ embedding_weight.transpose(0, 1) + bias).log_softmax(dim=-1)
    picked = log_p.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -torch.where(asked, picked, 0.0).sum() / asked.sum().clamp(min=1)


@mlm_loss.alternative
def position_by_position(hidden, embedding_weight, bias, labels):
    losses = []
    for b in range(labels.shape[0]):
        for t in range(labels.shape[1]):
            if labels[b, t] != -100:
                scores = embedding_weight @ hidden[b, t] + bias
                losses.append(torch.logsumexp(scores, dim=0) - scores[labels[b, t]])
    return sum(losses, torch.zeros(())) / max(len(losses), 1)


@task("pool", asks="Pooler")
def pool(student: Student, given: Given) -> Iterator[Case]:
    """tanh of a linear layer of the first position's vector."""
    for name, B, T, D, weight in (("three sentences", 3, 5, 4, 3), ("one position", 2, 1, 6, 1), ("long", 4, 7, 3, 1)):
        pooler = reference.Pooler(D)
        weights = given.weights(pooler)
        filled(pooler, weights)
        theirs, hidden = student.Pooler(D).load(weights), 1.5 * given.normal(B, T, D)
        yield case(name, theirs(hidden), pooler(hidden), weight=weight, axes="B D")
    hidden, upstream = given.normal(2, 4, 3), given.normal(2, 3)
    yield case(
        "gradients",
        theirs.gradient(hidden, upstream=upstream),
        expected_gradient(pooler, hidden, upstream=upstream),
    )


pool.hints(
    "`hidden[:, 0]` is the first position of every sentence, (B, D).",
    "`self.dense = nn.Linear(d_model, d_model)` in `__init__`; in `forward` the tanh of what it makes of that vector.",
)
FIRST = "first = hidden[:, 0]  # (B, D)"
pool.misconception_patch(
    "mean_pooling",
    "The mean over all positions is taken; BERT's pooler takes the vector of the first position, [CLS], alone.",
    (FIRST, "first = hidden.mean(dim=1)"),
)
pool.misconception_patch(
    "max_pooling",
    "The largest number over all positions is taken, feature by feature; the pooler takes the first position alone.",
    (FIRST, "first = hidden.amax(dim=1)"),
)
pool.misconception_patch(
    "last_token",
    "The last position is taken. [CLS] is the first; the last is a [SEP], or padding.",
    (FIRST, "first = hidden[:, -1]"),
)
pool.misconception_patch(
    "first_sentence",
    "This is the first sentence of the batch with all of its positions; the first position of every sentence is "
    "`hidden[:, 0]`.",
    (FIRST, "first = hidden[0]"),
)
pool.misconception_patch(
    "axis_left_over",
    "One axis of size 1 is left over: there is to be one vector for each sentence, (B, D). Index with 0, not with a "
    "slice.",
    (FIRST, "first = hidden[:, :1]"),
)
pool.misconception_patch(
    "every_position",
    "All positions are put through the layer; one vector for the sentence is asked for.",
    (FIRST, "first = hidden"),
)
pool.misconception_patch("no_tanh", "The tanh is missing.", ("torch.tanh(self.dense(first))", "self.dense(first)"))
pool.misconception_patch(
    "tanh_first",
    "The tanh is taken before the linear layer; it comes behind it.",
    ("torch.tanh(self.dense(first))", "self.dense(torch.tanh(first))"),
)
pool.misconception_patch(
    "relu_for_tanh",
    "There is a ReLU in the place of the tanh.",
    ("torch.tanh(self.dense(first))", "torch.relu(self.dense(first))"),
)
pool.misconception_patch(
    "gelu_for_tanh",
    "There is a GELU in the place of the tanh; the GELU is the activation inside the layers.",
    ("torch.tanh(self.dense(first))", "F.gelu(self.dense(first))"),
)
pool.misconception_patch(
    "no_layer",
    "The linear layer is not used: tanh(W h + b) is asked for.",
    ("torch.tanh(self.dense(first))", "torch.tanh(first) + 0 * self.dense(first)"),
)
pool.misconception_patch(
    "no_bias",
    "The layer has no bias; it has one.",
    ("nn.Linear(d_model, d_model)", "nn.Linear(d_model, d_model, bias=False)"),
)
pool.misconception_patch(
    "residual",
    "The vector itself is added to the result; there is no residual path here.",
    ("return torch.tanh(self.dense(first))", "return first + torch.tanh(self.dense(first))"),
)
pool.alternative_patch("selected", (FIRST, "first = hidden.select(1, 0)"), ("torch.tanh(self", "F.tanh(self"))
pool.alternative_patch(
    "by_hand",
    ("torch.tanh(self.dense(first))", "torch.tanh(first @ self.dense.weight.T + self.dense.bias)"),
    ("def forward(self, hidden):", "def forward(self, hidden, mask=None):"),
)
pool.alternative_patch(
    "every_position_then_the_first",
    (FIRST, "first = hidden"),
    ("torch.tanh(self.dense(first))", "self.activation(self.dense(first))[:, 0, :]"),
    ("        self.dense = nn", "        self.activation = nn.Tanh()\n        self.dense = nn"),
)


@task("best_span")
def best_span(student: Student, given: Given) -> Iterator[Case]:
    """Of all spans that are in order and not too long, the one with the highest sum."""
    parts, axes = ("first", "last"), ("B", "B")
    for name, B, T, longest, shift, weight in (
        ("many texts", 60, 9, 4, 0.0, 3),
        ("answers of one token", 40, 7, 1, 0.0, 1),
        ("answers as long as the text", 40, 6, 6, 0.0, 1),
        ("a limit beyond the text", 40, 5, 8, 0.0, 1),
        ("scores that are all below 0", 50, 8, 3, -9.0, 2),
        ("texts of one token", 6, 1, 2, 0.0, 1),
    ):
        start, end = (2 * given.normal(B, T) + shift for _ in range(2))
        right = bert_heads.best_span(start, end, longest)
        yield case(name, student.best_span(start, end, longest), right, weight=weight, parts=parts, axes=axes)
    start, end = 2 * given.normal(50, 7), 2 * given.normal(50, 7)
    start[given.uniform(50, 7) < 0.5] = -math.inf
    end[given.uniform(50, 7) < 0.5] = -math.inf
    place = given.integers(0, 6, 50)
    rows = torch.arange(50)
    start[rows, place], end[rows, place + 1] = given.normal(50), given.normal(50)
    yield case(
        "places where no answer may begin or end",
        student.best_span(start, end, 3),
        bert_heads.best_span(start, end, 3),
        weight=2,
        parts=parts,
        axes=axes,
    )


best_span.equivalent("T = end.shape[1]", "both have the same shape")
best_span.hints(
    "Write down the score of every span first: `start[:, :, None] + end[:, None, :]` is (B, T, T), beginnings along "
    "the second axis and ends along the third.",
    "Which spans are allowed is a matrix (T, T), the same for all texts: with i in the rows and j in the columns, j ≥ "
    "i and j < i + max_length. `torch.triu` and `torch.tril` with a `diagonal` cut it out; put −∞ elsewhere.",
    "`scores.flatten(1).argmax(dim=1)` numbers the spans of a text row by row: number n is the beginning n // T and "
    "the end n % T.",
)


@best_span.misconception(
    "The best beginning and the best end are taken each by itself, so that an answer may end before it begins, or be "
    "too long. The two are chosen together: the best of all allowed sums."
)
def each_by_itself(start, end, max_length):
    return start.argmax(dim=1), end.argmax(dim=1)


@best_span.misconception(
    "The best beginning is kept, and the best end is bent until the span is allowed: this is the broken function. A "
    "worse beginning may belong to a better span."
)
def bent(start, end, max_length):
    first, last = start.argmax(dim=1), end.argmax(dim=1)
    last = torch.minimum(torch.maximum(last, first), first + max_length - 1)
    return first, last


@best_span.misconception(
    "The beginning is chosen first, by its own score, and then the best end that fits. A worse beginning with a much "
    "better end is missed: compare all allowed pairs."
)
def beginning_first(start, end, max_length):
    first, T = start.argmax(dim=1), start.shape[1]
    j = torch.arange(T)
    fits = (j >= first[:, None]) & (j < first[:, None] + max_length)
    return first, end.masked_fill(~fits, -math.inf).argmax(dim=1)


@best_span.misconception(
    "The end is chosen first, by its own score, and then the best beginning that fits. A worse end with a much better "
    "beginning is missed: compare all allowed pairs."
)
def end_first(start, end, max_length):
    last, T = end.argmax(dim=1), start.shape[1]
    i = torch.arange(T)
    fits = (i <= last[:, None]) & (i > last[:, None] - max_length)
    return start.masked_fill(~fits, -math.inf).argmax(dim=1), last


@best_span.misconception("An answer can be of any length here: leave out the spans that are longer than `max_length`.")
def no_limit(start, end, max_length):
    T = start.shape[1]
    scores = start[:, :, None] + end[:, None, :]
    allowed = torch.ones(T, T, dtype=torch.bool).triu()
    best = scores.masked_fill(~allowed, -math.inf).flatten(1).argmax(dim=1)
    return best // T, best % T


@best_span.misconception(
    "An answer can be one token too long: a span from i to j has j − i + 1 tokens, so j < i + max_length."
)
def one_too_long(start, end, max_length):
    T = start.shape[1]
    scores = start[:, :, None] + end[:, None, :]
    allowed = torch.ones(T, T, dtype=torch.bool).triu().tril(max_length)
    best = scores.masked_fill(~allowed, -math.inf).flatten(1).argmax(dim=1)
    return best // T, best % T


@best_span.misconception(
    "An answer can end before it begins: only spans with first ≤ last are allowed, the upper half of the table."
)
def either_order(start, end, max_length):
    T = start.shape[1]
    scores = start[:, :, None] + end[:, None, :]
    i = torch.arange(T)
    allowed = (i[:, None] - i).abs() < max_length
    best = scores.masked_fill(~allowed, -math.inf).flatten(1).argmax(dim=1)
    return best // T, best % T


@best_span.misconception(
    "Spans that are not allowed get the score 0, which is better than an allowed one below 0: they get −∞."
)
def zero_where_not_allowed(start, end, max_length):
    T = start.shape[1]
    scores = start[:, :, None] + end[:, None, :]
    allowed = torch.ones(T, T, dtype=torch.bool).triu().tril(max_length - 1)
    best = scores.masked_fill(~allowed, 0.0).flatten(1).argmax(dim=1)
    return best // T, best % T


@best_span.misconception(
    "Beginning and end have changed places in the table: the first axis behind the batch belongs to `start`."
)
def axes_exchanged(start, end, max_length):
    T = start.shape[1]
    scores = start[:, None, :] + end[:, :, None]
    allowed = torch.ones(T, T, dtype=torch.bool).triu().tril(max_length - 1)
    best = scores.masked_fill(~allowed, -math.inf).flatten(1).argmax(dim=1)
    return best // T, best % T


@best_span.misconception(
    "First and last have changed places in what is returned. The beginning is the row of the table, n // T; the end is "
    "the column, n % T."
)
def returned_the_wrong_way_round(start, end, max_length):
    T = start.shape[1]
    scores = start[:, :, None] + end[:, None, :]
    allowed = torch.ones(T, T, dtype=torch.bool).triu().tril(max_length - 1)
    best = scores.masked_fill(~allowed, -math.inf).flatten(1).argmax(dim=1)
    return best % T, best // T


@best_span.misconception(
    "The second position is the one behind the answer. Both are positions of tokens that belong to it: an answer of "
    "one token has first = last."
)
def end_behind(start, end, max_length):
    T = start.shape[1]
    scores = start[:, :, None] + end[:, None, :]
    allowed = torch.ones(T, T, dtype=torch.bool).triu().tril(max_length - 1)
    best = scores.masked_fill(~allowed, -math.inf).flatten(1).argmax(dim=1)
    return best // T, best % T + 1


@best_span.misconception(
    "The scores are made into probabilities and these are added. Add the scores as they are (or multiply the "
    "probabilities, which comes to the same)."
)
def probabilities_added(start, end, max_length):
    T = start.shape[1]
    scores = start.softmax(dim=1)[:, :, None] + end.softmax(dim=1)[:, None, :]
    allowed = torch.ones(T, T, dtype=torch.bool).triu().tril(max_length - 1)
    best = scores.masked_fill(~allowed, -math.inf).flatten(1).argmax(dim=1)
    return best // T, best % T


@best_span.misconception("The scores are multiplied; they are added, and two bad ones do not make a good one.")
def scores_multiplied(start, end, max_length):
    T = start.shape[1]
    scores = (start[:, :, None] * end[:, None, :]).nan_to_num(nan=-math.inf)
    allowed = torch.ones(T, T, dtype=torch.bool).triu().tril(max_length - 1)
    best = scores.masked_fill(~allowed, -math.inf).flatten(1).argmax(dim=1)
    return best // T, best % T


@best_span.misconception(
    "One answer is found for the whole batch and given to every text. Each text has its own: take the maximum over all "
    "axes but the first, after `flatten(1)`."
)
def one_for_all(start, end, max_length):
    T = start.shape[1]
    scores = (start[:, :, None] + end[:, None, :]).amax(dim=0)
    allowed = torch.ones(T, T, dtype=torch.bool).triu().tril(max_length - 1)
    best = scores.masked_fill(~allowed, -math.inf).flatten().argmax().expand(len(start)).clone()
    return best // T, best % T


@best_span.misconception(
    "The best score so far begins with 0, so that a span below 0 is never found: begin with −∞, or with the first span."
)
def better_than_zero(start, end, max_length):
    T = start.shape[1]
    best = torch.zeros(len(start))
    first, last = torch.zeros(len(start), dtype=torch.long), torch.zeros(len(start), dtype=torch.long)
    for i in range(T):
        for j in range(i, min(i + max_length, T)):
            better = start[:, i] + end[:, j] > best
            best = torch.where(better, start[:, i] + end[:, j], best)
            first, last = first.masked_fill(better, i), last.masked_fill(better, j)
    return first, last


@best_span.misconception(
    "Every answer is as long as an answer may be. `max_length` is the most tokens that it has; shorter ones compete "
    "with it."
)
def always_the_longest(start, end, max_length):
    n = min(max_length, start.shape[1])
    first = (start[:, : start.shape[1] - n + 1] + end[:, n - 1 :]).argmax(dim=1)
    return first, first + n - 1


@best_span.misconception("The worst of the allowed spans is taken; the one with the highest score is asked for.")
def worst(start, end, max_length):
    T = start.shape[1]
    scores = start[:, :, None] + end[:, None, :]
    allowed = torch.ones(T, T, dtype=torch.bool).triu().tril(max_length - 1)
    best = scores.masked_fill(~allowed, math.inf).flatten(1).argmin(dim=1)
    return best // T, best % T


@best_span.alternative
def span_by_span(start, end, max_length):
    firsts, lasts = [], []
    for s, e in zip(start.tolist(), end.tolist(), strict=True):
        spans = [(i, j) for i in range(len(s)) for j in range(i, min(i + max_length, len(s)))]
        i, j = max(spans, key=lambda span: s[span[0]] + e[span[1]])
        firsts.append(i)
        lasts.append(j)
    return torch.tensor(firsts), torch.tensor(lasts)


@best_span.alternative
def length_by_length(start, end, max_length, verbose=False):
    best = torch.full((len(start),), -math.inf)
    first, last = torch.zeros(len(start), dtype=torch.long), torch.zeros(len(start), dtype=torch.long)
    for more in range(min(max_length, start.shape[1])):
        scores = start[:, : start.shape[1] - more] + end[:, more:]
        highest, place = scores.max(dim=1)
        better = highest > best
        best = torch.where(better, highest, best)
        first, last = torch.where(better, place, first), torch.where(better, place + more, last)
    return first, last


@best_span.alternative
def end_for_each_beginning(start, end, max_length):
    i, j = torch.arange(start.shape[1])[:, None], torch.arange(start.shape[1])
    forbidden = torch.where((i <= j) & (j < i + max_length), 0.0, -math.inf)
    highest, lasts = (end[:, None, :] + forbidden).max(dim=2)
    first = (start + highest).argmax(dim=1)
    return [first, lasts.gather(1, first[:, None])[:, 0]]


@best_span.alternative
def by_log_probabilities(start, end, max_length):
    T = start.size(1)
    scores = start.double().log_softmax(dim=1).unsqueeze(2) + end.double().log_softmax(dim=1).unsqueeze(1)
    band = torch.tril(torch.triu(torch.ones(T, T)), diagonal=max_length - 1).bool()
    best = (
        torch.where(band, scores, torch.tensor(-math.inf, dtype=torch.float64)).reshape(len(start), -1).max(1).indices
    )
    return torch.div(best, T, rounding_mode="floor"), best.remainder(T)


@task("load_pretrained")
def load_pretrained(student: Student, given: Given) -> Iterator[Case]:
    """Every published tensor at its place, or an error and nothing changed."""
    sound = Loading(student, given, *checkpoint(given, num_layers=2))
    yield sound.case("an encoder of two layers", weight=4)
    tensors, weights = checkpoint(given, num_layers=1)
    with_heads = {f"bert.{name}": tensor for name, tensor in tensors.items()}
    with_heads |= {"cls.predictions.bias": given.normal(7), "cls.seq_relationship.weight": given.normal(2, 4)}
    yield Loading(student, given, with_heads, weights).case("names that begin with bert., and heads", weight=2)
    yield Loading(student, given, *checkpoint(given, num_layers=11)).case("an encoder of eleven layers", weight=3)
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    rounded = {name: value.half().float() for name, value in weights.items()}
    short = Loading(student, given, halves, rounded)
    yield short.case("numbers of 16 bits")
    yield short.case("a step of an optimizer that was made before", then="trained", added=1)

    missing = {name: tensor for name, tensor in tensors.items() if name != "encoder.layer.0.output.dense.bias"}
    wide = tensors | {"embeddings.position_embeddings.weight": given.normal(8, 4)}
    for name, broken, culprits in (
        ("a tensor is missing", missing, ("encoder.layer.0.output.dense.bias", "layers.0.feed_forward.contract.bias")),
        ("a layer too many", checkpoint(given, num_layers=2)[0], ("encoder.layer.1.", "layers.1.")),
        ("another shape", wide, ("embeddings.position_embedding",)),
    ):
        failing = Loading(student, given, broken, weights)
        told = refused(failing.done, sound.done, culprits)
        yield case(name, told, REFUSED, subject="what became of a checkpoint that does not fit")
        yield failing.unchanged(f"{name}: the model afterwards", told)


TINY = {"vocab_size": 7, "d_model": 4, "num_heads": 2, "d_ff": 6, "context_size": 5}
REFUSED = "a ValueError that names the tensor"


def refused(answer: Answer, sound: Answer, culprits: tuple[str, ...]) -> Answer:
    """How a call ended that should end with a certain error, as an answer.

    Args:
        sound: a call that should have ended well. Where that failed, an error says nothing.
        culprits: of these the message must have one.
    """
    failure = answer.failure
    if sound.failure or (failure and failure.kind != "raised"):
        return sound if sound.failure else answer
    if failure is None:
        told = "it was taken without an error"
    elif failure.type_name != "ValueError":
        told = f"an error of another kind, {failure.type_name}"
    else:
        named = any(culprit in failure.message for culprit in culprits)
        told = REFUSED if named else "a ValueError that does not name the tensor"
    return replace(answer, value=told, failure=None, changed=())


@lru_cache(maxsize=8)
def shapes(num_layers: int) -> dict[str, tuple[int, ...]]:
    """Of the parameters of a tiny BERT."""
    model = reference.Bert(config_of(TINY | {"num_layers": num_layers}))
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def checkpoint(given: Given, num_layers: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Published tensors in an order of their own, and the same by the names of the model."""
    weights = {name: given.normal(*shape) for name, shape in shapes(num_layers).items()}
    names = sorted(weights, key=reference.published_name)
    tensors = {reference.published_name(name): weights[name] for name in names}
    tensors["embeddings.position_ids"] = torch.arange(TINY["context_size"])[None]
    return tensors, weights


class Loading:
    """The student's loading of a checkpoint into a new model.

    Args:
        tensors: the checkpoint. weights: of the model afterwards, by name.
    """

    def __init__(
        self, student: Student, given: Given, tensors: dict[str, torch.Tensor], weights: dict[str, torch.Tensor]
    ) -> None:
        sizes = {name: list(value.shape) for name, value in weights.items()}
        before = given.normal(sum(value.numel() for value in weights.values()))
        parts = before.split([value.numel() for value in weights.values()])
        self.before = dict(zip(weights, parts, strict=True))
        self.weights = weights
        config = TINY | {
            "num_segments": 2,
            "num_layers": sum(name.endswith("query_projection.bias") for name in weights),
        }
        self.model = student.fixture("PublicParameters", sizes, before, **config)
        self.done = student.load_pretrained(self.model, tensors)

    def case(self, name: str, weight: float = 1, then: str = "row", added: float = 0) -> Case:
        """Compare the numbers of all parameters, or say why the call failed."""
        if self.done.failure or self.done.changed:
            return case(name, self.done, weight=weight)
        return case(name, self.model.call(then), in_a_row(self.weights) + added, weight=weight, subject="the model")

    def unchanged(self, name: str, told: Answer) -> Case:
        """Compare with the numbers from before, where the checkpoint was refused."""
        kept = self.model.call("row") if self.done.failure and not told.failure else told
        return case(name, kept, in_a_row(self.before), subject="the model, which was to stay as it was,")


def in_a_row(values: dict[str, torch.Tensor]) -> torch.Tensor:
    """Several tensors as a single row, in the order of their names."""
    return torch.cat([value.flatten() for _, value in sorted(values.items())])


ONLY = "raise ValueError(f'only on one side: {sorted(found.keys() ^ places.keys())%s}')"
for part in ("", "[:4]", "[:2]"):
    load_pretrained.equivalent(ONLY % part, "one of the names is enough, however many are told")
load_pretrained.equivalent(
    "wrong = [name for name in found if found[name].shape != places[name].shape]", "both have the same names there"
)
load_pretrained.equivalent(
    "raise ValueError(f'of another shape: {found}')", "all names are told, the one that is wrong among them"
)
load_pretrained.hints(
    "For each parameter of the model, make its published name: begin with its own, and for each pair in "
    '`PUBLISHED.items()` replace the one by the other. `name.removeprefix("bert.")` takes the beginning off, where it '
    "is there.",
    "Compare before you copy: two sets of keys that must be equal, and then the shapes. `a.keys() ^ b.keys()` is what "
    "is in one of the two alone.",
    "A parameter is changed with `parameter.copy_(tensor)`, inside `with torch.no_grad():`. It stays the same object, "
    "keeps its dtype, and an optimizer that knows it goes on knowing it.",
)
COPY = "            parameter.copy_(found[name])"
KEYS = (
    "    if found.keys() != places.keys():\n"
    '        raise ValueError(f"only on one side: {sorted(found.keys() ^ places.keys())[:3]}")\n'
)
SHAPES = '    if wrong:\n        raise ValueError(f"of another shape: {wrong}")\n'
load_pretrained.misconception_patch(
    "transposed",
    "The matrices are transposed. They are stored as torch has them, (outputs, inputs), on both sides; that four of "
    "them are square hides it.",
    (COPY, "            parameter.copy_(found[name].T if found[name].shape == found[name].T.shape else found[name])"),
)
load_pretrained.misconception_patch(
    "skips_silently",
    "What has no counterpart is passed over in silence. A model of which a part is still random runs without complaint "
    "and is of no use: raise a ValueError.",
    (KEYS, "    places = {name: places[name] for name in places if name in found}\n"),
)
load_pretrained.misconception_patch(
    "left_over_passed_over",
    "A tensor that has no place in the model is passed over in silence, so that a model with too few layers is taken "
    "for the whole encoder: raise a ValueError, but for `cls.` and `embeddings.position_ids`.",
    ("if found.keys() != places.keys():", "if not found.keys() >= places.keys():"),
)
load_pretrained.misconception_patch(
    "missing_passed_over",
    "A parameter that finds no tensor is passed over in silence, and keeps its random numbers: raise a ValueError.",
    ("if found.keys() != places.keys():", "if not found.keys() <= places.keys():"),
    (COPY, "            parameter.copy_(found.get(name, parameter))"),
    ("wrong = [name for name in places if", "wrong = [name for name in places if name in found and"),
)
load_pretrained.misconception_patch(
    "layers_off_by_one",
    "The layers are counted from 1: our layer 0 is the published layer 0.",
    (
        "        places[name] = parameter\n",
        '        number = name.split(".")[2]\n'
        "        if number.isdigit():\n"
        '            name = name.replace(f".{number}.", f".{int(number) + 1}.")\n'
        "        places[name] = parameter\n",
    ),
)
load_pretrained.misconception_patch(
    "layers_turned_round",
    "The layers are in the wrong order: each number belongs to the same number.",
    (
        "        places[name] = parameter\n",
        '        number = name.split(".")[2]\n'
        "        if number.isdigit():\n"
        '            name = name.replace(f".{number}.", f".{len(model.layers) - 1 - int(number)}.")\n'
        "        places[name] = parameter\n",
    ),
)
load_pretrained.misconception_patch(
    "layers_sorted_as_text",
    "With ten layers or more, some layers get the tensors of others: as texts, “layer.10” comes before “layer.2”. Go "
    "by the names, not by an order.",
    (
        "        places[name] = parameter\n",
        '        number = name.split(".")[2]\n'
        "        if number.isdigit():\n"
        "            order = sorted(range(len(model.layers)), key=str)\n"
        '            name = name.replace(f".{number}.", f".{order[int(number)]}.")\n'
        "        places[name] = parameter\n",
    ),
)
load_pretrained.misconception_patch(
    "one_layer_everywhere",
    "All layers get the tensors of the first. Each has its own; take the number from the parameter's name.",
    (COPY, '            parameter.copy_(found[".".join("0" if p.isdigit() else p for p in name.split("."))])'),
)
load_pretrained.misconception_patch(
    "norms_exchanged",
    "The two norms of a layer have changed places: `attention_norm` is the published `attention.output.LayerNorm`, "
    "`feed_forward_norm` is `output.LayerNorm`.",
    (
        "        places[name] = parameter\n",
        '        mark = "output.LayerNorm"\n'
        '        if "attention." + mark in name:\n'
        '            name = name.replace("attention." + mark, mark)\n'
        "        elif mark in name:\n"
        '            name = name.replace(mark, "attention." + mark)\n'
        "        places[name] = parameter\n",
    ),
)
load_pretrained.misconception_patch(
    "query_and_key_exchanged",
    "Query and key have changed places: `query_projection` is the published `self.query`.",
    (
        "        places[name] = parameter\n",
        '        name = name.replace("query", "?").replace("key", "query").replace("?", "key")\n'
        "        places[name] = parameter\n",
    ),
)
load_pretrained.misconception_patch(
    "beginning_kept",
    "In some checkpoints all names begin with `bert.`, in others not: take this off where it is there.",
    ('name.removeprefix("bert.")', "name"),
)
load_pretrained.misconception_patch(
    "heads_refused",
    "The pretraining heads are refused. Names that begin with `cls.` have no place in our model, and are left out.",
    ('if not n.startswith("cls.") and n != "embeddings.position_ids"', 'if n != "embeddings.position_ids"'),
)
load_pretrained.misconception_patch(
    "position_numbers_refused",
    "The numbers of the positions, `embeddings.position_ids`, are refused. They are no parameters; leave them out.",
    (' and n != "embeddings.position_ids"', ""),
)
load_pretrained.misconception_patch(
    "changed_before_refused",
    "A checkpoint that does not fit is refused only after a part of it has been copied, and leaves a model that is "
    "half of the one and half of the other: compare all names and shapes first.",
    (
        KEYS,
        "    with torch.no_grad():\n"
        "        for name, parameter in places.items():\n"
        "            if name in found and found[name].shape == parameter.shape:\n"
        "                parameter.copy_(found[name])\n" + KEYS,
    ),
)
load_pretrained.misconception_patch(
    "shapes_not_compared",
    "Shapes are not compared before anything is copied; `copy_` then fails in the middle, and leaves a model that is "
    "half of the one and half of the other.",
    (SHAPES, ""),
)
load_pretrained.misconception_patch(
    "another_kind_of_error",
    "What does not fit ends with an error, but with one of another kind: raise a ValueError, whose message says what "
    "is wrong, where a KeyError or what torch says leaves that to be guessed.",
    ('raise ValueError(f"only', 'raise KeyError(f"only'),
    ('raise ValueError(f"of', 'raise KeyError(f"of'),
)
load_pretrained.misconception_patch(
    "error_without_a_name",
    "The error does not say which tensor it is about: put the name into its message.",
    ('(f"only on one side: {sorted(found.keys() ^ places.keys())[:3]}")', '("the names do not fit")'),
    ('(f"of another shape: {wrong}")', '("the shapes do not fit")'),
)
load_pretrained.misconception_patch(
    "dtype_changed",
    "The parameters have the 16 bits of the tensors now. They keep their own dtype: `parameter.copy_(tensor)` converts "
    "the numbers, where `parameter.data = tensor` does not.",
    (COPY, "            parameter.data = found[name].clone()"),
)
load_pretrained.misconception_patch(
    "new_parameters",
    "The parameters are new objects, which an optimizer that was made before does not know: change the numbers inside "
    "the ones that are there, with `parameter.copy_(tensor)`.",
    (
        COPY,
        "            own = next(n for n, p in model.named_parameters() if p is parameter)\n"
        '            parent, _, last = own.rpartition(".")\n'
        "            setattr(model.get_submodule(parent), last, nn.Parameter(found[name].to(parameter.dtype).clone()))",
    ),
)
load_pretrained.misconception_patch(
    "gradients_on",
    "A parameter that asks for gradients cannot be changed in place while gradients are noted: copy inside `with "
    "torch.no_grad():`.",
    ("    with torch.no_grad():\n        for name, parameter", "    if True:\n        for name, parameter"),
)
load_pretrained.misconception_patch(
    "weights_without_biases",
    "Only the weights are copied; the biases have tensors as well.",
    (COPY, '            if name.endswith("weight"):\n                parameter.copy_(found[name])'),
)
load_pretrained.alternative_patch(
    "by_state_dict",
    (
        "    with torch.no_grad():\n        for name, parameter in places.items():\n" + COPY + "\n",
        "    own = {id(parameter): name for name, parameter in model.named_parameters()}\n"
        "    model.load_state_dict({own[id(places[name])]: found[name] for name in places})\n",
    ),
    ("def load_pretrained(model, tensors):", "def load_pretrained(model, tensors, strict=True):"),
)
load_pretrained.alternative_patch(
    "one_by_one",
    (
        KEYS,
        "    for name in places:\n        if name not in found:\n"
        '            raise ValueError(f"{name} is missing")\n'
        "    for name in found:\n        if name not in places:\n"
        '            raise ValueError(f"{name} is left over")\n',
    ),
    (COPY, "            parameter.data.copy_(found[name])"),
)


@load_pretrained.alternative
def from_their_names_to_ours(model, tensors):
    own = dict(model.named_parameters())
    copied = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("bert.")
        if name.startswith("cls.") or name == "embeddings.position_ids":
            continue
        for theirs, ours in (
            ("token_type_embeddings", "segment_embedding"),
            ("word_embeddings", "word_embedding"),
            ("position_embeddings", "position_embedding"),
            ("embeddings.LayerNorm", "embeddings.norm"),
            ("encoder.layer.", "layers."),
            ("attention.output.LayerNorm", "attention_norm"),
            ("attention.output.dense", "attention.output_projection"),
            ("output.LayerNorm", "feed_forward_norm"),
            ("intermediate.dense", "feed_forward.expand"),
            ("output.dense", "feed_forward.contract"),
            *((f"attention.self.{kind}", f"attention.{kind}_projection") for kind in ("query", "key", "value")),
        ):
            name = name.replace(theirs, ours)
        copied[name] = tensor
    problems = set(own) ^ set(copied) or {name for name in own if own[name].shape != copied[name].shape}
    if problems:
        raise ValueError(f"does not fit: {sorted(problems)}")
    for name in own:
        own[name].detach().copy_(copied[name])


@task("parameter_count")
def parameter_count(student: Student, given: Given) -> Iterator[Case]:
    """Tables, layers and pooler, with every bias and every norm."""
    base = {"vocab_size": 30_522, "d_model": 768, "num_layers": 12, "num_heads": 12, "d_ff": 3072, "context_size": 512}
    large = base | {"d_model": 1024, "num_layers": 24, "num_heads": 16, "d_ff": 4096}
    for name, sizes, weight in (
        ("BERT-base", base | {"num_segments": 2}, 3),
        ("BERT-large", large | {"num_segments": 2}, 1),
        ("the example by eye, with two heads", dict(zip(FIELDS, (10, 2, 1, 2, 3, 4, 2), strict=True)), 1),
        ("other sizes", other_sizes(given), 2),
        ("sizes that are other ones again", other_sizes(given), 2),
    ):
        config = student.fixture("settings", **sizes)
        yield case(name, student.parameter_count(config), reference.parameter_count(config_of(sizes)), weight=weight)


FIELDS = ("vocab_size", "d_model", "num_layers", "num_heads", "d_ff", "context_size", "num_segments")


def other_sizes(given: Given) -> dict[str, int]:
    """Sizes of which none is what it usually is."""
    heads = int(given.integers(2, 5))
    numbers = (int(given.integers(40, 90)), heads * int(given.integers(3, 6)), int(given.integers(3, 7)), heads)
    return dict(zip(FIELDS, (*numbers, int(given.integers(21, 33)), int(given.integers(5, 12)), 3), strict=True))


parameter_count.hints(
    "A linear layer from a to b numbers has a · b weights and b biases. A layer norm over D features has 2 · D "
    "numbers.",
    "The tables have (V + context_size + num_segments) · D numbers, and behind them stands one norm. A layer has four "
    "maps from D to D, one from D to d_ff, one back, and two norms. The number of heads makes no difference: it only "
    "says how the D numbers are shared out.",
)
parameter_count.misconception_patch(
    "no_pooler",
    "The pooler is forgotten: D · D weights and D biases. (BERT-base has 108,891,648 without it.)",
    (" + pooler\n", "\n"),
)
parameter_count.misconception_patch(
    "no_biases",
    "The biases of the linear layers are forgotten: each has as many as it has outputs.",
    ("attention = 4 * (D * D + D)", "attention = 4 * D * D"),
    ("(D * config.d_ff + config.d_ff) + (config.d_ff * D + D)", "2 * D * config.d_ff"),
    ("pooler = D * D + D", "pooler = D * D"),
)
parameter_count.misconception_patch(
    "no_segments",
    "The table of the segments is forgotten: `num_segments` rows of D numbers.",
    ("config.context_size + config.num_segments)", "config.context_size)"),
)
parameter_count.misconception_patch(
    "always_two_segments",
    "Two segments are counted, whatever the configuration says: the number of rows is `num_segments`.",
    ("config.context_size + config.num_segments)", "config.context_size + 2)"),
)
parameter_count.misconception_patch(
    "no_positions",
    "The table of the positions is forgotten: BERT's positions are learned, one row of D numbers for each.",
    ("config.vocab_size + config.context_size +", "config.vocab_size +"),
)
parameter_count.misconception_patch(
    "no_norms",
    "The layer norms are forgotten: one behind the tables and two in each layer, each with 2 · D numbers.",
    ("norm = 2 * D", "norm = 0"),
)
parameter_count.misconception_patch(
    "norms_without_bias",
    "A layer norm has a weight and a bias for each feature, 2 · D numbers, not D.",
    ("norm = 2 * D", "norm = D"),
)
parameter_count.misconception_patch(
    "no_norm_behind_the_tables",
    "The norm behind the embeddings is forgotten, 2 · D numbers.",
    ("config.num_segments) * D + norm", "config.num_segments) * D"),
)
parameter_count.misconception_patch(
    "one_norm_a_layer",
    "Each layer has two norms, one behind the attention and one behind the network; one of them is forgotten.",
    ("network + 2 * norm)", "network + norm)"),
)
parameter_count.misconception_patch(
    "three_projections",
    "The attention has four projections: query, key, value, and the one of the output, which is forgotten.",
    ("4 * (D * D + D)", "3 * (D * D + D)"),
)
parameter_count.misconception_patch(
    "projections_for_each_head",
    "The projections are counted once for each head. All heads share the D numbers: four maps from D to D, however "
    "many heads there are.",
    ("4 * (D * D + D)", "config.num_heads * 4 * (D * D + D)"),
)
parameter_count.misconception_patch(
    "one_layer",
    "Only one layer is counted; there are `num_layers` of them, with the same sizes and weights of their own.",
    ("config.num_layers * (attention", "(attention"),
)
parameter_count.misconception_patch(
    "half_a_network",
    "The network has two linear layers, from D to d_ff and back; one of them is forgotten.",
    (" + (config.d_ff * D + D)", ""),
)
parameter_count.misconception_patch(
    "four_times_as_wide",
    "The network is taken to be four times as wide as the vectors; its width is `d_ff`, whatever that is.",
    ("D = config.d_model", "D = config.d_model\n    d_ff = 4 * D"),
    ("(D * config.d_ff + config.d_ff) + (config.d_ff * D + D)", "(D * d_ff + d_ff) + (d_ff * D + D)"),
)
parameter_count.misconception_patch(
    "output_table_counted_again",
    "The table is counted a second time, for the head that guesses words, with a bias for each token. That head is not "
    "counted here, and its table is tied to that of the embeddings.",
    (" + pooler\n", " + pooler + config.vocab_size * D + config.vocab_size\n"),
)
parameter_count.misconception_patch(
    "wrong_bias_sizes",
    "A linear layer has a bias for each output: d_ff of them in the first layer of the network, and D in the second.",
    ("(D * config.d_ff + config.d_ff) + (config.d_ff * D + D)", "2 * (D * config.d_ff + D)"),
)
parameter_count.alternative_patch(
    "summed_up",
    (
        "    return embeddings + config.num_layers * (attention + network + 2 * norm) + pooler\n",
        "    return sum([embeddings, pooler, *[attention, network, norm, norm] * config.num_layers])\n",
    ),
)


@parameter_count.alternative
def by_shapes(config, with_pooler=True):
    def linear(a, b):
        return (a + 1) * b

    D = config.d_model
    tables = sum(rows * D for rows in (config.vocab_size, config.context_size, config.num_segments))
    layer = 4 * linear(D, D) + linear(D, config.d_ff) + linear(config.d_ff, D) + 4 * D
    return tables + 2 * D + layer * config.num_layers + (linear(D, D) if with_pooler else 0)


@parameter_count.alternative
def counted_by_torch(config):
    layer = nn.TransformerEncoderLayer(config.d_model, config.num_heads, config.d_ff)
    pooler, norm = nn.Linear(config.d_model, config.d_model), nn.LayerNorm(config.d_model)
    numbers = [sum(p.numel() for p in module.parameters()) for module in (layer, pooler, norm)]
    rows = config.vocab_size + config.context_size + config.num_segments
    return torch.tensor(numbers[0] * config.num_layers + sum(numbers[1:]) + rows * config.d_model)


LABELS_OF_TASK = ("animals", "sport", "music", "money", "computers", "river")
WIDTH, STEPS, BATCH = 24, 20, 8
BODY_RATE, HEAD_RATE, DECAY, WARMUP = 0.01, 0.03, 0.5, 4
ENOUGH = 0.9


class Lesson(NamedTuple):
    """What is learned, and what comes of it.

    Attributes:
        ids, labels: the few labeled sentences, (N, T) and (N,).
        new_ids, new_labels: those that are asked afterwards.
        weights: of a model whose body knows the company that words keep, and whose head knows nothing.
        batch: how the batches are drawn, but for the number of steps.
        right: the parameters after each number of steps.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    new_ids: torch.Tensor
    new_labels: torch.Tensor
    weights: dict[str, torch.Tensor]
    batch: dict[str, int]
    right: dict[int, dict[str, torch.Tensor]]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Of the model: V, D, C."""
        return len(ALMANAC.words), WIDTH, len(LABELS_OF_TASK)


def labeled(count: int, order: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Sentences of the almanac that are about one of the themes, in numbers of their own, and which it is."""
    made, senses = ALMANAC.sentences(count, generator), [list(senses) for senses in ALMANAC.nouns.values()]
    about = [senses[noun][sense][0] for noun, sense in zip(made.nouns.tolist(), made.senses.tolist(), strict=True)]
    known = torch.tensor([theme in LABELS_OF_TASK for theme in about])
    labels = torch.tensor([LABELS_OF_TASK.index(theme) for theme in about if theme in LABELS_OF_TASK])
    return order[made.ids[known]], labels


@lru_cache(maxsize=4)
def lesson(seed: int) -> Lesson:
    """The same for every student."""
    given = Given(seed.to_bytes(8, "big"), "lesson")
    V = len(ALMANAC.words)
    order = given.permutation(V)
    ids, labels = labeled(1_500, order, torch.Generator().manual_seed(given.seed()))
    few = torch.cat([(labels == label).nonzero()[:2, 0] for label in range(len(LABELS_OF_TASK))])
    new_ids, new_labels = labeled(4_000, order, torch.Generator().manual_seed(given.seed()))
    model = PublicClassifier(V, WIDTH, len(LABELS_OF_TASK))
    weights = {name: 0.4 * value for name, value in given.weights(model).items()}
    weights["body.norm.weight"] += 1.2
    weights["body.embedding.weight"] = pretrained_table(given, order)
    weights["body.dense.weight"] += torch.eye(WIDTH)
    batch = {"batch_size": BATCH, "seed": given.seed()}
    right = {steps: trained_right(weights, ids[few], labels[few], steps, batch) for steps in (1, 5)}
    return Lesson(ids[few], labels[few], new_ids, new_labels, weights, batch, right)


def pretrained_table(given: Given, order: torch.Tensor) -> torch.Tensor:
    """Vectors of words as pretraining makes them: near each other where the words keep the same company."""
    themes = {theme: 2 * given.normal(WIDTH) for theme in ALMANAC.themes}
    table = 0.6 * given.normal(len(ALMANAC.words), WIDTH)
    for theme, words in ALMANAC.themes.items():
        for word in words:
            table[order[ALMANAC.number[word]]] += themes[theme]
    for noun in ALMANAC.nouns:
        for theme, part in ALMANAC.company(noun).items():
            table[order[ALMANAC.number[noun]]] += part * themes[theme]
    return table


def trained_right(
    weights: dict[str, torch.Tensor], ids: torch.Tensor, labels: torch.Tensor, steps: int, batch: dict[str, int]
) -> dict[str, torch.Tensor]:
    """The parameters after so many steps."""
    model = PublicClassifier(len(ALMANAC.words), WIDTH, len(LABELS_OF_TASK))
    model.load_state_dict(weights)
    named = dict(model.named_parameters())
    rates = {name: HEAD_RATE if name.startswith("head.") else BODY_RATE for name in named}
    optimizer = torch.optim.AdamW(
        [
            {"params": [parameter], "lr": rates[name], "weight_decay": DECAY if parameter.dim() == 2 else 0.0}
            for name, parameter in named.items()
        ]
    )
    warmup = min(WARMUP, (steps + 1) // 2)
    for step, (few, wanted) in enumerate(TrainingBatches(ids, labels, steps=steps, **batch), start=1):
        factor = step / warmup if step <= warmup else (steps - step + 1) / (steps - warmup + 1)
        for group, name in zip(optimizer.param_groups, named, strict=True):
            group["lr"] = rates[name] * factor
        optimizer.zero_grad()
        F.cross_entropy(model(few), wanted).backward()
        optimizer.step()
    return model.values()


@task("fine_tune", seconds=20)
def fine_tune(student: Student, given: Given) -> Iterator[Case]:
    """A new head and the body below it, at two rates, with decay for the matrices, a warm-up and a fall."""
    here = lesson(given.seed())

    def tuned(steps: int) -> tuple[Answer, Answer]:
        """The student's model, and the call that trained it."""
        theirs = student.fixture("PublicClassifier", *here.sizes).load(here.weights)
        batches = student.fixture("TrainingBatches", here.ids, here.labels, steps=steps, **here.batch)
        warmup = min(WARMUP, (steps + 1) // 2)
        return theirs, student.fine_tune(theirs, batches, BODY_RATE, HEAD_RATE, DECAY, warmup)

    # Adam's steps are as large as the rate wherever a gradient is not 0: the tolerance is a part of one step.
    for name, steps in (("after one step", 1), ("after five steps", 5)):
        theirs, done = tuned(steps)
        if done.failure:
            yield case(name, done, weight=3)
        else:
            yield case(name, theirs.call("values"), here.right[steps], weight=3, subject="the model", tolerance=2e-4)
    theirs, done = tuned(STEPS)
    if done.failure:
        yield case("new sentences", done, weight=4)
        return
    modes = "the mode in which it was trained", "the mode in which it is left"
    yield case("the modes of the model", theirs.call("report"), ("training", "evaluation"), weight=2, parts=modes)
    yield case(
        "new sentences",
        theirs(here.new_ids),
        torch.zeros(len(here.new_ids), len(LABELS_OF_TASK)),
        measure=lambda logits: float((logits.argmax(dim=-1) == here.new_labels).double().mean()),
        at_least=ENOUGH,
        measures="the share of new sentences that are told right",
        weight=4,
    )


fine_tune.hints(
    'An optimizer can have several groups of parameters, each with settings of its own: `torch.optim.AdamW([{"params": '
    '[…], "lr": …, "weight_decay": …}, …])`. Here there are four: matrices and the rest, of the body and of the head. '
    "`parameter.dim() > 1` tells a matrix.",
    "`torch.optim.lr_scheduler.LambdaLR(optimizer, factor)` multiplies all rates by `factor(n)` after n calls of its "
    "`step()`, and n begins with 0: so step s of the formula is n + 1.",
    "In the loop: logits, loss, old gradients away, `backward`, the optimizer's step, the schedule's step. "
    "`model.train()` before the loop and `model.eval()` behind it.",
)
BODY_AND_HEAD = "((model.body, body_rate), (model.head, head_rate))"
FACTOR = "lambda s: min((s + 1) / warmup, (S - s) / (S - warmup + 1))"
fine_tune.misconception_patch(
    "body_frozen",
    "The body has not learned: its parameters belong to the optimizer as well, at `body_rate`.",
    (BODY_AND_HEAD, "((model.head, head_rate),)"),
)
fine_tune.misconception_patch(
    "head_not_trained",
    "The head has not learned: its parameters belong to the optimizer as well, at `head_rate`. Without them the random "
    "head that was put on stays what it is.",
    (BODY_AND_HEAD, "((model.body, body_rate),)"),
)
fine_tune.misconception_patch(
    "body_rate_for_all",
    "Everything learns at the body's rate; the head, which knows nothing yet, has a rate of its own, `head_rate`.",
    (BODY_AND_HEAD, "((model.body, body_rate), (model.head, body_rate))"),
)
fine_tune.misconception_patch(
    "head_rate_for_all",
    "Everything learns at the head's rate, so that the body loses what it knew; the body has a smaller one, "
    "`body_rate`.",
    (BODY_AND_HEAD, "((model.body, head_rate), (model.head, head_rate))"),
)
fine_tune.misconception_patch(
    "rates_exchanged",
    "The rates have changed places: the head learns at `head_rate`, the body at `body_rate`.",
    (BODY_AND_HEAD, "((model.body, head_rate), (model.head, body_rate))"),
)
fine_tune.misconception_patch(
    "decay_for_everything",
    "Biases and the weights of norms are pulled towards 0 as well. Weight decay is for the matrices; parameters with "
    "one axis have 0.",
    ("(False, 0.0)", "(False, weight_decay)"),
)
fine_tune.misconception_patch(
    "decay_turned_round",
    "Weight decay spares the matrices, and pulls biases and norms towards 0: it is the other way round.",
    ("((True, weight_decay), (False, 0.0))", "((False, weight_decay), (True, 0.0))"),
)
fine_tune.misconception_patch(
    "no_decay",
    "There is no weight decay: the groups of the matrices have `weight_decay`.",
    ("(True, weight_decay)", "(True, 0.0)"),
)
fine_tune.misconception_patch(
    "decay_by_default",
    "The decay that was handed in is not used: AdamW takes 0.01 where a group says nothing.",
    ("(True, weight_decay)", "(True, 0.01)"),
)
fine_tune.misconception_patch(
    "decay_in_the_gradient",
    "The decay is added to the gradient, as plain Adam does, where its size is lost again. AdamW takes it off the "
    "weight itself.",
    ("torch.optim.AdamW(groups)", "torch.optim.Adam(groups)"),
)
fine_tune.misconception_patch(
    "no_warm_up",
    "The rates begin at their highest: in the first W steps they climb, by s/W.",
    (FACTOR, "lambda s: min(1.0, (S - s) / (S - warmup + 1))"),
)
fine_tune.misconception_patch(
    "no_fall",
    "Behind the warm-up the rates stay where they are; they fall in a straight line, (S − s + 1)/(S − W + 1).",
    (FACTOR, "lambda s: min((s + 1) / warmup, 1.0)"),
)
fine_tune.misconception_patch(
    "begins_with_nothing",
    "The schedule is one step late: the first step has the factor 0, and is wasted. Step s = 1 has the factor 1/W; "
    "torch's schedules count from 0.",
    (FACTOR, "lambda s: min(s / warmup, (S - s + 1) / (S - warmup + 1))"),
)
fine_tune.misconception_patch(
    "constant_rates",
    "The rates never change: in each step they are multiplied by f, first rising and then falling. Is the schedule's "
    "`step()` called?",
    (FACTOR, "lambda s: 1.0"),
)
fine_tune.misconception_patch(
    "schedule_first",
    "The schedule moves before the optimizer, so that every step has the next one's rate: first `optimizer.step()`, "
    "then `schedule.step()`.",
    ("        optimizer.step()\n        schedule.step()\n", "        schedule.step()\n        optimizer.step()\n"),
)
fine_tune.misconception_patch(
    "forgets_zero_grad",
    "The old gradients are never taken away, so every step follows the sum of all batches so far: call "
    "`optimizer.zero_grad()` in every step.",
    ("        optimizer.zero_grad()\n", ""),
)
fine_tune.misconception_patch(
    "never_moves",
    "Nothing has changed: is `optimizer.step()` called, behind `backward`?",
    ("        optimizer.step()\n", ""),
)
fine_tune.misconception_patch(
    "softmax_twice",
    "There is a softmax before the cross-entropy, which takes its own: hand it the logits as they are.",
    ("F.cross_entropy(model(ids), labels)", "F.cross_entropy(model(ids).softmax(dim=-1), labels)"),
)
fine_tune.misconception_patch(
    "stops_after_one_batch",
    "The training stops after the first batch: the loop has to go over all of them. Is there a `return` or a `break` "
    "in it?",
    ("        schedule.step()\n", "        schedule.step()\n        break\n"),
)
fine_tune.misconception_patch(
    "not_in_training_mode",
    "The model is trained in evaluation mode, in which a BERT's dropout is off: `model.train()` before the first step.",
    ("    model.train()\n", ""),
)
fine_tune.misconception_patch(
    "left_in_training_mode",
    "The model is left in training mode, in which dropout would change its answers at every call: `model.eval()` "
    "behind the last step.",
    ("    model.eval()\n", ""),
)
fine_tune.alternative_patch(
    "rates_set_by_hand",
    (
        "    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, " + FACTOR + ")\n",
        '    step = 0\n    highest = [group["lr"] for group in groups]\n',
    ),
    (
        "        loss = F.cross_entropy(model(ids), labels)\n",
        "        step += 1\n"
        "        factor = step / warmup if step < warmup else (S - step + 1) / (S - warmup + 1)\n"
        "        for group, rate in zip(optimizer.param_groups, highest, strict=True):\n"
        '            group["lr"] = rate * factor\n'
        "        loss = F.cross_entropy(model(ids), labels)\n",
    ),
    ("        schedule.step()\n", ""),
)
fine_tune.alternative_patch(
    "by_names",
    (
        "            chosen = [p for p in part.parameters() if (p.dim() > 1) == is_matrix]\n",
        "            chosen = [\n"
        "                p\n"
        "                for name, p in part.named_parameters()\n"
        '                if (not name.endswith("bias") and "norm" not in name) == is_matrix\n'
        "            ]\n",
    ),
    ("        optimizer.zero_grad()\n", ""),
    ("        schedule.step()\n", "        schedule.step()\n        optimizer.zero_grad(set_to_none=False)\n"),
    ("weight_decay, warmup):", "weight_decay=0.01, warmup=10, verbose=False):"),
)
fine_tune.alternative_patch(
    "two_optimizers",
    (
        "    optimizer = torch.optim.AdamW(groups)\n",
        "    optimizers = [torch.optim.AdamW(groups[:2]), torch.optim.AdamW(groups[2:])]\n",
    ),
    (
        "    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, " + FACTOR + ")\n",
        "    schedules = [torch.optim.lr_scheduler.LambdaLR(o, " + FACTOR + ") for o in optimizers]\n",
    ),
    (
        "        loss = F.cross_entropy(model(ids), labels)\n",
        "        loss = nn.CrossEntropyLoss()(model(ids), labels)\n",
    ),
    ("        optimizer.zero_grad()\n", "        model.zero_grad()\n"),
    (
        "        optimizer.step()\n        schedule.step()\n",
        "        for part in [*optimizers, *schedules]:\n            part.step()\n",
    ),
)
fine_tune.alternative_patch(
    "decay_by_hand",
    ('"weight_decay": decay})', '"weight_decay": 0.0, "pull": decay})'),
    ("torch.optim.AdamW(groups)", "torch.optim.Adam(groups)"),
    (
        "        optimizer.step()\n",
        "        with torch.no_grad():\n"
        "            for group in optimizer.param_groups:\n"
        '                for p in group["params"]:\n'
        '                    p -= group["lr"] * group["pull"] * p\n'
        "        optimizer.step()\n",
    ),
)
