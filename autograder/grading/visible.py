"""What a student's process may see here: the interpreter, an allow-list of packages, some data, its half of ours."""

import importlib.metadata
import os
import re
import sys
import sysconfig
from pathlib import Path

from packaging.requirements import Requirement

from autograder.data.sources import find, source_of

PACKAGES = ("torch", "numpy", "matplotlib", "matplotlib-inline", "ipython", "safetensors", "tqdm")
"""What notebooks may use; these and all that they need, and no other package, can be imported."""

DATA = ("digits",)
"""The data that notebooks read from files of another package: they see the files, and cannot import the package."""

CLIENT, SITE = "/client", "/packages"
"""Where the sandbox has the student's half of our package, and the packages of the allow-list."""


def interpreter() -> str:
    """The Python that stands behind this virtual environment, as a path that has no link in it."""
    return os.path.realpath(sys.executable)


def visible() -> list[tuple[str, str]]:
    """Pairs of a path on this machine and where the sandbox has it, in the order in which they must be mounted."""
    seen = [("/usr", "/usr")]
    seen += [(top, top) for top in ("/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache") if _is_there(top)]
    prefix = Path(sys.base_prefix).resolve()
    if not prefix.is_relative_to("/usr"):
        seen += [
            (str(prefix / part), str(prefix / part)) for part in ("bin", "lib", "lib64") if (prefix / part).is_dir()
        ]
    return [*seen, *((str(path), f"{SITE}/{path.name}") for path in package_paths(PACKAGES)), *data_files(DATA)]


def links() -> list[tuple[str, str]]:
    """Pairs of a link at the top of the file system, such as ``/lib``, and what it points to."""
    return [(top, os.readlink(top)) for top in ("/lib", "/lib64", "/lib32", "/bin") if os.path.islink(top)]


def hidden() -> list[str]:
    """Folders below the visible ones that hold packages which are not on the list, perhaps ours among them."""
    below = {Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix})).resolve().parent}
    below |= {Path("/usr/lib"), Path("/usr/local/lib")}
    found = {
        str(folder.resolve())
        for parent in below
        for pattern in ("python*/site-packages", "python*/dist-packages")
        for folder in parent.glob(pattern)
        if folder.is_dir()
    }
    return sorted(found)


def package_paths(names: tuple[str, ...]) -> list[Path]:
    """The files and folders at the top of site-packages that belong to some packages and all that these need."""
    paths: dict[str, Path] = {}
    waiting, known = list(names), set[str]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in known:
            continue
        known.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not every package of the list is needed by every machine
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__", "/"}:
            paths.setdefault(top, Path(str(distribution.locate_file(top))).resolve())
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return [path for _, path in sorted(paths.items()) if path.exists()]


def data_files(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pairs of a data file and where the sandbox has it, for the data sets that are on this machine."""
    present = [(source_of(name), found) for name in names if (found := find(name)) is not None]
    return [
        (str((found.folder / file).resolve()), f"{SITE}/{source.module}/{file}")
        for source, found in present
        for file in source.files
    ]


def _is_there(top: str) -> bool:
    return os.path.exists(top) and not os.path.islink(top)
