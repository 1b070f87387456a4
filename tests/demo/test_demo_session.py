"""A session writes its answers, shows as many as it should, and says what it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpr.demo.answers import Answer, Query
from vpr.demo.app import Session, table
from vpr.demo.database import photos
from vpr.errors import DataError
from vpr.pages.screen import Screen
from vpr.retrieval.index.place_index import PlaceIndex


@pytest.fixture
def session(take, tmp_path: Path, colours) -> Session:
    """Three photos in the index, two queries in the page."""
    for view in range(3):
        take(f"map/{view}.jpg", view)
    index, _ = PlaceIndex.build(tmp_path / "index", photos(tmp_path / "map"), colours, colours.dim, "m" * 64)
    return Session(index, colours, 2, tmp_path / "out", "title", {}, {}, shown=2)


@pytest.fixture
def asked(take) -> list[Query]:
    return [Query(path.name, path) for path in (take(f"new/{view}.jpg", view, noise=1) for view in range(3))]


def test_strips_of_the_queries_in_the_page(session: Session, asked: list[Query]) -> None:
    session.write(session.ask(asked))
    assert sorted(path.name for path in (session.out / "strips").iterdir()) == ["0.jpg", "1.jpg"]
    assert "Page and strips show 2 of them (page_queries)." in session.message(1)
    (session.out / "strips/1.jpg").unlink()
    session.newest_first = True
    session.write(session.ask(asked[:1]))  # the last two are those of 2.jpg and 0.jpg; of the new ones, 0.jpg
    assert sorted(path.name for path in (session.out / "strips").iterdir()) == ["0.jpg"]


def test_a_folder_that_cannot_be_written(session: Session, asked: list[Query]) -> None:
    session.out.write_text("a file")
    with pytest.raises(DataError, match=r"Answers cannot be written to out=.*out \("):
        session.write(session.ask(asked))


def test_names_that_are_no_text_are_printed(tmp_path: Path) -> None:
    name = b"a\xff.jpg".decode("utf-8", "surrogateescape")
    with open(tmp_path / "screen", "w", encoding="utf-8") as file:
        Screen(file=file, width=80).print(table([Answer(Query(name, tmp_path), error=f"{name} is no photo.")]))
    assert "a?.jpg is no photo." in (tmp_path / "screen").read_text()
