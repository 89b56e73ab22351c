"""Rules: what YAML may say, what is refused, and what is promised."""

from __future__ import annotations

import pytest

from llmops_jupyter.commands.table.monitor import SEVERITIES as TOLD
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.monitor.alerts.ages import age, read_window, spoken
from llmops_jupyter.monitor.alerts.catalogue import MEASURES, measure_of
from llmops_jupyter.monitor.alerts.rules import SEVERITIES, Rule, read_rules

RULES = """
channels:
  team: {webhook: "https://chat.example.org/hook/abc", secret_env: TEAM_TOKEN}
defaults: {window: 7d, renotify: 6h}
rules:
  - name: errors
    metric: error_rate
    prompt: support@production
    warn: 0.02
    alert: 0.05
    for: 3
    sure: true
    channels: [team, log]
  - {metric: tokens_per_s, alert: 10, window: 200 traces}
  - {metric: "drift:support", level: 0.01}
"""


def test_a_file_has_rules_channels_and_defaults(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    errors, speed, drift = read_rules(path)
    assert (errors.warn, errors.alert, errors.consecutive, errors.sure) == (0.02, 0.05, 3, True)
    assert errors.window.seconds == 7 * 86_400
    assert errors.renotify_s == 6 * 3600
    assert [c.words() for c in errors.channels] == ["webhook https://chat.example.org", "log"]
    assert (speed.name, speed.direction, speed.window.traces) == ("tokens_per_s", "below", 200)
    assert (drift.name, drift.level, drift.thresholds()) == ("drift-support", 0.01, {})
    assert read_rules(RULES)[0] == errors


def test_a_rule_is_the_same_after_it_was_kept():
    for rule in read_rules(RULES):
        assert Rule.from_text(rule.text()) == rule


def test_words_and_promise_say_what_the_rule_does():
    errors, speed, drift = read_rules(RULES)
    assert errors.words() == (
        "error_rate of prompt support@production over 7d: alert above 5.0 %, warning above 2.0 %"
    )
    assert "at most 0.05 false alarms for each threshold in each 7d" in errors.promise()
    assert speed.promise().startswith("none")
    assert "1% of windows" in drift.promise()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metric: eror_rate\nalert: 1\n", "Did you mean 'error_rate'?"),
        ("metric: error_rate\nalrt: 0.1\n", "Did you mean 'alert'?"),
        ("metric: error_rate\nalert: 5\n", "a share from 0 to 1"),
        ("metric: error_rate\n", "needs warn or alert"),
        ("metric: error_rate\nalert: much\n", "alert is a number"),
        ("metric: error_rate\nalert: .nan\n", "alert is a number"),
        ("metric: error_rate\nalert: 0.1\nwarn: 0.2\n", "further above than warn"),
        ("metric: tokens_per_s\nalert: 9\nwarn: 8\n", "further below than warn"),
        ("metric: error_rate\nalert: 0.1\nwindow: soon\n", "24h or 7d, or 200 traces"),
        ("metric: error_rate\nalert: 0.1\nwindow: 0 traces\n", "from 1 to"),
        ("metric: error_rate\nalert: 0.1\nrenotify: often\n", "renotify is a time"),
        ("metric: error_rate\nalert: 0.1\nfor: 0\n", "for is a whole number from 1"),
        ("metric: error_rate\nalert: 0.1\nsure: yes please\n", "sure is true or false"),
        ("metric: error_rate\nalert: 0.1\nseverity: hihg\n", "Did you mean 'high'?"),
        ("metric: error_rate\nalert: 0.1\ndirection: up\n", "direction is above or below"),
        ("metric: error_rate\nalert: 0.1\nlevel: 0\n", "level is from"),
        ("metric: calls\nalert: 10\nsure: true\n", "is a sum"),
        ("metric: drift:x\nalert: 0.1\n", "a test of its own"),
        ("metric: golden:x\nsure: true\n", "a test of its own"),
        ("metric: drift:x\nsure: true\nprompt: a\n", "its baseline's own kind"),
        ("metric: drift\n", "needs the baseline's name"),
        ("metric: calls:x\nalert: 1\n", "takes nothing after a colon"),
        ("metric: spike:latenzy\n", "Did you mean 'latency'?"),
        ("metric: 3\nalert: 1\n", "a rule names a metric"),
        ("metric: error_rate\nalert: 0.1\nname: Über\n", "cannot be the name of a rule"),
        ("metric: error_rate\nalert: 0.1\nchannels: tema\n", "there is no channel 'tema'"),
        ("metric: error_rate\nmetric: calls\n", "a second time"),
        ("metric: error_rate\nalert: 0.1\nname: all\n", "stands for all rules"),
        (
            "metric: error_rate\nalert: 0.1\nwindow: 20 traces\nat_least: 30\n",
            "20 traces never has the 30",
        ),
        ("metric: p95_latency_s\nalert: -5\n", "is never below 0"),
        ("metric: output_tokens\nalert: 5\nwarn: -5\n", "warn is 0 or more"),
        ("metric: error_rate\nalert: 1\n", "never above 100.0 %, so alert would never be reached"),
        ("metric: tokens_per_s\nwarn: 0\n", "warn would never be reached"),
        ("- 3\n- 4\n", "a rule is a mapping"),
        ("rules: []\n", "has no rules"),
        ("rulse: []\n", "Did you mean 'rules'?"),
        ("metric: [\n\n", "is no YAML"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_next_step(text, said):
    with pytest.raises((DataError, OptionError)) as error:
        read_rules(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_short_window_asks_for_no_more_than_it_has():
    (short,) = read_rules({"metric": "error_rate", "alert": 0.1, "window": "20 traces"})
    assert short.at_least == 20
    (calls,) = read_rules(
        {"metric": "output_tokens", "alert": 9, "window": "2 traces", "at_least": 9}
    )
    assert calls.at_least == 9  # a trace may have many calls
    assert read_rules({"metric": "score:x", "alert": -0.5, "window": "5h"})[0].alert == -0.5


def test_the_line_of_a_wrong_rule_is_named():
    text = "rules:\n  - {metric: calls, alert: 1}\n  - {metric: cals, alert: 1}\n"
    with pytest.raises(DataError, match="line 3"):
        read_rules(text)


def test_two_rules_of_one_name_are_refused():
    rule = {"name": "a", "metric": "calls", "alert": 1}
    with pytest.raises(DataError, match="two rules 'a'"):
        read_rules([rule, rule])


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ({"webhook": "ftp://example.org"}, "http:// or https://"),
        ({"webhook": "https://"}, "http:// or https://"),
        ({"webhook": "https://a:secret@example.org"}, "holds no password"),
        ({"webhook": "https://example.org", "secret": "x"}, "Did you mean 'secret_env'?"),
        ({"webhook": "https://example.org", "secret_env": "s3cret value"}, "environment variable"),
        ({"webhook": "https://example.org", "header": "a b"}, "name of a header"),
        ({"webhook": "https://example.org", "webhook_env": "X"}, "not both"),
        ({"webhook": 3}, "webhook is a text"),
        ({"mail": "x"}, "has no key 'mail'"),
        ({"log": "a", "python": "b"}, "one of log"),
        (3, "a channel is log, a name"),
    ],
)
def test_channels_that_cannot_be_used_are_refused(channel, said):
    rule = {"metric": "calls", "alert": 1, "channels": [channel]}
    with pytest.raises(DataError) as error:
        read_rules(rule)
    assert said in str(error.value)
    assert "secret@" not in str(error.value)


def test_windows_and_times_are_read_and_spoken():
    assert read_window("90m", "x").seconds == 5400
    assert read_window("1 trace", "x").traces == 1
    assert [spoken(age(t, "x")) for t in ("90s", "60s", "24h", "14d", "1.5h")] == [
        *("90s", "1m", "1d", "2w", "90m"),
    ]
    for wrong in ("0s", "11000d", "", "h", "-1h", "1e9h"):
        with pytest.raises(DataError):
            age(wrong, "x")


def test_every_measure_is_described_and_the_table_of_commands_agrees():
    for name, measure in MEASURES.items():
        wanted = f"{name}:latency" if measure.needs else name
        assert measure_of(wanted).help
    assert TOLD == SEVERITIES
