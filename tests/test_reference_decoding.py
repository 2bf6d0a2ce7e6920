"""Greedy and beam search against trees small enough to be searched through, and against transformers' beam search."""

import itertools
import math

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autograder.reference.decoding import beam_decode, beam_search, greedy_decode, length_factor
from autograder.reference.transformer import Transformer, TransformerConfig

START, END = 0, 1
property_test = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)
penalties = st.sampled_from([0.0, 0.6, 1.0, 2.0])


class Tree:
    """A made-up language model: random logits for every prefix, always the same for the same prefix."""

    def __init__(self, V: int, seed: int, batch_size: int = 1) -> None:
        self.V, self.seed, self.batch_size = V, seed, batch_size
        self.known: dict[tuple[int, ...], Tensor] = {}

    def logits(self, sentence: int, prefix: tuple[int, ...]) -> Tensor:
        key = (sentence, *prefix)
        if key not in self.known:
            generator = torch.Generator().manual_seed(hash((self.seed, *key)) % 2**63)
            self.known[key] = 2 * torch.randn(self.V, generator=generator, dtype=torch.float64)
        return self.known[key]

    def __call__(self, prefixes: Tensor) -> Tensor:
        beam = len(prefixes) // self.batch_size
        return torch.stack([self.logits(row // beam, tuple(prefix)) for row, prefix in enumerate(prefixes.tolist())])

    def score(self, sentence: int, written: tuple[int, ...], penalty: float) -> float:
        total = 0.0
        for i, token in enumerate(written):
            total += self.logits(sentence, (START, *written[:i])).log_softmax(dim=0)[token].item()
        return total / ((5 + len(written)) / 6) ** penalty

    def sentences(self, max_length: int) -> list[tuple[int, ...]]:
        """All that can be written: up to the end, or to the greatest length without one."""
        others = [token for token in range(self.V) if token != END]
        found = [(*begin, END) for length in range(max_length) for begin in itertools.product(others, repeat=length)]
        return found + list(itertools.product(others, repeat=max_length))


def written(ids: Tensor) -> tuple[int, ...]:
    """A hypothesis up to its end."""
    tokens = ids.tolist()
    return tuple(tokens[: tokens.index(END) + 1] if END in tokens else tokens)


@property_test
@given(V=st.integers(2, 4), max_length=st.integers(1, 3), penalty=penalties, seed=seeds)
def test_a_beam_as_wide_as_the_tree_finds_all_sentences_in_order(V, max_length, penalty, seed):
    tree = Tree(V, seed)
    sentences = tree.sentences(max_length)
    ids, scores = beam_search(tree, len(sentences), penalty, START, END, max_length)
    true = sorted(((tree.score(0, s, penalty), s) for s in sentences), reverse=True)
    assert [written(hypothesis) for hypothesis in ids[0]] == [sentence for _, sentence in true]
    assert scores[0].tolist() == pytest.approx([score for score, _ in true], abs=1e-9)


def plain_beam_search(tree: Tree, sentence: int, beam: int, penalty: float, max_length: int) -> list[tuple[int, ...]]:
    """The same search in plain Python, one sentence at a time."""
    hypotheses: list[tuple[int, ...]] = [()]
    for _ in range(max_length):
        extended = []
        for hypothesis in hypotheses:
            if hypothesis[-1:] == (END,):
                extended.append(hypothesis)
            else:
                extended += [(*hypothesis, token) for token in range(tree.V)]
        hypotheses = sorted(extended, key=lambda h: tree.score(sentence, h, penalty), reverse=True)[:beam]
    return hypotheses


@property_test
@given(
    V=st.integers(2, 6),
    beam=st.integers(1, 5),
    max_length=st.integers(1, 6),
    B=st.integers(1, 3),
    penalty=penalties,
    seed=seeds,
)
def test_a_batch_is_searched_as_each_sentence_is_in_plain_python(V, beam, max_length, B, penalty, seed):
    tree = Tree(V, seed, B)
    ids, scores = beam_search(tree, beam, penalty, START, END, max_length, batch_size=B)
    for b in range(B):
        expected = plain_beam_search(tree, b, beam, penalty, max_length)
        found = [written(h) for h, score in zip(ids[b], scores[b].tolist(), strict=True) if score > -math.inf]
        assert found == expected
        for hypothesis, score in zip(expected, scores[b].tolist(), strict=False):
            assert score == pytest.approx(tree.score(b, hypothesis, penalty), abs=1e-9)


@property_test
@given(V=st.integers(2, 6), max_length=st.integers(1, 8), penalty=penalties, seed=seeds)
def test_a_beam_of_one_is_greedy(V, max_length, penalty, seed):
    tree = Tree(V, seed)
    greedy: tuple[int, ...] = ()
    while len(greedy) < max_length and greedy[-1:] != (END,):
        greedy += (int(tree.logits(0, (START, *greedy)).argmax()),)
    ids, _ = beam_search(tree, 1, penalty, START, END, max_length)
    assert written(ids[0, 0]) == greedy


def test_a_finished_hypothesis_is_kept_and_can_win_over_longer_ones():
    # The end has probability .4 at once; every other sentence is less likely, however it goes on.
    def step(prefixes: Tensor) -> Tensor:
        first = torch.tensor([0.001, 0.4, 0.3, 0.299])
        later = torch.tensor([0.001, 0.001, 0.499, 0.499])
        return (first if prefixes.size(1) == 1 else later).log().expand(len(prefixes), -1)

    ids, scores = beam_search(step, 2, 0.0, START, END, max_length=6)
    assert written(ids[0, 0]) == (END,)
    assert scores[0, 0].item() == pytest.approx(math.log(0.4), abs=1e-6)
    assert ids[0, 0].tolist() == [END] * 6


def test_a_larger_penalty_makes_longer_sentences():
    def step(prefixes: Tensor) -> Tensor:
        t = prefixes.size(1)
        return torch.tensor([0.0, 0.3 if t < 5 else 0.999, 0.7 if t < 5 else 0.001]).log().expand(len(prefixes), -1)

    lengths = [len(written(beam_search(step, 4, penalty, START, END, max_length=8)[0][0, 0])) for penalty in (0.0, 3.0)]
    assert lengths == [1, 5]
    assert length_factor(torch.tensor(7.0), 0.6).item() == pytest.approx(2**0.6)


@pytest.mark.parametrize("wrong", [{"beam": 0, "max_length": 3}, {"beam": 2, "max_length": 0}])
def test_a_search_for_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="both must be at least 1"):
        beam_search(Tree(3, 0), length_penalty=0.0, start_id=START, end_id=END, **wrong)


def tiny_gpt(V: int, seed: int) -> transformers.GPT2LMHeadModel:
    torch.manual_seed(seed)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=V, n_positions=16, n_embd=12, n_layer=1, n_head=2)
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    return model.double().eval()


@torch.no_grad()
def transformers_search(model: transformers.GPT2LMHeadModel, beam: int, length: int, end: int | None):
    return model.generate(
        torch.full((1, 1), START),
        attention_mask=torch.ones(1, 1, dtype=torch.long),
        num_beams=beam,
        num_return_sequences=beam,
        max_new_tokens=length,
        length_penalty=0.0,
        early_stopping="never",
        do_sample=False,
        bos_token_id=START,
        eos_token_id=end,
        pad_token_id=END,
        output_scores=True,
        return_dict_in_generate=True,
    )


@pytest.mark.parametrize("seed", range(6))
def test_where_nothing_ends_all_hypotheses_and_their_scores_agree_with_transformers(seed):
    V, beam, length = 17, 4, 7
    model = tiny_gpt(V, seed)

    def step(prefixes: Tensor) -> Tensor:
        return torch.nn.functional.pad(model(prefixes).logits[:, -1], (0, 1), value=-math.inf)  # token V is the end

    theirs = transformers_search(model, beam, length, end=None)
    ids, scores = beam_search(step, beam, 0.0, START, V, length)
    assert ids[0].tolist() == theirs.sequences[:, 1:].tolist()
    assert scores[0].tolist() == pytest.approx(theirs.sequences_scores.tolist(), abs=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_that_a_wide_beam_finds_agrees_with_transformers(seed):
    model = tiny_gpt(4, seed)
    theirs = transformers_search(model, 64, 3, end=END)
    ids, scores = beam_search(lambda prefixes: model(prefixes).logits[:, -1], 64, 0.0, START, END, 3)
    assert written(ids[0, 0]) == written(theirs.sequences[0, 1:])
    assert scores[0, 0].item() == pytest.approx(theirs.sequences_scores[0].item(), abs=1e-5)


CONFIG = TransformerConfig(12, 8, 2, 2, 16, dropout=0.0, max_length=20)


def a_model(seed: int) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(CONFIG).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return model


def some_sources(seed: int) -> Tensor:
    source = torch.randint(3, 12, (5, 7), generator=torch.Generator().manual_seed(seed))
    for b, length in enumerate([7, 2, 5, 1, 7]):
        source[b, length:] = CONFIG.padding_id
    return source


def up_to_the_end(row: Tensor) -> list[int]:
    tokens = row.tolist()
    return tokens[: tokens.index(CONFIG.end_id) + 1] if CONFIG.end_id in tokens else tokens


@pytest.mark.parametrize("seed", range(4))
def test_greedy_writes_what_a_plain_loop_writes_for_each_sentence_alone(seed):
    model, source = a_model(seed), some_sources(seed)
    together = greedy_decode(model, source, max_length=9)
    for b in range(5):
        target = [CONFIG.start_id]
        while len(target) < 10 and target[-1] != CONFIG.end_id:
            target.append(int(model(source[b : b + 1], torch.tensor([target]))[0, -1].argmax()))
        assert together[b, : len(target) - 1].tolist() == target[1:]
        assert (together[b, len(target) - 1 :] == CONFIG.padding_id).all()
    assert together.size(1) == max(len(up_to_the_end(row)) for row in together)


@pytest.mark.parametrize("seed", range(4))
def test_decoding_with_a_beam_of_one_is_greedy_and_a_wider_one_is_no_less_likely(seed):
    model, source = a_model(seed), some_sources(seed)
    greedy = greedy_decode(model, source, max_length=9)
    assert torch.equal(beam_decode(model, source, 1, max_length=9), greedy)
    wide = beam_decode(model, source, 12**2, max_length=2, length_penalty=0.0)

    def log_probability(b: int, row: Tensor) -> float:
        tokens = up_to_the_end(row)
        logits = model(source[b : b + 1], torch.tensor([[CONFIG.start_id, *tokens[:-1]]]))
        return logits[0].log_softmax(dim=-1)[range(len(tokens)), tokens].sum().item()

    every = [(2,), *itertools.product([t for t in range(12) if t != 2], range(12))]
    for b in range(5):
        best = max(log_probability(b, torch.tensor(tokens)) for tokens in every)
        assert log_probability(b, wide[b]) == pytest.approx(best, abs=1e-9)


def test_the_encoder_reads_once():
    model, source = a_model(0), some_sources(0)
    calls = []
    model.encoder_layers[0].register_forward_hook(lambda *_: calls.append(1))
    greedy_decode(model, source, max_length=6)
    beam_decode(model, source, 3, max_length=6)
    assert len(calls) == 2
