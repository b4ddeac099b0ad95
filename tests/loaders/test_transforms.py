"""Decoding and augmentation compared with slow references, and properties that must hold."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from cytoimagenet.builder.formats.grey_png import encode_png
from cytoimagenet.loaders.blur import gaussian_blur
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


@pytest.mark.parametrize("shape", [(24, 24), (17, 31)])
def test_blur_equals_the_slow_reference(rng, shape):
    images, sigma = rng.random((20, 1, *shape)), np.concatenate([[0, 1e-4, 2], rng.uniform(0, 2, 17)])
    fast = gaussian_blur(torch.from_numpy(images), torch.from_numpy(sigma), 2).numpy()
    # scipy calls this reflection "mirror": the pixel at the border is not repeated
    slow = [scipy.ndimage.gaussian_filter(i[0], s, radius=6, mode="mirror") for i, s in zip(images, sigma, strict=True)]
    assert np.abs(fast[:, 0] - np.stack(slow)).max() < 1e-6
    assert np.array_equal(fast[:2], images[:2]), "no blur, no change"


def test_blur_of_images_smaller_than_its_kernel():
    images = torch.rand(3, 1, 4, 5)
    assert gaussian_blur(images, torch.full((3,), 4.0), 4.0).shape == images.shape


def test_a_crop_is_inside_the_image_and_has_the_share_of_its_area():
    """Of an image that shows its own coordinates, a crop shows where it was taken."""
    side = torch.linspace(-1 + 1 / 64, 1 - 1 / 64, 64)
    x = side.view(1, 1, 1, 64).expand(400, 1, 64, 64)
    state = torch.get_rng_state()
    for ramp, across in ((x, 3), (x.transpose(2, 3), 2)):
        torch.set_rng_state(state)
        cropped = augment(ramp, rotation=0, crop=0.75)
        line = cropped.select(5 - across, 0)[:, 0]
        length = (line[:, 47] - line[:, 16]) / (side[47] - side[16])
        assert (length >= 0.5 - 1e-4).all()
        assert (length <= 1 + 1e-4).all()
        assert 0.58 < (length**2).mean() < 0.67, "areas are uniform between 1/4 and 1"
        middle = (line[:, 31] + line[:, 32]) / 2
        assert (middle.abs() + length <= 1 + 1e-4).all()
        assert middle.min() < -0.3
        assert middle.max() > 0.3
        # between the centre of the outermost pixel and its border there is no further value
        expected = (middle.view(-1, 1) + length.view(-1, 1) * side).clamp(side[0], side[-1])
        assert torch.allclose(line, expected, atol=1e-4)
        assert torch.allclose(cropped, line.unsqueeze(1).unsqueeze(5 - across).expand_as(cropped), atol=1e-5)


def test_noise_is_of_each_pixel_and_at_most_as_large_as_the_setting():
    grey = torch.full((500, 1, 16, 16), 0.5)
    deviation = augment(grey, rotation=0, noise=0.1).std((1, 2, 3))
    assert deviation.max() < 0.12
    assert 0.045 < deviation.mean() < 0.055
    assert augment(torch.ones(4, 1, 8, 8), rotation=0, noise=0.5).max() == 1


def test_augmentations_that_are_off_take_no_random_numbers():
    images = torch.rand(8, 1, 16, 16)
    torch.manual_seed(3)
    expected, after = augment(images, flips=True, zoom=0.2, contrast=0.5), torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(augment(images, flips=True, zoom=0.2, contrast=0.5, crop=0.0, blur=0.0, noise=0.0), expected)
    assert torch.equal(torch.rand(1), after)


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
