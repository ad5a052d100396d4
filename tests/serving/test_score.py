"""Tests of the command on real processes: it loses, doubles and changes no row, in all formats and through pipes."""

import csv
import gzip
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.tables.spreadsheets import CALAMINE
from tests.running import ROOT, run_command
from tests.serving.scoring import SMALL_BLOCKS, TEXTS, size, start, wait_for, write_many, written_sheet


def texts_for(separator: str) -> list[str]:
    """Return the texts. In TSV a row is a line, so a blank replaces a line end; the model reads both in the same way."""
    return [text.replace("\n", " ") for text in TEXTS] if separator == "\t" else TEXTS


def write_csv(file: Path, separator: str = ",", encoding: str = "utf-8") -> None:
    with file.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream, delimiter=separator).writerows([["id", "text"], *enumerate(texts_for(separator))])


def read_csv(data: bytes, separator: str = ",") -> list[dict[str, Any]]:
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline=""), delimiter=separator))
    assert [row["id"] for row in rows] == [str(row) for row in range(len(TEXTS))]
    assert [row["text"] for row in rows] == texts_for(separator)
    assert list(rows[0]) == ["id", "text", "label", "score", "error"]
    return [
        {"label": row["label"] or None, "score": float(row["score"]) if row["score"] else None, "error": row["error"] or None}
        for row in rows
    ]


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("b.csv", ";"), ("c.tsv", "\t"), ("d.csv.gz", ",")])
def test_csv_gets_the_classifiers_own_answers(
    score: Callable[..., Any], answers: list[dict[str, Any]], tmp_path: Path, name: str, separator: str
) -> None:
    source, out = tmp_path / name, tmp_path / f"out_{name}"
    write_csv(tmp_path / "plain", separator)
    data = (tmp_path / "plain").read_bytes()
    source.write_bytes(gzip.compress(data[:40]) + gzip.compress(data[40:]) if name.endswith(".gz") else data)
    done = score(source, out)
    assert done.returncode == 0, done.stderr
    written = gzip.decompress(out.read_bytes()) if name.endswith(".gz") else out.read_bytes()
    assert read_csv(written, separator) == answers
    assert re.search(r"INFO score: 7 rows, 2 with an error, 1 truncated; [\d,]+ texts/s\n", done.stderr)
    assert "%|" not in done.stderr  # no progress bar, because stderr is not a terminal
    assert done.stdout == ""
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["plain", name, out.name])


@pytest.mark.parametrize("name", ["a.ndjson", "a.jsonl"])
def test_ndjson_gets_the_classifiers_own_answers(
    score: Callable[..., Any], answers: list[dict[str, Any]], tmp_path: Path, name: str
) -> None:
    source, out = tmp_path / name, tmp_path / f"out_{name}"
    source.write_text("".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(TEXTS)), "utf-8")
    assert score(source, out).returncode == 0
    rows = [json.loads(line) for line in out.read_text("utf-8").split("\n")[:-1]]
    assert [(row["id"], row["text"]) for row in rows] == list(enumerate(TEXTS))
    assert [{name: row.get(name) for name in ("label", "score", "error")} for row in rows] == answers


@pytest.mark.parametrize("empty", ["text,label\n", '{"text": "good"}', "parquet"])
def test_file_of_no_row_or_one_row_is_scored(score: Callable[..., Any], tmp_path: Path, empty: str) -> None:
    source = tmp_path / ("a.parquet" if empty == "parquet" else "a.ndjson" if empty.startswith("{") else "a.csv")
    if empty == "parquet":
        parquet.write_table(pa.table({"text": pa.array([], pa.string())}), source)
    else:
        source.write_text(empty, "utf-8")
    out = tmp_path / f"out{source.suffix}"
    assert score(source, out).returncode == 0
    if empty == "parquet":
        assert parquet.read_table(out).schema.names == ["text", "label", "score", "error"]
    elif source.suffix == ".csv":
        assert out.read_text("utf-8") == "text,label,predicted_label,predicted_score,predicted_error\n"
    else:
        assert json.loads(out.read_text("utf-8"))["label"].startswith("LABEL_")


def test_korean_windows_file_is_read_and_written_as_utf8(score: Callable[..., Any], tmp_path: Path) -> None:
    source, out = tmp_path / "리뷰(최종).csv", tmp_path / "out.csv"
    source.write_bytes("문장,라벨\n영화가 정말 좋아요,긍정\n".encode("cp949"))
    done = score(source, out, "--encoding", "utf-8")
    assert done.returncode == 1
    assert "the file is not UTF-8: save it in UTF-8, or name its encoding with --encoding" in done.stderr
    for flags in ([], ["--encoding", "cp949"]):
        done = score(source, out, *flags)
        assert done.returncode == 0, done.stderr
        assert "the texts are in column '문장'" in done.stderr
        assert out.read_text("utf-8").startswith("문장,라벨,label,score,error\n영화가 정말 좋아요,긍정,LABEL_")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal_it_says_how_to_resume(tiny_bundle: Path, tmp_path: Path, number: int, code: int) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    write_many(source, 20_000)
    out.write_text("older", "utf-8")
    process = start(tiny_bundle, source, out)
    wait_for(lambda: size(tmp_path / "out.csv.part") > 0, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.decode().endswith("ERROR: stopped. The same command resumes where it stopped\n")
    assert b"Traceback" not in errors
    assert out.read_text("utf-8") == "older"


def test_input_that_grows_meanwhile_is_an_error(tiny_bundle: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    write_many(source, 20_000)
    process = start(tiny_bundle, source, out)
    wait_for(lambda: size(tmp_path / "out.csv.part") > 0, process)
    with source.open("a") as stream:
        stream.write("20000,good\n")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"changed while the command read it: run the command again with --restart" in errors
    assert not out.exists()


def test_pipe_gets_what_a_file_gets(score: Callable[..., Any], tiny_bundle: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    write_many(source)
    assert score(source, out).returncode == 0
    with source.open("rb") as stream:
        process = start(tiny_bundle, "-", "-", "--format", "csv", code=SMALL_BLOCKS, stdin=stream, stdout=subprocess.PIPE)
        written, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    rows, expected = (list(csv.DictReader(io.StringIO(data.decode()))) for data in (written, out.read_bytes()))
    assert [(row["id"], row["label"], row["error"]) for row in rows] == [(row["id"], row["label"], row["error"]) for row in expected]
    assert score(source, "-").stdout.encode() == out.read_bytes()


def test_slow_pipe_gets_its_answers_row_by_row(tiny_bundle: Path) -> None:
    process = start(tiny_bundle, "-", "-", "--format", "ndjson", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    for number in range(5):
        process.stdin.write(json.dumps({"text": f"the film was good {number}"}).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["text"].endswith(str(number))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def test_reader_that_closes_the_pipe_ends_the_command_quietly(tiny_bundle: Path, tmp_path: Path) -> None:
    write_many(tmp_path / "a.csv", 20_000)
    process = start(tiny_bundle, tmp_path / "a.csv", "-", stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"id,text,label,score,error\n"
    process.stdout.close()
    assert process.wait(60) == -signal.SIGPIPE
    assert process.stderr
    assert process.stderr.read() == b""


def test_broken_input_of_a_pipe_gives_the_good_rows_and_an_error_message(tiny_bundle: Path) -> None:
    process = start(tiny_bundle, "-", "-", "--format", "csv", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    written, errors = process.communicate(b'text\ngood\n"bad\n', timeout=60)
    assert process.returncode == 1
    assert written.decode().splitlines()[1].startswith("good,LABEL_")
    assert errors.decode().endswith("ERROR: -, after row 1: a quoted cell is never closed: close its quotes\n")


@pytest.mark.parametrize(
    ("name", "content", "out", "flags", "sentence"),
    [
        (
            "a.csv",
            "id,stars\n1,5\n2,4\n",
            "b.csv",
            [],
            "a.csv has no column of texts ('id' holds numbers, 'stars' holds numbers): give a file with texts, "
            "or name the column in --column",
        ),
        ("a.csv", "1,5\n2,4\n", "b.csv", ["--column", "9"], "has no column '9' (found: '1', '5'): name the column with --column"),
        (
            "a.csv",
            "Report of 2024\nsaid,Said\na,b\n",
            "b.csv",
            ["--column", "said"],
            "has the column 'said' more than once: rename or remove one of them",
        ),
        (
            "a.csv",
            "review,stars\ngood,1\n",
            "b.csv",
            ["--column", "x"],
            "has no column 'x' (found: 'review', 'stars'): name the column with",
        ),
        ("a.csv", "id,stars\n", "b.csv", [], "has no column of texts (found: 'id', 'stars'): name the column with --column"),
        ("a.csv", "", "b.csv", [], "after row 0: the file is empty"),
        ("a.csv", 'text\ngood\n"bad\n', "b.csv", [], "after row 1: a quoted cell is never closed"),
        ("a.csv", None, "b.csv", [], "does not exist: check its path"),
        ("a.csv", "text\n", "a.csv", [], "the input and the output are the same file"),
        ("a.csv", "text\n", "b.tsv", [], "have different formats"),
        ("a.doc", "text\n", "b.doc", [], "no file name shows a known format"),
        ("a.csv", "text\n", "no/b.csv", [], "is not a folder: create it first"),
        ("a.csv", "text\n", ".", ["--format", "csv"], "is not a regular file"),
        ("a.parquet", "text\n", "b.parquet", [], "the file is not Parquet"),
        ("a.parquet", "text\n", "-", [], "Parquet cannot go through a pipe"),
        ("a.xlsx", "text\n", "b.xlsx", [], "comes out as CSV: end the name of"),
        ("a.xlsx", "text\n", "b.csv", [], "is not an XLSX file"),
        ("a.csv.gz", "text\n", "b.csv", [], "the compressed file is damaged"),
        ("a.csv", "text\n", "b.csv", ["--engine", "none"], "has no engine 'none'"),
        ("a.csv", "text\n", "b.csv", ["--model", "nowhere"], "holds no model bundle"),
        ("a.csv", "text\n", "b.csv", ["--encoding", "base64"], "Python knows no encoding 'base64'"),
        ("a.csv", "text\n", "b.csv", ["--encoding", "none"], "Python knows no encoding 'none'"),
        ("a.csv", "text\n", "b.csv", ["--threads", "0"], "'0' is not a number of cores: give a number from 1"),
    ],
)
def test_impossible_request_gets_an_error_message(
    score: Callable[..., Any], tmp_path: Path, name: str, content: str | None, out: str, flags: list[str], sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, "utf-8")
    done = score(tmp_path / name, out if out == "-" else tmp_path / out, *flags)
    assert done.returncode in (1, 2)
    assert not list(tmp_path.glob("*.part*"))
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_rows_swallowed_by_a_lone_quote_are_an_error_that_says_where(score: Callable[..., Any], tmp_path: Path) -> None:
    rows = [f"{number},{chr(34) if number in (5, 25) else ''}broke after two days" for number in range(1, 41)]
    (tmp_path / "inch.csv").write_text("\n".join(["id,text", *rows]), "utf-8")
    done = score(tmp_path / "inch.csv", tmp_path / "o.csv")
    assert done.returncode == 1
    assert "inch.csv, after row 4: the next row has complete rows inside a quoted text: double the quotes" in done.stderr
    assert not (tmp_path / "o.csv").exists()


def test_file_with_no_readable_row_warns(score: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"stars": 5}\n', "utf-8")
    done = score(tmp_path / "a.ndjson", tmp_path / "b.ndjson")
    assert done.returncode == 0
    assert "no row could be classified: check --column" in done.stderr
    assert (
        json.loads((tmp_path / "b.ndjson").read_text("utf-8"))["error"]
        == "the line does not have the key of the text: add it, or name another column"
    )


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
def test_details_have_the_class_name_and_the_scores_of_all_classes(score: Callable[..., Any], tmp_path: Path, name: str) -> None:
    rows = [{"text": text} for text in TEXTS]
    if name == "a.csv":
        write_csv(tmp_path / name)
    elif name == "a.ndjson":
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    out = tmp_path / f"out_{name}"
    assert score(tmp_path / name, out, "--detail").returncode == 0
    if name == "a.csv":
        found = list(csv.DictReader(io.StringIO(out.read_text("utf-8"), newline="")))
    elif name == "a.ndjson":
        found = [json.loads(line) for line in out.read_text("utf-8").split("\n")[:-1]]
    else:
        found = parquet.read_table(out).to_pylist()
    answered = [row for row in found if row.get("label")]
    assert len(answered) == len(TEXTS) - 2
    for row in answered:
        scores = {name: float(row[f"score_{name}"]) for name in ("negative", "positive")}
        assert row["class_name"] == max(scores, key=lambda name: scores[name])
        assert float(row["score"]) == max(scores.values())
        assert sum(scores.values()) == pytest.approx(1)
        assert str(row["uncertain"]) == str(float(row["score"]) < 0.6)
    assert [str(row["truncated"]) for row in answered].count("True") == 1


def test_spreadsheet_comes_out_as_csv(score: Callable[..., Any], tmp_path: Path) -> None:
    sheet = [["번호", "Review"], [1, "the film was good"], [2, None], [3, 'a "bad", film\nof two lines']]
    written_sheet(tmp_path / "a.xlsx", sheet)
    done = score(tmp_path / "a.xlsx", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    found = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8"), newline="")))
    assert [(row["번호"], row["Review"]) for row in found] == [(str(number), text or "") for number, text in sheet[1:]]
    assert [row["error"] for row in found] == ["", "text is empty: send some words", ""]


def test_spreadsheet_of_one_column_is_one_column_whatever_its_texts_hold(score: Callable[..., Any], tmp_path: Path) -> None:
    texts = [f"Pros: the film {number}; Cons: the end" for number in range(20)]
    written_sheet(tmp_path / "a.xlsx", [["review"], *([text] for text in texts)])
    assert score(tmp_path / "a.xlsx", tmp_path / "out.csv").returncode == 0
    found = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8"), newline="")))
    assert [(row["review"], row["label"][:6], row["error"]) for row in found] == [(text, "LABEL_", "") for text in texts]


def test_spreadsheet_without_its_reader_names_the_package(tiny_bundle: Path, tmp_path: Path) -> None:
    written_sheet(tmp_path / "a.xlsx", [["text"], ["good"]])
    without = "import sys; sys.modules['python_calamine'] = None; from serving import score; score.main()"
    process = start(tiny_bundle, tmp_path / "a.xlsx", tmp_path / "b.csv", code=without)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"is XLSX, whose reader is not installed: type pip install {CALAMINE}, or save it as CSV".encode() in errors
    assert re.search(rf"^{re.escape(CALAMINE)}\s", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)


def test_help_and_text_formats_import_nothing_heavy(tiny_bundle: Path, tmp_path: Path) -> None:
    heavy = {"torch", "transformers", "pandas", "pyarrow", "fastapi", "starlette", "mlflow"}
    write_csv(tmp_path / "a.csv")
    for flags, more in (["--help"], {"numpy", "tqdm", "openvino"}), ([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], set()):
        code = f"import sys\nfrom serving import score\nsys.argv = ['score', '--model', {str(tiny_bundle)!r}, *{flags}]\n"
        code += f"try: score.main()\nexcept SystemExit: pass\nprint(sorted({heavy | more} & set(sys.modules)))"
        assert run_command(sys.executable, "-c", code).stdout.strip().endswith("[]")


def test_memory_does_not_grow_with_the_rows(tiny_bundle: Path, tmp_path: Path) -> None:
    """Use ONNX Runtime, because OpenVINO keeps memory for each shape of a batch."""
    peaks = {}
    code = SMALL_BLOCKS.replace("score.main()", "score.main(); import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    for kind in ("csv", "parquet"):
        for rows in (2_000, 40_000):
            write_many(tmp_path / f"a.{kind}", rows)
            flags = [tmp_path / f"a.{kind}", tmp_path / f"b.{kind}", "--engine", "onnxruntime-fp32"]
            process = start(tiny_bundle, *flags, code=code, stdout=subprocess.PIPE)
            printed, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
            peaks[kind, rows] = int(printed) // (1 if sys.platform != "darwin" else 1024) / 1024  # MiB
        assert peaks[kind, 40_000] - peaks[kind, 2_000] < 30, peaks
