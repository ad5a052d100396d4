"""The classes: their names in id order, and the class that each label in a file means."""

import pydantic
import pytest

from stages.shared import aihub, params
from stages.shared.classes import ClassParams, read_class_names, write_class_names
from stages.shared.errors import FileUnreadable
from tests.running import ROOT, write_params

KOREAN = ["분노", "슬픔", "불안", "상처", "당황", "기쁨"]
ENGLISH = ["anger", "sadness", "anxiety", "hurt", "fluster", "joy"]
BINARY = ["negative", "positive"]


def classes(labels, target="polarity"):
    """Return the classes of these params."""
    return ClassParams(labels=labels, aihub_target=target)


def names_in(params_file):
    return params.load(params_file, "preprocess", ClassParams).class_names


def test_classes_of_the_project_are_negative_and_positive():
    assert names_in(ROOT / "params.yaml") == ("negative", "positive")


@pytest.mark.parametrize(
    ("labels", "names"),
    [(["no", "yes"], ("no", "yes")), ([0, 1], ("0", "1")), (["off", "on", "null"], ("off", "on", "null")), ([1, 2, 3], ("1", "2", "3"))],
)
def test_class_names_that_look_like_other_values_stay_text(tmp_path, labels, names):
    assert names_in(write_params(tmp_path / "params.yaml", {"preprocess": {"labels": labels}})) == names


def test_unquoted_yes_and_no_in_the_file_stay_text(tmp_path):
    file = write_params(tmp_path / "params.yaml", {})
    file.write_text(file.read_text("utf-8").replace("- negative\n  - positive", "- no\n  - yes", 1), "utf-8")
    assert names_in(file) == ("no", "yes")


def test_class_names_are_cleaned_like_texts():
    assert classes([" very\u00a0bad ", "caf\u0065\u0301"]).class_names == ("very bad", "caf\u00e9")


@pytest.mark.parametrize(
    ("label", "number"),
    [("negative", 0), ("Positive", 1), (" POSITIVE ", 1), ("0", 0), ("1", 1), ("1.0", 1), ("0.0", 0), ("positive\u200b", 1)],
)
def test_label_means_a_class_by_name_in_any_case_or_by_id(label, number):
    assert classes(BINARY).label_id(label) == number


@pytest.mark.parametrize("label", ["", "neutral", "2", "-1", "0.5", "1.5", "01", "pos", "yes"])
def test_other_label_means_no_class(label):
    assert classes(BINARY).label_id(label) is None


@pytest.mark.parametrize(
    ("labels", "number_of"),
    [
        ([0, 1], {"0": 0, "1": 1, "1.0": 1}),
        ([1, 2, 3, 4, 5], {"1": 0, "5": 4, "0": None, "1.0": 0, "5.0": 4, "0.0": None}),
        ([1, 0], {"1": 0, "0": 1, "1.0": 0, "0.0": 1}),
        ([-1, 0, 1], {"-1": 0, "0": 1, "1": 2, "2": None, "0.0": 1, "-1.0": 0}),
    ],
    ids=["as ids", "stars", "turned round", "signs"],
)
def test_label_means_a_class_with_a_number_as_name_by_name_only(labels, number_of):
    task = classes(labels)
    assert {label: task.label_id(label) for label in number_of} == number_of


@pytest.mark.parametrize("labels", [["a", "b", "a"], ["a", "A"], ["a", " a "], ["a", ""], ["a", "\u200b"], ["é", "e\u0301"], ["one"], []])
def test_class_names_that_are_equal_as_labels_are_refused(labels):
    with pytest.raises(pydantic.ValidationError):
        classes(labels)


@pytest.mark.parametrize("labels", [["positive", "negative"], ["긍정", "부정"], ["other", "Positive"], ["sad", "happy"]])
def test_joy_is_the_class_that_is_named_positive_or_else_the_second(labels):
    positive = 0 if labels[0] in ("positive", "긍정") else 1
    ids = classes(labels).id_by_emotion
    assert (ids["E60"], ids["E10"]) == (positive, 1 - positive)


def test_polarity_makes_joy_positive_and_all_else_negative():
    positive = {code for code, number in classes(BINARY).id_by_emotion.items() if number == 1}
    assert positive == {f"E{number}" for number in range(60, 70)}


def test_six_groups_have_the_names_of_the_corpus_if_labels_are_the_default():
    task = classes(BINARY, "emotion")
    assert task.class_names == tuple(KOREAN)
    assert [task.id_by_emotion[f"E{tens}0"] for tens in range(1, 7)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "labels",
    [KOREAN, ENGLISH, list(aihub.GROUPS), KOREAN[::-1], ["Joy", *ENGLISH[:5]], ["슬픔", "anger", "E3 불안", "E4", "FLUSTER", "기쁨"]],
    ids=["korean", "english", "codes", "backwards", "joy first", "mixed"],
)
def test_six_groups_may_be_named_in_either_language_and_any_order(labels):
    task = classes(labels, "emotion")
    assert task.class_names == tuple(labels)
    for code, number in task.id_by_emotion.items():
        group = aihub.GROUPS[code[:2]]
        assert labels[number].casefold() in {group.korean, group.english, code[:2].casefold(), f"{code[:2]} {group.korean}".casefold()}


def test_fine_emotions_are_60_classes_with_code_and_name():
    task = classes(BINARY, "emotion_fine")
    assert len(set(task.class_names)) == 60
    assert task.class_names[:2] == ("E10 분노", "E11 툴툴대는")
    assert list(task.id_by_emotion.values()) == list(range(60))


@pytest.mark.parametrize("form", ["code", "korean", "english"])
def test_fine_emotions_may_be_named_by_code_or_name_in_any_order(form):
    codes = list(aihub.EMOTIONS)[::-1]
    labels = codes if form == "code" else [getattr(aihub.EMOTIONS[code], form) for code in codes]
    task = classes(labels, "emotion_fine")
    assert task.class_names == tuple(labels)
    assert [code for code, _ in sorted(task.id_by_emotion.items(), key=lambda item: item[1])] == codes


@pytest.mark.parametrize(
    ("labels", "target", "count"),
    [
        (["bad", "good"], "emotion", 6),
        (["negative", "positive", "neutral"], "emotion", 6),
        (KOREAN[:5], "emotion", 6),
        ([*KOREAN[:5], "분노 "], "emotion", 6),
        ([*KOREAN[:5], "anger"], "emotion", 6),
        ([*KOREAN, "joy"], "emotion", 6),
        (KOREAN, "emotion_fine", 60),
    ],
)
def test_labels_that_are_not_the_classes_of_the_target_are_refused(labels, target, count):
    with pytest.raises(pydantic.ValidationError, match=rf"(must name the {count} classes of aihub_target {target}|must be distinct)"):
        classes(labels, target)


@pytest.mark.parametrize("task", [classes(KOREAN, "emotion"), classes(BINARY, "emotion"), classes(BINARY, "emotion_fine")])
def test_class_names_and_emotion_codes_agree_on_every_id(task):
    assert set(task.id_by_emotion) == set(aihub.EMOTIONS)
    for code, number in task.id_by_emotion.items():
        name = task.class_names[number]
        assert aihub.GROUPS[code[:2]].korean == name or name.startswith(code)


@pytest.mark.parametrize("forms", [("1", "1.0", "1.00", "true", "True", " 1"), ("0", "0.0", "false", "FALSE", "0\u00a0")])
def test_label_means_the_same_class_in_every_form_that_tables_give_it(forms):
    ids = {classes(["negative", "positive"]).label_id(form) for form in forms}
    assert ids == {int(forms[0])}


def test_class_name_that_is_a_number_with_a_point_is_a_name_in_every_form():
    """Without this, 1.0 from a CSV and 1 from JSON would be two classes."""
    named = classes(["1.0", "0.0"])
    assert [named.label_id(form) for form in ("1.0", "1", "0.0", "0")] == [0, 0, 1, 1]


def test_class_names_of_preprocess_come_back_in_their_order(tmp_path):
    write_class_names(("나쁨", "좋음"), tmp_path / "classes.json")
    assert read_class_names(tmp_path / "classes.json") == ("나쁨", "좋음")


@pytest.mark.parametrize("content", [None, "", "{", "1", '["a", "A"]', "[1, 2]"])
def test_file_without_class_names_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "classes.json").write_text(content, "utf-8")
    with pytest.raises(FileUnreadable, match=r"has no class names .*: run preprocess again"):
        read_class_names(tmp_path / "classes.json")


def test_found_labels_take_the_place_of_auto():
    assert classes("auto").with_labels(["b", "a"]).class_names == ("b", "a")
    assert classes("auto", "emotion").with_labels(BINARY).class_names == tuple(KOREAN)
