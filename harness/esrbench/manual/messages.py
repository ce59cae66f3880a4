"""The meaning of every notice and every status of a run, and what to do about it.

A notice itself has a message with figures. This is what can be said of all notices of its kind.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Explanation(NamedTuple):
    """What a code means.

    Attributes:
        when: when it is given, in Markdown.
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
        "its output is no SR image: it has another size or type, or numbers that are not finite",
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
        "its process sent data that are not messages of a worker",
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
        "images score better than their variants on the same pixels, by more than 0.5 dB / sqrt(n) "
        "for n images and at least 0.02 dB; or an image has no error, although its LR image does "
        "not determine it; or whole windows score 0.02 dB better when they are upscaled again, "
        "untimed; or images take over 1.1 times as long as their windows, with a false-positive "
        "probability below 0.08 %",
        "look for stored images, for look-up by content, and for forwards that do less after the "
        "first ones",
    ),
    "suspect-caching": Explanation(
        "repeated rounds take less than 90 % of new ones in the median, with a false-positive "
        "probability below 0.4 % (8 pairs of rounds on the smallest image, and 8 more at the fixed "
        "input if it is timed); or an image's later rounds take less than half of its first, in "
        "the median over images, and more images begin with a slow round (more than twice the "
        "later median) than chance explains, with a false-positive probability below 0.08 %",
        "look for outputs kept between calls",
    ),
    "suspect-hidden-work": Explanation(
        "more than 0.3 CPUs are busy in the worker while nothing is asked of it, in the median "
        "over inputs, or half a CPU more than its threads during rounds",
        "look for threads and processes that continue after a forward",
    ),
    "counted-otherwise": Explanation(
        "the counted network is not the measured one: its output changes while it is watched or "
        "after it has been scored; or two counts of one forward differ; or its weights file or the "
        "loaded network has more than was counted, and the audit finds hidden constants",
        "make the network compute the same whoever calls it, and keep every weight in a parameter",
    ),
    "busy-machine": Explanation(
        "other processes and the hypervisor took more than 10 % of the CPUs at the fixed input, "
        "the images or the null network; or a tenth of an image's rounds took twice as long as "
        "its fastest quarter, in the median over images",
        "run again with `--resume` on a quiet machine",
    ),
    "timing-disputed": Explanation(
        "a claim is below the externally measured time by more than 3 % and the noise, or above "
        "the time until all pixels were delivered, over the images or at the fixed input",
        "first repeat it on a quiet machine: new load during timing can lead to a dispute about an "
        "honest entry",
    ),
}
"""Statuses of runs, as ``esrbench.records.Status`` names them."""

_REVIEW = "compare run times, and review the code of likely winners"

NOTICES: Final = {
    # Times.
    "throttled": Explanation(
        "the GPU's clocks were lowered, also when the input was timed again, because of heat, "
        "power, the power supply or another GPU of the group",
        "lock clocks lower, improve the cooling, or raise the power limit",
    ),
    "other-load": Explanation(
        "other processes took 5 % of the CPU time on average, or 10 % at one input",
        "close them; see `esrbench doctor`",
    ),
    "steal": Explanation(
        "the hypervisor gave others 5 % of our CPU time on average, or 10 % at one input",
        "use your own hardware, or measure at another time",
    ),
    "processes-differ": Explanation(
        "the slowest process differs more from the fastest than on 95 % of quiet machines, if "
        "processes differ by 20 % (limit: 74 % for two processes, 97 % for three, 121 % for five), "
        "and 1.5 times as much as the intervals of both explain",
        "raise `--processes`, and leave a CPU free",
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
        "half of the interval from the rounds of a process is over 10 % of the runtime over images",
        "raise `--budget` or `--rounds`, depending on which one ended the rounds",
    ),
    "outliers": Explanation(
        "over 5 % of forwards, and at least three, differ from their median by 10 standard "
        "deviations (by the median absolute deviation) and by 5 %",
        "read medians, not p95; take a larger `--input-size`",
    ),
    "too-short": Explanation(
        "a median is below 5 us, or below 50 us by CUDA events; the clock's error is then 1 %",
        "take a larger `--input-size` and larger images",
    ),
    "slow-first-run": Explanation(
        "in most processes the cold start takes at least three times the median, and half a second "
        "longer",
        "consider it when you deploy the network; no runtime includes it",
    ),
    "slow-to-settle": Explanation(
        "a worker's checks after its rounds took 1 s and half as long as the rounds",
        "look for code that delays them",
    ),
    "no-energy": Explanation(
        "`--energy` found no counter, or none that can be read", "see the advice beside it"
    ),
    "outputs-differ": Explanation(
        "timed SR images differ from those of the untimed pass; the timed ones are scored",
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
        "a noise image and a smooth image have different costs",
        "read the count as that of one image; compare runtimes on the data set",
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
        "products have another data type than the run's class of precision",
        "declare the precision that the network casts to",
    ),
    "uncounted-operator": Explanation(
        "operators of unknown cost ran, or results are summed where no counter sees it",
        "read the count as a lower bound; count a version without them",
    ),
    "opaque-operator": Explanation(
        "custom operators, exported memory or writes out of sight count nothing",
        "count a version of torch's own operators, or declare `pure_torch`",
    ),
    # Entries and how they ran.
    "output-range": Explanation(
        "the first images do not resemble their LR images, although weights were given, and the "
        "output has another range of values than the declared one",
        "declare the `data_range` that the network takes and returns, 1 or 255; "
        "`esrbench validate NAME` tries the other one",
    ),
    "unlike-input": Explanation(
        "the first images, scaled down, have less than 20 dB PSNR to their LR images, at least "
        "10 dB less than bicubic interpolation, although weights were given",
        "check weights, data range, order of colours and normalisation",
    ),
    "cuda-requests": Explanation(
        "the entry's code asks for CUDA, which led to the device of the run",
        "nothing; to avoid the notice, remove `.cuda()` and similar calls",
    ),
    "warm-up": Explanation(
        "modules ran while the network was built",
        "leave the warm-up to the harness: in the constructor it has no benefit",
    ),
    "other-precision": Explanation(
        "an entry ran in another precision than it declares",
        "leave `--precision` out, or compare it within its class only",
    ),
    "across-classes": Explanation(
        "a runtime is relative to that of a baseline of another class",
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
        "an entry point of an installed distribution could not be loaded",
        "repair, update or uninstall that distribution",
    ),
    # Backends.
    "backend-differs": Explanation(
        "SR images of a backend differ from those of eager torch",
        "compare it with runs of that backend only; see `esrbench help backends`",
    ),
    "graph-parameters": Explanation(
        "the graph of a backend and the network have different numbers of parameters",
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
        "passes were made more than once, because the machine disturbed them or two runs made the "
        "same pass; only one counts",
        "nothing; the other passes are kept beside it",
    ),
    "cell-failed": Explanation(
        "a cell of a suite was not finished where it ran",
        "read its message, then run again with `--resume`",
    ),
    "cells-wait": Explanation(
        "no machine of the cluster can make the cells of a suite now",
        "start such a machine, or ask for less; a suite on Ray ends if none comes in 10 minutes, "
        "and jobs of Slurm stay in its queue",
    ),
    "no-entries": Explanation(
        "a name, folder or glob of `challenge.toml` matches no entry", "correct `entries`"
    ),
    "withdrawn-entry": Explanation(
        "a challenge leaves out an entry that was withdrawn",
        "`esrbench runs restore` takes it back",
    ),
    "class-not-admitted": Explanation(
        "an entry declares a precision that the challenge does not admit",
        "add it to `classes`, or ask the team",
    ),
    "incomparable": Explanation(
        "a stored run has other settings, which the notice names, and is left out of the table",
        "run it again with the settings of the others",
    ),
    "older-run": Explanation(
        "an entry's newer run failed, so an older one is shown", "run it again"
    ),
    "mixed-code": Explanation(
        "an entry's source files changed between the runs that are shown",
        "run it again on all data sets",
    ),
    "published-elsewhere": Explanation(
        "a network has no scores in the table, and another network of the same publication has "
        "published ones",
        "name the other network",
    ),
    "corrupt-record": Explanation(
        "the content of a stored file is not what was written; the file was set aside",
        "run the entry again, then delete the file",
    ),
    "set-aside-records": Explanation(
        "files were set aside earlier as corrupt", "delete them once they are not needed"
    ),
    "unreadable-record": Explanation(
        "a file cannot be read, or has a newer schema",
        "correct its permissions, update esrbench, or move the file away",
    ),
    # Bundles for Codabench.
    "no-docker-image": Explanation(
        "the bundle names a Docker image that cannot be pulled", "set `codabench.docker_image`"
    ),
    "no-start": Explanation("a phase starts when the bundle was made", "set `codabench.start`"),
    "no-terms": Explanation("the terms are a short default text", "set `codabench.terms`"),
    "gate-not-shown": Explanation(
        "no column shows whether an entry beats the interpolation", "say so in the terms"
    ),
}
"""Notices by the code that is in a record and in front of a warning."""
