"""Places: which images are drawn, how they are augmented, and what becomes of unreadable files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vpr.data.loading import BadImageTally
from vpr.data.places import Places, PlacesDataset, collate_places, group_by_place
from vpr.errors import ConfigError, DataError
from vpr.types import Draw

COUNTS = (6, 4, 2)


def keep(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Leaves the first channel and draws the second."""
    out = image.copy()
    out[..., 1] = rng.integers(0, 256, image.shape[:2])
    return out


def make_source(root: Path, first_grey: int = 0, name: str = "a") -> Places:
    """Places of 6, 4 and 2 images; each image has a grey value of its own: its number in the source."""
    files, places = [], []
    for place, count in enumerate(COUNTS):
        for _ in range(count):
            file = f"{len(files)}.png"
            pixels = np.full((4, 6, 3), first_grey + len(files), np.uint8)
            root.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(root / file)
            files.append(file)
            places.append(place)
    return group_by_place(name, root, files, places)


def greys(images: torch.Tensor) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def dataset(*sources: Places, k: int = 3, transform=keep, seed: int = 5, **options) -> PlacesDataset:
    return PlacesDataset(sources, k, options.pop("choice", "random"), transform, seed, **options)


def test_an_item_is_k_different_images_of_its_place(tmp_path: Path) -> None:
    item = dataset(make_source(tmp_path))[Draw(1, 0)]
    assert item.images is not None and item.images.shape == (3, 3, 4, 6) and item.images.dtype == torch.uint8
    assert item.label == 1 and not item.bad
    assert len(set(greys(item.images))) == 3 and set(greys(item.images)) <= {6, 7, 8, 9}


def test_recent_takes_the_first_images_of_a_place(tmp_path: Path) -> None:
    item = dataset(make_source(tmp_path), choice="recent")[Draw(1, 7)]
    assert item.images is not None and greys(item.images) == [6, 7, 8]


def test_an_item_follows_from_seed_epoch_and_place_alone(tmp_path: Path) -> None:
    source = make_source(tmp_path)
    first, again = dataset(source, transform=noise), dataset(source, transform=noise)
    again[Draw(2, 3)]  # other draws in between change nothing
    assert torch.equal(first[Draw(0, 1)].images, again[Draw(0, 1)].images)
    different = [dataset(source, transform=noise, seed=s)[Draw(0, e)].images for s, e in ((5, 0), (6, 1))]
    assert not any(torch.equal(first[Draw(0, 1)].images, images) for images in different)


def test_all_images_of_a_place_are_drawn_in_time(tmp_path: Path) -> None:
    data = dataset(make_source(tmp_path), k=2)
    seen = {grey for epoch in range(40) for grey in greys(data[Draw(0, epoch)].images)}
    assert seen == set(range(6))


def test_the_choice_and_the_augmentations_use_different_streams(tmp_path: Path) -> None:
    images = dataset(make_source(tmp_path), transform=noise, k=4)[Draw(0, 0)].images
    assert images is not None
    assert len({tuple(view.flatten().tolist()) for view in images[:, 1]}) == 4


def test_a_place_with_too_few_images_repeats_them_augmented_anew(tmp_path: Path) -> None:
    images = dataset(make_source(tmp_path), transform=noise, k=4)[Draw(2, 0)].images
    assert images is not None and sorted(greys(images)) == [10, 10, 11, 11]
    same = [i for i, grey in enumerate(greys(images)) if grey == 10]
    assert not torch.equal(images[same[0], 1], images[same[1], 1])


def test_places_are_numbered_through_all_sources_and_groups_stay_apart(tmp_path: Path) -> None:
    sources = make_source(tmp_path / "a"), make_source(tmp_path / "b", first_grey=100, name="b")
    data = dataset(*sources, k=1)
    assert len(data) == 6
    assert data.groups.tolist() == [0, 0, 0, 1, 1, 1]
    item = data[Draw(4, 0)]
    assert item.label == 4 and item.images is not None and greys(item.images)[0] in {106, 107, 108, 109}


def test_another_image_takes_the_turn_of_a_bad_one(tmp_path: Path) -> None:
    source = make_source(tmp_path)
    (tmp_path / "7.png").write_bytes(b"")
    data = dataset(source, k=3)
    items = [data[Draw(1, epoch)] for epoch in range(5)]
    assert all(item.images is not None and set(greys(item.images)) == {6, 8, 9} for item in items)
    sentences = [sentence for item in items for sentence in item.bad]
    assert len(sentences) == 1 and "7.png" in sentences[0]  # one report, though it was drawn more than once


def test_knowing_a_bad_image_does_not_change_later_draws(tmp_path: Path) -> None:
    source = make_source(tmp_path)
    (tmp_path / "0.png").unlink()
    went_on, resumed = dataset(source, transform=noise), dataset(source, transform=noise)
    for epoch in range(4):
        went_on[Draw(0, epoch)]
    assert torch.equal(went_on[Draw(0, 4)].images, resumed[Draw(0, 4)].images)


def test_a_place_without_a_good_image_leaves_the_batch(tmp_path: Path) -> None:
    source = make_source(tmp_path)
    for number in (10, 11):
        (tmp_path / f"{number}.png").write_text("no image")
    data = dataset(source, k=2)
    batch = collate_places([data[Draw(0, 0)], data[Draw(2, 0)], data[Draw(1, 0)]])
    assert batch.images.shape == (4, 3, 4, 6) and batch.labels.tolist() == [0, 0, 1, 1]
    assert len(batch.bad) == 2
    with pytest.raises(DataError, match="None of the images of 1 places"):
        collate_places([data[Draw(2, 1)]])


@pytest.mark.parametrize("options", [{"choice": "newest"}, {"k": 0}])
def test_unknown_settings_are_refused(tmp_path: Path, options: dict) -> None:
    with pytest.raises(ConfigError):
        dataset(make_source(tmp_path), **options)


@pytest.mark.parametrize("starts", [[0, 3], [0, 2, 2], [1, 2, 3], [0, 1, 2]])
def test_places_refuse_starts_that_do_not_fit(starts: list[int]) -> None:
    numbers = np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="starts|fit"):
        Places("x", Path(), np.array([b"a", b"b", b"c"]), np.array(starts), numbers, numbers)


def test_rows_become_places_by_group_and_id() -> None:
    places = group_by_place("x", Path("r"), list("abcdefé"), [7, 7, 3, 7, 3, 9, 3], list("vuvuvvv"), 2)
    # u: place 7 = b, d; v: place 3 = c, e, é; v7 and v9 have one image each
    assert [places.path(i).name for i in range(5)] == ["b", "d", "c", "e", "é"]
    assert (places.starts.tolist(), places.ids.tolist(), places.groups.tolist()) == ([0, 2, 5], [7, 3], [0, 1])
    with pytest.raises(DataError, match="no place has 4 images"):
        group_by_place("x", Path("r"), list("abc"), ["p", "p", "q"], min_images_per_place=4)


def test_tally_stops_above_one_percent_and_counts_each_photo_once() -> None:
    tally = BadImageTally("dataset.train.*")
    for _ in range(10):
        tally.add(100, ["a is empty", "b is empty"])
    tally.add(100, "cdefghijk")  # 11 of 1,111: below 1 %
    with pytest.raises(DataError, match=r"12 of 1,112 .* more than 1% \(first: a is empty; b is empty; c\)"):
        tally.add(0, "l")


def test_tally_waits_for_enough_photos_unless_all_are_bad() -> None:
    tally = BadImageTally("dataset.train.*")
    tally.add(50, "abcdefghij")  # 60 seen
    with pytest.raises(DataError, match="10 of 100"):
        tally.add(40, [])
    small = BadImageTally("dataset.train.*")
    small.add(100, "abcde")  # 5 are what 1 % of 500 allows
    with pytest.raises(DataError, match=r"2 of 2 .* or check dataset\.weak\.\*\."):
        BadImageTally("dataset.weak.*").add(0, ["a", "b"])


def test_a_batch_says_of_which_photo_each_image_is_a_view(tmp_path: Path) -> None:
    """The grey values are those of the first channel, which the transform leaves: 12 photos of a, then those of b."""
    sources = make_source(tmp_path / "a"), make_source(tmp_path / "b", first_grey=100, name="b")
    data = dataset(*sources, k=3, transform=noise)
    batch = collate_places([data[Draw(place, 2)] for place in (4, 0, 2)])
    assert batch.numbers is not None and batch.numbers.dtype == np.int64
    assert [grey - 88 if grey >= 100 else grey for grey in greys(batch.images)] == batch.numbers.tolist()
    assert len(set(batch.numbers.tolist())) == 8  # place 2 repeats one of its two photos


def test_photos_left_out_are_passed_over_in_silence(tmp_path: Path) -> None:
    data = dataset(make_source(tmp_path / "a"), make_source(tmp_path / "b", first_grey=100, name="b"), k=3)
    data.leave_out = {19, 22, 23}  # of b, photo 7; and all of its last place
    items = [data[Draw(4, epoch)] for epoch in range(5)]
    assert all(item.images is not None and set(greys(item.images)) == {106, 108, 109} for item in items)
    assert not any(item.bad for item in items)
    assert data[Draw(5, 0)].images is None


def test_a_file_that_a_place_has_twice_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Else it would be its own positive."""
    files = ["a/1.jpg", "a/2.jpg", "a/1.jpg", "a/./2.jpg", "b/1.jpg", "b/2.jpg"]
    found = group_by_place("twice", tmp_path, files, [7, 7, 7, 7, 9, 9], min_images_per_place=2)
    assert found.files.tolist() == [b"a/1.jpg", b"a/2.jpg", b"b/1.jpg", b"b/2.jpg"] and found.starts.tolist() == [
        0,
        2,
        4,
    ]
    assert "twice: 2 of 6 rows name a file that its place has already, and are left out (first: a/1.jpg)" in caplog.text
    with pytest.raises(DataError, match="no place has 2 images or more"):
        group_by_place("twice", tmp_path, ["1.jpg", "1.jpg"], [0, 0], min_images_per_place=2)


def test_a_file_of_two_places_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="x: 1.jpg belongs to two places, and so would be a negative of itself"):
        group_by_place("x", tmp_path, ["1.jpg", "2.jpg", "1.jpg"], ["a", "a", "b"])
