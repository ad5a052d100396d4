"""That leaving out the embeddings of pieces that do not occur changes no answer and none of them."""

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages.shared.batches import PaddingCollator, Texts, tokenize
from stages.shared.training.narrow_embeddings import NarrowEmbeddings

TEXTS = ["the film was very good", "bad food", "the phone is broken"]


def test_narrowed_model_answers_the_same_and_widens_to_what_it_was_but_for_the_trained(tiny_base: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_base).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_base, model_max_length=32)
    texts = tokenize(TEXTS, [1, 0, 0], tokenizer)
    before = model.get_input_embeddings().weight.detach().clone()

    def answers(split: Texts) -> torch.Tensor:
        batch = PaddingCollator(tokenizer.pad_token_id)([split[row] for row in range(3)])
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits

    expected = answers(texts)
    narrow = NarrowEmbeddings(model, [texts], tokenizer)
    assert len(narrow.pieces) < len(tokenizer) / 2
    renumbered = texts.with_ids(narrow.places(texts.ids))
    assert torch.equal(answers(renumbered), expected)

    with torch.no_grad():
        model.get_input_embeddings().weight += 1
    changed = answers(renumbered)
    narrow.widen()
    after = model.get_input_embeddings().weight
    assert torch.equal(answers(texts), changed)
    absent = [piece for piece in range(len(tokenizer)) if piece not in narrow.pieces]
    assert torch.equal(after[absent], before[absent])
    assert torch.equal(after[narrow.pieces.tolist()], before[narrow.pieces.tolist()] + 1)
