"""The queue: everyone gets their own answers, waiting requests form batches, and the thread survives every failure."""

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


class FakeClassifier:
    """A fake classifier: its answer is the length of a text. It waits for `go`, and records all batches."""

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
        lengths, none = np.array([len(text) for text in texts]), np.zeros(len(texts), dtype=bool)
        return Predictions(lengths, np.ones((len(texts), 1)), none, none, lengths)


@asynccontextmanager
async def running(max_waiting: int = 10_000) -> AsyncIterator[tuple[Batcher, FakeClassifier]]:
    """A batcher whose thread is busy with a first text until `classifier.go` is set."""
    classifier = FakeClassifier()
    loaded = LoadedBundle(Path(), classifier, "")  # type: ignore[arg-type]
    batcher = Batcher(lambda: loaded, max_waiting, lambda _: None, lambda _: None)
    batcher.start()
    try:
        first = asyncio.create_task(classify(batcher, "first"))
        await asyncio.to_thread(classifier.started.wait, 30)
        yield batcher, classifier
        classifier.go.set()
        assert await first == [5]
    finally:
        classifier.go.set()
        await asyncio.to_thread(batcher.stop)


async def classify(batcher: Batcher, *texts: str) -> list[int]:
    return (await batcher.predict(texts)).predictions.label_ids.tolist()


async def waiting(batcher: Batcher, *calls: tuple[str, ...]) -> "list[asyncio.Task[list[int]]]":
    """Start a request for the texts of each call; return when all requests wait."""
    tasks = [asyncio.create_task(classify(batcher, *texts)) for texts in calls]
    await asyncio.sleep(0)
    return tasks


async def test_waiting_requests_form_one_batch_and_each_gets_its_own_answers() -> None:
    async with running() as (batcher, classifier):
        requests = await waiting(batcher, *(("a" * number, "b" * (number + 50)) for number in range(1, 11)))
        classifier.go.set()
        assert await asyncio.gather(*requests) == [[number, number + 50] for number in range(1, 11)]
        assert [len(batch) for batch in classifier.batches] == [1, 20]
        assert batcher.waiting == 0


async def test_batches_are_bounded_and_nothing_is_lost_between_them() -> None:
    async with running() as (batcher, classifier):
        requests = await waiting(batcher, *(("a" * number,) * (1 + number % 40) for number in range(60)))
        classifier.go.set()
        assert await asyncio.gather(*requests) == [[number] * (1 + number % 40) for number in range(60)]
        assert max(map(len, classifier.batches)) < BATCH_TEXTS + 40


async def test_full_queue_refuses_at_once_and_accepts_again_when_it_is_empty() -> None:
    async with running(max_waiting=3) as (batcher, classifier):
        (request,) = await waiting(batcher, ("a", "b"))
        with pytest.raises(Overloaded):
            await batcher.predict(["c"])
        classifier.go.set()
        assert await request == [1, 1]
        assert await classify(batcher, "again") == [5]


async def test_request_larger_than_the_queue_is_answered_if_the_queue_is_empty() -> None:
    async with running(max_waiting=3) as (batcher, classifier):
        classifier.go.set()
        assert await classify(batcher, "one more") == [8]
        assert await classify(batcher, *"abcde") == [1] * 5


async def test_background_requests_wait_for_all_others_and_do_not_count() -> None:
    async with running(max_waiting=3) as (batcher, classifier):
        background = [asyncio.create_task(batcher.predict(["background"] * 9, background=True)) for _ in range(2)]
        await asyncio.sleep(0)
        requests = await waiting(batcher, ("one",), ("two",))
        classifier.go.set()
        await asyncio.gather(*requests, *background)
        assert classifier.batches == [["first"], ["one", "two"], ["background"] * 9, ["background"] * 9]


async def test_failure_reaches_every_request_of_the_batch_and_the_thread_survives() -> None:
    async with running() as (batcher, classifier):
        requests = await waiting(batcher, ("fine",), ("fail",))
        classifier.go.set()
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["no engine any more"] * 2
        assert await classify(batcher, "later") == [5]
        assert batcher.waiting == 0


async def test_client_that_has_left_does_not_count_and_others_get_their_answers() -> None:
    async with running() as (batcher, classifier):
        left, stays = await waiting(batcher, ("left",), ("stays here",))
        left.cancel()
        classifier.go.set()
        assert await stays == [10]
        assert batcher.waiting == 0


async def test_stop_answers_all_requests_in_the_queue() -> None:
    async with running() as (batcher, _):
        requests = await waiting(batcher, *(("a" * number,) for number in range(200)))
    assert await asyncio.gather(*requests) == [[number] for number in range(200)]
