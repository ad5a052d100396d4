"""The portable model: a trained model comes in, and one ONNX file goes out. Every engine starts from this file.

Inputs: input_ids and attention_mask, int64, (batch, tokens). Output: logits, fp32, (batch, classes).

A DistilBERT also accepts several texts in one row. For that, an engine makes inputs of the tensors "positions" and "first" of the file. It
then numbers the texts of a row in attention_mask (see Batch in serving/inference/packing.py), and gets logits for each text.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.inference.packing import Batch

if TYPE_CHECKING:
    import onnx
    import torch
    from transformers import PreTrainedModel

OPSET = 20
MASKED = -3e4  # added to the attention score of a masked token: softmax makes 0 of it, and half precision can still hold it


def write_onnx(model: "PreTrainedModel", max_length: int, file: Path) -> None:
    """Export to one fp32 file with dynamic batch and length. Equal weights give equal bytes, and no path of this machine is in them."""
    import onnx
    import torch

    logging.getLogger("torch.onnx._internal.exporter").setLevel(logging.ERROR)  # it warns that torchvision is missing
    logits_of, inputs = (distilbert_logits, Batch._fields) if model.config.model_type == "distilbert" else (plain_logits, Batch._fields[:2])

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return logits_of(self.model, *tensors)

    example = tuple(torch.ones((2, 8), dtype=torch.int64) for _ in inputs)  # one tensor for all inputs would be traced as one input
    rows, tokens, places = torch.export.Dim("batch"), torch.export.Dim("tokens", max=max_length), torch.export.Dim("places")
    shapes = tuple({0: rows, 1: places if name == "first" else tokens} for name in inputs)
    traced = torch.export.export(Logits().eval(), example, dynamic_shapes=(shapes,), strict=False)
    torch.onnx.export(
        traced,
        (),
        file,
        input_names=inputs,
        output_names=["logits"],
        opset_version=OPSET,
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    exported = onnx.load(file)
    remove_traces(exported)
    if len(inputs) > 2:
        default_to_one_text_per_row(exported.graph)
    for tensor in (*exported.graph.input, *exported.graph.output):
        for dimension, name in zip(tensor.type.tensor_type.shape.dim, ("batch", "tokens"), strict=True):
            if not dimension.dim_value:
                dimension.dim_param = name
    onnx.save(exported, file)


def remove_traces(exported: "onnx.ModelProto") -> None:
    """Remove stack traces and the shapes of the example."""
    graph, functions = exported.graph, exported.functions
    for part in (exported, graph, *graph.node, *functions, *(node for function in functions for node in function.node)):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    del graph.value_info[:]


def default_to_one_text_per_row(graph: "onnx.GraphProto") -> None:
    """Replace the inputs "positions" and "first": compute them from the shape of input_ids, for rows of one text each."""
    import numpy as np
    from onnx import helper, numpy_helper

    kept = [tensor for tensor in graph.input if tensor.name in ("input_ids", "attention_mask")]
    del graph.input[:]
    graph.input.extend(kept)
    for name, numbers in (("zero", 0), ("one", 1), ("row", [0]), ("column", [1])):
        graph.initializer.append(numpy_helper.from_array(np.array(numbers, dtype=np.int64), name))
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["tokens"]),
        helper.make_node("Range", ["zero", "tokens", "one"], ["places_in_row"]),
        helper.make_node("Expand", ["places_in_row", "shape"], ["positions"]),
        helper.make_node("Gather", ["shape", "row"], ["rows"]),
        helper.make_node("Concat", ["rows", "column"], ["rows_by_one"], axis=0),
        helper.make_node("ConstantOfShape", ["rows_by_one"], ["first"], value=numpy_helper.from_array(np.zeros(1, np.int64))),
    ]
    computed = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *computed])


def plain_logits(model: "PreTrainedModel", input_ids: "torch.Tensor", attention_mask: "torch.Tensor") -> "torch.Tensor":
    """Return the logits (texts, classes) of any classifier."""
    logits: torch.Tensor = model(input_ids=input_ids, attention_mask=attention_mask).logits
    return logits


def distilbert_logits(
    model: "PreTrainedModel", input_ids: "torch.Tensor", attention_mask: "torch.Tensor", positions: "torch.Tensor", first: "torch.Tensor"
) -> "torch.Tensor":
    """Return the logits (rows * places, classes) of a DistilBERT classifier, without work that does not reach them.

    A token attends to the tokens of its own text, which have the same number in attention_mask. The classifier reads only the first token
    of each text. So the last encoder layer computes keys and values of all tokens, and the rest for first tokens only.
    This saves a seventh of the work of six layers. Batch states the shapes.
    """
    import torch

    body: Any = model.distilbert
    *layers, last = body.transformer.layer
    attention = last.attention

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.unflatten(-1, (attention.n_heads, attention.attention_head_size)).transpose(1, 2)

    def mask(texts: torch.Tensor) -> torch.Tensor:
        attended = texts.clamp(min=1)  # padding attends to the first text: a row may begin with padding, and the classifier reads there
        return (attended[:, None, :, None] != attention_mask[:, None, None, :]).to(hidden.dtype) * MASKED

    hidden = body.embeddings.LayerNorm(body.embeddings.word_embeddings(input_ids) + body.embeddings.position_embeddings(positions))
    own_text = mask(attention_mask)
    for layer in layers:
        hidden = layer(hidden, own_text)
    query_of = torch.gather(hidden, 1, first[:, :, None].expand(-1, -1, hidden.shape[-1]))
    query, keys, values = heads(attention.q_lin(query_of)), heads(attention.k_lin(hidden)), heads(attention.v_lin(hidden))
    weights = torch.softmax(query @ keys.transpose(-1, -2) * attention.scaling + mask(torch.gather(attention_mask, 1, first)), dim=-1)
    attended = attention.out_lin((weights @ values).transpose(1, 2).flatten(2))
    pooled = last.sa_layer_norm(attended + query_of)
    pooled = last.output_layer_norm(last.ffn(pooled) + pooled)
    logits: torch.Tensor = model.classifier(torch.relu(model.pre_classifier(pooled))).flatten(0, 1)
    return logits
