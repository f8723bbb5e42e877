"""ONNX Runtime, OpenVINO and PyTorch computing a CLIP tower: `open_peer(name, ...)` -> a function that runs one
batch. The two engines get the model by way of ONNX, as their users do."""
import os

import numpy
import torch
import transformers

NAMES = ["onnxruntime", "openvino", "torch"]


class Vision(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return self.model.get_image_features(pixels).pooler_output


class Text(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model.get_text_features(ids).pooler_output


def load(folder, dtype=torch.float32):
    return transformers.CLIPModel.from_pretrained(folder, dtype=dtype).eval()


def inputs(part, batch, seed=1):
    """Random pixels, or full texts of 77 tokens, as `vlm bench` takes them too."""
    state = numpy.random.default_rng(seed)
    if part == "vision":
        return state.normal(size=(batch, 3, 224, 224)).astype("float32")
    ids = state.integers(300, 49000, size=(batch, 77))
    ids[:, 0], ids[:, -1] = 49406, 49407
    return ids.astype("int64")


def export(folder, part, out):
    """The tower as ONNX with a free batch size."""
    if not os.path.exists(out):
        module = (Vision if part == "vision" else Text)(load(folder))
        example = torch.from_numpy(inputs(part, 2))
        name = "pixels" if part == "vision" else "ids"
        torch.onnx.export(
            module, (example,), out + ".part", input_names=[name], output_names=["vector"], dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=512)},), external_data=False, verbose=False,
        )  # fmt: skip
        os.rename(out + ".part", out)
    return out


def open_onnxruntime(onnx, part, batch, dtype, threads):
    import onnxruntime

    if dtype == "bf16":
        return None  # its CPU kernels have none
    if dtype == "int8":
        import onnx as onnx_files
        from onnxruntime.quantization import QuantType, quantize_dynamic

        small = onnx.replace(".onnx", ".int8.onnx")
        if not os.path.exists(small):
            model = onnx_files.load(onnx)
            del model.graph.value_info[:]  # the exporter's shapes contradict those that are inferred
            # Matrices only: a convolution in int8 is slower there than in float32.
            quantize_dynamic(model, small, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8, per_channel=True)
        onnx = small
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: inputs(part, batch)}
    return lambda: session.run(None, feed)[0]


def open_openvino(onnx, part, batch, dtype, threads):
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx)
    value = inputs(part, batch)
    model.reshape([batch, *value.shape[1:]])
    if dtype == "int8":
        import nncf

        nncf.set_log_level(40)
        samples = nncf.Dataset([inputs(part, batch, seed) for seed in range(max(1, 16 // batch))])
        model = nncf.quantize(model, samples, model_type=nncf.ModelType.TRANSFORMER, subset_size=max(1, 16 // batch))
    precision = {"f32": "f32", "bf16": "bf16", "int8": "f32"}[dtype]
    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    compiled = core.compile_model(model, "CPU", config)
    request = compiled.create_infer_request()
    return lambda: request.infer([value])[compiled.outputs[0]]


def open_torch(folder, part, batch, dtype, threads):
    if dtype == "int8":
        return None
    torch.set_num_threads(threads)
    module = (Vision if part == "vision" else Text)(load(folder, torch.bfloat16 if dtype == "bf16" else torch.float32))
    value = torch.from_numpy(inputs(part, batch))
    if dtype == "bf16" and part == "vision":
        value = value.bfloat16()

    def step():
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return module(value).float().numpy()

    return step


def open_peer(name, folder, work, part, batch, dtype, threads):
    """A function that computes one batch, or None where the peer has no such precision."""
    if name == "torch":
        return open_torch(folder, part, batch, dtype, threads)
    onnx = export(folder, part, os.path.join(work, f"{part}.onnx"))
    return (open_onnxruntime if name == "onnxruntime" else open_openvino)(onnx, part, batch, dtype, threads)
