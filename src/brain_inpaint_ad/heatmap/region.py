"""Rectangles of pixels and what convolution, pooling and upsampling make of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Region:
    """Rows top…bottom and columns left…right of one level of the U-Net, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def grown(self, by: int) -> Region:
        """The pixels that `by` 3×3 convolutions reach."""
        return Region(self.top - by, self.bottom + by, self.left - by, self.right + by)

    def clipped(self, rows: int, columns: int) -> Region:
        """The part inside a map of this size."""
        return Region(max(self.top, 0), min(self.bottom, rows), max(self.left, 0), min(self.right, columns))

    def halved(self) -> Region:
        """The pixels of the next level that a pixel of this region is pooled into."""
        return Region(self.top // 2, -(-self.bottom // 2), self.left // 2, -(-self.right // 2))

    def doubled(self) -> Region:
        """The pixels of the level before that are pooled into this region."""
        return Region(2 * self.top, 2 * self.bottom, 2 * self.left, 2 * self.right)

    def strided(self) -> Region:
        """The outputs of a 3×3 convolution of stride 2, padding 1, that see a pixel of this region."""
        return Region(self.top // 2, self.bottom // 2 + 1, self.left // 2, self.right // 2 + 1)

    def source(self) -> Region:
        """The pixels that such a convolution needs for this region."""
        return Region(2 * self.top - 1, 2 * self.bottom, 2 * self.left - 1, 2 * self.right)

    def within(self, outer: Region) -> tuple[slice, slice]:
        """Rows and columns of this region in an array that holds `outer`."""
        rows = slice(self.top - outer.top, self.bottom - outer.top)
        return rows, slice(self.left - outer.left, self.right - outer.left)


def padded(patch: Tensor, region: Region, wanted: Region) -> Tensor:
    """`patch` (n, channels, rows, columns) holds `region`; zeros around it up to `wanted`."""
    if region == wanted:
        return patch
    around = (region.left - wanted.left, wanted.right - region.right, region.top - wanted.top, wanted.bottom - region.bottom)
    return functional.pad(patch, around)
