"""Whatever is typed as the slug, one valid folder comes of it, inside the folder of the command."""

import json

import pytest
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from support.answers import DEFAULTS
from support.project import ROOT


def slug_of(**answers):
    """Return the slug that cookiecutter hands on to the template."""
    context = generate_context(str(ROOT / "cookiecutter.json"), extra_context=answers)
    return prompt_for_config(context, no_input=True)["project_slug"]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My ML Project", "my-ml-project"), ("Größe & Übung", "grosse-ubung"),
        ("!!!", "my-ml-project"), ("🚗🚗", "my-ml-project"), ("../..", "my-ml-project"),
        ("机器学习 项目", "ji-qi-xue-xi-xiang-mu"), ("Con", "con-project"),
        ("x" * 300, "x" * 50), ("x" * 49 + " y", "x" * 49),
    ],
)  # fmt: skip
def test_slug_follows_from_the_name(name, slug):
    assert slug_of(project_name=name) == slug


@pytest.mark.parametrize(
    ("typed", "slug"),
    [
        ("My Slug!", "my-slug"), ("a_b", "a-b"), ("a--b", "a-b"), ("-a-", "a"), ("É'a", "e-a"),
        ("../../x", "x"), ("a/b", "a-b"), ("C:\\x", "c-x"), ("/etc/passwd", "etc-passwd"),
        ("x" * 300, "x" * 50), ("项目", "xiang-mu"), ("🚗", "my-ml-project"), ("123", "123"),
        ("", "my-ml-project"), (" ", "my-ml-project"), ("-", "my-ml-project"),
        (".", "my-ml-project"), ("..", "my-ml-project"), ("\0", "my-ml-project"),
        ("a\0b", "a-b"), ("a\nb", "a-b"), ("١", "1"), (None, "none"), (123, "123"),
        ("con", "con-project"), ("NUL", "nul-project"), ("com1", "com1-project"),
        ("lpt9", "lpt9-project"), ("aux.", "aux-project"), ("com¹", "com1-project"),
        ("nul.txt", "nul-txt"), ("con-air", "con-air"), ("comb", "comb"), ("{{ 1+1 }}", "2"),
    ],
)  # fmt: skip
def test_slug_is_made_of_whatever_is_typed(typed, slug):
    assert slug_of(project_slug=typed) == slug


@pytest.mark.parametrize("typed", ["../../x", ".."])
def test_slug_becomes_one_folder_that_the_last_message_names_with_cruft(commands, template, typed):
    """The other routes are in test_answers.py."""
    answers = json.dumps({"project_slug": typed})
    create = ("create", "-y", "--extra-context", answers, "--checkout", "now", str(template))
    done = commands("cruft", *create)
    slug = slug_of(project_slug=typed)
    assert done.exit_code == 0, done.output
    assert commands.made() == [slug]
    assert f"in the folder {slug}." in done.stdout and f"cd {slug}\n" in done.stdout
    assert (commands.folder / slug / "README.md").is_file()


@pytest.mark.parametrize("slug", ["../../x", "..", ".", "", "a b", "{{ 1+1 }}", "x" * 300, "a\0b"])
@pytest.mark.parametrize("more", [(), ("-f",)])
def test_slug_written_into_saved_answers_by_hand_is_refused(commands, slug, more):
    """Nothing can change it there; what lies where it leads stays as it was."""
    (commands.folder / "mine").write_text("mine")
    done = commands(*more, *commands.save(DEFAULTS | {"project_slug": slug}))
    assert done.exit_code == 1
    if slug in ("../../x", "a b", "{{ 1+1 }}") or more and slug in ("..", ".", ""):
        assert done.stderr.startswith(f"project_slug: not {slug!r}. Type a-z"), done.stderr
    assert commands.made() == ["mine"]


def test_slug_of_saved_answers_without_any_more_is_taken(commands):
    """As another version of the template saved them, or a person wrote them."""
    done = commands(*commands.save(DEFAULTS | {"project_slug": "good", "__old": "x"}))
    assert done.exit_code == 0, done.output
    assert commands.made() == ["good"]
