"""The codes of the AI Hub corpus and their names are complete and agree with the notes on the format."""

from stages.shared import aihub


def test_there_are_60_emotions_with_distinct_names_ten_in_each_group():
    assert list(aihub.EMOTIONS) == [f"E{number}" for number in range(10, 70)]
    assert len({name.korean for name in aihub.EMOTIONS.values()}) == 60
    assert list(aihub.GROUPS) == ["E1", "E2", "E3", "E4", "E5", "E6"]
    for group, name in aihub.GROUPS.items():
        assert aihub.EMOTIONS[f"{group}0"] == name


def test_the_code_tables_agree_with_the_notes_on_the_format(shared_data):
    notes = (shared_data.parent / "AIHUB.md").read_text("utf-8")
    noted = {cells[0]: cells[1] for line in notes.splitlines() if len(cells := [cell.strip() for cell in line.strip("| ").split("|")]) > 2}
    tables = {**aihub.EMOTIONS, **aihub.AGES, **aihub.GENDERS, **aihub.SITUATIONS}
    assert {code: noted[code] for code in tables} == {code: name.korean for code, name in tables.items()}
