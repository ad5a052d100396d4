"""The runtimes that turn token ids into logits. Each is imported only where it is started."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.inference.bundle import EngineSpec
from serving.inference.cpu import usable_cores
from serving.inference.errors import BundleBroken
from serving.inference.packing import Batch

if TYPE_CHECKING:
    import openvino

KEPT_KERNELS = 500  # compiled for the shapes that came last: more are not faster, and each takes memory
Logits = NDArray[np.float32]  # (rows of the batch * its places, classes)


class Engine(Protocol):
    """One started model. Not safe for two threads at once. shares_rows: whether it keeps several texts of one row apart."""

    shares_rows: bool

    def logits(self, batch: Batch) -> Logits:
        """Return logits (rows * places, classes), those of one row after the other."""


def start_engine(spec: EngineSpec, folder: Path, threads: int | None = None, cache: Path | None = None) -> Engine:
    """Start the runtime of `spec`; raise ModuleNotFoundError where it is not installed.

    threads: None takes all cores given. cache: folder where the runtime keeps what it has compiled.
    """
    runtimes: dict[str, type[OpenVinoEngine] | type[OnnxRuntimeEngine]] = {"openvino": OpenVinoEngine, "onnxruntime": OnnxRuntimeEngine}
    if spec.runtime not in runtimes:
        raise BundleBroken(f"{folder} asks for the unknown runtime {spec.runtime!r}: update the server")
    return runtimes[spec.runtime](folder / spec.files[0], spec.precision, threads or usable_cores(), cache)


def import_runtime() -> None:
    """Import the runtime that is used where it is installed."""
    with contextlib.suppress(ModuleNotFoundError):
        import openvino  # noqa: F401


def open_rows(model: "openvino.Model") -> bool:
    """Let texts share rows: turn what the file computes for rows of one text into inputs. Tell whether it can (see Batch)."""
    import openvino
    from openvino.op import Parameter

    computed = set(Batch._fields) - {tensor.any_name for tensor in model.inputs}
    tensors = {name: tensor for operation in model.get_ordered_ops() for tensor in operation.outputs() for name in tensor.names}
    if not computed <= tensors.keys():
        return False
    for name in sorted(computed):  # in one order, so that equal models are written as equal bytes
        parameter = Parameter(openvino.Type.i64, openvino.PartialShape([-1, -1]))
        tensors[name].replace(parameter.output(0))
        parameter.output(0).set_names({name})
        model.add_parameters([parameter])
    return True


class OpenVinoEngine:
    """OpenVINO on an x86 CPU, with an explicit precision hint."""

    def __init__(self, file: Path, precision: str, threads: int, cache: Path | None) -> None:
        import openvino

        config = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "CPU_RUNTIME_CACHE_CAPACITY": KEPT_KERNELS,
            **({"CACHE_DIR": str(cache)} if cache else {}),
        }
        core = openvino.Core()
        core.set_property({"ENABLE_MMAP": False})  # else a file that is overwritten in its place ends the process
        try:
            model = core.read_model(file)
            self.shares_rows = open_rows(model)
            self._inputs = [tensor.any_name for tensor in model.inputs]
            self._request = core.compile_model(model, "CPU", config).create_infer_request()
        except RuntimeError as error:
            raise BundleBroken(f"OpenVINO cannot load {file}: {str(error).strip().splitlines()[-1]}") from error

    def logits(self, batch: Batch) -> Logits:
        self._request.infer(batch.named(self._inputs), share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)


class OnnxRuntimeEngine:
    """ONNX Runtime with TensorRT, with CUDA or on the CPU: the first that its build has and this machine can start."""

    def __init__(self, file: Path, precision: str, threads: int, cache: Path | None) -> None:
        import onnxruntime

        if precision != "f32":
            raise BundleBroken(f"ONNX Runtime has no precision hint {precision!r}: build the bundle again")
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = threads
        kept = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(cache)} if cache else {}
        wanted: dict[str, dict[str, object]] = {"TensorrtExecutionProvider": kept, "CUDAExecutionProvider": {}, "CPUExecutionProvider": {}}
        providers = [(name, options) for name, options in wanted.items() if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(str(file), session, providers=providers)
        except (RuntimeError, ValueError) as error:
            raise BundleBroken(f"ONNX Runtime cannot load {file}: {str(error).strip().splitlines()[-1]}") from error

    shares_rows = False

    def logits(self, batch: Batch) -> Logits:
        (logits,) = self._session.run(["logits"], batch.named(("input_ids", "attention_mask")))
        return np.asarray(logits, dtype=np.float32)
