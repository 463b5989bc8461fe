"""Views: how stored pictures become a net's input, as tensor operations on the device (sections 2 and 4.1)."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from alexnet.config.recipe import Recipe, Views
from alexnet.core import rng
from alexnet.core.errors import InputError
from alexnet.core.text import describe
from alexnet.ops import crop


@dataclass(frozen=True, eq=False, repr=False)
class Transform:
    """Makes a net's input of pictures: cuts views, subtracts the mean image, adds colour noise (sections 2 and 4.1).

    `net(net.transform(pictures))` gives logits of the central views. A net that is moved takes its transform along; a
    net that is cast does not, so the mean keeps its float32; ask for views of another type with `dtype`. It is no
    module and in no state_dict.

    Args:
        views: the recipe's.
        size: pixels a side of a view.
        mean: (side, side, 3) float32, the mean of the training pictures.
        components: (3, 3), a column for each principal component of the training pictures' RGB values, as long as its
            standard deviation (or, as printed, its eigenvalue).
    """

    views: Views
    size: int
    mean: Tensor
    components: Tensor

    @property
    def side(self) -> int:
        """Pixels a side of the pictures that go in."""
        return self.mean.shape[0]

    @property
    def margin(self) -> int:
        """How far a view can move in a picture: 32 for 224 in 256."""
        return self.side - self.size

    @property
    def device(self) -> torch.device:
        """Where the views are made."""
        return self.mean.device

    def to(self, device: torch.device | str | int) -> "Transform":
        """The same on another device."""
        return replace(self, mean=self.mean.to(device), components=self.components.to(device))

    def __repr__(self) -> str:
        """One line, without the mean image."""
        side, size = self.side, self.size
        scale = "" if self.views.scale == 1 else f", times {self.views.scale:g}"
        return (
            f"Transform(uint8 (N, {side}, {side}, 3) -> float32 (N, 3, {size}, {size}): minus the mean of its "
            f"{self.views.mean}{scale}, on {self.device})"
        )

    def __call__(self, images: Tensor | np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        """As `center_crop`."""
        return self.center_crop(images, dtype)

    def augment(
        self,
        images: Tensor,
        ids: Tensor,
        *,
        seed: int,
        epoch: int | Tensor,
        first: int | Tensor = 0,
        colour: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Random crops, mirrors and colour noise: uint8 (N, side, side, 3) -> `dtype` (N, 3, input, input).

        All is drawn from (seed, purpose, epoch, picture): ids (N,) are the pictures' numbers in the store. Where
        pictures share a crop, as in 2012, they are consecutive in the epoch, and `first` is the place of the first.
        """
        n, views = len(images), self.views
        who = (
            (torch.arange(n, device=images.device) + first) // views.pictures_per_crop
            if views.pictures_per_crop > 1
            else ids
        )
        top = left = torch.full((n,), self.margin // 2, device=images.device)
        mirrored = torch.zeros(n, dtype=torch.bool, device=images.device)
        four = rng.words(seed, "crop", who, epoch)
        if views.crops:
            top, left = rng.below(four[:, 0], self.margin + 1), rng.below(four[:, 1], self.margin + 1)
        if views.mirror:
            mirrored = four[:, 2] >= 1 << 31
        shift, factor = None, views.scale
        if colour and views.colour:
            alpha = views.colour * rng.normals(rng.words(seed, "colour", ids, epoch))[:, :3]
            shift = colour_shift(alpha, self.components)
            if views.colour_shrink:
                factor /= 1 + views.colour
        return self.crop(images, top, left, mirrored, shift, factor, dtype)

    def center_crop(self, images: Tensor | np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        """Cut the central view of each picture.

        Args:
            images: uint8 (N, side, side, 3), a tensor or an array, RGB, 0 to 255; (side, side, 3) counts as one of one.
            dtype: of the views.

        Returns:
            `dtype` (N, 3, size, size), minus the mean, on this transform's device: the net's input.

        Raises:
            InputError: for pictures of another shape or type.
        """
        return self.crops_at(self.batch(images), [(self.margin // 2, self.margin // 2, False)], dtype)[0]

    def ten_crop(self, images: Tensor | np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        """Cut the corners and the centre of each picture, and their mirrors (section 4.1).

        Where a view is the whole picture there are two: it and its mirror.

        Args:
            images: uint8 (N, side, side, 3), a tensor or an array, RGB, 0 to 255; (side, side, 3) counts as one of one.
            dtype: of the views.

        Returns:
            `dtype` (10, N, 3, size, size), minus the mean, on this transform's device; `flatten(0, 1)` makes it the
            net's input.

        Raises:
            InputError: for pictures of another shape or type.
        """
        return self.crops_at(self.batch(images), self.places(), dtype)

    def batch(self, images: Tensor | np.ndarray) -> Tensor:
        """Pictures as a tensor (N, side, side, 3) on this transform's device; raises InputError for others."""
        if isinstance(images, np.ndarray) and images.dtype == np.uint8:
            taken = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        else:
            taken = images  # type: ignore[assignment]
        known = isinstance(taken, Tensor) and taken.dtype == torch.uint8 and taken.ndim in (3, 4)
        if not known or taken.shape[-3:] != self.mean.shape:
            raise InputError(
                f"this transform takes pictures as uint8 (N, {self.side}, {self.side}, 3), not {describe(images)}; "
                "alexnet.predict takes pictures of any size"
            )
        return (taken if taken.ndim == 4 else taken[None]).to(self.device)

    def places(self) -> list[tuple[int, int, bool]]:
        """(top, left, mirrored) of the ten views."""
        d = self.margin
        five = [(0, 0), (0, d), (d // 2, d // 2), (d, 0), (d, d)] if d else [(0, 0)]
        return [(top, left, mirrored) for mirrored in (False, True) for top, left in five]

    def crops_at(
        self, images: Tensor, places: list[tuple[int, int, bool]], dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Views at given places of all pictures: `dtype` (places, N, 3, input, input)."""
        n, device = len(images), images.device
        stack = []
        for top, left, mirrored in places:
            here = torch.full((n,), top, device=device), torch.full((n,), left, device=device)
            flips = torch.full((n,), mirrored, device=device)
            stack.append(self.crop(images, *here, flips, None, self.views.scale, dtype))
        inputs = torch.cat(stack)
        return inputs.view(len(places), n, *inputs.shape[1:])

    def crop(
        self,
        images: Tensor,
        top: Tensor,
        left: Tensor,
        mirrored: Tensor,
        shift: Tensor | None,
        factor: float,
        dtype: torch.dtype,
    ) -> Tensor:
        """Crops minus their mean, plus a shift of colour (N, 3), times a factor: `dtype` (N, 3, input, input).

        The mean is each pixel's own, or that of the central crop wherever the crop lies and unmirrored, as in 2012.
        """
        place = self.views.mean == "place"
        return crop.cut(images, top, left, mirrored, self.mean, self.size, place, shift, factor, dtype)


def colour_shift(alpha: Tensor, components: Tensor) -> Tensor:
    """The colours alpha (N, 3) along components (3, 3), one a column: float64 (N, 3).

    A sum per picture: the bits of a matrix product's row may depend on how many rows there are.
    """
    a, c = alpha.double(), components.double()
    return a[:, :1] * c[:, 0] + a[:, 1:2] * c[:, 1] + a[:, 2:] * c[:, 2]


def make_transform(
    recipe: Recipe, mean: torch.Tensor, eigenvalues: torch.Tensor, eigenvectors: torch.Tensor
) -> Transform:
    """A transform with the recipe's reading of the colour components (section 4.1)."""
    length = eigenvalues.clamp(min=0)
    if recipe.views.colour_scale == "deviation":
        length = length.sqrt()
    return Transform(recipe.views, recipe.net.image_size, mean.float(), (eigenvectors * length).float())
