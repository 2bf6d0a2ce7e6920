"""nbgrader's formgrader, started on a course."""

import os
import subprocess
import sys
from pathlib import Path


def command(root: Path, port: int, browser: bool) -> list[str]:
    """The Jupyter server with nbgrader's formgrader on a course directory, for this machine only."""
    flags = [] if browser else ["--no-browser"]
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={root}",
        f"--ServerApp.port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--LabApp.default_url=/formgrader",
        f"--CourseDirectory.root={root}",
        *(["--allow-root"] if _is_root() else []),
        *flags,
    ]


def serve(root: Path, port: int, browser: bool) -> int:
    """Serve until it is stopped; returns its exit code."""
    try:
        return subprocess.run(command(root, port, browser), cwd=root, check=False).returncode
    except KeyboardInterrupt:
        return 0


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
