"""Options of the kernels, the processes in which notebooks run."""

from pathlib import Path

c = get_config()  # noqa: F821

# At the memory limit a kernel ends, and not the server.
Path("/proc/self/oom_score_adj").write_text("1000")
# Or papermill's kernels warn of connections that never leave the container.
c.IPKernelApp.log_level = "ERROR"
