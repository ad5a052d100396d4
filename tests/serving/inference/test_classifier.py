"""Tests that the classifier gives a text the same answer in any batch and thread, and that a load proves its engine."""

import copy
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.inference.bundle import MANIFEST, PORTABLE, read_bundle
from serving.inference.classifier import Classifier
from serving.inference.engines import start_engine
from serving.inference.errors import BundleBroken, TextRefused
from serving.inference.packing import BATCH_TOKENS, Batch
from serving.inference.probabilities import softmax
from tests.building import VOCABULARY
from tests.running import run_command

WORDS = VOCABULARY.split()
SAME = 1e-5  # of a probability: the promise for fp32
MIXED = ["the film was very good", "", "bad", "we love the food and the staff but the phone was not good " * 3, "영화 정말 좋아요 😍", "a"]


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier.load(tiny_bundle, engine=PORTABLE, threads=1)


@pytest.fixture(scope="module")
def every_engine(tiny_bundle: Path) -> list[Classifier]:
    """The bundle with each of its engines."""
    return [Classifier.load(tiny_bundle, engine=spec.name, threads=1) for spec in read_bundle(tiny_bundle).engines]


@pytest.fixture
def two_engines(copied_bundle: Path) -> Path:
    """A bundle whose first engine, named `first`, is a copy of its portable engine. So on any CPU there is a second engine."""
    with changed_manifest(copied_bundle) as manifest:
        portable = next(engine for engine in manifest["engines"] if engine["name"] == PORTABLE)
        manifest["engines"] = [{**portable, "name": "first"}, portable]
        manifest["reference_probabilities"]["first"] = copy.deepcopy(manifest["reference_probabilities"][PORTABLE])
    return copied_bundle


@contextmanager
def changed_manifest(bundle_dir: Path) -> Iterator[dict[str, Any]]:
    manifest = json.loads((bundle_dir / MANIFEST).read_text("utf-8"))
    yield manifest
    (bundle_dir / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def one_by_one(classifier: Classifier, texts: list[str]) -> np.ndarray:
    return np.concatenate([classifier.predict([text]).probabilities for text in texts])


def test_answers_of_every_engine_come_in_the_order_of_the_texts(classifier: Classifier, every_engine: list[Classifier]) -> None:
    assert len({row.tobytes() for row in one_by_one(classifier, MIXED).round(5)}) == len(MIXED), "texts with equal answers test nothing"
    assert [engine.spec for engine in every_engine] == list(classifier.bundle.engines)
    for engine in every_engine:
        alone = one_by_one(engine, MIXED)
        for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]):
            together = engine.predict([MIXED[row] for row in order])
            np.testing.assert_allclose(together.probabilities, alone[order], atol=engine.spec.batch_bound)
            assert together.label_ids.tolist() == together.probabilities.argmax(axis=1).tolist()
            assert together.scores.tolist() == together.probabilities.max(axis=1).tolist()


def test_no_texts_give_empty_arrays(classifier: Classifier) -> None:
    empty = classifier.predict([])
    assert empty.label_ids.shape == empty.truncated.shape == empty.scores.shape == (0,)
    assert empty.probabilities.shape == (0, 2)


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=30), min_size=1, max_size=12))
def test_text_gets_the_same_answer_alone_and_in_any_batch(every_engine: list[Classifier], texts: list[str]) -> None:
    texts = [text.replace("\0", "") for text in texts]
    for engine in every_engine:
        np.testing.assert_allclose(engine.predict(texts).probabilities, one_by_one(engine, texts), atol=engine.spec.batch_bound)


def test_the_promise_for_fp32_is_kept(every_engine: list[Classifier]) -> None:
    assert {engine.spec.batch_bound for engine in every_engine if engine.spec.name.endswith("fp32")} == {SAME}


def test_texts_of_several_batches_are_all_answered(classifier: Classifier) -> None:
    texts = [MIXED[row % len(MIXED)] for row in range(BATCH_TOKENS // 16)]
    expected = one_by_one(classifier, MIXED)
    np.testing.assert_allclose(
        classifier.predict(texts).probabilities, [expected[row % len(MIXED)] for row in range(len(texts))], atol=SAME
    )


def test_engine_gets_few_shapes_for_any_texts(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in read_bundle(tiny_bundle).engines:
        classifier = Classifier.load(tiny_bundle, engine=spec.name, threads=1)
        shapes: set[tuple[int, ...]] = set()

        def recorded(batch: Batch, logits: Callable[[Batch], np.ndarray] = classifier.engine.logits, shapes: Any = shapes) -> np.ndarray:
            shapes.add(batch.input_ids.shape)
            assert batch.attention_mask.any(axis=1).all(), "a row without a token"
            return logits(batch)

        monkeypatch.setattr(classifier.engine, "logits", recorded)
        rng = np.random.default_rng(0)
        for texts in rng.integers(1, 40, 200):
            classifier.predict([" ".join(rng.choice(WORDS, words)) for words in rng.integers(0, 60, texts)])
        tokens = {texts * length for texts, length in shapes}
        assert max(tokens) <= BATCH_TOKENS
        assert len(tokens) <= 40, spec.name


def test_text_is_truncated_from_the_first_token_too_many(classifier: Classifier) -> None:
    fitting = classifier.bundle.max_length - 2  # [CLS] and [SEP]
    answer = classifier.predict(["good " * fitting, "good " * (fitting + 1), "good", "good " * 500])
    assert answer.truncated.tolist() == [False, True, False, True]
    np.testing.assert_allclose(answer.probabilities[[1, 3]], answer.probabilities[[0, 0]], atol=SAME)


def test_text_is_cleaned_first(classifier: Classifier) -> None:
    dirty, clean = classifier.predict(["the\u00a0film<br />was&nbsp;go\u200bod", "the film was good"]).probabilities
    np.testing.assert_allclose(dirty, clean, atol=SAME)


@pytest.mark.parametrize(("text", "word"), [("good \0 film", "NUL"), ("good \ud800 film", "surrogate"), ("\udfff", "surrogate")])
def test_text_with_invalid_characters_is_refused_and_not_quoted(classifier: Classifier, text: str, word: str) -> None:
    with pytest.raises(TextRefused, match=word) as caught:
        classifier.predict(["fine", text])
    assert "good" not in str(caught.value)


@settings(max_examples=50, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_any_other_unicode_is_answered(classifier: Classifier, text: str) -> None:
    answer = classifier.predict([text])
    assert answer.label_ids[0] in (0, 1)
    assert answer.probabilities.sum() == pytest.approx(1)


def test_threads_that_share_a_classifier_get_the_answers_of_one(classifier: Classifier) -> None:
    loads = [[WORDS[(number + step) % len(WORDS)] + " good" * (step * number % 35) for step in range(20)] for number in range(8)]
    expected = [one_by_one(classifier, texts) for texts in loads]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for answer, alone in zip(pool.map(classifier.predict, loads), expected, strict=True):
                np.testing.assert_allclose(answer.probabilities, alone, atol=SAME)


def test_uncertain_is_a_score_below_the_threshold(classifier: Classifier, tiny_bundle: Path) -> None:
    scores = classifier.predict(MIXED).scores
    for threshold in (0.0, float(np.sort(scores)[3]), 1.0):
        bundle = replace(classifier.bundle, uncertain_below=threshold)
        changed = Classifier(bundle, classifier.spec, start_engine(classifier.spec, tiny_bundle))
        assert changed.predict(MIXED).uncertain.tolist() == (scores < threshold).tolist()


def test_personal_data_is_redacted_if_the_bundle_says_so(classifier: Classifier, tiny_bundle: Path) -> None:
    bundle = replace(classifier.bundle, redact=("email", "phone"))
    redacting = Classifier(bundle, classifier.spec, start_engine(classifier.spec, tiny_bundle))
    texts = ["good film, write to some.one@example.com", "bad food, call 010-1234-5678"]
    redacted = ["good film, write to [EMAIL]", "bad food, call [PHONE]"]
    np.testing.assert_array_equal(redacting.predict(texts).probabilities, classifier.predict(redacted).probabilities)
    assert redacting.predict(texts).tokens.tolist() != classifier.predict(texts).tokens.tolist()


def test_temperature_of_the_engine_is_applied(classifier: Classifier, tiny_bundle: Path) -> None:
    cold = Classifier(classifier.bundle, replace(classifier.spec, temperature=1.0), start_engine(classifier.spec, tiny_bundle))
    hot = Classifier(classifier.bundle, replace(classifier.spec, temperature=4.0), start_engine(classifier.spec, tiny_bundle))
    logits = np.log(cold.predict(MIXED).probabilities)
    np.testing.assert_allclose(hot.predict(MIXED).probabilities, softmax(logits / 4), atol=SAME)


def test_unknown_engine_is_refused_with_the_names_of_the_engines(two_engines: Path) -> None:
    with pytest.raises(BundleBroken, match=r"no engine 'gpu' \(it has first, onnxruntime-fp32\)"):
        Classifier.load(two_engines, engine="gpu")


def test_load_takes_the_first_engine_or_the_named_one(two_engines: Path) -> None:
    assert Classifier.load(two_engines).spec.name == "first"
    assert Classifier.load(two_engines, engine="onnxruntime-fp32").spec.name == "onnxruntime-fp32"


@pytest.mark.parametrize("wrong", [[0.9, 0.1], [float("nan"), float("nan")]], ids=["another answer", "NaN"])
def test_load_takes_the_next_engine_if_the_first_gives_other_answers(
    two_engines: Path, caplog: pytest.LogCaptureFixture, wrong: list[float]
) -> None:
    with changed_manifest(two_engines) as manifest:
        manifest["reference_probabilities"]["first"][0] = wrong
    assert Classifier.load(two_engines).spec.name == "onnxruntime-fp32"
    assert "engine first is not used" in caplog.text
    with pytest.raises(BundleBroken, match="first: its answers on this machine differ"):
        Classifier.load(two_engines, engine="first")


def test_load_refuses_if_no_engine_gives_the_reference_answers(two_engines: Path) -> None:
    with changed_manifest(two_engines) as manifest:
        for answers in manifest["reference_probabilities"].values():
            answers[-1] = [1.0, 0.0]
    with pytest.raises(BundleBroken, match=r"first: .* differ .*onnxruntime-fp32: .* differ"):
        Classifier.load(two_engines)


def test_load_refuses_a_wrong_number_of_reference_answers(two_engines: Path) -> None:
    with changed_manifest(two_engines) as manifest:
        for answers in manifest["reference_probabilities"].values():
            answers.pop()
    with pytest.raises(BundleBroken):
        Classifier.load(two_engines)


@pytest.mark.parametrize(("key", "value"), [("runtime", "abacus"), ("precision", "f8")])
def test_engine_that_cannot_start_is_skipped(two_engines: Path, key: str, value: str) -> None:
    with changed_manifest(two_engines) as manifest:
        manifest["engines"][0][key] = value
    assert Classifier.load(two_engines).spec.name == "onnxruntime-fp32"


def test_classifier_needs_neither_torch_nor_the_training_side() -> None:
    done = run_command(sys.executable, "-c", "import sys, serving.inference.classifier; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert not roots & {"torch", "transformers", "pandas", "mlflow", "fastapi", "sklearn", "stages"}
