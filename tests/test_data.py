"""The datasets: what they hold, how they are split, and what happens when they are damaged or not here."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tokenizers import Tokenizer

from autograder.data import CARDS, NAMES, NO_STAND_INS, DataError, Document, StandInWarning, checks, load
from autograder.data.cards import Card
from autograder.data.checks import CACHE, cache_folder, check
from autograder.data.datasets import Dataset, FileDataset, ImageDataset, TextDataset, split_indices
from autograder.data.readers import READERS, by_text
from autograder.data.sources import OPTIONAL, REQUIRED, SOURCES, find, pins
from autograder.data.stand_ins import stand_in
from autograder.grading.sandbox import _environment
from autograder.reference.bert import Bert, BertConfig, load_pretrained
from autograder.reference.modern_decoder import load_gguf

ROOT = Path(__file__).resolve().parent.parent
SPLIT = ("wikipedia", "state_of_the_union", "king_james", "basic_english", "french_pairs", "digits", "mnist")
"""All that can be split, but for what is optional."""

Fake = Callable[[str], Path]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is remembered from elsewhere, and nothing is left behind."""
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.delenv(NO_STAND_INS, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def fake_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    """Makes a package with copies of a dataset's files, which may be damaged, and lets the dataset come from there."""

    def make(name: str) -> Path:
        found = find(name)
        assert found is not None
        folder = tmp_path / "site-packages" / f"fake_{name}"
        for file in SOURCES[name].files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (found.folder / file).is_dir() else shutil.copyfile
            copy(found.folder / file, folder / file)
        monkeypatch.syspath_prepend(str(folder.parent))
        monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], module=folder.name))
        return folder

    return make


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the package of a dataset be missing."""
    return lambda name: monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], module="no_such_package_of_data"))


def here(name: str) -> Dataset:
    """A dataset that is really here; the optional one may not be."""
    if SOURCES[name].is_optional and find(name) is None:
        pytest.skip(f"{name} is not installed: autograder data --install {name}")
    return load(name, allow_stand_in=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_loads_in_less_than_a_second_and_is_as_large_as_its_card_says(name, monkeypatch, tmp_path):
    seconds = []
    for attempt in range(3):
        monkeypatch.setenv(CACHE, str(tmp_path / str(attempt)))  # so that all checksums are computed, each time
        begin = time.perf_counter()
        dataset = here(name)
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 1, seconds
    assert dataset.name == name
    assert dataset.source == "package"
    assert dataset.card is CARDS[name]
    assert dataset.card.source is SOURCES[name]
    assert dataset.size() == dataset.card.size
    assert name in repr(dataset)
    assert len(dataset.sample().splitlines()) >= 1


def test_the_texts_hold_what_is_known_of_them():
    articles = load("wikipedia").documents
    assert len(articles) == 10_033
    assert Counter(article.label for article in articles) == {
        "People": 1828, "Biology and health sciences": 1358, "Geography": 1109, "": 1000, "Physical sciences": 974,
        "Society and social sciences": 785, "Arts": 668, "Technology": 628, "History": 615, "Everyday life": 424,
        "Philosophy and religion": 388, "Mathematics": 256,
    }  # fmt: skip
    assert "Silo" in {article.title for article in articles}

    addresses = load("state_of_the_union").documents
    assert len(addresses) == 249
    assert (addresses[0].id, addresses[0].title) == ("1790-Washington-1", "Washington, 1790")
    assert addresses[-1].id.startswith("2026")
    assert {"Van Buren", "McKinley"} < {address.label for address in addresses}

    king_james, basic_english = load("king_james").documents, load("basic_english").documents
    for chapters in (king_james, basic_english):
        assert len(chapters) == 1_189
        assert sum(len(chapter.text.splitlines()) for chapter in chapters) == 31_102
    assert [chapter.id for chapter in king_james] == [chapter.id for chapter in basic_english]
    assert {"Song of Solomon 1", "1 Samuel 1", "Revelation 22"} < {chapter.id for chapter in king_james}
    assert king_james[0].text.startswith("In the beginning God created the heaven and the earth.\nAnd the earth was")
    assert Counter(chapter.label for chapter in king_james) == {"Old Testament": 929, "New Testament": 260}


@pytest.mark.parametrize("name", ["wikipedia", "state_of_the_union", "king_james", "basic_english", "movie_reviews"])
def test_every_document_has_a_text_and_an_id_of_its_own(name):
    documents = here(name).documents
    assert len({document.id for document in documents}) == len(documents)
    assert all(document.text.strip() for document in documents)


def test_the_pairs_are_translations_of_each_other():
    pairs = load("french_pairs").pairs
    assert len(pairs) == 31_102
    assert sum(max(len(english.split()), len(french.split())) <= 20 for english, french in pairs) == 9_655
    assert pairs[0] == (
        "At the first God made the heaven and the earth.",
        "Au commencement, Dieu créa les cieux et la terre.",
    )
    assert [english for english, _ in pairs] == [
        verse for chapter in load("basic_english").documents for verse in chapter.text.splitlines()
    ]


def test_the_vectors_are_those_that_were_published():
    glove = load("glove")
    assert glove.vectors.shape == (400_000, 50)
    assert glove.vectors.dtype == np.float32
    assert glove.words[:5] == ["the", ",", ".", "of", "to"]
    # The words as another reader of Parquet files, pyarrow, gives them.
    written = "\n".join(glove.words).encode()
    assert hashlib.sha256(written).hexdigest() == "029a7168ebc71f71e23e1f6ae94967234a13dcd64717754746c171be20d31a77"
    # The first numbers of the file that Stanford publishes.
    assert glove.vectors[0, :3].tolist() == pytest.approx([0.418, 0.24968, -0.41242])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.from_numpy(np.asarray(glove.vectors))[0, 0] = 5
    assert load("glove").vectors[0, 0] == pytest.approx(0.418)


def test_the_judgments_and_the_analogies_are_complete():
    similarity = load("similarity")
    assert [len(similarity.pairs(name)) for name in ("wordsim353", "simlex999")] == [353, 999]
    assert similarity.pairs("wordsim353")[1] == ("tiger", "cat", 7.35)
    assert similarity.pairs("simlex999")[1] == ("smart", "intelligent", 9.2)
    assert len(similarity.analogies) == 19_544
    assert len({section for section, *_ in similarity.analogies}) == 14
    assert similarity.analogies[0] == ("capital-common-countries", "Athens", "Greece", "Baghdad", "Iraq")
    with pytest.raises(DataError, match="wordsim353, simlex999"):
        similarity.pairs("wordsim")


def test_the_images_are_those_of_scikit_learn_and_as_many_of_each_digit():
    from sklearn.datasets import load_digits

    digits, mnist = load("digits"), load("mnist")
    assert (digits.images * 16 == load_digits().images).all()
    assert (digits.labels == load_digits().target).all()
    assert mnist.images.shape == (5_000, 28, 28)
    assert np.bincount(mnist.labels).tolist() == [500] * 10
    for dataset in (digits, mnist):
        assert (dataset.images.dtype, dataset.labels.dtype) == (np.float32, np.int64)
        assert (dataset.images.min(), dataset.images.max()) == (0, 1)


def test_the_models_are_files():
    minilm = load("minilm")
    assert json.loads(minilm.file("config.json").read_text())["hidden_size"] == 384
    assert len(minilm.file("vocab.txt").read_text().splitlines()) == 30_522
    assert minilm.file("model.safetensors").stat().st_size == 90_868_376
    assert load("smollm2").file("SmolLM2-135M-Instruct.Q4_1.gguf").read_bytes()[:4] == b"GGUF"
    with pytest.raises(DataError, match=r"choose one of model.safetensors"):
        minilm.file("weights.bin")


def test_packages_are_read_and_not_imported():
    program = (
        "import sys; from autograder.data import NAMES, load; from autograder.data.sources import SOURCES, find\n"
        "for name in NAMES: find(name) and load(name)\n"
        "print(*({source.module for source in SOURCES.values()} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"


def split_numbers(dataset: Any) -> list[list[int]]:
    """Which examples are in which part of a split."""
    if isinstance(dataset, TextDataset):
        number = {document.id: number for number, document in enumerate(dataset.documents)}
        return [[number[document.id] for document in part] for part in dataset.split(seed=0)]
    if isinstance(dataset, ImageDataset):
        numbered = replace(dataset, labels=np.arange(len(dataset.labels)))
        return [part.labels.tolist() for part in numbered.split(seed=0)]
    numbered = replace(dataset, pairs=[(number, "") for number in range(len(dataset.pairs))])
    return [[number for number, _ in part] for part in numbered.split(seed=0)]


@pytest.mark.parametrize("name", [*SPLIT, "movie_reviews"])
def test_a_split_shares_out_every_example_once_and_in_order(name):
    dataset = here(name)
    parts = split_numbers(dataset)
    count = next(iter(dataset.size().values()))
    assert sorted(number for part in parts for number in part) == list(range(count))
    assert all(part == sorted(part) for part in parts)
    assert [len(part) / count for part in parts] == pytest.approx([0.8, 0.1, 0.1], abs=0.06)


def test_a_split_is_the_same_everywhere():
    test = [chapter.id for chapter in load("king_james").split(seed=0).test]
    assert test[:4] == ["Genesis 4", "Genesis 12", "Genesis 19", "Genesis 25"]
    assert [chapter.id for chapter in load("king_james").split(seed=1).test] != test
    assert split_indices("abcdefghijklmnop", seed=7, held_out=0.3) == (
        [0, 1, 2, 4, 5, 6, 9, 10, 12],
        [3, 11, 15],
        [7, 8, 13, 14],
    )


def test_all_translations_hold_out_the_same_chapters():
    splits = [load(name).split(seed=3) for name in ("king_james", "basic_english")]
    ids = [[[chapter.id for chapter in part] for part in split] for split in splits]
    assert ids[0] == ids[1]
    verses = [[verse for chapter in part for verse in chapter.text.splitlines()] for part in splits[1]]
    assert [[english for english, _ in part] for part in load("french_pairs").split(seed=3)] == verses


@pytest.mark.parametrize("seed", range(5))
def test_what_belongs_together_is_in_one_part(seed):
    parts = load("state_of_the_union").split(seed)
    addresses = [{address.id.rsplit("-", 1)[0] for address in part} for part in parts]
    assert not addresses[0] & addresses[1] | addresses[0] & addresses[2] | addresses[1] & addresses[2]
    assert sum(map(len, addresses)) < 249


def test_the_same_text_under_two_titles_is_in_one_part():
    documents = [Document(f"{copy} {number}", f"Text {number}.") for number in range(300) for copy in ("One", "two")]
    documents += [Document(f"Third {number}", f"text\n{number}") for number in range(300)]
    parts = TextDataset("texts", Card("", "", "", {}), "stand-in", documents, by_text).split()
    numbers = [Counter(document.id.split()[1] for document in part) for part in parts]
    assert all(count == 3 for part in numbers for count in part.values())


def test_the_same_image_is_in_one_part():
    images = np.repeat(np.random.default_rng(0).random((200, 2, 3), np.float32), 2, axis=0)
    parts = ImageDataset("images", Card("", "", "", {}), "stand-in", images, np.arange(400) // 2).split()
    assert all(count == 2 for part in parts for count in Counter(part.labels.tolist()).values())


keys = st.lists(st.text(max_size=3), max_size=30)


@given(keys, st.text(max_size=3), st.integers(0, 5), st.floats(0, 0.49))
def test_one_more_example_moves_no_other(keys, key, seed, held_out):
    before, after = split_indices(keys, seed, held_out), split_indices([*keys, key], seed, held_out)
    assert all(set(old) <= set(new) for old, new in zip(before, after, strict=True))


@given(keys, st.integers(0, 5), st.tuples(st.floats(0, 0.49), st.floats(0, 0.49)).map(sorted))
def test_less_held_out_moves_examples_to_training_only(keys, seed, shares):
    less, more = (split_indices(keys, seed, share) for share in shares)
    assert set(less.validation) <= set(more.validation)
    assert set(less.test) <= set(more.test)


def test_a_share_held_out_must_leave_something_for_training():
    with pytest.raises(ValueError, match=r"below 0.5"):
        split_indices(["a"], 0, 0.5)


@pytest.mark.parametrize("name", ["king_james", "digits", "wikipedia"])
def test_a_file_that_was_changed_is_refused_though_its_size_and_time_are_the_same(name, fake_package):
    folder = fake_package(name)
    assert load(name).source == "package"
    path = folder / next(iter(SOURCES[name].files))
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(DataError, match=f"checksum of .*{path.name} is wrong.*autograder data --install {name}`"):
        load(name)


@pytest.mark.parametrize("name", ["king_james", "similarity", "state_of_the_union"])
def test_a_truncated_file_is_refused(name, fake_package):
    folder = fake_package(name)
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(DataError, match="is wrong, so it is damaged or another version"):
        load(name)
    with pytest.raises(DataError):
        load(name, allow_stand_in=False)


def test_one_more_text_or_one_less_is_noticed(fake_package):
    folder = fake_package("state_of_the_union") / "data" / "speeches"
    (folder / "2027-Nobody-1.txt").write_text("My fellow citizens!")
    with pytest.raises(DataError, match="speeches is wrong"):
        load("state_of_the_union")
    (folder / "2027-Nobody-1.txt").unlink()
    assert len(load("state_of_the_union").documents) == 249
    (folder / "1790-Washington-1.txt").unlink()
    with pytest.raises(DataError, match="speeches is wrong"):
        load("state_of_the_union")


def test_a_large_file_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "LARGE", 3)
    read = []
    digest = checks.digest
    monkeypatch.setattr(checks, "digest", lambda path: read.append(path) or digest(path))
    path = tmp_path / "file"
    path.write_bytes(b"right")
    sha256 = hashlib.sha256(b"right").hexdigest()
    assert check(path, sha256)
    assert check(path, sha256)
    assert len(read) == 1
    assert not check(path, hashlib.sha256(b"other").hexdigest())
    stat = path.stat()
    path.write_bytes(b"wrong")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not check(path, sha256)
    assert not check(path, sha256)


def test_where_nothing_can_be_written_data_load_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "a file").touch()
    monkeypatch.setenv(CACHE, str(tmp_path / "a file" / "below"))
    assert load("smollm2").source == "package"


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "~/.cache/autograder"),
        ("linux", {"XDG_CACHE_HOME": "/elsewhere"}, "/elsewhere/autograder"),
        ("darwin", {}, "~/Library/Caches/autograder"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/autograder/Cache"),
        ("win32", {}, "~/AppData/Local/autograder/Cache"),
    ],
)
def test_the_cache_is_where_the_platform_has_it(platform, variables, folder, monkeypatch):
    for name in (CACHE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == Path(folder).expanduser()


def test_installed_data_are_found_without_a_home_folder_and_without_either_the_error_says_what_to_do(monkeypatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in (CACHE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    found = find("digits")
    assert found is not None
    assert found.origin == "package"
    monkeypatch.setattr("autograder.data.sources.importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=CACHE):
        find("digits")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_package_gives_a_stand_in_of_the_same_kind_and_a_warning_that_says_so(name, without):
    without(name)
    begin = time.perf_counter()
    with pytest.warns(StandInWarning, match=f"dataset {name} is not here.*autograder data --install {name}`") as caught:
        dataset = load(name)
    assert time.perf_counter() - begin < 5
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name]
    assert isinstance(dataset, get_type_hints(READERS[name])["return"])
    assert (dataset.name, dataset.source) == (name, "stand-in")
    assert dataset.card.title.startswith("A stand-in for: ")
    assert dataset.card.source is None
    assert dataset.size() == dataset.card.size
    assert dataset.size().keys() == CARDS[name].size.keys()
    assert dataset.sample() == stand_in(name).sample()
    if hasattr(dataset, "split"):
        parts = [part if isinstance(part, list) else part.labels for part in dataset.split(seed=0)]
        assert all(len(part) for part in parts)
    if isinstance(dataset, FileDataset):
        assert list(dataset.files) == [Path(file).name for file in SOURCES[name].files]


def test_a_package_without_its_file_counts_as_missing(fake_package):
    (fake_package("king_james") / "bibles" / "bible_kjv.sqlite").unlink()
    with pytest.warns(StandInWarning):
        assert load("king_james").source == "stand-in"


def test_a_stand_in_can_be_refused(without, monkeypatch):
    without("king_james")
    with pytest.raises(DataError, match=r"king_james is not here.*autograder data --install king_james`"):
        load("king_james", allow_stand_in=False)
    monkeypatch.setenv(NO_STAND_INS, "1")
    with pytest.raises(DataError, match="stand-in will not do"):
        load("king_james")


def test_grading_refuses_stand_ins():
    assert _environment(Path("/nowhere"), confined=True)[NO_STAND_INS] == "1"


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match=r"There is no dataset 'bible': choose one of wikipedia, .*king_james"):
        load("bible")


def test_the_stand_ins_for_models_can_be_read_like_the_models():
    minilm = stand_in("minilm")
    config = json.loads(minilm.file("config.json").read_text())
    encoder = Bert(
        BertConfig(
            config["vocab_size"],
            config["hidden_size"],
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["intermediate_size"],
            config["max_position_embeddings"],
        )
    )
    load_pretrained(encoder, load_file(minilm.file("model.safetensors")))
    tokens = Tokenizer.from_file(str(minilm.file("tokenizer.json"))).encode("The bankers sell this loan.")
    assert tokens.tokens == ["[CLS]", "the", "bankers", "sell", "this", "loan", ".", "[SEP]"]
    vocabulary = minilm.file("vocab.txt").read_text().splitlines()
    assert [vocabulary[number] for number in tokens.ids] == tokens.tokens
    ids = torch.tensor([tokens.ids])
    assert encoder(ids).shape == (1, 8, 32)

    decoder = load_gguf(stand_in("smollm2").file("SmolLM2-135M-Instruct.Q4_1.gguf"))
    assert decoder(torch.tensor([[1, 5, 7]])).shape == (1, 3, 259)


def test_the_stand_in_for_vectors_knows_topics_and_plurals():
    glove, judged = stand_in("glove"), stand_in("similarity")
    vector = dict(zip(glove.words, glove.vectors, strict=True))

    def cosine(first: Any, second: Any) -> float:
        return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    alike = [cosine(vector[a], vector[b]) for a, b, score in judged.pairs("wordsim353") if score > 5]
    unlike = [cosine(vector[a], vector[b]) for a, b, score in judged.pairs("wordsim353") if score < 5]
    assert np.mean(alike) > np.mean(unlike) + 0.5
    _, a, b, c, d = judged.analogies[0]
    assert cosine(vector[b] - vector[a] + vector[c], vector[d]) > 0.9


def test_every_package_is_pinned_by_a_hash_or_by_the_lock():
    locked = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
    for source in SOURCES.values():
        assert source.version
        if source.locked:
            assert locked[source.package] == source.locked
        else:
            assert len(bytes.fromhex(source.wheel_sha256)) == 32
        assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in source.files.values())
    pinned = pins(REQUIRED) | pins(OPTIONAL)
    assert pinned.keys() == {source.package for source in SOURCES.values() if not source.locked}
    assert [name for name in NAMES if SOURCES[name].is_optional] == ["movie_reviews"]


def test_the_requirements_of_the_repository_are_those_of_the_package():
    lines = (ROOT / "requirements-data.txt").read_text().splitlines()
    (line,) = [line for line in lines if not line.startswith("#")]
    assert (ROOT / line.removeprefix("-r ")).samefile(ROOT / "autograder" / "data" / REQUIRED)


def test_the_cards_say_whose_the_data_are():
    assert tuple(CARDS) == NAMES == tuple(READERS)
    for card in CARDS.values():
        assert card.title
        assert card.origin
        assert card.license
        assert card.size
