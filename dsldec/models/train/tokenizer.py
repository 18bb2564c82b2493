"""The tokenizer of the embedded models: byte-level BPE in which a number up to 60 is one token."""

from __future__ import annotations

import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ..tasks import TASKS, training_stream, word_problems

VOCABULARY = 1024
PAD, EOS, MASK, USER, ASSISTANT = "<|pad|>", "<|endoftext|>", "<|mask|>", "<|user|>", "<|assistant|>"
SPECIAL = [PAD, EOS, MASK, USER, ASSISTANT]
# The tasks of the first model. A second model starts from its weights, and so has its tokenizer.
FIRST_TASKS = ("word_problems", "sudoku")
# A prompt is everything up to and including the assistant's mark; finished turns end with the end-of-text
# token.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}<|endoftext|>"
    "{% else %}<|user|>{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Numbers of one or two digits stand alone; of longer runs (a sudoku row) every digit does. The texts hold
# numbers up to 60, so only those become single tokens.
NUMBERS = Regex(r"(?<!\d)\d{1,2}(?!\d)|\d")


def _texts(seed: int, count: int) -> list[str]:
    rng = random.Random(f"tokenizer {seed}")
    makers = [*(TASKS[task].make for task in FIRST_TASKS), word_problems.make_arithmetic]
    streams = [training_stream(make, rng) for make in makers]
    examples = [next(stream) for stream in streams for _ in range(count)]
    return [text for example in examples for text in (example.prompt, example.response)]


def build(seed: int = 1, count: int = 20_000) -> PreTrainedTokenizerFast:
    """Train the tokenizer on `count` examples of each kind; the same seed gives the same tokenizer, whatever
    the run's.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(NUMBERS, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed, count), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        mask_token=MASK,
        additional_special_tokens=[USER, ASSISTANT],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
