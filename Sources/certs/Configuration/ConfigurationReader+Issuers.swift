import CertsCore
import Foundation
import Yams

extension ConfigurationReader {
    /// The types that this program has.
    private static let issuerTypes = ["acme", "local-ca", "self-signed", "hand-off"]
    private static let issuerKeys = [
        "acme": acmeKeys,
        "self-signed": ["type", "validity"],
        "local-ca": ["type", "commonName", "validity", "key", "permittedNames"],
        "hand-off": ["type", "anchors"],
    ]

    /// `issuers:` maps each name to its block.
    mutating func readIssuers(_ top: ConfigurationBlock) {
        guard let node = top.node("issuers") else { return }
        guard case .mapping(let mapping) = node else {
            problems.add(
                node.mark, "'issuers' must be a block of 'NAME: {…}', not \(ConfigurationBlock.typeName(node))",
                "write it as 'local: { type: local-ca, commonName: Example Local CA }'")
            return
        }
        for (key, value) in mapping {
            guard case .scalar(let scalar) = key else {
                problems.add(key.mark, "the name of an issuer must be a word", "write it as 'local: {…}'")
                continue
            }
            let name = declare(Located(value: scalar.string, mark: scalar.mark), "issuer", in: \.issuerNames)
            guard let kind = kind(value, "issuer '\(scalar.string)'", key.mark), let name else { continue }
            issuers.append(Located(value: IssuerDeclaration(name: name, kind: kind), mark: key.mark))
        }
    }

    private func kind(_ node: Node, _ what: String, _ mark: Mark?) -> IssuerDeclaration.Kind? {
        guard case .mapping(let mapping) = node else {
            problems.add(
                node.mark ?? mark, "\(what) must be a block",
                "write it as '{ type: local-ca, commonName: Example Local CA }'")
            return nil
        }
        // The type decides which keys there are, so it is looked at before the block.
        let typeNode = mapping.first { $0.key.scalar?.string == "type" }?.value
        guard let typeNode, case .scalar(let type) = typeNode, !ConfigurationText.isNull(typeNode) else {
            problems.add(
                typeNode?.mark ?? mark, "\(what) has no 'type'",
                "write one of \(Self.issuerTypes.joined(separator: ", "))")
            return nil
        }
        guard let keys = Self.issuerKeys[type.string] else {
            problems.add(
                type.mark, "'\(type.string)' is not a type of issuer", remedy(for: type.string, Self.issuerTypes))
            return nil
        }
        guard let block = ConfigurationBlock(node, what, keys: keys, problems) else { return nil }
        if type.string == "acme" { return acme(block) }
        // At most 20 years: notAfter stays far from 2049, where the encoding of dates changes.
        let validity = block.duration("validity", 60...7300 * 86400) ?? 90 * 86400
        switch type.string {
        case "self-signed":
            return .selfSigned(validity: validity)
        case "local-ca":
            return localAuthority(block, validity)
        default:
            let anchors = block.text("anchors")
            let file = anchors.flatMap { path($0) }
            return anchors != nil && file == nil ? nil : .handOff(anchorsFile: file)
        }
    }

    private func localAuthority(_ block: ConfigurationBlock, _ validity: TimeInterval) -> IssuerDeclaration.Kind? {
        let commonName = block.requiredText(
            "commonName", "write the name that people shall see in it, e.g. 'Example Local CA'")
        if let commonName { checkLength(commonName, "commonName", 64) }
        let algorithm = algorithm(block, "key") ?? .ecdsaP256
        var permitted: [String] = []
        for text in block.texts("permittedNames") {
            do {
                permitted.append(try ConfigurationValue.permittedName(text.value))
            } catch {
                problems.add(text.mark, error.message, error.hint ?? "correct it")
            }
        }
        guard let commonName else { return nil }
        return .localCA(
            LocalAuthorityPolicy(
                commonName: commonName.value, validity: validity, keyAlgorithm: algorithm, permittedNames: permitted))
    }

    /// The algorithm of a key: `key: ecdsa-p256`, or the block `key: { algorithm: ecdsa-p256 }`.
    private func algorithm(_ block: ConfigurationBlock, _ key: String) -> KeyAlgorithm? {
        if case .mapping? = block.node(key) {
            guard let text = block.block(key, keys: ["algorithm"])?.text("algorithm") else { return nil }
            return word(text, "a key algorithm", KeyAlgorithm.self)
        }
        return block.text(key).flatMap { word($0, "a key algorithm", KeyAlgorithm.self) }
    }

    /// The upper bounds of RFC 5280 appendix A.1, in characters.
    func checkLength(_ text: Located<String>, _ attribute: String, _ bound: Int) {
        guard text.value.unicodeScalars.count > bound else { return }
        problems.add(text.mark, "'\(attribute)' is longer than \(bound) characters (RFC 5280)", "shorten it")
    }
}
