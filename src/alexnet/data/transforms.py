"""Transforms from stored pictures to a net's input: crop, mirror, mean and colour noise (sections 2 and 4.1).

A view is one crop of a picture, mirrored or not. In shapes, N counts pictures, `side` is the side of a picture and
`size` the side of a view, in pixels. Each function handles a whole batch on the device.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from alexnet.config.recipe import Recipe, Views
from alexnet.core.errors import InputError
from alexnet.core.text import describe
from alexnet.data.images.resize import Fit
from alexnet.ops import crop


@dataclass(frozen=True, eq=False, repr=False)
class Transform:
    """The transform from uint8 pictures to a net's input (sections 2 and 4.1).

    `net(net.transform(pictures))` returns the logits of the central views. Use `augment` for training and `ten_crop`
    for the paper's ten-view test.

    Moving a net to a device moves its transform too. Casting a net does not cast the transform: the mean stays
    float32, and `dtype` sets the type of the views. A transform is not an nn.Module and is not in the state_dict.

    Args:
        views: The recipe's settings for views.
        size: Side of a view in pixels, 224 in the paper.
        mean: Mean of the training pictures: float32 (side, side, 3), RGB, 0 to 255.
        components: float32 (3, 3), one column for each principal component of the training pictures' RGB values. The
            length of a column is the standard deviation along it, or the eigenvalue, as section 4.1 prints.
        fit: How pictures of other sizes become squares: "crop", "pad" or "warp" (`prepare --fit`).
        std: float32 (3,), divisors of red, green and blue (`views.std`), or None.
    """

    views: Views
    size: int
    mean: Tensor
    components: Tensor
    fit: Fit = "crop"
    std: Tensor | None = None

    @property
    def side(self) -> int:
        """The side in pixels of the pictures that the transform takes."""
        return self.mean.shape[0]

    @property
    def margin(self) -> int:
        """The number of pixels by which a view can move: 32 for views of 224 in pictures of 256."""
        return self.side - self.size

    @property
    def device(self) -> torch.device:
        """The device that computes the views."""
        return self.mean.device

    def to(self, device: torch.device | str | int) -> "Transform":
        """Return this transform on another device."""
        std = None if self.std is None else self.std.to(device)
        return replace(self, mean=self.mean.to(device), components=self.components.to(device), std=std)

    def __repr__(self) -> str:
        side, size = self.side, self.size
        scale = "" if self.views.scale == 1 else f", times {self.views.scale:g}"
        if self.std is not None:
            scale += f", divided by {', '.join(f'{each:g}' for each in self.std.tolist())}"
        return (
            f"Transform(uint8 (N, {side}, {side}, 3) -> float32 (N, 3, {size}, {size}): minus the mean of its "
            f"{self.views.mean}{scale}, on {self.device})"
        )

    def __call__(self, images: Tensor | np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        """Cut the central view of each picture, as `center_crop` does."""
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
        stored: bool = False,
        blocks: tuple[int, int] | None = None,
    ) -> Tensor:
        """Cut a random view of each picture and add colour noise, for training (section 4.1).

        The random numbers depend only on the seed, the epoch and the picture, so batch size, device and number of
        processes do not change a view.

        Args:
            images: Pictures, uint8 (N, side, side, 3), RGB, on this transform's device. If `stored`, all pictures of
                the split, from which this reads those of `ids`.
            ids: Their numbers in the split, int64 (N,), on the same device.
            seed: Seed of the run.
            epoch: Epoch, from 0; an int or an integer tensor on the device.
            first: Position in the epoch of the first picture. It matters only if consecutive pictures share a crop.
            colour: If True, add the recipe's colour noise.
            dtype: Type of the views.
            stored: Whether `images` are all pictures of the split.
            blocks: (side, blocks along a view): give the pixels in blocks, as a net on a GPU reads them
                (`AlexNet.packing`).

        Returns:
            `dtype` (N, 3, size, size), minus the mean, on this transform's device: the net's input. In blocks, it is
            (N, 3 * side^2, blocks, blocks), with zeros to the right of a view and below it.
        """
        views = self.views
        noise = views.colour if colour else 0.0
        top, left, mirrored, shift = crop.draw(
            ids,
            seed,
            epoch,
            first,
            self.margin,
            # The paper draws a crop for each picture; the 2012 code cuts 32 consecutive pictures at the same place.
            views.pictures_per_crop,
            views.crops,
            views.mirror,
            noise,
            self.components,
        )
        factor = views.scale / (1 + noise) if views.colour_shrink else views.scale
        rows = ids if stored else None
        if not views.area:
            return self.crop(images, top, left, mirrored, shift, factor, dtype, rows, blocks)
        boxes = crop.draw_boxes(ids, seed, epoch, first, self.side, views.pictures_per_crop, views.area, views.aspect)
        place, kept = views.mean == "place", dtype if self.std is None else torch.float32
        given = images, boxes, mirrored, self.mean, self.size, place, shift, factor
        return self.divide(crop.cut_scaled(*given, kept, rows, blocks), dtype, blocks)

    def center_crop(self, images: Tensor | np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        """Cut the central view of each picture.

        Args:
            images: Pictures, uint8 (N, side, side, 3), RGB, 0 to 255, as a tensor or an array. One picture may be
                (side, side, 3).
            dtype: Type of the views.

        Returns:
            `dtype` (N, 3, size, size), minus the mean, on this transform's device: the net's input.

        Raises:
            InputError: The pictures have another shape or type.
        """
        return self.crops_at(self.batch(images), [(self.margin // 2, self.margin // 2, False)], dtype)[0]

    def ten_crop(self, images: Tensor | np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        """Cut the four corners and the centre of each picture, and mirror them: the ten views of section 4.1.

        If a view covers the whole picture, there are only two: the picture and its mirror image.

        Args:
            images: Pictures, uint8 (N, side, side, 3), RGB, 0 to 255, as a tensor or an array. One picture may be
                (side, side, 3).
            dtype: Type of the views.

        Returns:
            `dtype` (10, N, 3, size, size), or (2, N, 3, size, size), minus the mean, on this transform's device. Call
            `flatten(0, 1)` on it for the net's input.

        Raises:
            InputError: The pictures have another shape or type.
        """
        return self.crops_at(self.batch(images), self.places(), dtype)

    def batch(self, images: Tensor | np.ndarray) -> Tensor:
        """Check pictures and move them to this transform's device, as a uint8 tensor (N, side, side, 3).

        Raises InputError for pictures of another shape or type.
        """
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
        """List (top, left, mirrored) of the ten views, or of the two if a view covers the whole picture."""
        d = self.margin
        five = [(0, 0), (0, d), (d // 2, d // 2), (d, 0), (d, d)] if d else [(0, 0)]
        return [(top, left, mirrored) for mirrored in (False, True) for top, left in five]

    def crops_at(
        self, images: Tensor, places: list[tuple[int, int, bool]], dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Cut views of all pictures at the given places: `dtype` (places, N, 3, size, size)."""
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
        rows: Tensor | None = None,
        blocks: tuple[int, int] | None = None,
    ) -> Tensor:
        """Crop, subtract the mean, add a colour shift (N, 3) and multiply by a factor: `dtype` (N, 3, size, size).

        `rows` has the places of the N pictures in `images`; without it, they are all of them.
        """
        # Section 2 subtracts from each pixel of the stored picture its own mean, so the mean must be cropped and
        # mirrored together with the picture. The 2012 code subtracts the mean's central crop from every view.
        place = self.views.mean == "place"
        given = images, top, left, mirrored, self.mean, self.size, place, shift, factor
        kept = dtype if self.std is None else torch.float32
        return self.divide(crop.cut(*given, kept, rows, blocks), dtype, blocks)

    def divide(self, views: Tensor, dtype: torch.dtype, blocks: tuple[int, int] | None) -> Tensor:
        """Divide float32 views by `std`, and round them to `dtype`, once; without `std`, return them as they are."""
        if self.std is None:
            return views
        colours = views.unflatten(1, (-1, 3)) if blocks else views
        return (colours / self.std.view(3, 1, 1)).view_as(views).to(dtype)


def make_transform(
    recipe: Recipe, mean: torch.Tensor, eigenvalues: torch.Tensor, eigenvectors: torch.Tensor, *, fit: Fit = "crop"
) -> Transform:
    """Build the transform of a recipe from a store's statistics.

    Args:
        recipe: The recipe, for its views and image size.
        mean: Mean training picture, (side, side, 3), RGB, 0 to 255.
        eigenvalues: (3,), the eigenvalues of the RGB covariance.
        eigenvectors: (3, 3), the eigenvectors, one per column.
        fit: How the store's pictures were made square.
    """
    length = eigenvalues.clamp(min=0)
    # Section 4.1 multiplies by the eigenvalue, a variance in the thousands. The 2012 code multiplies by its square
    # root, the standard deviation, which is the scale of real colours.
    if recipe.views.colour_scale == "deviation":
        length = length.sqrt()
    std = torch.tensor(recipe.views.std) if recipe.views.std else None
    return Transform(recipe.views, recipe.net.image_size, mean.float(), (eigenvectors * length).float(), fit, std)
