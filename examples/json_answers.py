"""JSON out of a diffusion language model: every answer fits the schema, under any policy."""

import json

import dsldec

SCHEMA = {
    "type": "object",
    "properties": {
        "answer": {"type": "integer", "minimum": 0, "maximum": 99},
        "even": {"type": "boolean"},
    },
    "required": ["answer", "even"],
}
QUESTIONS = ["What is 14+18?", "Compute 3*6.", "Ned has 11 stones. Ned buys 14 more. How many does Ned have?"]


def main() -> None:
    denoiser = dsldec.from_pretrained()
    for policy in (dsldec.load("threshold"), dsldec.load("static", tokens=4)):
        decoded = dsldec.decode(denoiser, QUESTIONS, policy, gen_length=32, constrain=SCHEMA)
        for text, forwards in zip(decoded.text, decoded.forwards.tolist(), strict=True):
            print(f"{policy.name}: {json.dumps(json.loads(text))}   ({forwards} forwards)")


if __name__ == "__main__":
    main()
