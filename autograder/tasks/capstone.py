"""11-capstone: count what a model keeps, spend a budget of text, make a model, pretrain it, fine-tune it, write on."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from autograder.checking.client.fixtures import KeptNumbers
from autograder.checking.given import Given
from autograder.checking.student import Answer, Student
from autograder.checking.tasks import Case, Evidence, Ranked, case, task
from autograder.data.generated.gazette import REPORT_LENGTH, TOPICS, VOCABULARY, reports, topic_of_words
from autograder.data.generated.supply import BudgetSpent

NUMBERS = 25_000
"""How many numbers a model may keep."""

TOKENS = 33_000
"""How many tokens of text it may be pretrained on."""

V = len(VOCABULARY)

BOARD = {
    "perplexity": Ranked("pretrain", "perplexity 80", smaller_is_better=True, digits=2),
    "accuracy": Ranked("fine_tune", "accuracy 0.35", smaller_is_better=False, digits=3),
    "parameters": Ranked("pretrain", "numbers kept", smaller_is_better=True, digits=0),
}
"""What the leaderboard shows. The first ranks, the others decide between equals."""


def numbers_kept(weights: Any) -> float:
    """How many numbers a state dict holds; a tensor that is there under two names counts once.

    What is shared does not travel as such: equal tensors are taken for one, unless they hold but one number over and
    over, as new norms do.
    """
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        return math.nan
    distinct: list[Tensor] = []
    for value in weights.values():
        constant = value.numel() > 0 and bool((value == value.flatten()[0]).all())
        if constant or not any(value.shape == other.shape and torch.equal(value, other) for other in distinct):
            distinct.append(value)
    return float(sum(value.numel() for value in distinct))


def over_budget(weights: Answer, name: str = "numbers kept") -> Case:
    """The case that the model keeps no more numbers than it may."""
    over = 0.0 if weights.failure else numbers_kept(weights.value) - NUMBERS
    told = f", {over:,.0f} over the budget," if over > 0 else ""
    return case(
        name,
        weights,
        measure=numbers_kept,
        at_most=NUMBERS,
        measures=f"the count of numbers that the model keeps{told}",
        weight=0.5,
    )


def total(sizes: KeptNumbers) -> int:
    """The numbers of a model, counted part by part."""
    parts = [*sizes.parameters(), *sizes.buffers()]  # torch gives what is shared once
    return sum(math.prod(part.shape) for part in parts)


@task("count_numbers")
def count_numbers(student: Student, given: Given) -> Iterator[Case]:
    """Parameters and buffers, learning or not, each once."""
    for name, shared in (("plain", False), ("a shared table", True), ("another shared table", True)):
        vocab_size, width = int(given.integers(30, 60)), int(given.integers(4, 12))
        table = [int(given.integers(5, 20)), int(given.integers(20, 30))]
        model = student.fixture("KeptNumbers", vocab_size, width, table, shared)
        yield case(name, student.count_numbers(model), total(KeptNumbers(vocab_size, width, table, shared)))
    layer = student.fixture("torch_module", "Linear", {"weight": given.normal(3, 7), "bias": given.normal(3)}, 7, 3)
    yield case("one layer", student.count_numbers(layer), 24)
    quiet = student.fixture("torch_module", "Tanh", {})
    yield case("a layer that keeps nothing", student.count_numbers(quiet), 0)


count_numbers.hints(
    "`model.state_dict()` holds parameters and buffers, but a tensor that is shared stands in it under two names. "
    "`model.parameters()` gives what is shared once, but it leaves the buffers out.",
    "Two names for one tensor have the same `data_ptr()`: keep a dictionary from `data_ptr()` to `numel()`, or add up "
    "`model.parameters()` and `model.buffers()`.",
)


@count_numbers.misconception(
    "What is shared is counted twice: a table that embeds the words and scores them is kept once, under two names."
)
def shared_twice(model):
    return sum(value.numel() for value in model.state_dict().values())


@count_numbers.misconception("The buffers are left out: what does not learn is kept all the same, and counts.")
def no_buffers(model):
    return sum(parameter.numel() for parameter in model.parameters())


@count_numbers.misconception(
    "The frozen parameters are left out: `requires_grad` says whether a number learns, not whether it is kept."
)
def learning_alone(model):
    return sum(value.numel() for value in [*model.parameters(), *model.buffers()] if value.requires_grad) + sum(
        buffer.numel() for buffer in model.buffers()
    )


@count_numbers.misconception("These are tensors; the numbers inside of them are asked for, `numel()` of each.")
def tensors(model):
    return len(list(model.parameters())) + len(list(model.buffers()))


@count_numbers.misconception("This is the size in bytes; a number of float32 has four of them.")
def in_bytes(model):
    return sum(value.numel() * value.element_size() for value in [*model.parameters(), *model.buffers()])


@count_numbers.misconception(
    "Two tensors are taken for one because they have as many numbers: what is shared is known by its place in memory, "
    "`data_ptr()`."
)
def once_for_each_size(model):
    return sum({value.numel() for value in model.state_dict().values()})


@count_numbers.misconception("This counts rows: multiply all axes of a tensor, as `numel()` does.")
def rows(model):
    return sum(len(value) for value in [*model.parameters(), *model.buffers()])


@count_numbers.misconception(
    "The parts inside of parts are left out: `children()` goes down one level, `modules()` goes down all of them."
)
def one_level(model):
    parts = [model, *model.children()]
    kept = [value for part in parts for value in [*part.parameters(recurse=False), *part.buffers(recurse=False)]]
    return sum(value.numel() for value in {id(value): value for value in kept}.values())


@count_numbers.alternative
def parameters_and_buffers(model):
    total = 0
    for kept in (model.parameters(), model.buffers()):
        total += sum(value.numel() for value in kept)
    return total


@count_numbers.alternative
def by_identity(model, seen=None):
    seen = set()
    for part in model.modules():
        for value in [*part._parameters.values(), *part._buffers.values()]:
            if value is not None:
                seen.add(value)
    return sum(math.prod(value.shape) for value in seen)


@count_numbers.alternative
def by_place(model):
    places, total = set(), torch.tensor(0)
    for _, value in model.state_dict().items():
        if value.data_ptr() not in places:
            places.add(value.data_ptr())
            total += value.numel()
    return total.item()


def listener(student: Student) -> Answer:
    """What hears the batches; what goes wrong as they come is the student's function's doing."""
    return replace(student.fixture("Listener"), subject="budget_batches")


def dealt(texts: Tensor, tokens: int, batch_size: int) -> list[Tensor]:
    """The batches that a budget buys."""
    affordable = texts[: tokens // texts.shape[1]]
    return list(affordable.split(batch_size)) if len(affordable) else []


@task("budget_batches")
def budget_batches(student: Student, given: Given) -> Iterator[Case]:
    """Whole batches while the budget lasts, and a last one as large as what is left allows."""
    for name, T, batch_size, tokens in (
        ("the budget comes out even", 5, 4, 60),
        ("a shorter last batch", 5, 4, 85),
        ("a few tokens too few for another text", 7, 3, 7 * 8 + 6),
        ("less than one batch", 6, 9, 24),
        ("less than one text", 8, 3, 7),
        ("one text at a time", 4, 1, 17),
    ):
        texts = given.integers(0, 90, tokens // T + 30, T)
        supply = student.fixture("text_supply", texts, tokens)
        batches = student.budget_batches(supply, batch_size)
        heard = listener(student).call("hear", batches, 50)
        yield case(name, heard, dealt(texts, tokens, batch_size), subject="what it yields")
    supply = student.fixture("text_supply", given.integers(0, 90, 30, 6), 80)
    heard = listener(student).call("hear", student.budget_batches(supply, 4), 1)
    spent = heard if heard.failure else supply.call("report")
    yield case("drawn when asked for", spent, (56, [4]), subject="what was drawn when one batch had been asked for")


budget_batches.hints(
    "How many texts can be paid with what is left? `supply.left // supply.length`. As long as that is not 0, there is "
    "another batch.",
    "Draw `min(batch_size, affordable)` texts, yield them, and work out again what is affordable.",
)
budget_batches.equivalent(
    "yield supply.draw(min(affordable, batch_size))", "The smaller of two numbers is the same in either order."
)


@budget_batches.misconception(
    "The last batch is missing: when the budget does not buy a whole batch any more, it may still buy a smaller one."
)
def whole_batches_alone(supply, batch_size):
    while supply.left >= batch_size * supply.length:
        yield supply.draw(batch_size)


@budget_batches.misconception(
    "It goes on drawing whole batches until the supply refuses: before each draw, work out how many texts are "
    "affordable, and draw no more."
)
def draws_too_much(supply, batch_size):
    while supply.left > 0:
        yield supply.draw(batch_size)


@budget_batches.misconception("Each batch comes in a tuple of one: yield the tensor itself.")
def in_tuples(supply, batch_size):
    while supply.left // supply.length > 0:
        yield (supply.draw(min(batch_size, supply.left // supply.length)),)


@budget_batches.misconception("The loop ends while one text can still be paid: go on as long as there is at least one.")
def leaves_one(supply, batch_size):
    while supply.left // supply.length > 1:
        yield supply.draw(min(batch_size, supply.left // supply.length))


@budget_batches.misconception("Only one batch comes: put `yield` inside of a loop.")
def one_batch(supply, batch_size):
    if supply.left >= supply.length:
        yield supply.draw(min(batch_size, supply.left // supply.length))


@budget_batches.misconception("All batches are one text short: draw `batch_size` texts, not one less.")
def one_less(supply, batch_size):
    while supply.left // supply.length > 0:
        yield supply.draw(max(1, min(batch_size, supply.left // supply.length) - 1))


@budget_batches.misconception("It yields texts one by one; a batch is one tensor of shape (B, T), as `draw` gives it.")
def text_by_text(supply, batch_size):
    while supply.left // supply.length > 0:
        yield from supply.draw(min(batch_size, supply.left // supply.length))


@budget_batches.misconception(
    "Everything is drawn before the first batch is handed out: with `yield` in the loop a batch is drawn when it is "
    "asked for, and `supply.left` tells how far the training is."
)
def a_list(supply, batch_size):
    batches = []
    while supply.left >= supply.length:
        batches.append(supply.draw(min(batch_size, supply.left // supply.length)))
    return batches


@budget_batches.alternative
def by_division(supply, batch_size):
    whole, rest = divmod(supply.left // supply.length, batch_size)
    for count in [batch_size] * whole + [rest] * (rest > 0):
        yield supply.draw(count)


@budget_batches.alternative
def until_refused(supply, batch_size):
    count = batch_size
    while count > 0:
        try:
            batch = supply.draw(count)
        except BudgetSpent:
            count -= 1
            continue
        yield batch


@budget_batches.alternative
def whole_ones_first(supply, batch_size):
    while supply.left >= batch_size * supply.length:
        yield supply.draw(batch_size)
    rest = supply.left // supply.length
    if rest:
        yield supply.draw(rest)


class Exam(NamedTuple):
    """Reports to learn from and to be judged by; the words have numbers of their own.

    Attributes:
        train: (N, T), as many as the budget buys.
        secret, topics: (M, T) and (M,), reports that nobody has seen, and what they are about.
        labeled, labels: (8, T) and (8,), one report about each topic.
        prompts, wanted: (P, 5) and (P,), beginnings of secret reports with the noun in them, and their topics.
        topic_of: (V,), the topic of each word, −1 for small words.
    """

    train: Tensor
    secret: Tensor
    topics: Tensor
    labeled: Tensor
    labels: Tensor
    prompts: Tensor
    wanted: Tensor
    topic_of: Tensor


PROMPT, WRITTEN, PROMPTS = 5, 6, 150
"""Tokens of a prompt, tokens to be written behind it, and how many prompts there are."""


@lru_cache(maxsize=4)
def exam(seed: int) -> Exam:
    """The reports of a seed; the same for every student."""
    given = Given(seed.to_bytes(8, "big"), "exam")
    generator = torch.Generator().manual_seed(given.seed())
    number = torch.cat([given.permutation(V - 1), torch.tensor([V - 1])])
    train, secret, more = (reports(count, generator) for count in (TOKENS // REPORT_LENGTH, 600, 400))
    order = given.permutation(len(TOPICS))
    first = torch.tensor([int((more.topics == topic).nonzero()[0]) for topic in order])
    early = (secret.places < PROMPT).nonzero().flatten()[:PROMPTS]
    topic_of = torch.empty(V, dtype=torch.long)
    topic_of[number] = topic_of_words()
    return Exam(
        number[train.ids],
        number[secret.ids],
        secret.topics,
        number[more.ids[first]],
        more.topics[first],
        number[secret.ids[early]][:, :PROMPT],
        secret.topics[early],
        topic_of,
    )


def some_texts(given: Given, B: int, T: int, vocab_size: int) -> Tensor:
    """Any words behind the last token of the vocabulary, which is START."""
    return torch.cat([torch.full((B, 1), vocab_size - 1), given.integers(0, vocab_size - 1, B, T - 1)], dim=1)


def another(given: Given, ids: Tensor, columns: slice, vocab_size: int) -> Tensor:
    """Texts in which all words of some columns are others."""
    changed = ids.clone()
    changed[:, columns] = (ids[:, columns] + given.integers(1, vocab_size - 2, *ids[:, columns].shape)) % (
        vocab_size - 1
    )
    return changed


def apart(one: Any, other: Any) -> float:
    """The largest difference of two tensors of one shape; infinite if they are not."""
    if not (isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape):
        return math.inf
    return float((one - other).abs().max())


LEARNED_BY_HEART = 2.5
"""Nats a word, after forty steps on eight texts; guessing has 4.9."""


GUESSING = 6.0
"""Nats a word: a new model knows nothing, and should not be surer than that."""


@task("language_model", asks="LanguageModel", seconds=20)
def language_model(student: Student, given: Given) -> Iterator[Case]:
    """Logits for every next word, from the words before it and not from those behind, within the budget."""
    ids = some_texts(given, 8, REPORT_LENGTH, V)
    model = student.LanguageModel(V)
    yield over_budget(model.call("state_dict"))
    model.call("eval")
    logits = model(ids)
    small, few = some_texts(given, 5, 3, 31), student.LanguageModel(31)
    for name, answer, texts, vocab_size in (("logits", logits, ids, V), ("another vocabulary", few(small), small, 31)):
        yield case(
            name,
            answer,
            torch.zeros(*texts.shape, vocab_size),
            axes="B T V",
            measure=no_shares,
            at_least=1,
            measures="the share of positions whose logits are not probabilities",
        )
    yield case("START alone", model(ids[:, :1]), torch.zeros(8, 1, V), axes="B T V", measure=lambda _: 1.0)

    shape = torch.zeros(8, REPORT_LENGTH, V)
    later = model(another(given, ids, slice(6, None), V))
    yield case(
        "another end",
        later,
        shape,
        measure=lambda value: ahead(value, logits.value),
        at_most=1e-4,
        weight=2,
        measures="the change of a prediction by words that come later",
    )
    earlier = model(another(given, ids, slice(1, 2), V))
    yield case(
        "another beginning",
        earlier,
        shape,
        measure=lambda value: behind(value, logits.value),
        at_least=1e-6,
        measures="the change of the last prediction by the first word",
        weight=2,
    )
    learner = student.fixture("Rehearsal")
    twice = logits if logits.failure else learner.call("twice", model, ids)
    yield case(
        "the same once more",
        twice,
        measure=lambda pair: apart(*pair),
        at_most=1e-5,
        measures="in evaluation mode, the change of the logits from one call to the next",
    )
    alone = model(ids[:3])
    yield case(
        "in other company",
        alone,
        shape[:3],
        measure=lambda value: apart(value, head(logits.value, 3)),
        at_most=1e-4,
        measures="the change of a text's logits by the other texts of the batch",
    )
    losses = logits if logits.failure else learner.call("learn", student.LanguageModel(V), ids, 40, 0.01)
    yield case(
        "before it learns",
        losses,
        measure=lambda value: value[0],
        at_most=GUESSING,
        measures="the loss of a new model, which is 4.95 where all words are as likely as each other,",
    )
    yield case(
        "eight texts by heart",
        losses,
        measure=lambda value: value[-1],
        at_most=LEARNED_BY_HEART,
        weight=2,
        measures="the loss on eight texts, after forty steps of AdamW on them,",
    )


def head(value: Any, count: int) -> Any:
    """The first texts of a batch."""
    return value[:count] if isinstance(value, Tensor) else None


def comparable(value: Any, before: Any) -> bool:
    """Whether both are logits (B, T, V) of the same texts."""
    both = isinstance(value, Tensor) and isinstance(before, Tensor)
    return both and value.shape == before.shape and value.ndim == 3


def ahead(value: Any, before: Any, column: int = 6) -> float:
    """How far predictions have moved that have not read a column yet, nor any behind it."""
    if not comparable(value, before):
        return math.inf
    return apart(value[:, :column], before[:, :column])


def behind(value: Any, before: Any) -> float:
    """How far the last predictions have moved."""
    if not comparable(value, before):
        return math.nan
    return float((value - before)[:, -1].abs().amax(dim=-1).min())


def are_shares(logits: Any) -> bool:
    """Whether what should be logits are probabilities."""
    return (
        isinstance(logits, Tensor) and bool((logits >= 0).all()) and bool(((logits.sum(dim=-1) - 1).abs() < 1e-3).all())
    )


def no_shares(logits: Tensor) -> float:
    """1 where logits are no probabilities, as they must not be."""
    return 0.0 if are_shares(logits) else 1.0


def steady(evidence: Evidence) -> bool:
    """Whether the model says the same of the same texts."""
    return evidence.measured.get("the same once more", math.inf) <= 1e-5


language_model.hints(
    "Begin with what chapter 9 has: a table of words, a table of positions, a few `Layer`s, a norm, and the table of "
    "words again for the logits. `sum(p.numel() for p in model.parameters())` tells you how large it is.",
    "With width 32 and one layer the whole keeps 17,632 numbers: `self.tokens = nn.Embedding(vocab_size, 32)`, "
    "`self.positions = nn.Embedding(11, 32)`, `Layer(32, num_heads=2)`, `nn.LayerNorm(32)`. Draw the two tables small, "
    "`nn.init.normal_(table.weight, std=0.05)`, since they score the words, too.",
)
READS = "for layer in self.layers:\n            x = layer(x)\n"
language_model.misconception_patch(
    "looks_ahead",
    "A prediction changes when a later word does: the model sees what it is to predict. Whatever mixes positions, "
    "be it attention, a mean or a norm, may take in earlier ones only.",
    (READS, "x = x + x.mean(dim=1, keepdim=True)\n        " + READS),
    probe=lambda evidence: (
        steady(evidence) and 1e-4 < ahead(evidence.get("another end"), evidence.get("logits")) < math.inf
    ),
)
language_model.misconception_patch(
    "one_word_alone",
    "The last prediction does not hang on the first word: the model reads each word by itself, and can know no more "
    "than which word follows which. Something must carry what was read before to where it is needed.",
    (READS, "pass\n"),
    probe=lambda evidence: steady(evidence) and behind(evidence.get("another beginning"), evidence.get("logits")) == 0,
)
language_model.misconception_patch(
    "probabilities",
    "These are probabilities, which sum to 1; logits are asked for. The loss makes the softmax itself, and a second "
    "one flattens it.",
    ("self.tokens.weight.T", "self.tokens.weight.T).softmax(dim=-1)"),
    ("return self.read(ids) @", "return (self.read(ids) @"),
    probe=lambda evidence: are_shares(evidence.get("logits")),
)
language_model.misconception_patch(
    "last_position_alone",
    "There is one row of logits for each text; there should be one for each position, so that every word of a text is "
    "something to learn from.",
    ("return self.read(ids) @ self.tokens.weight.T", "return self.read(ids)[:, -1] @ self.tokens.weight.T"),
    probe=lambda evidence: isinstance(evidence.get("logits"), Tensor) and evidence["logits"].ndim == 2,
)
language_model.misconception_patch(
    "one_vocabulary",
    "The size of the vocabulary is written into the model: use `vocab_size`, which is handed in.",
    ("nn.Embedding(vocab_size, D)", "nn.Embedding(141, D)"),
    probe=lambda evidence: (
        isinstance(evidence.get("another vocabulary"), Tensor)
        and evidence["another vocabulary"].ndim == 3
        and evidence["another vocabulary"].shape[-1] != 31
    ),
)
language_model.misconception_patch(
    "dropout_always",
    "In evaluation mode the same texts get other logits each time: `F.dropout` needs `training=self.training`; an "
    "`nn.Dropout` knows by itself.",
    (READS, "x = F.dropout(x, 0.1)\n        " + READS),
    probe=lambda evidence: 1e-5 < evidence.measured.get("the same once more", 0.0) < math.inf,
)
language_model.misconception_patch(
    "across_the_batch",
    "The logits of a text hang on the other texts of the batch: the first axis is the batch, and nothing may be mixed "
    "along it.",
    (READS, "x = x + x.mean(dim=0, keepdim=True)\n        " + READS),
    probe=lambda evidence: (
        steady(evidence)
        and ahead(evidence.get("another end"), evidence.get("logits")) <= 1e-4
        and 1e-4 < apart(evidence.get("in other company"), head(evidence.get("logits"), 3)) < math.inf
    ),
)
language_model.misconception_patch(
    "drawn_large",
    "A new model is sure of what it cannot know yet, and has to unlearn it first: the table of words scores them, too, "
    "so draw it small, with a standard deviation of about 0.05.",
    ("std=0.05", "std=1.0"),
    probe=lambda evidence: GUESSING < evidence.measured.get("before it learns", 0.0) < math.inf,
)
LAYERS = "self.layers = nn.ModuleList([Layer(D, num_heads=2)])"
language_model.alternative_patch(
    "a_running_mean",
    (LAYERS, "self.inner = nn.Sequential(nn.Linear(D, 2 * D), nn.GELU(), nn.Linear(2 * D, D))"),
    (
        READS,
        "places = torch.arange(1, x.shape[1] + 1)[:, None]\n        x = x + self.inner(x.cumsum(dim=1) / places)\n",
    ),
)
language_model.alternative_patch(
    "a_recurrent_network",
    (LAYERS, "self.memory = nn.GRU(D, D, batch_first=True)"),
    (READS, "x = x + self.memory(x)[0]\n"),
)
language_model.alternative_patch(
    "an_output_of_its_own",
    ("self.norm = nn.LayerNorm(D)\n", "self.norm = nn.LayerNorm(D)\n        self.output = nn.Linear(D, vocab_size)\n"),
    ("return self.read(ids) @ self.tokens.weight.T", "return self.output(self.read(ids))"),
)
language_model.alternative_patch(
    "two_narrow_layers",
    ("D = 32", "D = 24"),
    ("[Layer(D, num_heads=2)]", "Layer(D, num_heads=3) for _ in range(2)"),
)


def perplexity_of(logits: Any, ids: Tensor) -> float:
    """The perplexity of words behind START; not a number where these are no logits for them."""
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
        return math.nan
    return math.exp(min(80.0, float(F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten()))))


PERPLEXITIES = {80: 2.0, 46: 3.0, 41: 3.0, 37: 2.0}
"""Thresholds and their weights. Over forty seeds the frequencies of the words reach 80 to 87, which word follows which
48 to 51, half of the budget 38 to 78, and the worked answer 31 to 33."""


class Pretrained(NamedTuple):
    """What a student's pretraining came to.

    Attributes:
        model: a new model that has what the trained one keeps, so that anything kept elsewhere is lost; or why there is
            none.
        weights: what it keeps.
        spent: tokens left and draws, by the supply.
        within: whether it keeps no more numbers than it may.
    """

    model: Answer
    weights: Answer
    spent: Answer
    within: bool


def pretrained(student: Student, here: Exam) -> Pretrained:
    """What the student's model keeps once the student's pretraining has trained it."""
    model = student.LanguageModel(V)
    supply = student.fixture("text_supply", here.train, TOKENS)
    done = student.pretrain(model, supply)
    if done.failure:
        return Pretrained(done, done, done, False)
    weights = model.call("state_dict")
    kept = weights if weights.failure else student.LanguageModel(V).load(weights.value)
    within = not weights.failure and numbers_kept(weights.value) <= NUMBERS
    return Pretrained(kept, weights, supply.call("report"), within)


@task("pretrain", seconds=20, needs=("LanguageModel",))
def pretrain(student: Student, given: Given) -> Iterator[Case]:
    """Next words, for as long as the budget of text lasts; judged by what the model keeps, on text that is new."""
    here = exam(given.seed())
    trained = pretrained(student, here)
    yield over_budget(trained.weights)
    yield case("what was drawn", trained.spent, weight=0, measure=lambda _: 1.0)
    ids = here.secret[:300]
    logits, changed = trained.model(ids), trained.model(another(given, ids, slice(6, None), V))
    causal = ahead(changed.value, logits.value) <= 1e-3
    yield case(
        "another end",
        changed,
        torch.zeros(*ids.shape, V),
        axes="B T V",
        at_most=1e-3,
        weight=0.5,
        measure=lambda value: ahead(value, logits.value),
        measures="the change of a prediction by words that come later",
    )
    fair = trained.within and causal
    yield case("repeats", logits, weight=0, measure=lambda value: repeats(value, ids))
    told = "" if fair else ", which counts only within the budget and without a look ahead,"
    for threshold, weight in PERPLEXITIES.items():
        yield case(
            f"perplexity {threshold}",
            logits,
            torch.zeros(*ids.shape, V),
            axes="B T V",
            measure=lambda value: perplexity_of(value, ids) if fair else math.inf,
            at_most=threshold,
            measures=f"the perplexity of reports that nobody saw{told}",
            weight=weight,
        )


def repeats(logits: Any, ids: Tensor) -> float:
    """The share of positions at which the likeliest next word is the word just read."""
    if not isinstance(logits, Tensor) or logits.shape[:-1] != ids.shape:
        return math.nan
    return float((logits.argmax(dim=-1) == ids)[:, 1:].float().mean())


def draws_of(evidence: Evidence) -> tuple[int, int]:
    """How many tokens were left over, and how many batches were drawn."""
    report: tuple[int, list[int]] = evidence.get("what was drawn") or (0, [])
    return int(report[0]), len(report[1])


FEW = 60
"""Batches; the worked answer draws 250."""


def well_fed(evidence: Evidence) -> bool:
    """Whether the budget was spent, in more than a few steps."""
    left, batches = draws_of(evidence)
    return left < TOKENS / 5 and batches >= FEW


pretrain.hints(
    "For each batch of `budget_batches(supply, …)`: the logits `model(ids)`, the cross-entropy of those at positions "
    "0 … T − 2 with the words at 1 … T − 1, `zero_grad`, `backward`, `step`. Small batches make many steps out of the "
    "same text.",
    "AdamW with a rate of 0.01 and batches of 16 reports is a good beginning. A rate that falls toward 0 at the end is "
    "worth another unit of perplexity or two: `supply.left` tells you how far you are.",
)
LEARNS = "F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())"
STEPS = "        optimizer.step()\n"
pretrain.misconception_patch(
    "no_shift",
    "The model has learned to repeat the word that it has just read: compare the logits at position t with the word at "
    "t + 1, not with the one at t.",
    (LEARNS, "F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())"),
    probe=lambda evidence: evidence.measured.get("repeats", 0.0) > 0.5,
)
pretrain.misconception_patch(
    "never_moves",
    "The model is as far from the text as it was at the beginning. Each batch needs `optimizer.zero_grad()`, without "
    "which the old gradients pile up, then `backward()`, then `optimizer.step()`, with a rate that is not 0; and does "
    "the optimizer have the parameters of this `model`?",
    (STEPS, ""),
    probe=lambda evidence: (
        well_fed(evidence)
        and 110 < evidence.measured.get("perplexity 80", 0.0) < math.inf
        and evidence.measured.get("repeats", 1.0) <= 0.5
    ),
)
pretrain.misconception_patch(
    "stops_early",
    "A good part of the budget was never drawn: go over the batches until there are no more.",
    (STEPS, STEPS + "        if supply.left < 0.75 * total:\n            break\n"),
    probe=lambda evidence: draws_of(evidence)[0] >= TOKENS / 5,
)
pretrain.misconception_patch(
    "a_few_large_steps",
    "The whole budget went into a few large steps: the same text makes more steps of smaller batches, and this model "
    "needs the steps.",
    ("budget_batches(supply, 20)", "budget_batches(supply, 160)"),
    probe=lambda evidence: draws_of(evidence)[0] < TOKENS / 5 and 0 < draws_of(evidence)[1] < FEW,
)
SCHEDULE = "min(1.0, 2 * supply.left / total)"
pretrain.alternative_patch(
    "smaller_batches_and_clipping",
    ("budget_batches(supply, 20)", "budget_batches(supply, 16)"),
    (STEPS, "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n" + STEPS),
    ("torch.optim.AdamW(model.parameters(), lr=0.012)", "torch.optim.Adam(list(model.parameters()), 0.012)"),
)
pretrain.alternative_patch("a_rate_that_stays", (SCHEDULE, "0.8"))
pretrain.alternative_patch(
    "drawn_before_reading",
    ("budget_batches(supply, 20)", "reversed(list(budget_batches(supply, 20)))"),
    (SCHEDULE, "0.8"),
)

ACCURACIES = {0.35: 2.0, 0.6: 3.0, 0.8: 3.0, 0.9: 2.0}
"""Thresholds and their weights. Over forty seeds a new model that learns the eight reports reaches 0.33 to 0.57,
counting their words 0.53 to 0.72, a pretrained model all of which learns them 0.85 to 1, and the worked answer 0.98 and
more."""


@task("fine_tune", seconds=20, needs=("LanguageModel", "pretrain"))
def fine_tune(student: Student, given: Given) -> Iterator[Case]:
    """Eight reports with their topics, a pretrained model, and a new layer."""
    here = exam(given.seed())
    trained = pretrained(student, here)
    classifier = trained.model if trained.model.failure else student.fine_tune(trained.model, here.labeled, here.labels)
    if not classifier.failure:
        classifier.call("eval")  # what is no module has no modes
    known, secret = classifier(here.labeled), classifier(here.secret)
    yield over_budget(known if known.failure else trained.weights)
    told = "" if trained.within else ", which counts only within the budget,"
    yield case(
        "the eight reports themselves",
        known,
        torch.zeros(len(here.labels), len(TOPICS)),
        axes="B C",
        measure=lambda value: accuracy_of(value, here.labels),
        at_least=0.87,
        measures="the share of the eight reports that it gets right",
    )
    yield case("alike", secret, weight=0, measure=lambda value: apart(value, repeated(value)))
    for threshold, weight in ACCURACIES.items():
        yield case(
            f"accuracy {threshold}",
            secret,
            torch.zeros(len(here.topics), len(TOPICS)),
            axes="B C",
            measure=lambda value: accuracy_of(value, here.topics) if trained.within else 0.0,
            at_least=threshold,
            measures=f"the accuracy on reports that nobody saw{told}",
            weight=weight,
        )


def repeated(logits: Any) -> Any:
    """The first row in the place of all."""
    return logits[:1].expand_as(logits) if isinstance(logits, Tensor) and logits.ndim else None


def accuracy_of(logits: Any, labels: Tensor) -> float:
    """The share of examples whose own class has the highest logit; not a number where these are no such logits."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(labels):
        return math.nan
    return float((logits.argmax(dim=-1) == labels).float().mean())


def all_alike(evidence: Evidence) -> bool:
    """Whether all reports get the same logits."""
    return evidence.measured.get("alike", 1.0) < 1e-4


def knows_the_eight(evidence: Evidence) -> bool:
    return evidence.measured.get("the eight reports themselves", 0.0) >= 0.87


fine_tune.hints(
    "The classifier reads with `self.model.read(ids)`, (B, T, D), takes the mean over the words, and a linear layer "
    "makes a logit for each topic of it. The optimizer gets the parameters of the whole classifier, the pretrained "
    "ones and the new ones.",
    "Eight reports cannot teach the model anything about words that it does not know better. Let the new layer learn "
    "alone, `torch.optim.AdamW(classifier.head.parameters(), lr=0.05)`, for forty steps on the eight together, or the "
    "rest with a rate a hundred times as small.",
)
fine_tune.misconception_patch(
    "from_scratch",
    "It knows its eight reports, and hardly which words belong together: what pretraining has taught is not used, or "
    "washed away by steps that are too large. Build on the `model` that is handed in, and change it little.",
    ("classifier = Classifier(model)", "classifier = Classifier(LanguageModel(len(VOCABULARY)))"),
    probe=lambda evidence: (
        knows_the_eight(evidence) and not all_alike(evidence) and 0 < evidence.measured.get("accuracy 0.35", 1.0) < 0.78
    ),
)
fine_tune.misconception_patch(
    "reads_the_first_position",
    "All reports get the same logits: position 0 has seen nothing but START. Read where the words have been seen.",
    ("[:, 1:].mean(dim=1)", "[:, 0]"),
    probe=all_alike,
)
fine_tune.misconception_patch(
    "never_learns",
    "Not even the eight reports are learned: does the optimizer have the parameters of the new layer, are the old "
    "gradients taken away in each round, and is there a step behind each `backward()`?",
    (STEPS, ""),
    probe=lambda evidence: (
        not all_alike(evidence) and 0 <= evidence.measured.get("the eight reports themselves", 1.0) < 0.87
    ),
)
HEAD = "torch.optim.AdamW(classifier.head.parameters(), lr=0.05)"
fine_tune.alternative_patch(
    "two_rates",
    (
        HEAD,
        "torch.optim.AdamW([{'params': classifier.head.parameters(), 'lr': 0.05},\n"
        "        {'params': model.parameters(), 'lr': 0.0003}])",
    ),
)
fine_tune.alternative_patch(
    "report_by_report",
    (
        "loss = F.cross_entropy(classifier(ids), topics)",
        "losses = [F.cross_entropy(classifier(ids[i : i + 1]), topics[i : i + 1]) for i in range(len(ids))]\n"
        "        loss = sum(losses) / len(losses)",
    ),
)
fine_tune.alternative_patch(
    "the_nearest_mean",
    ("return self.head(", "return self.near("),
    (
        "    def forward(self, ids):\n",
        "    def near(self, vectors):\n"
        "        return -torch.cdist(vectors, self.means)\n\n"
        "    def forward(self, ids):\n",
    ),
    (
        "    classifier.train()\n",
        "    with torch.no_grad():\n"
        "        read = model.read(ids)[:, 1:].mean(dim=1)\n"
        "    classifier.means = torch.stack([read[topics == topic].mean(dim=0) for topic in range(len(TOPICS))])\n"
        "    return lambda ids: classifier(ids)\n",
    ),
)

FITS = {0.4: 2.0, 0.6: 2.0, 0.8: 2.0}
"""Thresholds and their weights. By chance one topic word in eight fits."""

MANY = 9
"""How many different topic words there must be at least in forty texts behind one prompt."""


@task("write_on", seconds=20, needs=("LanguageModel", "pretrain"))
def write_on(student: Student, given: Given) -> Iterator[Case]:
    """What fits the beginning, and is not always the same."""
    here = exam(given.seed())
    one_way = torch.cat([given.permutation(V - 1), given.integers(0, V - 1, 1)])  # START never follows
    after = torch.zeros(V, V).scatter(1, one_way[:, None], 300.0)
    speaker = student.fixture("PublicSpeaker", after, torch.zeros(V, V), torch.zeros(REPORT_LENGTH, V))
    prompts = some_texts(given, 7, PROMPT, V)
    right = prompts
    for _ in range(WRITTEN):
        right = torch.cat([right, one_way[right[:, -1:]]], dim=1)

    def writes(model: Answer, prompts: Tensor, count: int, seed: int) -> Answer:
        """What the student's function writes."""
        return student.write_on(model, prompts, count, student.fixture("generator", seed))

    seed, other_seed = given.seed(), given.seed()
    first = writes(speaker, prompts, WRITTEN, seed)
    yield case("one way on", first, right, axes="B T", weight=2)
    one_word = right[:1, : PROMPT + 1]
    yield case("ready", first, weight=0, measure=lambda value: float(same_rows(value, right) == 1.0))
    yield case("one word behind one prompt", writes(speaker, prompts[:1], 1, seed), one_word, axes="B T")

    ready = same_rows(first.value, right) == 1.0
    model = pretrained(student, here).model if ready else speaker
    count = len(here.prompts)
    texts = writes(model, here.prompts, WRITTEN, seed)
    shape = torch.zeros(count, PROMPT + WRITTEN, dtype=torch.long)
    again = writes(model, here.prompts, WRITTEN, seed)
    before = texts.value if isinstance(texts.value, Tensor) and texts.value.shape == shape.shape else shape
    yield case("the same seed once more", again, before, axes="B T", telling=False)
    yield case(
        "another seed",
        writes(model, here.prompts, WRITTEN, other_seed),
        shape,
        axes="B T",
        measure=lambda value: same_rows(value, texts.value),
        at_most=0.6,
        measures="the share of texts that are the same with another seed",
    )
    shown = "" if ready else ", with a stand-in for your model, since the first case is not right yet,"
    for threshold, weight in FITS.items():
        yield case(
            f"fitting {threshold}",
            texts,
            shape,
            axes="B T",
            measure=lambda value: fitting(value, here.prompts, here.wanted, here.topic_of),
            at_least=threshold,
            measures=f"the share of topic words written that are of the prompt's own topic{shown}",
            weight=weight,
        )

    def fits() -> bool:
        return not texts.failure and fitting(texts.value, here.prompts, here.wanted, here.topic_of) >= min(FITS)

    many = writes(model, here.prompts[:1].repeat(40, 1), WRITTEN, seed)
    yield case(
        "forty texts behind one prompt",
        many,
        shape[:40],
        axes="B T",
        measure=lambda value: different(value, here.topic_of) if fits() else 0.0,
        at_least=MANY,
        measures="the number of different topic words in forty texts behind one prompt, which counts where they fit,",
        weight=2,
    )


def same_rows(one: Any, other: Any) -> float:
    """The share of texts that are the same."""
    if not (isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape):
        return math.nan
    return float((one == other).all(dim=1).float().mean())


def fitting(texts: Any, prompts: Tensor, wanted: Tensor, topic_of: Tensor) -> float:
    """Of the topic words behind the prompts, the share of those that are of the prompt's topic.

    0 where a prompt does not stand at the beginning of its text, or fewer than one word in five is a topic word.
    """
    if not isinstance(texts, Tensor) or texts.dtype != torch.long or texts.ndim != 2 or len(texts) != len(prompts):
        return 0.0
    if not torch.equal(texts[:, :PROMPT], prompts):
        return 0.0
    if int(texts.min()) < 0 or int(texts.max()) >= V:
        return 0.0
    topics = topic_of[texts[:, PROMPT:]]
    said = topics >= 0
    if said.float().mean() < 0.2:
        return 0.0
    return float((topics == wanted[:, None])[said].float().mean())


def different(texts: Tensor, topic_of: Tensor) -> float:
    """How many different topic words stand behind the prompts."""
    if int(texts.min()) < 0 or int(texts.max()) >= V:
        return 0.0
    words = texts[:, PROMPT:]
    return float(len(words[topic_of[words] >= 0].unique()))


def words_written(evidence: Evidence) -> Tensor | None:
    """What was written where there was one way on; None if that is no such text."""
    texts = evidence.get("one way on")
    if isinstance(texts, Tensor) and texts.shape == (7, PROMPT + WRITTEN):
        return texts[:, PROMPT:]
    return None


def repeats_itself(evidence: Evidence) -> bool:
    """Whether each text goes on with one word over and over."""
    words = words_written(evidence)
    return words is not None and bool((words == words[:, :1]).all())


def hangs_on_nothing(evidence: Evidence) -> bool:
    """Whether all texts go on with the same words."""
    words = words_written(evidence)
    return words is not None and bool((words == words[:1]).all())


write_on.hints(
    "In a loop: read what is there, take the logits at the last position, draw the next word of their softmax with "
    "`torch.multinomial(…, 1, generator=generator)`, and append it with `torch.cat`.",
    "Divided by a temperature of about 0.7, the logits favor what fits, and there is still a choice. Work under "
    "`torch.no_grad()`.",
)
DRAWN = "torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)"
write_on.misconception_patch(
    "always_the_likeliest",
    "Behind the same prompt it writes the same text each time, the small words above all: the likeliest word alone is "
    "safe, and says little. Draw the word.",
    (DRAWN, "logits.argmax(dim=-1, keepdim=True)"),
    probe=lambda evidence: (
        isinstance(evidence.get("forty texts behind one prompt"), Tensor)
        and evidence["forty texts behind one prompt"].ndim == 2
        and len(evidence["forty texts behind one prompt"].unique(dim=0)) == 1
        and evidence.measured.get("another seed", 0.0) == 1.0
        and evidence.measured.get("ready") == 1.0
    ),
)
write_on.misconception_patch(
    "generator_ignored",
    "Another seed makes no difference: hand `generator` on to what draws.",
    (", generator=generator", ""),
    probe=lambda evidence: (
        evidence.measured.get("ready") == 1.0
        and evidence.measured.get("another seed", 0.0) == 1.0
        and isinstance(evidence.get("forty texts behind one prompt"), Tensor)
        and len(evidence["forty texts behind one prompt"].unique(dim=0)) > 1
    ),
)
write_on.misconception_patch(
    "too_hot",
    "What it writes hardly hangs on the prompt: the temperature divides the logits, and a large one makes all words "
    "alike.",
    ("/ 0.7", "/ 10"),
    probe=lambda evidence: (
        evidence.measured.get("ready") == 1.0
        and evidence.measured.get("another seed", 1.0) < 0.6
        and 0 < evidence.measured.get("fitting 0.4", 1.0) < min(FITS)
    ),
)
write_on.misconception_patch(
    "prompt_left_out",
    "What is returned are the new words alone: the prompt stands before them.",
    ("    return ids\n", "    return ids[:, prompts.shape[1] :]\n"),
    probe=lambda evidence: (
        isinstance(evidence.get("one way on"), Tensor) and evidence["one way on"].shape == (7, WRITTEN)
    ),
)
write_on.misconception_patch(
    "reads_the_prompt_alone",
    "The model is shown the prompt again and again, and never what it has written: read `ids`, to which the new word "
    "was appended.",
    ("model(ids)", "model(prompts)"),
    probe=lambda evidence: repeats_itself(evidence) and not hangs_on_nothing(evidence),
)
write_on.misconception_patch(
    "reads_the_first_position",
    "The same words stand behind all prompts: what comes next is said by the logits at the last position, [:, -1].",
    ("[:, -1]", "[:, 0]"),
    probe=lambda evidence: hangs_on_nothing(evidence),
)
write_on.alternative_patch(
    "the_best_twenty",
    (DRAWN, "torch.multinomial(best.values.softmax(dim=-1), 1, generator=generator)"),
    ("            following =", "            best = logits.topk(20)\n            following ="),
    ("following], dim=1)", "best.indices.gather(1, following)], dim=1)"),
)
write_on.alternative_patch(
    "text_by_text",
    (DRAWN, "torch.stack([torch.multinomial(row.softmax(0), 1, generator=generator) for row in logits])"),
    ("/ 0.7", "/ 0.8"),
)
write_on.alternative_patch(
    "into_a_table",
    ("    ids = prompts.clone()\n", "    ids = prompts[:]\n    model.eval() if hasattr(model, 'eval') else None\n"),
    ("prompts, count, generator)", "prompts, count, generator=None, temperature=0.7)"),
    ("/ 0.7", "/ temperature"),
)
