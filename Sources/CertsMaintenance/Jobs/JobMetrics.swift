package import CertsCore
package import Foundation

/// The metric families of the jobs; every declared job is there from the start, with zeros.
package enum JobMetrics {
    package static func families(_ jobs: [JobDeclaration], _ ledger: any JobLedger, now: Date) async throws
        -> [MetricFamily]
    {
        guard !jobs.isEmpty else { return [] }
        let states = Dictionary(
            try await ledger.jobStates().map { ($0.job, $0) }, uniquingKeysWith: { first, _ in first })
        let tallies = try await ledger.jobTallies()
        let counters = try await ledger.jobCounters()
        let open = Set(try await ledger.openRuns().map(\.job))
        var quarantined: [Name: Int] = [:]
        for job in jobs { quarantined[job.name] = try await ledger.quarantine(of: job.name).count }
        func gauge(_ name: String, _ help: String, _ value: (JobDeclaration) -> Double?) -> MetricFamily {
            MetricFamily(
                name, .gauge, help: help,
                samples: jobs.compactMap { job in value(job).map { .init($0, ["job": job.name.rawValue]) } })
        }
        let measured = measureFamilies(jobs, try await ledger.jobMeasures())
        return runFamilies(jobs, tallies) + rowFamilies(jobs, counters) + measured + [
            gauge("certs_job_last_success_timestamp_seconds", "End of the last run that succeeded.") {
                states[$0.name]?.lastSuccessAt?.timeIntervalSince1970
            },
            gauge("certs_job_next_run_timestamp_seconds", "When the job runs next.") {
                states[$0.name]?.nextRunAt?.timeIntervalSince1970
            },
            gauge("certs_job_running", "1 while the job runs.") { open.contains($0.name) ? 1 : 0 },
            gauge("certs_job_backlog_rows", "What the last run left to do, counted up to 100,000.") {
                states[$0.name]?.backlog.map(Double.init)
            },
            gauge("certs_job_quarantined_rows", "Rows that could not be deleted and are left alone for a while.") {
                quarantined[$0.name].map(Double.init)
            },
        ]
    }

    private static func runFamilies(_ jobs: [JobDeclaration], _ tallies: [JobTally]) -> [MetricFamily] {
        let known = Dictionary(
            tallies.map { ("\($0.job) \($0.result)", $0) }, uniquingKeysWith: { first, _ in first })
        let pairs = jobs.flatMap { job in JobRun.Result.allCases.map { (job.name, $0) } }
        return [
            MetricFamily(
                "certs_job_runs_total", .counter, help: "Runs by how they ended.",
                samples: pairs.map { job, result in
                    .init(
                        Double(known["\(job) \(result)"]?.count ?? 0),
                        ["job": job.rawValue, "result": result.rawValue])
                }),
            MetricFamily(
                "certs_job_duration_seconds_total", .counter, help: "Time that the runs took together.",
                samples: jobs.map { job in
                    .init(
                        tallies.filter { $0.job == job.name }.reduce(0) { $0 + $1.seconds },
                        ["job": job.name.rawValue])
                }),
        ]
    }

    private static func measureFamilies(_ jobs: [JobDeclaration], _ measures: [Name: [JobMeasure]]) -> [MetricFamily] {
        JobMeasure.Kind.allCases.compactMap { kind in
            let samples = jobs.flatMap { job in
                (measures[job.name] ?? []).filter { $0.kind == kind }.map { measure in
                    var sample = MetricFamily.Sample(measure.value, ["job": job.name.rawValue])
                    sample.labels += measure.labels.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
                    return sample
                }
            }
            return samples.isEmpty ? nil : MetricFamily(kind.rawValue, .gauge, help: kind.help, samples: samples)
        }
    }

    private static func dockerFamily(_ jobs: [JobDeclaration], _ counters: [JobCounter]) -> MetricFamily {
        var samples: [MetricFamily.Sample] = []
        for job in jobs {
            guard case .host(.cleanUpDocker) = job.work else { continue }
            for kind in DockerLeftovers.Kind.allCases.map(\.rawValue) {
                let bytes = counters.filter { $0.job == job.name && $0.kind == .dockerBytes && $0.table == kind }
                samples.append(
                    .init(Double(bytes.reduce(0) { $0 + $1.value }), ["job": job.name.rawValue, "kind": kind]))
            }
        }
        return MetricFamily(
            "certs_docker_reclaimed_bytes_total", .counter, help: "Bytes that the removal of objects of Docker freed.",
            samples: samples)
    }

    private static func rowFamilies(_ jobs: [JobDeclaration], _ counters: [JobCounter]) -> [MetricFamily] {
        func sum(_ kind: JobCounter.Kind, of job: Name? = nil) -> Double {
            Double(counters.filter { $0.kind == kind && (job == nil || $0.job == job) }.reduce(0) { $0 + $1.value })
        }
        func family(_ name: String, _ help: String, _ kind: JobCounter.Kind) -> MetricFamily {
            MetricFamily(
                name, .counter, help: help,
                samples: jobs.map { .init(sum(kind, of: $0.name), ["job": $0.name.rawValue]) })
        }
        return [
            MetricFamily(
                "certs_job_rows_deleted_total", .counter, help: "Rows whose deletion is committed.",
                samples: jobs.compactMap { job in
                    job.work.table.map { table in
                        .init(
                            sum(.rowsDeleted, of: job.name), ["job": job.name.rawValue, "table": table.description])
                    }
                }),
            family("certs_job_bytes_freed_total", "Bytes of deleted files.", .bytesFreed),
            dockerFamily(jobs, counters),
            family("certs_job_lock_timeouts_total", "Batches that a lock of others held up.", .lockTimeouts),
            family("certs_job_notices_total", "Users who were told.", .noticesSent),
            MetricFamily(
                WorkCounter.expiredMessages.rawValue, .counter, help: WorkCounter.expiredMessages.help,
                samples: [.init(sum(.expiredMessages))]),
            MetricFamily(
                WorkCounter.prekeyNotices.rawValue, .counter, help: WorkCounter.prekeyNotices.help,
                samples: [.init(sum(.prekeyNotices))]),
        ]
    }
}
