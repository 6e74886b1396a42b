"""PythonQt, played by PySide6: enough for the real `.ui` file and the real panel to run off-screen.

Qt properties become Python attributes, `widget.connect("signal(args)", f)` works, and QUiLoader makes the ctk and qMRML
widgets. A name that neither Qt nor `slicer_gui_api.json` lists is refused, for reading and for writing.
"""

import json
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import qt_looks
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

API = json.loads((Path(__file__).parent / "slicer_gui_api.json").read_text(encoding="utf-8"))["classes"]


class Signal:
    """A plain Python signal, for what the stand-ins emit."""

    def __init__(self):
        self._receivers = []

    def connect(self, receiver):
        self._receivers.append(receiver)

    def disconnect(self, receiver):
        self._receivers.remove(receiver)

    @property
    def receiverCount(self):
        return len(self._receivers)

    def emit(self, *values):
        for receiver in list(self._receivers):
            receiver(*values)


def _qt_property(name):
    return property(lambda self: QtCore.QObject.property(self, name), lambda self, value: _write(self, name, value))


def _write(widget, name, value):
    is_taken = QtCore.QObject.setProperty(widget, name, value)
    is_qts_own = widget.metaObject().indexOfProperty(name) >= 0  # a stand-in's is dynamic and takes anything
    if is_qts_own and not is_taken:
        raise TypeError(f"{type(widget).__name__}.{name} does not take {value!r}")
    if hasattr(widget, "_follow"):
        widget._follow()


class _PythonQt:
    """Mixed into every class: attribute rules of PythonQt."""

    def __setattr__(self, name, value):
        is_child = isinstance(value, QtCore.QObject)  # QUiLoader leaves every child as an attribute
        if not (name.startswith("_") or is_child or isinstance(getattr(type(self), name, None), property)):
            raise AttributeError(f"{type(self).__name__} has no property {name!r} to set")
        super().__setattr__(name, value)

    name = property(lambda self: QtCore.QObject.property(self, "objectName"))


def _connect(self, signature, receiver):
    getattr(self, signature.partition("(")[0]).connect(receiver)


def _python_qt_class(base):
    """`base` with its Qt properties as Python attributes."""
    meta = base.staticMetaObject
    names = {meta.property(index).name() for index in range(meta.propertyCount())}
    names -= {"sizeHint", "minimumSizeHint"}  # Qt calls these two itself, as virtual functions
    names -= {"text"} if base is QtWidgets.QProgressBar else set()  # and this one
    members = {name: _qt_property(name) for name in names} | {"connect": _connect}  # PySide passes a mixin's by
    return type(base.__name__, (_PythonQt, base), members)


def _listed(class_name, kind):
    """Names the API lists for a class and its ctk/qMRML ancestors."""
    entry = API.get(class_name)
    return set() if entry is None else set(entry[kind]) | _listed(entry["base"], kind)


def _stand_in_class(class_name, qt_base, behaviour):
    """A class with the listed properties and signals, and of the listed methods those that `behaviour` defines."""
    properties = _listed(class_name, "properties")
    methods = _listed(class_name, "slots") | _listed(class_name, "invokables")
    unknown = {name for name in behaviour if not name.startswith("_")} - methods - properties
    assert not unknown, f"{class_name} has no {sorted(unknown)}"
    members = {name: _qt_property(name) for name in properties} | {"connect": _connect} | behaviour

    def __init__(self, *arguments):
        qt_base.__init__(self, *arguments)
        for signal in _listed(class_name, "signals"):
            vars(self)[signal] = Signal()

    return type(class_name, (qt_base,), members | {"__init__": __init__})


def _default_property(name, default, write=None):
    """A property with ctk's or Slicer's default: dynamic properties have none until the `.ui` file or the panel sets them."""

    def read(self):
        value = QtCore.QObject.property(self, name)
        return default if value is None else value

    return property(read, write or (lambda self, value: _write(self, name, value)))


class _Slider:
    """ctkSliderWidget: without `tracking`, a drag tells `valueIsChanging` only, and `valueChanged` when it ends."""

    @staticmethod
    def bounded(slider, value):
        return min(max(float(value), slider.minimum), slider.maximum)

    @staticmethod
    def set_value(slider, value):
        value = _Slider.bounded(slider, value)
        if value != QtCore.QObject.property(slider, "value"):
            _write(slider, "value", value)
            _Slider.tell(slider, value, isDragged=False)

    @staticmethod
    def tell(slider, value, *, isDragged):
        if not slider.tracking:
            slider.valueIsChanging.emit(value)
        if slider.tracking or not isDragged:
            slider.valueChanged.emit(value)

    @staticmethod
    def drag(slider, values):
        """What the mouse does: press, over all these values, let go."""
        before = slider.value
        for value in values:
            value = _Slider.bounded(slider, value)
            _write(slider, "value", value)
            _Slider.tell(slider, value, isDragged=True)
            yield value
        if not slider.tracking and slider.value != before:
            slider.valueChanged.emit(slider.value)


def drag(slider, values, between=lambda: None):
    """Drags a ctkSliderWidget or a QSlider over the values and lets go; `between` is called after each move."""
    if isinstance(slider, QtWidgets.QSlider):
        slider.setSliderDown(True)
        for value in values:
            slider.setSliderPosition(value)
            between()
        slider.setSliderDown(False)
        return
    for _ in _Slider.drag(slider, values):
        between()


def _set_collapsed(self, value):
    if bool(value) != self.collapsed:
        _write(self, "collapsed", bool(value))
        self.contentsCollapsed.emit(bool(value))


def _set_current_node(self, node):
    if node is not self.currentNode():
        self._node = node
        self.update()
        self.currentNodeChanged.emit(node)


def _set_segmentation_node(self, node):
    self._node = node
    self.update()


_MRML = {
    "_scene": None,
    "setMRMLScene": lambda self, scene: setattr(self, "_scene", scene),
    "mrmlScene": lambda self: self._scene,
}
_SEGMENTATION = {
    "_node": None,
    "setSegmentationNode": _set_segmentation_node,
    "segmentationNode": lambda self: self._node,
}
_BEHAVIOUR = {
    "ctkCollapsibleButton": {"collapsed": _default_property("collapsed", False, _set_collapsed)},
    "ctkSliderWidget": {
        "value": _default_property("value", 0.0, _Slider.set_value),
        "minimum": _default_property("minimum", 0.0),
        "maximum": _default_property("maximum", 99.0),
        "tracking": _default_property("tracking", True),
        "setValue": _Slider.set_value,
    },
    "qMRMLNodeComboBox": _MRML | {"_node": None, "currentNode": lambda self: self._node, "setCurrentNode": _set_current_node},
    "qMRMLSegmentationShow3DButton": _SEGMENTATION,
    "qMRMLSegmentsTableView": {**_SEGMENTATION, **_MRML},
    "qMRMLWidget": {"setMRMLScene": lambda self, scene: self.mrmlSceneChanged.emit(scene)},
}
_LOOKS = {
    "ctkCollapsibleButton": qt_looks.collapsible,
    "ctkSliderWidget": qt_looks.slider,
    "qMRMLNodeComboBox": qt_looks.node_selector,
    "qMRMLSegmentsTableView": qt_looks.segments_table,
}

_QT_CLASSES = (
    "QWidget QLabel QPushButton QProgressBar QComboBox QCheckBox QSlider QSpinBox QDoubleSpinBox QPlainTextEdit QTableWidget "
    "QVBoxLayout QTimer QFile QShortcut"
)
_QT_ENUMS = {
    "WaitCursor": QtCore.Qt.CursorShape.WaitCursor,
    "Checked": QtCore.Qt.CheckState.Checked,
    "Unchecked": QtCore.Qt.CheckState.Unchecked,
    "ItemIsEnabled": QtCore.Qt.ItemFlag.ItemIsEnabled,
    "ItemIsSelectable": QtCore.Qt.ItemFlag.ItemIsSelectable,
    "ItemIsUserCheckable": QtCore.Qt.ItemFlag.ItemIsUserCheckable,
    "AlignRight": QtCore.Qt.AlignmentFlag.AlignRight,
    "AlignVCenter": QtCore.Qt.AlignmentFlag.AlignVCenter,
    "WidgetWithChildrenShortcut": QtCore.Qt.ShortcutContext.WidgetWithChildrenShortcut,
}


class FileDialog:
    """Qt's file dialogues as PythonQt gives them: the chosen path, "" when the user cancels. `answers` is the user."""

    answers: list = []  # noqa: RUF012 - one user
    asked: list = []  # noqa: RUF012

    @classmethod
    def getSaveFileName(cls, _parent, caption, folder, filters):
        return cls._answer(caption, folder, filters)

    @classmethod
    def getExistingDirectory(cls, _parent, caption):
        return cls._answer(caption)

    @classmethod
    def _answer(cls, *question):
        cls.asked.append(question)
        return str(cls.answers.pop(0)) if cls.answers else ""


def make_qt():
    """The modules `qt` and `ctk`, and the qMRML classes that Slicer puts into its own namespace."""
    qt = types.ModuleType("qt")
    for name in _QT_CLASSES.split():
        homes = (home for home in (QtWidgets, QtGui, QtCore) if hasattr(home, name))
        setattr(qt, name, _python_qt_class(getattr(next(homes), name)))
    qt.QFile.ReadOnly = QtCore.QIODevice.OpenModeFlag.ReadOnly
    qt.Qt = types.SimpleNamespace(**_QT_ENUMS)
    qt.QKeySequence, qt.QTableWidgetItem = QtGui.QKeySequence, QtWidgets.QTableWidgetItem
    qt.QHeaderView = types.SimpleNamespace(
        **{name: getattr(QtWidgets.QHeaderView.ResizeMode, name) for name in ("Stretch", "ResizeToContents")}
    )
    qt.QFileDialog = type("QFileDialog", (FileDialog,), {"answers": [], "asked": []})
    stand_ins = {}
    for name, behaviour in _BEHAVIOUR.items():
        base = qt.QPushButton if _is_button(name) else _LOOKS.get(name, lambda plain: plain)(qt.QWidget)
        stand_ins[name] = _stand_in_class(name, base, behaviour)
    stand_ins["ctkCollapsibleButton"].text = _qt_property("text")  # of its base QAbstractButton
    qt.QUiLoader = lambda: _Loader(vars(qt) | stand_ins)
    ctk = types.ModuleType("ctk")
    for name in stand_ins:
        if name.startswith("ctk"):
            setattr(ctk, name, stand_ins[name])
    return qt, ctk, {name: made for name, made in stand_ins.items() if name.startswith("qMRML")}


def _is_button(class_name):
    """Whether a class is a QPushButton by its listed ancestors."""
    base = API.get(class_name, {}).get("base", class_name)
    return base == "QPushButton" or (base in API and _is_button(base))


class _Loader(QtUiTools.QUiLoader):
    """Makes our classes where Qt would make its own, and the `.ui` file's connections between stand-ins."""

    def __init__(self, classes):
        super().__init__()
        self._classes = classes

    def createWidget(self, className, parent=None, name=""):
        widget = self._classes[className](parent)
        widget.setObjectName(name)
        return widget

    def load(self, file):
        root = ElementTree.fromstring(bytes(file.readAll()))
        _check_properties(root)
        wires = list(root.iter("connection"))
        root.remove(root.find("connections"))  # Qt itself does not know the stand-ins' signals
        text = QtCore.QBuffer()
        text.setData(ElementTree.tostring(root))
        widget = super().load(text)
        for child in widget.findChildren(QtWidgets.QWidget):
            if hasattr(child, "_follow"):
                child._follow()
        for wire in wires:
            ends = [_named(widget, wire.find(tag).text) for tag in ("sender", "receiver")]
            signal, slot = (wire.find(tag).text.partition("(")[0] for tag in ("signal", "slot"))
            getattr(ends[0], signal).connect(getattr(ends[1], slot))
        return widget


def _named(widget, name):
    return widget if widget.name == name else widget.findChild(QtCore.QObject, name)


def _check_properties(root):
    """QUiLoader takes an unknown property for a dynamic one; Slicer would warn and drop it."""
    for widget in root.iter("widget"):
        if widget.get("class") not in API:
            continue
        plain = _python_qt_class(QtWidgets.QPushButton if "Button" in widget.get("class") else QtWidgets.QWidget)
        for entry in widget.findall("property"):
            name = entry.get("name")
            known = name in _listed(widget.get("class"), "properties") or hasattr(plain, name)
            assert known or entry.get("stdset") == "0", f"{widget.get('class')} has no property {name}"
