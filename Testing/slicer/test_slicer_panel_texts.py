"""What the panel says: tooltips on everything, texts that can be translated, keys that reach every control."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "BrainInpaintAD"
UI_FILE = MODULE / "Resources" / "UI" / "BrainInpaintAD.ui"
WITH_QT = sorted(MODULE.joinpath("BrainInpaintADLib").glob("*Section.py")) + [
    MODULE / "BrainInpaintADLib" / name for name in ("Widget.py", "Situation.py")
]


def widgets():
    return [widget for widget in ElementTree.parse(UI_FILE).iter("widget") if widget.get("class") != "QWidget"]


def told(widget, name):
    return next(("".join(found.itertext()).strip() for found in widget.findall("property") if found.get("name") == name), "")


def test_every_widget_of_the_file_has_a_tooltip():
    without = [widget.get("name") for widget in widgets()[1:] if len(told(widget, "toolTip")) < 20]
    assert without == []


def test_every_widget_keeps_a_tooltip_in_every_state(ui, a_scan, run, an_answer):
    def without():
        names = {widget.get("name") for widget in widgets()[1:]}
        return {name for name in names if len(getattr(ui, name).toolTip) < 15}

    assert without() == set()
    ui.scanSelector.setCurrentNode(a_scan)
    finish = run()
    assert without() == set()
    finish(answer=an_answer)
    ui.installSection.collapsed = False
    assert without() == set()


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("windowSlider", "mm"),
        ("scaleSlider", "no unit"),
        ("sigmaSpinBox", "pixels"),
        ("minSizeSpinBox", "pixels"),
        ("minVolumeSpinBox", "ml"),
        ("thresholdSlider", "no unit"),
        ("opacitySlider", "0 is hidden, 1 is opaque"),
        ("statusLabel", "ml"),
        ("progressBar", "percent"),
    ],
)
def test_numbers_have_their_unit_in_the_tooltip(ui, name, unit):
    assert unit in getattr(ui, name).toolTip


def test_the_table_promises_the_place_that_the_views_are_moved_to(ui):
    assert "moves the slice views to its hottest place" in ui.findingsTable.toolTip


def test_no_text_of_the_panel_is_left_untranslated():
    """Sentences (a capital, then words) stand only in docstrings or inside _()."""
    loose = []
    for path in WITH_QT:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wrapped = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_"
            for inner in ast.walk(node)
        }
        wrapped |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in wrapped and re.match(r"[A-Z&].*\s\w", node.value):
                loose.append((path.name, node.lineno, node.value))
    assert loose == []


def test_no_translated_text_is_an_f_string():
    """Translators get the text as it stands in the file, so it must not be filled in before."""
    for path in MODULE.rglob("*.py"):
        assert not re.search(r"\b_\(\s*f[\"']", path.read_text(encoding="utf-8")), path.name


def test_no_two_widgets_share_a_key():
    texts = [told(widget, "text") for widget in widgets()]
    keys = [found.group(1).lower() for found in (re.search(r"&(\w)", text) for text in texts) if found]
    assert sorted(keys) == sorted(set(keys))


def test_labels_with_a_key_lead_to_their_control():
    names = {widget.get("name") for widget in widgets()}
    for label in (widget for widget in widgets() if widget.get("class") == "QLabel" and "&" in told(widget, "text")):
        assert told(label, "buddy") in names, label.get("name")


def test_the_tab_key_visits_every_control_from_top_to_bottom():
    stops = [stop.text for stop in ElementTree.parse(UI_FILE).iter("tabstop")]
    passive = {"QLabel", "QProgressBar", "qMRMLWidget"}
    assert stops == [widget.get("name") for widget in widgets() if widget.get("class") not in passive]


def test_every_parameter_of_the_file_is_one_of_the_parameter_node(mrml_lib, application):
    hints = mrml_lib("Parameters").Parameters._hints
    named = {told(widget, "SlicerParameterName") for widget in widgets()} - {""}
    assert named <= set(hints)
    by_hand = {"model", "windowMm", "heatmapThreshold", "result", "previousResult"}
    assert set(hints) - named == by_hand


def test_the_notice_is_visible_and_the_log_is_closed(ui):
    assert "research only" in ui.noticeLabel.text
    assert not ui.noticeLabel.isHidden()
    assert ui.logSection.collapsed
    assert ui.advancedSection.collapsed
