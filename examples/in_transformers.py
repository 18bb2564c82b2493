"""Decode in `generate` of transformers: first a batch of two questions, then one question with a streamer."""

import transformers

from dsldec.engines.transformers import custom_generate
from dsldec.resources import embedded_model_folder

QUESTIONS = [
    "What is 14+18?",
    "Tom has 14 apples. Tom buys 3 bags of 6 apples. How many apples does Tom have now?",
]


class EuroBertForMaskedLM(transformers.EuroBertForMaskedLM, transformers.GenerationMixin):
    """transformers' class of this masked language model has no `generate`. Most classes of diffusion language
    models have one, for example a Qwen3 with `is_causal=False`.
    """


def main() -> None:
    folder = embedded_model_folder()
    model = EuroBertForMaskedLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    chats = [[{"role": "user", "content": question}] for question in QUESTIONS]
    inputs = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
    )

    decode = custom_generate("threshold", confidence=0.8, block=48)
    ids = model.generate(**inputs, custom_generate=decode, max_new_tokens=48)
    for answer in tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True):
        print(answer)

    streamer = transformers.TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    model.generate(inputs["input_ids"][1:], custom_generate=decode, max_new_tokens=48, streamer=streamer)


if __name__ == "__main__":
    main()
