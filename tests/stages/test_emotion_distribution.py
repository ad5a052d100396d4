"""The stage emotion_distribution: it counts every code, its shares sum to 100, and it needs no torch."""

import csv
import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from stages import emotion_distribution
from stages.shared import aihub
from stages.shared.report import plots
from stages.shared.report.words import Language
from tests.running import read_json, run_command


def record(code: str, situation: str = "S06", age: str = "A02", gender: str = "G01", profile: str = "Pro_1") -> dict:
    return {
        "profile": {
            "persona-id": profile,
            "persona": {"persona-id": f"{age}_{gender}_C01", "human": [age, gender], "computer": ["C01"]},
            "emotion": {"emotion-id": f"{situation}_D02_{code}", "type": code, "situation": [situation, "D02"]},
        },
        "talk": {"id": {"profile-id": profile, "talk-id": f"{profile}_1"}, "content": {"HS01": f"지어낸 문장 {code}"}},
    }


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    records = [record("E10"), record("E10", age="A04"), record("E64", "S09", gender="G02"), record("E43"), record("E51")]
    file = tmp_path / "corpus.json"
    file.write_text(json.dumps(records, ensure_ascii=False), "utf-8")
    return file


@pytest.fixture
def outputs(tmp_path: Path) -> dict[str, Path]:
    names = {"table": "d.csv", "picture": "d.png", "report": "d.txt", "metrics": "compared.json", "details": "d.json"}
    return {flag: tmp_path / "out" / name for flag, name in names.items()}


def test_table_and_metrics_count_every_code(run_stage, corpus: Path, outputs: dict[str, Path]) -> None:
    done = run_stage("emotion_distribution", corpus=corpus, **outputs)
    assert done.returncode == 0, done.stderr
    with outputs["table"].open(encoding="utf-8", newline="") as stream:
        rows = {row["code"]: row for row in csv.DictReader(stream)}
    assert list(rows) == list(aihub.EMOTIONS)
    assert rows["E10"]["count"] == "2"
    assert (rows["E10"]["A02"], rows["E10"]["A04"], rows["E64"]["S09"], rows["E64"]["G02"]) == ("1", "1", "1", "1")
    assert rows["E69"]["count"] == "0"
    assert (rows["E64"]["name"], rows["E64"]["english"], rows["E64"]["group"]) == ("만족스러운", "satisfied", "기쁨")
    assert sum(Decimal(row["share"]) for row in rows.values()) == 100
    metrics = read_json(outputs["details"])
    assert metrics["dialogues"] == 5
    assert metrics["groups"]["분노"] == {"count": 2, "share": 40.0}
    assert metrics["by_age"]["A04"] == {"count": 1, "share": 20.0}
    assert metrics["by_situation"]["S09"]["count"] == 1
    assert sum(values["count"] for values in metrics["by_gender"].values()) == 5


def test_ten_most_frequent_emotions_are_printed_in_either_language(run_stage, corpus: Path, outputs: dict[str, Path]) -> None:
    printed = run_stage("emotion_distribution", corpus=corpus, **outputs).stdout
    assert printed == outputs["report"].read_text("utf-8")
    assert printed.splitlines()[2].startswith("E10  분노 (anger)")
    assert len(printed.splitlines()) == 12
    korean = run_stage("emotion_distribution", params={"emotion_distribution": {"report_language": "ko"}}, corpus=corpus, **outputs).stdout
    assert korean.startswith("60가지 감정 중 가장 많이 나온 10가지 (대화 5개)")


@pytest.mark.parametrize(
    ("language", "font", "expected"),
    [
        ("en", True, ("Emotions in 360 dialogues", "anger", "E10 anger")),
        ("ko", True, ("감정 분포: 대화 360개", "분노", "E10 분노")),
        ("ko", False, ("Emotions in 360 dialogues", "anger", "E10 anger")),
    ],
)
def test_picture_is_in_the_language_that_can_be_drawn(
    language: Language, *, font: bool, expected: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[tuple[dict[str, dict[str, int]], str]] = []
    monkeypatch.setattr(plots, "hangul_font", lambda: "NanumGothic" if font else None)
    monkeypatch.setattr(plots, "grouped_bars", lambda bars, title, file: drawn.append((bars, title)))
    emotion_distribution.draw(tmp_path / "e.png", language, dict.fromkeys(aihub.EMOTIONS, 6), 360)
    ((bars, title),) = drawn
    assert (title, next(iter(bars)), next(iter(next(iter(bars.values()))))) == expected
    assert sum(len(group) for group in bars.values()) == 60


def test_picture_is_drawn(run_stage, corpus: Path, outputs: dict[str, Path]) -> None:
    run_stage("emotion_distribution", corpus=corpus, **outputs)
    assert outputs["picture"].read_bytes().startswith(b"\x89PNG")


def test_broken_corpus_leaves_no_output(run_stage, tmp_path: Path, outputs: dict[str, Path]) -> None:
    (tmp_path / "other.json").write_text('{"data": [{"paragraph": []}]}', "utf-8")
    done = run_stage("emotion_distribution", corpus=tmp_path / "other.json", **outputs)
    assert done.returncode == 1
    assert "another AI Hub corpus" in done.stderr
    assert not any(file.exists() for file in outputs.values())


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 10**6), min_size=1))
def test_shares_sum_to_exactly_100(counts: dict[str, int]) -> None:
    shares = emotion_distribution.percentages(counts)
    assert sum(Decimal(str(share)) for share in shares.values()) == (100 if any(counts.values()) else 0)
    assert all(abs(shares[key] - 100 * count / max(1, sum(counts.values()))) < 1e-4 for key, count in counts.items())


def test_stage_imports_no_torch(tmp_path: Path) -> None:
    script = "import sys, stages.emotion_distribution as stage\nfrom pathlib import Path\n"
    script += "dialogues = stage.read_corpus(Path('data/raw/emotion_dialogues_sample.json'))\n"
    script += "stage.draw(Path(sys.argv[1]), 'ko', {c: 6 for c in stage.aihub.EMOTIONS}, 360)\n"
    script += "print('torch' in sys.modules, len(dialogues))"
    assert run_command(sys.executable, "-c", script, tmp_path / "e.png").stdout.strip() == "False 403"


def test_report_has_the_ten_most_frequent_emotions_in_columns() -> None:
    counts = {code: 1000 - number for number, code in enumerate(aihub.EMOTIONS)}
    for language in ("en", "ko"):
        lines = emotion_distribution.text_report(language, counts, dict.fromkeys(counts, 1.5), 12_345).splitlines()
        assert "12,345" in lines[0]
        assert len(lines) == 12
        assert len({cell_len(line[: line.index(" %")]) for line in lines[2:]}) == 1
        assert [line.split()[0] for line in lines[2:]] == list(aihub.EMOTIONS)[:10]
