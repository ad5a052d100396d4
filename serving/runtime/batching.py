"""The queue in front of the classifier. Texts of requests come in; one thread computes them in batches, and predictions go out.

No text waits while the thread is idle, so a single request takes no longer than a call of the classifier.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serving.inference.classifier import Predictions
from serving.runtime.slot import LoadedBundle

BATCH_TEXTS = 64  # a batch takes further requests until it has this many texts


class Overloaded(Exception):
    """The queue is full."""


class Answers(NamedTuple):
    """Predictions, and the bundle that computed them."""

    predictions: Predictions
    loaded: LoadedBundle


@dataclass
class _Pending:
    texts: Sequence[str]
    answers: "asyncio.Future[Answers]"
    background: bool


class Batcher:
    """Classifies texts in one inference thread.

    current: returns the bundle in use; called once for each batch. max_waiting: limit on texts that wait or run; a request is always
    admitted to an empty queue, and background requests do not count. on_batch: called with the predictions of each batch.
    on_queue_length: called with the number of texts that wait or run, when it changes.
    """

    def __init__(
        self,
        current: Callable[[], LoadedBundle],
        max_waiting: int,
        on_batch: Callable[[Predictions], None],
        on_queue_length: Callable[[int], None],
    ) -> None:
        self._current = current
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._on_queue_length = on_queue_length
        self._requests: queue.SimpleQueue[_Pending] = queue.SimpleQueue()
        self._background: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()  # None ends the thread
        self._ready = threading.Semaphore(0)  # counts the entries of both queues
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)  # a daemon: a forced exit does not wait for it
        self.waiting = 0

    def start(self) -> None:
        """Start the thread. Call this in the event loop that will call `predict`."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Answer all requests in the queue, then end the thread."""
        self._background.put(None)
        self._ready.release()
        self._thread.join()

    async def predict(self, texts: Sequence[str], *, background: bool = False) -> Answers:
        """Classify texts; raise Overloaded at once if the queue is full. background: run only when no other request waits."""
        pending = _Pending(texts, self._loop.create_future(), background)
        if background:
            self._background.put(pending)
        else:
            if self.waiting and self.waiting + len(texts) > self._max_waiting:
                raise Overloaded
            self.waiting += len(texts)
            self._on_queue_length(self.waiting)
            self._requests.put(pending)
        self._ready.release()
        return await pending.answers

    def _work(self) -> None:
        while True:
            self._ready.acquire()
            try:
                first = self._requests.get_nowait()
            except queue.Empty:
                in_background = self._background.get()
                if in_background is None:
                    return
                self._classify([in_background])
                continue
            batch, size = [first], len(first.texts)
            while size < BATCH_TEXTS and not self._requests.empty():
                self._ready.acquire()
                batch.append(self._requests.get())
                size += len(batch[-1].texts)
            self._classify(batch)

    def _classify(self, batch: list[_Pending]) -> None:
        loaded = self._current()
        try:
            outcome: Predictions | Exception = loaded.classifier.predict([text for pending in batch for text in pending.texts])
        except Exception as error:  # noqa: BLE001 -- each request gets the error, and the thread must go on
            outcome = error
        self._loop.call_soon_threadsafe(self._deliver, batch, outcome, loaded)

    def _deliver(self, batch: list[_Pending], outcome: Predictions | Exception, loaded: LoadedBundle) -> None:
        if isinstance(outcome, Predictions):
            self._on_batch(outcome)
        start = 0
        for pending in batch:
            end = start + len(pending.texts)
            if not pending.background:
                self.waiting -= len(pending.texts)
            if not pending.answers.done():  # it is done if the client has left or the timeout has passed
                if isinstance(outcome, Exception):
                    pending.answers.set_exception(outcome)
                else:
                    pending.answers.set_result(Answers(outcome.rows(start, end), loaded))
            start = end
        self._on_queue_length(self.waiting)
