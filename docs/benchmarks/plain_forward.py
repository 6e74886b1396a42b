"""Whether OpenVINO or ONNX Runtime would make plain forward passes on a CPU faster than torch does.

    pip install openvino onnx onnxruntime
    python docs/benchmarks/plain_forward.py

One thread each, so that threading does not decide; R′'s network (untrained) on 8 slices of 128 × 96; medians of runs that
take turns.
"""

import statistics
import tempfile
import time
from pathlib import Path

import onnxruntime
import openvino
import torch

from brain_inpaint_ad.nets.unet import UNet, UNetSettings

ROUNDS = 9


def main() -> None:
    torch.set_num_threads(1)
    network = UNet(UNetSettings(width=16, depth=4)).eval().to(memory_format=torch.channels_last)
    slices = torch.rand(8, 2, 128, 96).contiguous(memory_format=torch.channels_last)

    def run_torch(dtype: torch.dtype) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return network(slices).float()

    runs = {
        "torch float32": lambda: run_torch(torch.float32),
        "torch bfloat16 (autocast)": lambda: run_torch(torch.bfloat16),
        "OpenVINO float32": openvino_run(network, slices, "f32"),
        "OpenVINO bfloat16": openvino_run(network, slices, "bf16"),
        "ONNX Runtime float32": onnx_run(network, slices),
    }
    reference = run_torch(torch.float32)
    seconds = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["torch float32"])
    print(f"torch {torch.__version__}, OpenVINO {openvino.__version__}, ONNX Runtime {onnxruntime.__version__}")
    for name, run in runs.items():
        middle = statistics.median(seconds[name])
        difference = float((run() - reference).abs().max())
        print(f"{name:<27}{1000 * middle / 8:7.1f} ms a slice   {base / middle:5.2f} times   max difference {difference:.0e}")


def openvino_run(network, slices, precision):
    model = openvino.convert_model(network, example_input=slices)
    model.reshape(list(slices.shape))
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    return lambda: torch.from_numpy(compiled(slices.numpy())[0])


def onnx_run(network, slices):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(network, slices, path, dynamo=False, input_names=["slices"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options)
    return lambda: torch.from_numpy(session.run(None, {"slices": slices.numpy()})[0])


if __name__ == "__main__":
    main()
