"""Decoding and augmentation compared with slow references, and properties that must hold."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from cytoimagenet.builder.formats.grey_png import encode_png
from cytoimagenet.loaders.transforms import augment, cutmix, mixup, rotate, to_float, to_pixels, to_rgb


@pytest.fixture(autouse=True)
def _seeded():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def slow_rotation(image, degrees, mirrored=False, zoom=1.0):
    """Rotate one image with scipy as the published pipeline does: bilinear, borders reflected, about the centre."""
    angle = np.deg2rad(degrees)
    # row numbers grow downwards, hence these signs for counter-clockwise on the screen
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / zoom
    if mirrored:
        image = image[:, ::-1]
    centre = (np.array(image.shape) - 1) / 2
    return scipy.ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=1, mode="reflect")


@pytest.mark.parametrize("shape", [(24, 24), (17, 31)])
def test_rotation_equals_the_slow_reference(rng, shape):
    images = rng.random((24, 1, *shape))
    degrees = np.concatenate([[0, 90, 180, 270, 45], rng.uniform(0, 360, 19)])
    mirror, zoom = rng.random(24) < 0.5, rng.uniform(0.7, 1.4, 24)
    fast = rotate(
        torch.from_numpy(images),
        torch.from_numpy(degrees),
        mirror=torch.from_numpy(mirror),
        zoom=torch.from_numpy(zoom.astype(np.float32)),
    ).numpy()
    slow = np.stack([slow_rotation(i[0], *rest) for i, *rest in zip(images, degrees, mirror, zoom, strict=True)])
    assert np.abs(fast[:, 0] - slow).max() < 2e-4


def slow_resize(image, size):
    """Resize to a square: between the four nearest pixels, centres of pixels at halves, edges repeated."""
    corners = []
    for length in image.shape:
        at = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        below = np.minimum(at.astype(int), length - 2)
        corners.append((below, at - below))
    (y, down), (x, right) = corners
    top = image[y][:, x] * (1 - right) + image[y][:, x + 1] * right
    bottom = image[y + 1][:, x] * (1 - right) + image[y + 1][:, x + 1] * right
    return top * (1 - down)[:, None] + bottom * down[:, None]


@pytest.mark.parametrize("shape", [(90, 90), (224, 224), (300, 300), (131, 260)])
def test_the_published_pipeline_step_by_step_in_its_own_order(rng, shape):
    """Published: copy to RGB, resize to 224, x / 255, rotate, reflect borders. Ours resizes grey and copies last."""
    field = scipy.ndimage.gaussian_filter(rng.random(shape), 2)
    image = np.uint8(255 * (field - field.min()) / np.ptp(field))
    degrees = float(rng.uniform(0, 360))
    rgb = np.stack([image] * 3).astype(float)
    published = np.stack([slow_rotation(slow_resize(channel, 224) / 255, degrees) for channel in rgb])
    grey = torch.from_numpy(to_pixels(encode_png(image), 224)[None, None])
    ours = to_rgb(rotate(to_float(grey), torch.tensor([degrees])))[0].numpy()
    assert ours.shape == (3, 224, 224)
    assert np.abs(ours - published).max() < 1.2 / 255  # bytes are rounded once, after the resize


def test_a_quarter_turn_is_exact(rng):
    image = torch.from_numpy(rng.random((1, 1, 20, 20)).astype(np.float32))
    turned = rotate(image, torch.tensor([90.0]))
    assert torch.allclose(turned, torch.rot90(image, 1, (2, 3)), atol=1e-5)


def test_borders_are_reflected_and_never_black():
    bright = torch.ones(64, 1, 16, 16)
    assert torch.allclose(augment(bright, flips=True, zoom=0.5), bright, atol=1e-5)


def test_augmentation_is_seeded_differs_by_image_and_stays_in_range():
    images = torch.rand(1, 1, 16, 16).expand(8, -1, -1, -1)
    torch.manual_seed(3)
    one = augment(images, rotation=360, flips=True, zoom=0.2, contrast=0.5)
    torch.manual_seed(3)
    two = augment(images, rotation=360, flips=True, zoom=0.2, contrast=0.5)
    assert torch.equal(one, two)
    assert len({image.numpy().tobytes() for image in one}) == 8
    assert one.min() >= 0
    assert one.max() <= 1


def test_without_augmentation_nothing_changes():
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(augment(images, rotation=0), images)


def test_half_of_the_images_are_mirrored():
    images = torch.arange(8.0).view(1, 1, 1, 8).expand(2000, 1, 8, 8) / 8
    flipped = augment(images, rotation=0, flips=True)
    mirrored = flipped[:, 0, 0, 0] > flipped[:, 0, 0, -1]
    assert 0.45 < mirrored.float().mean() < 0.55
    assert torch.allclose(flipped[mirrored], images[mirrored].flip(3), atol=1e-6)


def test_scaling_and_copying():
    images = torch.tensor([[[[0, 51], [102, 255]]]], dtype=torch.uint8)
    grey = to_float(images)
    assert grey.flatten().tolist() == pytest.approx([0, 0.2, 0.4, 1])
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1), torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    rgb = to_rgb(grey, mean, std)
    assert rgb.shape == (1, 3, 2, 2)
    assert rgb[0, :, 1, 1].tolist() == pytest.approx([0.9, 0.4, 0.175])
    assert torch.equal(to_rgb(grey), grey.expand(1, 3, 2, 2))


def test_mixup_mixes_images_and_labels_with_the_same_weights():
    labels = torch.arange(6)
    images = torch.nn.functional.one_hot(labels, 6).float().view(6, 1, 1, 6)
    mixed, target = mixup(images, labels, 6, alpha=0.4)
    assert torch.allclose(mixed.flatten(1), target, atol=1e-6)
    assert torch.allclose(target.sum(1), torch.ones(6))
    assert not torch.equal(target, images.flatten(1))


@pytest.mark.parametrize("shape", [(24, 24), (17, 31)])
def test_cutmix_pastes_one_rectangle_and_shares_the_labels_by_its_area(shape):
    """All pixels of image n are n, so each pixel shows from which image it is."""
    labels = torch.arange(5)
    images = labels.view(5, 1, 1, 1).float().expand(5, 1, *shape)
    areas = set()
    for _ in range(40):
        pasted, target = cutmix(images, labels, 7, alpha=1.0)
        for n, image in enumerate(pasted[:, 0]):
            counted = [(image == label).sum().item() / image.numel() for label in range(7)]
            assert target[n].tolist() == pytest.approx(counted, abs=1e-6)
            rows, columns = np.nonzero(image.numpy() != n)
            if len(rows):
                areas.add(len(rows))
                assert len(set(image[rows, columns].tolist())) == 1
                assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert len(areas) > 20
    assert torch.equal(images, labels.view(5, 1, 1, 1).float().expand(5, 1, *shape)), "the batch itself is not changed"
