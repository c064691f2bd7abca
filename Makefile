# Only python3 (3.11 or newer), make and git are taken for granted; the rest is installed into .venv.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start hundreds of Python processes, and none of them should compile all of our code anew.
unexport PYTHONDONTWRITEBYTECODE
# Nothing outside the checkout is written to.
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
export SANDBOX_HOME ?= $(CURDIR)/.sandbox
# A .venv that was removed, or whose Python was, is made again whatever the stamps say.
$(shell $(BIN)/python -c '' 2>/dev/null || rm -f .cache/*.stamp)

DEMO_REQUIREMENTS := requirements.txt sandbox/requirements.txt
# Tests mostly wait, so two to a core; more of them only get into each other's way.
WORKERS ?= 4
# Neighbouring tests run in one worker, which shares their cluster.
SHARING := --dist worksteal
# Its import is half of each start of pytest; only a test of the viewer is made with it.
PLAIN := -p no:schemathesis
# Where clusters come from: the sandbox, or Kubernetes' and Knative's own programs (docs/how-to/real-lane.md).
CLUSTER ?= sandbox
ifeq ($(CLUSTER),real)
LANE := python tests/real/lane.py --
PROGRAMS := programs
else ifneq ($(CLUSTER),sandbox)
$(error CLUSTER=$(CLUSTER) is not known: choose sandbox or real)
endif
# What the demo reads: X by default, or SOURCE=jetstream, mastodon or feed; LIVE=1 reads the network itself.
ifdef SOURCE
ARGS += -e twitter_pipeline_source=$(SOURCE)
endif
ifdef LIVE
ARGS += -e twitter_pipeline_jetstream_url=wss://jetstream2.us-east.bsky.network/subscribe \
  -e twitter_pipeline_mastodon_url=https://mastodon.social \
  -e '{"twitter_pipeline_feeds": ["https://kubernetes.io/feed.xml"]}'
endif
TEST_REQUIREMENTS := requirements-test.txt apps/twitter-producer/requirements.txt apps/event-viewer/requirements.txt

# What depends on the API server or on Knative; each file that starts a cluster of its own costs ten seconds.
REAL_TESTS := tests/real $(addprefix tests/integration/test_,apply_bundle.py apply_webhook.py apply_namespaces.py \
  apply_set_scopes.py take_over.py manifests.py knative.py cluster_checks.py sink_binding.py \
  knative_eventing_role.py) tests/e2e/test_pipelines.py tests/e2e/test_site.py tests/e2e/test_teams.py \
  'tests/e2e/test_molecule_roles.py::test_role[twitter_pipeline]'

# Sandboxes of tests unpack an image once between them.
unit integration e2e matrix: export SANDBOX_LAYERS ?= $(CURDIR)/.cache/layers

.PHONY: help demo down test lint unit integration e2e real programs matrix environments soak bench docs clean
.PHONY: tools packages

help: ## What can be done here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

ifeq ($(CLUSTER),real)
demo: .cache/test.stamp programs
	@$(LANE) tests/real/demo.sh $(ARGS)
else
ifdef RULEBOOK
demo: ARGS += -e @tests/e2e/rulebook_demo.yml
DEMO_END := python tests/e2e/rulebook_demo.py
endif
demo: .cache/$(if $(RULEBOOK),test,demo).stamp ## Sandbox up, site.yml on it: posts arrive in the viewer; SOURCE, LIVE, RULEBOOK=1; ARGS go to ansible-playbook
	@$(call lock,demo,Another 'make demo' runs in this checkout: wait for it$(comma) or stop it with Ctrl-C there.)
	$(if $(RULEBOOK),$(DEMO_END) --check)
	running=yes; sandbox status >/dev/null 2>&1 || running=no
	playbook=
	ended() { ! kill -0 $$playbook 2>/dev/null; }
	within() { for ((i = 0; i < $$1 * 10; i++)); do ! ended || break; sleep 0.1; done; }
	stop() {
	  trap '' INT TERM HUP # children inherit that further signals are ignored
	  # Ansible hangs where its worker was interrupted while it reported something: their queue stays locked.
	  [ -z "$$playbook" ] || { within 5; ended || kill $$playbook; within 2; ended || kill -KILL $$playbook; }
	  # What was running before is left as it was.
	  [ $$running = yes ] || { echo "Interrupted: stopping the sandbox."; sandbox down; } || true
	  exit 130
	}
	trap stop INT TERM HUP
	[ $$running = yes ] || echo "Starting the sandbox ..."
	sandbox up 9>&-
	(trap - INT; exec ansible-playbook -i inventories/sandbox site.yml $(ARGS)) 9>&- & playbook=$$!
	wait $$playbook
	$(DEMO_END)
	echo "The sandbox goes on in the background until 'make down'. For the commands above: . $(VENV)/bin/activate"
endif

down: ## Stop the sandbox; leaves nothing behind
	@python=$(BIN)/python; [ -x $$python ] || python=$(PYTHON) # it needs no package, and a .venv may be gone
	PYTHONPATH=sandbox $$python -m streamops_sandbox down
	# Keys, logs and images of a sandbox that is gone; a home elsewhere is somebody else's folder.
	rm -rf $(CURDIR)/.sandbox

# Sanity takes minutes for each core, and lint has it for one; e2e has the ways in but one. The rest is `make matrix`'s.
test: export MATRIX_CHECKS ?= units dependency
# Two parts at a time: those with the longest tests first, and none at the end that leaves a processor idle. What they
# share is there by then: a part that had to wait for it would begin last. Each one's output comes in one piece.
test: ## Every check and test
	@$(MAKE) --jobs=2 tools $(PROGRAMS) environments
	$(MAKE) --jobs=2 --output-sync=target --old-file=tools --old-file=programs e2e matrix lint unit integration

lint: .cache/test.stamp ## Style, types, ansible-lint, ansible-test sanity, documentation
	@tests/lint.sh

unit: .cache/test.stamp tools ## Tests of the plugins' logic (ansible-test units) and of the apps
	@# What the matrix runs as well is left to it.
	case " $${MATRIX_CHECKS:-} " in *" units "*) ;; *) tests/ansible_test.sh units ;; esac
	pytest -n $(WORKERS) $(SHARING) tests/apps sandbox/tests

integration: .cache/test.stamp tools $(PROGRAMS) ## Tests of modules and roles against the sandbox, or CLUSTER=real
	@$(LANE) pytest $(PLAIN) -n $(WORKERS) $(SHARING) tests/integration

e2e: .cache/test.stamp tools $(PROGRAMS) ## site.yml, molecule and the pipeline from end to end, or CLUSTER=real
	@$(LANE) pytest $(PLAIN) -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/e2e

# REAL_SECONDS limits the time: the build stops and is resumed by the next run, and no further test is started.
real: .cache/test.stamp tools ## Kubernetes' own control plane, Knative's own programs: built, and tests on them
	@python tests/real/build.py $(if $(REAL_SECONDS),--seconds $(REAL_SECONDS))
	$(if $(REAL_SECONDS),export TEST_SECONDS=$$(($(REAL_SECONDS) - SECONDS)))
	python tests/real/lane.py -- pytest -n 2 --dist loadfile $(REAL_TESTS)

programs: .cache/test.stamp
	@python tests/real/build.py $(if $(REAL_SECONDS),--seconds $(REAL_SECONDS))

environments: .cache/demo.stamp # installed while pip, which keeps one processor busy, fills .venv
	@MATRIX_CHECKS=environments tests/matrix.sh $(ARGS) >/dev/null

matrix: .cache/test.stamp ## Units, sanity and the ways in with the oldest and newest ansible-core
	@tests/matrix.sh $(ARGS)

soak: .cache/test.stamp ## More rounds of faults on producer and modules, longer loads on the viewer; FAULT_ROUNDS and FAULT_SEED set them
	@FAULT_ROUNDS=$${FAULT_ROUNDS:-300} VIEWER_LOAD_SECONDS=$${VIEWER_LOAD_SECONDS:-60} pytest -s \
	  tests/apps/event_viewer/test_viewer_loads.py tests/apps/twitter_producer/test_producer_faults.py \
	  tests/apps/twitter_producer/test_producer_source_faults.py \
	  tests/integration/test_google_faults.py tests/integration/test_kubernetes_faults.py

docs: .cache/test.stamp ## The guides and the reference as pages in build/docs/html
	@docs/build.sh

bench: .cache/test.stamp tools $(PROGRAMS) ## The benchmarks; BENCH=name runs one, CLUSTER=real on real servers
	@PYTHONPATH=tests:.collections $(LANE) python -m benchmarks $(BENCH)

tools: .cache/test.stamp packages
	@python tests/support/peers.py || echo "Tests with kubernetes.core will be skipped. To run them: make tools, with PyPI in reach"

packages: # installed while pip fills .venv
	@tests/tools.sh

clean: down ## Also removes everything that was installed and built
	@rm -rf $(VENV) .cache build

# A stamp is written last, so an installation that was broken off is done again from the start.
.cache/demo.stamp: $(DEMO_REQUIREMENTS) constraints.txt sandbox/pyproject.toml
	@$(call install,$(DEMO_REQUIREMENTS),sandbox)

.cache/test.stamp: .cache/demo.stamp $(TEST_REQUIREMENTS)
	@$(call install,$(TEST_REQUIREMENTS))

comma := ,
# A path instead of a finder, with whose imports half of each start of Python would go; -qq, as setuptools warns of it.
EDITABLE := --config-settings editable_mode=compat

# Holds a lock of this checkout, as descriptor 9, for as long as the recipe runs; where there is no flock, without.
define lock
mkdir -p .cache
exec 9>.cache/$(1).lock
! command -v flock >/dev/null || flock --nonblock 9 || { echo "$(2)" >&2; exit 1; }
endef

define install
$(call lock,install,Another make installs into $(VENV): wait for it.)
command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed. Install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: 3.11 or newer is needed. Name another one: make PYTHON=python3.12" >&2; exit 1; }
$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) cannot make virtual environments here. On Debian: apt-get install python3-venv" >&2; exit 1; }
echo "Installing $(1) into $(VENV), which takes about a minute the first time ..."
# The pip that Python 3.11 brings along takes three times as long to resolve what the tests need.
{ $(BIN)/python -m pip install --quiet -c constraints.txt pip \
  && $(BIN)/python -m pip install --quiet -c constraints.txt $(foreach file,$(1),-r $(file)) \
  $(if $(2),&& $(BIN)/python -m pip install -qq --no-deps $(EDITABLE) -e $(2)); } \
  || { echo "pip could not install what is needed. It takes it from PyPI, or where your pip configuration says; then run make again." >&2; exit 1; }
touch $@
endef
