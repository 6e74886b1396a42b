"""What the Slicer application adds to the MRML of `slicer-core`: the few Python modules ours leans on.

Written from their documented behaviour, on real parameter nodes; nothing here replaces MRML itself.
"""

import types
import typing
from dataclasses import dataclass
from pathlib import Path

import qt_layer
import slicer
import vtk


@dataclass(frozen=True)
class WithinRange:
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Choice:
    choices: list


def make_scene():
    """A scene that is Slicer's current one, with colour tables and slice orientations as Slicer has them."""
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    scene.logics = [slicer.vtkMRMLColorLogic(), slicer.vtkSlicerSegmentationsModuleLogic()]  # live as long as the scene
    for logic in scene.logics:
        logic.SetMRMLScene(scene)
    scene.logics[0].AddDefaultColorNodes()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    return scene


def make_i18n():
    module = types.ModuleType("slicer.i18n")
    module.tr = lambda text: text
    module.translate = lambda _context, text: text
    return module


def make_scripted_module(module_folder):
    """`slicer.ScriptedLoadableModule`, for a module that lies in `module_folder`."""
    module = types.ModuleType("slicer.ScriptedLoadableModule")

    class ScriptedLoadableModule:
        def __init__(self, parent):
            self.parent = parent

    class ScriptedLoadableModuleWidget:
        def __init__(self, parent=None):
            self.parent = parent
            self.layout = parent.layout()

        def setup(self):
            """The developer section; none here."""

        def resourcePath(self, name):
            return str(Path(module_folder) / "Resources" / name)

    class ScriptedLoadableModuleLogic:
        def getParameterNode(self):
            name = type(self).__name__.removesuffix("Logic")
            node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLScriptedModuleNode")
            if node is None:
                node = slicer.vtkMRMLScriptedModuleNode()
                node.SetSingletonTag(name)
                node.SetModuleName(name)
                node = slicer.mrmlScene.AddNode(node)
            return node

    import unittest

    class ScriptedLoadableModuleTest(unittest.TestCase):
        def __init__(self, methodName="runTest"):
            super().__init__(methodName)

    for made in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(module, made.__name__, made)
    return module


def make_parameter_node_wrapper(qt, ctk):
    """`slicer.parameterNodeWrapper` for nodes and plain values, and the widgets that show them."""
    module = types.ModuleType("slicer.parameterNodeWrapper")
    module.WithinRange, module.Choice = WithinRange, Choice
    module.parameterNodeWrapper = lambda described: _wrapper_class(described, qt, ctk)
    return module


def _wrapper_class(described, qt, ctk):
    hints = typing.get_type_hints(described, include_extras=True)
    codecs = {name: _codec(name, hint, getattr(described, name, None)) for name, hint in hints.items()}

    class Wrapper(_ParameterNode):
        _codecs = codecs
        _connectors = staticmethod(lambda widget, hint: _connector(widget, hint, qt, ctk))
        _hints = hints

    for name, (read, write) in codecs.items():
        setattr(Wrapper, name, property(lambda self, read=read: read(self.parameterNode), _setter(write)))
    return Wrapper


def _setter(write):
    return lambda self, value: write(self.parameterNode, value)


class _ParameterNode:
    """A typed view of a vtkMRMLScriptedModuleNode."""

    _own = ("parameterNode", "_guis", "_is_updating_gui")

    def __init__(self, node):
        self.parameterNode = node
        self._guis = {}
        self._is_updating_gui = False

    def __setattr__(self, name, value):
        if name not in self._codecs and name not in self._own:
            raise AttributeError(f"no parameter {name!r}")
        object.__setattr__(self, name, value)

    def connectGui(self, gui):
        """As in Slicer, the tag that `disconnectGui` needs does not come back from here."""
        widgets = [widget for widget in vars(gui).values() if widget.property("SlicerParameterName")]
        self.connectParametersToGui({widget.property("SlicerParameterName"): widget for widget in widgets})

    def connectParametersToGui(self, mapping):
        pairs = {name: self._connectors(widget, self._hints[name]) for name, widget in mapping.items()}
        tag = len(self._guis)
        self._guis[tag] = pairs
        for name, (signal, read, write) in pairs.items():
            write(getattr(self, name))
            signal.connect(lambda *_, name=name, read=read, tag=tag: self._from_gui(tag, name, read))
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._to_gui())
        return tag

    def disconnectGui(self, tag):
        if tag in self._guis:
            self._guis[tag] = {}  # as in Slicer, the signals themselves stay connected

    def _from_gui(self, tag, name, read):
        if name in self._guis[tag] and not self._is_updating_gui:
            with slicer.util.NodeModify(self):
                setattr(self, name, read())

    def _to_gui(self):
        if self._is_updating_gui:
            return
        self._is_updating_gui = True
        try:
            for pairs in self._guis.values():
                for name, (_signal, _read, write) in pairs.items():
                    write(getattr(self, name))
        finally:
            self._is_updating_gui = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, was):
        return self.parameterNode.EndModify(was)

    def AddObserver(self, event, callback):
        return self.parameterNode.AddObserver(event, callback)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)


def _codec(name, hint, default):
    """(read, write) of one parameter; checks what Slicer's validators check."""
    kind, *notes = typing.get_args(hint) or (hint,)
    if issubclass(kind, slicer.vtkMRMLNode):

        def write_node(node, value):
            if value is not None and not isinstance(value, kind):
                raise ValueError(f"{name} must be a {kind.__name__}")
            node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

        return (lambda node: node.GetNodeReference(name)), write_node

    default = kind() if default is None else default
    parse = (lambda text: text == "True") if kind is bool else kind

    def write(node, value):
        if kind is not float and not isinstance(value, kind):  # floats alone are converted
            raise TypeError(f"{name} must be a {kind.__name__}, not {value!r}")
        for note in notes:
            inside = value in note.choices if isinstance(note, Choice) else note.minimum <= value <= note.maximum
            if not inside:
                raise ValueError(f"{name} cannot be {value!r}")
        node.SetParameter(name, str(kind(value)))

    return (lambda node: parse(node.GetParameter(name)) if node.HasParameter(name) else default), write


def _connector(widget, hint, qt, ctk):
    """(signal, read, write) for exactly the widget types Slicer's connectors accept."""
    kind, *notes = typing.get_args(hint) or (hint,)
    ranges = [note for note in notes if isinstance(note, WithinRange)]
    choices = [note.choices for note in notes if isinstance(note, Choice)]
    if type(widget) in (ctk.ctkSliderWidget, qt.QDoubleSpinBox) and kind is float and ranges:
        widget.minimum, widget.maximum = ranges[0].minimum, ranges[0].maximum
        return widget.valueChanged, lambda: widget.value, lambda value: setattr(widget, "value", value)
    if type(widget) in (qt.QSlider, qt.QSpinBox) and kind is int and ranges:
        widget.setRange(ranges[0].minimum, ranges[0].maximum)
        return widget.valueChanged, lambda: widget.value, lambda value: setattr(widget, "value", value)
    if type(widget) is qt.QCheckBox and kind is bool:
        return widget.stateChanged, lambda: widget.checked, lambda value: setattr(widget, "checked", value)
    if type(widget) is qt.QComboBox and choices:
        widget.clear()
        widget.addItems([str(choice) for choice in choices[0]])
        choose = choices[0].index
        return widget.currentIndexChanged, lambda: choices[0][widget.currentIndex], _index_setter(widget, choose)
    if type(widget).__name__ == "qMRMLNodeComboBox" and issubclass(kind, slicer.vtkMRMLNode):
        return widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode
    raise RuntimeError(f"Unable to create GUI connector from {hint} to {type(widget)}")


def _index_setter(widget, choose):
    return lambda value: setattr(widget, "currentIndex", choose(value))


class Application:
    """`slicer.app` of a session without windows; only what the application has can be asked of it."""

    def __init__(self, qt_application):
        self._qt_application = qt_application
        self.errors, self.said = [], []  # texts of the dialogues that were opened
        self.questions, self.answers = [], []  # what was asked; what the user answers, in this order
        self.receivers = []

    def __getattr__(self, name):
        listed = qt_layer.API["qSlicerApplication"], qt_layer.API["qSlicerCoreApplication"]
        if name in ("setOverrideCursor", "restoreOverrideCursor"):
            return getattr(self._qt_application, name)
        if any(name in names for entry in listed for names in (entry["slots"], entry["invokables"])):
            raise NotImplementedError(f"slicer.app.{name} is not played here")
        raise AttributeError(f"slicer.app has no {name}")

    def connect(self, signature, receiver):
        """Start-up is over already; whoever waits for it is only written down."""
        name = signature.partition("(")[0]
        if name not in qt_layer.API["qSlicerApplication"]["signals"]:
            raise AttributeError(f"slicer.app has no signal {name}")
        self.receivers.append((name, receiver))

    def layoutManager(self):
        """None, as in a session without a main window."""

    def confirm(self, text, **_window):
        """Stands for `slicer.util.confirm…Display`."""
        self.questions.append(text)
        return self.answers.pop(0)

    def testingEnabled(self):
        return False
