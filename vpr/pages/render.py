"""Render a page from its template, with the stylesheet and the scripts inside, so that it needs no other file."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from vpr.terminal import readable

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **data: Any) -> str:
    """Return a whole page.

    Args:
        template: name of a file in `templates/`, without `.html.j2`: `matches`, `comparison` or `places`.
        data: plain values and the callers' dataclasses. Any string may come from a user: it is made readable and
            escaped, in text and in attributes. A name that the template asks for and that is missing is an error.
    """
    return _environment().get_template(f"{template}.html.j2").render(**data)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # for those who write pages alone

    def static(name: str) -> str:
        return (resources.files("vpr.pages") / "static" / name).read_text("utf-8")

    def finalize(value: Any) -> Any:
        return readable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value

    environment = Environment(
        loader=PackageLoader("vpr.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["static"] = static
    return environment
