"""Times the sliders of the panel on a real result: from the slider's event to the updated segmentation in the scene.

    python Testing/slicer/time_sliders.py SCAN RESULT_FOLDER

RESULT_FOLDER is what `detect SCAN --recut` wrote. Drawing in the views comes on top; it needs the application.
"""

import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import render_panel
import render_slices

MOVES = np.geomspace(20, 400, 41)  # scales, up and down the slider


def spent(act, is_done):
    """Milliseconds from the event until Qt's loop has brought the answer."""
    started = time.perf_counter()
    act()
    while not is_done():
        render_panel.QtCore.QCoreApplication.processEvents()
    return 1000 * (time.perf_counter() - started)


def times_of(act, done, name):
    """Milliseconds of every move, ascending; done[name] counts the answers."""
    times = []
    for scale in MOVES.tolist():
        awaited = done[name] + 1
        times.append(spent(partial(act, scale), lambda awaited=awaited: done[name] >= awaited))
    return sorted(times)


def main(scan_path, folder):
    _application, scene = render_panel.start_application()
    from BrainInpaintADLib import Recut

    scan = render_slices.load_scan(scene, Path(scan_path))
    _view = render_slices.make_view(scene)
    worker = render_panel.Prepared(Path(folder))
    module, _frame = render_panel.open_module(worker)
    module.ui.scanSelector.setCurrentNode(scan)
    module.ui.detectButton.click()
    worker.goOn()
    render_panel.let_qt_work(5)  # imported, and loaded in the background
    module.ui.findingsTable.selectRow(0)  # the view goes there: that slice is cut
    done = {"showSlice": 0, "apply": 0}

    def counting(name, original):
        def count(self, *arguments, **options):
            answer = original(self, *arguments, **options)
            done[name] += 1
            regions.append(answer if name == "showSlice" else 0)
            return answer

        return count

    regions = []
    for name in done:
        setattr(Recut.Recut, name, counting(name, getattr(Recut.Recut, name)))
    slider = module.ui.scaleSlider
    rows = {
        "dragged: visible slice": times_of(slider.valueIsChanging.emit, done, "showSlice"),
        "released: whole volume": times_of(slider.setValue, done, "apply"),
    }
    assert max(regions) > 0, "no slice with a finding was cut"
    size = "×".join(str(number) for number in scan.GetImageData().GetDimensions())
    for text, times in rows.items():
        print(  # noqa: T201
            f"{text}, {size}: median {statistics.median(times):.0f} ms, 95 % {times[int(0.95 * len(times))]:.0f} ms, "
            f"max {times[-1]:.0f} ms, {len(times)} events"
        )
    module.cleanup()


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # Qt and VTK take each other's objects down in no good order
