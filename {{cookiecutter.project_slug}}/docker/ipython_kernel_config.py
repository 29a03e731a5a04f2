"""Options of the kernels, the processes in which notebooks run."""

import site
from pathlib import Path

c = get_config()  # noqa: F821

# At the memory limit a kernel ends, and not the server.
Path("/proc/self/oom_score_adj").write_text("1000")
# Or papermill's kernels warn of connections that never leave the container.
c.IPKernelApp.log_level = "ERROR"
# What %pip install adds lies here. Python looks into it only if it is there from the start.
Path(site.getusersitepackages()).mkdir(parents=True, exist_ok=True)
site.addsitedir(site.getusersitepackages())
