# Grima's commands. `make` alone lists them.

GO      ?= go
ARGS    ?=
FUZZTIME ?= 30s
TIMEOUT ?= 40m

# What `grima version` says. A tree without git (a source archive) is "dev".
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)
TOOL    := $(GO) tool -modfile=tools/go.mod

.PHONY: help
help: ## this list
	@echo "make run ARGS=--dev  is the way in. All of them:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: go
go:
	@command -v $(GO) >/dev/null || { \
	  echo "Grima is built with Go 1.26 or newer, and there is no '$(GO)' in PATH."; \
	  echo "Get it from https://go.dev/dl/ (or your package manager), then try again."; exit 1; }

# The page is built when there is a Node.js that can: without one the server is
# built all the same, and says on its page what is missing.
NPM := $(shell tools/node 2>/dev/null && echo npm)
PAGE := $(shell find web/src web/public sdk/ts/src -type f 2>/dev/null) $(wildcard web/*.json web/*.ts web/*.js web/*.html web/.npmrc)

.PHONY: web
ifeq ($(NPM),)
web:
	@echo "The web client is built with npm and Node 20.19, 22.12, or 24 and newer; here is $$(node --version 2>/dev/null || echo 'no Node')$$(command -v npm >/dev/null || echo ' and no npm'). The server is built without it."
else
web: web/dist/index.html ## build the web client into web/dist
endif

web/dist/index.html: $(PAGE) | web/node_modules/.package-lock.json
	@echo "== the web client"
	@cd web && npm run --silent check && npm run --silent build -- --logLevel warn && touch dist/index.html

web/node_modules/.package-lock.json: web/package-lock.json
	@echo "== what the web client is built with"
	@cd web && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json

.PHONY: build
build: go web ## build bin/grima, with the web client if there is npm
	@$(GO) build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' -o bin/grima ./cmd/grima

# exec: the server gets the terminal's signals itself, and ^C is a clean stop.
.PHONY: run
run: build ## build, then serve on 127.0.0.1:7007 (ARGS="--dev" to try things out)
	@exec bin/grima serve $(ARGS)

.PHONY: test
test: go tools lint ## everything: what the tests need, lint, all tests with the race detector
	@$(MAKE) --no-print-directory web
	@echo "== go test -race ./... (the first build takes a few minutes)"
	@$(GO) test -race -timeout $(TIMEOUT) ./...
	@echo "== a power cut and a fault at every single write, and delivery with each guard taken out: too slow with the race detector"
	@$(GO) test -timeout $(TIMEOUT) ./internal/store/sqlite ./internal/modeltest

.PHONY: tools
tools:
	@tools/need 'gcc:gcc libc6-dev' strace tmux nc:netcat-openbsd curl jq postgres:postgresql 'chromium:chromium fonts-noto-color-emoji' node:nodejs npm

.PHONY: lint
lint: go ## go vet, staticcheck, gofumpt
	@echo "== go vet"
	@$(GO) vet ./...
	@$(GO) vet -tags grimabench ./cmd/grima
	@echo "== staticcheck"
	@$(TOOL) staticcheck ./...
	@echo "== gofumpt"
	@out=$$($(TOOL) gofumpt -l client cmd examples internal protocol web/embed.go) || exit 1; \
	  if [ -n "$$out" ]; then \
	    echo "$$out"; echo "These files are not formatted; run: make fmt"; exit 1; fi

.PHONY: fmt
fmt: go ## format the code
	@$(TOOL) gofumpt -w client cmd examples internal protocol web/embed.go

.PHONY: bench
bench: go ## measure the store and live delivery into docs/bench*.md; an hour or so (ARGS=-quick: minutes, printed only)
	@$(GO) run ./internal/cmd/bench $(or $(ARGS),-o docs)

.PHONY: bench-cluster
bench-cluster: go tools ## one node and three, SQLite and PostgreSQL, into docs/bench-cluster.md; four minutes, as root
	@$(GO) run ./internal/cmd/bench -suite cluster $(or $(ARGS),-rounds 2 -seconds 2.5 -o docs)

.PHONY: soak
soak: go ## a day of coming and going in minutes: what does the server still hold?
	@$(GO) run ./internal/cmd/bench -suite soak $(or $(ARGS),-o docs)

# One at a time: `go test -fuzz` takes a single fuzzer of a single package.
.PHONY: fuzz
fuzz: go ## run every fuzzer for FUZZTIME (30s)
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' client cmd internal protocol | while read -r file; do \
	  sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$$file" | while read -r name; do \
	    echo "== $$name in $${file%/*}"; \
	    $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "./$${file%/*}"; \
	  done; done

.PHONY: night
night: go ## what is rare: 1,000 scenarios of delivery, 300 on PostgreSQL, 300 with the SDK, a million hostile frames
	@$(GO) test ./internal/modeltest -run 'TestModel$$' -model.seeds=1000 -timeout 0 -v
	@$(GO) test ./internal/modeltest -run TestModelOnPostgres -model.seeds=300 -timeout 0 -v
	@$(GO) test ./internal/modeltest -run TestSDK -model.seeds=300 -timeout 0 -v
	@$(GO) test ./internal/hostile -hostile.frames=1000000 -timeout 0 -v

.PHONY: faults
faults: go ## what fails around three servers with PostgreSQL and NATS, under load, with figures; some minutes
	@$(GO) run ./internal/cmd/faults $(ARGS)

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin web/node_modules
	@find web/dist -mindepth 1 ! -name .gitignore -delete
