"""`methods` and `models`: what can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.screen import print_wide, say
from benchmark.files import write_error


def methods(
    name: Annotated[str | None, typer.Argument(help="Method whose card to show.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.md", help="Write a page of all methods and the pairs that they support."
        ),
    ] = None,
) -> None:
    """List the distillation methods, or show one: paper, formula, settings, search space."""
    from benchmark.cli import method_cards
    from benchmark.plugins.loading import load_installed

    load_installed()
    if page is None:
        print_wide(method_cards.overview() if name is None else method_cards.card(name))
        return
    if name is not None:
        raise typer.BadParameter("the page lists all methods; omit NAME", param_hint="--page")

    from benchmark.cli import methods_page

    try:
        page.write_text(methods_page.page(say), encoding="utf-8")
    except OSError as error:
        raise write_error(page, error) from None


def models(
    pattern: Annotated[str, typer.Argument(help="Part of a model's name, or a pattern with *.")],
    size: Annotated[int, typer.Option(min=8, help="Height and width of the images.")] = 32,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 100,
) -> None:
    """List the models whose name matches: parameters, MACs, and what methods can tap."""
    from benchmark.cli import model_list
    from benchmark.plugins.loading import load_installed

    load_installed()
    print_wide(model_list.table(model_list.models(pattern, (3, size, size), classes)))
