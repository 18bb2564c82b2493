"""`python -m dsldec.models.train`: train the embedded model, or resume an interrupted run."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch.multiprocessing as multiprocessing

from .batches import MIXTURES
from .loop import TrainingRun, work


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dsldec.models.train", description=__doc__)
    parser.add_argument(
        "--folder",
        type=Path,
        required=True,
        help="checkpoints and the exported model go here; a run found here goes on",
    )
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--processes", type=int, default=2, help="one thread each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--feed-forward", type=int, default=384)
    parser.add_argument(
        "--start-from",
        type=Path,
        help="the folder of an earlier run or of a model of the same sizes: begin with its weights",
    )
    parser.add_argument(
        "--redraw", default="", help="letters that the earlier run never saw: their embeddings are drawn anew"
    )
    parser.add_argument("--mixture", choices=tuple(MIXTURES), default="word_problems")
    run = TrainingRun(**vars(parser.parse_args()))
    run.folder.mkdir(parents=True, exist_ok=True)
    if run.processes == 1:
        work(0, run)
    else:
        multiprocessing.spawn(work, args=(run,), nprocs=run.processes)


if __name__ == "__main__":
    main()
