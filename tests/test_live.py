"""Models in plain JavaScript: what they say in the reader's browser is what PyTorch says."""

import os
import re
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Browser, Page

from autograder.data import load
from autograder.data.generated.word_uses import WORD_USES
from autograder.in_page import weights_script
from autograder.reference.pretrained import load_elmo, load_tokenizer

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
def page(open_live: Callable[[str], Page]) -> Iterator[Page]:
    page = open_live("elmo")
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
    sentences = [s for uses in WORD_USES.values() for s in (uses.sentences[0], uses.another)]
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


def cosines(word: str, sentence: str) -> torch.Tensor:
    """As chapter 5 computes them: (3, 8), a row for each layer."""
    model, tokenizer = load_elmo(), load_tokenizer()

    def at(text: str) -> torch.Tensor:
        ids = tokenizer.encode(text)
        with torch.no_grad():
            layers = torch.cat(model.hidden_states(torch.tensor([ids])))
        return layers[:, ids.index(tokenizer.ids[word])]

    known = torch.stack([at(text) for text in WORD_USES[word].sentences], dim=1)
    mean = known.mean(dim=1, keepdim=True)
    return F.cosine_similarity(known - mean, at(sentence).unsqueeze(1) - mean, dim=2)


def shown(page: Page) -> dict[str, float]:
    """The cosines on the page, by sentence, in their order."""
    rows = page.locator("ol li").evaluate_all(
        "rows => rows.map(row => [row.lastChild.textContent, row.firstChild.textContent])"
    )
    return {text.rpartition(" (")[0]: float(number.replace("−", "-")) for text, number in rows}


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("bank", None),
        ("may", "In May 1990 it may have rained."),
        ("lead", "Lead pipes lead to death."),
        ("rock", "ROCK!"),
        ("work", "word " * 55 + "work"),
        ("second", "A second café, a second 東京"),
    ],
)
def test_a_reader_is_shown_what_pytorch_says(page: Page, word: str, sentence: str | None) -> None:
    page.locator("select").select_option(word)
    if sentence is not None:
        page.locator("input[type=text]").fill(sentence)
    expected = cosines(word, sentence or WORD_USES[word].another)
    for layer in (1, 2, 0):
        page.locator(f"input[value='{layer}']").check()
        found = shown(page)
        assert sorted(found) == sorted(WORD_USES[word].sentences)
        right = dict(zip(WORD_USES[word].sentences, expected[layer].tolist(), strict=True))
        assert found == pytest.approx(right, abs=0.006)
        assert list(found.values()) == sorted(found.values(), reverse=True)
        means = expected[layer].view(2, 4).mean(dim=1).tolist()
        told = [float(number.replace("−", "-")) for number in re.findall(r"−?\d\.\d\d", page.inner_text("output"))]
        assert told == pytest.approx(means, abs=0.006)


def test_a_sentence_without_the_word_is_asked_for_it(page: Page) -> None:
    page.locator("select").select_option("bank")
    for sentence in ("", "banks and more banks", "the river " * 40 + "bank"):
        page.locator("input[type=text]").fill(sentence)
        assert page.inner_text("output") == "Write a sentence with the word “bank” in it."
        assert page.locator("ol li").count() == 0


@pytest.mark.parametrize("chapter", ["elmo", "bert", "gpt", "vision"])
def test_weights_that_do_not_come_can_be_asked_for_again(
    browser: Browser, live_page: Callable[[str], str], chapter: str
) -> None:
    page = browser.new_page()
    page.route("**/*-weights.js", lambda route: route.abort())
    page.goto(live_page(chapter))
    button = page.locator(".live > button")
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_text("could not be loaded").wait_for()
    assert not page.locator("form").is_visible()
    page.unroute("**/*-weights.js")
    button.click()
    page.locator("ol li").first.wait_for()
    assert button.count() == 0
    page.close()
