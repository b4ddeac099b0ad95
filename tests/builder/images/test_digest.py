"""Equal pixels are found, equal bytes of another shape are not."""

import hashlib

import numpy as np
from cytoimagenet.builder.images.digest import first_equal, pixel_digest
from hypothesis import given
from hypothesis import strategies as st


def test_the_digest_is_of_shape_and_pixels():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (
        pixel_digest(image)
        == hashlib.sha256((3).to_bytes(8, "little") + (4).to_bytes(8, "little") + bytes(range(12))).hexdigest()
    )
    assert pixel_digest(image) == pixel_digest(np.asfortranarray(image))
    assert pixel_digest(image) != pixel_digest(image.reshape(4, 3))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 99)), max_size=30))
def test_of_equal_images_the_one_of_lowest_rank_is_found(images):
    digests, ranks = np.array([d for d, _ in images], "S1"), np.array([r for _, r in images], int)
    found = first_equal(digests, ranks)
    for i, (digest, _) in enumerate(images):
        equal = [j for j, (other, _) in enumerate(images) if other == digest]
        assert found[i] == min(equal, key=lambda j: (ranks[j], j))
