"""INT8 for OpenVINO: static quantization by NNCF, calibrated on real texts."""

import logging
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def quantize(onnx_file: Path, texts: Sequence[NDArray[np.int64]], alpha: float, file: Path) -> None:
    """Write the model in INT8 as `file` (.xml) and its weights beside it (.bin).

    texts: token ids (tokens,) of each calibration text. alpha: how far smooth-quant moves outliers from activations into weights, 0 to 1.
    """
    os.environ["NNCF_CI"] = "1"  # else NNCF reports its use over the network
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    samples = [{"input_ids": ids[None], "attention_mask": np.ones_like(ids)[None]} for ids in texts]
    with redirect_stdout(StringIO()):  # its progress bars, a line each where there is no terminal
        quantized = nncf.quantize(
            openvino.Core().read_model(onnx_file),
            nncf.Dataset(samples),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(samples),
            advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=alpha)),
        )
    openvino.save_model(quantized, file, compress_to_fp16=False)
