"""Batches: nothing is lost or seen twice, the limits hold, and batch k is the same whoever asks for it and when."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.data.batches import CarriedChunks, LengthBatches, RandomWindows, ShuffledChunks, pad

property_test = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**31)
sizes = st.integers(1, 9)
lengths_of_some = st.lists(st.integers(1, 30), min_size=1, max_size=60)


@property_test
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=6), st.integers(-100, -1))
def test_padding_keeps_every_sequence_and_adds_nothing_else(sequences, value):
    ids, lengths = pad(sequences, value)
    assert ids.dtype == lengths.dtype == torch.long
    assert ids.shape == (len(sequences), max(map(len, sequences)))
    assert lengths.tolist() == [len(sequence) for sequence in sequences]
    for row, sequence in zip(ids.tolist(), sequences, strict=True):
        assert row == sequence + [value] * (ids.size(1) - len(sequence))


def test_padding_takes_tensors_too():
    ids, lengths = pad([torch.tensor([3, 4, 5]), torch.tensor([6])], 0)
    assert ids.tolist() == [[3, 4, 5], [6, 0, 0]]
    assert lengths.tolist() == [3, 1]


@pytest.mark.parametrize("sequences", [[], [[1, 2], []]])
def test_padding_refuses_what_has_no_words(sequences):
    with pytest.raises(ValueError, match="leave empty sequences out"):
        pad(sequences, 0)


@property_test
@given(lengths_of_some, st.integers(1, 7) | st.none(), st.integers(30, 90) | st.none(), st.integers(1, 40), seeds)
def test_every_example_comes_once_an_epoch_within_the_limits(lengths, batch_size, max_tokens, granularity, seed):
    if batch_size is None and max_tokens is None:
        batch_size = 5
    source = LengthBatches(lengths, batch_size, max_tokens, granularity, seed)
    for epoch in range(3):
        batches = [source.batch(epoch * len(source) + number) for number in range(len(source))]
        assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) <= (batch_size or len(lengths))
            longest = max(lengths[example] for example in batch)
            assert max_tokens is None or len(batch) * longest <= max_tokens


@property_test
@given(lengths_of_some, st.integers(1, 7), seeds)
def test_batches_by_length_need_the_least_padding_possible(lengths, batch_size, seed):
    source = LengthBatches(lengths, batch_size, seed=seed)
    padded = sum(
        len(batch) * max(lengths[example] for example in batch)
        for batch in (source.batch(number) for number in range(len(source)))
    )
    ascending = sorted(lengths)
    pieces = [ascending[start : start + batch_size] for start in range(0, len(ascending), batch_size)]
    assert padded == sum(len(piece) * piece[-1] for piece in pieces)


def text_sources(seed: int):
    ids = torch.arange(1000)
    lengths = np.random.default_rng(5).integers(1, 30, 200).tolist()
    return [
        LengthBatches(lengths, batch_size=8, seed=seed),
        LengthBatches(lengths, max_tokens=100, granularity=4, seed=seed),
        CarriedChunks(ids, 4, 17),
        ShuffledChunks(ids, 4, 17, seed),
        RandomWindows(ids, 4, 17, seed),
    ]


def as_lists(batch):
    return batch if isinstance(batch, list) else [part.tolist() for part in batch]


def test_a_batch_depends_on_its_number_and_the_seed_alone():
    steps = [70, 3, 141, 0, 70, 26, 25]
    for source, fresh in zip(text_sources(seed=3), text_sources(seed=3), strict=True):
        in_order = [as_lists(source.batch(step)) for step in range(142)]
        assert [as_lists(fresh.batch(step)) for step in steps] == [in_order[step] for step in steps]


def test_epochs_and_seeds_differ():
    for source, other in zip(text_sources(seed=3), text_sources(seed=4), strict=True):
        if isinstance(source, CarriedChunks):
            continue
        epoch = len(source) if hasattr(source, "__len__") else 10
        first = [as_lists(source.batch(step)) for step in range(epoch)]
        assert first != [as_lists(source.batch(epoch + step)) for step in range(epoch)]
        assert first != [as_lists(other.batch(step)) for step in range(epoch)]


def test_like_lengths_are_mixed_anew_every_epoch():
    source = LengthBatches([7] * 20 + [9] * 20, batch_size=10)
    companies = {frozenset(source.batch(step)) for step in range(8)}
    assert len(companies) == 8  # two epochs of four batches, none of them twice


def test_a_budget_or_a_size_has_to_be_given():
    with pytest.raises(ValueError, match="Give a batch_size"):
        LengthBatches([1, 2])
    with pytest.raises(ValueError, match="raise max_tokens"):
        LengthBatches([1, 20], max_tokens=19)


@property_test
@given(st.integers(2, 200), sizes, sizes)
def test_a_row_goes_on_where_it_ended_and_targets_are_one_ahead(N, B, T):
    ids = torch.arange(N)
    if (N - 1) // B < 1:
        with pytest.raises(ValueError, match="lower batch_size"):
            CarriedChunks(ids, B, T)
        return
    source = CarriedChunks(ids, B, T)
    batches = [source.batch(step) for step in range(len(source))]
    for inputs, targets in batches:
        assert inputs.shape == targets.shape
        assert inputs.size(0) == B
        assert 1 <= inputs.size(1) <= T
        assert torch.equal(targets, inputs + 1)
    joined = torch.cat([inputs for inputs, _ in batches], dim=1)
    assert torch.equal(joined, joined[:, :1] + torch.arange(joined.size(1)))  # each row is one piece of the text
    assert joined.flatten().tolist() == list(range(joined.numel()))  # the rows lie end to end
    assert N - 1 - joined.numel() < B
    assert [source.is_start(step) for step in range(2 * len(source))] == 2 * [True, *[False] * (len(source) - 1)]
    assert all(map(torch.equal, source.batch(len(source)), batches[0]))


@property_test
@given(st.integers(2, 200), sizes, sizes, seeds)
def test_shuffled_pieces_cover_the_text_once_an_epoch(N, B, T, seed):
    ids = torch.arange(N)
    if N <= T:
        with pytest.raises(ValueError, match="lower length"):
            ShuffledChunks(ids, B, T, seed)
        return
    source = ShuffledChunks(ids, B, T, seed)
    for epoch in range(2):
        batches = [source.batch(epoch * len(source) + number) for number in range(len(source))]
        assert all(torch.equal(targets, inputs + 1) for inputs, targets in batches)
        rows = torch.cat([inputs for inputs, _ in batches])
        assert torch.equal(rows, rows[:, :1] + torch.arange(T))
        assert sorted(rows.flatten().tolist()) == list(range((N - 1) // T * T))
        assert all(len(inputs) == B for inputs, _ in batches[:-1])


def test_windows_begin_anywhere_and_targets_are_one_ahead():
    ids = torch.arange(50) * 3
    source = RandomWindows(ids, 6, 47, seed=1)
    starts = set()
    for step in range(60):
        inputs, targets = source.batch(step)
        assert inputs.shape == targets.shape == (6, 47)
        assert torch.equal(inputs, inputs[:, :1] + 3 * torch.arange(47))
        assert torch.equal(targets, inputs + 3)
        starts |= set(inputs[:, 0].tolist())
    assert starts == {0, 3, 6}  # the last start is the one whose last target is the last word
    with pytest.raises(ValueError, match="lower length"):
        RandomWindows(ids, 6, 50)
