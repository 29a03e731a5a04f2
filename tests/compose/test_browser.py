"""The page, as a person uses it: headless Chromium on the printed address."""

import shutil

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright
from support.project import Project, is_processed, missing, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.browser]

NOT_OURS = (
    # What Notebook 7.6 writes to the browser's console in any installation.
    "Cannot read properties of undefined (reading 'schema')",
    "Cannot read properties of null (reading 'updateRenderOption')",
)
expect.set_options(timeout=30_000)
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, or another one on the path."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        missing("browser", "neither chromium nor google-chrome is on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def notebook_7(new_project) -> Project:
    """A running project whose interface is Notebook 7."""
    project = new_project(interface="notebook")
    project.compose("up", "--detach", "--wait", "--build", "notebook")
    return project


def fetch(route: Route) -> None:
    """Load what belongs to a page by Playwright's own client.

    Chromium gives up all that it loads when a network interface comes or goes, as with each
    container of another test, and does not ask again for a script.
    """
    if route.request.resource_type == "document":
        route.continue_()
    else:
        route.fulfill(response=route.fetch())


@pytest.fixture
def page(browser, tmp_path):
    """A fresh page that remembers what the browser's console complained about."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.context.route("**/*", fetch)
    page.complaints, page.sockets = [], []
    page.on("websocket", lambda socket: page.sockets.append(socket.url))
    page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(f"{error} {error.stack}"))
    page.set_default_timeout(60_000)
    yield page
    page.screenshot(path=tmp_path / "end.png")
    page.close()


def open_notebook(page: Page, url: str, name: str = "process_cars.ipynb") -> Page:
    """Open the address, double-click a notebook, wait for the kernel; return its page."""
    page.goto(url)
    item = page.locator(".jp-DirListing-item", has_text=name)
    item.wait_for()
    document = page
    if "/lab" in page.url:
        item.dblclick()
    else:  # Notebook 7 opens another page
        with page.expect_popup() as popup:
            item.dblclick()
        document = popup.value
        document.complaints, document.sockets = page.complaints, []
        document.on("websocket", lambda socket: document.sockets.append(socket.url))
    while not any("/api/kernels/" in url for url in document.sockets):
        document.wait_for_event("websocket")
    expect(document.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible()
    return document


def run_all(page: Page) -> None:
    """Choose Run > Run All Cells and wait until all of it is done."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    last = page.locator(".jp-CodeCell").last
    expect(last.locator(".jp-InputPrompt")).to_have_text("[*]:", timeout=10_000)
    expect(page.locator(".jp-InputPrompt", has_text="[*]:")).to_have_count(0, timeout=120_000)


def no_complaints(page: Page) -> None:
    assert [c for c in page.complaints if not c.startswith(NOT_OURS)] == []


def checks_after_the_run(page: Page, project) -> None:
    # The page draws those of the four plots that are near what is on the screen.
    assert page.locator(".jp-RenderedImage img").count() >= 2
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert is_processed(project.data)
    no_complaints(page)


def test_browser_greets_a_first_time_user_and_runs_the_notebook_in_the_lab(running, page, tmp_path):
    """With the launcher alone: no question whether news may be fetched, no message of an error."""
    log = running.logs()
    (running.data / "processed.csv").unlink(missing_ok=True)
    page.goto(running.printed_url())
    expect(page.locator(".jp-Launcher-body")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    assert page.get_by_text("news").count() == 0
    no_complaints(page)

    open_notebook(page, running.printed_url())
    assert "/lab" in page.url
    run_all(page)
    expect(page.locator(".jp-DirListing-item", has_text="processed.csv")).to_be_visible()
    page.screenshot(path=tmp_path / "lab.png")
    checks_after_the_run(page, running)
    assert running.logs() == log


def test_browser_runs_the_notebook_in_notebook_7(notebook_7, page, tmp_path):
    document = open_notebook(page, notebook_7.printed_url())
    assert "/tree" in page.url and "/lab" not in page.url
    expect(page.locator(".jp-DirListing-item", has_text="cars_sampled.csv")).to_be_visible()
    run_all(document)
    document.screenshot(path=tmp_path / "notebook.png")
    checks_after_the_run(document, notebook_7)


@pytest.mark.parametrize("interface", ["running", "notebook_7"])
def test_browser_draws_widgets_and_shows_what_was_saved_after_a_restart(
    interface, request, clone, page
):
    project = clone(request.getfixturevalue(interface))
    mine, name = "mine = 'Größe'", "widgets.ipynb"
    project.notebook(
        name,
        "from tqdm.notebook import tqdm\nfor _ in tqdm(range(3)): pass",
        "import ipywidgets\nipywidgets.IntSlider(7)",
    )
    document = open_notebook(page, project.start(), name)
    run_all(document)
    expect(document.locator(".widget-hprogress")).to_be_visible()
    expect(document.get_by_text("3/3")).to_be_visible()
    expect(document.locator(".widget-slider .widget-readout")).to_have_text("7")
    cell = document.locator(".jp-CodeCell .cm-content").first
    cell.click()
    cell.press("Control+End")
    document.keyboard.type(f"\n{mine}")

    def saved() -> bool:
        document.keyboard.press("Control+s")
        document.wait_for_timeout(300)
        return mine in (project.data / name).read_text(encoding="utf-8")

    wait_until(saved, 30, "the notebook saved")
    no_complaints(page)
    for tab in page.context.pages:  # or they complain when the restart cuts the connection
        tab.goto("about:blank")
    page.complaints.clear()  # of requests that leaving the page has cut off

    project.compose("restart", "notebook")
    document = open_notebook(page, project.printed_url(starts=2), name)
    expect(document.locator(".jp-CodeCell .cm-content").first).to_contain_text(mine)
    no_complaints(document)
