"""That the queue answers everyone with their own answers, batches what waits, and outlives whatever goes wrong."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from serving.inference.classifier import Predictions
from serving.runtime.batching import BATCH_TEXTS, Batcher, Overloaded
from serving.runtime.slot import LoadedBundle

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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
async def running(max_waiting: int = 10_000) -> AsyncIterator[tuple[Batcher, Counting]]:
    """A batcher whose thread is kept busy by a first text until the classifier is let go."""
    classifier = Counting()
    served = LoadedBundle(Path(), classifier, "")  # type: ignore[arg-type]
    batcher = Batcher(lambda: served, max_waiting, lambda _: None, lambda _: None)
    batcher.start()
    try:
        held = asyncio.create_task(ask(batcher, "held"))
        await asyncio.to_thread(classifier.started.wait, 30)
        yield batcher, classifier
        classifier.go.set()
        assert await held == [4]
    finally:
        classifier.go.set()
        await asyncio.to_thread(batcher.stop)


async def ask(batcher: Batcher, *texts: str) -> list[int]:
    return (await batcher.predict(texts)).predictions.label_ids.tolist()


async def waiting(batcher: Batcher, *calls: tuple[str, ...]) -> "list[asyncio.Task[list[int]]]":
    """Ask for each call's texts; return when all of them wait."""
    tasks = [asyncio.create_task(ask(batcher, *texts)) for texts in calls]
    await asyncio.sleep(0)
    return tasks


async def test_what_waits_is_answered_as_one_batch_and_everyone_gets_their_own() -> None:
    async with running() as (batcher, classifier):
        asked = await waiting(batcher, *(("a" * number, "b" * (number + 50)) for number in range(1, 11)))
        classifier.go.set()
        assert await asyncio.gather(*asked) == [[number, number + 50] for number in range(1, 11)]
        assert [len(batch) for batch in classifier.batches] == [1, 20]
        assert batcher.waiting == 0


async def test_batches_are_bounded_and_nothing_is_lost_between_them() -> None:
    async with running() as (batcher, classifier):
        asked = await waiting(batcher, *(("a" * number,) * (1 + number % 40) for number in range(60)))
        classifier.go.set()
        assert await asyncio.gather(*asked) == [[number] * (1 + number % 40) for number in range(60)]
        assert max(map(len, classifier.batches)) < BATCH_TEXTS + 40


async def test_full_queue_refuses_at_once_and_takes_again_when_it_is_empty() -> None:
    async with running(max_waiting=3) as (batcher, classifier):
        (asked,) = await waiting(batcher, ("a", "b"))
        with pytest.raises(Overloaded):
            await batcher.predict(["c"])
        classifier.go.set()
        assert await asked == [1, 1]
        assert await ask(batcher, "again") == [5]


async def test_request_larger_than_the_queue_is_answered_when_it_comes_alone() -> None:
    async with running(max_waiting=3) as (batcher, classifier):
        classifier.go.set()
        assert await ask(batcher, "one more") == [8]
        assert await ask(batcher, *"abcde") == [1] * 5


async def test_patient_requests_wait_until_nobody_else_does_and_take_no_place() -> None:
    async with running(max_waiting=3) as (batcher, classifier):
        patient = [asyncio.create_task(batcher.predict(["patient"] * 9, patient=True)) for _ in range(2)]
        await asyncio.sleep(0)
        asked = await waiting(batcher, ("one",), ("two",))
        classifier.go.set()
        await asyncio.gather(*asked, *patient)
        assert classifier.batches == [["held"], ["one", "two"], ["patient"] * 9, ["patient"] * 9]


async def test_failure_reaches_everyone_in_the_batch_and_the_thread_lives_on() -> None:
    async with running() as (batcher, classifier):
        asked = await waiting(batcher, ("fine",), ("fail",))
        classifier.go.set()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["no engine any more"] * 2
        assert await ask(batcher, "later") == [5]
        assert batcher.waiting == 0


async def test_client_that_has_gone_takes_no_place_and_no_answer_of_others() -> None:
    async with running() as (batcher, classifier):
        gone, stays = await waiting(batcher, ("gone",), ("stays here",))
        gone.cancel()
        classifier.go.set()
        assert await stays == [10]
        assert batcher.waiting == 0


async def test_stop_answers_what_was_asked_before() -> None:
    async with running() as (batcher, _):
        asked = await waiting(batcher, *(("a" * number,) for number in range(200)))
    assert await asyncio.gather(*asked) == [[number] for number in range(200)]
