"""That the queue answers everyone with their own answers, batches what waits, and outlives whatever goes wrong."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from serving.batching import BATCH_TEXTS, Batcher, Overloaded
from serving.inference.classifier import Predictions


class Counting:
    """Stands for a classifier: answers each text with its length, when it is let go, and keeps the batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.started = threading.Event()

    def predict(self, texts: Sequence[str]) -> Predictions:
        self.batches.append(list(texts))
        self.started.set()
        assert self.go.wait(30)
        if "fail" in texts:
            raise RuntimeError("no engine any more")
        lengths, nowhere = np.array([len(text) for text in texts]), np.zeros(len(texts), dtype=bool)
        return Predictions(lengths, np.ones((len(texts), 1)), nowhere, nowhere, lengths)


@asynccontextmanager
async def running(classifier: Counting, max_waiting: int = 1000) -> AsyncIterator[Batcher]:
    batcher = Batcher(lambda: classifier, max_waiting, lambda _: None)  # type: ignore[arg-type, return-value]
    batcher.start()
    try:
        yield batcher
    finally:
        classifier.go.set()
        await asyncio.to_thread(batcher.stop)


async def ask(batcher: Batcher, *texts: str) -> list[int]:
    return (await batcher.predict(texts)).predictions.label_ids.tolist()


async def hold(batcher: Batcher, classifier: Counting) -> "asyncio.Task[list[int]]":
    """Ask for one text that keeps the thread busy."""
    task = asyncio.create_task(ask(batcher, "held"))
    await asyncio.to_thread(classifier.started.wait, 30)
    return task


def test_what_waits_is_answered_as_one_batch_and_everyone_gets_their_own() -> None:
    async def scene() -> None:
        classifier = Counting()
        async with running(classifier) as batcher:
            held = await hold(batcher, classifier)
            asking = [asyncio.create_task(ask(batcher, "a" * number, "b" * (number + 50))) for number in range(1, 11)]
            await asyncio.sleep(0)
            classifier.go.set()
            assert await held == [4]
            assert await asyncio.gather(*asking) == [[number, number + 50] for number in range(1, 11)]
            assert [len(batch) for batch in classifier.batches] == [1, 20]
            assert batcher.waiting == 0

    asyncio.run(scene())


def test_batches_are_bounded_and_nothing_is_lost_between_them() -> None:
    async def scene() -> None:
        classifier = Counting()
        async with running(classifier, max_waiting=10_000) as batcher:
            held = await hold(batcher, classifier)
            asking = [asyncio.create_task(ask(batcher, *["a" * number] * (1 + number % 40))) for number in range(60)]
            await asyncio.sleep(0)
            classifier.go.set()
            await held
            assert await asyncio.gather(*asking) == [[number] * (1 + number % 40) for number in range(60)]
            assert max(map(len, classifier.batches)) <= BATCH_TEXTS

    asyncio.run(scene())


def test_full_queue_refuses_at_once_and_takes_again_when_it_is_empty() -> None:
    async def scene() -> None:
        classifier = Counting()
        async with running(classifier, max_waiting=3) as batcher:
            held = await hold(batcher, classifier)
            waiting = asyncio.create_task(ask(batcher, "a", "b"))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await batcher.predict(["c"])
            classifier.go.set()
            assert await held == [4]
            assert await waiting == [1, 1]
            assert await ask(batcher, "again") == [5]

    asyncio.run(scene())


def test_failure_reaches_everyone_in_the_batch_and_the_thread_lives_on() -> None:
    async def scene() -> None:
        classifier = Counting()
        async with running(classifier) as batcher:
            held = await hold(batcher, classifier)
            asking = [asyncio.create_task(ask(batcher, text)) for text in ("fine", "fail")]
            await asyncio.sleep(0)
            classifier.go.set()
            await held
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
            assert [str(outcome) for outcome in outcomes] == ["no engine any more"] * 2
            assert await ask(batcher, "later") == [5]
            assert batcher.waiting == 0

    asyncio.run(scene())


def test_client_that_has_gone_takes_no_place_and_no_answer_of_others() -> None:
    async def scene() -> None:
        classifier = Counting()
        async with running(classifier) as batcher:
            held = await hold(batcher, classifier)
            gone, stays = asyncio.create_task(ask(batcher, "gone")), asyncio.create_task(ask(batcher, "stays here"))
            await asyncio.sleep(0)
            gone.cancel()
            classifier.go.set()
            await held
            assert await stays == [10]
            assert batcher.waiting == 0

    asyncio.run(scene())


def test_stop_answers_what_was_asked_before() -> None:
    async def scene() -> list[list[int]]:
        classifier = Counting()
        async with running(classifier) as batcher:
            await hold(batcher, classifier)
            asking = [asyncio.create_task(ask(batcher, "a" * number)) for number in range(200)]
            await asyncio.sleep(0)
        return await asyncio.gather(*asking)

    assert asyncio.run(scene()) == [[number] for number in range(200)]
