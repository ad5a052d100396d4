"""The engines: a batch of token ids comes in, logits go out.

Each engine imports its runtime when it starts, because a server may have only one of them installed.
"""

import contextlib
import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.inference.bundle import REBUILD, EngineSpec
from serving.inference.cpu import usable_cores
from serving.inference.errors import BundleBroken, last_line
from serving.inference.packing import Batch

if TYPE_CHECKING:
    import openvino

# Both runtimes report their use over the network from their first import on, and heed no DO_NOT_TRACK.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

KEPT_KERNELS = 500  # compiled kernels of the newest shapes: more would need memory and bring no speed
Logits = NDArray[np.float32]  # (rows * places of the batch, classes)


class Engine(Protocol):
    """One started model, for one thread at a time. shares_rows: whether several texts may share a row."""

    shares_rows: bool

    def logits(self, batch: Batch) -> Logits:
        """Return logits (rows * places, classes), row after row."""


def start_engine(spec: EngineSpec, folder: Path, threads: int | None = None, cache: Path | None = None) -> Engine:
    """Start the runtime of `spec`. Raise ModuleNotFoundError if it is not installed.

    threads: None takes all usable cores. cache: folder where the runtime keeps compiled models.
    """
    runtimes: dict[str, type[OpenVinoEngine] | type[OnnxRuntimeEngine]] = {"openvino": OpenVinoEngine, "onnxruntime": OnnxRuntimeEngine}
    if spec.runtime not in runtimes:
        raise BundleBroken(f"{folder} needs the unknown runtime {spec.runtime!r}: update the server")
    return runtimes[spec.runtime](folder / spec.files[0], spec.precision, threads or usable_cores(), cache)


def import_runtime() -> None:
    """Import OpenVINO if it is installed. A load does this while it hashes the files."""
    with contextlib.suppress(ModuleNotFoundError):
        import openvino  # noqa: F401


def allow_shared_rows(model: "openvino.Model") -> bool:
    """Let texts share rows: turn the fields of Batch that the model computes for one text per row into inputs.

    Return whether the model computes all fields that are not inputs yet.
    """
    import openvino
    from openvino.op import Parameter

    computed = set(Batch._fields) - {tensor.any_name for tensor in model.inputs}
    tensors = {name: tensor for operation in model.get_ordered_ops() for tensor in operation.outputs() for name in tensor.names}
    if not computed <= tensors.keys():
        return False
    for name in sorted(computed):  # sorted, so that equal models give equal bytes
        parameter = Parameter(openvino.Type.i64, openvino.PartialShape([-1, -1]))
        tensors[name].replace(parameter.output(0))
        parameter.output(0).set_names({name})
        model.add_parameters([parameter])
    return True


@functools.cache
def openvino_core() -> "openvino.Core":
    """Return the one Core of this process.

    Where two Cores were alive and both end, the older first, signals are handled on memory that is free: SIGTERM and Ctrl-C then end in a
    segmentation fault (OpenVINO 2026).
    """
    import openvino

    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # with mmap, a file that is overwritten in place ends the process
    return core


class OpenVinoEngine:
    """OpenVINO on an x86 CPU, with an explicit precision hint."""

    def __init__(self, file: Path, precision: str, threads: int, cache: Path | None) -> None:
        config = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "CPU_RUNTIME_CACHE_CAPACITY": KEPT_KERNELS,
            **({"CACHE_DIR": str(cache)} if cache else {}),
        }
        core = openvino_core()
        try:
            model = core.read_model(file)
            self.shares_rows = allow_shared_rows(model)
            self._inputs = [tensor.any_name for tensor in model.inputs]
            self._request = core.compile_model(model, "CPU", config).create_infer_request()
        except RuntimeError as error:
            raise BundleBroken(f"OpenVINO cannot load {file} ({last_line(error)}): {REBUILD}") from error

    def logits(self, batch: Batch) -> Logits:
        self._request.infer(batch.inputs(self._inputs), share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)


class OnnxRuntimeEngine:
    """ONNX Runtime with TensorRT, with CUDA or on the CPU: the first that its build has and that starts on this machine."""

    shares_rows = False

    def __init__(self, file: Path, precision: str, threads: int, cache: Path | None) -> None:
        import onnxruntime

        if precision != "f32":
            raise BundleBroken(f"ONNX Runtime has no precision hint {precision!r}: {REBUILD}")
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = threads
        cached = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(cache)} if cache else {}
        known: dict[str, dict[str, object]] = {"TensorrtExecutionProvider": cached, "CUDAExecutionProvider": {}, "CPUExecutionProvider": {}}
        providers = [(name, options) for name, options in known.items() if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(str(file), session, providers=providers)
        except Exception as error:  # the errors of ONNX Runtime have no narrower base class
            raise BundleBroken(f"ONNX Runtime cannot load {file} ({last_line(error)}): {REBUILD}") from error

    def logits(self, batch: Batch) -> Logits:
        (logits,) = self._session.run(["logits"], batch.inputs(("input_ids", "attention_mask")))
        return np.asarray(logits, dtype=np.float32)
