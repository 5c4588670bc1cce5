"""Hidden stretches of features, so that a probe cannot lean on any one of them (SpecAugment, Park et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Stretch:
    """A random stretch of each clip, before it is known how long the clip is."""

    width: Tensor  # (C,) share of the length
    place: Tensor  # (C,) from 0, at the beginning, to 1, at the end

    def hidden(self, lengths: Tensor, size: int) -> Tensor:
        """(C, size) bool: where it lies within each clip's (C,) length."""
        width = self.width * lengths
        start = self.place * (lengths - width)
        places = torch.arange(size, device=lengths.device)[None]
        return (places >= start[:, None]) & (places < (start + width)[:, None])


@dataclass(frozen=True, eq=False)
class Masks:
    """What is hidden of each clip: one stretch of frames, one of dimensions, or neither."""

    time: Stretch | None = None
    feature: Stretch | None = None

    def of(self, clips: Tensor) -> Masks:
        """Those of some clips, by number."""
        return Masks(*(part and Stretch(part.width[clips], part.place[clips]) for part in (self.time, self.feature)))


def draw_masks(count: int, *, time: float, feature: float, device: torch.device | str = "cpu") -> Masks:
    """Stretches of uniform widths at uniform places for so many clips, from the global generator of the device.

    Args:
        count: C.
        time: largest share of a clip's frames.
        feature: largest share of the dimensions.
        device: of the features.
    """
    return Masks(*(_draw(count, share, device) if share else None for share in (time, feature)))


def _draw(count: int, share: float, device: torch.device | str) -> Stretch:
    width = torch.rand(count, device=device) * share
    return Stretch(width, torch.rand(count, device=device))


def hide_stretches(features: Tensor, mask: Tensor, masks: Masks) -> Tensor:
    """The features with each clip's stretches set to the mean.

    Args:
        features: (C, T, D) standardised, so that 0 is the mean.
        mask: (C, T) which frames are real.
        masks: of the C clips.
    """
    if masks.time:
        features = features.masked_fill(masks.time.hidden(mask.sum(1), mask.shape[1])[:, :, None], 0.0)
    if masks.feature:
        dims = torch.full((len(features),), features.shape[2], device=features.device)
        features = features.masked_fill(masks.feature.hidden(dims, features.shape[2])[:, None, :], 0.0)
    return features
