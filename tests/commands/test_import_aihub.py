"""The command imports a corpus file under an ASCII name, DVC tracks it, git ignores it, and another file is refused."""

import sys
import unicodedata

import pandas as pd
import pytest

from tests.running import ROOT, run_command
from tests.stages.shared.sources.test_aihub import CORPUS_NAMES, corpus, corpus_table, dialogue


@pytest.mark.parametrize(("form", "name", "part"), [("NFC", CORPUS_NAMES[0], "training"), ("NFD", CORPUS_NAMES[1], "validation")])
def test_command_imports_the_corpus_under_an_ascii_name(tmp_path, repository, form, name, part):
    file = corpus(tmp_path, [dialogue()], unicodedata.normalize(form, name))
    done = run_command(sys.executable, "-m", "commands.import_aihub", file, cwd=repository, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    copy = repository / f"data/raw/aihub_{part}.json"
    assert copy.read_bytes() == file.read_bytes()
    assert f"-S preprocess.source=data/raw/{copy.name} -S emotion_distribution.corpus=data/raw/{copy.name}" in done.stdout
    status = run_command("git", "status", "--porcelain", "--untracked-files=all", cwd=repository).stdout
    assert f"data/raw/{copy.name}.dvc" in status
    assert f"data/raw/{copy.name}\n" not in status


@pytest.mark.parametrize("older", [True, False])
def test_command_imports_the_xlsx_editions_too(tmp_path, repository, older):
    file = tmp_path / "감성대화말뭉치(최종데이터)_Validation.XLSX"
    corpus_table(older).to_excel(tmp_path / "table.xlsx", index=not older)
    (tmp_path / "table.xlsx").rename(file)
    done = run_command(sys.executable, "-m", "commands.import_aihub", file, cwd=repository, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "data/raw/aihub_validation.xlsx: 120 dialogues" in done.stdout
    assert "emotion_distribution" not in done.stdout, "this stage needs the codes of age and situation, which only the JSON has"
    assert (repository / "data/raw/aihub_validation.xlsx").read_bytes() == file.read_bytes()


def other_json(folder):
    return corpus(folder, {"data": []}, CORPUS_NAMES[0])


def flat_json(folder):
    return corpus(folder, [{"text": "좋아요", "label": "1"}])


def other_table(folder):
    pd.DataFrame({"text": ["좋아요"], "label": [1]}).to_excel(folder / "reviews.xlsx", index=False)
    return folder / "reviews.xlsx"


def unknown_emotion(folder):
    table = corpus_table(older=False)
    table.loc[5, "감정_소분류"] = "무덤덤한"
    table.to_excel(folder / "corpus.xlsx", index=False)
    return folder / "corpus.xlsx"


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (other_json, "holds a JSON object, not a list of records"),
        (flat_json, "not of the AI Hub corpus"),
        (other_table, "not of the AI Hub corpus"),
        (unknown_emotion, "has the unknown emotion '당황/무덤덤한' in row 7: correct the row"),
        (lambda folder: folder / "corpus.zip", "give the unpacked JSON or XLSX"),
        (lambda folder: folder / "nothing.json", "does not exist"),
    ],
)
def test_command_refuses_another_file_and_leaves_nothing(tmp_path, repository, write, sentence):
    done = run_command(sys.executable, "-m", "commands.import_aihub", write(tmp_path), cwd=repository, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert list((repository / "data/raw").iterdir()) == []
