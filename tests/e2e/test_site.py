"""site.yml from nothing to posts in the viewer, again, changed, and gone."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
import yaml
from support.molecule import ROLES
from support.processes import processes_mentioning
from support.site import COLLECTION, ROOT, Site, changed_tasks, recap

#: A way to all hosts that is none for ours.
ELSEWHERE = {
    "ansible_connection": "ssh",
    "ansible_host": "unreachable.example.invalid",
    "ansible_python_interpreter": "/opt/remote/bin/python9",
}
#: What the examples leave to the inventory, or what is another's in them.
GIVEN = {
    f"vault_x_{name}": name for name in ("api_key", "api_secret", "access_key", "access_secret")
} | {
    "gcp_cluster_project": "sandbox-project",
    "gcp_cluster_name": "sandbox",
    "knative_eventing_kubeconfig": "{{ kubeconfig }}",
    "twitter_pipeline_kubeconfig": "{{ kubeconfig }}",
    "twitter_pipeline_registry": "{{ sandbox_registry }}/streamops",
}


@dataclass
class Build:
    """A site and how it came about: what `--check` foresaw, what the run did, what was there before."""

    site: Site
    foreseen_without_cluster: str = ""
    foreseen: str = ""
    output: str = ""
    progress: str = ""
    before: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def installed(machine, collections):
    """The same sandbox for somebody who has no checkout: the collection, built and installed.

    In that folder no ansible.cfg leads to the checkout, so what the artifact lacks is missing here.
    """
    environment = machine.environment | {"ANSIBLE_COLLECTIONS_PATH": str(collections)}
    return Site(machine.home, environment, machine.variables, cwd=collections)


@pytest.fixture(scope="module")
def build(machine, installed):
    """The whole site on a cluster that was empty, run once: by the collection that was installed."""
    built = Build(machine)
    inventory = installed.cwd / COLLECTION / "inventories/sandbox"

    def play(name, *arguments):
        command = ("ansible-playbook", "-i", str(inventory), f"streamops.knative.{name}")
        return installed.run(*command, "-e", installed.variables, *arguments)

    built.foreseen_without_cluster = play("site", "--check", "--diff").stdout
    play("cluster")
    if shutil.which("kubectl"):
        built.before = machine.everything()
    built.foreseen = play("site", "--check", "--diff").stdout
    done = play("site")
    built.output, built.progress = done.stdout, done.stderr
    return built


@pytest.fixture(scope="module")
def site(build):
    """A sandbox with the whole site on it."""
    return build.site


def viewer_url(site):
    """Address of the viewer, as Knative says it, and the port of the gateway on this machine."""
    kubectl = ("kubectl", "-n", "streamops", "get")
    host = site.run(*kubectl, "ksvc", "event-viewer", "-o", "jsonpath={.status.url}").stdout
    gateway = site.run(
        "kubectl", "-n", "kourier-system", "get", "service", "kourier", "-o",
        "jsonpath={.spec.ports[?(@.port==80)].nodePort}",
    ).stdout  # fmt: skip
    return urlsplit(host).hostname, int(gateway)


def fetch(site, path):
    """GET from the viewer through Knative's gateway, as a browser would by *.localhost."""
    host, port = viewer_url(site)
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read().decode()


def posts_in_viewer(site):
    records = []
    cursor = ""
    while True:
        page = json.loads(fetch(site, f"/api/events?type=com.x.post&limit=100{cursor}"))
        records += page["events"]
        if not page["next"]:
            return records
        cursor = f"&cursor={page['next']}"


@pytest.mark.needs("kubectl")
def test_every_recorded_post_arrives_exactly_once_and_unchanged(site, posts):
    deadline = time.monotonic() + 200
    while len(records := posts_in_viewer(site)) < len(posts) and time.monotonic() < deadline:
        time.sleep(0.5)
    arrived = [record["event"] for record in records]
    assert sorted(event["id"] for event in arrived) == sorted(post["id"] for post in posts)
    texts = {event["id"]: event["data"]["text"] for event in arrived}
    for post in posts:
        assert texts[post["id"]].encode() == post["text"].encode()


@pytest.mark.needs("kubectl")
def test_kubectl_shows_what_the_blog_post_showed(site, posts):
    shown = site.run("kubectl", "get", "ksvc,sinkbinding,pods", "-A").stdout
    assert "service.serving.knative.dev/event-viewer" in shown
    assert "sinkbinding.sources.knative.dev/twitter" in shown
    pods = site.run("kubectl", "-n", "streamops", "get", "pods", "--no-headers").stdout
    assert pods
    assert all(line.split()[2] == "Running" for line in pods.splitlines())
    logs = site.run(
        "kubectl", "-n", "streamops", "logs", "-l", "app.kubernetes.io/name=event-viewer",
        "-c", "event-viewer", "--tail=-1",
    ).stdout  # fmt: skip
    assert logs.count("received event") >= len(posts)


def test_check_mode_foresees_a_cluster_that_is_not_there_yet(build):
    foreseen = build.foreseen_without_cluster
    assert "create cluster sandbox" in foreseen
    assert "create secret twitter-api-key" in foreseen
    assert "create all that is in it" in foreseen


def test_check_mode_on_an_empty_cluster_foresees_what_the_run_then_does(build):
    assert changed_tasks(build.foreseen) == changed_tasks(build.output)
    for output in (build.foreseen, build.output):
        changes = output.partition("PLAY [What exists now]")[2]
        assert "created Deployment streamops/twitter" in changes
        assert "create secret twitter-api-key" in changes


def test_the_summary_says_what_there_is_what_changed_and_what_to_do_next(build, site):
    summary = build.output.rpartition("PLAY [What exists now]")[2]
    for said in (
        "Viewer      http://event-viewer.streamops.localhost:",
        "Pipeline    streamops/twitter: Deployment -> SinkBinding -> viewer",
        "Versions    Kubernetes v",
        f"eventing {site.state['knative']['eventing']}",
        "/twitter-producer@sha256:",
        "Changed     ",
        "kubectl -n streamops get ksvc,sinkbinding,pods",
        "streamops.knative.teardown -e teardown_confirm=yes",
    ):
        assert said in summary


def test_the_summary_s_commands_are_right_where_it_runs(site, installed, tmp_path):
    shown = site.play("playbooks/summary.yml").stdout
    assert "Prove       ansible-playbook playbooks/verify.yml\n" in shown
    assert "Again       ansible-playbook site.yml (changed=0)\n" in shown
    (kube_context,) = yaml.safe_load((site.home / "kubeconfig").read_text())["contexts"]
    inventory = tmp_path / "two words"
    inventory.symlink_to(ROOT / "inventories/sandbox")
    elsewhere = Site(site.home, installed.environment | {"HOME": "/"}, cwd=tmp_path)
    shown = elsewhere.run(
        "ansible-playbook", "-i", str(inventory), "streamops.knative.summary",
        "-e", "target=sandbox", "-e", f"context={kube_context['name']}",
    ).stdout  # fmt: skip
    assert "ansible-playbook -i 'two words' -e target=sandbox streamops.knative.verify" in shown
    assert f"kubectl --context {kube_context['name']} -n streamops get " in shown


def test_long_waits_tell_where_they_are(build):
    """Also where the output is no terminal: here it is a pipe. Not among what a callback prints."""
    told = r"^\[sandbox\] \d+ s: \d+ of \d+ ready; waiting for "
    assert re.search(told, build.progress, re.M)
    assert not re.search(told, build.output, re.M)


@pytest.mark.needs("kubectl")
def test_demo_on_a_running_site_changes_nothing_and_says_where_to_look(site, workplace):
    """From a checkout what the installed collection has done is the same, too."""
    output = workplace.run("make", "demo", f"ARGS=-e '{site.variables}'").stdout
    counts = recap(output)
    assert counts
    assert all(host["changed"] == 0 and host["failed"] == 0 for host in counts.values())
    # A task costs a tenth of a second of processor time, also one that is skipped.
    assert all(host["ok"] + host["skipped"] <= 20 for host in counts.values()), counts
    host, port = viewer_url(site)
    end = output.rpartition("PLAY [What exists now]")[2]
    assert f"Viewer      http://{host}:{port}\n" in end
    assert re.search(r"Events      \d+ in the viewer\n", end)
    kubeconfig = site.home / "kubeconfig"
    assert f"Kubeconfig  {kubeconfig}\n" in end
    assert f"KUBECONFIG={kubeconfig} kubectl -n streamops get ksvc,sinkbinding,pods\n" in end


def test_one_step_alone_changes_nothing_either(site):
    only = site.play("site.yml", "--tags", "twitter_pipeline_deploy", "-e", site.variables).stdout
    assert "Deploy or remove the pipelines" in only
    assert "Send a probe" not in only
    assert recap(only)["sandbox"]["changed"] == 0


def test_check_mode_on_a_running_site_predicts_nothing(site):
    counts = recap(site.play("site.yml", "--check", "--diff", "-e", site.variables).stdout)
    assert all(host["changed"] == 0 and host["failed"] == 0 for host in counts.values())


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/pipeline.yml"])
def test_check_mode_works_when_the_kubeconfigs_token_has_expired(site, playbook):
    """It writes no file, so it uses a token of its own."""
    path = site.home / "kubeconfig"
    before = path.read_text()
    content = yaml.safe_load(before)
    for user in content["users"]:
        user["user"] = {"token": "expired"}
    try:
        path.write_text(yaml.safe_dump(content))
        output = site.play(playbook, "--check", "-e", site.variables).stdout
        assert yaml.safe_load(path.read_text()) == content
    finally:
        path.write_text(before)
    (host,) = recap(output).values()
    assert (host["changed"], host["failed"]) == (0, 0)


def test_check_mode_shows_exactly_the_change_that_the_run_then_makes(site):
    changed = json.dumps(json.loads(site.variables) | {"twitter_pipeline_interval": 31})
    arguments = ("playbooks/pipeline.yml", "--diff", "-e", changed)
    foreseen = site.play(*arguments, "--check").stdout
    assert "31" in foreseen
    done = site.play(*arguments).stdout
    for output in (foreseen, done):
        assert recap(output)["sandbox"]["changed"] == 1
    assert recap(site.play(*arguments).stdout)["sandbox"]["changed"] == 0
    site.play("playbooks/pipeline.yml", "-e", site.variables)


@pytest.mark.needs("kubectl")
def test_a_binding_deleted_by_hand_is_repaired(site):
    site.run("kubectl", "-n", "streamops", "delete", "sinkbinding", "twitter", "--wait")
    counts = recap(site.play("playbooks/pipeline.yml", "-e", site.variables).stdout)
    assert counts["sandbox"]["changed"] >= 1
    sink = site.run(
        "kubectl", "-n", "streamops", "get", "deployment", "twitter", "-o",
        "jsonpath={.spec.template.spec.containers[0].env[?(@.name=='K_SINK')].value}",
    ).stdout  # fmt: skip
    assert sink == "http://event-viewer.streamops.svc.cluster.local"


@pytest.mark.parametrize(
    "document",
    # That of event_driven needs a Broker and a project: its molecule scenario has them.
    [
        "docs/how-to/install.md",
        *(f"roles/{role}/README.md" for role in ROLES if role != "event_driven"),
    ],
)
def test_examples_run_as_written(site, tmp_path, document):
    """With hosts that are reached by SSH, not by anybody here; what is the sandbox's is given beside."""
    inventory = ROOT / "inventories/sandbox"
    (tmp_path / "others.yml").write_text(yaml.safe_dump({"all": {"vars": ELSEWHERE}}))
    (tmp_path / "given.yml").write_text(yaml.safe_dump(GIVEN | json.loads(site.variables)))
    examples = re.findall(
        r"^```yaml\n(- name: .*?)^```$", (ROOT / document).read_text(), re.M | re.S
    )
    assert examples
    for number, example in enumerate(examples):
        playbook = tmp_path / f"example{number}.yml"
        playbook.write_text(example)
        inventories = ("-i", str(tmp_path / "others.yml"), "-i", str(inventory))
        given = ("-e", f"@{tmp_path / 'given.yml'}")
        output = site.run("ansible-playbook", *inventories, str(playbook), "--check", *given).stdout
        counts = recap(output)["sandbox"]
        assert (counts["failed"], counts["unreachable"]) == (0, 0)
        assert counts["ok"] > 1, output


def test_the_probe_prints_the_way_it_took(site):
    output = site.play("playbooks/verify.yml").stdout
    assert "The probe took twitter-" in output
    assert "http://event-viewer.streamops.svc.cluster.local" in output


def test_no_secret_is_in_what_a_verbose_run_prints(site):
    keys = json.loads((site.home / "x-keys.json").read_text())
    output = site.play("site.yml", "-vvvv", "--diff", "-e", site.variables)
    for name, value in keys.items():
        assert value not in output.stdout + output.stderr, f"{name} is in the output"


@pytest.mark.needs("kubectl")
def test_the_cluster_is_as_the_security_page_says(site, tmp_path):
    def kubectl(*arguments):
        return site.run("kubectl", "-n", "streamops", *arguments)

    pods = json.loads(kubectl("get", "pods", "-o", "json").stdout)["items"]
    by_account = {pod["spec"]["serviceAccountName"]: pod for pod in pods}
    assert set(by_account) == {"twitter-producer", "default"}  # the viewer has none of its own

    own = {("", "configmaps", "twitter-state"), ("coordination.k8s.io", "leases", "twitter")}
    others = {("", kind, "") for kind in ("configmaps", "secrets", "pods", "services")}
    others |= {("coordination.k8s.io", "leases", ""), ("apps", "deployments", "")}
    asked = [
        (account, namespace, verb, *what)
        for account in by_account
        for namespace in ("streamops", "default")
        for verb in ("get", "list", "watch", "create", "update", "patch", "delete")
        for what in own | others
    ]
    (tmp_path / "reviews.json").write_text(json.dumps(_reviews(asked)))
    answers = kubectl(
        "create",
        "--validate=false",
        "-f",
        str(tmp_path / "reviews.json"),
        "-o",
        r"jsonpath={.status.allowed}{'\n'}",
    ).stdout.splitlines()
    allowed = {one for one, answer in zip(asked, answers, strict=True) if answer == "true"}
    assert allowed == {
        ("twitter-producer", "streamops", verb, *what) for verb in ("get", "update") for what in own
    }

    assert "serviceAccountToken" not in json.dumps(by_account["default"]["spec"])
    for pod in pods:
        main = pod["spec"]["containers"][0]
        assert "@sha256:" in main["image"]
        assert main["securityContext"]["readOnlyRootFilesystem"] is True
    privileged = {"name": "c", "image": "i", "securityContext": {"privileged": True}}
    refused = site.run(
        "kubectl", "-n", "streamops", "run", "privileged", "--image=i", "--dry-run=server",
        "--overrides", json.dumps({"spec": {"containers": [privileged]}}), check=False,
    )  # fmt: skip
    assert 'violates PodSecurity "restricted' in refused.stderr

    policies = json.loads(kubectl("get", "networkpolicies", "-o", "json").stdout)["items"]
    narrowed = {policy["metadata"]["name"]: policy["spec"]["policyTypes"] for policy in policies}
    assert narrowed == {
        "twitter-pipeline": ["Ingress"],
        "twitter-producer": ["Egress"],
        "event-viewer": ["Egress"],
    }


def _reviews(asked):
    """One list of what `kubectl auth can-i` would ask one by one."""
    names = ("namespace", "verb", "group", "resource", "name")
    items = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:streamops:{account}",
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": dict(zip(names, what, strict=True)),
            },
        }
        for account, *what in asked
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a mount namespace: run it as root")
def test_a_read_only_checkout_and_no_home(site):
    """As in a container: nothing but temporary files and the sandbox's folder can be written."""
    script = """
    set -e
    mount --make-rprivate /
    for folder in /tmp "$SANDBOX_HOME"; do mount --bind "$folder" "$folder"; done
    mount -o remount,bind,ro /
    ! touch "$PWD/written" 2>/dev/null
    exec "$@"
    """
    environment = site.environment | {"HOME": "/"}
    del environment["ANSIBLE_HOME"]
    confined = Site(site.home, environment, cwd=ROOT)
    namespace = ("unshare", "--mount", "bash", "-c", script, "-")
    command = ("ansible-playbook", "-i", "inventories/sandbox", "site.yml", "-e", site.variables)
    counts = recap(confined.run(*namespace, *command).stdout)["sandbox"]
    assert (counts["changed"], counts["failed"]) == (0, 0)


def test_teardown_asks_first(site):
    refused = site.play("playbooks/teardown.yml", check=False)
    assert refused.returncode != 0
    assert "-e teardown_confirm=yes" in refused.stdout


def test_a_misspelt_variable_stops_a_teardown_too(site):
    refused = site.play(
        "playbooks/teardown.yml", "-e", "teardown_confirm=yes", "-e", "secrets_bakend=kubernetes",
        check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "did you mean secrets_backend?" in refused.stdout


@pytest.mark.needs("kubectl")
def test_teardown_leaves_what_was_there_before(build):
    site = build.site
    in_kubernetes = ("-e", "secrets_backend=kubernetes")
    site.play("playbooks/secrets.yml", *in_kubernetes)
    assert site.everything() > build.before
    teardown = ("playbooks/teardown.yml", "-e", "teardown_confirm=yes", "-e", site.variables)
    before = site.everything()
    foreseen = site.play(*teardown, "--check").stdout
    assert site.everything() == before
    done = site.play(*teardown).stdout
    assert changed_tasks(foreseen) == changed_tasks(done)
    shown = done.rpartition("What was removed, and what stays")[2]
    for said in (
        "delete secret twitter-api-key",
        "Namespace streamops",
        "cluster sandbox (-e gcp_",
    ):
        assert said in shown
    foreseen = site.play(*teardown, *in_kubernetes, "--check").stdout
    done = site.play(*teardown, *in_kubernetes).stdout
    assert changed_tasks(foreseen) == changed_tasks(done)
    assert "Namespace streamops" not in done.rpartition("stays")[2]
    assert site.everything() == build.before


def test_down_leaves_no_process_and_no_port(site, workplace):
    state = site.state
    workplace.run("make", "down")
    ports = [urlsplit(url).port for url in state["urls"].values()]
    ports += [urlsplit(cluster["url"]).port for cluster in state["clusters"].values()]
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} still listens"
    assert not processes_mentioning(str(site.home))
