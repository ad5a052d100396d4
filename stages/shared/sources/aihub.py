"""The AI Hub emotional dialogue corpus as JSON.

In: the file, or its records. Out: its dialogues, or FileUnreadable with the number of the broken record.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from serving.tables.encoding import read_text
from stages.shared.aihub import AGES, EMOTIONS, GENDERS, SITUATIONS
from stages.shared.errors import FileUnreadable
from stages.shared.sources.errors import errors_of_readers

log = logging.getLogger("aihub")


class Dialogue(NamedTuple):
    """The fields of a record that the project uses. text: the first human sentence. profile: the person, whose texts share a split."""

    text: str
    emotion: str
    profile: str
    age: str
    gender: str
    situation: str

    @property
    def group(self) -> str:
        return self.emotion[:2]


def is_dialogue(record: Any) -> bool:
    """Tell a record of the corpus from other JSON by its keys."""
    return isinstance(record, dict) and {"profile", "talk"} <= record.keys()


def read_corpus(file: Path) -> list[Dialogue]:
    """Read the corpus; raise FileUnreadable for another file, a broken record or an unknown emotion code."""
    with errors_of_readers():
        text, _ = read_text(file)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileUnreadable(file, f"is not complete JSON ({error})", "it may be cut off, download it again") from None
    if not isinstance(content, list) or not content or not is_dialogue(content[0]):
        shape = "of another AI Hub corpus" if isinstance(content, dict) and "data" in content else "without 'profile' and 'talk'"
        raise FileUnreadable(file, f"holds JSON {shape}", "give the JSON of 감성대화말뭉치 (emotional dialogues)")
    return list(dialogues_of(file, content))


def dialogues_of(file: Path, records: Iterable[Any]) -> Iterator[Dialogue]:
    """Yield the dialogues of records; raise FileUnreadable for a broken record. file: for the message of the error."""
    unknown_codes = set()
    for number, record in enumerate(records, 1):
        try:
            persona, emotion, talk = record["profile"]["persona"], record["profile"]["emotion"], record["talk"]
            age, gender = persona["human"][:2]
            situation, *_ = emotion["situation"]
            dialogue = Dialogue(talk["content"]["HS01"], emotion["type"].strip(), talk["id"]["profile-id"], age, gender, situation)
            if (
                isinstance(emotion["situation"], str)
                or isinstance(persona["human"], str)
                or not all(isinstance(value, str) for value in dialogue)
            ):
                raise TypeError
            "".join(dialogue).encode()
        except UnicodeEncodeError:
            raise FileUnreadable(file, f"has a lone surrogate, half of a character, in record {number:,}", "correct that record") from None
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else "a value has the wrong type"
            raise FileUnreadable(
                file,
                f"has a broken dialogue as record {number:,} ({what})",
                "compare it with data/raw/emotion_dialogues_sample.json",
            ) from None
        if dialogue.emotion not in EMOTIONS:
            raise FileUnreadable(
                file, f"has the emotion code {dialogue.emotion!r} in record {number:,}", "correct the record: the codes are E10 to E69"
            )
        for value, names in ((dialogue.age, AGES), (dialogue.gender, GENDERS), (dialogue.situation, SITUATIONS)):
            if value not in names and value not in unknown_codes:
                unknown_codes.add(value)
                log.warning("%s: record %d has the unknown code %r: it is counted under that code", file, number, value)
        yield dialogue
