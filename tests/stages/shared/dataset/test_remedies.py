"""Each remedy that a refusal or a warning about the data names is tried on the input that got it."""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stages.preprocess import PreprocessParams
from stages.shared import params
from stages.shared.aihub import EMOTIONS, GROUPS
from stages.shared.classes import read_class_names
from stages.shared.errors import FileUnreadable, StageError
from tests.running import write_params
from tests.stages.shared.sources.test_aihub import dialogue
from tests.stages.test_preprocess import PARAMS, TABLE, UNLIKE, process, process_files, written

NEUTRAL = "".join(f"meal {number} was food,neutral\n" for number in range(5))
STARS = "".join(f"film {number} had {stars} of 5,{stars}\n" for number in range(9) for stars in (1, 2, 4, 5))
REASONS = "text,label,verdict\n" + "".join(f"film {n} was fine,reason {n:03},{('bad', 'good')[n % 2]}\n" for n in range(120))
JOINED = "text,label\n" + "".join(
    f"film {one} {other},{one:02}|{other:02}\nmeal {one} {other},{one:02}\n" for one in range(15) for other in range(one)
)
CORPUS = [dialogue(f"이야기 {code} {n}", code, f"Pro_{code}_{n}") for code in EMOTIONS for n in range(3)]
KOREAN = [group.korean for group in GROUPS.values()]
ALIKE = [(f"thank you for your order number {n:04}, we hope that you like it", ("negative", "positive")[n % 2]) for n in range(99)]


class Case(NamedTuple):
    """An input that is refused. content: of the source. sentence: a part of the message. remedies: params to change, each by itself."""

    content: str | bytes | list[Any]
    changed: dict[str, Any]
    sentence: str
    remedies: list[dict[str, Any]]


CASES = {
    "encoding": Case(
        TABLE.replace("film", "영화").encode("cp949"),
        {"encoding": "ms-korean"},
        "Korean Windows writes cp949, and auto finds the encoding",
        [{"encoding": "cp949"}, {"encoding": "auto"}],
    ),
    "target of another source": Case(TABLE, {"aihub_target": "emotion"}, "set it to polarity", [{"aihub_target": "polarity"}]),
    "unknown label": Case(
        TABLE + NEUTRAL,
        {},
        "name the classes in preprocess.labels, map the values to classes in preprocess.label_values, "
        "or drop them with preprocess.ignore_labels",
        [
            {"labels": ["negative", "positive", "neutral"]},
            {"label_values": [["negative", "neutral"], ["positive"]]},
            {"ignore_labels": ["neutral"]},
        ],
    ),
    "too many labels": Case(
        REASONS,
        {"labels": "auto"},
        "name the right column in preprocess.label_column, or the classes in preprocess.labels",
        [{"label_column": "verdict"}],
    ),
    "more than 100 classes": Case(
        "text,label\n" + "".join(f"film {n} of {of},class {n}\n" for n in range(101) for of in range(3)),
        {"labels": "auto"},
        "or the classes in preprocess.labels",
        [{"labels": [f"class {n}" for n in range(101)]}],
    ),
    "one label": Case(
        "text,label,verdict\n" + "".join(f"film {n},review,{('bad', 'good')[n % 2]}\n" for n in range(30)),
        {"labels": "auto"},
        "('review'): name the right column in preprocess.label_column",
        [{"label_column": "verdict"}],
    ),
    "joined labels": Case(
        JOINED,
        {"labels": "auto"},
        "or the separator '|' of several labels in preprocess.label_separator",
        [{"label_separator": "|", "ignore_labels": ["00", "01", "02"]}],
    ),
    "sample": Case(TABLE, {"max_rows": 4}, "add rows, or raise preprocess.max_rows", [{"max_rows": 40}, {"max_rows": 0}]),
    "small class": Case(
        TABLE + "meal,neutral\n",
        {"labels": ["negative", "neutral", "positive"]},
        "'neutral' has 1 (texts after cleaning; texts that share a split count as one). Every class needs at least 3: add rows, "
        "or leave the class out: name it in preprocess.ignore_labels and not in preprocess.labels",
        [{"labels": ["negative", "positive"], "ignore_labels": ["neutral"]}],
    ),
    "values without names": Case(
        "text,label\n" + STARS,
        {"labels": "auto", "label_values": [[1, 2], [4, 5]]},
        "set labels to a list, in the order of label_values",
        [{"labels": ["negative", "positive"]}],
    ),
    "lists of values": Case(
        "text,label\n" + STARS,
        {"label_values": [[1, 2, 4, 5]]},
        "give one list for each of the 2 labels, in their order",
        [{"label_values": [[1, 2], [4, 5]]}],
    ),
    "value twice": Case(
        "text,label\n" + STARS,
        {"label_values": [[1, 2], [2, 4, 5]]},
        "give each value to one class",
        [{"label_values": [[1, 2], [4, 5]]}],
    ),
    "classes of polarity": Case(
        CORPUS,
        {"labels": ["bad", "fair", "good"]},
        "preprocess.labels has 3 classes, but preprocess.aihub_target polarity needs two: name two",
        [{"labels": ["bad", "good"]}],
    ),
    "six classes": Case(CORPUS, {"labels": KOREAN}, "set aihub_target to emotion", [{"aihub_target": "emotion"}]),
    "sixty classes": Case(CORPUS, {"labels": list(EMOTIONS)}, "set aihub_target to emotion_fine", [{"aihub_target": "emotion_fine"}]),
    "names of the target": Case(
        CORPUS,
        {"aihub_target": "emotion", "labels": ["bad", "good"]},
        "(분노, 슬픔, 불안, 상처, 당황, 기쁨) in any order, or be [negative, positive]",
        [{"labels": KOREAN[::-1]}, {"labels": ["negative", "positive"]}],
    ),
    "small class of the corpus": Case(
        [record for record in CORPUS if record["talk"]["id"]["profile-id"] not in ("Pro_E60_0", "Pro_E60_1")],
        {"aihub_target": "emotion_fine"},
        "'E60 기쁨' has 1 (texts after cleaning; texts that share a split count as one). Every class needs at least 3: add rows, "
        "or take fewer classes (preprocess.aihub_target)",
        [{"aihub_target": "emotion"}, {"aihub_target": "polarity"}],
    ),
    "equal names": Case(
        TABLE, {"labels": ["positive", "Positive"]}, "class names must be distinct and not empty", [{"labels": ["positive", "negative"]}]
    ),
}


def tried(folder: Path, content: str | bytes | list[Any], **changed: Any) -> dict[str, Any]:
    """Run the stage with params as they stand in a file; return its metrics."""
    values = PARAMS | changed
    params.load(write_params(folder / "params.yaml", {"preprocess": values}), "preprocess", PreprocessParams)
    is_corpus = isinstance(content, list)
    source = written(folder, json.dumps(content) if is_corpus else content, "source.json" if is_corpus else "source.csv")
    return process_files(folder, {"source": source}, **values)


@pytest.mark.parametrize(("content", "changed", "sentence", "remedies"), CASES.values(), ids=CASES)
def test_each_remedy_of_a_refusal_works(tmp_path: Path, content: str, changed: dict, sentence: str, remedies: list[dict]) -> None:
    with pytest.raises(StageError) as refused:
        tried(tmp_path, content, **changed)
    assert sentence in str(refused.value)
    for remedy in remedies:
        rows = tried(tmp_path, content, **changed | remedy)["rows"]
        assert min(rows.values()) >= 1, remedy


def test_rows_and_values_are_remedies_of_a_class_without_texts(tmp_path: Path) -> None:
    rows = [(f"film {number}", "positive") for number in range(30)]
    with pytest.raises(StageError, match=r"'negative' has 0 .*: add rows"):
        process(tmp_path, rows)
    metrics, _ = process(tmp_path, [*rows, *((f"meal {number}", "negative") for number in range(3))])
    assert metrics["classes"]["negative"] == {"train": 1, "validation": 1, "test": 1}


def test_raised_similarity_and_ungrouped_parts_are_remedies_of_too_few_groups(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"add rows, or raise preprocess\.near_duplicates$"):
        process(tmp_path, ALIKE, near_duplicates=0.7)
    process(tmp_path, ALIKE, near_duplicates=0.99)
    rows = [("thank you for your order number", "negative"), *ALIKE]
    with pytest.raises(StageError, match=r"add rows, or set preprocess\.containment to report$"):
        process(tmp_path, rows, containment="group")
    assert process(tmp_path, rows)[0]["rows"] == {"train": 70, "validation": 10, "test": 20}


def test_other_file_is_the_remedy_of_one_without_texts(tmp_path: Path) -> None:
    source = written(tmp_path, TABLE)
    with pytest.raises(FileUnreadable, match=r"test\.csv has no text left \(1 empty\): give another file"):
        process_files(tmp_path, {"source": source, "test": written(tmp_path, "text,label\n<br>,0\n", "test.csv")})
    metrics = process_files(tmp_path, {"source": source, "test": written(tmp_path, "text,label\nbland,0\n", "other.csv")})
    assert metrics["rows"]["test"] == 1


def test_another_folder_in_tmpdir_is_the_remedy_if_none_is_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StageError, match="free space, or name another folder in TMPDIR"):
        tried(tmp_path, TABLE)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert tried(tmp_path, TABLE)["source"]["rows"] == 60


@pytest.mark.parametrize(
    ("corrections", "changed", "sentence", "mended", "remedies"),
    [
        ("film 1 was good,1\n", {}, "begin it with the line text,label", "text,label\nfilm 1 was good,1\n", [{}]),
        (
            "text,label\nfilm 1 was good,0\nFilm 1 was good,1\n",
            {},
            "corrects one text in two ways (line 3): keep one of them",
            "text,label\nfilm 1 was good,0\n",
            [{}, {"duplicate_key": "exact"}],
        ),
        (
            "text,label\nfilm 1 was good,bad\n",
            {},
            "is not a class: 'bad'",
            "text,label\nfilm 1 was good,bad\n",
            [{"ignore_labels": ["bad"]}, {"label_values": [["negative", "bad"], ["positive"]]}],
        ),
    ],
    ids=["header", "twice", "label"],
)
def test_each_remedy_of_refused_corrections_works(
    tmp_path: Path, corrections: str, changed: dict, sentence: str, mended: str, remedies: list[dict]
) -> None:
    source = written(tmp_path, TABLE)
    with pytest.raises(StageError) as refused:
        process_files(tmp_path, {"source": source}, corrections=written(tmp_path, corrections, "corrections.csv"), **changed)
    assert sentence in str(refused.value)
    for remedy in remedies:
        file = written(tmp_path, mended, "corrections.csv")
        metrics = process_files(tmp_path, {"source": source}, corrections=file, **changed | remedy)
        assert metrics["corrections"] == {"rows": 1, "without_row": 0}
        assert metrics["dropped"]["ignored_label"] == ("ignore_labels" in remedy)


def test_corrections_name_the_classes_of_the_corpus(tmp_path: Path) -> None:
    source = written(tmp_path, json.dumps(CORPUS), "corpus.json")
    corrections = written(tmp_path, "text,label\n이야기 E60 0,분노\n", "corrections.csv")
    metrics = process_files(tmp_path, {"source": source}, corrections=corrections, aihub_target="emotion")
    assert metrics["corrections"] == {"rows": 1, "without_row": 0}
    assert sum(metrics["classes"]["분노"].values()) == 3 * 10 + 1
    with pytest.raises(StageError, match=r"The classes are 분노 = 0, 슬픔 = 1, .*, 기쁨 = 5\."):
        process_files(
            tmp_path,
            {"source": source},
            corrections=written(tmp_path, "text,label\n이야기 E60 0,나쁨\n", "corrections.csv"),
            aihub_target="emotion",
        )


def test_preprocess_is_the_remedy_of_a_file_without_class_names(tmp_path: Path) -> None:
    classes = written(tmp_path, "[", "classes.json")
    with pytest.raises(FileUnreadable, match="run preprocess again"):
        read_class_names(classes)
    tried(tmp_path, TABLE)
    assert read_class_names(classes) == ("negative", "positive")


def test_remedies_of_the_report_end_its_warnings(tmp_path: Path) -> None:
    rows = [(rf"{number}\n{text}", label) for text, label in UNLIKE for number in (text[::-1], text[::2] * 2, text[1::2] * 2)] + ALIKE
    process(tmp_path, rows, near_duplicates=0.7)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "99 rows form one group" in page
    assert "If that is too many, raise preprocess.near_duplicates." in page
    assert "If people did not write them, set preprocess.escapes to resolve." in page
    process(tmp_path, rows, near_duplicates=0.99, escapes="resolve")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "form one group" not in page
    assert "Cleaning resolved them." in page
    assert "set preprocess" not in page


def test_group_of_one_person_names_no_param_that_does_not_help(tmp_path: Path) -> None:
    records = [dialogue(f"이야기 {n}", ("E10", "E60")[n % 2], "Pro_1" if n < 60 else f"Pro_{n}") for n in range(200)]
    process_files(tmp_path, {"source": written(tmp_path, json.dumps(records), "corpus.json")})
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "60 rows form one group of linked texts or of one person&#39;s texts, and share one split.<" in page
