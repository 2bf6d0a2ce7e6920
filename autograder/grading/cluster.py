"""Verdicts made by the workers of a Dask cluster, on this machine or on others (``pip install '.[cluster]'``).

The same work as for processes of this machine is handed to a ``dask.distributed`` scheduler, which hands it on, gives
it to another worker if one is lost, and gives up on work that loses workers again and again. Workers need this version
of the package and of torch, one thread each (``dask worker ADDRESS --nthreads 1``), a sandbox, and no file of the
course: they send verdicts back, and the grader keeps them.

The course's secret seed goes to the workers with the work. Where others share the network, use a scheduler at
``tls://…``; certificates are set up in Dask's own configuration (``distributed.comm.tls``).
"""

import contextlib
import logging
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from itertools import islice

from autograder.checking.verdict import Verdict
from autograder.grading.run import close_sandboxes, open_session
from autograder.grading.sandbox import NoSandbox
from autograder.grading.workers import DIED, OtherVersion, Outcome, Piece, Work, do, one_thread

try:
    from distributed import Client, Future, Status, Worker, WorkerPlugin, wait
    from distributed.comm import CommClosedError
    from distributed.scheduler import KilledWorker
except ModuleNotFoundError as missing:
    raise ImportError("A cluster needs dask.distributed: pip install '.[cluster]'.") from missing

CONNECT_SECONDS = 8
WORKER_SECONDS = 20
REPLACEMENT_SECONDS = 60
"""So long a cluster may be without workers: at the start, and when the last one is lost."""

IN_HAND = 3
"""Pieces of work for each worker that the scheduler is given at a time: none waits for the grader."""

LOST = (OSError, CancelledError)
"""What Dask raises when the scheduler has gone."""


class ClusterError(Exception):
    """The cluster cannot be used; the message says what to do."""


class Prepare(WorkerPlugin):
    """Gives each worker one thread for torch and a preloaded sandbox, before the first notebook comes."""

    def __init__(self, address: str) -> None:
        self.address = address

    def setup(self, worker: Worker) -> None:
        if worker.state.nthreads != 1:
            raise ClusterError(
                f"A worker has {worker.state.nthreads} threads, and grades in one: start one worker for each core, "
                f"dask worker {self.address} --nthreads 1 --nworkers N."
            )
        tempfile.tempdir = worker.local_directory  # what a worker that is killed leaves there, Dask removes
        one_thread()
        open_session().close()

    def teardown(self, worker: Worker) -> None:
        if worker.status != Status.running:  # else another grader may be using it
            close_sandboxes()


class DaskCrew:
    """The workers of a Dask cluster. Use it in a ``with`` block.

    Args:
        address: of the scheduler, such as ``tcp://10.0.0.5:8786``.

    Raises:
        ClusterError: if there is no scheduler there, no worker, or none that can grade.
    """

    def __init__(self, address: str) -> None:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is said once, by us
        self.address = address
        self._has_gone = False
        if not re.fullmatch(r"(tcp|tls|ws|wss)://.+:\d+", address):
            raise ClusterError(f"{address} is no address of a Dask scheduler, such as tcp://10.0.0.5:8786.")
        try:
            self._client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ClusterError(
                f"No Dask scheduler answers at {address} ({error}). Start one: dask scheduler."
            ) from error
        self._plugin = f"words-in-context-{self._client.id}"
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
            self._client.register_plugin(Prepare(address), name=self._plugin)
        except BaseException as error:
            self.close()
            if isinstance(error, ClusterError) or not isinstance(error, Exception):
                raise
            raise ClusterError(self._why_unprepared(error)) from error

    def _why_unprepared(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"The scheduler has no workers. Start some: dask worker {self.address} --nthreads 1."
        if isinstance(error, ModuleNotFoundError):
            return f"A worker lacks what grades ({error}): install this version of the package on all."
        return f"A worker cannot grade ({type(error).__name__}): {error}"

    def prepare(self) -> None:
        """See :class:`autograder.grading.workers.Crew`. Its workers were made ready when it was made."""

    def dismiss(self) -> None:
        """See :class:`autograder.grading.workers.Crew`. A cluster's workers are the cluster's."""

    def outcomes(self, work: Iterable[Work]) -> Iterator[tuple[int, Outcome]]:
        """See :class:`autograder.grading.workers.Crew`. Dask tries work again whose worker is lost; we do once more.

        Raises:
            ClusterError: if the scheduler or all workers have gone, or if a worker would grade with other code than
                this. What is done by then is kept.
        """
        suspects: list[Piece] = []
        for piece, outcome in self._outcomes(enumerate(work)):
            if outcome is None:
                suspects.append(piece)
            else:
                yield piece[0], outcome
        for suspect in suspects:
            for _, outcome in self._outcomes(iter([suspect])):
                yield suspect[0], DIED if outcome is None else outcome

    def _outcomes(self, coming: Iterator[Piece]) -> Iterator[tuple[Piece, Outcome | None]]:
        """Outcomes until nothing is left; None where so many workers were lost that Dask gave up.

        A worker that is lost may have held other work, which Dask suspects as well.
        """
        in_hand: dict[Future, Piece] = {}
        try:
            while True:
                for piece in islice(coming, max(self._room() - len(in_hand), 0)):
                    with self._scheduler():
                        in_hand[self._client.submit(do, piece[1], pure=False)] = piece
                if not in_hand:
                    return
                for future in self._done(in_hand):
                    outcome = self._outcome(future)
                    yield in_hand.pop(future), outcome
        finally:
            with contextlib.suppress(*LOST):
                self._client.cancel(list(in_hand), force=True)

    def _room(self) -> int:
        with self._scheduler():
            return IN_HAND * max(self.workers(), 1)

    def workers(self) -> int:
        """How many workers there are now."""
        return int(self._client.scheduler_info(n_workers=0)["n_workers"])

    def _done(self, in_hand: Iterable[Future]) -> Iterable[Future]:
        """What is finished first."""
        seen = time.monotonic()
        with self._scheduler(), self._client.as_current():
            while True:
                try:
                    return wait(list(in_hand), timeout=1, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    if self.workers():
                        seen = time.monotonic()
                    elif time.monotonic() - seen > REPLACEMENT_SECONDS:
                        raise ClusterError(
                            f"All workers have gone. Start some (dask worker {self.address} --nthreads 1) and run the "
                            "same command again; what is graded is kept."
                        ) from None

    @contextlib.contextmanager
    def _scheduler(self) -> Iterator[None]:
        try:
            yield
        except LOST as error:
            raise self._gone() from error

    def _gone(self) -> ClusterError:
        self._has_gone = True
        return ClusterError(
            f"The scheduler at {self.address} has gone. Run the same command again when it is back; what is graded is "
            "kept."
        )

    def _outcome(self, future: Future) -> Outcome | None:
        try:
            return Verdict.from_json(future.result())
        except OtherVersion as error:
            raise ClusterError(
                "A worker has another version of the grader, or of torch or Python: install the same on all and start "
                "the workers again."
            ) from error
        except NoSandbox as error:
            raise ClusterError(f"A worker cannot grade: {error}") from error
        except KilledWorker:
            return None
        except (CommClosedError, CancelledError) as error:
            raise self._gone() from error
        except Exception as error:  # a bug of ours in one submission must not stop the others
            return f"The grader failed: {type(error).__name__}: {error}"

    def close(self) -> None:
        """Leave the cluster; its workers stay."""
        if not self._has_gone:  # else Dask would wait for it for two minutes
            with contextlib.suppress(Exception):
                self._client.unregister_worker_plugin(self._plugin)
        self._client.close(timeout=5)

    def __enter__(self) -> "DaskCrew":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
