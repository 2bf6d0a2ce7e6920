"""Verdicts made by the workers of a Dask cluster, on this machine or on others (``pip install .[cluster]``).

The same work as for processes of this machine is handed to a ``dask.distributed`` scheduler, which hands it on, gives
it to another worker if one is lost, and gives up on work that loses workers again and again. The secret seed goes to
the workers with the work: use a scheduler that you trust, with TLS (``tls://``, set up in Dask's own configuration)
where others share the network. Workers need this version of the package and torch, and no files of the course.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from autograder.checking.verdict import Verdict
from autograder.grading.run import close_sandboxes, open_session
from autograder.grading.workers import DIED, OtherVersion, Outcome, Work, do, one_thread

try:
    from distributed import Client, Worker, WorkerPlugin, as_completed
    from distributed.scheduler import KilledWorker
except ModuleNotFoundError as missing:
    raise ImportError("A cluster needs dask.distributed: pip install '.[cluster]'.") from missing

CONNECT_SECONDS = 10
WORKER_SECONDS = 15


class ClusterError(Exception):
    """The cluster cannot be used; the message says what to do."""


class Prepare(WorkerPlugin):
    """Gives each worker one thread for torch and a preloaded sandbox, before the first notebook comes."""

    name = "words-in-context"

    def setup(self, worker: Worker) -> None:
        one_thread()
        open_session().close()

    def teardown(self, worker: Worker) -> None:
        close_sandboxes()


class DaskCrew:
    """The workers of a Dask cluster. Use it in a ``with`` block.

    Args:
        address: of the scheduler, such as ``tcp://10.0.0.5:8786``.

    Raises:
        ClusterError: if there is no scheduler there, no worker, or none that can grade.
    """

    def __init__(self, address: str) -> None:
        try:
            self._client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(f"No Dask scheduler answers at {address}. Start one: dask scheduler.") from error
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
            self._client.register_plugin(Prepare())
        except TimeoutError as error:
            self.close()
            raise ClusterError(
                f"The scheduler at {address} has no workers. Start some: dask worker {address} --nthreads 1."
            ) from error
        except Exception as error:
            self.close()
            raise ClusterError(f"The workers at {address} cannot grade: {type(error).__name__}: {error}") from error

    def outcomes(self, work: Sequence[Work]) -> Iterator[tuple[int, Outcome]]:
        """See :class:`autograder.grading.workers.Crew`.

        Raises:
            ClusterError: if a worker would grade with other code than this.
        """
        futures = {self._client.submit(do, piece, pure=False): index for index, piece in enumerate(work)}
        try:
            for future in as_completed(futures, loop=self._client.loop):
                yield futures[future], _outcome(future)
                future.release()
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be what has gone
                self._client.cancel(list(futures), force=True)

    def close(self) -> None:
        """Leave the cluster; its workers stay."""
        self._client.close(timeout=5)

    def __enter__(self) -> "DaskCrew":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _outcome(future: Any) -> Outcome:
    try:
        return Verdict.from_json(future.result())
    except OtherVersion as error:
        raise ClusterError(
            "A worker has another version of the grader, or of torch or Python: install the same on all."
        ) from error
    except KilledWorker:
        return DIED
    except Exception as error:  # a bug of ours in one submission must not stop the others
        return f"The grader failed: {type(error).__name__}: {error}"
