"""The rule by which a tuned copy is chosen, its statistics and its picture; no model runs."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from llmops_jupyter.engine import remembered
from llmops_jupyter.engine.chart import Chart, png
from llmops_jupyter.engine.divergence import Divergence
from llmops_jupyter.engine.perplexity import BLOCK, Judged, Ratio, bundled_text, compare
from llmops_jupyter.engine.quantize import fits_rows, kind_of
from llmops_jupyter.engine.speed import Rate, Setting, Speed
from llmops_jupyter.engine.tune import Candidate, Tuning, choose, kinds_to_try, settings_to_try
from llmops_jupyter.errors import EngineError, OptionError
from llmops_jupyter.models import GGUFMetadata

SMOLLM = GGUFMetadata(
    "llama",
    quantization="Q4_1",
    parameters=135_000_000,
    embedding_length=576,
    feed_forward_length=1536,
    tensor_bytes=98_000_000,
)
BIG = GGUFMetadata(
    "llama",
    quantization="F16",
    parameters=7 * 10**9,
    embedding_length=4096,
    feed_forward_length=14336,
    tensor_bytes=14 * 10**9,
)


def speed(*rates, threads=2, batch=512, others=0.0):
    return Speed(Setting(threads, batch), *(Rate(r, r, r, 5) for r in rates), others=others)


def ratio(value, half=0.004):
    return Ratio(value, value - half, value + half, 2368, 37)


ORIGINAL = Candidate("Q4_1", 98_000_000, 33.6, None, speed(322, 122, 273))
Q8 = Candidate("Q8_0", 145_000_000, 33.7, ratio(1.001), speed(726, 146, 444))
Q4 = Candidate("Q4_0", 92_000_000, 40.0, ratio(1.19), speed(902, 212, 616))
BF16 = Candidate("BF16", 271_000_000, 33.5, ratio(0.996), speed(939, 96, 510))


def test_the_fastest_that_loses_nothing_is_chosen():
    assert choose([ORIGINAL, Q8, Q4, BF16]) is Q8


def test_reversed_timings_flip_the_choice():
    assert choose([ORIGINAL, Q8]) is Q8
    swapped = replace(ORIGINAL, speed=Q8.speed), replace(Q8, speed=ORIGINAL.speed)
    assert choose(swapped) is swapped[0]
    among = [ORIGINAL, replace(Q8, speed=BF16.speed), replace(BF16, speed=Q8.speed)]
    assert choose(among).kind == "BF16"


def test_a_worse_copy_is_chosen_only_on_request():
    assert choose([ORIGINAL, Q8, Q4], loss=0.1) is Q8
    assert choose([ORIGINAL, Q8, Q4], loss=0.2) is Q4


def test_a_copy_whose_interval_reaches_too_far_is_not_chosen():
    uncertain = replace(Q8, ratio=ratio(1.001, half=0.02))
    assert choose([ORIGINAL, uncertain]) is ORIGINAL
    assert choose([ORIGINAL, uncertain], loss=0.03) is uncertain


def test_the_model_stays_where_a_copy_is_hardly_faster():
    hardly = replace(Q8, speed=speed(335, 126, 283))
    assert choose([ORIGINAL, hardly]) is ORIGINAL


def test_speed_is_the_geometric_mean_of_the_three_rates():
    assert speed(100, 10, 1000).mixture == pytest.approx(100)


def test_kinds_that_do_not_fit_the_rows_or_the_memory_are_not_tried():
    assert kinds_to_try(SMOLLM, 8 * 10**9) == ("Q8_0", "Q5_0", "Q4_0", "BF16")
    assert kinds_to_try(SMOLLM, 10**8) == ("Q5_0", "Q4_0")
    assert kinds_to_try(BIG, 16 * 10**9) == ("Q8_0", "Q6_K", "Q5_0", "Q4_K_M", "Q4_0", "BF16")
    assert not fits_rows(SMOLLM, "Q4_K_M")
    assert fits_rows(BIG, "Q4_K_M")


def test_threads_go_up_to_the_cores_and_batches_vary():
    found = settings_to_try(6, Setting(6, 512))
    assert [s.threads for s in found if s.batch == 512] == [1, 2, 4]
    assert [s.batch for s in found if s.threads == 6] == [128, 256]


@pytest.mark.parametrize("text", ["q8_0", "Q8-0", " Q8_0 "])
def test_a_kind_is_found_however_it_is_written(text):
    assert kind_of(text) == "Q8_0"


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'Q4_K_M'"):
        kind_of("q4_km")


def judged(logprobs):
    return Judged(tuple(range(len(logprobs) + 1)), tuple(logprobs))


def test_perplexity_is_the_exponential_of_the_mean_loss():
    assert judged([math.log(0.25)] * 10).perplexity == pytest.approx(4)


def test_the_interval_of_a_ratio_covers_the_truth_as_often_as_it_says():
    rng, inside = np.random.default_rng(7), 0
    for _ in range(400):
        base = rng.normal(-3, 2, 20 * BLOCK)
        # Neighbours depend on each other: an average of four.
        noise = np.convolve(rng.normal(0, 0.3, base.size + 3), np.ones(4) / 2, "valid")
        found = compare(judged(base), judged(base - 0.02 + noise))
        inside += found.low <= math.exp(0.02) <= found.high
    assert 0.92 <= inside / 400 <= 0.98


def test_models_with_other_tokens_are_not_compared():
    other = Judged(tuple(range(5, 706)), (-1.0,) * 700)
    with pytest.raises(EngineError, match="different tokenizers"):
        compare(judged([-1.0] * 700), other)


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(OptionError, match="longer text"):
        compare(judged([-1.0] * 100), judged([-1.0] * 100))


def test_the_bundled_text_is_prose_of_about_two_thousand_words():
    assert 1800 < len(bundled_text().split()) < 2400


def tuning(**changes):
    made = Tuning("smollm2@1", (ORIGINAL, Q8, Q4), (), Q8, 0.01, "the bundled text", "smollm2-q8_0")
    return replace(made, **changes)


def test_a_tuning_says_what_was_chosen_and_why():
    text = str(tuning())
    assert "→  Q8_0" in text
    assert "smollm2@1: Q8_0, 2 threads, batch 512: 1.64 times as fast" in text
    assert "Use it with -m smollm2-q8_0" in text
    assert "upper end of the paired 95 % interval (2368 tokens of the bundled text)" in text
    assert "Other programs" not in text


def test_a_busy_machine_is_told():
    busy = replace(Q8, speed=speed(726, 146, 444, others=1.2))
    assert "up to 1.2 cores busy" in str(tuning(candidates=(ORIGINAL, busy), chosen=busy))


def test_a_tuning_is_json_a_table_and_a_picture():
    made = tuning()
    assert json.loads(json.dumps(made.as_dict()))["chosen"]["kind"] == "Q8_0"
    assert png(made).startswith(b"\x89PNG")
    assert Chart(made)._repr_png_() == png(made)
    page = made._repr_html_()
    assert "data:image/png;base64," in page
    assert "<td style='text-align:left'>Q8_0</td>" in page


def test_the_picture_shows_every_candidate_with_its_interval():
    (axes,) = tuning().plot().axes
    names = {text.get_text() for text in axes.texts}
    assert {"Q4_1 (as it is)", "Q8_0", "Q4_0"} <= names
    assert len(axes.containers) == 2


def test_settings_and_comparisons_are_remembered_by_content(ws):
    assert remembered.setting_of(ws.store, "aa") is None
    remembered.keep_setting(ws.store, "aa", Setting(2, 256))
    remembered.keep_setting(ws.store, "aa", Setting(4, 128))
    assert remembered.setting_of(ws.store, "aa") == Setting(4, 128)
    found = Divergence(0.01, 0.008, 0.4)
    remembered.keep_divergence(ws.store, "aa", "bb", 1.0, found)
    remembered.keep_divergence(ws.store, "aa", "bb", 0.5, found)
    assert remembered.divergences_of(ws.store, "aa", "bb") == {1.0: found, 0.5: found}
    assert remembered.divergences_of(ws.store, "bb", "aa") == {}


def test_an_adapter_follows_only_where_the_copy_stays_close():
    assert Divergence(0.01, 0.008, 0.4).follows
    assert not Divergence(0.06, 0.055, 0.4).follows
    assert not Divergence(0.04, 0.008, 0.4).follows
