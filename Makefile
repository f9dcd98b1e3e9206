# make help lists what there is. GO, FUZZTIME and the versions may be set from outside.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help
.NOTPARALLEL:

GO        ?= go
FUZZTIME  ?= 10s
BIN       := $(CURDIR)/bin
TOOLS     := $(BIN)/tools

# What the suites run, at versions that are changed on purpose only.
GOLANGCI_VERSION     := v2.15.0
CONFORMANCE_VERSION  := v0.0.0-20260831232431-97274622c111
CRANE_VERSION        := v0.22.1
REGCTL_VERSION       := v0.11.7
ORAS_VERSION         := v1.3.6
DISTRIBUTION_VERSION := v3.1.2
VERSITYGW_VERSION    := v1.8.0
DYNALITE_VERSION     := 4.0.0
OIDC_VERSION         := 9.13.3
BENCHSTAT_VERSION    := v0.0.0-20260908200009-22c9c6c9d4da

# The packages whose tests talk to the servers of others.
REMOTE_PACKAGES := ./internal/... ./pkg/auth ./pkg/storage/s3/... ./pkg/storage/cache/... ./pkg/cli/... ./cmd/zb

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# The time of the commit, not of the build: the same sources give the same binary.
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)

CLI     := zotregistry.io/zot/pkg/cli
LDFLAGS := -s -w -X $(CLI).Version=$(VERSION) -X $(CLI).Commit=$(COMMIT) -X $(CLI).Date=$(DATE)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

# suite NAME COMMAND... prints the name, the verdict and the time; strict fails if a
# test was skipped.
SUITE  := test/suite.sh
STRICT := $(BIN)/strict
export ZOT_BINARY := $(BIN)/zot
export TOOLS

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## --- build and run

.PHONY: build
build: ## build bin/zot and bin/zb, static, for this machine
	$(BUILD) -o $(BIN)/zot ./cmd/zot
	$(BUILD) -o $(BIN)/zb ./cmd/zb

.PHONY: binaries
binaries: ## build for all platforms into dist/
	GOOS=linux GOARCH=amd64 $(BUILD) -o dist/zot-linux-amd64 ./cmd/zot
	GOOS=linux GOARCH=amd64 $(BUILD) -o dist/zb-linux-amd64 ./cmd/zb
	GOOS=linux GOARCH=arm64 $(BUILD) -o dist/zot-linux-arm64 ./cmd/zot
	GOOS=linux GOARCH=arm64 $(BUILD) -o dist/zb-linux-arm64 ./cmd/zb
	GOOS=darwin GOARCH=arm64 $(BUILD) -o dist/zot-darwin-arm64 ./cmd/zot
	GOOS=darwin GOARCH=arm64 $(BUILD) -o dist/zb-darwin-arm64 ./cmd/zb

.PHONY: run
run: build ## build, and serve ./zot-data on 127.0.0.1:8080
	$(BIN)/zot serve

.PHONY: clean
clean: ## remove what make made (not ./zot-data)
	rm -rf bin dist

## --- tests; CONTRIBUTING.md says how many minutes each takes

.PHONY: test
test: ## all that Go and what it installs can test
	@$(SUITE) "make test" $(MAKE) --no-print-directory build vet lint unit conformance fuzz cross

.PHONY: test-all
test-all: ## what needs other programs too: clients, a C compiler (run make test first)
	@$(SUITE) "make test-all" $(MAKE) --no-print-directory build shellcheck race remote fips replicas memory crash attack soak clients bench-short

.PHONY: vet
vet: ## go vet, the suites behind build tags too
	@$(SUITE) vet $(GO) vet -tags attack,conformance,clients,crash,remote,replicas,memory,soak ./...

.PHONY: unit
unit: $(STRICT) ## unit tests
	@$(SUITE) unit test/gotest.sh -shuffle=on -timeout=8m ./...

# Without test/model: it has no goroutines, and would take two minutes.
.PHONY: race
race: $(STRICT) ## unit tests with the race detector (needs a C compiler)
	@test/need.sh gcc=gcc,libc6-dev
	@CGO_ENABLED=1 $(SUITE) race test/gotest.sh -race -shuffle=on -timeout=15m \
		$$($(GO) list ./... | grep -v '/test/model$$')

.PHONY: model
model: ## the protocol of deleting, with more processes than "make unit" has (6 GB)
	@ZOT_MODEL=long $(SUITE) model $(GO) test -v -count=1 -timeout=60m ./test/model

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION) ## linters, the import rules among them
	@$(SUITE) lint $< run ./...

.PHONY: shellcheck
shellcheck: ## check the scripts
	@test/need.sh shellcheck=shellcheck
	@$(SUITE) shellcheck shellcheck .ci/run test/*.sh

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (10s)
	@$(SUITE) fuzz test/fuzz.sh $(FUZZTIME)

.PHONY: conformance
conformance: build $(STRICT) $(TOOLS)/conformance-$(CONFORMANCE_VERSION) $(TOOLS)/versitygw-$(VERSITYGW_VERSION) ## the OCI conformance program
	@CONFORMANCE_PROGRAM=$(TOOLS)/conformance-$(CONFORMANCE_VERSION) CONFORMANCE_RESULTS=$(BIN)/conformance \
		$(SUITE) conformance test/gotest.sh -tags conformance -count=1 ./test/conformance

.PHONY: clients
clients: build $(STRICT) client-tools ## docker, podman, buildah, skopeo, oras, crane, regctl
	@test/need.sh dockerd=docker.io docker=docker.io podman=podman buildah=buildah skopeo=skopeo openssl=openssl
	@$(SUITE) clients test/gotest.sh -tags clients -count=1 -timeout=15m ./test/clients

# CRASH_ROUNDS=100 makes these thorough, CRASH_SEED=n repeats a run. What is not part of
# "make test-all" prints its figures.
CRASH := -tags crash -count=1 -timeout=120m ./test/crash

.PHONY: crash
crash: build $(STRICT) ## kill -9, power cuts, a full disk, one that fails, and damage to the cache, on the real binary
	@test/need.sh mkfs.ext4=e2fsprogs mount=mount
	@$(SUITE) crash test/gotest.sh $(CRASH)

.PHONY: kill
kill: build ## of "make crash" what kills the server
	@$(SUITE) kill $(GO) test -v $(CRASH) -run 'TestKill'

.PHONY: power
power: build ## of "make crash" what cuts the power
	@test/need.sh mkfs.ext4=e2fsprogs mount=mount
	@$(SUITE) power $(GO) test -v $(CRASH) -run 'TestPower'

.PHONY: full
full: build ## of "make crash" what takes all room or all open files, or has the disk fail
	@test/need.sh mkfs.ext4=e2fsprogs mount=mount
	@$(SUITE) full $(GO) test -v $(CRASH) -run 'TestDisk|TestNo'

.PHONY: soak
soak: build $(TOOLS)/versitygw-$(VERSITYGW_VERSION) ## everything at once, on a disk and in a bucket; SOAK=1h each
	@$(SUITE) soak $(GO) test -v -tags soak -count=1 -timeout=30h ./test/soak

# One package after the other: tests of the cache measure how long a call takes.
.PHONY: remote
remote: $(STRICT) remote-tools registry-tools ## tests against real servers: S3, Redis, DynamoDB, LDAP, OpenID
	@test/need.sh redis-server=redis-server slapd=slapd
	@$(SUITE) remote test/gotest.sh -tags remote -count=1 -p=1 -timeout=15m $(REMOTE_PACKAGES)

# What zot does with cryptography, where GODEBUG lets Go do only what FIPS 140-3 approves
# (docs/operations.md).
FIPS_PACKAGES := ./cmd/zot ./pkg/api ./pkg/auth ./pkg/cli ./pkg/storage/local

.PHONY: fips
fips: $(STRICT) remote-tools registry-tools ## of "make unit" and "make remote" the same under GODEBUG=fips140=only
	@test/need.sh redis-server=redis-server slapd=slapd
	@GODEBUG=fips140=only $(SUITE) fips test/gotest.sh -tags remote -count=1 -p=1 -timeout=10m $(FIPS_PACKAGES)
	@GODEBUG=fips140=only $(SUITE) "fips, databases" test/gotest.sh -tags remote -count=1 -p=1 -timeout=5m \
		-run '^(TestStore|TestDriver|TestRedis|TestRedisTLS|TestDynamoDB)$$' ./pkg/storage/s3 ./pkg/storage/cache

# REPLICAS_SEED=n REPLICAS_SEEDS=20 REPLICAS_FAULTS=4 REPLICAS_OUTAGE=30s make it thorough.
.PHONY: replicas
replicas: build $(STRICT) $(TOOLS)/versitygw-$(VERSITYGW_VERSION) ## several replicas on one bucket: failures, linearizability
	@test/need.sh redis-server=redis-server
	@REPLICAS_RESULTS=$(BIN)/replicas \
		$(SUITE) replicas test/gotest.sh -tags replicas -count=1 -timeout=60m ./test/replicas

.PHONY: memory
memory: build $(STRICT) remote-tools ## memory of the real binary under 32 large pushes to S3 (7 GB of disk)
	@$(SUITE) memory test/gotest.sh -tags memory -count=1 -run TestResidentMemory ./pkg/storage/s3

.PHONY: attack
attack: build $(STRICT) ## hostile clients: headers, bodies, connections, HTTP/2, against the real binary
	@$(SUITE) attack test/gotest.sh -tags attack -count=1 -timeout=10m ./test/attack

.PHONY: cross
cross: ## does it build for all platforms
	@$(SUITE) cross $(MAKE) --no-print-directory binaries

BENCH := $(GO) run ./test/bench -zot $(BIN)/zot -distribution $(TOOLS)/registry-$(DISTRIBUTION_VERSION)

.PHONY: bench
bench: build $(TOOLS)/registry-$(DISTRIBUTION_VERSION) ## speed beside distribution and bare servers; the report goes to bin/bench
	@$(SUITE) bench $(BENCH) -reports $(BIN)/bench

.PHONY: bench-short
bench-short: build $(TOOLS)/registry-$(DISTRIBUTION_VERSION) ## a look at whether a ratio is far below what it should be
	@$(SUITE) bench-short $(BENCH) -short -runs 1 -duration 1s

.PHONY: bench-s3
bench-s3: build remote-tools $(TOOLS)/registry-$(DISTRIBUTION_VERSION) ## zot and distribution, both in a bucket
	@$(SUITE) bench-s3 $(BENCH) -s3 -reports $(BIN)/bench

.PHONY: bench-scale
bench-scale: build ## repositories of up to 100,000 manifests and 1,000,000 tags, and the start of a store of 100,000 repositories
	@$(SUITE) bench-scale $(BENCH) -scale
	@$(SUITE) bench-start $(BENCH) -start

.PHONY: bench-beside
bench-beside: build ## small pulls beside a push of 1 GiB at 100 MiB a second
	@$(SUITE) bench-beside $(BENCH) -beside

# The commit to compare with, how often, and of which packages.
BASE   ?= HEAD~1
ROUNDS ?= 6
PARTS  ?= ./pkg/api ./pkg/access

.PHONY: bench-parts
bench-parts: $(TOOLS)/benchstat-$(BENCHSTAT_VERSION) ## the Go benchmarks of the hot paths, beside those of BASE=HEAD~1
	@GO=$(GO) $(SUITE) bench-parts test/parts.sh $< $(BASE) $(ROUNDS) $(PARTS)

.PHONY: bench-gc
bench-gc: build ## what a run of GC over 200,000 blobs costs; GC_BENCH=-idle without load
	@$(SUITE) bench-gc $(BENCH) -gc $(GC_BENCH)

## --- tools, each installed once at its version

$(STRICT): $(wildcard test/strict/*.go)
	@$(GO) build -o $@ ./test/strict

# install MODULE@VERSION gives a target whose name carries the version the program that
# "go install" made, under the name that the clients suite calls it by as well.
define install
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) CGO_ENABLED=0 $(GO) install $(1)@$(2)
	@cp $(TOOLS)/$(notdir $(1)) $@
endef

.PHONY: client-tools
client-tools: $(TOOLS)/crane-$(CRANE_VERSION) $(TOOLS)/regctl-$(REGCTL_VERSION) $(TOOLS)/oras-$(ORAS_VERSION) $(TOOLS)/versitygw-$(VERSITYGW_VERSION) $(TOOLS)/oidc-provider-$(OIDC_VERSION)

.PHONY: remote-tools
remote-tools: $(TOOLS)/versitygw-$(VERSITYGW_VERSION) $(TOOLS)/dynalite-$(DYNALITE_VERSION) $(TOOLS)/oidc-provider-$(OIDC_VERSION)

.PHONY: registry-tools
registry-tools: $(TOOLS)/registry-$(DISTRIBUTION_VERSION) $(TOOLS)/crane-$(CRANE_VERSION)

$(TOOLS)/golangci-lint-$(GOLANGCI_VERSION):
	$(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_VERSION))

$(TOOLS)/conformance-$(CONFORMANCE_VERSION):
	$(call install,github.com/opencontainers/distribution-spec/conformance,$(CONFORMANCE_VERSION))

$(TOOLS)/crane-$(CRANE_VERSION):
	$(call install,github.com/google/go-containerregistry/cmd/crane,$(CRANE_VERSION))

$(TOOLS)/regctl-$(REGCTL_VERSION):
	$(call install,github.com/regclient/regclient/cmd/regctl,$(REGCTL_VERSION))

$(TOOLS)/oras-$(ORAS_VERSION):
	$(call install,oras.land/oras/cmd/oras,$(ORAS_VERSION))

$(TOOLS)/benchstat-$(BENCHSTAT_VERSION):
	$(call install,golang.org/x/perf/cmd/benchstat,$(BENCHSTAT_VERSION))

$(TOOLS)/registry-$(DISTRIBUTION_VERSION):
	$(call install,github.com/distribution/distribution/v3/cmd/registry,$(DISTRIBUTION_VERSION))

$(TOOLS)/versitygw-$(VERSITYGW_VERSION):
	$(call install,github.com/versity/versitygw/cmd/versitygw,$(VERSITYGW_VERSION))

# A server of DynamoDB's protocol, in JavaScript; the target is a mark beside it.
$(TOOLS)/dynalite-$(DYNALITE_VERSION):
	@test/need.sh node=nodejs npm=npm
	@mkdir -p $(TOOLS)
	@npm install --prefix $(TOOLS) --no-audit --no-fund --loglevel=error dynalite@$(DYNALITE_VERSION)
	@touch $@

# An OpenID provider, in JavaScript.
$(TOOLS)/oidc-provider-$(OIDC_VERSION):
	@test/need.sh node=nodejs npm=npm
	@mkdir -p $(TOOLS)
	@npm install --prefix $(TOOLS) --no-audit --no-fund --loglevel=error oidc-provider@$(OIDC_VERSION)
	@touch $@
