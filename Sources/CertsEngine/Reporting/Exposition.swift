package import CertsCore
package import Foundation

/// The metric families of DESIGN §8, from one consistent reading of the inventory.
package struct Exposition: Sendable {
    package var declarations: [CertificateDeclaration]
    package var targets: [TargetDeclaration]
    package var states: [CertificateState]
    package var tallies: [RotationTally]
    package var tasks: [TaskRecord]
    /// How much of each node was found to be not as declared; `nil`: it was not looked at.
    package var drift: [NodeID: Int]?
    package var now: Date

    package init(
        declarations: [CertificateDeclaration], targets: [TargetDeclaration], states: [CertificateState],
        tallies: [RotationTally], tasks: [TaskRecord], drift: [NodeID: Int]? = nil,
        now: Date
    ) {
        self.declarations = declarations
        self.targets = targets
        self.states = states
        self.tallies = tallies
        self.tasks = tasks
        self.drift = drift
        self.now = now
    }

    /// One series: the certificate at one place where it has to be served.
    private struct Series {
        let instance: String
        let certificate: String
        let state: CertificateState
        let observation: EndpointObservation?
    }

    package func families() -> [MetricFamily] {
        let series = allSeries()
        return validityFamilies(series) + rotationFamilies() + [driftFamily()] + taskFamilies()
    }

    private func validityFamilies(_ series: [Series]) -> [MetricFamily] {
        func gauge(_ name: String, _ help: String, _ value: (Series) -> Double?) -> MetricFamily {
            MetricFamily(
                name, .gauge, help: help,
                samples: series.compactMap { one in
                    value(one).map { .init($0, ["instance": one.instance, "cert": one.certificate]) }
                })
        }
        return [
            gauge(
                "ssl_cert_expiry_days",
                "Days until the certificate that the instance should serve expires; negative once expired."
            ) {
                $0.state.intendedRecord?.daysLeft(at: now)
            },
            gauge("ssl_cert_not_after_timestamp_seconds", "End of the validity of the certificate.") {
                $0.state.intendedRecord?.notAfter.timeIntervalSince1970
            },
            gauge("ssl_cert_not_before_timestamp_seconds", "Begin of the validity of the certificate.") {
                $0.state.intendedRecord?.notBefore.timeIntervalSince1970
            },
            gauge("ssl_cert_renewal_due_timestamp_seconds", "When the planner renews the certificate.") {
                $0.state.dueAt?.timeIntervalSince1970
            },
            gauge(
                "ssl_cert_served_match",
                "1 if the instance was last seen serving the certificate that it should; absent while not known."
            ) { one in
                let intended = one.state.intendedFingerprints
                guard let served = one.observation?.served, !intended.isEmpty else { return nil }
                return intended.contains(served) ? 1 : 0
            },
            gauge("ssl_cert_served_last_check_timestamp_seconds", "When the instance was last asked.") {
                $0.observation?.observedAt.timeIntervalSince1970
            },
            MetricFamily(
                "ssl_cert_info", .gauge, help: "Facts that change with each renewal; always 1.",
                samples: series.compactMap { one in
                    guard let record = one.state.intendedRecord else { return nil }
                    return .init(
                        1,
                        [
                            "instance": one.instance, "cert": one.certificate,
                            "subject_cn": record.subjectCommonName ?? "", "issuer_cn": record.issuerCommonName ?? "",
                            "serial": record.serial, "fingerprint_sha256": record.sha256,
                            "key_algorithm": record.keyAlgorithm,
                            "issuer": one.state.requested?.issuer.rawValue ?? "",
                        ])
                }),
            MetricFamily(
                "certs_certificates", .gauge, help: "Managed certificates by state.",
                samples: CertificateState.Condition.allCases.map { condition in
                    .init(
                        Double(managedStates.count { $0.condition(at: now) == condition }),
                        ["state": condition.rawValue])
                }),
        ]
    }

    private func rotationFamilies() -> [MetricFamily] {
        func counter(_ name: String, _ help: String, _ counts: @escaping (RotationTally) -> Bool) -> MetricFamily {
            var totals: [Name: Int] = [:]
            for tally in tallies where counts(tally) { totals[tally.certificate, default: 0] += tally.count }
            return MetricFamily(
                name, .counter, help: help,
                samples: managedNames.map {
                    .init(Double(totals[$0] ?? 0), ["cert": $0.rawValue])
                })
        }
        let deploySteps: Set<Rotation.Step> = [.prepare, .apply, .verify, .commit]
        return [
            counter("certs_renewal_attempts_total", "Rotations begun that ask for a new certificate.") {
                $0.purpose == .issue
            },
            counter("certs_renewal_failures_total", "Rotations that ended without a new certificate being issued.") {
                $0.purpose == .issue && $0.failedStep.map { !deploySteps.contains($0) } ?? false
            },
            counter("certs_deploy_failures_total", "Rotations whose certificate could not be deployed.") {
                $0.failedStep.map(deploySteps.contains) ?? false
            },
            counter("certs_rollbacks_total", "Rotations that ended with the previous certificate restored.") {
                $0.outcome == .rolledBack
            },
            counter("certs_rollback_failures_total", "Rotations whose previous certificate could not be restored.") {
                $0.outcome == .rollbackFailed
            },
            MetricFamily(
                "certs_renewal_consecutive_failures", .gauge, help: "Rotations failed in a row.",
                samples: managedStates.map { .init(Double($0.consecutiveFailures), ["cert": $0.name.rawValue]) }),
        ] + hintFamilies()
    }

    private func hintFamilies() -> [MetricFamily] {
        let hints = managedStates.compactMap { state in state.currentHint.map { (name: state.name.rawValue, hint: $0) }
        }
        return [
            MetricFamily(
                "certs_renewal_hint_timestamp_seconds", .gauge,
                help: "The time picked from the window that the CA suggests; absent while it suggests none.",
                samples: hints.map { .init($0.hint.pick.timeIntervalSince1970, ["cert": $0.name]) }),
            MetricFamily(
                "certs_renewal_hint_info", .gauge, help: "Where the CA explains its suggestion; always 1.",
                samples: hints.compactMap { one in
                    one.hint.explanationURL.map {
                        .init(1, ["cert": one.name, "explanation": TerminalText.sanitized($0)])
                    }
                }),
            MetricFamily(
                "certs_renewal_hint_failures", .gauge,
                help: "Questions in a row that the CA did not answer; absent where it is not asked.",
                samples: managedStates.compactMap { state in
                    state.hintCheck.map { .init(Double($0.failures), ["cert": state.name.rawValue]) }
                }),
        ]
    }

    private func driftFamily() -> MetricFamily {
        MetricFamily(
            "certs_drift", .gauge,
            help: "Places on a node that are not as declared: disk, memory, served, copies; absent while not known.",
            samples: (drift ?? [:]).sorted { $0.key < $1.key }.map { node, count in
                .init(Double(count), ["target": node.description])
            })
    }

    private func taskFamilies() -> [MetricFamily] {
        func times(_ name: String, _ help: String, _ value: (TaskRecord) -> Date?) -> MetricFamily {
            MetricFamily(
                name, .gauge, help: help,
                samples: tasks.compactMap { task in
                    value(task).map { .init($0.timeIntervalSince1970, ["task": task.name]) }
                })
        }
        return [
            times("certs_task_last_success_timestamp_seconds", "End of the last run without a failure.") {
                $0.lastSuccessAt
            },
            times("certs_task_last_run_timestamp_seconds", "Start of the last run.") { $0.lastRunAt },
        ]
    }

    private var managedNames: [Name] { declarations.map(\.name).sorted() }

    private var managedStates: [CertificateState] {
        let known = Dictionary(uniqueKeysWithValues: states.map { ($0.name, $0) })
        return managedNames.map { known[$0] ?? CertificateState(name: $0) }
    }

    /// One series for each endpoint that was observed; before the first observation one for each declared endpoint, and
    /// for a certificate without targets one under its first name.
    private func allSeries() -> [Series] {
        let declared = Dictionary(uniqueKeysWithValues: declarations.map { ($0.name, $0) })
        var result: [Series] = []
        for state in managedStates {
            guard let declaration = declared[state.name] else { continue }
            let observations = state.targets.flatMap(\.endpoints)
            var byInstance: [String: EndpointObservation] = [:]
            let intended = state.intendedFingerprints
            for observation in observations {
                let instance = instance(observation.endpoint, declaration)
                // Several addresses of one name: a mismatch must not be hidden by a match.
                if let known = byInstance[instance], known.served.map({ !intended.contains($0) }) ?? true { continue }
                byInstance[instance] = observation
            }
            if byInstance.isEmpty {
                let endpoints = targets.filter { declaration.targets.contains($0.name) }.flatMap(\.nodes).flatMap(
                    \.endpoints
                )
                .filter { one in
                    one.serverName.map { host in declaration.names.contains { $0.covers(host) } } ?? true
                }
                let instances = Set(endpoints.map { instance($0, declaration) })
                let fallback = declaration.names.first?.value ?? state.name.rawValue
                for name in instances.isEmpty ? [fallback] : instances.sorted() {
                    result.append(
                        Series(instance: name, certificate: state.name.rawValue, state: state, observation: nil))
                }
            }
            for (name, observation) in byInstance.sorted(by: { $0.key < $1.key }) {
                result.append(
                    Series(instance: name, certificate: state.name.rawValue, state: state, observation: observation))
            }
        }
        return result
    }

    private func instance(_ endpoint: Endpoint, _ declaration: CertificateDeclaration) -> String {
        "\(endpoint.serverName ?? declaration.names.first?.value ?? endpoint.host):\(endpoint.port)"
    }
}

extension AlternativeName {
    /// Whether a server name falls under this name.
    func covers(_ serverName: String) -> Bool {
        switch self {
        case .dns(let pattern): DNSName.covers(pattern, host: serverName.lowercased())
        case .ip(let address): IPAddress(serverName) == address
        case .email, .uri: false
        }
    }
}
