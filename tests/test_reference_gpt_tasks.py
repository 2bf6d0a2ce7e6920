"""GPT-1's input transformations and fine-tuning heads against transformers' and against plain computation."""

import pytest
import torch
from test_reference_gpt import assert_close, random_config, random_gpt, random_ids, randomize
from torch import Tensor, nn
from transformers import OpenAIGPTConfig, OpenAIGPTDoubleHeadsModel, OpenAIGPTForSequenceClassification

from autograder.reference.gpt import GPT, language_model_loss, load_published_weights
from autograder.reference.gpt_tasks import (
    GPTForTask,
    SpecialTokens,
    TaskBatch,
    add_special_tokens,
    fine_tune_loss,
    format_classification,
    format_entailment,
    format_multiple_choice,
    format_similarity,
    task_batch,
)

SPECIAL = SpecialTokens(start=100, delimiter=101, extract=102)
PADDING = 0
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
seeds = pytest.mark.parametrize("seed", range(3))


def test_a_text_to_classify_stands_between_start_and_extract():
    assert format_classification([7, 8, 9], SPECIAL) == [[100, 7, 8, 9, 102]]


def test_a_premise_and_its_hypothesis_are_parted_by_a_delimiter():
    assert format_entailment([7, 8], [9], SPECIAL) == [[100, 7, 8, 101, 9, 102]]


def test_texts_to_compare_are_read_in_both_orders():
    assert format_similarity([7, 8], [9], SPECIAL) == [[100, 7, 8, 101, 9, 102], [100, 9, 101, 7, 8, 102]]


def test_each_answer_stands_behind_its_context():
    assert format_multiple_choice([7, 8], [[1], [2, 3], []], SPECIAL) == [
        [100, 7, 8, 101, 1, 102],
        [100, 7, 8, 101, 2, 3, 102],
        [100, 7, 8, 101, 102],
    ]


def test_a_batch_is_padded_behind_and_knows_where_the_extract_tokens_stand():
    batch = task_batch([format_similarity([7, 8], [9], SPECIAL), format_similarity([7], [8], SPECIAL)], padding=55)
    assert batch.ids.shape == (2, 2, 6)
    assert batch.lengths.tolist() == [[6, 6], [5, 5]]
    at_extract = batch.ids.gather(2, batch.lengths.unsqueeze(-1) - 1)
    assert (at_extract == 102).all()
    assert (batch.ids[1, :, 5] == 55).all()


@pytest.mark.parametrize("examples", [[], [[[1, 2]], [[1, 2], [3]]]], ids=["none", "one and two"])
def test_examples_of_different_numbers_of_sequences_are_refused(examples):
    with pytest.raises(ValueError, match="as many sequences in each"):
        task_batch(examples)


def random_examples(num_sequences: int, V: int, seed: int, B: int = 3) -> list[list[list[int]]]:
    """Sequences of 2 to 9 ids above the padding."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [
            torch.randint(1, V, (int(torch.randint(2, 10, (), generator=generator)),), generator=generator).tolist()
            for _ in range(num_sequences)
        ]
        for _ in range(B)
    ]


def transformers_model(kind: type, seed: int, dtype: torch.dtype, **more) -> tuple[GPT, nn.Module]:
    """A GPT-1 of ours without a head, and transformers' with one, of the same random shape and weights."""
    config = random_config(seed, norm_first=False)
    theirs = kind(
        OpenAIGPTConfig(
            vocab_size=config.vocab_size,
            n_positions=config.context_size,
            n_embd=config.d_model,
            n_layer=config.num_layers,
            n_head=config.num_heads,
            pad_token_id=PADDING,
            **more,
        )
    )
    theirs.to(dtype).eval()
    randomize(theirs, seed)
    ours = GPT(config).to(dtype)
    load_published_weights(ours, theirs.transformer.state_dict())
    return ours, theirs


def assert_same_gradients(ours: GPTForTask, our_loss: Tensor, theirs: nn.Module, their_loss: Tensor) -> None:
    our_loss.backward()
    their_loss.backward()
    expected = GPT(ours.model.config).to(our_loss.dtype)
    load_published_weights(expected, {name: weight.grad for name, weight in theirs.transformer.named_parameters()})
    for name, gradient in expected.named_parameters():
        assert_close(ours.model.get_parameter(name).grad, gradient)


@dtypes
@seeds
def test_classification_agrees_with_transformers_in_logits_and_gradients(seed, dtype):
    model, theirs = transformers_model(OpenAIGPTForSequenceClassification, seed, dtype, num_labels=5)
    ours = GPTForTask(model, num_classes=5).to(dtype).eval()
    with torch.no_grad():
        ours.head.weight.copy_(theirs.score.weight)
        ours.head.bias.zero_()
    batch = task_batch(random_examples(1, model.config.vocab_size, seed), PADDING)
    labels = torch.tensor([4, 0, 2])
    told = theirs(batch.ids[:, 0], labels=labels)
    class_logits, language_model_logits = ours.with_language_model(batch)
    assert_close(class_logits, told.logits)
    assert_close(ours(batch), told.logits)
    loss = fine_tune_loss(class_logits, labels, language_model_logits, batch.ids, 0, batch.lengths)
    assert_close(loss, told.loss)
    assert_same_gradients(ours, loss, theirs, told.loss)


@dtypes
@seeds
def test_choice_with_the_auxiliary_loss_agrees_with_transformers_in_logits_and_gradients(seed, dtype):
    model, theirs = transformers_model(OpenAIGPTDoubleHeadsModel, seed, dtype)
    ours = GPTForTask(model, num_classes=None).to(dtype).eval()
    with torch.no_grad():
        ours.head.weight.copy_(theirs.multiple_choice_head.summary.weight)
        ours.head.bias.copy_(theirs.multiple_choice_head.summary.bias)
    batch = task_batch(random_examples(4, model.config.vocab_size, seed), PADDING)
    labels = torch.tensor([1, 3, 0])
    behind = torch.arange(batch.ids.size(2)) >= batch.lengths.unsqueeze(-1)
    told = theirs(
        batch.ids,
        mc_token_ids=batch.lengths - 1,
        labels=batch.ids.masked_fill(behind, -100),
        mc_labels=labels,
    )
    class_logits, language_model_logits = ours.with_language_model(batch)
    assert_close(class_logits, told.mc_logits)
    assert_close(language_model_logits, told.logits)
    loss = fine_tune_loss(class_logits, labels, language_model_logits, batch.ids, 0.5, batch.lengths)
    their_loss = told.mc_loss + 0.5 * told.loss
    assert_close(loss, their_loss)
    assert_same_gradients(ours, loss, theirs, their_loss)


@seeds
def test_similarity_adds_both_orders_and_agrees_with_reading_them_one_by_one(seed):
    model = random_gpt(random_config(seed, norm_first=False), seed=seed)
    ours = GPTForTask(model, num_classes=3).double().eval()
    special = SpecialTokens(1, 2, 3)
    pairs = [([5, 6, 7], [8]), ([9], [10, 11])]
    logits = ours(task_batch([format_similarity(one, other, special) for one, other in pairs]))
    for row, (one, other) in zip(logits, pairs, strict=True):
        states = [
            model.hidden_states(torch.tensor([[1, *first, 2, *second, 3]]))[-1][0, -1]
            for first, second in ((one, other), (other, one))
        ]
        assert_close(row, ours.head.weight @ (states[0] + states[1]) + ours.head.bias)
    turned = ours(task_batch([format_similarity(other, one, special) for one, other in pairs]))
    assert_close(logits, turned)


def test_padding_changes_nothing():
    model = GPTForTask(random_gpt(random_config(1, norm_first=False)), num_classes=4).double().eval()
    examples = [[[1, 5, 6, 2]], [[1, 7, 8, 9, 10, 11, 2]]]
    labels = torch.tensor([0, 3])
    told = []
    for padding in (0, 13):
        batch = task_batch(examples, padding)
        told.append(loss_of(model, batch, labels, 0.5))
    assert torch.equal(*told)
    alone = torch.cat([model(task_batch([example])) for example in examples])
    assert_close(model(task_batch(examples)), alone)


def loss_of(model: GPTForTask, batch: TaskBatch, labels: Tensor, auxiliary_weight: float) -> Tensor:
    class_logits, language_model_logits = model.with_language_model(batch)
    return fine_tune_loss(class_logits, labels, language_model_logits, batch.ids, auxiliary_weight, batch.lengths)


def test_the_auxiliary_loss_is_weighted_and_the_task_is_not():
    model = GPTForTask(random_gpt(random_config(2, norm_first=False)), num_classes=4).double().eval()
    batch, labels = task_batch(random_examples(1, 40, 0)), torch.tensor([0, 3, 1])
    class_logits, language_model_logits = model.with_language_model(batch)
    task = nn.functional.cross_entropy(class_logits, labels)
    auxiliary = language_model_loss(language_model_logits[:, 0], batch.ids[:, 0], batch.lengths[:, 0])
    for weight in (0.0, 0.5, 2.0):
        assert_close(loss_of(model, batch, labels, weight), task + weight * auxiliary)
    without_lengths = fine_tune_loss(class_logits, labels, language_model_logits[:, 0], batch.ids[:, 0], 1.0)
    assert_close(without_lengths, task + language_model_loss(language_model_logits[:, 0], batch.ids[:, 0]))


@pytest.mark.parametrize("norm_first", [False, True], ids=["gpt1", "gpt2"])
def test_special_tokens_come_behind_the_others_and_leave_them_alone(norm_first):
    model = random_gpt(random_config(3, norm_first))
    ids = random_ids(model.config, B=2, T=7)
    V, before = model.config.vocab_size, model(ids)
    special = add_special_tokens(model)
    assert (special.start, special.delimiter, special.extract) == (V, V + 1, V + 2)
    assert model.config.vocab_size == V + 3
    after = model(ids)
    assert after.shape == (2, 7, V + 3)
    assert_close(after[..., :V], before)
    model(torch.tensor([[V, 1, V + 1, 2, V + 2]]))


def test_a_few_steps_of_fine_tuning_learn_which_text_is_which():
    torch.manual_seed(0)
    model = GPTForTask(GPT(random_config(0, norm_first=True)), num_classes=2)
    special = SpecialTokens(1, 2, 3)
    examples = [format_classification([10 + label, 5, other], special) for label in (0, 1) for other in range(20, 30)]
    batch, labels = task_batch(examples), torch.tensor([0] * 10 + [1] * 10)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(60):
        loss = loss_of(model, batch, labels, 0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model.eval()(batch).argmax(dim=-1) == labels).all()
