"""GPT in plain JavaScript: what it says and draws in the reader's browser is what PyTorch says."""

import os
from collections.abc import Callable, Iterator

import pytest
import torch
from playwright.sync_api import Page

from autograder.reference.pretrained import load_gpt, load_tokenizer
from autograder.reference.sampling import generate, top_k_filter, top_p_filter

PROMPTS = [
    "the president of the united",
    "in the 19th century , the city of",
    "The Élan of Zoë's CAFÉ, at $5.00!",
    "東京",
]

pytestmark = pytest.mark.skipif(os.environ.get("WIC_SKIP_BROWSER") == "1", reason="WIC_SKIP_BROWSER=1")


@pytest.fixture(scope="module")
def page(open_live: Callable[[str], Page]) -> Iterator[Page]:
    page = open_live("gpt")
    page.evaluate("globalThis.gpt = new Gpt(pretrained.gpt)")
    yield page
    page.close()


def read(page: Page, prompt: str) -> list[float]:
    """The logits behind a prompt, in the page."""
    return page.evaluate(
        """text => {
            gpt.forget();
            let logits;
            for (const piece of gpt.tokenize(text)) logits = gpt.read(gpt.ids.get(piece));
            return [...logits];
        }""",
        prompt,
    )


def logits_of(prompt: str) -> torch.Tensor:
    with torch.no_grad():
        return load_gpt()(torch.tensor([load_tokenizer().encode(prompt)]))[0, -1]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_logits_are_those_of_pytorch(page: Page, prompt: str) -> None:
    torch.testing.assert_close(torch.tensor(read(page, prompt)), logits_of(prompt), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 4096, 1.0), (0.5, 4096, 0.9), (1.5, 20, 1.0), (1.0, 50, 0.5), (2.0, 4096, 0.01), (1.0, 1, 1.0)],
)
def test_what_may_be_drawn_and_how_likely_are_those_of_python(
    page: Page, temperature: float, top_k: int, top_p: float
) -> None:
    logits = logits_of(PROMPTS[1])
    expected = top_p_filter(top_k_filter(logits / temperature, top_k), top_p).softmax(dim=0)
    chosen = {"temperature": temperature, "topK": top_k, "topP": top_p}
    read(page, PROMPTS[1])
    found = page.evaluate("([logits, chosen]) => Gpt.choices(logits, chosen)", [logits.tolist(), chosen])
    assert {token for token, _ in found} == set(expected.nonzero().flatten().tolist())
    assert [p for _, p in found] == pytest.approx([expected[token].item() for token, _ in found], rel=1e-4)


def test_a_token_is_drawn_as_often_as_it_is_likely(page: Page) -> None:
    drawn = page.evaluate(
        "Array.from({ length: 1000 }, (_, k) => Gpt.draw([[7, 0.5], [3, 0.3], [9, 0.2]], (k + 0.5) / 1000))"
    )
    assert [drawn.count(token) for token in (7, 3, 9)] == [500, 300, 200]


def test_without_chance_the_page_writes_what_python_writes(page: Page) -> None:
    prompt, tokenizer = "the president of the united", load_tokenizer()
    page.locator("[name=temperature]").fill("0")
    page.locator("[type=text]").fill(prompt)
    for _ in range(12):
        page.locator("[type=submit]").click()
    expected = generate(load_gpt(), torch.tensor([tokenizer.encode(prompt)]), 12, temperature=0)[0].tolist()
    assert page.inner_text("output").startswith(tokenizer.decode(expected))
    page.locator("[name=temperature]").fill("1")


def test_a_text_is_written_until_the_context_is_full(page: Page) -> None:
    page.locator("[type=text]").fill("")
    assert page.inner_text("output").startswith("[SEP]")
    page.locator("[name=topK]").fill("20")
    page.locator("input[type=button]").click()
    page.wait_for_function("document.querySelector('input[type=button]').value.startsWith('Write')")
    assert len(page.inner_text("output")) > 80
    assert page.locator("ol li").count() == 8
    for _ in range(3):
        page.locator("input[type=button]").click()
        page.wait_for_function("document.querySelector('input[type=button]').value.startsWith('Write')")
    assert "The context of 128 tokens is full." in page.inner_text("output")
    assert page.locator("ol li").count() == 0
