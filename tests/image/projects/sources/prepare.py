from pathlib import Path

from support.packages import write_repository, write_wheel

write_wheel(Path("wheels"), "from-wheels", "2.0")
write_wheel(Path("vendor"), "from-file", "3.0")
write_repository(Path("repository"), "from_folder")
# Not a module, but a template of one, which Python cannot compile.
template = Path("package/packaged/templates/module.py")
template.parent.mkdir()
template.write_text("def {{ name }}(): ...\n")
