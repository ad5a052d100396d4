"""preprocess counts every row, keeps splits apart, and refuses bad input with one error message without any output."""

import gzip
import hashlib
import io
import json
import shutil
import sys
import tracemalloc
import unicodedata
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from serving.inference.text import clean_text
from stages import preprocess
from stages.shared.classes import label_key
from stages.shared.dataset.duplicates import KEYS, nfkc
from stages.shared.dataset.near_duplicates import MIN_SHINGLES, SHINGLE_LENGTH, similarity
from stages.shared.splits import read_split
from tests.running import ROOT, read_json, run_command, write_params
from tests.stages.shared.sources.test_aihub import corpus_table, dialogue

PARAMS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["preprocess"]
PARAMS |= {"near_duplicates": 0, "validation_size": 0.1, "test_size": 0.2, "seed": 42}
NONE = ROOT / "data/raw/none.csv"
TABLE = "text,label\n" + "".join(f"film {n} was good,positive\nfilm {n} was bad,negative\n" for n in range(30))
ENOUGH = [(f"{label} {number}", label) for label in ("negative", "positive") for number in range(3)]
OUTPUTS = ["classes.json", "compared.json", "dropped.csv", "metrics.json", "report.html", "test.csv", "train.csv", "validation.csv"]


def split_files(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{name}.csv" for name in preprocess.SPLITS}


def process_files(folder: Path, sources: dict[str, Path], max_length: int = 128, **params) -> dict:
    """Run the stage on files; return its metrics."""
    paths = preprocess.Paths(
        params=folder / "params.yaml",
        source=sources["source"],
        corrections=params.pop("corrections", NONE),
        labels_source=sources.get("labels", NONE),
        validation_source=sources.get("validation", NONE),
        test_source=sources.get("test", NONE),
        **split_files(folder),
        classes=folder / "classes.json",
        tokenizer=tokenizer_file(folder),
        dropped=folder / "dropped.csv",
        report=folder / "report.html",
        metrics=folder / "compared.json",
        details=folder / "metrics.json",
    )
    preprocess.run(preprocess.PreprocessParams(**PARAMS | params), paths, max_length=max_length)
    return read_json(folder / "metrics.json")


def tokenizer_file(folder: Path) -> Path:
    """Write a tokenizer of bytes, the smallest that knows every text."""
    tokenizer = Tokenizer(BPE({character: number for number, character in enumerate(sorted(ByteLevel.alphabet()))}, []))
    tokenizer.pre_tokenizer = ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def process(folder: Path, rows: list[tuple[str, str]], **params) -> tuple[dict, dict[str, pd.DataFrame]]:
    """Run the stage on (text, label) rows; return its metrics and its splits."""
    folder.mkdir(exist_ok=True)
    source = written(folder, "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows), "source.jsonl")
    return process_files(folder, {"source": source}, **params), {name: read_split(file) for name, file in split_files(folder).items()}


def run(folder: Path, source: Path, *extra: str, before=(), environment=None, files: dict[str, Path] | None = None, **params):
    """Run the stage as a command, with outputs in folder/out, and assert that the source stays unchanged."""
    params_file = write_params(folder / "params.yaml", {"preprocess": PARAMS | params})
    flags = [part for name, file in split_files(folder / "out").items() for part in (f"--{name}", file)]
    content = source.read_bytes() if source.is_file() else None
    command = [sys.executable, "-m", "stages.preprocess", "--params", params_file, "--source", source, *flags]
    others = {"corrections": NONE, "labels-source": NONE, "validation-source": NONE, "test-source": NONE} | (files or {})
    command += [*(part for name, file in others.items() for part in (f"--{name}", file)), *extra]
    command += ["--tokenizer", tokenizer_file(folder), "--dropped", folder / "out/dropped.csv", "--report", folder / "out/report.html"]
    command += ["--classes", folder / "out/classes.json"]
    command += ["--metrics", folder / "out/compared.json", "--details", folder / "out/metrics.json"]
    done = run_command(*before, *command, **environment or {})
    assert content == (source.read_bytes() if source.is_file() else None)
    return done


def written(folder: Path, content: str | bytes, name: str = "texts.csv") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def left(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "out").iterdir()) if (folder / "out").exists() else []


def refusal(done, folder: Path) -> str:
    """Return the error message of a failed run, and assert that the run printed no other and left no output."""
    lines = done.stderr.splitlines()
    assert done.returncode == 1, done.stderr
    assert lines[-1].startswith("ERROR: "), done.stderr
    assert all(line.startswith(("INFO ", "WARNING ")) for line in lines[:-1]), done.stderr
    assert left(folder) == []
    return lines[-1]


def keys_of(splits: dict[str, pd.DataFrame]) -> dict[str, set[str]]:
    return {name: {nfkc(text) for text in frame["text"]} for name, frame in splits.items()}


PIECES = ["good", "GOOD", " ", "\u00a0", "\u200b", "<br />", "&amp;", "&lt;br&gt;", '"', ",", "é", "e\u0301", "\ufb01", "좋아요", "NA"]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), st.text(max_size=12))
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["negative", "positive", "1", "0.0", "Positive"])), max_size=20)


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 2**32 - 1), max_rows=st.sampled_from([0, 24, 25, 1000]), order=st.randoms(use_true_random=False))
def test_any_table_is_counted_completely_and_split_the_same_without_overlap(tmp_path_factory, rows, seed, max_rows, order):
    rows = [*rows, *((f"{label} {number}", label) for label in PARAMS["labels"] for number in range(20))]
    folders = [tmp_path_factory.mktemp("run") for _ in range(3)]
    metrics, splits = process(folders[0], rows, seed=seed, max_rows=max_rows)
    assert metrics["source"]["rows"] == len(rows) == sum(metrics["rows"].values()) + sum(metrics["dropped"].values())
    keys = keys_of(splits)
    assert [len(keys[name]) for name in splits] == [len(frame) for frame in splits.values()]
    assert len(set.union(*keys.values())) == sum(map(len, keys.values()))

    process(folders[1], rows, seed=seed, max_rows=max_rows)
    assert [(folders[0] / name).read_bytes() for name in OUTPUTS] == [(folders[1] / name).read_bytes() for name in OUTPUTS]
    _, reordered = process(folders[2], order.sample(rows, len(rows)), seed=seed, max_rows=max_rows)
    assert keys_of(reordered) == keys


UNLIKE = [(hashlib.md5(f"{label} {number}".encode()).hexdigest(), label) for label in PARAMS["labels"] for number in range(20)]
LIKE = st.lists(st.sampled_from(["the film", "was", "good", "bad", "정말", "좋아요!", "1"]), min_size=1, max_size=9).map(" ".join)
LIKE_ROWS = st.lists(st.tuples(LIKE, st.sampled_from(["negative", "positive"])), min_size=1, max_size=25)


@settings(max_examples=25, deadline=None)
@given(
    origins=st.fixed_dictionaries({"source": LIKE_ROWS}, optional={"validation": LIKE_ROWS, "test": LIKE_ROWS}),
    seed=st.integers(0, 2**32 - 1),
    conflicts=st.sampled_from(["drop", "majority", "keep_first"]),
    key=st.sampled_from(sorted(KEYS)),
)
def test_any_files_are_counted_completely_and_near_duplicates_share_a_split(tmp_path_factory, origins, seed, conflicts, key):
    own = {name: [(hashlib.md5(f"{name} {text}".encode()).hexdigest(), label) for text, label in UNLIKE] for name in origins}
    origins = {name: [*rows, *own[name]] for name, rows in origins.items()}
    how = {"near_duplicates": 0.5, "seed": seed, "conflicts": conflicts, "duplicate_key": key}
    folders = [tmp_path_factory.mktemp("run") for _ in range(2)]
    for folder in folders:
        for name, rows in origins.items():
            written(folder, "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows), f"{name}.jsonl")
        metrics = process_files(folder, {name: folder / f"{name}.jsonl" for name in origins}, **how)
    assert [(folders[0] / name).read_bytes() for name in OUTPUTS] == [(folders[1] / name).read_bytes() for name in OUTPUTS]
    splits = {name: read_split(file) for name, file in split_files(folders[0]).items()}
    for name, rows in origins.items():
        facts = metrics["source"] | {"dropped": metrics["dropped"]} if name == "source" else metrics[f"{name}_source"]
        kept = sum(len(splits[part]) for part in splits if (part in origins) == (name != "source") and (name in (part, "source")))
        assert facts["rows"] == len(rows) == kept + sum(facts["dropped"].values())
    keys = {name: {KEYS[key](text) for text in frame["text"]} for name, frame in splits.items()}
    for one, other in combinations(keys, 2):
        if {one, other} <= set(origins):
            continue  # both are supplied, and used as they are
        searched = {name: [text for text in keys[name] if len(text) >= MIN_SHINGLES + SHINGLE_LENGTH - 1] for name in (one, other)}
        assert not keys[one] & keys[other]
        assert not [(a, b) for a in searched[one] for b in searched[other] if similarity(a, b) >= 0.9]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(LIKE, st.sampled_from(["E10", "E60", "E65"]), st.integers(0, 30)), max_size=40), st.integers(0, 2**32 - 1))
def test_persons_and_near_duplicates_share_a_split_in_any_corpus(tmp_path_factory, rows, seed):
    folder = tmp_path_factory.mktemp("run")
    rows = [*rows, *((text, "E60" if label == "positive" else "E20", 100 + number) for number, (text, label) in enumerate(UNLIKE))]
    records = [dialogue(text=text, emotion=emotion, profile=f"Pro_{person}") for text, emotion, person in rows]
    source = written(folder, json.dumps(records), "corpus.json")
    metrics = process_files(folder, {"source": source}, near_duplicates=0.5, seed=seed, conflicts="keep_first")
    assert metrics["source"]["rows"] == len(rows) == sum(metrics["rows"].values()) + sum(metrics["dropped"].values())
    split_of = {nfkc(text): name for name, file in split_files(folder).items() for text in read_split(file)["text"]}
    kept = {}
    for text, _, person in rows:
        kept.setdefault(nfkc(text), person)  # of equal texts the first row is kept
    splits = {}
    for text, person in kept.items():
        splits.setdefault(person, set()).add(split_of[text])
    assert all(len(found) == 1 for found in splits.values())
    assert not {(a, b) for a, b in combinations(kept, 2) if len(a) > 6 and similarity(a, b) >= 0.9 and split_of[a] != split_of[b]}


def test_a_supplied_file_without_text_after_cleaning_is_refused(tmp_path):
    source = written(tmp_path, TABLE)
    validation = written(tmp_path, "text,label\n<br>,0\n ,1\n", "validation.csv")
    test = written(tmp_path, "text,label\nFINE,1\nawful,0\n", "test.csv")
    done = run(tmp_path, source, files={"validation-source": validation, "test-source": test})
    assert "validation.csv has no text left (2 empty)" in refusal(done, tmp_path)


def test_texts_of_one_pattern_form_one_group_and_the_error_names_the_param(tmp_path):
    source = written(tmp_path, "text,label\n" + "".join(f"the film that we saw was very long {n},{n % 2}\n" for n in range(99)))
    sentence = refusal(run(tmp_path, source, near_duplicates=0.6), tmp_path)
    assert "'negative' has 1" in sentence
    assert "Every class needs at least 3: add rows, or raise preprocess.near_duplicates" in sentence
    assert run(tmp_path, source, near_duplicates=0.99).returncode == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_group_that_is_half_of_the_rows_is_trained_on_and_never_tested(tmp_path, seed):
    rows = [(f"Thank you for your order number {number:04}, we hope that you like it", "positive") for number in range(300)]
    rows += [(hashlib.md5(f"{number}".encode()).hexdigest(), ("negative", "positive")[number % 2]) for number in range(300)]
    metrics, splits = process(tmp_path, rows, seed=seed, near_duplicates=0.7, test_size=0.1)
    assert metrics["largest_group"] >= 290
    assert sum(splits["train"]["text"].str.startswith("Thank you")) >= 290
    assert (metrics["rows"]["test"], metrics["rows"]["validation"]) == pytest.approx((60, 60), abs=2)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            ["phrase,positive,negative", "lovely film,1,0", "awful meal,0,1"],
            "has several columns that hold classes: 'positive' and 'negative'",
        ),
        (["review,is_pos,verified", "lovely film,1,1", "awful meal,0,1"], "has several columns that hold classes: 'is_pos' and 'verified'"),
        (
            ["it was so-so,neutral", "lovely film,positive", "awful meal,negative"],
            "may be a header or data: it was so-so, neutral",
        ),
        (["caption,verdict", "lovely film,positive", "awful meal,negative"], "set preprocess.header to yes or no"),
        (["Text,text,label", "7,lovely film,1", "8,awful meal,0"], "has the column 'Text' more than once"),
        (["text", "lovely film,1", "awful meal,0"], "has 1 fields in its first row and 2 in the next"),
        (['""'], "is empty"),
    ],
)
def test_ambiguous_columns_and_headers_are_refused(tmp_path, lines, problem):
    source = written(tmp_path, "\n".join(lines))
    assert problem in refusal(run(tmp_path, source), tmp_path)


@pytest.mark.parametrize(
    ("lines", "how"),
    [
        (["body_x,verdict"], {"text_column": "body_x", "label_column": "verdict"}),
        (["caption,verdict"], {"header": "yes"}),
        ([], {"header": "no"}),
        ([], {"header": "no", "text_column": "0", "label_column": "1"}),
        (["sep=,", "text,label"], {}),
        (["text,positive"], {"labels": ["0", "1"]}),
    ],
)
def test_read_params_apply_to_the_source_and_not_to_a_header_only_file(tmp_path, lines, how):
    rows = [f"film {number} was {word},{label}" for number in range(30) for label, word in enumerate(("bad", "good"))]
    source = written(tmp_path, "\n".join([*lines, *rows]))
    done = run(tmp_path, source, **how)
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "out/metrics.json")["source"]["rows"] == 60


@pytest.mark.parametrize(("encoding", "separator"), [("utf-16", "tab"), ("utf-16-le", "semicolon"), ("utf-32", "bar"), ("utf-8", "comma")])
def test_encoding_and_separator_may_be_given(tmp_path, encoding, separator):
    sign = {"tab": "\t", "semicolon": ";", "bar": "|", "comma": ","}[separator]
    source = written(tmp_path, ("\ufeff" * (encoding == "utf-8") + TABLE.replace(",", sign)).encode(encoding))
    done = run(tmp_path, source, encoding=encoding, separator=separator, text_column="text")
    assert done.returncode == 0, done.stderr


def test_an_encoding_that_does_not_fit_is_refused(tmp_path):
    assert "cannot be decoded (UTF-16 stream does not start with BOM)" in refusal(
        run(tmp_path, written(tmp_path, TABLE), encoding="utf-16"), tmp_path
    )


@pytest.mark.parametrize("texts", [["same"] * 20, [""] * 20, ["👍", "👎"] * 10], ids=["conflicting", "empty", "signs"])
def test_sources_without_keys_end_without_a_traceback(tmp_path, texts):
    rows = "".join(f"{text},{number % 2}\n" for number, text in enumerate(texts))
    done = run(tmp_path, written(tmp_path, "text,label\n" + rows), near_duplicates=0.8, duplicate_key="alnum")
    assert done.returncode == (0 if texts[0] == "👍" else 1), done.stderr
    assert "Traceback" not in done.stderr


def test_rows_of_label_issues_are_valid_in_the_shipped_corrections(tmp_path):
    source = written(
        tmp_path, "text,label\n" + "".join(f"film {number} was good,positive\nfilm {number} was bad,negative\n" for number in range(30))
    )
    issues = "text,label,given,split,quality\nfilm 3 was good,negative,positive,train,0.0123\n"
    corrections = written(
        tmp_path, (ROOT / "data/raw/corrections.csv").read_text("utf-8") + issues.split("\n")[1] + "\n", "corrections.csv"
    )
    metrics = process_files(tmp_path, {"source": source}, corrections=corrections)
    assert metrics["corrections"] == {"rows": 1, "without_row": 0}
    assert (
        metrics["classes"]["negative"]["train"] + metrics["classes"]["negative"]["validation"] + metrics["classes"]["negative"]["test"]
        == 31
    )


def test_a_correction_applies_to_all_duplicates_of_its_text(tmp_path):
    rows = [*ENOUGH, ("Great stuff", "positive"), ("great  STUFF", "positive")]
    corrections = written(tmp_path, "text;label\r\nGREAT stuff;negative\r\n;\r\n".encode("utf-16"), "corrections.csv")
    metrics, splits = process(tmp_path, rows, corrections=corrections)
    assert metrics["corrections"] == {"rows": 2, "without_row": 0}
    assert metrics["dropped"]["conflicting"] == 0
    assert pd.concat(splits.values()).set_index("text").loc["Great stuff", "label"] == 0


def test_too_little_memory_is_refused_with_the_name_of_the_setting(tmp_path):
    source = written(tmp_path, "text,label\n" + "".join(f"{'word ' * 40}{number},{number % 2}\n" for number in range(40_000)))
    done = run(tmp_path, source, environment={"SENTIMENT_PREPROCESS_MEMORY": "2MB"})
    assert "SENTIMENT_PREPROCESS_MEMORY is '2MB', which is not enough" in refusal(done, tmp_path)
    assert run(tmp_path, source, environment={"SENTIMENT_PREPROCESS_MEMORY": "500MB"}).returncode == 0
    shutil.rmtree(tmp_path / "out")
    done = run(tmp_path, source, environment={"PREPROCESS_MEMORY": "plenty"})
    assert "set it to a size, e.g. 500MB" in refusal(done, tmp_path)


def test_empty_conflicting_and_duplicate_rows_are_counted_and_dropped(tmp_path):
    unusable = [("", "negative"), (" \u200b<br>", "positive"), ("same", "negative"), ("SAME ", "positive"), ("twice", "positive")]
    metrics, splits = process(tmp_path / "a", [*ENOUGH, *unusable, ("Twice", "positive"), ("twice", "1")])
    assert {reason: count for reason, count in metrics["dropped"].items() if count} == {"conflicting": 2, "duplicate": 2, "empty": 2}
    assert metrics["classes"] == {name: {"test": 1, "train": 1 + extra, "validation": 1} for extra, name in enumerate(PARAMS["labels"])}
    assert sorted(pd.concat(splits.values())["text"]) == sorted([*(text for text, _ in ENOUGH), "twice"])


def test_each_dropped_row_is_listed_with_its_file_line_and_reason(tmp_path):
    lines = [
        *(f"{text},{label}" for text, label in ENOUGH),
        "=HYPERLINK(1),positive",
        "leaks,positive",
        ",positive",
        '"two\nlines",positive',
    ]
    lines += ["=hyperlink(1),negative", "Two lines,positive", "meh,neutral"]
    source = written(tmp_path, "\n".join(["text,label", *lines]))
    test = written(tmp_path, "text,label\nLEAKS,1\nawful,0\n", "test.csv")
    metrics = process_files(tmp_path, {"source": source, "test": test}, ignore_labels=["neutral"], test_size=0.1)
    assert pd.read_csv(tmp_path / "dropped.csv", keep_default_na=False).to_numpy().tolist() == [
        ["texts.csv", 8, "conflicting", "positive", "'=HYPERLINK(1)"],
        ["texts.csv", 9, "leaked", "positive", "leaks"],
        ["texts.csv", 10, "empty", "positive", ""],
        ["texts.csv", 13, "conflicting", "negative", "'=hyperlink(1)"],
        ["texts.csv", 14, "duplicate", "positive", "Two lines"],
        ["texts.csv", 15, "ignored_label", "neutral", "meh"],
    ]
    assert sum(metrics["dropped"].values()) == 6


def test_texts_are_written_clean_and_labels_as_class_ids(tmp_path):
    _, splits = process(tmp_path, [*ENOUGH, (" a\u00a0&quot;b&quot;<br />c\n", "Positive"), ("NA", "0"), ("007", "1.0")])
    both = pd.concat(splits.values()).set_index("text")["label"]
    assert (both['a "b" c'], both["NA"], both["007"]) == (1, 0, 1)


def test_a_sample_has_exactly_max_rows_and_the_shares_of_the_classes(tmp_path):
    rows = [(f"{label} {number}", label) for label, size in (("a", 700), ("b", 200), ("c", 100)) for number in range(size)]
    metrics, splits = process(tmp_path, rows, labels=["a", "b", "c"], max_rows=130)
    assert sum(map(len, splits.values())) == 130
    assert metrics["dropped"]["sampled_out"] == 870
    assert {name: sum(counts.values()) for name, counts in metrics["classes"].items()} == {"a": 91, "b": 26, "c": 13}


def test_one_long_text_does_not_raise_the_memory_of_the_others(tmp_path):
    long = "long " * 20_000
    rows = [(f"text {number}", "positive") for number in range(3_000)] + [(f"word {number}", "negative") for number in range(2_999)]
    tracemalloc.start()
    metrics, _ = process(tmp_path, [*rows, (long, "negative")])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(metrics["rows"].values()) == 6_000
    assert peak < 100e6, "an array of the longest text's width for each row would take over 1 GB"


def test_another_seed_gives_another_sample_and_split(tmp_path):
    rows = [(f"{label} {number}", label) for label in PARAMS["labels"] for number in range(50)]
    tests = [set(process(tmp_path / str(seed), rows, seed=seed, max_rows=60)[1]["test"]["text"]) for seed in (1, 2)]
    assert tests[0] != tests[1]


@pytest.mark.parametrize("count", [3, 4, 6, 10])
@pytest.mark.parametrize("shares", [(0.1, 0.2), (0.4, 0.4), (0.49, 0.49), (0.01, 0.46)])
def test_every_class_is_in_every_split_for_any_shares(tmp_path, count, shares):
    rows = [(f"{label} {number}", label) for label, size in (("negative", count), ("positive", 100)) for number in range(size)]
    metrics, _ = process(tmp_path, rows, validation_size=shares[0], test_size=shares[1])
    assert min(metrics["classes"]["negative"].values()) >= 1


def process_dialogues(folder: Path, records: list[dict]) -> tuple[dict, list[set[str]]]:
    """Run the stage on dialogues of different first sentences; return its metrics and the persons of each split."""
    source = written(folder, json.dumps(records), "corpus.json")
    metrics = process_files(folder, {"source": source})
    person = {clean_text(record["talk"]["content"]["HS01"]): record["talk"]["id"]["profile-id"] for record in records}
    return metrics, [{person[text] for text in read_split(file)["text"]} for file in split_files(folder).values()]


@pytest.mark.parametrize("emotions", [["E60", "E61", "E20"], ["E20", "E30", "E60"]], ids=["mostly joy", "mostly not"])
def test_no_person_is_in_two_splits_and_every_class_is_in_all(tmp_path, emotions):
    records = [dialogue(f"{code} {n}", code, f"Pro_{n}") for n in range(30) for code in (["E30"] if n < 10 else emotions)]
    metrics, people = process_dialogues(tmp_path, records)
    assert [len(part) for part in people] == pytest.approx([21, 3, 6], abs=1)
    assert sum(map(len, people)) == len(set.union(*people)) == 30
    assert all(min(counts.values()) >= 1 for counts in metrics["classes"].values())


def test_blanks_at_the_ends_and_no_break_spaces_do_not_change_a_text(tmp_path):
    records = [dialogue(f"말 {n}", code, f"Pro_{n}") for n, code in enumerate(["E20", "E60"] * 3)]
    metrics, _ = process_dialogues(tmp_path, [*records, dialogue("말\u00a01 ", "E61", "Pro_1")])
    assert metrics["dropped"]["duplicate"] == 1


CORPUS = json.dumps([dialogue(), dialogue(emotion="E70")])
BAD_FILES = {
    "empty": ("a.csv", "", "is empty"),
    "header only": ("a.csv", "text,label\n", "has a header but no rows"),
    "unknown label": (
        "a.csv",
        TABLE + "a,x\nb,X\nc,x\n",
        "3 rows whose label is not a class: 'x' (2 rows, first in line 62), 'X' (1 row, first in line 63)",
    ),
    "empty label": ("a.csv", TABLE + "a,\n", "1 row whose label is not a class: '(empty)' (1 row, first in line 62)"),
    "single class": ("a.csv", TABLE.replace("positive", "negative"), "'positive' has 0"),
    "small class": ("a.csv", "text,label\na,0\nb,0\nc,0\nd,1\ne,1\n", "'positive' has 2"),
    "NUL": ("a.csv", TABLE + "a\0b,1\n", "has a NUL byte in line 62"),
    "broken quotes": ("a.csv", TABLE + '"never, closed,1\n', "has broken quotes"),
    "ragged": ("a.csv", TABLE + "one, two,1\na\n", "2 rows whose number of fields is not 2; they end in line 62, 63"),
    "unknown type": ("a.docx", TABLE, "unknown file type '.docx'"),
    "no JSON records": ("a.json", "[]", "a.json "),
    "half a character": ("a.jsonl", '{"text": "\\ud83d", "label": 1}\n{"text": "a", "label": 0}\n', "surrogate"),
    "truncated JSON": ("a.json", CORPUS[:-9], "is not complete JSON"),
    "other corpus": ("a.json", '{"data": [{"paragraph": []}]}', "has no column of labels (found: 'paragraph')"),
    "unknown emotion": ("a.json", CORPUS, "emotion code 'E70' in record 2"),
}
BAD_PARAMS = {
    "missing column": ("a.csv", "words,label\na,1\n", {"text_column": "text"}, "has no column 'text' (found: 'words', 'label')"),
    "encoding": ("a.csv", TABLE, {"encoding": "cp99"}, "preprocess.encoding is 'cp99': no encoding has this name"),
    "label values": ("a.csv", TABLE, {"label_values": [[5]]}, "label_values has 1 lists: give one list for each of the 2 labels"),
    "value twice": ("a.csv", TABLE, {"label_values": [[5], [4, 5]]}, "label_values has a value twice"),
    "id beside values": ("a.csv", TABLE + "a,0\n", {"label_values": [["negative"], [5]]}, "1 row whose label is not a class: '0'"),
    "aihub_target": ("a.csv", TABLE, {"aihub_target": "emotion"}, "is not the AI Hub corpus"),
    "labels": ("a.json", json.dumps([dialogue()]), {"labels": ["a", "b", "c"]}, "preprocess.labels has 3 classes"),
    "unknown": ("a.csv", TABLE, {"tset_size": 0.2}, "preprocess.tset_size is not a param: did you mean 'test_size'?"),
    "out of range": ("a.csv", TABLE, {"test_size": 0.7}, "preprocess.test_size is 0.7: input should be less than 0.5"),
}


@pytest.mark.parametrize(("name", "content", "sentence"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_with_one_message_and_leaves_nothing(tmp_path, name, content, sentence):
    assert sentence in refusal(run(tmp_path, written(tmp_path, content, name)), tmp_path)


@pytest.mark.parametrize(("name", "content", "params", "sentence"), BAD_PARAMS.values(), ids=BAD_PARAMS)
def test_a_bad_param_is_refused_with_one_message_and_leaves_nothing(tmp_path, name, content, params, sentence):
    assert sentence in refusal(run(tmp_path, written(tmp_path, content, name), **params), tmp_path)


def test_a_missing_source_and_a_directory_are_refused(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    assert "gone.csv does not exist: check its path" in refusal(run(tmp_path, tmp_path / "gone.csv"), tmp_path)
    assert "folder.csv is an empty folder" in refusal(run(tmp_path, tmp_path / "folder.csv"), tmp_path)


def test_debug_shows_the_traceback(tmp_path):
    done = run(tmp_path, tmp_path / "gone.csv", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "FileUnreadable" in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp949", "cp1252"])
def test_the_encoding_of_the_source_is_logged_and_recorded(tmp_path, encoding):
    text = "좋은 영화" if encoding == "cp949" else "café “été”"
    done = run(tmp_path, written(tmp_path, TABLE.replace("film", text).encode(encoding)))
    assert f"encoding {encoding}," in done.stderr
    assert read_json(tmp_path / "out/metrics.json")["source"]["encoding"] == encoding
    assert all(text in line for line in read_split(tmp_path / "out/train.csv")["text"])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_korean_file_name_with_brackets_is_read(tmp_path, form):
    done = run(tmp_path, written(tmp_path, TABLE, unicodedata.normalize(form, "감성 대화(최종) [1].csv")))
    assert done.returncode == 0, done.stderr
    assert left(tmp_path) == OUTPUTS


def test_equal_runs_give_equal_bytes_in_other_processes(tmp_path):
    source = written(tmp_path, TABLE)
    outputs = []
    for hash_seed in ("1", "2"):
        assert run(tmp_path, source, environment={"PYTHONHASHSEED": hash_seed}, max_rows=40).returncode == 0
        outputs.append([(tmp_path / "out" / name).read_bytes() for name in OUTPUTS])
    assert outputs[0] == outputs[1]


def test_a_full_disk_is_named_and_leaves_no_partial_file(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.train.csv.partial").symlink_to("/dev/full")
    assert "cannot write an output ([Errno 28] No space left on device)" in refusal(run(tmp_path, written(tmp_path, TABLE)), tmp_path)


def test_a_file_size_limit_is_named_and_leaves_no_partial_file(tmp_path):
    limited = ("bash", "-c", 'unset COVERAGE_PROCESS_CONFIG; ulimit -f 0; exec "$@"', "bash")  # coverage could not write either
    assert "no folder for temporary files is writable" in refusal(run(tmp_path, written(tmp_path, TABLE), before=limited), tmp_path)


@pytest.mark.parametrize(("target", "classes"), [("polarity", 2), ("emotion", 6), ("emotion_fine", 60)])
def test_the_sample_dialogues_make_splits_for_every_target(tmp_path, target, classes):
    done = run(tmp_path, ROOT / "data/raw/emotion_dialogues_sample.json", aihub_target=target)
    assert done.returncode == 0, done.stderr
    metrics = read_json(tmp_path / "out/metrics.json")
    assert (metrics["source"]["format"], len(metrics["classes"])) == ("aihub", classes)
    assert all(counts["train"] >= 1 for counts in metrics["classes"].values())
    assert classes == 60 or all(min(counts.values()) >= 1 for counts in metrics["classes"].values())


REVIEWS = [
    f"{start} {middle} number {number}"
    for number in range(15)
    for start, middle in (("a film that", "moved me"), ("the food there", "was cold"))
]


def test_near_duplicates_share_a_split(tmp_path):
    rows = [
        (text + ending, ("positive", "negative")[place % 2])
        for place, text in enumerate(REVIEWS)
        for ending in (" today", " today!", " todays")
    ]
    metrics, splits = process(tmp_path, rows, near_duplicates=0.85)
    assert metrics["near_duplicates"]["pairs"] >= 2 * len(REVIEWS)
    stems = [{text.split(" today")[0] for text in frame["text"]} for frame in splits.values()]
    assert sum(map(len, stems)) == len(set.union(*stems)) == len(REVIEWS)


def test_supplied_splits_are_used_as_they_are_and_removed_from_train(tmp_path):
    test = written(tmp_path, "text,label\nfilm 3 was good,1\nFILM 3 was good,1\n,0\nanother one,0\nfilm 7 was badd,0\n", "test.csv")
    done = run(tmp_path, written(tmp_path, TABLE), files={"test-source": test}, near_duplicates=0.8)
    assert done.returncode == 0, done.stderr
    metrics = read_json(tmp_path / "out/metrics.json")
    assert read_split(tmp_path / "out/test.csv")["text"].tolist() == [
        "film 3 was good",
        "FILM 3 was good",
        "another one",
        "film 7 was badd",
    ]
    assert metrics["test_source"]["dropped"]["empty"] == 1
    assert metrics["dropped"]["leaked"] >= 2
    others = pd.concat([read_split(tmp_path / f"out/{name}.csv") for name in ("train", "validation")])["text"]
    assert not {"film 3 was good", "film 7 was bad"} & set(others)
    assert metrics["source"]["rows"] == len(others) + sum(metrics["dropped"].values())


def test_texts_in_both_supplied_files_stay_with_a_warning_in_the_report(tmp_path):
    source, both = written(tmp_path, TABLE, "source.csv"), "text,label\nseen twice,1\nseen {},0\n"
    files = {name: written(tmp_path, both.format(name), f"{name}.csv") for name in ("validation", "test")}
    metrics = process_files(tmp_path, {"source": source, **files})
    assert metrics["rows"] == {"train": 60, "validation": 2, "test": 2}
    assert "1 texts of the validation file are also in the test file" in (tmp_path / "report.html").read_text("utf-8")


def test_labels_are_mapped_ignored_and_separated(tmp_path):
    rows = [*ENOUGH, ("five stars", "5"), ("four", "4,5"), ("both", "1,5"), ("middling", "3"), ("one", "1")]
    metrics, splits = process(
        tmp_path,
        rows,
        label_values=[[1], [4, 5]],
        label_separator=",",
        ignore_labels=[3],
        labels=["negative", "positive"],
    )
    label_of = dict(pd.concat(splits.values())[["text", "label"]].itertuples(index=False))
    assert (label_of["five stars"], label_of["four"], label_of["one"]) == (1, 1, 0)
    assert (metrics["dropped"]["several_labels"], metrics["dropped"]["ignored_label"]) == (1, 1)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.xlsx", "a.parquet", "shards"])
def test_the_same_rows_in_any_kind_of_file_give_the_same_splits(tmp_path, name):
    expected = run(tmp_path / "csv", written_in(tmp_path / "csv", TABLE))
    assert expected.returncode == 0, expected.stderr
    table, source = pd.read_csv(io.StringIO(TABLE)), tmp_path / name
    if name == "a.csv.gz":
        source.write_bytes(gzip.compress(TABLE.encode()))
    elif name == "a.xlsx":
        table.to_excel(source, index=False)
    elif name == "a.parquet":
        table.to_parquet(source)
    else:
        source.mkdir()
        table[:20].to_csv(source / "1.csv", index=False)
        table[20:].to_csv(source / "2.tsv", sep="\t", index=False)
    done = run(tmp_path, source)
    assert done.returncode == 0, done.stderr
    for part in preprocess.SPLITS:
        assert (tmp_path / f"out/{part}.csv").read_bytes() == (tmp_path / f"csv/out/{part}.csv").read_bytes()


def written_in(folder: Path, content: str) -> Path:
    folder.mkdir()
    return written(folder, content)


def test_corrections_change_labels_and_remove_texts(tmp_path):
    corrections = written(
        tmp_path, "text,label,given\nfilm 1 was good,negative,positive\nfilm 2  was good,,x\nnowhere,1,\n", "corrections.csv"
    )
    done = run(tmp_path, written(tmp_path, TABLE), files={"corrections": corrections})
    assert done.returncode == 0, done.stderr
    metrics = read_json(tmp_path / "out/metrics.json")
    label_of = dict(pd.concat([read_split(tmp_path / f"out/{name}.csv") for name in preprocess.SPLITS]).itertuples(index=False))
    assert label_of["film 1 was good"] == 0
    assert "film 2 was good" not in label_of
    assert (metrics["corrections"], metrics["dropped"]["corrected"]) == ({"rows": 2, "without_row": 1}, 1)
    assert "no source has 1 of its texts; the first is 'nowhere'" in done.stderr


def test_a_correction_resolves_a_conflict(tmp_path):
    corrections = written(tmp_path, "text,label\nboth,positive\n", "corrections.csv")
    metrics, splits = process(tmp_path, [*ENOUGH, ("both", "positive"), ("both", "negative")], corrections=corrections)
    assert metrics["dropped"]["conflicting"] == 0
    assert "both" in set(pd.concat(splits.values())["text"])


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("film 1 was good,good\n", "1 row whose label is not a class: 'good'"),
        ("film 1 was good,0\nfilm 1 was good,1\n", "corrects one text in two ways (line 3)"),
        ("film 1 was good\n", "1 rows whose number of fields is not 2"),
    ],
)
def test_contradictory_or_broken_corrections_are_refused(tmp_path, rows, sentence):
    corrections = written(tmp_path, "text,label\n" + rows, "corrections.csv")
    assert sentence in refusal(run(tmp_path, written(tmp_path, TABLE), files={"corrections": corrections}), tmp_path)


def test_personal_data_is_redacted_before_texts_are_compared(tmp_path):
    rows = [*ENOUGH, ("good, mail a@example.com", "positive"), ("good, mail b@example.org", "positive")]
    metrics, splits = process(tmp_path, rows, redact=["email"])
    assert "good, mail [EMAIL]" in set(pd.concat(splits.values())["text"])
    assert metrics["dropped"]["duplicate"] == 1


@pytest.mark.parametrize(("target", "joy"), [("polarity", 1), ("emotion", 5), ("emotion_fine", 58)])
@pytest.mark.parametrize(
    ("name", "older"), [("감성대화말뭉치(최종데이터)_Training.xlsx", False), ("old.xlsx", True), ("export.tsv", True), ("saved.csv", False)]
)
def test_tables_of_the_ai_hub_corpus_are_recognised_by_their_columns(tmp_path, target, joy, name, older):
    table, source = corpus_table(older), tmp_path / name
    if name.endswith(".xlsx"):
        table.to_excel(source, index=not older)
    elif name.endswith(".tsv"):
        table.to_csv(source, sep="\t", index=False, encoding="cp949")
    else:
        table.to_csv(source, index=True, encoding="utf-8-sig")
    settings = {"aihub_target": target, "labels": ["negative", "positive"]}
    done = run(tmp_path, source, **settings) if target != "emotion_fine" else None
    if done is None:  # twenty texts are of six emotions only, where each of the 60 must be there
        assert "cannot be split: 'E10 분노' has 0" in refusal(run(tmp_path, source, **settings), tmp_path)
        return
    assert done.returncode == 0, done.stderr
    metrics = read_json(tmp_path / "out/metrics.json")
    assert metrics["source"]["format"].startswith("aihub ")
    assert metrics["source"]["rows"] == sum(metrics["rows"].values()) == 120
    label_of = dict(pd.concat([read_split(tmp_path / f"out/{part}.csv") for part in preprocess.SPLITS]).itertuples(index=False))
    assert label_of["기쁨, 신이 난 이야기 3번째입니다"] == joy
    assert target == "polarity" or label_of["상처, 고립된 이야기 3번째입니다"] == 3


def test_an_emotion_that_the_corpus_does_not_have_is_refused(tmp_path):
    table = corpus_table(older=False)
    table.loc[5, "감정_소분류"] = "무덤덤한"
    table.to_csv(tmp_path / "corpus.csv", index=False)
    assert "1 row whose label is not a class: '당황/무덤덤한'" in refusal(run(tmp_path, tmp_path / "corpus.csv"), tmp_path)


def test_defects_of_an_export_are_counted_repaired_and_resolved_if_asked(tmp_path: Path) -> None:
    rows = [*ENOUGH, ("lovely\x97breakfast", "positive"), ("it\x92s \x85 good", "positive"), (r"one\ntwo \u2019", "negative")]
    metrics, splits = process(tmp_path / "kept", rows)
    assert metrics["defects"] == {"misread": 2, "escapes": 1}
    texts = {text for frame in splits.values() for text in frame["text"]}
    assert texts >= {"lovely—breakfast", "it’s … good", r"one\ntwo \u2019"}
    page = (tmp_path / "kept/report.html").read_text("utf-8")
    assert "2 texts hold characters of Windows-1252" in page
    assert "set preprocess.escapes to resolve" in page
    metrics, splits = process(tmp_path / "resolved", rows, escapes="resolve")
    assert metrics["defects"] == {"misread": 2, "escapes": 1}
    assert "one two ’" in {text for frame in splits.values() for text in frame["text"]}


def test_near_duplicates_of_supplied_files_are_told_apart_from_equal_texts(tmp_path: Path) -> None:
    long = "the film that we saw in the old cinema by the river was"
    other = "nobody should ever order their soup again because it was"
    source = written(tmp_path, TABLE + f"{long} very good,positive\n{other} really bad,negative\nthe same text,negative\n")
    validation = written(tmp_path, f"text,label\n{long} very good!,positive\nthe same text,negative\n", "validation_source.csv")
    test = written(tmp_path, f"text,label\n{long} very good?!,positive\n{other} so bad,negative\n", "test_source.csv")
    sources = {"source": source, "validation": validation, "test": test}
    alone = process_files(tmp_path, {"source": written(tmp_path, TABLE, "table.csv")}, near_duplicates=0.8, duplicate_key="ws")
    metrics = process_files(tmp_path, sources, near_duplicates=0.8, duplicate_key="ws")
    assert metrics["dropped"]["leaked"] == 3
    assert metrics["near_duplicates"]["pairs"] == alone["near_duplicates"]["pairs"], "pairs across the supplied files share no split"
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "1 texts of the source are also in a supplied validation or test file" in page
    assert "2 texts of the source are near duplicates of a supplied validation or test file" in page
    assert "1 pairs of near duplicates have one text in the supplied validation file" in page


@pytest.mark.parametrize(
    ("labels", "ignored", "names"),
    [
        (["bad", "Good", "bad", "good"], [], ["bad", "Good"]),
        (["10", "9", "2"], [], ["2", "9", "10"]),
        (["1.0", "0.0"], [], ["0", "1"]),
        (["neutral", "좋음", "나쁨"], ["neutral"], ["나쁨", "좋음"]),
    ],
    ids=["words in any case", "numbers", "numbers of pandas", "without the ignored"],
)
def test_classes_are_those_of_the_label_column_if_labels_are_auto(
    tmp_path: Path, labels: list[str], ignored: list[str], names: list[str]
) -> None:
    rows = [(f"text {number}", label) for number in range(12) for label in labels]
    rows = [(f"{text} {place}", label) for place, (text, label) in enumerate(rows)]
    metrics, splits = process(tmp_path, rows, labels="auto", ignore_labels=ignored)
    assert json.loads((tmp_path / "classes.json").read_text("utf-8")) == names
    assert metrics["classes"].keys() == set(names)
    of = {label_key(name): number for number, name in enumerate(names)}
    written_labels = {text: label for frame in splits.values() for text, label in zip(frame["text"], frame["label"], strict=True)}
    assert written_labels == {text: of[label_key(label)] for text, label in rows if label not in ignored}


@pytest.mark.parametrize("header", ["words,kind\n", ""])
def test_label_column_without_a_known_name_is_the_one_that_repeats_its_values(tmp_path: Path, header: str) -> None:
    source = written(tmp_path, header + "".join(f"the film of day {number},{('bad', 'good')[number % 2]}\n" for number in range(30)))
    metrics = process_files(tmp_path, {"source": source}, labels="auto")
    assert metrics["source"]["header"] == ("yes" if header else "no")
    assert metrics["source"]["rows"] == 30
    assert list(metrics["classes"]) == ["bad", "good"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([f"reason {number}" for number in range(120)], "more than 100 different labels in the column 'label'"),
        (["good"] * 30, "fewer than two different labels in the column 'label' ('good')"),
    ],
)
def test_labels_that_cannot_be_classes_are_refused(tmp_path: Path, labels: list[str], said: str) -> None:
    source = written(tmp_path, "text,label\n" + "".join(f"text {number},{label}\n" for number, label in enumerate(labels)))
    message = refusal(run(tmp_path, source, labels="auto"), tmp_path)
    assert said in message
    assert ("name the right column in preprocess.label_column, or the classes in preprocess.labels" in message) == (len(labels) > 100)


def test_corpus_has_its_own_classes_if_labels_are_auto(tmp_path: Path) -> None:
    metrics = process_files(tmp_path, {"source": ROOT / "data/raw/emotion_dialogues_sample.json"}, labels="auto", aihub_target="emotion")
    assert len(metrics["classes"]) == 6


def test_empty_rows_of_a_spreadsheet_are_dropped_and_counted(tmp_path: Path) -> None:
    source = written(tmp_path, TABLE.replace("\n", ",\n").replace("label,", "label,note") + ",,\n" * 5)
    metrics = process_files(tmp_path, {"source": source})
    assert metrics["dropped"]["empty"] == 5
    assert metrics["source"]["rows"] == 65
