"""The studio: built by ``build``, served by ``launch``. Neither torch nor a model is loaded."""

from __future__ import annotations

import ipaddress
import os
import socket
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
from actfocus_studio.data.view import View
from actfocus_studio.jobs.experiments import Experiments
from actfocus_studio.jobs.rollouts import Rollouts
from actfocus_studio.jobs.signals import Signals
from actfocus_studio.pages.compare import page as compare
from actfocus_studio.pages.groups import page as groups
from actfocus_studio.pages.learn import page as learn
from actfocus_studio.pages.trace import page as trace
from actfocus_studio.pages.train import page as train
from actfocus_studio.pages.tune import page as tune
from actfocus_studio.panels.import_export.job import ImportExport
from actfocus_studio.panels.import_export.panel import import_export_panel
from actfocus_studio.panels.whatif.panel import whatif_panel
from actfocus_studio.server import static, uploads
from actfocus_studio.server.gradio_fit import slow_queue, switched_off
from actfocus_studio.server.security import guarded
from actfocus_studio.shell.components import TopBar
from actfocus_studio.shell.controls import method_controls
from actfocus_studio.shell.rollout_form import rollout_form
from actfocus_studio.shell.studio import Studio
from actfocus_studio.theme import studio_theme

PAGES = (trace, compare, groups, tune, train, learn)
"""The tabs, in their order. A page has NAME, TITLE and ``build(studio)``."""
SELECTED = "() => {{ if (window.ActFocus) ActFocus.store.tab('{}'); }}"
"""The tab of the address is selected before the studio's script is there, which reads it by itself."""


def build(
    runs: Sequence[Path] = (),
    runs_dir: Path = Path("runs"),
    tokenizers: Sequence[str] = (),
    lessons: Sequence[Path] = (),
    read_only: bool = False,
) -> gr.Blocks:
    """The studio's page over these runs, the baked ones and those in ``runs_dir``.

    ``tokenizers``: those a page may choose for what it imports, besides the product's own.
    ``lessons``: files of lessons besides our own. Raises ActFocusError for the first that is not right.
    ``read_only``: nothing is trained, rolled out, scored, imported or exported from the page.
    """
    catalog = Catalog(list(runs), runs_dir)
    with gr.Blocks(title="ActFocus Studio", analytics_enabled=False, fill_width=True) as demo:
        TopBar()
        with gr.Sidebar(width=292, elem_id="af-sidebar"):
            controls = method_controls()
            if not read_only:
                rollout_form(demo, Rollouts(runs_dir))
        if not read_only:
            import_export_panel(ImportExport(catalog, tokenizers))
        studio = Studio(
            demo,
            catalog,
            controls,
            Experiments(runs_dir, read_only),
            signals=Signals(read_only),
            lessons=lessons,
            read_only=read_only,
        )
        whatif_panel(studio)
        with gr.Tabs(elem_id="af-tabs") as tabs:
            for page in PAGES:
                with gr.Tab(page.TITLE, id=page.NAME, render_children=True) as tab:
                    page.build(studio)
                tab.select(None, None, None, js=SELECTED.format(page.NAME))
        demo.load(_tab, None, [tabs], queue=False, show_progress="hidden", api_visibility="private")
    threading.Thread(target=_warm, args=[studio], daemon=True).start()
    return demo


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
) -> None:
    """Serve the studio until it is interrupted.

    Any other host than this machine's own demands ``auth``. Raises ActFocusError for that, and
    where the port is taken.
    """
    if not is_loopback(host) and auth is None:
        raise ActFocusError(f"host {host}: others could reach the studio there; give --auth USER:PASSWORD as well")
    demo = serve(build(runs, runs_dir, tokenizers, lessons, read_only), host, port, auth, open_browser)
    print(f"ActFocus Studio: {demo.local_url}  (Ctrl-C ends it)", flush=True)
    demo.block_thread()


def serve(
    demo: gr.Blocks,
    host: str = "127.0.0.1",
    port: int = 0,
    auth: tuple[str, str] | None = None,
    open_browser: bool = False,
) -> gr.Blocks:
    """Start the hardened server and return at once; port 0 takes a free one."""
    hosts = ["127.0.0.1", "localhost", "[::1]", host] if is_loopback(host) else ["*"]
    slow_queue(demo)
    try:
        demo.launch(
            server_name=host,
            server_port=port or _free_port(host),
            inbrowser=open_browser,
            auth=auth,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            show_error=False,
            max_file_size="1mb",
            allowed_paths=[],
            footer_links=[],
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            state_session_capacity=100,
            theme=studio_theme(),
            css=static.styles(),
            app_kwargs={
                "openapi_url": None,
                "docs_url": None,
                "redoc_url": None,
                "lifespan": guarded(hosts),
                "routes": [*static.routes(), *uploads.routes()],
            },
            **switched_off(demo.launch),
        )
    except OSError:
        raise ActFocusError(f"port {port} of {host} is taken or not allowed; choose another one with --port") from None
    return demo


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tab(request: gr.Request) -> gr.Tabs:
    """The tab that the address asks for; a lesson begins on its own, and goes on to the others."""
    view = View.parse(dict(request.query_params))
    return gr.Tabs(selected="learn" if view.lesson else view.tab)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def _warm(studio: Studio) -> None:
    """Read the first run's batch before somebody asks for it."""
    try:
        run = studio.catalog.open(studio.catalog.default())
        place, _ = locate(run, View())
        studio.batches.get(run, place.step, next(iter(run.references(place.step)), None))
    except ActFocusError:
        # The page that opens this run says what is wrong with it.
        return
