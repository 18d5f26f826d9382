import CertsCore
import Foundation

/// The families that are not for each certificate: counts, sources, nodes, tasks, the configuration.
struct SummaryFamilies {
    let declarations: Declarations
    let tasks: [TaskRecord]
    let sources: [WatchSourceRecord]
    let errors: [WatchErrorCount]
    let drift: [NodeID: Int]?
    let deployments: DurationTally
    let requests: [IssuerRequests.Reading]
    /// When the configuration was read.
    let loadedAt: Date

    func families(_ writer: ExpositionWriter) -> [MetricFamily] {
        [
            MetricFamily(
                "certs_certificates", .gauge, help: "Certificates by state, managed and watched.",
                samples: CertificateState.Condition.allCases.map {
                    .init(Double(writer.conditions[$0] ?? 0), ["state": $0.rawValue])
                })
        ] + sourceFamilies(writer) + [driftFamily(), deployFamily()] + issuerFamilies() + taskFamilies()
            + configurationFamilies()
    }

    // MARK: Sources

    private func sourceFamilies(_ writer: ExpositionWriter) -> [MetricFamily] {
        let managed = WatchDeclaration.managedSource
        let known = Dictionary(sources.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let watched = watchedSources()
        return [
            MetricFamily(
                "certs_source_up", .gauge,
                help: "1 if the source of certificates could be looked at last time; 0 before the first look.",
                samples: [.init(1, ["source": managed])]
                    + watched.map { .init(known[$0.name]?.isUp == true ? 1 : 0, ["source": $0.name]) }),
            MetricFamily(
                "certs_source_certificates", .gauge, help: "Certificates of the source whose dates are known.",
                samples: ([managed] + watched.map(\.name)).map {
                    .init(Double(writer.certificates[$0] ?? 0), ["source": $0])
                }),
            MetricFamily(
                "certs_source_errors_total", .counter,
                help: "Inputs of the source that were found to be bad: a file once until it changes, an endpoint at "
                    + "each look.",
                samples: watched.flatMap { source in
                    source.reasons.map { reason in
                        .init(count(source.name, reason), ["source": source.name, "reason": reason.rawValue])
                    }
                }),
        ]
    }

    private func watchedSources() -> [(name: String, reasons: [WatchReason])] {
        var result = declarations.watch.directories.map { (name: $0.name.rawValue, reasons: WatchReason.ofFiles) }
        if !declarations.watch.endpoints.isEmpty {
            result.append((WatchDeclaration.endpointSource, WatchReason.ofEndpoints))
        }
        if sources.contains(where: { $0.name == WatchDeclaration.handScanned }) {
            result.append((WatchDeclaration.handScanned, WatchReason.ofFiles))
        }
        return result
    }

    private func count(_ source: String, _ reason: WatchReason) -> Double {
        Double(errors.first { $0.source == source && $0.reason == reason }?.count ?? 0)
    }

    // MARK: Nodes, tasks, configuration

    private func driftFamily() -> MetricFamily {
        MetricFamily(
            "certs_drift", .gauge,
            help: "Places on a node that are not as declared: disk, memory, served, copies; absent while not known.",
            samples: (drift ?? [:]).sorted { $0.key < $1.key }.map { node, count in
                .init(Double(count), ["target": node.description])
            })
    }

    static let deployBounds: [TimeInterval] = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

    private func deployFamily() -> MetricFamily {
        MetricFamily(
            "certs_deploy_duration_seconds", .histogram,
            help: "From the first touch of a node to the proof of the last one, of rotations that were committed.",
            samples: deployments.samples())
    }

    private func issuerFamilies() -> [MetricFamily] {
        [
            MetricFamily(
                "certs_issuer_requests_total", .counter,
                help: "Requests to the issuer since the start, by the status of the answer; failed: there was none.",
                samples: requests.flatMap { one in
                    one.counts.sorted { $0.key < $1.key }.map { code, count in
                        .init(Double(count), ["issuer": one.issuer.rawValue, "code": code])
                    }
                }),
            MetricFamily(
                "certs_issuer_request_duration_seconds", .histogram,
                help: "How long requests to the issuer took since the start.",
                samples: requests.flatMap { $0.durations.samples([(name: "issuer", value: $0.issuer.rawValue)]) }),
            MetricFamily(
                "certs_issuer_up", .gauge,
                help: "1 if the issuer's last answer was none of a broken server; absent before the first request.",
                samples: requests.compactMap { one in
                    one.isUp.map { .init($0 ? 1 : 0, ["issuer": one.issuer.rawValue]) }
                }),
        ]
    }

    private func taskFamilies() -> [MetricFamily] {
        // What is not declared any longer never runs again, and must not look late for ever.
        let tasks = tasks.filter { task in
            switch task.name {
            case CertificateWatch.scanTaskName: !declarations.watch.directories.isEmpty
            case CertificateWatch.probeTaskName: !declarations.watch.endpoints.isEmpty
            default: true
            }
        }
        func gauge(_ name: String, _ help: String, _ value: (TaskRecord) -> TimeInterval?) -> MetricFamily {
            MetricFamily(
                name, .gauge, help: help,
                samples: tasks.compactMap { task in value(task).map { .init($0, ["task": task.name]) } })
        }
        return [
            gauge("certs_task_last_success_timestamp_seconds", "End of the last run without a failure.") {
                $0.lastSuccessAt?.timeIntervalSince1970
            },
            gauge("certs_task_last_run_timestamp_seconds", "Start of the last run.") {
                $0.lastRunAt?.timeIntervalSince1970
            },
            gauge("certs_task_interval_seconds", "How often the task is meant to run.") { $0.interval },
            gauge("certs_task_duration_seconds", "How long the last run took.") { $0.duration },
        ]
    }

    private func configurationFamilies() -> [MetricFamily] {
        [
            MetricFamily(
                "certs_config_last_reload_successful", .gauge,
                help: "1 if the configuration was read without a problem; without that the program does not start.",
                samples: [.init(1)]),
            MetricFamily(
                "certs_config_last_reload_success_timestamp_seconds", .gauge,
                help: "When the configuration in use was read.", samples: [.init(loadedAt.timeIntervalSince1970)]),
        ]
    }
}
