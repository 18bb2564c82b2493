"""JSON out of a diffusion language model: every answer fits the schema, under any policy."""

import json

import dsldec

SCHEMA = {
    "type": "object",
    "properties": {
        "equation": {"type": "string", "pattern": "[0-9]{1,2}[-+*][0-9]{1,2}=[0-9]{1,2}"},
        "answer": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["equation", "answer"],
}
QUESTIONS = ["What is 14+18?", "Compute 3*6.", "Ned collects 11 stones. Ned buys 14 more stones. How many does Ned have?"]


def main() -> None:
    denoiser = dsldec.from_pretrained()
    for name in ("threshold", "static"):
        policy = dsldec.load(name) if name == "threshold" else dsldec.load(name, tokens=4)
        decoded = dsldec.decode(denoiser, QUESTIONS, policy, gen_length=32, constrain=SCHEMA)
        for text, forwards in zip(decoded.text, decoded.forwards.tolist(), strict=True):
            found = json.loads(text or "")
            print(f"{name}: {found['equation']} -> {found['answer']}   ({forwards} forwards)")


if __name__ == "__main__":
    main()
