"""kubernetes.yml: every key is one of the chart's, and the image runs as the chart starts it."""

import pytest
import yaml
from support.project import wait_until

# Of dask/helm-chart at e25bf51 (June 2026): keys that the templates read or hand on as they are.
POD = {"image.repository", "image.tag", "image.pullPolicy", "env", "resources", "securityContext",
       "readinessProbe", "livenessProbe"}  # fmt: skip
CHART = {
    "scheduler": POD | {"replicas", "extraArgs", "serviceType", "servicePort",
                        "serviceAccountName"},
    "worker": POD | {"image.dask_worker", "replicas", "extraArgs", "mounts", "portDashboard"},
    "jupyter": POD | {"command", "args", "mounts", "password", "rbac", "serviceAccountName",
                      "serviceType", "servicePort", "extraConfig"},
}  # fmt: skip


@pytest.fixture(scope="module")
def values(bake) -> dict:
    """The values of a generated project."""
    return yaml.safe_load((bake(cluster="dask").path / "kubernetes.yml").read_text())


def test_kubernetes_keys_are_those_of_the_chart(values):
    assert values.keys() == CHART.keys()
    for part, content in values.items():
        keys = set(content) - {"image"} | {f"image.{key}" for key in content["image"]}
        assert keys <= CHART[part], part
    for part in values:  # what all have, none may lack
        assert values[part]["securityContext"] == values["worker"]["securityContext"], part
        assert values[part]["env"][:3] == values["worker"]["env"][:3], part
    kept = values["jupyter"]["mounts"]
    assert kept["volumeMounts"] == [{"name": "work", "mountPath": "/data/notebook/work"}]
    assert [volume["name"] for volume in kept["volumes"]] == ["work"]
    assert values["jupyter"]["password"] == "", "everybody knows the password of the chart"


@pytest.mark.engine
def test_kubernetes_image_runs_as_the_chart_starts_it(new_project, values, tmp_path):
    """As a user who may change nothing, with the arguments of the chart's templates, encrypted."""
    project = new_project(cluster="dask")
    project.compose("build", "notebook")
    user = values["worker"]["securityContext"]
    assert user["runAsNonRoot"] and user["runAsUser"] == user["runAsGroup"] == user["fsGroup"]
    pem = tmp_path / "tls.pem"
    project.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-noenc", "-subj", "/CN=cluster", "-keyout", pem, "-out", pem)  # fmt: skip
    secrets = {"token": "a1b2c3", "tls": pem.read_text()}
    # What the chart mounts into the notebook, with its way of setting the password.
    (tmp_path / "config").mkdir()
    (tmp_path / "config/jupyter_notebook_config.py").write_text(
        f"c = get_config()\nc.NotebookApp.password = '{values['jupyter']['password']}'\n"
    )
    tmp_path.chmod(0o755)
    memory, cpu = (values["worker"]["resources"]["limits"][key] for key in ("memory", "cpu"))
    network = project.slug

    def start(part: str, *args: str) -> None:
        env = {"DASK_SCHEDULER_ADDRESS": "scheduler:8786"} if part == "jupyter" else {}
        for variable in values[part]["env"]:
            source = variable.get("valueFrom", {}).get("secretKeyRef")
            env[variable["name"]] = secrets[source["key"]] if source else variable["value"]
        project.run(
            "docker", "run", "--detach", f"--name={network}-{part}", f"--network={network}",
            f"--network-alias={part}", f"--user={user['runAsUser']}:{user['runAsGroup']}",
            "--cap-drop=ALL", "--security-opt=no-new-privileges", "--restart=always",
            f"--volume={tmp_path}/config:/usr/local/etc/jupyter:ro",
            *(f"--env={name}" for name in env), project.slug, *args, **env,
        )  # fmt: skip

    def python(script: str) -> str:
        inside = ("docker", "exec", f"{network}-jupyter", "python", "-c", script)
        return project.run(*inside, check=False).stdout

    project.run("docker", "network", "create", network)
    try:
        start("scheduler", "dask", "scheduler", "--port=8786", "--dashboard-address=:8787")
        start("worker", "dask", "worker", "scheduler:8786", "--nthreads", str(cpu),
              "--memory-limit", memory, "--no-dashboard",
              "--dashboard-address", "8790")  # fmt: skip
        start("jupyter")
        script = (
            "from distributed import Client\n"
            "with Client(timeout=60) as c:\n"
            "    c.wait_for_workers(1, 60); print(c.submit(sum, [1, 2]).result())\n"
            "    ((name, worker),) = c.scheduler_info()['workers'].items()\n"
            "    print(name, worker['memory_limit'], c.dashboard_link)"
        )
        # Fails while the scheduler starts.
        said = wait_until(lambda: python(script), 120, "a worker is there")
        three, worker, limit, dashboard = said.split()
        assert (three, worker[:6], limit) == ("3", "tls://", str(4 << 30))
        assert dashboard == "http://127.0.0.1:8787/status"  # where kubectl brings it
        for part in ("scheduler", "jupyter"):
            probe = values[part]["readinessProbe"]["httpGet"]
            url = f"http://{part}:{probe['port']}{probe['path']}"
            get = f"import urllib.request as u; print(u.urlopen('{url}').status)"
            wait_until(lambda get=get: python(get), 30, url)
        login = (
            "import urllib.request as u, urllib.error as e\n"
            "for token in ('a1b2c3', ''):\n"
            "    try: print(u.urlopen('http://jupyter:8888/api/contents?token=' + token).status)\n"
            "    except e.HTTPError as error: print(error.code)"
        )
        assert python(login).split() == ["200", "403"]
    finally:
        for part in values:
            project.run("docker", "rm", "--force", "--volumes", f"{network}-{part}", check=False)
        project.run("docker", "network", "rm", network)
