"""INT8 for OpenVINO: an ONNX file and texts come in, and a model in INT8 goes out. NNCF quantizes it statically."""

import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving.inference.engines import allow_shared_rows, openvino_core
from serving.inference.packing import Batch

if TYPE_CHECKING:
    import openvino


def quantize(onnx_file: Path, texts: Sequence[NDArray[np.int64]], alpha: float, file: Path) -> None:
    """Write the model in INT8 as `file` (.xml), and its weights beside it (.bin).

    texts: token ids (tokens,) of each calibration text.
    alpha: strength of smooth-quant, 0 to 1, which moves outliers from activations into weights.
    """
    import nncf
    import openvino

    logging.getLogger("nncf").setLevel(logging.ERROR)
    model = openvino_core().read_model(onnx_file)
    allow_shared_rows(model)
    inputs = [tensor.any_name for tensor in model.inputs]
    samples = [Batch.of(ids).inputs(inputs) for ids in texts]
    with redirect_stdout(StringIO()):  # progress bars, which are a line for each step without a terminal
        quantized = nncf.quantize(
            model,
            nncf.Dataset(samples),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(samples),
            advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=alpha)),
        )
    keep_embeddings_in_int8(quantized)
    openvino.save_model(quantized, file, compress_to_fp16=False)


def keep_embeddings_in_int8(model: "openvino.Model") -> None:
    """Look up embeddings in INT8 and scale the result. By default OpenVINO scales the complete table to fp32 when it loads.

    The answers stay the same to the last bit. The server needs 50 MB less and starts sooner.
    """
    import openvino
    from openvino import opset15 as ops

    for lookup in model.get_ordered_ops():
        if lookup.get_type_name() != "Gather" or (scaled := lookup.input_value(0).get_node()).get_type_name() != "Multiply":
            continue
        (table, scales), row_numbers, axis = scaled.input_values(), lookup.input_value(1), lookup.input_value(2)
        if table.get_node().get_type_name() == "Convert" and table.get_node().input_value(0).get_element_type() == openvino.Type.i8:
            rows = ops.convert(ops.gather(table.get_node().input_value(0), row_numbers, axis), "f32")
            lookup.output(0).replace(ops.multiply(rows, ops.gather(scales, row_numbers, axis)).output(0))
