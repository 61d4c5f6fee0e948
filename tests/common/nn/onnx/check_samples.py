"""Checks what onnx_write_samples wrote against ONNX's checker and ONNX Runtime.

    check_samples.py WRITER FOLDER [SAMPLES]

Each file must pass onnx.checker (with shape inference) and give, in ONNX Runtime, our engine's outputs: fp32 within rounding, int8
the same largest output in at least 99.9 % of samples. Prints one line a file and ends with status 1 when one differs.
"""
import pathlib
import subprocess
import sys

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
except ImportError as error:
    print(f"SKIPPED: this Python has no {error.name}; FL_ONNX_PYTHON names one with onnx and onnxruntime")
    sys.exit(0)

AGREEMENT = 0.999
ROUNDING = 1e-4


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check(path):
    onnx.checker.check_model(str(path), full_check=True)
    model = session(path)
    source = model.get_inputs()[0]
    assert source.name == "input" and isinstance(source.shape[0], str), source
    inputs = np.fromfile(path.with_suffix(".input"), np.float32).reshape(-1, *source.shape[1:])
    expected = np.fromfile(path.with_suffix(".output"), np.float32).reshape(len(inputs), -1)
    found = np.concatenate([model.run(None, {"input": inputs[i:i + 100]})[0] for i in range(0, len(inputs), 100)])
    found = found.reshape(len(inputs), -1)
    # The batch is free: one sample alone gives the same.
    alone = model.run(None, {"input": inputs[:1]})[0].reshape(1, -1)
    largest = max(1.0, float(np.abs(expected).max()))
    error = float(np.abs(found - expected).max()) / largest
    same = float((found.argmax(1) == expected.argmax(1)).mean())
    good = same >= AGREEMENT if "int8" in path.name else error <= ROUNDING
    good = good and float(np.abs(alone - found[:1]).max()) <= ROUNDING * largest
    print(f"{path.name}: {len(inputs)} samples, same largest output {100 * same:.2f} %, error {error:.2g} of the largest,"
          f" {path.stat().st_size} bytes{'' if good else '  DIFFERS'}")
    return good


def main():
    writer, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    subprocess.run([writer, str(folder), *sys.argv[3:4]], check=True)
    paths = sorted(folder.glob("*.onnx"))
    results = [check(path) for path in paths]
    print(f"onnx {onnx.__version__}, onnxruntime {ort.__version__}: {sum(results)} of {len(results)} agree")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
