import CertsCore
import CertsEngine
import CertsTesting
import Foundation

/// Something that goes wrong in a healthy world, and the alert that must say so in time.
struct InjectedFault: Sendable {
    struct Outcome {
        var recording: Recording
        /// The minute of the fault.
        var at: Int
    }

    /// As the table in docs/monitoring.md names it; also the scene of its recording.
    let name: String
    let alert: String
    /// In minutes, from the fault to the alert.
    let bound: Int
    /// What else has to fire, as a consequence.
    let others: Set<String>
    let inject: @Sendable (_ scene: String) async throws -> Outcome

    /// How long each fault is looked at.
    static let minutes = 32 * 60

    init(
        _ name: String, _ alert: String, within bound: Int, with others: Set<String> = [],
        inject: @escaping @Sendable (_ scene: String) async throws -> Outcome
    ) {
        self.name = name
        self.alert = alert
        self.bound = bound
        self.others = others
        self.inject = inject
    }

    /// A world after its first rotation and three quiet hours; then `fault`, and the timer goes on.
    static func world(
        _ name: String, _ alert: String, within bound: Int, with others: Set<String> = [],
        fault: @escaping @Sendable (EngineWorld) async throws -> Void
    ) -> InjectedFault {
        InjectedFault(name, alert, within: bound, with: others) { scene in
            var watched = try await WatchedWorld(scene)
            try await watched.run(until: 180)
            try await fault(watched.world)
            await watched.record()
            try await watched.run(until: minutes)
            return Outcome(recording: watched.recording, at: 180)
        }
    }

    /// As above, where the engine's world has no such thing to break: some series change.
    static func series(
        _ name: String, _ alert: String, within bound: Int, from before: [String: Double], to after: [String: Double]
    ) -> InjectedFault {
        InjectedFault(name, alert, within: bound) { scene in
            var recording = Recording(scene)
            recording.add(before, at: 0)
            recording.change(after, at: 180)
            return Outcome(recording: recording, at: 180)
        }
    }
}

extension InjectedFault {
    private static let failing: Set = ["CertsRenewalFailing", "CertsRenewalNotRecovered"]
    private static let place = "instance=\"messenger.example.com:1000\",cert=\"messenger\""

    /// A call of the target fails from now on, and somebody rotates by hand.
    private static func rotating(failing calls: Set<String>) -> @Sendable (EngineWorld) async throws -> Void {
        { world in
            world.targets[0].live.failing = calls
            world.targets[0].live.failsForever = true
            _ = await world.engine().rotate([EngineWorld.name])
        }
    }

    static let all = ofRotations + ofServing + ofIssuers + ofTheService

    static let ofRotations = [
        world(
            "a rotation is rolled back", "CertsRolledBack", within: 5, with: failing.union(["CertsUndeployed"]),
            fault: rotating(failing: ["verify"])),
        world(
            "the rollback fails, too", "CertsRollbackFailed", within: 5,
            with: failing.union(["CertsUndeployed", "CertsDrift", "SSLCertificateServedMismatch"]),
            fault: rotating(failing: ["verify", "restore"])),
        world(
            "a new certificate cannot be deployed", "CertsUndeployed", within: 125,
            with: failing, fault: rotating(failing: ["prepare"])),
    ]

    static let ofServing = [
        world(
            "HAProxy serves another certificate, and deploying again does not help", "SSLCertificateServedMismatch",
            within: 80, with: failing.union(["CertsDrift"])
        ) { world in
            world.targets[0].live.served = Fingerprint(hex: String(repeating: "ee", count: 32))
            world.targets[0].live.failing = ["prepare"]
            world.targets[0].live.failsForever = true
        },
        world("the endpoint does not answer", "SSLCertificateNotSeen", within: 130, with: ["CertsDrift"]) { world in
            world.targets[0].live.served = nil
        },
        world("somebody leaves a copy beside the bundle", "CertsDrift", within: 190) { world in
            world.targets[0].live.strangers = [Stranger(path: "/copy.pem", certificate: EngineWorld.name)]
        },
        series(
            "the chain does not verify", "SSLCertificateChainBroken", within: 20,
            from: ["ssl_cert_chain_valid{\(place)}": 1], to: ["ssl_cert_chain_valid{\(place)}": 0]),
        series(
            "the CA revokes the certificate", "SSLCertificateRevoked", within: 5,
            from: ["ssl_cert_ocsp_status{\(place),status=\"revoked\"}": 0],
            to: ["ssl_cert_ocsp_status{\(place),status=\"revoked\"}": 1]),
        series(
            "the staple ends and no new one comes", "SSLCertificateStapleOld", within: 65,
            from: ["ssl_cert_ocsp_next_update_timestamp_seconds{\(place)}": 180 * 60], to: [:]),
        series(
            "the certificate begins in the future", "SSLCertificateNotYetValid", within: 20,
            from: ["ssl_cert_not_before_timestamp_seconds{\(place)}": 0],
            to: ["ssl_cert_not_before_timestamp_seconds{\(place)}": 90 * 86400]),
    ]

    static let ofIssuers = [
        InjectedFault(
            "the first certificate is never issued", "CertsRenewalFailing", within: 140,
            with: ["CertsRenewalNotRecovered", "CertsDrift", "CertsTaskFailing"]
        ) { scene in
            var watched = try await WatchedWorld(scene)
            watched.world.issuer.behaviour = .fails(.later)
            try await watched.run(until: minutes)
            return Outcome(recording: watched.recording, at: 0)
        },
        InjectedFault("nobody answers a hand-off", "CertsWaiting", within: 1445, with: ["CertsDrift"]) { scene in
            var watched = try await WatchedWorld(scene)
            watched.world.issuer.behaviour = .pending
            try await watched.run(until: minutes)
            return Outcome(recording: watched.recording, at: 0)
        },
        series(
            "a declared certificate is never asked for", "CertsMissing", within: 125,
            from: ["certs_certificates{state=\"missing\"}": 0], to: ["certs_certificates{state=\"missing\"}": 1]),
        series(
            "the CA refuses with 429", "CertsIssuerRateLimited", within: 10,
            from: ["certs_issuer_requests_total{issuer=\"acme\",code=\"429\"}": 0],
            to: ["certs_issuer_requests_total{issuer=\"acme\",code=\"429\"}": 1]),
    ]

    static let ofTheService = [
        InjectedFault("the timer stands still", "CertsTaskStale", within: 150, with: ["CertsTaskFailing"]) { scene in
            var watched = try await WatchedWorld(scene)
            try await watched.run(until: 180)
            return Outcome(recording: watched.recording, at: watched.lastTick)
        },
        series(
            "a task never had a run without a failure", "CertsTaskFailing", within: 185, from: [:],
            to: ["certs_task_interval_seconds{task=\"drift\"}": 3600]),
        InjectedFault("the service is gone", "CertsExporterAbsent", within: 15) { scene in
            var watched = try await WatchedWorld(scene)
            try await watched.run(until: 180)
            watched.goSilent()
            return Outcome(recording: watched.recording, at: 180)
        },
        series(
            "a watched directory is not mounted", "CertsSourceDown", within: 10,
            from: ["certs_source_up{source=\"legacy\"}": 1], to: ["certs_source_up{source=\"legacy\"}": 0]),
        series(
            "a watched file is no certificate any more", "CertsSourceErrors", within: 10,
            from: ["certs_source_errors_total{source=\"legacy\",reason=\"bad_pem\"}": 0],
            to: ["certs_source_errors_total{source=\"legacy\",reason=\"bad_pem\"}": 1]),
        series(
            "a fifth of the watched files is gone", "CertsInventoryShrank", within: 20,
            from: ["certs_source_certificates{source=\"legacy\"}": 100],
            to: ["certs_source_certificates{source=\"legacy\"}": 80]),
        series(
            "a channel of notifications fails", "CertsNotificationFailing", within: 10,
            from: [
                "certs_notification_failures_total{channel=\"mail\"}": 0,
                "certs_notification_consecutive_failures{channel=\"mail\"}": 0,
            ],
            to: [
                "certs_notification_failures_total{channel=\"mail\"}": 1,
                "certs_notification_consecutive_failures{channel=\"mail\"}": 1,
            ]),
        series(
            "a maintenance job fails", "CertsJobFailing", within: 10,
            from: ["certs_job_runs_total{job=\"sessions\",result=\"failed\"}": 0],
            to: ["certs_job_runs_total{job=\"sessions\",result=\"failed\"}": 1]),
        series(
            "a maintenance job does not begin", "CertsJobLate", within: 80,
            from: ["certs_job_next_run_timestamp_seconds{job=\"sessions\"}": 180 * 60], to: [:]),
        series(
            "the files of a certificate cannot be read", "CertsUnreadable", within: 20,
            from: ["certs_certificates{state=\"unreadable\"}": 0], to: ["certs_certificates{state=\"unreadable\"}": 1]),
    ]

    /// Looked at alone: nothing is exported by anybody.
    static let alone = series(
        "no certificate is exported", "CertsNoCertificates", within: 20,
        from: ["ssl_cert_expiry_days{\(place)}": 80], to: ["ssl_cert_expiry_days{\(place)}": .nan])
}
