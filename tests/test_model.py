"""The model that the graph makes of the sample data behaves: a minimum, invariance, direction."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from serving.inference.classifier import Classifier
from tests.running import ROOT, read_json

NEGATIVE, POSITIVE = 0, 1


@pytest.fixture(scope="module")
def classifier(real_bundle: Path) -> Classifier:
    return Classifier.load(real_bundle)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I love this phone, it is excellent.", POSITIVE),
        ("What a wonderful film, beautifully acted.", POSITIVE),
        ("Delicious food and very friendly staff.", POSITIVE),
        ("Terrible. It broke after one day and nobody helped.", NEGATIVE),
        ("The worst book I have ever read, boring and badly written.", NEGATIVE),
        ("Rude staff, cold food, dirty tables.", NEGATIVE),
    ],
)
def test_minimum_plain_verdicts_are_right(classifier: Classifier, text: str, label: int) -> None:
    assert classifier.predict([text]).label_ids[0] == label


@pytest.mark.parametrize("text", ["The hotel was lovely and quiet.", "A dull and pointless film.", "Great battery, great screen!"])
def test_invariance_form_does_not_change_the_answer(classifier: Classifier, text: str) -> None:
    forms = [
        text,
        text.upper(),
        f"  {text}  ",
        text.replace(" ", "\u00a0"),
        f"{text}<br />",
        text.replace("hotel", "hostel").replace("film", "movie"),
    ]
    assert len(set(classifier.predict(forms).label_ids.tolist())) == 1


@pytest.mark.parametrize(
    ("more_positive", "more_negative"),
    [
        ("The soup was tasty.", "The soup was tasteless."),
        ("I would recommend this hotel.", "I would not recommend this hotel."),
        ("The app works well.", "The app does not work well."),
        ("It was slow at first, but I ended up loving it.", "I loved it at first, but it ended up slow and dull."),
    ],
)
def test_direction_a_turned_word_moves_the_score(classifier: Classifier, more_positive: str, more_negative: str) -> None:
    up, down = classifier.predict([more_positive, more_negative]).probabilities[:, POSITIVE]
    assert up > down + 0.1


def test_committed_metrics_reach_the_minimum() -> None:
    assert read_json(ROOT / "metrics/evaluate.json")["intervals"]["accuracy"][0] > 0.7
    limits = YAML(typ="safe").load((ROOT / "params.yaml").read_text("utf-8"))["export"]
    assert read_json(ROOT / "metrics/export.json")["served_flip_share"] <= limits["max_flip_share"]
