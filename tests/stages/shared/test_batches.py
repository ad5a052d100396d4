"""That texts become ids that fill up to the longest of a batch."""

from pathlib import Path

from stages.shared.batches import PaddingCollator, tokenize


def test_padding_fills_to_the_longest(tiny_base: Path) -> None:
    from transformers import AutoTokenizer

    texts = ["the film was good", "good", "the food was very very bad"]
    encoded = tokenize(texts, [1, 1, 0], AutoTokenizer.from_pretrained(tiny_base, model_max_length=6))
    batch = PaddingCollator(0)([encoded[row] for row in range(3)])
    assert batch["input_ids"].shape == (3, 6)
    assert batch["attention_mask"].sum(1).tolist() == encoded.lengths.tolist() == [6, 3, 6]
    assert batch["input_ids"][1, 3:].tolist() == [0, 0, 0]
    assert batch["labels"].tolist() == [1, 1, 0]
    assert batch["row"].tolist() == [0, 1, 2]
