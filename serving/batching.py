"""A bounded queue in front of the classifier: one thread takes what is waiting and answers it as one batch.

Nothing waits while the thread is idle, so that a single request is as fast as a call of the classifier.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.inference.classifier import Classifier, Predictions

BATCH_TEXTS = 64  # taken at once: bounds how long a text that comes now waits for those before it


class Overloaded(Exception):
    """The queue is full."""


@dataclass
class _Asked:
    texts: Sequence[str]
    answer: "asyncio.Future[Answered]"


@dataclass(frozen=True)
class Answered:
    """Predictions of the asked texts, and the classifier that made them: a reload may have come between."""

    predictions: Predictions
    classifier: Classifier


class Batcher:
    """Answers texts in one inference thread. max_waiting: texts that may wait or be worked on at a time."""

    def __init__(self, classifier: Callable[[], Classifier], max_waiting: int, seen: Callable[[Predictions], None]) -> None:
        self._classifier = classifier
        self._max_waiting = max_waiting
        self._seen = seen
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="inference")
        self.waiting = 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Answer what was asked, then end the thread."""
        self._asked.put(None)
        self._thread.join()

    async def predict(self, texts: Sequence[str]) -> Answered:
        """Answer texts; raise Overloaded at once where too many wait already."""
        if self.waiting + len(texts) > self._max_waiting:
            raise Overloaded
        self.waiting += len(texts)
        asked = _Asked(texts, self._loop.create_future())
        self._asked.put(asked)
        return await asked.answer

    def _work(self) -> None:
        following: _Asked | None = None
        while first := following or self._asked.get():
            batch, size, following, ended = [first], len(first.texts), None, False
            while size < BATCH_TEXTS and not ended:
                try:
                    asked = self._asked.get_nowait()
                except queue.Empty:
                    break
                if asked is None:
                    ended = True
                elif size + len(asked.texts) > BATCH_TEXTS:
                    following = asked
                    break
                else:
                    batch.append(asked)
                    size += len(asked.texts)
            self._answer(batch)
            if ended:
                return

    def _answer(self, batch: list[_Asked]) -> None:
        classifier = self._classifier()
        try:
            outcome: Predictions | Exception = classifier.predict([text for asked in batch for text in asked.texts])
        except Exception as error:  # noqa: BLE001 -- each request has to hear of it, and the thread to live on
            outcome = error
        self._loop.call_soon_threadsafe(self._deliver, batch, outcome, classifier)

    def _deliver(self, batch: list[_Asked], outcome: Predictions | Exception, classifier: Classifier) -> None:
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
                    asked.answer.set_result(Answered(outcome.rows(start, end), classifier))
            start = end
