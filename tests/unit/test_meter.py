"""What rows take of the machine is shared out so that the shares are the whole."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from llmops_jupyter.engine import energy, meter
from llmops_jupyter.engine.energy import Rapl, open_counter
from llmops_jupyter.engine.meter import Meter
from llmops_jupyter.errors import EngineError, MissingDependencyError, OptionError
from llmops_jupyter.records import Figure, Resources


class Machine:
    """A clock, a processor, a memory and a counter that are set by hand."""

    source = "measured"
    every_s = 0.5

    def __init__(self):
        self.at = self.spent = self.joule = 0.0
        self.resident = 100
        self.broken = False

    def pass_(self, seconds, cpu, joules=0.0):
        self.at += seconds
        self.spent += cpu
        self.joule += joules

    def joules(self):
        if self.broken:
            raise OSError("gone")
        return self.joule

    def meter(self, *, counts=False):
        return Meter(
            self if counts else None,
            cpu=lambda: self.spent,
            clock=lambda: self.at,
            memory=lambda: self.resident,
        )


def test_the_shares_of_all_rows_add_up_to_what_was_spent():
    machine = Machine()
    found, rows = machine.meter(counts=True), ["a", "b", "c"]
    found.begin()
    steps = [(("a", 10), ("b", 30)), (("a", 1), ("b", 1), ("c", 512)), (("c", 1),)]
    for seconds, shares in enumerate(steps, 1):
        machine.pass_(seconds, 2 * seconds, 7 * seconds)
        found.charge(shares)
    taken = [found.settle(row) for row in rows]
    assert sum(t.busy_s for t in taken) == pytest.approx(6)
    assert sum(t.cpu_s for t in taken) == pytest.approx(12)
    assert sum(t.energy_j for t in taken) == pytest.approx(42)
    assert taken[0].busy_s == pytest.approx(1 * 10 / 40 + 2 * 1 / 514)


def test_a_row_that_ends_early_pays_for_nothing_that_comes_later():
    machine = Machine()
    found = machine.meter(counts=True)
    found.begin()
    machine.pass_(1, 1, 10)
    found.charge([("a", 1), ("b", 1)])
    early = found.settle("a")
    machine.pass_(5, 5, 50)
    found.charge([("b", 1)])
    late = found.settle("b")
    assert (early.busy_s, early.energy_j) == (0.5, 5)
    assert (late.busy_s, late.energy_j) == (5.5, 55)
    assert early.shared
    assert late.shared


def test_what_is_spent_while_no_row_runs_is_nobodys():
    machine = Machine()
    found = machine.meter(counts=True)
    found.begin()
    machine.pass_(1, 1, 1)
    found.charge([("a", 1)])
    found.settle("a")
    machine.pass_(1000, 1000, 1000)
    found.begin()
    machine.pass_(2, 3, 4)
    found.charge([("b", 1)])
    taken = found.settle("b")
    assert (taken.busy_s, taken.cpu_s, taken.energy_j) == (2, 3, 4)
    assert not taken.shared


def test_a_second_row_does_not_reset_what_the_first_has_taken():
    machine = Machine()
    found = machine.meter()
    found.begin()
    machine.pass_(1, 1)
    found.charge([("a", 1)])
    machine.pass_(1, 1)
    found.begin()
    machine.pass_(1, 1)
    found.charge([("b", 1)])
    assert found.settle("a").busy_s + found.settle("b").busy_s == 3


def test_the_most_memory_that_was_seen_counts():
    machine = Machine()
    found = machine.meter()
    found.begin()
    for resident in (100, 900, 300):
        machine.resident = resident
        machine.pass_(1, 1)
        found.charge([("a", 1)])
    assert found.settle("a").peak_bytes == 900


def test_nothing_is_told_of_a_row_that_was_never_computed():
    found = Machine().meter()
    found.begin()
    found.charge([])
    assert found.settle("a") is None


def test_a_clock_that_goes_back_gives_nothing_back():
    machine = Machine()
    found = machine.meter()
    found.begin()
    machine.pass_(-5, -5)
    found.charge([("a", 1)])
    taken = found.settle("a")
    assert (taken.busy_s, taken.cpu_s) == (0, 0)


def test_a_counter_that_cannot_be_read_any_more_leaves_the_other_figures():
    machine = Machine()
    found = machine.meter(counts=True)
    found.begin()
    machine.pass_(1, 2, 3)
    machine.broken = True
    found.charge([("a", 1)])
    taken = found.settle("a")
    assert (taken.busy_s, taken.cpu_s, taken.energy_j) == (1, 2, None)


def test_a_row_that_nobody_asks_about_leaves_no_account():
    machine = Machine()
    found = machine.meter()
    found.begin()
    machine.pass_(1, 1)
    found.charge([("a", 1)])
    found.drop("a")
    assert found.settle("a") is None


def zone(root, number, name, value, span=1000):
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{span}\n")
    (folder / "energy_uj").write_text(f"{value}\n")
    return folder / "energy_uj"


def test_counters_of_packages_and_memory_are_added_and_parts_of_packages_are_not(tmp_path):
    package, core = zone(tmp_path, 0, "package-0", 100), zone(tmp_path, "0:0", "core", 50)
    memory = zone(tmp_path, "0:1", "dram", 10)
    counter = Rapl(tmp_path)
    package.write_text("300\n")
    core.write_text("250\n")
    memory.write_text("20\n")
    assert counter.joules() == pytest.approx(210e-6)


def test_a_counter_that_begins_again_at_nothing_goes_on(tmp_path):
    file = zone(tmp_path, 0, "package-0", 990, span=999)
    counter = Rapl(tmp_path)
    file.write_text("5\n")
    assert counter.joules() == pytest.approx(15e-6)


def test_a_machine_without_a_counter_has_none_and_says_so_only_if_it_is_asked_for(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(energy, "Rapl", lambda: Rapl(tmp_path))
    assert open_counter("auto") is None
    assert open_counter("off") is None
    with pytest.raises(EngineError, match="codecarbon"):
        open_counter("rapl")


def test_memory_of_this_process_is_plausible():
    assert 10**6 < meter.resident_bytes() < 10**12


def test_an_unknown_way_to_count_energy_is_refused(ws):
    with pytest.raises(OptionError, match="Did you mean 'codecarbon'"):
        ws.configure(energy="codecarbonn")


def test_resources_add_up_and_keep_the_weaker_source():
    first = Resources(1.0, 2.0, 100, 5.0, energy_source="estimated")
    both = first + Resources(2.0, None, 50, None, shared=True)
    assert both == Resources(3.0, 2.0, 100, 5.0, shared=True, energy_source="estimated")
    assert (Resources() + Resources()).energy_j is None


def test_each_figure_says_where_it_comes_from():
    alone = Resources(1.0, 2.0, 3, 4.0).figures()
    assert {name: f.source for name, f in alone.items()} == dict.fromkeys(
        ("busy", "cpu", "memory", "energy"), "measured"
    )
    shared = Resources(1.0, 2.0, 3, 4.0, shared=True).figures()
    assert shared["cpu"].source == "estimated"
    assert shared["memory"].source == "measured"
    assert "share" in shared["cpu"].note
    assert Resources().figures() == {}
    assert str(Figure(1500.0, "J", "assumed")) == "1.5 kJ (assumed)"


def test_codecarbon_is_asked_for_energy_alone_and_its_failures_end_it(monkeypatch):
    class Tracker:
        def __init__(self, output_methods=None, **options):
            assert output_methods == []
            self.running, self.fails = False, False

        def start_task(self, name):
            assert not self.running
            self.running = True

        def stop_task(self, name):
            assert self.running
            self.running = False
            if self.fails:
                raise AttributeError("no such sensor")
            return SimpleNamespace(energy_consumed=1e-6)

    inner = SimpleNamespace(BaseEmissionsTracker=Tracker)
    monkeypatch.setitem(sys.modules, "codecarbon", SimpleNamespace(OfflineEmissionsTracker=Tracker))
    monkeypatch.setitem(sys.modules, "codecarbon.emissions_tracker", inner)
    counter = open_counter("codecarbon")
    assert [round(counter.joules(), 9) for _ in range(3)] == [3.6, 7.2, 10.8]
    assert counter.source == "estimated"
    counter._tracker.fails = True
    found = Meter(counter, cpu=lambda: 0.0, clock=lambda: 0.0, memory=lambda: 1)
    found.begin()
    found.charge([("a", 1)])
    assert found.settle("a").energy_j is None


def test_without_codecarbon_the_line_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(MissingDependencyError, match=r"llmops-jupyter\[energy\]"):
        open_counter("codecarbon")
