"""Narrow embeddings: a step updates only the embeddings of tokens that occur in the texts.

In: a model, tokenized texts and their tokenizer. Out: the model with a smaller embedding layer, until `restore`.
Half of the default base model's weights are embeddings, and a data set meets a tenth to a half of them.
The others get no gradient. Leaving them out saves the time that the optimizer spends on them.
It also keeps weight decay from shrinking embeddings that training never sees.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from stages.shared.batches import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class NarrowEmbeddings:
    """Narrow a model's embeddings to the tokens of some texts and the special tokens, until `restore` is called.

    token_ids: ids of the kept tokens in the tokenizer, ascending; their positions are the narrow ids.
    special_ids: narrow ids of the special tokens. mask_id: narrow id of the token that masking writes.
    """

    def __init__(self, model: "PreTrainedModel", texts: Iterable[Texts], tokenizer: "PreTrainedTokenizerBase") -> None:
        pad_token_id = tokenizer.pad_token_id
        fixed = np.arange(pad_token_id + 1, dtype=np.int32)  # RoBERTa finds padding by its id, so this id must not change
        special = np.array(tokenizer.all_special_ids, dtype=np.int32)
        mask = next(token_id for token_id in (tokenizer.mask_token_id, tokenizer.unk_token_id, pad_token_id) if token_id is not None)
        self.token_ids = np.unique(np.concatenate([fixed, special, *(split.ids for split in texts)]))
        self.special_ids = self.to_narrow_ids(special)
        self.mask_id = int(self.to_narrow_ids(mask))
        self._model = model
        self._full = model.get_input_embeddings()
        narrow = self._full.weight.detach()[torch.from_numpy(self.token_ids).long()]
        model.set_input_embeddings(nn.Embedding.from_pretrained(narrow, freeze=False, padding_idx=pad_token_id))

    def to_narrow_ids(self, ids: ArrayLike) -> NDArray[np.int32]:
        """Return the ids in the narrowed model of the tokenizer's ids."""
        return np.searchsorted(self.token_ids, ids).astype(np.int32)

    def restore(self) -> None:
        """Give the model its full embedding layer again, with the trained embeddings in it."""
        trained = self._model.get_input_embeddings().weight.detach()
        with torch.no_grad():
            self._full.weight[torch.from_numpy(self.token_ids).long()] = trained.to(self._full.weight.device)
        self._model.set_input_embeddings(self._full)
