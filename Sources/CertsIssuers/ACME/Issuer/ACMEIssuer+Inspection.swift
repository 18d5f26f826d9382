package import CertsCore
import CertsDNS
import CertsHTTP
package import Foundation

extension ACMEIssuer: InspectableIssuer {
    package func inspect(_ certificates: [CertificateDeclaration], now: Date) async -> [Finding] {
        let inspection = ACMEInspection(
            issuer: name, declaration: declaration, solvers: solvers,
            sources: inspectionSources(certificates.map(\.names), now: now))
        return await inspection.findings(for: certificates)
    }

    private func inspectionSources(_ names: [[AlternativeName]], now: Date) -> ACMEInspection.Sources {
        ACMEInspection.Sources(
            directory: { try await self.directoryView() },
            clocks: {
                let reply = try await self.told { try await self.session.newNonceReply() }
                return reply.headers["Date"].flatMap { HTTPDate.parse($0) }.map { ($0, reply.receivedAt) }
            },
            account: { try await self.account() },
            caa: { question in
                do {
                    return await CAACheck(resolver: try self.resolver()).findings(
                        for: question.names, issuerDomains: question.issuerDomains, accountURL: question.accountURL,
                        methods: question.methods)
                } catch {
                    return question.names.map { CAARefusal(name: $0.value, .wrapping(error)) }
                }
            },
            authoritativeServers: { name in _ = try await self.resolver().authoritativeServers(of: name) },
            limits: {
                try await limiter.remaining(of: names, now: now).map {
                    .init(
                        limit: [$0.limit, $0.subject].compactMap(\.self).joined(separator: " "), left: $0.left,
                        total: $0.of)
                }
            })
    }
}
