"""A bounded queue in front of the classifier: one thread takes what is waiting and answers it as one batch.

Nothing waits while the thread is idle, so that a single request is as fast as a call of the classifier.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serving.inference.classifier import Predictions
from serving.runtime.slot import LoadedBundle

BATCH_TEXTS = 64  # no further request is added to a batch that has so many


class Overloaded(Exception):
    """The queue is full."""


class Answered(NamedTuple):
    """Predictions, and the bundle that gave them."""

    predictions: Predictions
    served: LoadedBundle


@dataclass
class _Asked:
    texts: Sequence[str]
    answer: "asyncio.Future[Answered]"
    patient: bool


class Batcher:
    """Answers texts in one inference thread.

    served: tells the bundle in use; each batch asks once. max_waiting: texts that may wait or be worked on at a time, but for a request
    that comes alone; those of patient requests are not counted. seen: is told of every batch that was answered. waits: is told how many
    texts wait, at each change.
    """

    def __init__(
        self, served: Callable[[], LoadedBundle], max_waiting: int, seen: Callable[[Predictions], None], waits: Callable[[int], None]
    ) -> None:
        self._served = served
        self._max_waiting = max_waiting
        self._seen = seen
        self._waits = waits
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self._patient: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._ready = threading.Semaphore(0)  # as often as there is something in a queue
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)  # a forced end does not wait for it
        self.waiting = 0

    def start(self) -> None:
        """Start the thread; to be called in the event loop that will ask."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Answer what was asked, then end the thread."""
        self._patient.put(None)
        self._ready.release()
        self._thread.join()

    async def predict(self, texts: Sequence[str], *, patient: bool = False) -> Answered:
        """Answer texts; raise Overloaded at once where too many wait already. patient: when no other request waits."""
        asked = _Asked(texts, self._loop.create_future(), patient)
        if patient:
            self._patient.put(asked)
        else:
            if self.waiting and self.waiting + len(texts) > self._max_waiting:
                raise Overloaded
            self.waiting += len(texts)
            self._waits(self.waiting)
            self._asked.put(asked)
        self._ready.release()
        return await asked.answer

    def _work(self) -> None:
        while True:
            self._ready.acquire()
            try:
                first = self._asked.get_nowait()
            except queue.Empty:
                patient = self._patient.get()
                if patient is None:
                    return
                self._answer([patient])
                continue
            batch, size = [first], len(first.texts)
            while size < BATCH_TEXTS and not self._asked.empty():
                self._ready.acquire()
                batch.append(self._asked.get())
                size += len(batch[-1].texts)
            self._answer(batch)

    def _answer(self, batch: list[_Asked]) -> None:
        served = self._served()
        try:
            outcome: Predictions | Exception = served.classifier.predict([text for asked in batch for text in asked.texts])
        except Exception as error:  # noqa: BLE001 -- each request has to hear of it, and the thread to live on
            outcome = error
        self._loop.call_soon_threadsafe(self._deliver, batch, outcome, served)

    def _deliver(self, batch: list[_Asked], outcome: Predictions | Exception, served: LoadedBundle) -> None:
        if isinstance(outcome, Predictions):
            self._seen(outcome)
        start = 0
        for asked in batch:
            end = start + len(asked.texts)
            if not asked.patient:
                self.waiting -= len(asked.texts)
            if not asked.answer.done():  # else the client has gone or the time was up
                if isinstance(outcome, Exception):
                    asked.answer.set_exception(outcome)
                else:
                    asked.answer.set_result(Answered(outcome.rows(start, end), served))
            start = end
        self._waits(self.waiting)
