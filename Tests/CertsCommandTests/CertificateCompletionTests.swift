import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import certs

@Suite struct CertificateCompletionTests {
    @Test(arguments: [
        (["certs", "--config", "/a.yml", "rotate", ""], "/a.yml"),
        (["certs", "rotate", "--config=/a.yml", "w"], "/a.yml"),
        (["certs", "rotate", "--config", "=", "/a.yml", "w"], "/a.yml"),
        (["certs", "rotate", "w"], nil),
        (["certs", "rotate", "--config"], nil),
    ]) func findsTheConfigurationInTheCommandLine(words: [String], expected: String?) {
        #expect(CertificateCompletion.configuration(in: words) == expected)
    }

    @Test func offersTheDeclaredNamesAndNothingWhereTheFileIsWrong() throws {
        let directory = try TemporaryDirectory(prefix: "certs-completion")
        let path = try directory.write(StarterConfiguration.text, to: "certs.yml")
        #expect(CertificateCompletion.names(["certs", "--config", path, "rotate", ""]) == ["www"])
        let wrong = try directory.write("version: [", to: "wrong.yml")
        #expect(CertificateCompletion.names(["certs", "--config", wrong, "rotate", ""]).isEmpty)
        #expect(CertificateCompletion.names(["certs", "--config", directory.path("none"), "rotate", ""]).isEmpty)
    }

    @Test func aListenerOnAllAddressesIsAskedOnTheLoopback() {
        #expect(HealthCommand.address(of: .init(host: "0.0.0.0", port: 9219)) == "127.0.0.1:9219")
        #expect(HealthCommand.address(of: .init(host: "::", port: 1)) == "[::1]:1")
        #expect(HealthCommand.address(of: .init(host: "192.0.2.7", port: 80)) == "192.0.2.7:80")
    }
}
