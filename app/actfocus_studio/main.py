"""The studio: built by ``build``, served by ``launch``. Neither torch nor a model is loaded."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

# Before gradio is imported: it asks no address outside this machine, and keeps no statistics.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000")

import gradio as gr

from actfocus_core.errors import ActFocusError
from actfocus_studio.data.catalog import Catalog, locate
from actfocus_studio.data.listings import Listings
from actfocus_studio.data.trash import Trash
from actfocus_studio.data.view import TABS, View
from actfocus_studio.jobs.experiments import Experiments
from actfocus_studio.jobs.lists import Lists
from actfocus_studio.jobs.rollouts import Rollouts
from actfocus_studio.jobs.signals import Signals
from actfocus_studio.pages.compare import api as compare_api
from actfocus_studio.pages.compare import page as compare
from actfocus_studio.pages.groups import api as groups_api
from actfocus_studio.pages.groups import page as groups
from actfocus_studio.pages.learn import api as learn_api
from actfocus_studio.pages.learn import page as learn
from actfocus_studio.pages.rollouts import api as rollouts_api
from actfocus_studio.pages.rollouts import page as rollouts
from actfocus_studio.pages.trace import api as trace_api
from actfocus_studio.pages.trace import page as trace
from actfocus_studio.pages.train import api as train_api
from actfocus_studio.pages.train import page as train
from actfocus_studio.pages.tune import api as tune_api
from actfocus_studio.pages.tune import page as tune
from actfocus_studio.panels.import_export import api as import_export_api
from actfocus_studio.panels.import_export import panel as import_export
from actfocus_studio.panels.import_export.job import ImportExport
from actfocus_studio.panels.runs import api as runs_api
from actfocus_studio.panels.scoring import api as scoring_api
from actfocus_studio.panels.scoring import panel as scoring
from actfocus_studio.panels.whatif import api as whatif_api
from actfocus_studio.panels.whatif import panel as whatif
from actfocus_studio.server.serving import Server, Site, is_loopback, open_in_browser
from actfocus_studio.shell.components import ClientHTML, Setter, report
from actfocus_studio.shell.controls import method_controls
from actfocus_studio.shell.rollout_form import rollout_form
from actfocus_studio.shell.studio import LATEST, PRIVATE, Studio
from actfocus_studio.theme import studio_theme

PAGES = (trace, rollouts, compare, groups, tune, train, learn)
"""The tabs, in their order. A page has NAME, TITLE, ``build(studio)`` for its part of the page, and ``api(studio)``."""


def build(
    runs: Sequence[Path] = (),
    runs_dir: Path = Path("runs"),
    tokenizers: Sequence[str] = (),
    lessons: Sequence[Path] = (),
    read_only: bool = False,
    waiting: Sequence[Path] = (),
) -> Site:
    """The studio over these runs, the baked ones and those in ``runs_dir``.

    ``tokenizers``: those a page may choose for what it imports, besides the product's own.
    ``lessons``: files of lessons besides our own. Raises ActFocusError for the first that is not right.
    ``read_only``: nothing is trained, rolled out, scored, imported or exported from the page.
    ``waiting``: files of rollouts whose import the page asks about.
    """
    studio = Studio(
        Catalog(list(runs), runs_dir),
        Experiments(runs_dir, read_only),
        signals=Signals(runs_dir, read_only),
        lists=Lists(Listings(), read_only),
        lessons=lessons,
        read_only=read_only,
    )
    apis = (
        trace_api,
        rollouts_api,
        compare_api,
        groups_api,
        tune_api,
        train_api,
        learn_api,
        whatif_api,
        scoring_api,
    )
    routers = [api.api(studio) for api in apis]
    exchange = None if read_only else ImportExport(studio.catalog, studio.lists.listings, tokenizers)
    if exchange:
        exchange.wait_for(waiting)
        routers.append(import_export_api.api(exchange))
    jobs = [studio.signals, studio.whatif, *([exchange] if exchange else [])]
    routers.append(runs_api.api(studio, jobs))
    threading.Thread(target=_warm, args=[studio], daemon=True).start()
    return Site(_page(studio, exchange), routers)


def _page(studio: Studio, exchange: ImportExport | None) -> gr.Blocks:
    """Gradio's page: the header, the sidebar, the panels and the tabs."""
    with gr.Blocks(title="ActFocus Studio", analytics_enabled=False, fill_width=True) as page:
        ClientHTML("shell/top_bar.js", elem_id="af-topbar")
        with gr.Sidebar(width=292, elem_id="af-sidebar") as sidebar:
            method_controls()
            if not studio.read_only:
                rollout_form(page, Rollouts(studio.catalog.runs_dir))
        if exchange:
            import_export.build()
            scoring.build()
        whatif.build()
        learn.build_panel()
        with gr.Tabs(elem_id="af-tabs") as tabs:
            for part in PAGES:
                with gr.Tab(part.TITLE, id=part.NAME, render_children=True) as tab:
                    part.build(studio)
                tab.select(None, None, None, js=report("tab", f"'{part.NAME}'"))
        tab_setter, sidebar_setter = Setter("tab"), Setter("sidebar")
        tab_setter.send(_selected, [tab_setter], [tabs], **LATEST)
        sidebar_setter.send(lambda: gr.Sidebar(open=False), None, [sidebar], **PRIVATE)
        page.load(_tab, None, [tabs], **PRIVATE)
    return page


def launch(
    runs: Sequence[Path],
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = True,
    auth: tuple[str, str] | None = None,
    runs_dir: Path = Path("runs"),
    tokenizers: Sequence[str] = (),
    lessons: Sequence[Path] = (),
    read_only: bool = False,
    waiting: Sequence[Path] = (),
) -> None:
    """Serve the studio until it is interrupted.

    Any other host than this machine's own demands ``auth``. Raises ActFocusError for that, and
    where the port is taken.
    """
    if not is_loopback(host) and auth is None:
        raise ActFocusError(f"host {host}: others could reach the studio there; give --auth USER:PASSWORD as well")
    server = serve(build(runs, runs_dir, tokenizers, lessons, read_only, waiting), host, port, auth)
    print(f"ActFocus Studio: {server.local_url}  (Ctrl-C ends it)", flush=True)
    if open_browser:
        open_in_browser(server.local_url)
    server.wait()


def serve(site: Site, host: str = "127.0.0.1", port: int = 0, auth: tuple[str, str] | None = None) -> Server:
    """Start the hardened server and return at once; port 0 takes a free one."""
    return Server(site.app(studio_theme()), host, port, auth)


def _selected(text: object) -> gr.Tabs:
    """The tab that the script asks for: its name, as JSON."""
    return next((gr.Tabs(selected=name) for name in TABS if text == f'"{name}"'), gr.skip())


def _tab(request: gr.Request) -> gr.Tabs:
    """The tab that the address asks for; a lesson begins on its own, and goes on to the others.

    The first tab is selected from the beginning: to select it again would undo a click made before this answer.
    """
    view = View.parse(dict(request.query_params))
    name = "learn" if view.lesson else view.tab
    return gr.skip() if name == TABS[0] else gr.Tabs(selected=name)


def _warm(studio: Studio) -> None:
    """Remove what was deleted long ago, and read the first run's batch before somebody asks for it."""
    try:
        if not studio.read_only:
            Trash(studio.catalog.runs_dir).expire()
        run = studio.catalog.open(studio.catalog.default())
        place, _ = locate(run, View())
        studio.batches.get(run, place.step, next(iter(run.references(place.step)), None))
    except ActFocusError:
        # The page that opens this run says what is wrong with it.
        return
