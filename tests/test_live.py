"""Models in plain JavaScript: what they say in the reader's browser is what PyTorch says."""

import os

import pytest
import torch
from playwright.sync_api import Browser, Page

from autograder.book import ROOT
from autograder.data import load
from autograder.data.generated.word_uses import WORD_USES
from autograder.in_page import weights_script, write_models
from autograder.reference.pretrained import load_elmo, load_tokenizer

LIVE = ROOT / "book" / "assets" / "live"
ODD = [
    "",
    " \t\n",
    "The Élan of Zoë's CAFÉ, at $5.00 (50% off)!",
    "ΣΊΣΥΦΟΣ and İstanbul and straße",
    "東京 is a city; 𠀀 is rare, 😀 is not.",
    "soft­hyphen, zero​width, a � and a\u0007bell",
    "x" * 101,
    "é" * 60 + "!" * 20,
    "a_b@c.d [MASK] ##ing ¿qué? «no» 1,234.5",
    "un​believ­able nbsp em space",
]

pytestmark = pytest.mark.skipif(os.environ.get("WIC_SKIP_BROWSER") == "1", reason="WIC_SKIP_BROWSER=1")


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory):
    """A page with nothing but the model in it."""
    folder = tmp_path_factory.mktemp("live")
    write_models(folder)
    scripts = f'<script src="{(LIVE / "elmo.js").as_uri()}"></script><script src="elmo-weights.js"></script>'
    (folder / "page.html").write_text(f'<!doctype html><meta charset="utf-8">{scripts}', encoding="utf-8")
    page = browser.new_page()
    page.goto((folder / "page.html").as_uri())
    page.evaluate("globalThis.elmo = new Elmo(pretrained.elmo)")
    yield page
    page.close()


def test_the_pieces_are_those_of_python(page: Page) -> None:
    sentences = [*ODD, *(d.text[:600] for d in load("wikipedia").split().test[:400])]
    tokenizer = load_tokenizer()
    expected = [[tokenizer.vocabulary[i] for i in tokenizer.encode(sentence)] for sentence in sentences]
    found = page.evaluate("sentences => sentences.map(sentence => elmo.tokenize(sentence))", sentences)
    wrong = [s for s, mine, theirs in zip(sentences, expected, found, strict=True) if mine != theirs]
    assert not wrong


def test_the_layers_are_those_of_pytorch(page: Page) -> None:
    model, tokenizer = load_elmo(), load_tokenizer()
    sentences = [s for uses in WORD_USES.values() for s in (*uses.sentences, uses.another)]
    sentences += [text for text in ODD if text.strip()]
    for sentence in sentences:
        ids = tokenizer.encode(sentence)
        with torch.no_grad():
            expected = torch.cat(model.hidden_states(torch.tensor([ids])))
        found = page.evaluate("text => elmo.layers(elmo.tokenize(text)).map(layer => layer.map(x => [...x]))", sentence)
        torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-4, atol=1e-5)


def test_halves_are_read_as_numpy_reads_them(page: Page) -> None:
    numbers = torch.arange(0, 1 << 16, 7, dtype=torch.int32).to(torch.int16).view(torch.float16)
    numbers = numbers[torch.isfinite(numbers)]
    script = weights_script("numbers", {"token_encoder.weight": numbers}, ["a"])
    page.evaluate(script)
    found = page.evaluate("[...new Elmo(pretrained.numbers).weights['token_encoder.weight']]")
    assert torch.equal(torch.tensor(found), numbers.float())


def test_every_word_stands_once_in_each_of_its_sentences() -> None:
    tokenizer = load_tokenizer()
    for word, uses in WORD_USES.items():
        assert len(uses.sentences) == 8
        for sentence in (*uses.sentences, uses.another):
            assert tokenizer.encode(sentence).count(tokenizer.ids[word]) == 1, sentence
