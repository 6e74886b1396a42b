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
    """`slicer.parameterNodeWrapper` for node, float and choice parameters and the widgets that show them."""
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

    def __init__(self, node):
        self.parameterNode = node
        self._guis = {}

    def __setattr__(self, name, value):
        known = name in self._codecs or name in ("parameterNode", "_guis")
        if not known:
            raise AttributeError(f"no parameter {name!r}")
        object.__setattr__(self, name, value)

    def connectGui(self, gui):
        pairs = {}
        for widget in vars(gui).values():
            if b"SlicerParameterName" in widget.dynamicPropertyNames():
                name = widget.property("SlicerParameterName")
                pairs[name] = self._connectors(widget, self._hints[name])
        for name, (signal, read, write) in pairs.items():
            write(getattr(self, name))
            signal.connect(lambda *_, name=name, read=read: self._from_gui(name, read))
        tag = len(self._guis)
        self._guis[tag] = pairs
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._to_gui(tag))
        return tag

    def disconnectGui(self, tag):
        del self._guis[tag]  # as in Slicer, the signals themselves stay connected

    def _from_gui(self, name, read):
        if any(name in pairs for pairs in self._guis.values()):
            setattr(self, name, read())

    def _to_gui(self, tag):
        for name, (_signal, _read, write) in self._guis.get(tag, {}).items():
            write(getattr(self, name))

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

    def write(node, value):
        for note in notes:
            inside = value in note.choices if isinstance(note, Choice) else note.minimum <= value <= note.maximum
            if not inside:
                raise ValueError(f"{name} cannot be {value!r}")
        node.SetParameter(name, str(kind(value)))

    return (lambda node: kind(node.GetParameter(name)) if node.HasParameter(name) else kind(default)), write


def _connector(widget, hint, qt, ctk):
    """(signal, read, write) for exactly the widget types Slicer's connectors accept."""
    kind, *notes = typing.get_args(hint) or (hint,)
    if type(widget) is ctk.ctkSliderWidget and kind is float:
        widget.minimum, widget.maximum = notes[0].minimum, notes[0].maximum
        return widget.valueChanged, lambda: widget.value, lambda value: setattr(widget, "value", value)
    if type(widget) is qt.QComboBox and notes:
        widget.clear()
        widget.addItems(notes[0].choices)
        choose = notes[0].choices.index
        return widget.currentIndexChanged, lambda: notes[0].choices[widget.currentIndex], _index_setter(widget, choose)
    if type(widget).__name__ == "qMRMLNodeComboBox" and issubclass(kind, slicer.vtkMRMLNode):
        return widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode
    raise RuntimeError(f"Unable to create GUI connector from {hint} to {type(widget)}")


def _index_setter(widget, choose):
    return lambda value: setattr(widget, "currentIndex", choose(value))


class Application:
    """`slicer.app` of a session without windows; only what the application has can be asked of it."""

    def __init__(self, qt_application):
        self._qt_application = qt_application
        self.errors = []

    def __getattr__(self, name):
        listed = qt_layer.API["qSlicerApplication"], qt_layer.API["qSlicerCoreApplication"]
        if name in ("setOverrideCursor", "restoreOverrideCursor"):
            return getattr(self._qt_application, name)
        if any(name in names for entry in listed for names in (entry["slots"], entry["invokables"])):
            raise NotImplementedError(f"slicer.app.{name} is not played here")
        raise AttributeError(f"slicer.app has no {name}")

    def layoutManager(self):
        """None, as in a session without a main window."""

    def testingEnabled(self):
        return False
