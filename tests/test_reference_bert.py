"""The reference BERT against transformers': hidden states, logits, losses and gradients on random models."""

import json
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from autograder.data import load
from autograder.reference.attention import padding_mask
from autograder.reference.bert import (
    IGNORED,
    Bert,
    BertConfig,
    BertForPreTraining,
    load_pretrained,
    mask_tokens,
    mlm_loss,
    pack,
    parameter_count,
    published_name,
    sentence_pairs,
)
from autograder.reference.bert_heads import (
    SentenceClassifier,
    SpanFinder,
    TokenClassifier,
    best_span,
    label_loss,
    span_loss,
)
from autograder.reference.pretrained import load_minilm
from autograder.reference.transformer_layer import attention_weights

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)

CONFIGS = [
    BertConfig(37, 12, 2, 3, 20, 11, 2, dropout=0.0),
    BertConfig(101, 30, 4, 5, 47, 19, 3, dropout=0.0, layer_norm_eps=1e-7),
    BertConfig(64, 48, 1, 1, 31, 40, 2, dropout=0.0),
]
configs = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"d{config.d_model}")


def their_config(config: BertConfig, **other) -> transformers.BertConfig:
    return transformers.BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.d_model,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.d_ff,
        max_position_embeddings=config.context_size,
        type_vocab_size=config.num_segments,
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
            around = 1.0 if "LayerNorm.weight" in name else 0.0
            parameter.copy_(around + 0.2 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return model


HEAD_NAMES = {
    "cls.predictions.transform.dense": "masked_lm_head.dense",
    "cls.predictions.transform.LayerNorm": "masked_lm_head.norm",
    "cls.predictions.bias": "masked_lm_head.bias",
    "cls.seq_relationship": "next_sentence_head",
    "qa_outputs": "classifier",
}


def parameters_by_our_names(ours: nn.Module, theirs: nn.Module) -> dict[str, tuple[nn.Parameter, nn.Parameter]]:
    """Each parameter of ours beside the same one of theirs. All of theirs are used."""
    published = {}
    for name, parameter in theirs.named_parameters():
        for their_part, our_part in HEAD_NAMES.items():
            name = name.replace(their_part, our_part)
        published[name] = parameter
    pairs = {}
    for name, parameter in ours.named_parameters():
        prefix = "bert." if name.startswith("bert.") else ""
        theirs_name = prefix + published_name(name.removeprefix("bert."))
        if theirs_name in published:
            pairs[name] = (parameter, published.pop(theirs_name))
    assert not published
    return pairs


def same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    with torch.no_grad():
        for our_parameter, their_parameter in parameters_by_our_names(ours, theirs).values():
            our_parameter.copy_(their_parameter)


def batch(config: BertConfig, seed: int, B: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids without 0, segments, and lengths of which one fills the batch."""
    generator = torch.Generator().manual_seed(seed)
    T = config.context_size - 2
    lengths = torch.randint(1, T + 1, (B,), generator=generator)
    lengths[seed % B] = T
    ids = torch.randint(1, config.vocab_size, (B, T), generator=generator)
    return ids, torch.randint(config.num_segments, (B, T), generator=generator), lengths


def assert_close(ours: Tensor, other: Tensor) -> None:
    """Equal within the tolerance of the type, relative to the largest entry where that is above 1."""
    assert ours.shape == other.shape
    scale = max(1.0, other.abs().max().item())
    assert (ours - other).abs().max().item() <= TOLERANCE[ours.dtype] * scale


def assert_same_gradients(ours: nn.Module, theirs: nn.Module, our_loss: Tensor, their_loss: Tensor) -> None:
    pairs = list(parameters_by_our_names(ours, theirs).values())
    our_gradients = torch.autograd.grad(our_loss, [pair[0] for pair in pairs], allow_unused=True)
    their_gradients = torch.autograd.grad(their_loss, [pair[1] for pair in pairs], allow_unused=True)
    assert any(gradient is not None and gradient.abs().max() > 1e-3 for gradient in our_gradients)
    for our_gradient, their_gradient in zip(our_gradients, their_gradients, strict=True):
        assert (our_gradient is None) == (their_gradient is None)
        if our_gradient is not None:
            assert_close(our_gradient, their_gradient)


@dtypes
@configs
@pytest.mark.parametrize("padded", [False, True])
def test_all_hidden_states_and_gradients_agree_with_transformers(config, padded, dtype):
    theirs = randomize(transformers.BertModel(their_config(config)), dtype, seed=1)
    ours = Bert(config).to(dtype)
    load_pretrained(ours, theirs.state_dict())
    ids, segments, lengths = batch(config, seed=2)
    mask = padding_mask(lengths if padded else torch.full_like(lengths, ids.size(1)), ids.size(1))

    our_states = ours.hidden_states(ids, segments, mask)
    answer = theirs(
        input_ids=ids, token_type_ids=segments, attention_mask=mask[:, 0, 0].long(), output_hidden_states=True
    )
    assert len(our_states) == config.num_layers + 1
    for our_state, their_state in zip(our_states, answer.hidden_states, strict=True):
        assert_close(our_state, their_state)
    assert torch.equal(ours(ids, segments, mask), our_states[-1])
    pooled = ours.pooler(our_states[-1])
    assert_close(pooled, answer.pooler_output)

    upstream = torch.randn(our_states[-1].shape, generator=torch.Generator().manual_seed(3), dtype=dtype)
    upstream *= mask[:, 0, 0].unsqueeze(-1)
    assert_same_gradients(
        ours,
        theirs,
        (our_states[-1] * upstream).sum() + pooled.sum(),
        (answer.last_hidden_state * upstream).sum() + answer.pooler_output.sum(),
    )


@configs
def test_attention_weights_agree_with_transformers(config):
    theirs = transformers.BertModel(their_config(config, attn_implementation="eager"))
    randomize(theirs, torch.float32, seed=4)  # its softmax is in float32
    ours = Bert(config).eval()
    load_pretrained(ours, theirs.state_dict())
    ids, segments, lengths = batch(config, seed=5)
    mask = padding_mask(lengths, ids.size(1))
    with torch.no_grad(), attention_weights(ours) as weights:
        ours(ids, segments, mask)
    answer = theirs(input_ids=ids, token_type_ids=segments, attention_mask=mask[:, 0, 0].long(), output_attentions=True)
    assert len(weights) == config.num_layers
    for our_weights, their_weights in zip(weights, answer.attentions, strict=True):
        assert_close(our_weights, their_weights)


@dtypes
@configs
def test_both_pretraining_losses_and_their_gradients_agree_with_transformers(config, dtype):
    theirs = randomize(transformers.BertForPreTraining(their_config(config)), dtype, seed=6)
    ours = BertForPreTraining(config).to(dtype)
    same_weights(ours, theirs)
    ids, segments, lengths = batch(config, seed=7)
    mask = padding_mask(lengths, ids.size(1))
    labels = ids.masked_fill(torch.rand(ids.shape, generator=torch.Generator().manual_seed(8)) < 0.6, IGNORED)
    labels = labels.masked_fill(~mask[:, 0, 0], IGNORED)
    next_labels = torch.tensor([0, 1, 1, 0])

    words, sentences = ours(ids, segments, mask)
    answer = theirs(
        input_ids=ids,
        token_type_ids=segments,
        attention_mask=mask[:, 0, 0].long(),
        labels=labels,
        next_sentence_label=next_labels,
    )
    assert_close(words, answer.prediction_logits)
    assert_close(sentences, answer.seq_relationship_logits)
    our_loss = label_loss(words, labels) + label_loss(sentences, next_labels)
    assert_close(our_loss, answer.loss)
    assert_same_gradients(ours, theirs, our_loss, answer.loss)


@dtypes
def test_logits_at_the_asked_positions_alone_give_the_same_loss_and_gradients(dtype):
    config = CONFIGS[0]
    model = randomize(BertForPreTraining(config), dtype, seed=9)
    ids, segments, _ = batch(config, seed=10)
    labels = ids.masked_fill(torch.rand(ids.shape, generator=torch.Generator().manual_seed(11)) < 0.6, IGNORED)
    of_all = label_loss(model(ids, segments)[0], labels)
    hidden, asked = model.bert(ids, segments), labels != IGNORED
    of_some = label_loss(model.masked_lm_logits(hidden[asked]), labels[asked])
    head, embedding = model.masked_lm_head, model.bert.embeddings.word_embedding.weight
    by_hand = mlm_loss(head.norm(nn.functional.gelu(head.dense(hidden))), embedding, head.bias, labels)
    assert_close(of_some, of_all)
    assert_close(by_hand, of_all)
    wanted = [p for name, p in model.named_parameters() if "pooler" not in name and "next_sentence" not in name]
    for other in (of_some, by_hand):
        gradients = torch.autograd.grad(of_all, wanted, retain_graph=True)
        for gradient, other_gradient in zip(
            gradients, torch.autograd.grad(other, wanted, retain_graph=True), strict=True
        ):
            assert_close(gradient, other_gradient)


def test_in_training_dropout_agrees_with_transformers_place_by_place():
    config = replace(CONFIGS[1], dropout=0.3)
    theirs = randomize(transformers.BertModel(their_config(config)), torch.float64, seed=12).train()
    ours = Bert(config).double().train()
    load_pretrained(ours, theirs.state_dict())
    ids, segments, _ = batch(config, seed=13)
    torch.manual_seed(14)
    ours_out = ours(ids, segments)
    torch.manual_seed(14)
    assert_close(ours_out, theirs(input_ids=ids, token_type_ids=segments).last_hidden_state)
    assert (ours_out - ours.eval()(ids, segments)).abs().max() > 0.1


@dtypes
@configs
@pytest.mark.parametrize("kind", ["token", "sentence", "span"])
def test_logits_losses_and_gradients_of_the_heads_agree_with_transformers(config, kind, dtype):
    generator = torch.Generator().manual_seed(15)
    ids, segments, lengths = batch(config, seed=16, B=5)
    T, num_labels = ids.size(1), 7
    mask = padding_mask(lengths, T)
    inputs = {"input_ids": ids, "token_type_ids": segments, "attention_mask": mask[:, 0, 0].long()}
    bert = Bert(config)
    if kind == "token":
        theirs = transformers.BertForTokenClassification(their_config(config, num_labels=num_labels))
        ours: nn.Module = TokenClassifier(bert, num_labels)
        labels = torch.randint(num_labels, ids.shape, generator=generator).masked_fill(~mask[:, 0, 0], IGNORED)
        labels[0, 0] = IGNORED
    elif kind == "sentence":
        theirs = transformers.BertForSequenceClassification(their_config(config, num_labels=num_labels))
        ours = SentenceClassifier(bert, num_labels)
        labels = torch.randint(num_labels, (5,), generator=generator)
        labels[1] = IGNORED
    else:
        theirs = transformers.BertForQuestionAnswering(their_config(config))
        ours = SpanFinder(bert)
    randomize(theirs, dtype, seed=17)
    ours.to(dtype).eval()
    same_weights(ours, theirs)

    if kind == "span":
        first, last = torch.tensor([0, 2, IGNORED, 1, 0]), torch.tensor([3, 2, 4, IGNORED, 1])
        start, end = ours(ids, segments, mask)
        answer = theirs(
            **inputs,
            start_positions=first.where(first >= 0, torch.tensor(T)),
            end_positions=last.where(last >= 0, torch.tensor(T)),
        )
        assert_close(start, answer.start_logits)
        assert_close(end, answer.end_logits)
        our_loss = span_loss(start, end, first, last)
    else:
        logits = ours(ids, segments, mask)
        answer = theirs(**inputs, labels=labels)
        assert_close(logits, answer.logits)
        our_loss = label_loss(logits, labels)
    assert_close(our_loss, answer.loss)
    assert_same_gradients(ours, theirs, our_loss, answer.loss)


def test_the_published_encoder_loads_and_agrees_with_transformers():
    minilm = load("minilm", allow_stand_in=False)
    tensors = load_file(minilm.file("model.safetensors"))
    published = json.loads(minilm.file("config.json").read_text())
    ours, tokenizer = load_minilm()
    library = Tokenizer.from_file(str(minilm.file("tokenizer.json")))
    library.no_padding()
    text = "Unaffordable châteaux, 1990s!"
    assert tokenizer.tokens(text) == library.encode(text, add_special_tokens=False).tokens
    theirs = transformers.BertModel(transformers.BertConfig(**published)).eval()
    theirs.load_state_dict({name: tensor for name, tensor in tensors.items() if "position_ids" not in name})
    ids, segments, lengths = batch(replace(ours.config, context_size=45), seed=18)
    mask = padding_mask(lengths, ids.size(1))
    with torch.no_grad():
        our_states = ours.hidden_states(ids, segments, mask)
        answer = theirs(ids, mask[:, 0, 0].long(), segments, output_hidden_states=True)
    for our_state, their_state in zip(our_states, answer.hidden_states, strict=True):
        assert (our_state - their_state).abs().max() <= 1e-5


def test_bert_base_has_the_published_number_of_parameters_which_agrees_with_transformers():
    with torch.device("meta"):
        ours, theirs = Bert(BertConfig()), transformers.BertModel(transformers.BertConfig())
    assert parameter_count(BertConfig()) == 109_482_240
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) == 109_482_240


@configs
@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_parameters_are_counted_without_building_the_model(config, positions, norm_first):
    if positions == "rotary" and config.d_model // config.num_heads % 2:
        pytest.skip("rotary positions need an even width of a head")
    config = replace(config, positions=positions, norm_first=norm_first)
    assert parameter_count(config) == sum(p.numel() for p in Bert(config).parameters())


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_an_empty_sentence_gives_neither_nan_nor_a_change_to_others(positions, norm_first):
    config = replace(CONFIGS[0], positions=positions, norm_first=norm_first)
    model = randomize(Bert(config), torch.float64, seed=19)
    ids, segments, lengths = batch(config, seed=20)
    lengths[3] = 0
    output = model(ids, segments, padding_mask(lengths, ids.size(1)))
    assert output.isfinite().all()
    for gradient in torch.autograd.grad(output.square().sum(), list(model.layers.parameters())):
        assert gradient.isfinite().all()
    alone = model(ids[:3], segments[:3], padding_mask(lengths[:3], ids.size(1)))
    assert_close(output[:3], alone)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_what_stands_in_the_padding_changes_nothing(positions, norm_first):
    config = replace(CONFIGS[0], positions=positions, norm_first=norm_first)
    model = randomize(Bert(config), torch.float64, seed=21)
    ids, _, _ = batch(config, seed=22)
    changed = ids.clone()
    changed[:, 5:] = (changed[:, 5:] + 3) % config.vocab_size
    mask = padding_mask(torch.full((4,), 5), ids.size(1))
    assert_close(model(ids, mask=mask)[:, :5], model(changed, mask=mask)[:, :5])
    assert_close(model(ids, mask=mask)[:, :5], model(ids[:, :5]))
    assert (model(ids)[:, :5] - model(changed)[:, :5]).abs().max() > 1e-3


def test_rotary_positions_tell_distances_and_not_places_and_learned_ones_both():
    for positions in ("rotary", "learned"):
        config = replace(CONFIGS[0], context_size=20, positions=positions, norm_first=True)
        model = randomize(Bert(config), torch.float64, seed=23)
        ids, _, _ = batch(replace(config, context_size=10), seed=24)
        T = ids.size(1)
        moved = torch.cat([torch.ones(4, 7, dtype=torch.long), ids], dim=1)
        mask = (torch.arange(T + 7) >= 7).expand(4, 1, 1, -1)
        gap = (model(moved, mask=mask)[:, 7:] - model(ids)).abs().max()
        reordered = (model(ids.flip(1)).flip(1) - model(ids)).abs().max()
        assert (gap < 1e-10) == (positions == "rotary")
        assert reordered > 1e-3


def test_a_mask_of_the_wrong_shape_and_a_text_too_long_are_refused():
    model, ids = Bert(CONFIGS[0]), torch.ones(9, 9, dtype=torch.long)
    with pytest.raises(ValueError, match=r"shape \(9, 9\): make it \(B, 1, 1, T\)"):
        model(ids, mask=torch.ones(9, 9, dtype=torch.bool))
    with pytest.raises(ValueError, match="12 positions do not fit into a context of 11"):
        model(torch.ones(1, 12, dtype=torch.long))


def test_a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing():
    config = CONFIGS[0]
    tensors = transformers.BertModel(their_config(config)).state_dict()
    model = Bert(config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layer = "encoder.layer.1.attention.self.key.weight"
    wrong = [
        ({name: tensor for name, tensor in tensors.items() if name != layer}, f"has no {layer}"),
        (tensors | {"encoder.layer.2.output.dense.bias": torch.zeros(12)}, "no place for encoder.layer.2.output"),
        (tensors | {layer: torch.zeros(12, 11)}, r"has shape \(12, 11\), the model's has \(12, 12\)"),
    ]
    for given, message in wrong:
        with pytest.raises(ValueError, match=message):
            load_pretrained(model, given)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    load_pretrained(model, {f"bert.{name}": tensor for name, tensor in tensors.items()})
    assert torch.equal(model.pooler.dense.weight, tensors["pooler.dense.weight"])


def test_a_new_model_starts_with_the_spread_that_was_asked_for():
    model = BertForPreTraining(replace(CONFIGS[1], d_model=60, initial_std=0.05))
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2]
    together = torch.cat([p.flatten() for p in matrices])
    assert abs(together.std().item() / 0.05 - 1) < 6 / (2 * together.numel()) ** 0.5
    assert all(not p.any() for name, p in model.named_parameters() if name.endswith("bias"))


def within_six_sigmas(count: int, trials: int, probability: float) -> bool:
    return abs(count - trials * probability) <= 6 * (trials * probability * (1 - probability)) ** 0.5


@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_masking_chooses_and_replaces_in_the_published_proportions(rate):
    V, mask_id, shape = 50, 4, (400, 500)
    generator = torch.Generator().manual_seed(25)
    ids = torch.randint(5, V, shape, generator=generator)
    special = torch.rand(shape, generator=generator) < 0.1
    kept = ids.clone(), special.clone()
    inputs, labels = mask_tokens(ids, special, V, generator, mask_id, rate)
    assert torch.equal(ids, kept[0])
    assert torch.equal(special, kept[1])

    chosen = labels != IGNORED
    assert not (chosen & special).any()
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(inputs[~chosen], ids[~chosen])
    n = int(chosen.sum())
    assert within_six_sigmas(n, int((~special).sum()), rate)
    became = inputs[chosen]
    # a random token is the mask, or the token itself, once in V times
    assert within_six_sigmas(int((became == mask_id).sum()), n, 0.8 + 0.1 / V)
    assert within_six_sigmas(int((became == ids[chosen]).sum()), n, 0.1 + 0.1 / V)
    replaced = became[(became != mask_id) & (became != ids[chosen])]
    counts = Counter(replaced.tolist())
    assert counts.keys() == set(range(V)) - {mask_id}
    for token in (0, 1, 2, 3, 17, V - 1):
        assert within_six_sigmas(counts[token], n, 0.1 / V * (1 if token < 5 else 1 - 1 / (V - 5)))


def test_each_token_is_chosen_as_often_as_any_other_wherever_it_stands():
    ids, special = torch.full((3000, 8), 7), torch.zeros(3000, 8, dtype=torch.bool)
    _, labels = mask_tokens(ids, special, 20, torch.Generator().manual_seed(26), 4)
    for place in range(8):
        assert within_six_sigmas(int((labels[:, place] != IGNORED).sum()), 3000, 0.15)
    both = ((labels[:, 0] != IGNORED) & (labels[:, 1] != IGNORED)).sum()
    assert within_six_sigmas(int(both), 3000, 0.15**2)


def test_the_generator_alone_decides_what_is_masked():
    ids, special = torch.full((20, 30), 7), torch.zeros(20, 30, dtype=torch.bool)
    first, again, other = (
        mask_tokens(ids, special, 20, torch.Generator().manual_seed(seed), 4)[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_batch_in_which_nothing_is_asked_costs_nothing():
    labels = torch.full((2, 3), IGNORED)
    assert mlm_loss(torch.randn(2, 3, 4), torch.randn(5, 4), torch.randn(5), labels) == 0
    assert label_loss(torch.randn(2, 3, 5), labels) == 0


def some_documents(lengths: list[int]) -> list[list[tuple[int, int]]]:
    """Sentences that say where they stand: (document, sentence)."""
    return [[(number, i) for i in range(length)] for number, length in enumerate(lengths)]


def test_half_of_the_pairs_are_neighbors_and_the_others_come_from_elsewhere():
    documents = some_documents([900, 1, 700, 0, 1500, 300])
    pairs = sentence_pairs(documents, torch.Generator().manual_seed(27))
    assert [first for first, _, _ in pairs] == [sentence for document in documents for sentence in document[:-1]]
    for first, second, label in pairs:
        if label == 0:
            assert second == (first[0], first[1] + 1)
        else:
            assert second[0] != first[0]
    assert {label for _, _, label in pairs} == {0, 1}
    assert within_six_sigmas(sum(label for _, _, label in pairs), len(pairs), 0.5)
    elsewhere = Counter(second[0] for first, second, label in pairs if label == 1 and first[0] == 4)
    assert elsewhere.keys() == {0, 1, 2, 5}
    for count in elsewhere.values():
        assert within_six_sigmas(count, elsewhere.total(), 0.25)
    places = [second[1] for _, second, label in pairs if label == 1 and second[0] == 0]
    assert within_six_sigmas(sum(place < 450 for place in places), len(places), 0.5)
    labels = [label for _, _, label in pairs]
    same = sum(a == b for a, b in pairwise(labels))
    assert within_six_sigmas(same, len(labels) - 1, 0.5)


def test_one_document_is_not_enough_for_pairs():
    with pytest.raises(ValueError, match="give two or more documents"):
        sentence_pairs([["a", "b"], []], torch.Generator())


def test_a_pair_is_packed_as_in_transformers_tokenizer(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "my", "dog", "is", "cute", "he", "likes", "playing"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    numbers = {word: i for i, word in enumerate(words)}
    first, second = "my dog is cute", "he likes playing"
    theirs = tokenizer(first, second)
    ours = pack([numbers[w] for w in first.split()], [numbers[w] for w in second.split()], 2, 3)
    assert ours == (theirs["input_ids"], theirs["token_type_ids"])
    assert pack([5], None, 2, 3) == ([2, 5, 3], [0, 0, 0])


@pytest.mark.parametrize("max_length", [1, 3, 50])
def test_the_best_span_is_the_best_of_all_that_are_allowed(max_length):
    B, T = 30, 9
    generator = torch.Generator().manual_seed(28)
    start, end = torch.randn(2, B, T, generator=generator)
    start[:, 2], end[:, 5] = -torch.inf, -torch.inf
    first, last = best_span(start, end, max_length)
    for b in range(B):
        spans = [(i, j) for i in range(T) for j in range(i, min(T, i + max_length))]
        assert (first[b].item(), last[b].item()) == max(spans, key=lambda s: (start[b, s[0]] + end[b, s[1]]).item())


def test_the_best_span_of_at_most_no_tokens_is_refused():
    with pytest.raises(ValueError, match="max_length is 0"):
        best_span(torch.zeros(1, 3), torch.zeros(1, 3), 0)


def test_fine_tuning_learns_and_reaches_every_weight_it_should():
    config = BertConfig(30, 32, 2, 4, 64, 12, dropout=0.0)
    torch.manual_seed(29)
    model = SentenceClassifier(Bert(config), 2)
    generator = random.Random(30)
    texts = [[generator.randrange(5, 30) for _ in range(8)] for _ in range(200)]
    ids = torch.tensor([pack(text, None, 2, 3)[0] for text in texts])
    labels = torch.tensor([int(17 in text or 23 in text) for text in texts])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    before = {name: p.clone() for name, p in model.named_parameters()}
    for _ in range(60):
        loss = label_loss(model(ids), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(ids).argmax(dim=1) == labels).float().mean() > 0.95
    unmoved = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert not unmoved
