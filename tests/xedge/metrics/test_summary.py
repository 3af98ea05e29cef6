"""The summary is what the plain metrics say."""

from __future__ import annotations

from xedge.metrics import average_precision, recall_at_false_alarm_rate, summarise


def test_it_is_what_the_metrics_say(random_images) -> None:
    found, truths = random_images(1)
    summed = summarise(found, truths, 3, 0.9, 0.2)
    assert summed.whole == average_precision(found, truths, 3)
    assert summed.screening == recall_at_false_alarm_rate(found, truths, 3, 0.2)
    assert summed.levels == {}
    assert summed.loaded + summed.clean == summed.images == 30
    alarmed = sum(bool((f.scores >= 0.9).any()) for f in found)
    assert summed.loaded_alarmed + summed.clean_alarmed == alarmed


def test_levels_that_occur_are_counted(found, truth) -> None:
    boxes = [(0, 0, 9, 9, 0), (20, 0, 29, 9, 0)]
    seen = [found((0, 0, 9, 9, 0.8, 0))]
    summed = summarise(seen, [truth(*boxes, levels=[1, 3])], 1, 0.5)
    assert {level: part.ap50 for level, part in summed.levels.items()} == {1: 1.0, 3: 0.0}
    assert summed.screening is None
    assert (summed.loaded, summed.clean) == (1, 0)
