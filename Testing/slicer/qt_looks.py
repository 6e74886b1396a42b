"""Plain but honest looks for the ctk and qMRML stand-ins: they are painted, so they bring no child widgets of their own."""

from PySide6 import QtCore, QtGui, QtWidgets

_TITLE_HEIGHT = 26  # pixels
_BOX_WIDTH = 86  # of a slider's value box, in pixels
_NO_LIMIT = 16777215  # QWIDGETSIZE_MAX
_EYE_WIDTH, _SWATCH = 30, 14  # pixels

_QStyle = QtWidgets.QStyle


class _Look:
    """The size of one line. `follow` is called when a property of the stand-in has changed, and once it is loaded."""

    _rows = 1

    def sizeHint(self):
        return QtCore.QSize(180, 26 * self._rows)

    def minimumSizeHint(self):
        return QtCore.QSize(60, 26 * self._rows)

    def _follow(self):
        self.update()


def collapsible(base):
    """A frame under a title bar; closed, only the title is left."""

    class Collapsible(_Look, base):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.setContentsMargins(0, _TITLE_HEIGHT, 0, 0)

        def sizeHint(self):
            return base.sizeHint(self)

        minimumSizeHint = sizeHint

        def _follow(self):
            self.setMaximumHeight(_TITLE_HEIGHT if self._isCollapsed() else _NO_LIMIT)
            self.update()

        def _isCollapsed(self):
            return bool(QtCore.QObject.property(self, "collapsed"))

        def paintEvent(self, _event):
            painter, palette = QtGui.QPainter(self), self.palette
            painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
            title = QtCore.QRectF(0.5, 2.5, self.width - 1, _TITLE_HEIGHT - 5)
            painter.setPen(palette.mid().color())
            if not self._isCollapsed():
                painter.drawRect(QtCore.QRectF(0.5, 12.5, self.width - 1, self.height - 13))
            painter.setBrush(palette.button().color().darker(107))
            painter.drawRoundedRect(title, 3, 3)
            painter.setPen(QtCore.Qt.PenStyle.NoPen)
            painter.setBrush(palette.text())
            middle = title.center().y()
            points = [(0, -4), (6, 0), (0, 4)] if self._isCollapsed() else [(-1, -3), (7, -3), (3, 4)]
            painter.drawPolygon([QtCore.QPointF(10 + x, middle + y) for x, y in points])
            font = self.font
            font.setBold(True)
            painter.setFont(font)
            role = QtGui.QPalette.ColorGroup.Active if self.enabled else QtGui.QPalette.ColorGroup.Disabled
            painter.setPen(palette.color(role, QtGui.QPalette.ColorRole.Text))
            text = str(QtCore.QObject.property(self, "text") or "")
            painter.drawText(title.adjusted(24, 0, -4, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, text)

    return Collapsible


def slider(base):
    """A slider and the box with its value."""

    class Slider(_Look, base):
        def paintEvent(self, _event):
            painter = QtGui.QPainter(self)
            read = lambda name, other: float(QtCore.QObject.property(self, name) or other)  # noqa: E731
            low, high, value = read("minimum", 0), read("maximum", 99), read("value", 0)
            groove = QtWidgets.QStyleOptionSlider()
            groove.initFrom(self)
            groove.rect = QtCore.QRect(0, 0, self.width - _BOX_WIDTH - 6, self.height)
            groove.orientation = QtCore.Qt.Orientation.Horizontal
            groove.minimum, groove.maximum = 0, 1000
            groove.sliderPosition = groove.sliderValue = round(1000 * (value - low) / ((high - low) or 1))
            groove.subControls = _QStyle.SubControl.SC_SliderGroove | _QStyle.SubControl.SC_SliderHandle
            self.style().drawComplexControl(_QStyle.ComplexControl.CC_Slider, groove, painter, self)
            box = QtWidgets.QStyleOptionSpinBox()
            box.initFrom(self)
            box.rect = QtCore.QRect(self.width - _BOX_WIDTH, 1, _BOX_WIDTH, self.height - 2)
            box.frame = True
            box.subControls = _QStyle.SubControl.SC_SpinBoxFrame | _QStyle.SubControl.SC_SpinBoxUp
            box.subControls |= _QStyle.SubControl.SC_SpinBoxDown
            box.stepEnabled = QtWidgets.QAbstractSpinBox.StepEnabledFlag.StepUpEnabled
            self.style().drawComplexControl(_QStyle.ComplexControl.CC_SpinBox, box, painter, self)
            decimals = QtCore.QObject.property(self, "decimals")
            text = f"{value:.{2 if decimals is None else int(decimals)}f}{QtCore.QObject.property(self, 'suffix') or ''}"
            group = QtGui.QPalette.ColorGroup.Active if self.enabled else QtGui.QPalette.ColorGroup.Disabled
            painter.setPen(self.palette.color(group, QtGui.QPalette.ColorRole.Text))
            painter.drawText(box.rect.adjusted(6, 0, -20, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, text)

    return Slider


def node_selector(base):
    """A combo box with the name of the chosen node."""

    class NodeSelector(_Look, base):
        def paintEvent(self, _event):
            node = self.currentNode()
            painter, option = QtGui.QPainter(self), QtWidgets.QStyleOptionComboBox()
            option.initFrom(self)
            option.currentText = node.GetName() if node is not None else str(QtCore.QObject.property(self, "noneDisplay"))
            style = self.style()
            style.drawComplexControl(_QStyle.ComplexControl.CC_ComboBox, option, painter, self)
            style.drawControl(_QStyle.ControlElement.CE_ComboBoxLabel, option, painter, self)

    return NodeSelector


def segments_table(base):
    """One line per segment: its visibility, its colour and its name."""

    class SegmentsTable(_Look, base):
        _rows = 5

        def paintEvent(self, _event):
            painter = QtGui.QPainter(self)
            painter.fillRect(self.rect, self.palette.base())
            painter.setPen(self.palette.mid().color())
            painter.drawRect(self.rect.adjusted(0, 0, -1, -1))
            node = self.segmentationNode()
            identifiers = [] if node is None else list(node.GetSegmentation().GetSegmentIDs())
            for row, identifier in enumerate(identifiers):
                segment, top = node.GetSegmentation().GetSegment(identifier), 3 + 22 * row
                is_seen = node.GetDisplayNode() is None or node.GetDisplayNode().GetSegmentVisibility(identifier)
                middle = QtCore.QPointF(16, top + 11)
                painter.setPen(self.palette.text().color())
                painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)
                painter.drawEllipse(middle, 7, 4)
                if is_seen:
                    painter.setBrush(self.palette.text())
                    painter.drawEllipse(middle, 2, 2)
                painter.fillRect(_EYE_WIDTH, top + 4, _SWATCH, _SWATCH, QtGui.QColor.fromRgbF(*segment.GetColor()))
                text = QtCore.QRect(_EYE_WIDTH + _SWATCH + 8, top, self.width, 22)
                painter.drawText(text, QtCore.Qt.AlignmentFlag.AlignVCenter, segment.GetName())

    return SegmentsTable
