"""The process that workers of this machine are forked from: it imports once what all of them need, and runs nothing.

It is started before anything else is imported, so that it is ready when the submissions are collected.
"""

import multiprocessing
import os
from multiprocessing import forkserver

PRELOADED = ["autograder.grading.workers", "autograder.grading.run"]


def start_forkserver() -> None:
    """Start it, and do not wait until it is ready; once in a process is enough.

    Numerical libraries get one thread in it: there is a worker for each core.
    """
    one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    before = {name: os.environ.get(name) for name in one}
    os.environ.update(one)
    try:
        multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
