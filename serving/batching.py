"""A bounded queue in front of the classifier: one thread takes what is waiting and answers it as one batch.

Nothing waits while the thread is idle, so that a single request is as fast as a call of the classifier.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.inference.classifier import Classifier, Predictions

BATCH_TEXTS = 64  # no further request is added to a batch that has so many


class Overloaded(Exception):
    """The queue is full."""


@dataclass
class _Asked:
    texts: Sequence[str]
    answer: "asyncio.Future[Predictions]"


class Batcher:
    """Answers texts in one inference thread.

    max_waiting: texts that may wait or be worked on at a time. seen: is told of every batch that was answered.
    """

    def __init__(self, classifier: Classifier, max_waiting: int, seen: Callable[[Predictions], None]) -> None:
        self._classifier = classifier
        self._max_waiting = max_waiting
        self._seen = seen
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="inference")
        self.waiting = 0

    def start(self) -> None:
        """Start the thread; to be called in the event loop that will ask."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Answer what was asked, then end the thread."""
        self._asked.put(None)
        self._thread.join()

    async def predict(self, texts: Sequence[str]) -> Predictions:
        """Answer texts; raise Overloaded at once where too many wait already."""
        if self.waiting + len(texts) > self._max_waiting:
            raise Overloaded
        self.waiting += len(texts)
        asked = _Asked(texts, self._loop.create_future())
        self._asked.put(asked)
        return await asked.answer

    def _work(self) -> None:
        while first := self._asked.get():
            batch, size = [first], len(first.texts)
            while size < BATCH_TEXTS and not self._asked.empty():
                asked = self._asked.get()
                if asked is None:
                    self._asked.put(None)  # the end, after this batch
                    break
                batch.append(asked)
                size += len(asked.texts)
            self._answer(batch)

    def _answer(self, batch: list[_Asked]) -> None:
        try:
            outcome: Predictions | Exception = self._classifier.predict([text for asked in batch for text in asked.texts])
        except Exception as error:  # noqa: BLE001 -- each request has to hear of it, and the thread to live on
            outcome = error
        self._loop.call_soon_threadsafe(self._deliver, batch, outcome)

    def _deliver(self, batch: list[_Asked], outcome: Predictions | Exception) -> None:
        if isinstance(outcome, Predictions):
            self._seen(outcome)
        start = 0
        for asked in batch:
            end = start + len(asked.texts)
            self.waiting -= len(asked.texts)
            if not asked.answer.done():  # else the client has gone or the time was up
                if isinstance(outcome, Exception):
                    asked.answer.set_exception(outcome)
                else:
                    asked.answer.set_result(outcome.rows(start, end))
            start = end
