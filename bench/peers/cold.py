"""From nothing to one picture's vector, as a user of a peer writes it. A process of its own is timed from outside.

    cold.py onnxruntime|openvino|transformers|open_clip MODEL PICTURE
"""
import sys

name, model, picture = sys.argv[1:4]


def pixels():
    import numpy
    from PIL import Image

    image = Image.open(picture).convert("RGB")
    scale = 224 / min(image.size)
    image = image.resize((max(224, round(image.width * scale)), max(224, round(image.height * scale))), Image.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    values = numpy.asarray(image.crop((left, top, left + 224, top + 224)), dtype="float32") / 255
    values = (values - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711]
    return values.transpose(2, 0, 1)[None].astype("float32")


if name == "onnxruntime":
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    vector = session.run(None, {session.get_inputs()[0].name: pixels()})[0]
elif name == "openvino":
    import openvino

    vector = openvino.compile_model(model, "CPU")(pixels())[0]
elif name == "transformers":
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, CLIPVisionModelWithProjection

    tower = CLIPVisionModelWithProjection.from_pretrained(model)
    inputs = AutoImageProcessor.from_pretrained(model)(images=Image.open(picture), return_tensors="pt")
    with torch.inference_mode():
        vector = tower(**inputs).image_embeds.numpy()
else:
    import open_clip
    import torch
    from PIL import Image

    clip, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=model)
    with torch.inference_mode():
        vector = clip.eval().encode_image(preprocess(Image.open(picture))[None]).numpy()
print(vector.shape)
