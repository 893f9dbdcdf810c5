"""quantize_vision.py MODEL OUT PICTURE...: the language part of a model that sees, in 4 bit, calibrated on pictures.

The original model, run by transformers, says what its language part reads when it is shown each picture with a question: the
embeddings in which the picture has taken the place of its tokens. They calibrate together with text that the model writes itself.
Needs torch, transformers and Pillow.
"""
import sys

import qz

QUESTION = "Describe this picture in detail."


def language_part(model):
    """The module that takes inputs_embeds: the decoder below the head."""
    inner = getattr(model, "model", model)
    return getattr(inner, "language_model", inner)


def embeddings(model, **inputs):
    """What the language part of a transformers model reads for these inputs, [tokens, hidden] for each of the batch."""
    import torch
    seen = []

    class Enough(Exception):
        pass

    def stop(_, args, kwargs):
        seen.append(kwargs["inputs_embeds"])
        raise Enough

    hook = language_part(model).register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with torch.no_grad():
            model(**inputs)
    except Enough:
        pass
    finally:
        hook.remove()
    return [x.float().cpu().numpy() for x in seen[0]]


def embeddings_of_pictures(directory, paths):
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor
    processor = AutoProcessor.from_pretrained(directory)
    model = AutoModelForImageTextToText.from_pretrained(directory, dtype="auto").eval()
    for path in paths:
        content = [{"type": "image", "image": Image.open(path).convert("RGB")}, {"type": "text", "text": QUESTION}]
        inputs = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True,
                                               return_dict=True, return_tensors="pt")
        yield from embeddings(model, **inputs)


def main(source, out, pictures):
    with qz.Model.open(source) as model:
        calibration = qz.Calibration.generated(model, sequences=32, length=256, seed=0)
        for x in embeddings_of_pictures(source, pictures):
            calibration.add_embeddings(x)
        qz.gptq(model, calibration, scheme="w4g128", stream_to=out)
        print(f"{out}: calibrated on {calibration.tokens} tokens, those of {len(pictures)} pictures among them")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(f"usage: {sys.argv[0]} MODEL OUT PICTURE...")
    try:
        main(sys.argv[1], sys.argv[2], sys.argv[3:])
    except qz.Error as problem:
        sys.exit(str(problem))
