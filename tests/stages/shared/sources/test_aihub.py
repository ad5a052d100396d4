"""The AI Hub corpus is read by its codes, refused if it is another file, and ignored by git. All records are invented."""

import json
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from stages.shared import aihub
from stages.shared.errors import FileUnreadable
from stages.shared.sources.aihub import Dialogue, read_corpus
from tests.running import ROOT, run_command

CORPUS_NAMES = ["감성대화말뭉치(최종데이터)_Training.json", "감성대화말뭉치(최종데이터)_Validation.json"]


def dialogue(text="새 화분에 물을 주었어요.", emotion="E60", profile="Pro_1", situation="S01", **changes):
    """A record in the shape of the corpus; changes: keys of `talk` and `profile` to replace."""
    persona = {"persona-id": "A02_G01_C01", "human": ["A02", "G01"], "computer": ["C01"]}
    content = {"HS01": text, "SS01": "그렇군요.", "HS02": "네. ", "SS02": "좋아요.", "HS03": "", "SS03": ""}
    kinds = {"emotion-id": f"{situation}_D02_{emotion}", "type": emotion, "situation": [situation, "D02"]}
    profile_part = {"persona-id": profile, "persona": persona, "emotion": kinds}
    talk = {"id": {"profile-id": profile, "talk-id": f"{profile}_1"}, "content": content}
    return {"profile": {**profile_part, **changes.get("profile_part", {})}, "talk": {**talk, **changes.get("talk", {})}}


def corpus(folder: Path, records: object, name="corpus.json", encoding="utf-8") -> Path:
    file = folder / name
    file.write_bytes(json.dumps(records, ensure_ascii=False).encode(encoding))
    return file


def corpus_table(older: bool) -> pd.DataFrame:
    """A table as the AI Hub corpus's XLSX editions are, of invented sentences: twenty of each of six emotions, named as they are there."""
    names = [
        ("기쁨", "신이 난"),
        ("불안 ", "걱정스러운"),
        ("분노", "짜증나는" if older else "짜증내는"),
        ("슬픔", "눈물나는" if older else "눈물이 나는"),
    ]
    names += [("상처", "고립된"), ("당황", "고립된" if older else "고립된(당황한)")]
    rows = [
        {
            "연령": "청년",
            "성별": "여성",
            "상황키워드": "연애, 결혼, 출산",
            "신체질환": "만성질환 무",
            "감정_대분류": group,
            "감정_소분류": name,
        }
        | {
            "사람문장1": f"{group.strip()}, {name} 이야기 {number}번째입니다",
            "시스템응답1" if older else "시스템문장1": "그렇군요.",
            "사람문장2": None,
        }
        for number in range(20)
        for group, name in names
    ]
    return pd.DataFrame(rows)


def test_a_dialogue_is_its_first_sentence_with_code_person_and_situation(tmp_path):
    assert read_corpus(corpus(tmp_path, [dialogue(emotion="E31", profile="Pro_7", situation="S06")])) == [
        Dialogue("새 화분에 물을 주었어요.", "E31", "Pro_7", "A02", "G01", "S06")
    ]


def test_emotions_with_equal_names_differ_by_code_and_group(tmp_path):
    read = read_corpus(corpus(tmp_path, [dialogue(emotion=code) for code in ("E43", "E51", "E34", "E59")]))
    assert [(one.emotion, aihub.GROUPS[one.group].korean) for one in read] == [
        ("E43", "상처"),
        ("E51", "당황"),
        ("E34", "불안"),
        ("E59", "당황"),
    ]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_korean_file_name_in_either_form_and_a_byte_order_mark_are_accepted(tmp_path, form, encoding):
    file = corpus(tmp_path, [dialogue()], unicodedata.normalize(form, CORPUS_NAMES[0]), encoding)
    assert len(read_corpus(file)) == 1


def test_blanks_around_a_code_do_not_change_it(tmp_path):
    read = read_corpus(corpus(tmp_path, [dialogue(emotion="E31 "), dialogue(emotion="\u00a0E31")]))
    assert {one.emotion for one in read} == {"E31"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"data": [{"paragraph": [{"utterances": []}]}]}, "holds JSON of another AI Hub corpus: give the JSON of 감성대화말뭉치"),
        ([{"text": "좋아요", "label": 1}], "holds JSON without 'profile' and 'talk'"),
        ([], "holds JSON without 'profile' and 'talk'"),
        ({"profile": {}, "talk": {}}, "holds JSON without 'profile' and 'talk'"),
        ("text", "holds JSON without 'profile' and 'talk'"),
    ],
    ids=["other corpus", "table", "no records", "one record", "text"],
)
def test_other_json_is_refused(tmp_path, content, problem):
    with pytest.raises(FileUnreadable, match=problem):
        read_corpus(corpus(tmp_path, content))


@pytest.mark.parametrize("code", ["E70", "E9", "E1", "", "e31"])
def test_an_unknown_emotion_code_is_refused_with_its_record(tmp_path, code):
    with pytest.raises(FileUnreadable, match=f"emotion code '{code}' in record 2: correct the record: the codes are E10 to E69"):
        read_corpus(corpus(tmp_path, [dialogue(), dialogue(emotion=code)]))


@pytest.mark.parametrize("content", ["[" * 100_000, json.dumps([dialogue()])[:-20]], ids=["deep", "cut off"])
def test_truncated_json_is_refused(tmp_path, content):
    file = tmp_path / "corpus.json"
    file.write_text(content, "utf-8")
    with pytest.raises(FileUnreadable, match=r"is not complete JSON .*: it may be cut off"):
        read_corpus(file)


BROKEN = {
    "no object": "좋아요",
    "no talk": {"profile": dialogue()["profile"]},
    "talk is null": {**dialogue(), "talk": None},
    "no content": dialogue(talk={"content": {}}),
    "text is null": dialogue(text=None),
    "text is a number": dialogue(text=7),
    "no profile id": dialogue(talk={"id": {}}),
    "profile id is null": dialogue(profile=None),
    "no emotion": dialogue(profile_part={"emotion": {}}),
    "emotion is a number": dialogue(emotion=31),
    "no gender": dialogue(profile_part={"persona": {"human": ["A02"]}}),
    "no situation": dialogue(profile_part={"emotion": {"type": "E31", "situation": []}}),
    "situation is a text": dialogue(profile_part={"emotion": {"type": "E31", "situation": "S06"}}),
}


@pytest.mark.parametrize("record", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_refused_with_its_number(tmp_path, record):
    with pytest.raises(FileUnreadable, match="has a broken dialogue as record 2 "):
        read_corpus(corpus(tmp_path, [dialogue(), record]))


def test_half_of_a_character_is_refused_with_its_record(tmp_path):
    file = corpus(tmp_path, [dialogue(), dialogue()])
    file.write_text(file.read_text("utf-8").replace(dialogue()["talk"]["content"]["HS01"], "\\ud83d"), "utf-8")
    with pytest.raises(FileUnreadable, match=r"lone surrogate.* in record 1"):
        read_corpus(file)


def test_an_unknown_situation_is_read_with_one_warning(tmp_path, caplog):
    read = read_corpus(corpus(tmp_path, [dialogue(), dialogue(situation="S14"), dialogue(situation="S14")]))
    assert [one.situation for one in read] == ["S01", "S14", "S14"]
    assert ["record 2 has the unknown code 'S14'" in message for message in caplog.messages] == [True]


def test_git_ignores_the_corpus_in_any_folder_under_any_form_of_its_name():
    names = [unicodedata.normalize(form, name) for form in ("NFC", "NFD") for name in CORPUS_NAMES]
    names += [name.replace(".json", ".xlsx") for name in names] + [
        "aihub_training.json",
        "aihub_validation.json",
        "corpus_final_training.xlsx",
    ]
    paths = [f"{folder}{name}" for folder in ("", "data/raw/", "data/", "tests/", "docs/한글/") for name in names]
    ignored = run_command("git", "check-ignore", "--no-index", *paths, cwd=ROOT)
    assert len(ignored.stdout.splitlines()) == len(paths), ignored.stdout


def test_git_keeps_the_invented_sample_and_the_pointer_to_the_corpus():
    kept = ["data/raw/emotion_dialogues_sample.json", "data/raw/aihub_training.json.dvc", "data/raw/aihub_validation.json.dvc"]
    assert run_command("git", "check-ignore", "--no-index", *kept, cwd=ROOT).stdout == ""
