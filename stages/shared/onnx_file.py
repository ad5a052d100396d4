"""The trained model as one ONNX file, the portable format that every engine starts from."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

OPSET = 20
HIDDEN = -3e4  # added to the attention score of padding: nothing is left of it behind softmax, and half precision holds it


def write_onnx(model: "PreTrainedModel", max_length: int, file: Path) -> None:
    """Export to one fp32 file with dynamic batch and length; equal weights give equal bytes, with no path of this machine in it."""
    import onnx
    import torch

    logging.getLogger("torch.onnx._internal.exporter").setLevel(logging.ERROR)  # speaks of torchvision, which we have not

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            if model.config.model_type == "distilbert":
                return distilbert_logits(self.model, input_ids, attention_mask)
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    # Two tensors: one for both inputs would be traced as one input.
    example = (torch.ones((2, 8), dtype=torch.int64), torch.ones((2, 8), dtype=torch.int64))
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=max_length)}
    traced = torch.export.export(Logits().eval(), example, dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic}, strict=False)
    torch.onnx.export(
        traced,
        (),
        file,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        opset_version=OPSET,
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    graph = onnx.load(file)
    for part in (
        graph,
        graph.graph,
        *graph.graph.node,
        *graph.functions,
        *(node for function in graph.functions for node in function.node),
    ):
        del part.metadata_props[:]  # stack traces
    for node in graph.graph.node:
        node.doc_string = ""
    del graph.graph.value_info[:]
    onnx.save(graph, file)


def distilbert_logits(model: "PreTrainedModel", input_ids: "torch.Tensor", attention_mask: "torch.Tensor") -> "torch.Tensor":
    """Return the logits (texts, classes) of a DistilBERT classifier, without what it computes in vain.

    The classifier reads the first token alone, so the last layer needs its keys and values of all tokens, but its query, output and
    feed-forward network of the first token only: a seventh of the work of six layers less.
    """
    import torch

    body: Any = model.distilbert
    *layers, last = body.transformer.layer
    attention = last.attention

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.unflatten(-1, (attention.n_heads, attention.attention_head_size)).transpose(1, 2)

    hidden = body.embeddings(input_ids)
    mask = (1 - attention_mask[:, None, None, :]).to(hidden.dtype) * HIDDEN
    for layer in layers:
        hidden = layer(hidden, mask)
    first = hidden[:, :1]
    query, keys, values = heads(attention.q_lin(first)), heads(attention.k_lin(hidden)), heads(attention.v_lin(hidden))
    weights = torch.softmax(query @ keys.transpose(-1, -2) * attention.scaling + mask, dim=-1)
    attended = attention.out_lin((weights @ values).transpose(1, 2).flatten(2))
    first = last.sa_layer_norm(attended + first)
    first = last.output_layer_norm(last.ffn(first) + first)
    logits: torch.Tensor = model.classifier(torch.relu(model.pre_classifier(first[:, 0])))
    return logits
