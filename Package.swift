// swift-tools-version: 6.1
import PackageDescription

// Every Swift target of ours is compiled with the same strict settings.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")

/// A library of ours; the order of the calls below is the order of the layers (an edge only ever points up the list).
func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies + ["CertsTesting"], swiftSettings: strict)
}

let package = Package(
    name: "certs",
    products: [
        .executable(name: "certs", targets: ["certs"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-async-algorithms", from: "1.1.4"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    ],
    targets: [
        // C libraries: a module map and commented shims, no logic.
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CLDNS", pkgConfig: "ldns", providers: [.apt(["libldns-dev"])]),
        .systemLibrary(name: "CMalloc"),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),

        // Runs before `main`: OpenSSL without its clean-up at exit.
        .target(name: "COpenSSLStart", linkerSettings: [.linkedLibrary("crypto")]),

        library("CertsCore"),
        library("CertsCrypto", ["CertsCore", "COpenSSL", "COpenSSLStart"]),
        library("CertsHTTP", ["CertsCore", "CCurl"]),
        library("CertsDNS", ["CertsCore", "CLDNS"]),
        library("CertsDocker", ["CertsCore", "CertsHTTP"]),
        library("CertsGzip", ["CertsCore", "CZlib"]),
        library("CertsPrograms", ["CertsCore", subprocess, systemPackage]),
        library("CertsStore", ["CertsCore", .product(name: "GRDB", package: "GRDB.swift"), systemPackage]),
        library(
            "CertsIssuers",
            [
                "CertsCore", "CertsCrypto", "CertsHTTP", "CertsDNS", "CertsPrograms", logging, nioCore, nioPosix,
                nioHTTP1,
            ]),
        library("CertsNotify", ["CertsCore", "CertsCrypto", "CertsHTTP", "CertsPrograms"]),
        library(
            "CertsHAProxy",
            [
                "CertsCore", "CertsCrypto", "CertsHTTP", "CertsDocker", "CertsPrograms", nioCore, nioPosix,
                systemPackage, logging,
            ]),
        library(
            "CertsEngine",
            [
                "CertsCore", "CertsCrypto", "CertsGzip", logging, lifecycle,
                .product(name: "AsyncAlgorithms", package: "swift-async-algorithms"),
            ]),
        library(
            "CertsMaintenance",
            ["CertsCore", "CertsCrypto", "CertsHTTP", "CertsDocker", "CertsPrograms", "CLibPQ", logging]),
        library(
            "CertsWeb",
            [
                "CertsCore", "CertsGzip", "CertsEngine", logging, lifecycle, nioCore,
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Mustache", package: "swift-mustache"),
            ]),
        .executableTarget(
            name: "certs",
            dependencies: [
                "CertsCore", "CertsCrypto", "CertsHTTP", "CertsStore", "CertsIssuers", "CertsHAProxy", "CertsEngine",
                "CertsNotify", "CertsMaintenance", "CertsWeb", "CMalloc", logging, lifecycle, unixSignals,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: strict),

        // Our side of `make bench`; not a product, so `make run` and `make build` do not build it.
        .executableTarget(
            name: "CertsBenchmarks",
            dependencies: [
                "CertsCore", "CertsCrypto", "CertsStore", "CertsHAProxy", "CertsEngine", "CertsGzip",
                "CertsMaintenance", logging,
            ],
            path: "Benchmarks/CertsBenchmarks", swiftSettings: strict),

        library("CertsTesting", ["CertsCore", "CertsCrypto", "CertsHTTP", "CertsDocker"]),
        tests("CertsCoreTests", ["CertsCore"]),
        tests("CertsCryptoTests", ["CertsCrypto"]),
        tests("CertsHTTPTests", ["CertsHTTP"]),
        tests("CertsDNSTests", ["CertsDNS"]),
        tests("CertsGzipTests", ["CertsGzip"]),
        tests("CertsStoreTests", ["CertsStore"]),
        tests("CertsIssuersTests", ["CertsIssuers", "CertsStore", "CertsHTTP", "CertsDNS"]),
        tests("CertsNotifyTests", ["CertsNotify", "CertsHTTP"]),
        tests("CertsHAProxyTests", ["CertsHAProxy", "CertsDocker", "CertsStore"]),
        tests("CertsEngineTests", ["CertsEngine", "CertsStore", "CertsIssuers", "CertsHAProxy"]),
        tests("CertsMaintenanceTests", ["CertsMaintenance", "CertsDocker", "CertsStore", logging]),
        tests("CertsWebTests", ["CertsWeb", "CertsHTTP"]),
        tests("CertsCommandTests", ["certs"]),
        tests("EndToEndTests", ["certs", "CertsHTTP"]),
    ],
    swiftLanguageModes: [.v6]
)
