"""What all panels share."""

from __future__ import annotations

import pytest

base = pytest.importorskip("llmops_jupyter.panels.base", reason="needs anywidget")


class Looking(base.LookingPanel):
    """Counts its looks; the first one fails."""

    _esm = "export default {}"
    looks = 0

    def bundle(self):
        return {"text/plain": f"{self.looks} looks"}

    def _take(self, action, content):
        self._follow("test")

    def _every_s(self):
        return 0.0

    def _look(self):
        self.looks += 1
        if self.looks == 1:
            raise OSError("the disk is gone")
        return False


def test_what_a_panel_leaves_out_is_told_when_it_is_made():
    class Half(base.Panel):
        _esm = "export default {}"

        def bundle(self):
            return {}

    with pytest.raises(TypeError, match="_take"):
        Half()
    with pytest.raises(TypeError, match="abstract"):
        base.LookingPanel()


def test_a_look_that_fails_ends_the_thread_and_the_next_question_begins_another():
    panel = Looking()
    panel._thread = object()  # as if the thread were this one
    with pytest.raises(OSError, match="the disk is gone"):
        panel._watch()
    panel._received(panel, {"action": "again"}, [])
    if panel._thread is not None:
        panel._thread.join(20)
    assert (panel.looks, panel._thread) == (2, None)
    panel.close()
