"""08-bert: three embeddings in a sum, two puzzles made of plain text, heads, published weights, and few labels."""

import math
from collections import Counter
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
from autograder.checking.student import Answer, Student
from autograder.checking.tasks import Case, Evidence, case, expected_gradient, filled, task
from autograder.data.generated.company import ALMANAC
from autograder.reference import bert as reference
from autograder.reference import bert_heads
from autograder.reference.bert import BertConfig

SIZES = {"vocab_size": 11, "d_model": 6, "num_layers": 2, "num_heads": 3, "d_ff": 8, "context_size": 9}


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
        embeddings = reference.BertEmbeddings(BertConfig(**sizes))  # type: ignore[arg-type]
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
    "A table of embeddings is called with a tensor of numbers, `self.word_embedding(ids)`, and gives a vector for each.",
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
    ("x = self.word_embedding(ids)  # (B, T, D)", "x = self.word_embedding(ids) * self.norm.normalized_shape[0] ** 0.5"),
)
bert_embeddings.misconception_patch(
    "always_the_first_segment",
    "Every token is taken for one of the first sentence: look up each token's own segment in the table.",
    ("self.segment_embedding(segments)", "self.segment_embedding.weight[0]"),
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
    """Sentences by the hundreds, (800, 80), and which of their tokens are special: the ends and the padding."""
    given = Given(b"", "crowd")
    B, T = 800, 80
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

    def shares(self) -> tuple[float, float, float]:
        """Of the tokens that are asked for, which share is read as [MASK], as another token and as it was."""
        chosen = self.asked & ~crowd()[1]
        masked, kept = self.read[chosen] == self.mask_id, self.read[chosen] == crowd()[0][chosen]
        return tuple(float(part.double().mean()) for part in (masked, ~masked & ~kept, kept))  # type: ignore[return-value]

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
    a, b = Masking(*one, mask_id=OWN_MASK_ID), Masking(*other, mask_id=OWN_MASK_ID)
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
            "the distance from 0.15 of the share of one sentence, or of one position, as a multiple of what chance allows,",
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
            measure=lambda got, before=before: float(len(unmoved(got, before.value))),
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
        return measure(Masking(*got, mask_id=mask_id))

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
    return Masking(*value, mask_id=MASK_ID if name == LABELS else OWN_MASK_ID) if is_masking(value) else None


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
    "labels_turned_round",
    "The labels are turned round: they stand where nothing is asked, and −100 stands where a word was hidden.",
    (RETURN, "return read, torch.where(asked, -100, ids)"),
    probe=probed(lambda m, ids, special: bool((m.asked & special).any()) and not (m.asked & (m.read != ids)).any()),
)
mask_tokens.misconception_patch(
    "zero_for_nothing",
    "Where nothing is asked the label is 0, and 0 is a token: the loss would ask for it. The label is −100 there.",
    (RETURN, "return read, torch.where(asked, ids, 0)"),
    probe=probed(lambda m, ids, special: not (m.labels == -100).any() and bool((m.labels == 0).any())),
)
mask_tokens.misconception_patch(
    "labels_of_what_is_read",
    "The labels are taken from what is read, where the words are hidden already, so that the model is asked for [MASK]. "
    "Take them from the ids as they came; if you write into a tensor, write into a copy.",
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
    (HIDE + REPLACE, REPLACE.replace(", read)", ", ids)") + HIDE.replace("fate < 0.8", "(fate < 0.8) | (fate >= 0.9)").replace(", ids)", ", read)")),
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
    ("anything = torch.randint(vocab_size, ids.shape, generator=generator)", "anything = torch.randint(vocab_size, (), generator=generator)"),
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
        lambda m, ids, special: 1 < m.others().unique().numel() and not torch.isin(m.others(), torch.arange(5)).any(),
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
    yield case("documents of one sentence", student.sentence_pairs(alone, student.fixture("generator", given.seed())), [])

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
        yield pairs_case(
            name, answer, lambda p, before=before: float(alike(p, paired(before.value))), at_most=0, measures=same
        )


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
    lengths = (400, 1, 300, 0, 2, 500, 5)
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
    name: str, answer: Answer, measure: Callable[[list[Pair]], float], *, measures: str, weight: float = 1, **limits: float
) -> Case:
    """A case that measures pairs; what is no list of triples is infinitely far off."""

    def measured(value: Any) -> float:
        pairs = paired(value)
        return math.inf if pairs is None else measure(pairs)

    return case(name, answer, measure=measured, measures=measures, weight=weight, **limits)


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
    probe=of_pairs(lambda p: not wrong_firsts(p) and all(is_next(q) and q.label == 0 for q in p)),
)
sentence_pairs.misconception_patch(
    "never_the_next",
    "Every pair has a sentence of another document: in half of them it is to be the next.",
    (COIN, "if False:"),
    probe=of_pairs(lambda p: not wrong_firsts(p) and all(q.label == 1 for q in p)),
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
            and any(pair.label == 1 for pair in p)
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
            and len([q for q in p if q.label == 1]) > 500
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
    probe=of_pairs(lambda p: {q.second[1] for q in p if q.label == 1} == {0}),
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
    probe=of_pairs(
        lambda p: (
            len(p) > len(right_firsts()) and any(q.label == 0 and q.second[0] != q.first[0] for q in p)
        )
    ),
)
sentence_pairs.misconception_patch(
    "last_one_never_drawn",
    "The last sentence of another document is never drawn: `torch.randint(n, …)` gives numbers below n, so n is the "
    "number of sentences.",
    ("torch.randint(len(other), ()", "torch.randint(max(len(other) - 1, 1), ()"),
    probe=of_pairs(
        lambda p: (
            not wrong_firsts(p)
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
        for first, following in zip(document, document[1:], strict=False):
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
