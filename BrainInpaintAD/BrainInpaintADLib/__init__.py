"""What the BrainInpaintAD module is made of. Nothing is imported here: each part is loaded where it is used.

Without Slicer:   Settings (what the user chooses) · Core (the command line) · Worker (the process) · States · Findings
With MRML:        Scene (volume out, results in) · Heatmap (display) · Segments (import, export) · Detection (one run)
With Qt:          Parameters (parameter node) · Install (packages) · Widget (the panel)
"""
