"""The sample data keep what data/raw/README.md says of them."""

import csv
import json
import re
from collections import Counter

from stages.shared import aihub
from stages.shared.sources.aihub import read_corpus
from tests.running import ROOT

REVIEWS = ROOT / "data/raw/reviews.csv"
DIALOGUES = ROOT / "data/raw/emotion_dialogues_sample.json"


def reviews() -> list[dict[str, str]]:
    with REVIEWS.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def test_reviews_are_1500_half_negative_half_positive() -> None:
    rows = reviews()
    assert list(rows[0]) == ["text", "label"]
    assert Counter(row["label"] for row in rows) == {"0": 750, "1": 750}


def test_reviews_have_4_to_70_words() -> None:
    assert all(4 <= len(row["text"].split()) <= 70 for row in reviews())


def test_no_two_reviews_share_an_opening_an_ending_or_five_words_in_a_row() -> None:
    shapes: Counter[tuple[str, ...]] = Counter()
    for row in reviews():
        tokens = words(row["text"])
        own = {("<", *tokens[:3]), (*tokens[-4:], ">")} | {tuple(tokens[i : i + 5]) for i in range(len(tokens) - 4)}
        shapes.update(own)
    assert [shape for shape, count in shapes.items() if count > 1] == []


def test_no_review_stands_in_the_test_data(shared_data) -> None:
    def key(text: str) -> str:
        return re.sub(r"[\W_]+", "", text.casefold())

    theirs = set()
    for file in (*shared_data.glob("sst2/*.tsv"), *shared_data.glob("uci/*.txt")):
        theirs |= {key(part) for line in file.read_text("utf-8").split("\n") for part in line.split("\t")}
    assert not {row["text"] for row in reviews() if key(row["text"]) in theirs}


def test_dialogues_are_403_in_the_corpus_format() -> None:
    records = json.loads(DIALOGUES.read_text("utf-8"))
    assert len(records) == 403
    for record in records:
        profile, talk = record["profile"], record["talk"]
        assert profile.keys() == {"persona-id", "persona", "emotion"}
        assert talk.keys() == {"id", "content"}
        assert list(talk["content"]) == ["HS01", "SS01", "HS02", "SS02", "HS03", "SS03"]
        assert all(talk["content"][turn].strip() for turn in ("HS01", "SS01", "HS02", "SS02"))
        assert bool(talk["content"]["HS03"]) == bool(talk["content"]["SS03"])
        (age, gender), (situation, disease) = profile["persona"]["human"], profile["emotion"]["situation"]
        assert age in aihub.AGES
        assert gender in aihub.GENDERS
        assert situation in aihub.SITUATIONS
        assert disease in ("D01", "D02")
        assert profile["persona"]["persona-id"] == f"{age}_{gender}_C01"
        assert profile["emotion"]["emotion-id"] == f"{situation}_{disease}_{profile['emotion']['type']}"
        assert profile["persona-id"] == talk["id"]["profile-id"]
        assert talk["id"]["talk-id"].startswith(f"{profile['persona-id']}_")


def test_dialogues_show_the_60_emotions_unevenly_and_each_from_three_persons() -> None:
    dialogues = read_corpus(DIALOGUES)
    counts = Counter(dialogue.emotion for dialogue in dialogues)
    assert counts.keys() == aihub.EMOTIONS.keys()
    persons = {(dialogue.emotion, dialogue.profile) for dialogue in dialogues}
    assert min(Counter(emotion for emotion, _ in persons).values()) == 3
    frequencies = sorted(counts.values(), reverse=True)
    assert (frequencies[0], frequencies[-1]) == (20, 3)
    assert sum(frequencies[:10]) > len(dialogues) / 3


def test_dialogues_have_distinct_first_sentences_and_up_to_five_of_a_person() -> None:
    dialogues = read_corpus(DIALOGUES)
    openings = Counter(tuple(re.findall(r"\w+", dialogue.text)[:2]) for dialogue in dialogues)
    assert [opening for opening, count in openings.items() if count > 1] == []
    assert max(Counter(dialogue.profile for dialogue in dialogues).values()) == 5
    assert {dialogue.age for dialogue in dialogues} == set(aihub.AGES)
    assert {dialogue.situation for dialogue in dialogues} == set(aihub.SITUATIONS)
    assert any("\u00a0" in dialogue.text or dialogue.text != dialogue.text.strip() for dialogue in dialogues)
