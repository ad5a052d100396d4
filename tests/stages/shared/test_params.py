"""Params: a wrong value stops a stage before it reads data, with an error message that names key, value and expectation."""

from pathlib import Path

import pydantic
import pytest
from ruamel.yaml import YAML

from stages.base_model import BaseModelParams
from stages.emotion_distribution import EmotionParams
from stages.evaluate import EvaluateParams
from stages.export import ExportParams
from stages.label_noise import LabelNoiseParams
from stages.preprocess import PreprocessParams
from stages.shared.params import ParamsInvalid, load
from stages.train import TrainParams
from tests.running import ROOT, write_params

SECTIONS = {
    "base_model": BaseModelParams,
    "preprocess": PreprocessParams,
    "label_noise": LabelNoiseParams,
    "train": TrainParams,
    "export": ExportParams,
    "evaluate": EvaluateParams,
    "emotion_distribution": EmotionParams,
}


def refusal(file: Path, section: str) -> str:
    """Load a section that is refused, and return the error message."""
    with pytest.raises(ParamsInvalid) as refused:
        load(file, section, SECTIONS[section])
    return str(refused.value)


def test_params_of_the_project_are_accepted_and_every_section_has_a_stage():
    content = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))
    assert set(content) == set(SECTIONS)
    for section, model in SECTIONS.items():
        load(ROOT / "params.yaml", section, model)


@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_key_is_refused_in_every_section(tmp_path, section):
    file = write_params(tmp_path / "params.yaml", {section: {"qqqq": 1}})
    assert f"{section}.qqqq is not a param: the params are " in refusal(file, section)


def test_misspelt_key_gets_a_suggestion(tmp_path):
    file = write_params(tmp_path / "params.yaml", {"preprocess": {"test_sise": 0.2}})
    assert refusal(file, "preprocess") == f"{file}: preprocess.test_sise is not a param: did you mean 'test_size'?"


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("preprocess", "test_size", 0.5, "preprocess.test_size is 0.5: input should be less than 0.5"),
        ("preprocess", "test_size", 0, "preprocess.test_size is 0: input should be greater than 0"),
        ("preprocess", "validation_size", "big", "preprocess.validation_size is 'big': input should be a valid number"),
        ("preprocess", "max_rows", -1, "preprocess.max_rows is -1: input should be greater than or equal to 0"),
        ("preprocess", "max_rows", 1.5, "preprocess.max_rows is 1.5: input should be a valid integer"),
        ("preprocess", "seed", None, "preprocess.seed is None: input should be a valid integer"),
        ("preprocess", "source", ["a.csv"], "preprocess.source is ['a.csv']: input should be a valid string"),
        ("preprocess", "labels", ["one"], "preprocess.labels is ['one']: "),
        ("preprocess", "labels", "negative, positive", "preprocess.labels is 'negative, positive': "),
        (
            "preprocess",
            "labels",
            ["a", "A"],
            "preprocess.labels is ['a', 'A']: input should be 'auto' or class names must be distinct and not empty",
        ),
        ("preprocess", "aihub_target", "feeling", "preprocess.aihub_target is 'feeling': input should be 'polarity', 'emotion' or"),
        ("train", "epochs", 0, "train.epochs is 0: "),
        ("train", "learning_rate", "fast", "train.learning_rate is 'fast': "),
        ("train", "threads", "many", "train.threads is 'many': "),
        ("export", "engines", [], "export.engines is []: "),
        ("evaluate", "report_language", "fr", "evaluate.report_language is 'fr': "),
    ],
)
def test_value_of_wrong_type_or_range_is_named_with_what_was_expected(tmp_path, section, key, value, expected):
    file = write_params(tmp_path / "params.yaml", {section: {key: value}})
    sentences = refusal(file, section).splitlines()
    assert sentences[0].startswith(f"{file}: {expected}")
    assert all(sentence.startswith(f"{file}: {section}.{key} is {value!r}: ") for sentence in sentences)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(tmp_path, value):
    file = write_params(tmp_path / "params.yaml", {"preprocess": {"test_size": value}})
    assert "preprocess.test_size is " in refusal(file, "preprocess")


def test_every_problem_is_named_at_once(tmp_path):
    file = write_params(tmp_path / "params.yaml", {"preprocess": {"seed": -1, "max_row": 3, "test_size": "x"}})
    assert [line.removeprefix(f"{file}: ").split(" is ")[0] for line in refusal(file, "preprocess").splitlines()] == [
        "preprocess.test_size",
        "preprocess.seed",
        "preprocess.max_row",
    ]


def test_labels_that_do_not_fit_the_target_are_named_without_the_whole_section(tmp_path):
    file = write_params(tmp_path / "params.yaml", {"preprocess": {"labels": ["a", "b", "c"], "aihub_target": "emotion"}})
    sentence = refusal(file, "preprocess")
    assert "preprocess: labels must name the 6 classes of aihub_target emotion (분노, 슬픔, 불안, 상처, 당황, 기쁨)" in sentence
    assert "text_column" not in sentence


def test_missing_key_is_named(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("emotion_distribution:\n  corpus: a.json\n", "utf-8")
    assert refusal(file, "emotion_distribution") == f"{file}: emotion_distribution.report_language is missing: restore it from git"


@pytest.mark.parametrize(
    "content",
    ["", "other: 1\n", "- preprocess\n", "preprocess:\n", "preprocess: all\n", "preprocess: [1]\n"],
    ids=["empty", "other", "list", "null", "word", "no keys"],
)
def test_missing_section_is_named(tmp_path, content):
    file = tmp_path / "params.yaml"
    file.write_text(content, "utf-8")
    assert refusal(file, "preprocess") == f"{file}: has no section 'preprocess': restore it from git"


@pytest.mark.parametrize(
    "content",
    [
        b"preprocess: [1,\n",
        b"preprocess:\n\tseed: 1\n",
        b"preprocess:\n  seed: 1\n  seed: 2\n",
        b"a: 1\n  b: 2\n",
        b"seed: \xff\n",
        b"a: !x 1\n",
    ],
    ids=["open bracket", "tab", "key twice", "indent", "bytes", "tag"],
)
def test_file_that_is_not_yaml_is_refused_with_one_message(tmp_path, content):
    file = tmp_path / "params.yaml"
    file.write_bytes(content)
    sentence = refusal(file, "preprocess")
    assert sentence.startswith(f"{file}: ")
    assert "\n" not in sentence


def test_missing_file_is_refused(tmp_path):
    assert "does not exist: run from the root of the project" in refusal(tmp_path / "params.yaml", "preprocess")


@pytest.mark.parametrize("number", ["3e-05", "3.0e-5", "0.00003"])
def test_small_number_is_a_number_in_every_notation(tmp_path, number):
    file = write_params(tmp_path / "params.yaml", {})
    before = next(line for line in file.read_text("utf-8").splitlines() if "learning_rate:" in line)
    file.write_text(file.read_text("utf-8").replace(before, f"  learning_rate: {number}"), "utf-8")
    assert load(file, "train", TrainParams).learning_rate == 3e-5


def test_small_number_that_the_yaml_library_writes_is_read_back(tmp_path):
    file = write_params(tmp_path / "params.yaml", {"train": {"learning_rate": 3e-05}})
    assert "learning_rate: 3e-05" in file.read_text("utf-8")
    assert load(file, "train", TrainParams).learning_rate == 3e-05


def test_values_never_change_after_reading():
    settings = load(ROOT / "params.yaml", "preprocess", PreprocessParams)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        settings.seed = 7
