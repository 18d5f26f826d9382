# `make help` lists what there is. Each target is one script in scripts/, which says what it does and takes options.

.PHONY: help run build deb image test check format bench bench-haproxy bench-acme bench-exporter bench-maintenance clean clean-run

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## show a rotation on this machine: a real HAProxy on loopback and certs serve, until Ctrl-C
	@scripts/run

build: ## build the release program: .build/release/certs
	@scripts/require-swift
	@scripts/install-packages libssl-dev libcurl4-openssl-dev libpq-dev libsqlite3-dev libldns-dev zlib1g-dev pkg-config
	swift build -c release --static-swift-stdlib --product certs

deb: ## build the Debian package: .build/deb/certs_VERSION_ARCH.deb
	@scripts/deb

image: ## build the container image `certs` from that package
	@scripts/image

test: ## run every check and every test; one suite: make test FILTER=PlannerTests
	@scripts/test $(if $(FILTER),--filter $(FILTER))

check: ## run the checks that need no build: boundaries, words, documents, format
	@scripts/check-boundaries
	@scripts/check-words
	@scripts/check-documents
	@scripts/check-format

format: ## format every Swift file in place
	@scripts/swift-files | xargs -0 swift format format --in-place --parallel

bench: ## run the benchmarks beside their peers; the table of the README comes from here
	@Benchmarks/run

bench-haproxy: ## run the benchmarks on a HAProxy with 1,000 certificates
	@Benchmarks/run haproxy

bench-acme: ## run the benchmarks on an ACME server, beside lego, certbot and Caddy
	@Benchmarks/run acme

bench-exporter: ## run the benchmarks of the exporter, its probes beside prometheus-blackbox-exporter
	@Benchmarks/run exporter

bench-maintenance: ## run the benchmarks of the maintenance jobs, on a PostgreSQL with pgbench beside
	@Benchmarks/run maintenance

clean: ## remove what was built
	rm -rf .build Tests/Interop/.build

clean-run: ## remove what `make run` made, so that it begins from nothing: run and state in Certs
	rm -rf Certs/run Certs/run.yml Certs/state
