import CertsCore
import CertsMaintenance
import CertsStore
import CertsTesting
import Foundation
import Testing

/// The calls of "Maintenance Window Procedure", first as they are written there.
@Suite(.timeLimit(.minutes(10))) struct WindowSnippetTests {
    /// ```
    /// curl -X POST http://localhost:8080/api/v1/admin/announcements \
    ///   -H "Authorization: Bearer $ADMIN_TOKEN" \
    ///   -H "Content-Type: application/json" \
    ///   -d '{"message": "Scheduled maintenance at 2AM UTC", "severity": "info"}'
    /// ```
    private func announcement(_ server: AdminServer) -> [String] {
        [
            "curl", "-X", "POST", server.url + AdminServer.announcements, "-H",
            "Authorization: Bearer \(AdminServer.token)", "-H", "Content-Type: application/json", "-d",
            "{\"message\": \"Scheduled maintenance at 2AM UTC\", \"severity\": \"info\"}",
        ]
    }

    @Test(arguments: [401, 500]) func aRefusedAnnouncementLooksLikeOneThatWasMade(status: Int) async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])])
        shop.server.behave("POST", AdminServer.announcements, .status(status))
        let line = announcement(shop.server)
        let original = try await BlockingPool.network.run { try Tool.run(line) }
        #expect(original.status == 0)
        #expect(shop.server.announcements.isEmpty)

        shop.server.behave("POST", AdminServer.announcements, .status(status), .status(status), .status(status))
        let error = await #expect(throws: CertsError.self) { try await shop.open() }
        #expect(error?.code == .adminFailed)
        // Nobody was told, so nobody is locked out and nothing is done.
        #expect(!shop.server.wasEverOn)
        #expect(try await shop.database.runs(of: nil, limit: 5).isEmpty)
    }

    /// ```
    /// curl -X POST http://localhost:8080/api/v1/admin/maintenance \
    ///   -H "Authorization: Bearer $ADMIN_TOKEN" \
    ///   -H "Content-Type: application/json" \
    ///   -d '{"enabled": true, "message": "System undergoing maintenance"}'
    /// ./scripts/maintenance.sh
    /// ./scripts/verify-maintenance.sh
    /// curl … -d '{"enabled": false}'
    /// ```
    @Test func aScriptThatEndsInTheMiddleLocksTheUsersOut() async throws {
        let shop = try await WindowShop.make([("work", ["/bin/sh", "-c", "exit 1"])])
        let call = """
            curl -s -X POST \(shop.server.url + AdminServer.maintenance) -H "Authorization: Bearer \(AdminServer.token)" \
            -H "Content-Type: application/json" -d
            """
        let script = """
            set -e
            \(call) '{"enabled": true, "message": "System undergoing maintenance"}'
            sh -c 'exit 1'
            \(call) '{"enabled": false}'
            """
        let original = try await BlockingPool.network.run { try Tool.run(["/bin/sh", "-c", script]) }
        #expect(original.status != 0)
        #expect(shop.server.isOn)

        shop.server.reset()
        let window = try await shop.open()
        #expect(try await shop.events(window).contains("task failed work"))
        #expect(shop.server.wasEverOn)
        #expect(!shop.server.isOn)
    }
}
