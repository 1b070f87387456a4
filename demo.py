"""Find the places of photos: the most similar photos of a database, on one page.

python demo.py ckpt=runs/demo/best.ckpt database=photos/map query=photos/new
python demo.py ckpt=x.ckpt database=photos/map query=clip.mp4 positions=map.csv calibrate=toycity --open
python demo.py ckpt=x.ckpt database=photos/map query=photos/inbox watch=true (until Ctrl-C)
python demo.py ckpt=x.ckpt database=photos/map query=photos/new rerank=local (the first 20 by local features)
"""

from __future__ import annotations

import sys
import time
import webbrowser
from pathlib import Path

from omegaconf import DictConfig

from vpr.cli.app import app


@app(config_name="demo")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from vpr.demo import queries
    from vpr.demo.app import begin, table
    from vpr.errors import DataError
    from vpr.pages.screen import Screen

    start, console, query, out = time.perf_counter(), Screen(), Path(cfg.query), Path(cfg.out)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    queries.check_query(query, watched=cfg.watch)
    queries.check_outside(out, query=query, database=Path(cfg.database).expanduser())
    seen = queries.stamps(query) if cfg.watch else {}
    photos = queries.photos(query, seen) if cfg.watch else queries.find(query, out / "frames", cfg.every)
    codec = instantiate(cfg.index.kind)
    rerank = instantiate(cfg.rerank) if cfg.rerank else None
    session = begin(OmegaConf.to_container(cfg, resolve=True), codec, say, rerank)  # type: ignore[arg-type]

    answers = session.ask(photos)
    session.write(answers)
    if answers:
        console.print(table(answers))
    say(session.message(time.perf_counter() - start))
    if cfg.open and not webbrowser.open(session.page.absolute().as_uri()):
        say("No browser could be started here: open the page by hand.")
    if not cfg.watch:
        session.check_answered()
        return

    say(f"New photos in {query} are answered as they come. Ctrl-C ends this.")
    try:
        for names in queries.new_files(query, seen):
            try:
                answers = session.ask(queries.photos(query, names))
                session.write(answers)
                console.print(table(answers))
            except DataError as error:
                say(f"{error} The watch goes on.")
    except KeyboardInterrupt:
        say(f"Photos answered: {len(session.answers):,}. The page is {session.page}")


if __name__ == "__main__":
    sys.argv = ["open=true" if argument == "--open" else argument for argument in sys.argv]
    main()
