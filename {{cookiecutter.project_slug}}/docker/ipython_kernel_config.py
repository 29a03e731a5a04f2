"""Options of the kernels, the processes in which notebooks run."""

c = get_config()  # noqa: F821

# At the memory limit a kernel ends, and not the server.
open("/proc/self/oom_score_adj", "w").write("1000")
# Or papermill's kernels warn of connections that never leave the container.
c.IPKernelApp.log_level = "ERROR"
