"""When do drafts save time? Compares decodes with and without drafts, with the model that dsldec includes.

A forward with d drafts has up to d rows. Drafts save time if such a forward takes less than `gain` times as
long as a forward of one row, where `gain` is the number of forwards without drafts divided by the number with
drafts. The measurements alternate, so that the load of the machine affects all of them.
"""

import statistics
import sys
import time

import torch

import dsldec
from dsldec.tools.evaluate import held_out

DRAFTS = (1, 2, 4, 8)
GENERATED = 48


def timed(
    denoiser: dsldec.Denoiser, prompts: list[str], policy: dsldec.Policy, drafts: int, batch: int
) -> tuple[float, dsldec.Decoded]:
    began = time.perf_counter()
    decoded = dsldec.decode(
        denoiser, prompts, policy, gen_length=GENERATED, backend="eager", batch=batch, lookahead=drafts
    )
    return time.perf_counter() - began, decoded


def row_cost(denoiser: dsldec.Denoiser, rows: tuple[int, ...], rounds: int) -> dict[int, float]:
    """The time of a forward for each number of rows, relative to the smallest number."""
    ids = torch.full((max(rows), 30 + GENERATED), denoiser.mask_id)
    seconds: dict[int, list[float]] = {count: [] for count in rows}
    for _ in range(rounds):
        for count in rows:
            began = time.perf_counter()
            denoiser(ids[:count])
            seconds[count].append(time.perf_counter() - began)
    return {
        count: statistics.median(times) / statistics.median(seconds[rows[0]])
        for count, times in seconds.items()
    }


def compare(
    denoiser: dsldec.Denoiser, prompts: list[str], policy: dsldec.Policy, batch: int, rounds: int
) -> None:
    seconds: dict[int, list[float]] = {drafts: [] for drafts in DRAFTS}
    for _ in range(rounds):
        results = {drafts: timed(denoiser, prompts, policy, drafts, batch) for drafts in DRAFTS}
        for drafts, (spent, decoded) in results.items():
            seconds[drafts].append(spent)
            assert decoded.text == results[1][1].text  # lossless
    plain = results[1][1]
    costs = row_cost(denoiser, tuple(batch * drafts for drafts in DRAFTS), 10 * rounds)
    for drafts, (_, decoded) in results.items():
        totals = [
            [sum(column) for column in zip(*rows, strict=True)]
            for rows in (decoded.accepted, decoded.proposed)
        ]
        shares = " ".join(f"{some / max(1, all_):.2f}" for some, all_ in zip(*totals, strict=True))
        gain = float(plain.forwards.sum() / decoded.forwards.sum())
        rows, forwards = (float(counts.double().mean()) for counts in (decoded.rows, decoded.forwards))
        ratio = statistics.median(
            ours / plainly for ours, plainly in zip(seconds[drafts], seconds[1], strict=True)
        )
        cells = (
            f"{forwards:.1f} | {rows:.1f} | {shares} | {gain:.2f} | {costs[batch * drafts]:.2f} | {ratio:.2f}"
        )
        print(f"| `{policy.name}` | {batch} | {drafts} | {cells} |")


def main(count: int = 1, rounds: int = 1) -> None:
    """Compare on `count` prompts, `rounds` times: `python examples/draft_cost.py 16 3`."""
    denoiser = dsldec.from_pretrained()
    prompts = [example.prompt for example in held_out("word_problems", count)]
    print(
        "| policy | batch | drafts | forwards | rows | accepted by depth | gain | cost of a forward | time |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in ("static", "threshold", "dico"):
        policy = dsldec.load(name, block=GENERATED)
        for batch in (1, 8):
            compare(denoiser, prompts, policy, batch, rounds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
