"""PythonQt, played by PySide6: enough for the real `.ui` file and the real panel to run off-screen.

Qt properties become Python attributes, `widget.connect("signal(args)", f)` works, and QUiLoader makes the ctk and qMRML
widgets. A name that neither Qt nor `slicer_gui_api.json` lists is refused, for reading and for writing.
"""

import json
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from PySide6 import QtCore, QtUiTools, QtWidgets

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
    names = [meta.property(index).name() for index in range(meta.propertyCount())]
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
    members = {name: _qt_property(name) for name in properties} | behaviour

    def __init__(self, *arguments):
        qt_base.__init__(self, *arguments)
        for signal in _listed(class_name, "signals"):
            vars(self)[signal] = Signal()

    return type(class_name, (qt_base,), members | {"__init__": __init__})


def _set_slider_value(self, value):
    low, high = (QtCore.QObject.property(self, name) for name in ("minimum", "maximum"))
    value = min(max(float(value), low), high)
    if value != QtCore.QObject.property(self, "value"):
        QtCore.QObject.setProperty(self, "value", value)
        self.valueChanged.emit(value)


def _set_current_node(self, node):
    if node is not self.currentNode():
        self._node = node
        self.currentNodeChanged.emit(node)


_BEHAVIOUR = {
    "ctkCollapsibleButton": {},
    "ctkSliderWidget": {
        "value": property(lambda self: QtCore.QObject.property(self, "value"), _set_slider_value),
        "setValue": _set_slider_value,
    },
    "qMRMLNodeComboBox": {
        "_node": None,
        "setMRMLScene": lambda self, scene: setattr(self, "_scene", scene),
        "mrmlScene": lambda self: self._scene,
        "currentNode": lambda self: self._node,
        "setCurrentNode": _set_current_node,
    },
    "qMRMLWidget": {"setMRMLScene": lambda self, scene: self.mrmlSceneChanged.emit(scene)},
}


def make_qt():
    """The modules `qt` and `ctk`, and the qMRML classes that Slicer puts into its own namespace."""
    qt = types.ModuleType("qt")
    names = "QWidget QLabel QPushButton QProgressBar QComboBox QPlainTextEdit QVBoxLayout QTimer QFile"
    for name in names.split():
        setattr(qt, name, _python_qt_class(getattr(QtWidgets, name, None) or getattr(QtCore, name)))
    qt.QFile.ReadOnly = QtCore.QIODevice.OpenModeFlag.ReadOnly
    qt.Qt = types.SimpleNamespace(WaitCursor=QtCore.Qt.CursorShape.WaitCursor)
    stand_ins = {name: _stand_in_class(name, qt.QWidget, behaviour) for name, behaviour in _BEHAVIOUR.items()}
    stand_ins["ctkCollapsibleButton"].text = _qt_property("text")  # of its base QAbstractButton
    qt.QUiLoader = lambda: _Loader(vars(qt) | stand_ins)
    ctk = types.ModuleType("ctk")
    for name in stand_ins:
        if name.startswith("ctk"):
            setattr(ctk, name, stand_ins[name])
    return qt, ctk, {name: made for name, made in stand_ins.items() if name.startswith("qMRML")}


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
        plain = _python_qt_class(QtWidgets.QAbstractButton if "Button" in widget.get("class") else QtWidgets.QWidget)
        for entry in widget.findall("property"):
            name = entry.get("name")
            known = name in _listed(widget.get("class"), "properties") or hasattr(plain, name)
            assert known or entry.get("stdset") == "0", f"{widget.get('class')} has no property {name}"
