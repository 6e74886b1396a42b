# Packaging itself is not played
