"""Every diagnostic code, once: a sentence, and for codes of the language a bad and a good policy.

Codes never change. E01xx syntax, E02xx names and kinds, E03xx facts, E04xx backends, models and the command
line, E05xx networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Code:
    """The meaning of a code in a sentence. `bad` is a policy that gets it, `good` the corrected policy."""

    code: str
    sentence: str
    bad: str = ""
    good: str = ""


def _policy(*statements: str, parameters: str = "") -> str:
    return f"policy example({parameters}):\n" + "".join(
        f"  {line}\n" for line in ("window blocks(32)", *statements)
    )


_BEST = "commit top(masked, 1, by=conf)"
_SURE = "commit masked and conf > 0.9 at least 1 by conf"

_CODES = (
    Code(
        "E0101",
        "the text does not follow the grammar at this place",
        _policy("comit top(masked, 1, by=conf)"),
        _policy(_BEST),
    ),
    Code(
        "E0102",
        "the indentation of a line fits no block",
        "policy example():\nwindow blocks(32)\n",
        _policy(_BEST),
    ),
    Code("E0103", "the text is empty, or contains bytes that are not text", "\n", _policy(_BEST)),
    Code(
        "E0104", "the text exceeds the size limit of a policy", _policy(_BEST) + "#" * 300_000, _policy(_BEST)
    ),
    Code(
        "E0105",
        "brackets or operators are nested too deep",
        _policy(f"x = {'(' * 200}1{')' * 200}", _BEST),
        _policy(_BEST),
    ),
    Code(
        "E0106",
        "the language has this word, but this version cannot use it yet",
        _policy("shadow window", _BEST),
        _policy(_BEST),
    ),
    Code(
        "E0107",
        "a number exceeds the limit",
        _policy("commit top(masked, 99999999999999999999, by=conf)"),
        _policy(_BEST),
    ),
    Code(
        "E0108",
        "the policy, with its functions expanded, exceeds the limit on parts",
        _policy(
            *(f"def f{i}(x) = " + (f"f{i - 1}(x) + f{i - 1}(x)" if i else "x + 1") for i in range(20)),
            "commit masked and f19(conf) > 1",
        ),
        _policy("def twice(x) = x + x", "commit masked and twice(conf) > 1 at least 1 by conf"),
    ),
    Code(
        "E0109",
        "the policy exceeds the limit on parameters, states or phases",
        _policy(
            *(
                f"state s{i}: int = s{i - 1} per block" if i else "state s0: int = 0 per block"
                for i in range(101)
            ),
            _BEST,
        ),
        _policy(
            "state calm: int = 0 per block",
            "set calm = calm + 1",
            "commit masked and conf > 0.1 * calm at least 1 by conf",
        ),
    ),
    Code("E0201", "nothing has this name", _policy("commit top(maskd, 1, by=conf)"), _policy(_BEST)),
    Code(
        "E0202",
        "a name is taken: words of the language and earlier names cannot be defined again",
        _policy("conf = 1", _BEST),
        _policy(_BEST),
    ),
    Code(
        "E0203",
        "a word is given too few, too many or unknown arguments",
        _policy("commit top(masked, 1)"),
        _policy(_BEST),
    ),
    Code("E0204", "a value of this kind cannot stand here", _policy("commit conf"), _policy("commit masked")),
    Code(
        "E0205",
        "two different units are combined: a probability, nats and a logit are not the same scale",
        _policy("commit masked and conf > entropy at least 1 by conf"),
        _policy(_SURE),
    ),
    Code(
        "E0206",
        "the score has the wrong polarity: the least sure position would go first",
        _policy("commit top(masked, 1, by=entropy)"),
        _policy("commit top(masked, 1, by=-entropy)"),
    ),
    Code(
        "E0207",
        "there is a value for each position where one for the row is needed",
        _policy("commit top(masked, pos, by=conf)"),
        _policy(_BEST),
    ),
    Code(
        "E0208",
        "a parameter's default, kind or range do not fit together",
        _policy("commit top(masked, tokens, by=conf)", parameters="tokens: int = 0 in 1..8"),
        _policy("commit top(masked, tokens, by=conf)", parameters="tokens: int = 1 in 1..8"),
    ),
    Code(
        "E0209",
        "this word only has a meaning inside `while=` of `prefix`, or `draft` inside `accept`",
        _policy("commit masked and rank < 3 at least 1 by conf"),
        _policy("commit prefix(masked, by=conf, while=rank < 3) at least 1 by conf"),
    ),
    Code(
        "E0210",
        "a function calls itself, or one that stands further down",
        _policy("def deep(m) = deep(m) or m", "commit deep(masked)"),
        _policy("def deep(m) = dilate(m, 2) or m", "commit deep(masked) at least 1 by conf"),
    ),
    Code(
        "E0211",
        "a size of the compiled step is not a number or a parameter, or has no upper bound",
        _policy("commit thin(masked, by=conf, gap=2, at_most=2 * 2) at least 1 by conf"),
        _policy("commit thin(masked, by=conf, gap=2, at_most=4) at least 1 by conf"),
    ),
    Code(
        "E0212",
        "`before(x)` is the value of x at the start of a step, and this x gets its value only later",
        _policy("commit masked and not before(idle) at least 1 by conf"),
        _policy("commit masked and before(conf) > 0.5 at least 1 by conf"),
    ),
    Code(
        "E0219",
        "a temperature of logits is 0 or less",
        _policy("logits temperature(0)", _BEST),
        _policy("logits temperature(0.5)", _BEST),
    ),
    Code(
        "E0220",
        "a number of `logits` or `draw` needs the logits, and it is computed before they are read",
        _policy("draw gumbel(mean(entropy))", _BEST),
        _policy("draw gumbel(max(0, 0.8 - 0.4 * step / 48))", _BEST),
    ),
    Code(
        "E0222",
        "the choices of a parameter, or the index of a table, do not fit together",
        _policy(
            "commit top(masked, 1, by=conf if mode == conf else margin)",
            parameters="mode: conf | margin = entropy",
        ),
        _policy(
            "commit top(masked, 1, by=conf if mode == conf else margin)",
            parameters="mode: conf | margin = conf",
        ),
    ),
    Code(
        "E0223",
        "a parameter with named choices is compared with something else than one of their names",
        _policy(
            "commit top(masked, 1, by=conf if mode == surest else margin)",
            parameters="mode: conf | margin = conf",
        ),
        _policy(
            "commit top(masked, 1, by=conf if mode == conf else margin)",
            parameters="mode: conf | margin = conf",
        ),
    ),
    Code(
        "E0225",
        "a table by id is looked up by an int, or a table by step by an id",
        _policy(
            "commit masked and conf >= of(taus, step) at least 1 by conf", parameters="taus: table = 0.9"
        ),
        _policy(
            "commit masked and conf >= of(taus, step) at least 1 by conf",
            parameters="taus: table by step = 0.9",
        ),
    ),
    Code(
        "E0226",
        "a window `until` ends in two ways: at ids, at a mask, or after a length",
        f"policy example():\n  window until(3, conf > 0.9, max=8)\n  {_BEST}\n",
        f"policy example():\n  window until(token == 3 or conf > 0.9, max=8)\n  {_BEST}\n",
    ),
    Code(
        "E0216",
        "a policy has one `branch`, a block of statements that write, with `pick by` directly below it",
        _policy("branch 3 as i:", "  commit top(masked, i + 1, by=conf)"),
        _policy("branch 3 as i:", "  commit top(masked, i + 1, by=conf)", "pick by mean(conf)"),
    ),
    Code(
        "E0217",
        "the score of `pick by` reads a name of the step that made the candidates; it is computed after the next forward",
        _policy(
            "branch 3 as i:", "  n = i + 1", "  commit top(masked, n, by=conf)", "pick by mean(conf) + n"
        ),
        _policy(
            "state n: int = 0 per sequence",
            "branch 3 as i:",
            "  set n = i + 1",
            "  commit top(masked, i + 1, by=conf)",
            "pick by mean(conf) + n",
        ),
    ),
    Code(
        "E0218",
        "a `branch` makes no candidate",
        _policy("branch 0 as i:", "  commit top(masked, i + 1, by=conf)", "pick by mean(conf)"),
        _policy("branch 2 as i:", "  commit top(masked, i + 1, by=conf)", "pick by mean(conf)"),
    ),
    Code(
        "E0230",
        "`learned` gets more inputs than a network may have",
        _policy(
            f"commit masked and learned(planner{', conf' * 65}) > 0 at least 1 by conf",
            parameters="planner: network",
        ),
        _policy(
            "commit masked and learned(planner, conf) > 0 at least 1 by conf", parameters="planner: network"
        ),
    ),
    Code(
        "E0231",
        "two calls of `learned` give one network different numbers of inputs",
        _policy(
            "commit masked and learned(planner, conf) > 0 at least 1 by learned(planner, conf, margin)",
            parameters="planner: network",
        ),
        _policy(
            "commit masked and learned(planner, conf) > 0 at least 1 by learned(planner, conf)",
            parameters="planner: network",
        ),
    ),
    Code(
        "E0301",
        "a step of the policy can commit nothing, so decoding may never end",
        _policy("commit masked and conf > 0.9"),
        _policy(_SURE),
    ),
    Code(
        "E0213",
        "a parameter lacks its default, and its kind needs one",
        _policy("commit masked and conf > level at least 1 by conf", parameters="level: prob"),
        _policy("commit masked and conf > level at least 1 by conf", parameters="level: prob = 0.9"),
    ),
    Code(
        "E0302",
        "a policy has one `window` statement, at its start, with a known shape",
        f"policy example():\n  {_BEST}\n",
        _policy(_BEST),
    ),
    Code(
        "E0303",
        "a statement belongs to the whole policy and is in a phase, or the other way round",
        _policy(_BEST, "phase opening:", f"  {_BEST}"),
        _policy("phase opening:", f"  {_BEST}"),
    ),
    Code(
        "E0304",
        "a phase that may be skipped has no `else`, or the phases of `else` form a circle",
        _policy(
            "phase opening at most 3 visits:", f"  {_BEST}", "  next ending", "phase ending:", f"  {_BEST}"
        ),
        _policy(
            "phase opening at most 3 visits else ending:",
            f"  {_BEST}",
            "  next ending",
            "phase ending:",
            f"  {_BEST}",
        ),
    ),
    Code(
        "E0305",
        "no step ever enters a phase",
        _policy("phase opening:", f"  {_BEST}", "phase ending:", f"  {_BEST}"),
        _policy("phase opening:", f"  {_BEST}", "  next ending when step > 3", "phase ending:", f"  {_BEST}"),
    ),
    Code(
        "E0306",
        "a row may finish with masks left before the end of its text",
        _policy(_BEST, "finish when progress > 0.5"),
        _policy(_BEST, "finish when eos_closed"),
    ),
    Code(
        "E0307",
        "a bound on visits or stays depends on a value that is only known while decoding",
        _policy(
            "phase opening at most count(masked) visits else ending:",
            f"  {_BEST}",
            "  next ending",
            "phase ending:",
            f"  {_BEST}",
        ),
        _policy(
            "phase opening at most window_length visits else ending:",
            f"  {_BEST}",
            "  next ending",
            "phase ending:",
            f"  {_BEST}",
        ),
    ),
    Code(
        "E0308",
        "a step may undo as much as it writes: `revoke` and `edit` need a bound, that of `revoke` below the number of new tokens",
        _policy(_BEST, "revoke committed and p(canvas) < 0.1 at most 4 by doubt"),
        _policy(_BEST, "revoke committed and p(canvas) < 0.1 at most committed_before - 1 by doubt"),
    ),
    Code(
        "E0324",
        "a policy cannot draft (`lookahead`) and branch yet",
        _policy(
            "lookahead 2", "branch 2 as i:", "  commit top(masked, i + 1, by=conf)", "pick by mean(conf)"
        ),
        _policy("branch 2 as i:", "  commit top(masked, i + 1, by=conf)", "pick by mean(conf)"),
    ),
    Code(
        "W0201",
        "a name, parameter, state or function is never used",
        _policy("sure = conf > 0.9", _BEST),
        _policy("sure = conf > 0.9", "commit masked and sure at least 1 by conf"),
    ),
    Code(
        "W0202",
        "a state never changes",
        _policy("state calm: int = 2 per block", "commit masked and conf > 0.1 * calm at least 1 by conf"),
        _policy(
            "state calm: int = 2 per block",
            "set calm = calm + 1",
            "commit masked and conf > 0.1 * calm at least 1 by conf",
        ),
    ),
    Code(
        "W0203",
        "`1 - conf` loses what `doubt` keeps",
        _policy("commit masked and 1 - conf < 0.001 at least 1 by conf"),
        _policy("commit masked and doubt < 0.001 at least 1 by conf"),
    ),
    Code(
        "W0301",
        "it is not proved that the `while` of a prefix stays false after its first failure",
        _policy("commit prefix(masked, by=conf, while=entropy < 1) at least 1 by conf"),
        _policy("commit prefix(masked, by=conf, while=conf > 0.5) at least 1 by conf"),
    ),
    Code(
        "W0302",
        "a `next` is never taken: it requires a full window, and decoding moves on from a full window",
        _policy(
            "phase opening:",
            f"  {_BEST}",
            "  next ending when not any(masked)",
            "phase ending:",
            f"  {_BEST}",
        ),
        _policy(
            "phase opening:", f"  {_BEST}", "  next ending when progress > 0.5", "phase ending:", f"  {_BEST}"
        ),
    ),
    Code(
        "W0303",
        "a condition is always true, or always false, for all values that its numbers can have",
        _policy("commit masked and conf > 2 at least 1 by conf"),
        _policy("commit masked and conf > 0.2 at least 1 by conf"),
    ),
    Code(
        "W0304",
        "a bound of 0: a phase that is never entered, or a statement that never has an effect",
        _policy(_BEST, "stay at most 0"),
        _policy(_BEST, "stay at most 1"),
    ),
    Code(
        "W0305",
        "`at least` asks for more positions than `at most` allows",
        _policy("commit masked and conf > 0.9 at least 3 by conf at most 2 by conf"),
        _policy("commit masked and conf > 0.9 at least 2 by conf at most 3 by conf"),
    ),
    Code(
        "W0306",
        "a window has a `min` above its `max`",
        f"policy example():\n  window until(1, min=5, max=4)\n  {_BEST}\n",
        f"policy example():\n  window until(1, min=4, max=5)\n  {_BEST}\n",
    ),
    Code(
        "W0307",
        "a reduction without `over=`, below a commit, is over the positions that are still masked",
        _policy(_BEST, "fill when min(conf) > 0.9"),
        _policy(_BEST, "fill when min(conf, over=masked) > 0.9"),
    ),
    # Outside a policy's text
    Code("E0401", "no policy has this name, or its file cannot be read"),
    Code("E0402", "a value does not fit the parameter it is given to"),
    Code("E0403", "the policy has no parameter of this name"),
    Code("E0404", "there is no such backend, or it cannot run here"),
    Code("E0405", "the model cannot be loaded from this path"),
    Code("E0406", "the denoiser gave logits that are not finite"),
    Code("E0407", "the prompt and the tokens to generate exceed the model's limit"),
    Code("E0408", "the denoiser is not valid: decoding needs a callable with `mask_id` and `vocab_size`"),
    Code("E0409", "the prompts, or the options of decoding, are not valid"),
    Code("E0410", "decoding failed before this prompt was finished, or its ids cannot be decoded to text"),
    Code("E0411", "the call sets a number of drafts, and the policy sets its own or branches"),
    Code("E0412", "the step cannot be built into a package for these sizes, or the policy cannot"),
    Code("E0413", "this is not a package of a step, or its inputs are not those that it was built for"),
    Code("E0414", "the model or the policy does not allow the requested cache"),
    Code("E0417", "torch cannot write or read its cache of compiled code"),
    Code("E0419", "the model's folder is part of a cache, or contains a link: nothing is written into it"),
    Code("E0418", "the files of a model's weights are damaged, or do not fit its configuration"),
    Code("W0401", "an argument has no effect, since the policy decides"),
    Code(
        "W0402",
        "the tokenizer does not fit the model: ids without a token, tokens without an id, or special ids that differ",
    ),
    Code("W0404", "an option has no effect beside another one"),
    # The command line
    Code("E0420", "the command has no such option, or an option lacks its value"),
    Code("E0421", "dsldec has no such verb"),
    Code("E0422", "an option has an invalid value"),
    Code("E0423", "options that cannot be combined, or an option without one that it needs"),
    Code("E0424", "`--set` is not name=value, or the value is not of the parameter's kind"),
    Code("E0425", "no prompt was given, or the input holds none"),
    Code("E0426", "the file of prompts cannot be read"),
    Code("E0427", "a prompt is not valid UTF-8 or Unicode"),
    Code(
        "E0428",
        "a line of a JSONL file is no string and no object with a `prompt` or `messages`, or sets an option wrongly",
    ),
    Code("E0429", "a text to be infilled is empty"),
    Code("E0430", "the length to generate leaves the model no room for a prompt"),
    Code("E0431", "two prompts have the same id, and `--resume` identifies prompts by it"),
    Code("E0432", "a file cannot be written there"),
    Code("E0433", "the results file exists already"),
    Code("E0434", "the file to resume was not written by `--out`"),
    Code("E0435", "the file to resume answers another prompt under the same id"),
    Code("E0436", "a file that would be written exists already"),
    Code("E0437", "the file to resume was written with another policy, model or option"),
    Code("E0438", "another run writes the results file"),
    Code(
        "E0439",
        "the results file is not what the run wrote: it was deleted, moved, replaced or changed meanwhile",
    ),
    Code(
        "W0403",
        "the file system has no locks, so that a second run could write the results file",
    ),
    # Patterns
    Code("E0320", "the policy has a pattern without a value, and a request gives none"),
    Code("E0321", "no text of the length to generate matches the pattern"),
    Code("E0322", "what is written on the canvas cannot become a match of the pattern any more"),
    Code("E0323", "the pattern is not for this model, this policy or this backend"),
    # Calls from Python
    Code("E0447", "a function has no such argument, or lacks one"),
    Code("E0448", "an argument is not of the kind that the function takes"),
    # Hosts
    Code("E0450", "a host cannot run the policy, or a parameter is one for all its requests"),
    Code("E0455", "a host no longer stores the state that a request needs to go on"),
    Code("E0456", "the configuration of a server's policy, or of one request to it, is not valid"),
    Code("E0500", "the model has no MASK, and the policy shows MASK where nothing is written"),
    Code("E0501", "the model has no MASK, and classifier-free guidance hides the prompt by MASK"),
    Code(
        "E0503",
        "the `generate` of this model has no place for a policy, or lacks a number that the policy needs",
    ),
    Code("E0502", "a model that reads one canvas after the finished text cannot decode so"),
    # Evaluation
    Code("E0480", "a problem of a task lacks the answer, or the test, that its scorer needs"),
    Code("E0481", "the scorer runs code that a model writes, which is not allowed yet or not possible here"),
    Code("E0482", "a package that the task needs is not installed"),
    # Comparison of two policies
    Code("E0520", "a search cannot compare the policy: it makes candidates, or has a pattern"),
    Code("E0521", "both policies to compare are the same one"),
    Code("E0522", "only one of the policies to compare has a parameter that is set in both"),
    # Tuning
    Code("E0530", "`--floor` is not an accuracy, or a factor of the baseline's accuracy"),
    Code(
        "E0531", "`dsldec tune` cannot search the values of a parameter, or no parameter has several values"
    ),
    Code("E0532", "a static parameter would be searched: each of its values needs another step"),
    Code("E0533", "a task has too few prompts to calibrate a search and to hold others out from it"),
    Code("E0534", "no setting that was tried has the accuracy of the floor"),
    Code("E0535", "a package that searches parameter values is not installed"),
    Code("E0536", "the baseline has no right answer, so a floor relative to it would be 0"),
    Code("E0537", "a prompt has no answer under a setting that is tried"),
    # Patterns
    Code("E0490", "a pattern is not a regular expression that can be read"),
    Code("E0491", "a pattern has a feature that depends on the text around it, such as a look ahead"),
    Code("E0492", "a schema is not JSON, or not a valid JSON schema"),
    Code("E0493", "a schema has a feature that no regular expression can follow"),
    Code("E0494", "a pattern exceeds a limit: of its text, of its automaton, or of the time to prepare it"),
    Code("E0495", "a pattern needs the text of each id, and the denoiser does not give it"),
    Code("E0496", "no answer can match the pattern: no text does, or no ids spell one"),
    Code("E0498", "the package that prepares patterns is not installed, or its process does not start"),
    Code("E0499", "a value is no pattern, or there is not one for each prompt"),
    # Trace files
    Code("E0460", "a trace file cannot be read, or a line of it is no trajectory"),
    # Networks
    Code("E0504", "the file of a network cannot be read, or is not a safetensors file"),
    Code("E0505", "the layers or the weights in the file of a network are not those of a network"),
    Code("E0506", "a network has another number of inputs than the policy gives it"),
    Code("E0507", "the policy needs a network, and none is bound"),
    # Search for policies
    Code("E0540", "the folder of a search is not empty, and has no search"),
    Code("E0541", "the search cannot start from this policy"),
    Code("E0542", "a file of a search cannot be read, or is not one that the search wrote"),
    # Measuring
    Code("E0510", "a results file in the folder has the results of another setting"),
    Code("E0511", "a line of a results file in the folder is not a result"),
    Code("E0512", "a grid of values is empty, or is no list and no range"),
    Code("E0513", "the grids have more settings than one run may measure"),
    Code("E0514", "a file is no result file of lm-evaluation-harness"),
    Code("E0515", "a package of the extra `frontier` is not installed"),
    # Many machines
    Code("E0470", "Ray is not installed, or it does not connect to the cluster"),
    Code("E0471", "the cluster has no room for the workers"),
    Code("E0472", "the workers die before they decode a prompt, or cannot start"),
    Code("E0473", "a worker has another version of dsldec than the driver"),
    Code("E0474", "the worker died each time it decoded this prompt"),
    # Editors
    Code("E0575", "the playground's port cannot be used"),
    Code("E0576", "a decode needs more than the playground allows"),
    Code("E0577", "the playground refuses a request"),
    Code("E0578", "the playground has no values for a parameter of this kind"),
    Code("E0579", "the playground fails by a mistake of dsldec"),
    Code("E0585", "a package of the extra `lsp` is not installed"),
    Code("E0586", "the language server is started without an editor"),
    # The library of policies
    Code("E0556", "no family of shipped policies has this name"),
    # Files of cases
    Code("E0440", "the cases of a policy cannot be read"),
    Code("E0441", "a line of a case begins with an unknown word"),
    Code("E0442", "a line of a case is in the wrong place, or one is missing"),
    Code("E0443", "a row of a case has too few or too many values, or an invalid one"),
    Code("E0444", "the policy reads an observation that a case does not give"),
    Code("E0445", "a file of cases is larger than it may be"),
    Code("E0446", "the policy does not do what a case expects"),
    Code("E0560", "a step without recorded values is to be explained"),
    Code("W0560", "the values of a step could not be recorded"),
    Code("E0561", "recorded values in a trace file belong to another version of dsldec"),
    Code("W0561", "a line of a trace file has no recorded values: they are too many"),
    Code("E0570", "a trace file has no trace"),
    Code("W0570", "no browser could be opened to show a page"),
    Code("E0571", "a trace file has no trace with this id"),
    Code("E0572", "a trace file has no trace of the prompt that it is compared on"),
    Code("E0573", "a trace is too large for a page"),
    Code("E0565", "no step of an answer can be explained, because it could not be decoded"),
    Code("E0566", "there is no such step or position to explain"),
    Code("E0567", "a token to explain is at no position, or at several"),
    Code("E0568", "a policy has no case of this title"),
    Code("E0569", "a trace file has no such answer, or several"),
    Code("E0555", "the cases of a policy reach a smaller share of its places than `--threshold` asks for"),
    Code("W0555", "no case reaches this place of the policy"),
)

CODES: Mapping[str, Code] = MappingProxyType({code.code: code for code in _CODES})
