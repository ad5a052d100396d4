"""A model without the embeddings of absent tokens gives the same logits, and these embeddings come back unchanged."""

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages.shared.batches import PaddingCollator, Texts, tokenize
from stages.shared.training.narrow_embeddings import NarrowEmbeddings

TEXTS = ["the film was very good", "bad food", "the phone is broken"]


def test_narrowed_model_gives_the_same_logits_and_restore_keeps_trained_and_absent_embeddings(tiny_base: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_base).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_base, model_max_length=32)
    texts = tokenize(TEXTS, [1, 0, 0], tokenizer)
    before = model.get_input_embeddings().weight.detach().clone()

    def logits(split: Texts) -> torch.Tensor:
        batch = PaddingCollator(tokenizer.pad_token_id)([split[row] for row in range(3)])
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits

    expected = logits(texts)
    narrow = NarrowEmbeddings(model, [texts], tokenizer)
    assert len(narrow.token_ids) < len(tokenizer) / 2
    renumbered = texts.with_ids(narrow.to_narrow_ids(texts.ids))
    assert torch.equal(logits(renumbered), expected)

    with torch.no_grad():
        model.get_input_embeddings().weight += 1
    changed = logits(renumbered)
    narrow.restore()
    after = model.get_input_embeddings().weight
    assert torch.equal(logits(texts), changed)
    absent = [token_id for token_id in range(len(tokenizer)) if token_id not in narrow.token_ids]
    assert torch.equal(after[absent], before[absent])
    assert torch.equal(after[narrow.token_ids.tolist()], before[narrow.token_ids.tolist()] + 1)
