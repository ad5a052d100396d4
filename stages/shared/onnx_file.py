"""The trained model as one ONNX file, the portable format that every engine starts from."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OPSET = 20


def write_onnx(model: "PreTrainedModel", max_length: int, file: Path) -> None:
    """Export to one fp32 file with dynamic batch and length; equal weights give equal bytes, with no path of this machine in it."""
    import onnx
    import torch

    logging.getLogger("torch.onnx._internal.exporter").setLevel(logging.ERROR)  # speaks of torchvision, which we have not

    class LogitsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    # Two tensors: one for both inputs would be traced as one input.
    example = (torch.ones((2, 8), dtype=torch.int64), torch.ones((2, 8), dtype=torch.int64))
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=max_length)}
    traced = torch.export.export(
        LogitsOnly().eval(), example, dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic}, strict=False
    )
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
