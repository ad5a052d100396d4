"""That scoring a file loses, doubles and changes nothing: all formats, pipes, kills at any moment, broken inputs; in real processes."""

import csv
import fcntl
import gzip
import io
import json
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from serving.inference.classifier import Classifier
from serving.tables import blocks
from tests.conftest import ROOT, VOCABULARY, run_command

TEXTS = ["the film was very good", "", "the food was awful, really", 'a "quoted" one\nof two lines', "영화 최고", "a\0b", "good " * 60]
ERRORS = {1: "text is empty", 5: "text holds a NUL character"}
# the command with small blocks, each recorded, so that a small file has many places to be killed at
SMALL = (
    "import sys; from serving import score; from serving.tables import blocks, output; "
    "blocks.BLOCK_ROWS, output.RECORD_EVERY = 64, 0; score.main()"
)


@pytest.fixture
def score(tiny_bundle: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command on the tiny bundle."""

    def run(*flags: str | Path) -> subprocess.CompletedProcess[str]:
        return run_command(sys.executable, "-m", "serving.score", "--model", tiny_bundle, "--threads", "1", *flags)

    return run


@pytest.fixture(scope="module")
def answers(tiny_bundle: Path) -> list[dict[str, Any]]:
    """What the classifier itself says to TEXTS."""
    good = [text for row, text in enumerate(TEXTS) if row not in ERRORS]
    predictions = Classifier.load(tiny_bundle, threads=1).predict(good)
    found = iter(zip(predictions.label_ids, predictions.scores, strict=True))
    return [
        {"label": None, "score": None, "error": ERRORS[row]}
        if row in ERRORS
        else {"label": f"LABEL_{(answer := next(found))[0]}", "score": pytest.approx(answer[1], abs=1e-5), "error": None}
        for row in range(len(TEXTS))
    ]


def texts_for(separator: str) -> list[str]:
    """The texts; in TSV, where a row is a line, with a blank for a line end, which the model sees alike."""
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
def test_csv_has_the_classifiers_own_answers(
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
    assert re.search(r"INFO score: 7 rows, 2 with an error, 1 cut at the model's length; [\d,]+ texts/s\n", done.stderr)
    assert "%|" not in done.stderr  # no bar: stderr is no terminal
    assert done.stdout == ""
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["plain", name, out.name])


@pytest.mark.parametrize("name", ["a.ndjson", "a.jsonl"])
def test_ndjson_has_the_classifiers_own_answers(
    score: Callable[..., Any], answers: list[dict[str, Any]], tmp_path: Path, name: str
) -> None:
    source, out = tmp_path / name, tmp_path / f"out_{name}"
    source.write_text("".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(TEXTS)), "utf-8")
    assert score(source, out).returncode == 0
    rows = [json.loads(line) for line in out.read_text("utf-8").split("\n")[:-1]]
    assert [(row["id"], row["text"]) for row in rows] == list(enumerate(TEXTS))
    assert [{name: row.get(name) for name in ("label", "score", "error")} for row in rows] == answers


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_parquet_keeps_its_schema_and_has_the_classifiers_own_answers(
    score: Callable[..., Any], answers: list[dict[str, Any]], tmp_path: Path, kind: pa.DataType
) -> None:
    source, out = tmp_path / "a.parquet", tmp_path / "out.parquet"
    nested = pa.array([[{"x": number}] for number in range(len(TEXTS))] + [None])
    table = pa.table({"text": pa.array([*TEXTS, None]).cast(kind), "nested": nested}).replace_schema_metadata({"mine": "yes"})
    parquet.write_table(table, source, row_group_size=3)
    done = score(source, out)
    assert done.returncode == 0, done.stderr
    found = parquet.read_table(out)
    assert found.select(["text", "nested"]).equals(table.combine_chunks())
    assert found.schema.metadata[b"mine"] == b"yes"
    assert [found.schema.field(name).type for name in ("label", "score", "error")] == [pa.string(), pa.float64(), pa.string()]
    no_text = {"label": None, "score": None, "error": "text is no string"}
    assert found.select(["label", "score", "error"]).to_pylist() == [*answers, no_text]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.parquet", "out.parquet"]


@pytest.mark.parametrize("empty", ["text,label\n", '{"text": "good"}', "parquet"])
def test_files_of_no_row_or_one_row_are_files_too(score: Callable[..., Any], tmp_path: Path, empty: str) -> None:
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


def test_korean_windows_file_is_read_by_its_encoding_and_written_as_utf8(score: Callable[..., Any], tmp_path: Path) -> None:
    source, out = tmp_path / "리뷰(최종).csv", tmp_path / "out.csv"
    source.write_bytes("문장,라벨\n영화가 정말 좋아요,긍정\n".encode("cp949"))
    done = score(source, out, "--column", "문장")
    assert done.returncode == 1
    assert "the file is not UTF-8; name its encoding by --encoding" in done.stderr
    done = score(source, out, "--column", "문장", "--encoding", "cp949")
    assert done.returncode == 0, done.stderr
    assert out.read_text("utf-8").startswith("문장,라벨,label,score,error\n영화가 정말 좋아요,긍정,LABEL_")


# --- kills


def many(file: Path, rows: int = 1500) -> None:
    """Write rows of different lengths, some of them bad."""
    words = random.Random(5)
    lines = [{"id": row, "text": " ".join(words.choices(VOCABULARY.split(), k=words.randrange(12)))} for row in range(rows)]
    if file.name.endswith(".parquet"):
        parquet.write_table(pa.Table.from_pylist(lines), file, row_group_size=500)
    elif file.name.endswith(".ndjson"):
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    else:
        data = "".join(f"{line['id']},{line['text']}\n" for line in [{"id": "id", "text": "text"}, *lines]).encode()
        file.write_bytes(gzip.compress(data) if file.name.endswith(".gz") else data)


def ids(file: Path) -> list[int]:
    if file.name.endswith(".parquet"):
        return parquet.read_table(file)["id"].to_pylist()
    data = gzip.decompress(file.read_bytes()) if file.name.endswith(".gz") else file.read_bytes()
    if file.name.endswith(".ndjson"):
        return [json.loads(line)["id"] for line in data.decode().splitlines()]
    return [int(row["id"]) for row in csv.DictReader(io.StringIO(data.decode()))]


def start(bundle: Path, *flags: str | Path, code: str = SMALL, **pipes: Any) -> "subprocess.Popen[bytes]":
    """Start the command with small blocks."""
    command = [sys.executable, "-c", code, "--model", bundle, "--threads", "1", *flags]
    return subprocess.Popen([str(part) for part in command], cwd=ROOT, stderr=subprocess.PIPE, **pipes)


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait until something is so, or the process has ended."""
    while process.poll() is None and not condition():
        time.sleep(0.0005)


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.csv.gz", "a.parquet"])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    source, out, expected = tmp_path / name, tmp_path / f"out_{name}", tmp_path / f"expected_{name}"
    many(source)
    assert start(tiny_bundle, source, expected).wait(60) == 0
    part, moments = out.with_name(f"{out.name}.part"), random.Random(len(name))
    places = sorted(moments.randrange(1, 60_000) for _ in range(4))
    kills = 0
    for place in places:
        process = start(tiny_bundle, source, out)
        wait_for(lambda place=place: size(part) >= place, process)
        time.sleep(moments.random() * 0.01)
        process.kill()
        kills += process.wait(60) == -signal.SIGKILL
    assert kills
    process = start(tiny_bundle, source, out)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert out.read_bytes() == expected.read_bytes()
    assert ids(out) == list(range(1500))
    assert not list(tmp_path.glob("*.part*"))


def crash(place: str) -> str:
    """Return the command with a kill in the middle of something."""
    return SMALL.replace("score.main()", f"import os; {place}; score.main()")


DIE = "(lambda *_, **__: os.kill(os.getpid(), 9))"


@pytest.mark.parametrize(
    "place",
    [
        f"output.json.dump = {DIE}",  # the record begun
        f"output.Path.replace = {DIE}",  # the record written, but not in its place
        "write = output.write_all; count = iter(range(9)); output.write_all = lambda to, data: "
        f"(write(to, data), next(count)) if count.__length_hint__() > 4 else (write(to, data[:9]), {DIE}())",  # half a block written
        f"output.Path.unlink = {DIE}",  # at the end, behind the move into place
    ],
    ids=["record", "replace", "half a block", "end"],
)
def test_killed_at_the_worst_moments_it_goes_on_to_the_same_bytes(tiny_bundle: Path, tmp_path: Path, place: str) -> None:
    source, out, expected = tmp_path / "a.csv", tmp_path / "out.csv", tmp_path / "expected.csv"
    many(source, 700)
    assert start(tiny_bundle, source, expected).wait(60) == 0
    first = start(tiny_bundle, source, out)
    wait_for(lambda: size(tmp_path / "out.csv.part.json") > 0, first)
    first.kill()
    first.wait(60)
    assert start(tiny_bundle, source, out, code=crash(place)).wait(60) == -signal.SIGKILL
    process = start(tiny_bundle, source, out)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert out.read_bytes() == expected.read_bytes()
    assert b"INFO score: 700 rows" in errors


@pytest.fixture
def stopped(tiny_bundle: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A source, and an output that was begun and killed."""
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    many(source, 3000)
    process = start(tiny_bundle, source, out)
    wait_for(lambda: size(tmp_path / "out.csv.part.json") > 0, process)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    return source, out


@pytest.mark.parametrize("changed", ["input", "column", "engine", "bundle"])
def test_part_of_another_run_is_refused_and_restart_begins_anew(
    tiny_bundle: Path, copied_bundle: Path, stopped: tuple[Path, Path], changed: str
) -> None:
    source, out = stopped
    flags: list[str | Path] = []
    if changed == "input":
        many(source, 100)
    elif changed == "bundle":
        manifest = copied_bundle / "bundle.json"
        manifest.write_text(manifest.read_text("utf-8") + "\n", "utf-8")
        flags = ["--model", copied_bundle]
    else:
        flags = ["--column", "id"] if changed == "column" else ["--engine", "onnxruntime-fp32"]
    process = start(tiny_bundle, source, out, *flags)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"was begun with another {changed}: --restart begins anew".encode() in errors
    assert b"Traceback" not in errors
    assert start(tiny_bundle, source, out, *flags, "--restart").wait(60) == 0
    assert ids(out) == list(range(100 if changed == "input" else 3000))


def test_part_of_a_file_is_not_lost_to_a_pipe(score: Callable[..., Any], stopped: tuple[Path, Path]) -> None:
    out = stopped[1]
    done = score("-", out)
    assert done.returncode == 1
    assert "was begun with another input: --restart begins anew" in done.stderr
    assert size(out.with_name("out.csv.part.json")) > 0


DAMAGED = ["[]", '{"bytes": 0}', '{"identity": 1, "counts": {}, "bytes": 0}', '{"identity": {}, "counts": {"x": 1}, "bytes": 0}']


@pytest.mark.parametrize("record", DAMAGED)
def test_damaged_record_is_none(score: Callable[..., Any], stopped: tuple[Path, Path], record: str) -> None:
    source, out = stopped
    out.with_name("out.csv.part.json").write_text(record, "utf-8")
    done = score(source, out)
    assert done.returncode == 0, done.stderr
    assert ids(out) == list(range(3000))


def test_restart_forgets_what_was_recorded(tiny_bundle: Path, stopped: tuple[Path, Path]) -> None:
    source, out = stopped
    never = SMALL.replace("64, 0", "64, 1000")  # nothing is recorded
    process = start(tiny_bundle, source, out, "--restart", code=never)
    wait_for(lambda: size(out.with_name("out.csv.part.json")) == 0, process)
    process.kill()
    process.wait(60)
    assert not out.with_name("out.csv.part.json").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal_it_says_how_to_go_on(tiny_bundle: Path, tmp_path: Path, number: int, code: int) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    many(source, 20_000)
    out.write_text("older", "utf-8")
    process = start(tiny_bundle, source, out)
    wait_for(lambda: size(tmp_path / "out.csv.part") > 0, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.decode().endswith("ERROR: stopped. The same command goes on where it stopped\n")
    assert b"Traceback" not in errors
    assert out.read_text("utf-8") == "older"


def test_second_process_on_the_same_output_is_refused(score: Callable[..., Any], tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    write_csv(source)
    with (tmp_path / "out.csv.part").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = score(source, out)
        assert done.returncode == 1
        assert "another process writes" in done.stderr
    assert score(source, out).returncode == 0


def test_input_that_grows_meanwhile_is_told(tiny_bundle: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    many(source, 20_000)
    process = start(tiny_bundle, source, out)
    wait_for(lambda: size(tmp_path / "out.csv.part") > 0, process)
    with source.open("a") as stream:
        stream.write("20000,good\n")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"was changed while it was read: run again with --restart" in errors
    assert not out.exists()


def test_full_disk_is_said_in_a_sentence_and_gone_on_from(tiny_bundle: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    many(source, 3000)

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    process = start(tiny_bundle, source, out, preexec_fn=small_files)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.decode().endswith("out.csv: File too large. The same command goes on where it stopped\n")
    assert b"Traceback" not in errors
    process = start(tiny_bundle, source, out)
    _, errors = process.communicate(timeout=60)
    assert b"going on behind row" in errors
    assert ids(out) == list(range(3000))


# --- pipes


def test_pipe_gets_what_a_file_gets(score: Callable[..., Any], tiny_bundle: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out.csv"
    many(source)
    assert score(source, out).returncode == 0
    with source.open("rb") as stream:
        process = start(tiny_bundle, "-", "-", "--format", "csv", code=SMALL, stdin=stream, stdout=subprocess.PIPE)
        written, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    rows, expected = (list(csv.DictReader(io.StringIO(data.decode()))) for data in (written, out.read_bytes()))
    assert [(row["id"], row["label"], row["error"]) for row in rows] == [(row["id"], row["label"], row["error"]) for row in expected]
    assert score(source, "-").stdout.encode() == out.read_bytes()


def test_slow_pipe_is_answered_row_by_row(tiny_bundle: Path) -> None:
    process = start(tiny_bundle, "-", "-", "--format", "ndjson", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    for number in range(5):
        process.stdin.write(json.dumps({"text": f"the film was good {number}"}).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["text"].endswith(str(number))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def test_reader_that_has_enough_ends_it_quietly(tiny_bundle: Path, tmp_path: Path) -> None:
    many(tmp_path / "a.csv", 20_000)
    process = start(tiny_bundle, tmp_path / "a.csv", "-", stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"id,text,label,score,error\n"
    process.stdout.close()
    assert process.wait(60) == -signal.SIGPIPE
    assert process.stderr
    assert process.stderr.read() == b""


def test_pipe_that_breaks_gives_what_was_good_and_a_sentence(tiny_bundle: Path) -> None:
    process = start(tiny_bundle, "-", "-", "--format", "csv", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    written, errors = process.communicate(b'text\ngood\n"bad\n', timeout=60)
    assert process.returncode == 1
    assert written.decode().splitlines()[1].startswith("good,LABEL_")
    assert errors.decode().endswith("ERROR: -, behind row 1: a quoted cell is never closed\n")


# --- what is refused


@pytest.mark.parametrize(
    ("name", "content", "out", "flags", "sentence"),
    [
        ("a.csv", "review,stars\ngood,1\n", "b.csv", [], "has no column 'text' (found: 'review', 'stars'): name it by --column"),
        ("a.csv", "", "b.csv", [], "behind row 0: the file is empty"),
        ("a.csv", 'text\ngood\n"bad\n', "b.csv", [], "behind row 1: a quoted cell is never closed"),
        ("a.csv", None, "b.csv", [], "does not exist: check its path"),
        ("a.csv", "text\n", "a.csv", [], "both files are the same"),
        ("a.csv", "text\n", "b.tsv", [], "are of two formats"),
        ("a.txt", "text\n", "b.txt", [], "no format is known by the name"),
        ("a.csv", "text\n", "no/b.csv", [], "is no folder: make it first"),
        ("a.csv", "text\n", ".", ["--format", "csv"], "is no regular file"),
        ("a.parquet", "text\n", "b.parquet", [], "it is not a Parquet file"),
        ("a.parquet", "text\n", "-", [], "Parquet cannot go through a pipe"),
        ("a.csv.gz", "text\n", "b.csv", [], "the compressed file is damaged"),
        ("a.csv", "text\n", "b.csv", ["--engine", "none"], "has no engine 'none'"),
        ("a.csv", "text\n", "b.csv", ["--model", "nowhere"], "holds no model bundle"),
        ("a.csv", "text\n", "b.csv", ["--encoding", "base64"], "no encoding is known as 'base64'"),
        ("a.csv", "text\n", "b.csv", ["--encoding", "none"], "no encoding is known as 'none'"),
        ("a.csv", "text\n", "b.csv", ["--threads", "0"], "a number from 1 is needed"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
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


def test_file_with_no_readable_row_warns(score: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"review": "good"}\n', "utf-8")
    done = score(tmp_path / "a.ndjson", tmp_path / "b.ndjson")
    assert done.returncode == 0
    assert "no row could be classified: is --column right?" in done.stderr
    assert json.loads((tmp_path / "b.ndjson").read_text("utf-8"))["error"] == "the line does not name the text"


def test_parquet_without_pyarrow_names_the_command_that_installs_it(tiny_bundle: Path, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": ["good"]}), tmp_path / "a.parquet")
    without = "import sys; sys.modules['pyarrow'] = None; from serving import score; score.main()"
    process = start(tiny_bundle, tmp_path / "a.parquet", tmp_path / "b.parquet", code=without)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"pip install {blocks.PYARROW}".encode() in errors
    assert re.search(rf"^{re.escape(blocks.PYARROW)}\s", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)


def test_help_and_text_formats_import_nothing_heavy(tiny_bundle: Path, tmp_path: Path) -> None:
    heavy = {"torch", "transformers", "pandas", "pyarrow", "fastapi", "starlette", "mlflow"}
    write_csv(tmp_path / "a.csv")
    for flags, more in (["--help"], {"numpy", "tqdm", "openvino"}), ([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], set()):
        code = f"import sys\nfrom serving import score\nsys.argv = ['score', '--model', {str(tiny_bundle)!r}, *{flags}]\n"
        code += f"try: score.main()\nexcept SystemExit: pass\nprint(sorted({heavy | more} & set(sys.modules)))"
        assert run_command(sys.executable, "-c", code).stdout.strip().endswith("[]")


def test_memory_does_not_grow_with_the_rows(tiny_bundle: Path, tmp_path: Path) -> None:
    """With ONNX Runtime: OpenVINO keeps something for each shape that it has seen."""
    peaks = {}
    code = SMALL.replace("score.main()", "score.main(); import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    for kind in ("csv", "parquet"):
        for rows in (2_000, 40_000):
            many(tmp_path / f"a.{kind}", rows)
            flags = [tmp_path / f"a.{kind}", tmp_path / f"b.{kind}", "--engine", "onnxruntime-fp32"]
            process = start(tiny_bundle, *flags, code=code, stdout=subprocess.PIPE)
            printed, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
            peaks[kind, rows] = int(printed) // (1 if sys.platform != "darwin" else 1024) / 1024  # MiB
        assert peaks[kind, 40_000] - peaks[kind, 2_000] < 30, peaks
