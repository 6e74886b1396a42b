"""Times the sliders of the panel on a real result, for every cut: from the slider's event to the segmentation in the scene.

    python Testing/slicer/time_sliders.py SCAN RESULT_FOLDER

RESULT_FOLDER is what `detect SCAN --recut` wrote. Drawing in the views comes on top; it needs the application.
"""

import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import render_panel
import render_slices

MOVES = np.geomspace(20, 400, 41)  # scales, up and down the slider


def times_of(act, answered):
    """Milliseconds of every move, ascending, from the event until it is answered, and the processor's median."""
    wall, processor = [], []
    for scale in MOVES.tolist():
        started, worked = time.perf_counter(), time.process_time()
        act(scale)
        answered.exec()  # one loop for each: PySide6 6.12 loses a reference to None at each
        wall.append(1000 * (time.perf_counter() - started))
        processor.append(1000 * (time.process_time() - worked))
    return sorted(wall), statistics.median(processor)


def main(scan_path, folder):
    _application, scene = render_panel.start_application()
    from BrainInpaintADLib import Recut, Settings

    scan = render_slices.load_scan(scene, Path(scan_path))
    _view = render_slices.make_view(scene)
    worker = render_panel.Prepared(Path(folder))
    module, _frame = render_panel.open_module(worker)
    module.ui.scanSelector.setCurrentNode(scan)
    module.ui.detectButton.click()
    worker.goOn()
    while module.panel._cut._recut is None or not module.panel._cut._recut._loader:  # imported
        render_panel.let_qt_work()
    while module.panel._cut._recut.isLoading:  # in the background
        render_panel.let_qt_work()
    module.ui.findingsTable.selectRow(0)  # the view goes there: that slice is cut
    answered = {"showSlice": render_panel.QtCore.QEventLoop(), "apply": render_panel.QtCore.QEventLoop()}

    def telling(name, original):
        def tell(self, *arguments, **options):
            answer = original(self, *arguments, **options)
            answered[name].quit()
            regions.append(answer if name == "showSlice" else 0)
            return answer

        return tell

    regions = []
    for name in answered:
        setattr(Recut.Recut, name, telling(name, getattr(Recut.Recut, name)))
    slider = module.ui.scaleSlider
    size = "×".join(str(number) for number in scan.GetImageData().GetDimensions())
    for kind in Settings.SEGMENTATIONS:
        parameters = module.logic.parameters()
        parameters.segmentation, parameters.scale = kind, 75.0  # none of MOVES: every one of them is a change
        render_panel.let_qt_work(3)  # cut once: edges are sorted then
        regions.clear()
        rows = {
            "dragged: visible slice": times_of(slider.valueIsChanging.emit, answered["showSlice"]),
            "released: whole volume": times_of(slider.setValue, answered["apply"]),
        }
        assert max(regions) > 0, "no slice with a finding was cut"
        for text, (times, processor) in rows.items():
            print(  # noqa: T201
                f"{kind}, {text}, {size}: median {statistics.median(times):.0f} ms, 95 % {times[int(0.95 * len(times))]:.0f} "
                f"ms, max {times[-1]:.0f} ms, {len(times)} events; processor {processor:.0f} ms"
            )
    module.cleanup()


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # Qt and VTK take each other's objects down in no good order
