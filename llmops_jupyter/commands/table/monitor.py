"""The commands of %monitor."""

from __future__ import annotations

from llmops_jupyter.commands.arguments import LIMIT, METRIC, MODEL, NOTE, OUT, SAMPLING, SOURCE
from llmops_jupyter.commands.command import Argument, Command, Option

SEVERITIES = ("low", "normal", "high")  # as in monitor.rules, which is not loaded for the table
ALERT_ACTIONS = (
    *("list", "add", "remove", "look", "show", "silence", "speak", "ack", "history", "notices"),
)
WATCH_ACTIONS = ("start", "stop", "status")
GOLDEN_ACTIONS = ("list", "add", "run", "show", "remove")
COSTS_BY = ("prompt", "version", "model", "notebook", "session", "day", "status", "source")
FILTERS = (
    Option(("--prompt",), "only this prompt, version or alias", "text", "NAME[@V]", "prompt"),
    Option(("--model",), "only this model", "text", "NAME", "model"),
    Option(("--session",), "only this conversation", "text", "NAME", "session"),
    Option(("--notebook",), "only this notebook", "text", "PATH"),
    SOURCE,
)
SINCE = Option(("--since",), "only newer ones: an age such as 24h or 7d, or a date", "text", "WHEN")
UNTIL = Option(("--until",), "only older ones", "text", "WHEN")
DATA = Option(
    ("--data",), "data set, or variable with rows, instead of traces", "text", "DATA", "rows"
)
NEWEST = Option(("-n", "--limit"), "only so many of the newest traces", "int", "N")
BASELINE = Argument("baseline", "name of the baseline", complete="baseline")
WHY = Option(("--why",), "why, for the log", "text", "TEXT")
RULE = (
    Option(("--metric",), "what a rule measures, such as error_rate", "text", "METRIC", "measure"),
    Option(("--window",), "such as 24h, or '200 traces'; left out: 24h", "text", "WINDOW"),
    *FILTERS[:2],
    *(FILTERS[3], FILTERS[2], FILTERS[4]),
    Option(("--warn",), "value past which it warns", "float", "X"),
    Option(("--alert",), "value past which it alerts", "float", "X"),
    Option(("--direction",), "on which side it is bad", "text", "SIDE", choices=("above", "below")),
    Option(("--at-least",), "traces below which there is no data", "int", "N"),
    Option(("--sure",), "only where an interval that holds at every look is past it", "flag"),
    Option(("--level",), "probability of a false alarm that is allowed", "float", "P"),
    Option(("--looks",), "looks in a row that must agree; left out: 1", "int", "N"),
    Option(("--renotify",), "tell again while it goes on, every so often", "text", "TIME"),
    Option(("--severity",), "for those who are told", "text", "HOW", choices=SEVERITIES),
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "monitor",
        "status",
        "Show how everything stands: rules, who watches, golden sets, baselines, budgets.",
        (),
        (OUT,),
        "%monitor status",
    ),
    Command(
        "monitor",
        "baseline",
        "Freeze traces, or rows, as what drift is compared with; without a name, show all baselines.",
        (
            Argument(
                "name",
                "name of the baseline, with @VERSION for --alias and --remove; all are shown if left out",
                "?",
                "baseline",
            ),
        ),
        (
            DATA,
            *FILTERS,
            SINCE,
            UNTIL,
            NEWEST,
            Option(
                ("--embedder",),
                "model for vectors of texts; none to compare them by their words",
                "text",
                "MODEL",
                "model",
            ),
            NOTE,
            Option(("--alias",), "point this alias at the version", "text", "ALIAS"),
            Option(("--remove",), "delete the version, with its checks and streams", "flag"),
            OUT,
        ),
        "%monitor baseline support --prompt support --since 30d",
    ),
    Command(
        "monitor",
        "drift",
        "Compare traces with a baseline: what changed, and how often that is a false alarm.",
        (BASELINE,),
        (
            DATA,
            *FILTERS,
            SINCE,
            UNTIL,
            NEWEST,
            Option(
                ("--feature",),
                "only this one, such as input or 'latency s'; may be repeated",
                "text",
                "NAME",
                repeat=True,
            ),
            Option(("--level",), "probability of any false alarm; left out: 0.05", "float", "P"),
            Option(("--to-data",), "keep what changed as a data set", "text", "NAME", "data_name"),
            OUT,
        ),
        "%monitor drift support --prompt support --since 24h",
    ),
    Command(
        "monitor",
        "stream",
        "Take in what came after a baseline, and show whether it has changed; look as often as you like.",
        (BASELINE,),
        (
            DATA,
            Option(("--name",), "of the stream, where a baseline has several", "text", "NAME"),
            Option(
                ("--level",),
                "probability of any false alarm over all looks; left out: 0.05",
                "float",
                "P",
            ),
            Option(("--reset",), "forget what has come so far, and begin anew", "flag"),
            OUT,
        ),
        "%monitor stream support",
    ),
    Command(
        "monitor",
        "reports",
        "Show what comparisons with baselines came to, newest first.",
        (Argument("baseline", "only with this one; all if left out", "?", "baseline"),),
        (LIMIT, OUT),
        "%monitor reports support -n 5",
    ),
    Command(
        "monitor",
        "safety",
        "Show what guards found, by policy and check, and how that changed against the window before.",
        (),
        (
            Option(("--window",), "such as 24h, which is taken if left out", "text", "TIME"),
            *FILTERS,
            Option(
                ("-n", "--examples"), "how many of the newest findings; left out: 5", "int", "N"
            ),
            OUT,
        ),
        "%monitor safety --prompt support --window 7d",
    ),
    Command(
        "monitor",
        "cost",
        "Show what calls took: tokens, seconds, energy, dollars.",
        (),
        (
            Option(("--by",), "what to sum by; left out: prompt", "text", "WHAT", choices=COSTS_BY),
            *FILTERS,
            SINCE,
            UNTIL,
            OUT,
        ),
        "%monitor cost --by day --since 7d",
    ),
    Command(
        "monitor",
        "budget",
        "Show budgets; with a name and limits, make or change one.",
        (Argument("name", "name of the budget; all are shown if left out", "?", "budget"),),
        (
            Option(("--tokens",), "tokens read and written", "float", "N"),
            Option(("--output-tokens",), "tokens written", "float", "N"),
            Option(("--seconds",), "seconds", "float", "S"),
            Option(("--calls",), "calls", "float", "N"),
            Option(("--dollars",), "dollars", "float", "D"),
            Option(("--joules",), "joules", "float", "J"),
            Option(("--per",), "call, day, total, or hours such as 24h", "text", "TIME"),
            *(FILTERS[0], FILTERS[2], FILTERS[3]),
            Option(("--deployment",), "only this deployment", "text", "NAME"),
            Option(("--warn",), "share at which an answer gets a note", "float", "SHARE"),
            Option(("--fresh",), "forget what was used so far", "flag"),
            Option(("--end",), "take the budget out of force", "flag"),
            OUT,
        ),
        "%monitor budget support --output-tokens 100000 --per day --prompt support",
    ),
    Command(
        "monitor",
        "spikes",
        "Show where latency, tokens or cost went up and stayed up.",
        (),
        (
            *FILTERS,
            SINCE,
            UNTIL,
            Option(
                ("--per-thousand",),
                "false alarms accepted in 1,000 calls; left out: 1",
                "float",
                "N",
            ),
            OUT,
        ),
        "%monitor spikes --prompt support",
    ),
    Command(
        "monitor",
        "alerts",
        "Show rules with where they stand; or add, remove, look at, show, silence or acknowledge them.",
        (
            Argument(
                "action", f"{', '.join(ALERT_ACTIONS)}; list if left out", "?", "alert_action"
            ),
            Argument(
                "what", "name of a rule or 'all'; for add: a YAML file, or a name", "?", "rule"
            ),
        ),
        (
            *RULE,
            Option(("--for",), "how long a silence is; left out: 1h", "text", "TIME"),
            WHY,
            LIMIT,
            OUT,
        ),
        "%monitor alerts silence support-errors --for 2h --why maintenance",
    ),
    Command(
        "monitor",
        "watch",
        "Look at all rules in the background, every so often.",
        (Argument("action", "start, stop or status; start if left out", "?", "watch_action"),),
        (Option(("--every",), "from one look to the next; left out: 10m", "text", "TIME"), OUT),
        "%monitor watch start --every 10m",
    ),
    Command(
        "monitor",
        "golden",
        "Run production on a golden set again, and show its quality over time.",
        (
            Argument(
                "action", "list, add, run, show or remove; list if left out", "?", "golden_action"
            ),
            Argument("name", "name of the golden set", "?", "golden"),
            Argument("variant", "for add: what is run, such as support@production", "?", "prompt"),
        ),
        (
            Option(("--data",), "for add: its rows, a data set", "text", "DATA", "data"),
            METRIC,
            Option(
                ("--expected",), "column of expected answers; left out: expected", "text", "COLUMN"
            ),
            Option(("--cluster",), "column of what rows belong together", "text", "COLUMN"),
            Option(("--margin",), "loss that does not matter; left out: 0", "float", "D"),
            Option(("--labels",), "people's labels that correct judges", "text", "NAME"),
            Option(("--every",), "from one run to the next; left out: 1d", "text", "TIME"),
            Option(("--level",), "probability of a false alarm over all runs", "float", "P"),
            Option(("--renew",), "for run: make it the reference of later runs", "flag"),
            MODEL,
            *SAMPLING[:3],
            OUT,
        ),
        "%monitor golden add support support@production --data qa --metric exact --margin 0.05",
    ),
    Command(
        "monitor",
        "redteam",
        "Attack a prompt with families of attacks, and show how often each succeeds.",
        (Argument("prompt", "the prompt to attack", complete="prompt"),),
        (
            Option(
                ("--family",), "family of attacks; may be repeated", "text", "NAME", repeat=True
            ),
            Option(("-n", "--attacks"), "attacks of each family", "int", "N"),
            Option(("--variable",), "variable that the attacker writes into", "text", "NAME"),
            Option(("--document",), "variable that documents are read from", "text", "NAME"),
            Option(("--guard",), "guard policy to try", "text", "POLICY"),
            Option(
                ("--rag",), "index among whose passages attacks are put", "text", "INDEX", "index"
            ),
            Option(("--to-data",), "keep attacks that succeeded as a data set", "text", "NAME"),
            Option(("--fresh",), "compute answers anew that were recorded before", "flag"),
            MODEL,
            *SAMPLING[:3],
            OUT,
        ),
        "%monitor redteam support@production -n 20",
    ),
    Command(
        "monitor",
        "bias",
        "Ask a prompt the same with other names, pronouns and ages, and show what differs.",
        (
            Argument("prompt", "the prompt to probe", complete="prompt"),
            Argument("texts", "data set, or variable with texts or rows", complete="rows"),
        ),
        (
            Option(("--variable",), "variable that gets the text", "text", "NAME"),
            Option(
                ("--attribute",),
                "gender, names, pronouns, age …; may be repeated",
                "text",
                "NAME",
                repeat=True,
            ),
            METRIC,
            Option(("--seed",), "of what is drawn", "int", "S"),
            MODEL,
            OUT,
        ),
        "%monitor bias screening applications --attribute names",
    ),
    Command(
        "monitor",
        "panel",
        "Show rules in a panel: states, a timeline of each, alarms with buttons.",
        (Argument("rule", "shown first", "?", "rule"),),
        example="%monitor panel",
    ),
)
