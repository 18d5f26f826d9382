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
                let resolver: Resolver
                do {
                    resolver = try self.resolver()
                } catch {
                    return question.names.map { .init(name: $0.value, reason: "\(error)", isRefusal: false) }
                }
                let refusals = await CAACheck(resolver: resolver).findings(
                    for: question.names, issuerDomains: question.issuerDomains, accountURL: question.accountURL,
                    methods: question.methods)
                return refusals.map { .init(name: $0.name, reason: $0.reason, isRefusal: !$0.isPassing) }
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
