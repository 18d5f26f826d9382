import CertsCore
import Testing

@Suite struct KeyTypeTests {
    @Test(arguments: KeyAlgorithm.allCases) func theWordOfTheConfigurationNamesItsType(_ algorithm: KeyAlgorithm) {
        #expect(KeyType(algorithm: algorithm.rawValue) == algorithm.keyType)
    }

    @Test func everyTypeIsTheTypeOfAnAlgorithm() {
        #expect(Set(KeyAlgorithm.allCases.map(\.keyType)) == Set(KeyType.allCases))
        #expect(KeyAlgorithm.rsa4096.keyType == .rsa)
        #expect(KeyAlgorithm.ecdsaP521.keyType == .ecdsa)
        #expect(KeyAlgorithm.ed25519.keyType == .ed25519)
    }

    @Test(arguments: [
        ("rsa-1023", KeyType.rsa), ("RSA", .rsa), ("rsaEncryption", .rsa), ("prime256v1", .ecdsa),
        ("prime239v3", .ecdsa), ("secp256k1", .ecdsa), ("sect571r1", .ecdsa), ("brainpoolP384r1", .ecdsa),
        ("c2pnb163v1", .ecdsa), ("wap-wsg-idm-ecid-wtls12", .ecdsa), ("id-ecPublicKey", .ecdsa), ("ED25519", .ed25519),
    ])
    func readsTheNamesOfOpenSSL(_ name: String, _ type: KeyType) {
        #expect(KeyType(algorithm: name) == type)
    }

    @Test(arguments: [
        "", "RSASSA-PSS", "rsa-pss-2048", "rsa-", "DSA", "dsaEncryption", "ED448", "SM2", "1.2.840.113549.1.1.1",
        "unknown",
    ])
    func claimsNoTypeForWhatNoDeclarationCanAskFor(_ name: String) {
        #expect(KeyType(algorithm: name) == nil)
    }

    @Test func readsTheTypeFromTheRecordOfACertificate() {
        var record = CertificateRecord()
        #expect(KeyType.of(record: record) == nil)
        record.keyAlgorithm = "rsa-2048"
        #expect(KeyType.of(record: record) == .rsa)
    }

    @Test func onlyTheTypesThatHAProxyKnowsHaveAPlaceInABundle() {
        #expect(KeyType.allCases.map(\.bundleSuffix) == [".rsa", ".ecdsa", nil])
    }
}
