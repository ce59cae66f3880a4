"""The meaning of every notice and every status of a run, and what to do about it.

A notice itself has a message with figures. This is what can be said of all notices of its kind.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Explanation(NamedTuple):
    """What a code means.

    Attributes:
        when: it is given, in Markdown.
        do: what to do about it.
    """

    when: str
    do: str


STATUSES: Final = {
    "ok": Explanation("everything was measured", "nothing"),
    "load-error": Explanation(
        "the network does not build, or its weights do not load",
        "read the cause and the end of the log, then try `esrbench validate NAME`",
    ),
    "forward-error": Explanation(
        "its forward raises an error", "read the cause and the end of the log"
    ),
    "invalid-output": Explanation(
        "what comes out is no SR image: another size or type, or numbers that are not finite",
        "return float (N, 3, scale*H, scale*W); `esrbench validate NAME` tries odd sizes",
    ),
    "oom": Explanation(
        "memory ran out", "declare `tile` in the manifest, or use a machine with more memory"
    ),
    "timeout": Explanation(
        "there was no answer in time", "raise `--timeout`, or look for work that never ends"
    ),
    "crash": Explanation(
        "its process died", "read the end of the log; `cause` names the signal or the exit code"
    ),
    "protocol": Explanation(
        "its process sent something else than the messages of a worker",
        "look for code that writes to the worker's channel",
    ),
    "disqualified": Explanation(
        "an organiser decided so; boards say it, and records keep what was measured",
        "see `esrbench runs show`",
    ),
    "interrupted": Explanation(
        "fewer processes timed it than were asked for", "run again with `--resume`"
    ),
    "infra-error": Explanation(
        "the null network was not timed, or the harness failed",
        "run again; ask `esrbench doctor`",
    ),
    "suspect-memorising": Explanation(
        "images score better than their variants, on the same pixels: by 0.5 dB for one image, "
        "for the mean of n by 0.5 dB / sqrt(n), by 0.02 dB at least; or an image has no error, "
        "though its LR image does not hold it; or whole windows score better by 0.02 dB when the "
        "same ones are upscaled untimed; or images take over 1.1 times as long as their windows, "
        "and chance would make them so slow in less than 0.08 % of runs",
        "look for stored images, for look-up by content, and for forwards that do less once some "
        "were made",
    ),
    "suspect-caching": Explanation(
        "in 8 pairs of rounds on the smallest image, and 8 more at the fixed input where it is "
        "timed, repeated rounds take less than 90 % of new ones in the median, and chance would "
        "make as many of them faster in less than 0.4 % of runs; or an image's later rounds take "
        "less than half of its first, in the median over images, and chance would make as many "
        "images begin with a slow round (one of more than twice its later median) in less than "
        "0.08 % of runs",
        "look for outputs kept between calls",
    ),
    "suspect-hidden-work": Explanation(
        "more than 0.3 CPUs are busy in the worker while nothing is asked of it, in the median "
        "over inputs, or half a CPU more than its threads during rounds",
        "look for threads and processes that go on",
    ),
    "counted-otherwise": Explanation(
        "what was counted is not what was measured: the network computes another output while it "
        "is watched or once it has been scored; two counts of one forward differ; or its weights "
        "file or the loaded network holds more than was counted and the audit finds hidden "
        "constants",
        "count and time the same network: no look at who calls, and every weight in a parameter",
    ),
    "busy-machine": Explanation(
        "other processes and the hypervisor took more than 10 % of the CPUs at the fixed input, "
        "the images or the null network; or a tenth of an image's rounds took twice as long as "
        "its fastest quarter, in the median over images",
        "run again with `--resume` on a quiet machine",
    ),
    "timing-disputed": Explanation(
        "a claim lies below externally measured time by more than 3 % and the noise, or above the "
        "time after which all pixels were there, over the images or at the fixed input",
        "first repeat it on a quiet machine: load that comes while an entry is timed disputes an "
        "honest one",
    ),
}
"""Of runs, as ``esrbench.records.Status`` names them."""

_REVIEW = "compare run times, and review the code of whoever stands to win"

NOTICES: Final = {
    # Times.
    "throttled": Explanation(
        "heat, power, the supply or a group's other GPU lowered the GPU's clocks although the "
        "input was timed again",
        "lock clocks lower, cool, raise the power limit",
    ),
    "other-load": Explanation(
        "other processes took 5 % of the CPU time on average, or 10 % at one input",
        "close them; see `esrbench doctor`",
    ),
    "steal": Explanation(
        "the hypervisor gave others 5 % of our CPU time on average, or 10 % at one input",
        "use hardware of your own, or another hour",
    ),
    "processes-differ": Explanation(
        "the slowest of n processes is further off the fastest than 95 % of quiet machines have "
        "it with 20 % between processes (74 % for two, 97 % for three, 121 % for five), and 1.5 "
        "times as far as both their intervals explain",
        "raise `--processes`, leave a CPU free",
    ),
    "drift": Explanation(
        "rounds became slower (Mann-Kendall, 1 %, corrected for neighbours that resemble each "
        "other), and this moved the runtime by 5 % between halves",
        "let the machine settle, fix its clocks, raise `--processes`",
    ),
    "not-steady": Explanation(
        "rounds became faster (Mann-Kendall, 1 %, as for `drift`), and this moved the runtime by "
        "5 % between halves: the warm-up was too short",
        "raise `--warmup`",
    ),
    "wide-interval": Explanation(
        "the rounds of a process know the runtime over the images to 10 % only",
        "raise `--budget` or `--rounds`, whichever ended the rounds",
    ),
    "outliers": Explanation(
        "over 5 % of forwards, and three or more, lie 10 standard deviations (by the median "
        "absolute deviation) and 5 % off their median",
        "read medians, not p95; take a larger `--input-size`",
    ),
    "too-short": Explanation(
        "a median is below 5 us, or 50 us by CUDA events: the clock is a percent of it",
        "take a larger `--input-size` and larger images",
    ),
    "slow-first-run": Explanation(
        "in most processes the cold start is three times the median or more, and half a second "
        "longer",
        "know it when you deploy; it is in no runtime",
    ),
    "slow-to-settle": Explanation(
        "a worker's checks after its rounds took 1 s and half as long as the rounds",
        "look for code that delays them",
    ),
    "no-energy": Explanation(
        "`--energy` found no counter, or none that can be read", "see the advice beside it"
    ),
    "outputs-differ": Explanation(
        "SR that was timed is not SR of the untimed pass; the timed one is scored",
        "look for randomness or kept state",
    ),
    # Counts.
    "counter-spread": Explanation(
        "the counters differ by over 2 %", "name the counter beside every figure"
    ),
    "counted-otherwise": Explanation(
        "a forward counts differently with pixel values, under one counter than under another, "
        "or for the counters than for the audit; or its output differs while it is watched, or "
        "since it was scored. The run has no rank",
        "let the forward do the same whoever calls it, with or without values",
    ),
    "uncounted-macs": Explanation(
        "a counter passed over operators that multiply and accumulate", "read `FLOPs (aten)` too"
    ),
    "size-dependent-cost": Explanation(
        "multiply-accumulates of a pixel differ by over 2 % between sizes",
        "nothing if padding or tiles explain it; otherwise look for branches on the size",
    ),
    "content-dependent": Explanation(
        "noise and a smooth image cost differently",
        "read the count as that of one image; run times on the data set tell more",
    ),
    "elementwise-work": Explanation(
        "elementwise results exceed 25 % of the multiply-accumulates",
        "compare run times: by every convention elementwise work counts nothing",
    ),
    "hidden-constants": Explanation(
        "constants exceed the parameters by over 1 % and 1,000 elements",
        "declare every weight as a parameter",
    ),
    "hidden-work": Explanation(
        "the output does not derive from the input by operators that were seen",
        "do all work in torch, in the thread of the forward",
    ),
    "mixed-precision": Explanation(
        "products are of another type than the run's class of precision has",
        "declare the precision that the network casts to",
    ),
    "uncounted-operator": Explanation(
        "operators of unknown cost ran, or results are summed out of the counters' sight",
        "read the count as a lower bound; count a version without them",
    ),
    "opaque-operator": Explanation(
        "custom operators, exported memory or writes out of sight count nothing",
        "count a version of torch's own operators, or declare `pure_torch`",
    ),
    # Entries and how they ran.
    "cuda-requests": Explanation(
        "the entry's code asks for CUDA, which led to the device of the run",
        "nothing; take `.cuda()` and its like out to be rid of the notice",
    ),
    "warm-up": Explanation(
        "modules ran while the network was built",
        "leave warming up to the harness: it gains nothing here",
    ),
    "other-precision": Explanation(
        "an entry ran in another precision than it declares",
        "leave `--precision` out, or compare it within its class only",
    ),
    "across-classes": Explanation(
        "a runtime is in relation to that of a baseline of another class",
        "run both in one class before you compare",
    ),
    "same-weights": Explanation("entries have the same weights", _REVIEW),
    "missing-requirements": Explanation(
        "a distribution that the entry declares is not installed, or too old",
        "install it, or give the entry an environment of its own: `esrbench env create`",
    ),
    "broken-submission": Explanation(
        "a folder of `submissions/` cannot be registered", "`esrbench validate NAME` says why"
    ),
    "broken-entry-point": Explanation(
        "what an installed distribution offers could not be loaded",
        "mend, update or uninstall that distribution",
    ),
    # Backends.
    "backend-differs": Explanation(
        "SR of a backend is not that of eager torch",
        "compare it with runs of that backend only; see `esrbench help backends`",
    ),
    "graph-parameters": Explanation(
        "the graph of a backend holds another number of parameters than the network",
        "look for constants that the export folded",
    ),
    "not-quantised": Explanation(
        "a backend leaves operators in float32", "call the run one of mixed precision"
    ),
    # Suites, records and leaderboards.
    "resumed": Explanation(
        "the timed processes of a record ran in several sessions, between which the machine may "
        "have changed",
        "run again for an official table",
    ),
    "made-again": Explanation(
        "passes were made more than once, because the machine spoilt them or two runs made the "
        "same; only one counts",
        "nothing; the others are kept beside it",
    ),
    "cell-failed": Explanation(
        "a cell of a suite was not finished where it ran",
        "read its message, then run again with `--resume`",
    ),
    "cells-wait": Explanation(
        "no machine of the cluster can make the cells of a suite now",
        "start such a machine, or ask for less; the suite ends if none comes in 10 minutes",
    ),
    "no-entries": Explanation(
        "a name, folder or glob of `challenge.toml` stands for no entry", "correct `entries`"
    ),
    "withdrawn-entry": Explanation(
        "a challenge leaves an entry out that was withdrawn",
        "`esrbench runs restore` takes it back",
    ),
    "class-not-admitted": Explanation(
        "an entry declares a precision that the challenge does not admit",
        "add it to `classes`, or ask the team",
    ),
    "incomparable": Explanation(
        "a stored run differs in what is named, and is left out of the table",
        "run it again as the others were run",
    ),
    "older-run": Explanation(
        "an entry's newer run failed, so an older one is shown", "run it again"
    ),
    "mixed-code": Explanation(
        "an entry's source files changed between the runs that are shown",
        "run it again on all data sets",
    ),
    "corrupt-record": Explanation(
        "a stored file is not what was written; it was set aside",
        "run the entry again, then delete the file",
    ),
    "set-aside-records": Explanation(
        "files were set aside earlier as corrupt", "delete them once they are not needed"
    ),
    "unreadable-record": Explanation(
        "a file cannot be read, or has a newer schema",
        "mend its permissions, update esrbench, or move the file away",
    ),
    # Bundles for Codabench.
    "no-docker-image": Explanation(
        "the bundle names a Docker image that is nowhere", "set `codabench.docker_image`"
    ),
    "no-start": Explanation("a phase starts when the bundle was made", "set `codabench.start`"),
    "no-terms": Explanation("the terms are a short default text", "set `codabench.terms`"),
    "gate-not-shown": Explanation(
        "no column shows whether an entry beats the interpolation", "tell it in the terms"
    ),
}
"""By the code that is in a record and in front of a warning."""
