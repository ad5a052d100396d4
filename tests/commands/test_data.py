"""`make data` says what a file holds, and the command that it prints trains on it."""

import csv
import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from tests.running import ROOT, run_command, typed, write_params
from tests.stages.test_preprocess import process_files

DAYS = range(40)


def tabled(header: str, *lines: str, separator: str = ",") -> str:
    """Return a table of each line once a day; # stands for the number of the day."""
    rows = [line.replace("#", str(day)) for day in DAYS for line in lines]
    return "\n".join([header, *rows] if header else rows).replace(",", separator) + "\n"


FILES = {  # name, content, encoding, texts in the report, class names
    "names that win": (
        "air.csv",
        tabled("id,airline_sentiment,text,is_retweet", "1#,negative,flight # was late,0", "2#,neutral,we flew on day #,1"),
        "utf-8",
        ["text column   text", "label column  airline_sentiment", "neutral     40  50.0%"],
        ["negative", "neutral"],
    ),
    "Korean Windows": (
        "리뷰.csv",
        tabled("번호,작성글,감정_대분류", "#,정말 좋은 날이었어요 #,기쁨", "#,너무 싫은 날이었어요 #,슬픔"),
        "cp949",
        ["encoding      cp949", "text column   작성글", "label column  감정_대분류"],
        ["기쁨", "슬픔"],
    ),
    "no header": (
        "bare.tsv",
        tabled("", "what a lovely day #,5", "what an awful day #,1", separator="\t"),
        "utf-8",
        ["The file has no header: column 0 is the text, column 1 is the label"],
        ["1", "5"],
    ),
    "typing errors": (
        "mine.csv",
        tabled("comment;verdict", "what a fine day #;good", "what a bad day #;bad") + "arrived on Monday;godo\n",
        "utf-8",
        ["separator semicolon", "Every class needs 3 rows, but these have fewer: 'godo' (1)"],
        ["bad", "good"],
    ),
    "missing labels": (
        "missing.csv",
        tabled("text,label", "what a fine day #,good", "what a bad day #,bad", "what day #,N/A", "which day #,\\N", "that day #,"),
        "utf-8",
        ["120 rows have no label: the command below drops them"],
        ["bad", "good"],
    ),
    "records": (
        "texts.jsonl",
        "".join(json.dumps({"what they said": f"a day {day}", "verdict": ("bad, really", "good")[day % 2]}) + "\n" for day in DAYS),
        "utf-8",
        ["'what they said' and 'verdict' were chosen by their values"],
        ["bad, really", "good"],
    ),
}


@pytest.mark.parametrize(("name", "content", "encoding", "shown", "classes"), FILES.values(), ids=FILES)
def test_printed_command_trains_on_the_file(
    tmp_path: Path, name: str, content: str, encoding: str, shown: list[str], classes: list[str]
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding)
    params_before = (ROOT / "params.yaml").read_bytes()
    done = run_command(sys.executable, "-m", "commands.data", file)
    assert done.returncode == 0, done.stderr
    printed = " ".join(done.stdout.split())
    for words in shown:
        assert " ".join(words.split()) in printed
    metrics = trained_on(done.stdout, tmp_path, file)
    assert metrics["source"]["rows"] == sum(metrics["rows"].values()) + sum(metrics["dropped"].values())
    assert metrics["classes"].keys() == set(classes)
    assert (ROOT / "params.yaml").read_bytes() == params_before


def trained_on(output: str, folder: Path, file: Path, params_file: Path = ROOT / "params.yaml") -> dict:
    """Run preprocess with the params of the printed command, as DVC writes them into a file of params."""
    command = shlex.split(output.splitlines()[-1])
    assert command[:3] == ["dvc", "exp", "run"]
    assert command[3::2] == ["-S"] * len(command[3::2])
    changed = folder / "changed.yaml"
    shutil.copy(params_file, changed)
    apply_overrides(changed, command[4::2])
    params = YAML(typ="safe", pure=True).load(changed)["preprocess"]
    assert Path(params.pop("source")) == file
    sources = {"source": file, "labels": ROOT / params["labels_source"]}
    return process_files(folder, sources, **params | {"near_duplicates": 0})


@pytest.mark.parametrize("name", ["18 한글.csv", "리뷰(최종).csv", "20[a].csv", "it's,a=b&c#d.csv", "a~b+c@d.csv", "null"])
def test_any_name_of_a_file_and_a_column_reaches_the_stage(tmp_path: Path, name: str) -> None:
    column = name.removesuffix(".csv")
    file = tmp_path / (name if name.endswith(".csv") else "a.csv")
    rows = [[column, "kind"], *([f"a day {day}", ("back\\slash", 'say "no"', ".5", "true: #1")[day % 4]] for day in DAYS)]
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    done = run_command(sys.executable, "-m", "commands.data", file)
    assert done.returncode == 0, done.stderr
    metrics = trained_on(done.stdout, tmp_path, file)
    assert sum(metrics["rows"].values()) == len(DAYS)
    assert metrics["classes"].keys() == {"back\\slash", 'say "no"', ".5", "true: #1"}


def test_rows_without_a_class_are_dropped_by_the_command(tmp_path: Path) -> None:
    records = [
        {"text": f"a day {day}", "labels": [["joy"], ["hurt"], ["joy", "hurt"], [], ["unknown"], ["calm", "joy"]][day % 6]}
        for day in range(60)
    ]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    done = run_command(sys.executable, "-m", "commands.data", file)
    assert done.returncode == 0, done.stderr
    printed = " ".join(done.stdout.split())
    for words in ("10 rows have no label", "20 rows have labels of several classes", "these have fewer: 'calm' (0)", "joy, hurt"):
        assert words in printed
    metrics = trained_on(done.stdout, tmp_path, file)
    assert metrics["classes"].keys() == {"joy", "hurt", "unknown"}
    assert sum(metrics["rows"].values()) == 30


def test_params_of_an_earlier_file_do_not_reach_this_one(tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text(tabled("text,label", "a fine day #,good", "a bad day #,bad", "a day #,none"), "utf-8")
    earlier = {"label_column": "stars", "header": "no", "label_values": [[1], [5]], "ignore_labels": ["none"], "label_separator": "|"}
    params_file = write_params(tmp_path / "params.yaml", {"preprocess": earlier})
    done = run_command(sys.executable, "-m", "commands.data", file, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    metrics = trained_on(done.stdout, tmp_path, file, params_file)
    assert metrics["classes"].keys() == {"good", "bad"}
    assert sum(metrics["rows"].values()) == 2 * len(DAYS)


def test_param_that_the_user_gives_decides(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(tabled("what,sentiment,emotion", "a day #,good,joy", "no day #,bad,hurt"), "utf-8")
    done = run_command(sys.executable, "-m", "commands.data", file, "label_column=emotion")
    assert done.returncode == 0, done.stderr
    assert trained_on(done.stdout, tmp_path, file)["classes"].keys() == {"joy", "hurt"}
    assert "usage: " in run_command(sys.executable, "-m", "commands.data", file, "labels=x").stderr


def test_classes_that_are_all_too_small_get_no_command(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("text,label\n" + "".join(f"text {number},{number // 2}\n" for number in range(20)), "utf-8")
    done = run_command(sys.executable, "-m", "commands.data", file)
    assert done.returncode == 1
    assert "fewer than two classes have 3 rows" in done.stderr
    assert "dvc exp run" not in done.stdout


def test_corpus_gets_a_command_for_each_number_of_classes() -> None:
    done = run_command(sys.executable, "-m", "commands.data", "data/raw/emotion_dialogues_sample.json")
    assert done.returncode == 0, done.stderr
    assert [line.rpartition("# ")[2] for line in done.stdout.splitlines()[-3:]] == ["2 classes", "6 classes", "60 classes"]
    assert "does not know the language" in done.stdout or not (ROOT / "models/base").exists()


@pytest.mark.parametrize(
    ("content", "said", "answer"),
    [
        (None, "does not exist: check its path", None),
        (tabled("what,sentiment,emotion", "a day #,good,joy", "no day #,bad,hurt"), "several columns that may be the label", "emotion"),
        (tabled("id,label", "1234567890#,good", "9876543210#,bad"), "has no column of texts ('id' holds numbers)", "id"),
    ],
    ids=["no file", "two labels", "no texts"],
)
def test_file_that_is_unclear_names_the_param_to_set(tmp_path: Path, content: str | None, said: str, answer: str | None) -> None:
    file = tmp_path / "mine.csv"
    if content:
        file.write_text(content, "utf-8")
    done = run_command(sys.executable, "-m", "commands.data", file)
    assert done.returncode == 1
    assert said in done.stderr
    assert ("Say it to this command: make data FILE=" in done.stderr) == (answer is not None)
    if answer:
        assert "dvc exp run -S" in typed(done.stderr.replace("=...", f"={answer}"), ROOT)
    assert "Traceback" not in done.stderr


def of_class(word: str) -> str:
    return "".join(f"what a {word} day, number {day}\n" for day in DAYS)


SHAPES = {  # files, params in the command
    "a folder for each class": (
        {f"{label}/{day}.txt": f"what a {word} day,\nnumber {day}" for label, word in (("pos", "fine"), ("neg", "bad")) for day in DAYS},
        ["preprocess.label_column=folder"],
    ),
    "a file for each class": ({"reviews.pos": of_class("fine"), "reviews.neg": of_class("bad")}, ["preprocess.label_column=file"]),
    "a table for each class": (
        {f"{label}.csv": tabled("id,said", f"7,what a {word} day #") for label, word in (("pos", "fine"), ("neg", "bad"))},
        ["preprocess.label_column=file"],
    ),
    "labels beside the texts": (
        {"a.txt": of_class("fine") + of_class("bad"), "b.txt": "pos\n" * len(DAYS) + "neg\n" * len(DAYS)},
        ["preprocess.labels_source=FOLDER/b.txt"],
    ),
    "tables of other columns": (
        {"pos/a.csv": tabled("id,text", "7,what a fine day #"), "neg/a.csv": tabled("id,review", "7,what a bad day #")},
        ["preprocess.label_column=folder"],
    ),
    "tables of other unknown columns": (
        {"pos/a.csv": tabled("id,said of it", "7,what a fine day #"), "neg/a.csv": tabled("id,written", "7,what a bad day #")},
        ["preprocess.label_column=folder"],
    ),
    "a table of labels beside a table of texts": (
        {"a.csv": tabled("id,said", "7,what a fine day #", "7,what a bad day #"), "labels.csv": "label\n" + "pos\nneg\n" * len(DAYS)},
        ["preprocess.labels_source=FOLDER/labels.csv"],
    ),
}


@pytest.mark.parametrize(("files", "params"), SHAPES.values(), ids=SHAPES)
def test_labels_outside_the_texts_are_found_and_the_printed_command_reads_them(
    tmp_path: Path, files: dict[str, str], params: list[str]
) -> None:
    folder = tmp_path / "texts"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, "utf-8")
    done = run_command(sys.executable, "-m", "commands.data", folder)
    assert done.returncode == 0, done.stderr
    for param in params:
        assert param.replace("FOLDER", str(folder)) in done.stdout
    metrics = trained_on(done.stdout, tmp_path, next((folder / name for name in files if name.startswith("a.")), folder))
    assert metrics["classes"].keys() == {"neg", "pos"}
    assert metrics["source"]["rows"] == 2 * len(DAYS)


@pytest.mark.parametrize(
    ("names", "texts", "labels", "said"),
    [
        (("texts.txt", "labels.txt"), 40, 39, "texts.txt has 40 texts, but FOLDER/labels.txt has 39 lines"),
        (("a.txt", "b.txt"), 40, 39, "a.txt has 40 texts, but FOLDER/b.txt has 39 lines"),
        (("texts.csv", "labels.csv"), 40, 38, "texts.csv has 40 texts, but FOLDER/labels.csv has 38 lines"),
        (("texts.txt", "labels.txt"), 6, 6, "fewer than two classes have 3 rows"),
        (("a.txt", "b.txt"), 6, 6, "fewer than two classes have 3 rows"),
    ],
)
def test_labels_beside_texts_are_no_texts_of_a_class(tmp_path: Path, names: tuple[str, str], texts: int, labels: int, said: str) -> None:
    header = "text\n" if names[0].endswith(".csv") else ""
    classes = 3 if texts == 6 else 5
    (tmp_path / names[0]).write_text(header + "".join(f"what a day {number}\n" for number in range(texts)), "utf-8")
    (tmp_path / names[1]).write_text("".join(f"class {number % classes}\n" for number in range(labels)), "utf-8")
    done = run_command(sys.executable, "-m", "commands.data", tmp_path)
    assert done.returncode == 1
    assert said.replace("FOLDER", str(tmp_path)) in done.stderr
    assert "label_column=file" not in done.stdout


def test_file_beside_the_folders_of_the_classes_is_named(tmp_path: Path) -> None:
    for label in ("neg", "pos"):
        (tmp_path / label).mkdir()
        for day in DAYS[:6]:
            (tmp_path / label / f"{day}.txt").write_text(f"what a {label} day {day}", "utf-8")
        (tmp_path / label / "Thumbs.db").write_bytes(b"\0")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "README.txt").write_text("about these texts", "utf-8")
    done = run_command(sys.executable, "-m", "commands.data", tmp_path)
    assert done.returncode == 1
    assert "holds README.txt, which is no folder of a class (label_column=folder): move it away" in done.stderr
    (tmp_path / "README.txt").unlink()
    assert "preprocess.label_column=folder" in run_command(sys.executable, "-m", "commands.data", tmp_path).stdout


def test_table_without_labels_names_the_other_places_and_one_of_them_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,said\n" + "".join(f"{day},what a day {day}\n" for day in range(10)), "utf-8")
    (tmp_path / "b.txt").write_text("pos\nneg\n" * 5, "utf-8")
    done = run_command(sys.executable, "-m", "commands.data", tmp_path / "a.csv")
    assert done.returncode == 1
    assert "has no column of labels (found: 'id', 'said')" in done.stderr
    assert "or name the file in preprocess.labels_source that has a label for each text" in done.stderr
    done = run_command(sys.executable, "-m", "commands.data", tmp_path / "a.csv", f"labels_source={tmp_path / 'b.txt'}")
    assert done.returncode == 0, done.stderr
