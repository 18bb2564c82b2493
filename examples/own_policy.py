"""Write a policy as a string, correct the mistake that the checker finds, and print each step of a decode."""

import dsldec

CAN_HANG = """
policy calm(gamma: nats = 0.3, block: int = 16 in 1..65536):
  "Commit what has little entropy."
  window blocks(block)
  commit masked and entropy <= gamma
"""
MENDED = CAN_HANG.rstrip() + " at least 1 by -entropy\n"


def main() -> None:
    policy, diagnostics = dsldec.check(CAN_HANG)
    assert policy is None
    for diagnostic in diagnostics:
        print(diagnostic, end="\n\n")

    policy = dsldec.load(MENDED, gamma=0.2)
    print(f"{policy.name} takes at most {policy.plan(48).max_forwards} forwards for 48 tokens")
    prompt = "Mia has 20 coins. Mia gives 5 to Leo. How many coins does Mia have now?"
    decoded = dsldec.decode(dsldec.from_pretrained(), [prompt], policy, gen_length=48, trace=True)
    for number, step in enumerate(decoded.trace[0], 1):
        print(f"step {number} wrote {step.committed}")
    print(decoded.text[0])


if __name__ == "__main__":
    main()
