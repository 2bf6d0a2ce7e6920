"""The recurrent translator: attention as by hand, no look at what comes later, none at the padding."""

import pytest
import torch

from autograder.reference.attention import scaled_dot_product_attention
from autograder.reference.decoding import beam_decode, greedy_decode
from autograder.reference.recurrent_translator import RecurrentConfig, RecurrentTranslator

CONFIG = RecurrentConfig(vocab_size=11, d_model=8, num_layers=2, max_length=12)


@pytest.fixture
def model() -> RecurrentTranslator:
    torch.manual_seed(0)
    return RecurrentTranslator(CONFIG).eval()


def test_what_is_padded_changes_nothing(model: RecurrentTranslator) -> None:
    source = torch.tensor([[3, 4, 2, 0, 0], [5, 6, 7, 8, 2]])
    target = torch.tensor([[1, 9, 10], [1, 3, 4]])
    alone = model(source[:1, :3], target[:1])
    torch.testing.assert_close(model(source, target)[:1], alone)
    assert not model.encode(source)[0, 3:].any()


def test_a_later_token_of_the_target_changes_nothing_before_it(model: RecurrentTranslator) -> None:
    source, target = torch.randint(3, 11, (2, 6)), torch.randint(3, 11, (2, 5))
    other = target.clone()
    other[:, 3] = (target[:, 3] - 2) % 8 + 3
    changed = (model(source, target) - model(source, other)).abs().amax(dim=(0, 2)) > 1e-7
    assert changed.tolist() == [False, False, False, True, True]


def test_the_context_is_what_attention_fetches(model: RecurrentTranslator) -> None:
    source, target = torch.tensor([[3, 4, 5, 2], [6, 2, 0, 0]]), torch.tensor([[1, 7, 8], [1, 9, 3]])
    memory, mask = model.encode(source), model.source_mask(source)
    gist = torch.stack([memory[0].mean(dim=0), memory[1, :2].mean(dim=0)])
    first = model.first_state(gist).tanh().view(2, 2, 2, 8)
    states, _ = model.decoder(
        model.embed(target), (first[:, 0].transpose(0, 1).contiguous(), first[:, 1].transpose(0, 1).contiguous())
    )
    context, weights = scaled_dot_product_attention(model.query_projection(states), memory, memory, mask.squeeze(1))
    assert not weights[1, :, 2:].any()
    logits = model.join(torch.cat([states, context], dim=-1)).tanh() @ model.embedding.weight.T
    torch.testing.assert_close(model(source, target), logits)


def test_it_writes_with_the_same_code_as_the_transformer(model: RecurrentTranslator) -> None:
    source = torch.randint(3, 11, (4, 6))
    greedy = greedy_decode(model, source, 7)
    assert torch.equal(beam_decode(model, source, 1, 7), greedy)
    with pytest.raises(ValueError, match="13 positions are more than max_length = 12"):
        model.encode(torch.ones(1, 13, dtype=torch.long))
