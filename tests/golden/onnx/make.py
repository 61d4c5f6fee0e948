"""Made the files of this folder: what PyTorch and ONNX Runtime's quantization write. make.py FOLDER

NAME.onnx, NAME.input and NAME.output (fp32, channels first). torch 2.15, onnx 1.23, onnxruntime 1.32.
"""
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

FOLDER = pathlib.Path(sys.argv[1])
SAMPLES = 8


class Block(nn.Module):
    """Depthwise, grouped, strided with symmetric pads, squeeze and excite, a residual, a concat."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), nn.ReLU6(), nn.BatchNorm2d(4))
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.grouped = nn.Conv2d(4, 4, 1, groups=2)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())
        self.head = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(8 * 9, 6), nn.Tanh(), nn.Linear(6, 5))

    def forward(self, x):
        x = self.stem(x)
        y = nn.functional.hardswish(self.grouped(self.depthwise(x)))
        y = x + y * self.gate(y)
        return self.head(torch.cat([x, y], 1))


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(),
                                 nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3))

    def forward(self, x):
        return self.net(x)


class Rows(CalibrationDataReader):
    def __init__(self, x):
        self.rest = iter([{"x": row[None]} for row in x])

    def get_next(self):
        return next(self.rest, None)


def forget_traces(path):
    """Without the exporter's stack traces, which name this machine's folders."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
    for values in (model.graph.value_info, model.graph.input, model.graph.output, model.graph.initializer):
        for value in values:
            del value.metadata_props[:]
    onnx.save(model, path)


def save(name, x):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    found = ort.InferenceSession(str(FOLDER / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
    y = np.concatenate([found.run(None, {"x": row[None]})[0] for row in x])
    x.astype(np.float32).tofile(FOLDER / f"{name}.input")
    y.astype(np.float32).tofile(FOLDER / f"{name}.output")


def export(net, name, x, dynamo):
    extra = dict(dynamic_shapes=({0: torch.export.Dim("n")},), external_data=False, verbose=False) if dynamo else dict(
        dynamic_axes={"x": {0: "n"}}, opset_version=14)
    torch.onnx.export(net, (torch.from_numpy(x[:2]),), str(FOLDER / f"{name}.onnx"), input_names=["x"], output_names=["y"],
                      dynamo=dynamo, **extra)
    if dynamo:
        forget_traces(FOLDER / f"{name}.onnx")
    save(name, x)


def main():
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    block, small = Block(), Small().eval()
    block(torch.randn(64, 2, 12, 12))  # Moves the batch norm's statistics.
    block.eval()
    images = rng.standard_normal((SAMPLES, 2, 12, 12), np.float32)
    export(block, "torch_block", images, True)
    export(block, "torch_block_legacy", images, False)
    digits = rng.random((SAMPLES, 1, 10, 10), np.float32)
    export(small, "torch_small", digits, True)
    for name, kind, channels in (("qdq_u8", QuantType.QUInt8, True), ("qdq_s8", QuantType.QInt8, False)):
        quantize_static(str(FOLDER / "torch_small.onnx"), str(FOLDER / f"{name}.onnx"), Rows(rng.random((64, 1, 10, 10), np.float32)),
                        quant_format=QuantFormat.QDQ, per_channel=channels, activation_type=kind, weight_type=QuantType.QInt8)
        save(name, digits)


main()
