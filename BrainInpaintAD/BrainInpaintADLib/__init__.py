"""What the BrainInpaintAD module is made of. Nothing is imported here: each part is loaded where it is used.

Without MRML:     Settings (what the user chooses) · CutKinds (what regions are cut in) · Core (the command line) ·
                  Worker (the process) · Packages (what Slicer's Python has) · States · Findings ·
                  ScanScore (the scan as a whole)
With MRML:        Models (cards) · ScanFit (does a scan fit) · Scene (geometry) · Results (a result's nodes) ·
                  ResultImport (the core's files) · Heatmap (display) · SliceLayers (what views show) · Segments ·
                  Seen (what views showed before a preview) · SegmentExport · Recut (sliders) · Views · Export ·
                  Samples · Detection (one run, with RunFiles) · MadeUpResult (for the test inside Slicer)
With Qt:          Parameters (parameter node) · Scripts (what scripts call) ·
                  Install (with Pip, InstallPlan, InstallLedger, OfflineFolder, AddedModels) ·
                  Widget (the panel) · Chosen (scan, model and result, in agreement) ·
                  ResultWatch (what others do to the result) · Situation (what it shows) ·
                  one file per section: Inputs, Run, Cut (with WindowSlider), Findings, Display, Export, Install
"""
