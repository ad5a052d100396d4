"""The tokenizer truncates at the length of the params, and a batch is padded to its longest text."""

import json
import shutil
from pathlib import Path

import pytest

from stages.shared.batches import NO_LABEL, PaddingCollator, load_tokenizer, tokenize
from stages.shared.errors import StageError


def test_max_length_beyond_the_positions_of_the_base_model_is_refused(tiny_base: Path) -> None:
    assert load_tokenizer(tiny_base, 64, "train.max_length").model_max_length == 64
    with pytest.raises(StageError, match=r"train\.max_length is 65, but .* at most 64 tokens: lower train\.max_length"):
        load_tokenizer(tiny_base, 65, "train.max_length")


def test_positions_that_a_roberta_reserves_are_not_counted(tiny_base: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    (base / "config.json").write_text(json.dumps({"model_type": "roberta", "max_position_embeddings": 66, "pad_token_id": 1}), "utf-8")
    assert load_tokenizer(base, 64, "train.max_length").model_max_length == 64
    with pytest.raises(StageError, match="at most 64"):
        load_tokenizer(base, 65, "train.max_length")


def test_folder_that_holds_no_usable_base_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="holds no base model: run `dvc repro base_model`"):
        load_tokenizer(tmp_path, 64, "train.max_length")
    (tmp_path / "config.json").write_text("{", "utf-8")
    with pytest.raises(StageError, match=r"cannot be loaded \(.+\): run `dvc repro -f base_model`"):
        load_tokenizer(tmp_path, 64, "train.max_length")


def test_batch_is_padded_to_its_longest_text(tiny_base: Path) -> None:
    texts = ["the film was good", "good", "the food was very very bad"]
    encoded = tokenize(texts, [1, 1, 0], load_tokenizer(tiny_base, 6, "train.max_length"))
    batch = PaddingCollator(0)([encoded[row] for row in range(3)])
    assert batch["input_ids"].shape == (3, 6)
    assert batch["attention_mask"].sum(1).tolist() == encoded.lengths.tolist() == [6, 3, 6]
    assert batch["input_ids"][1, 3:].tolist() == [0, 0, 0]
    assert batch["labels"].tolist() == [1, 1, 0]
    assert batch["row"].tolist() == [0, 1, 2]


def test_batches_without_training_begin_with_the_shortest_text_and_hold_every_row_once(tiny_base: Path) -> None:
    texts = ["the film was good", "good", "the food was very very bad"]
    encoded = tokenize(texts, None, load_tokenizer(tiny_base, 16, "train.max_length"))
    first, second = encoded.sorted_batches(2, 0)
    assert first["row"].tolist() + second["row"].tolist() == [1, 0, 2]
    assert first["labels"].tolist() == [NO_LABEL, NO_LABEL]
    assert [item["row"] for item in encoded.longest_first()] == [2, 0, 1]
