// swift-tools-version: 6.2
import PackageDescription

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")
let toml: Target.Dependency = .product(name: "TOMLKit", package: "TOMLKit")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

let package = Package(
    name: "auton",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
        // Without its Foundation trait: FoundationEssentials is all we use, and it starts faster.
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    ],
    targets: [
        .target(name: "AutonMessages"),
        .target(name: "CLinux"),
        .target(name: "CCurl"),
        .target(name: "AutonKit", dependencies: ["AutonMessages", "CLinux", subprocess, system]),
        // C, and nothing of Swift: it is process 1 of a sandbox, which has no Swift runtime.
        .executableTarget(
            name: "auton-sandbox", dependencies: ["CLinux"],
            linkerSettings: [
                .unsafeFlags([
                    "-nostartfiles", "-static-stdlib", "-Xclang-linker", "-static", "-Xclang-linker", "-Qunused-arguments",
                ])
            ]),
        .target(name: "AutonSettings", dependencies: ["AutonKit", system, toml]),
        .target(name: "AutonModel", dependencies: ["AutonSettings", "AutonKit", "AutonMessages", system]),
        .target(name: "AutonClient", dependencies: ["AutonModel", "AutonSettings", "AutonKit", "CCurl", system]),
        .target(
            name: "AutonAgents",
            dependencies: ["AutonClient", "AutonModel", "AutonSettings", "AutonKit", "AutonCommand", system, argumentParser]),
        .target(name: "AutonGate", dependencies: ["AutonKit", "AutonMessages", "CLinux", system]),
        .target(name: "AutonCommand", dependencies: ["AutonKit", "AutonSettings", "CLinux", argumentParser, system]),
        .executableTarget(name: "auton-plan", dependencies: ["AutonAgents"]),
        .executableTarget(name: "auton-agent", dependencies: ["AutonAgents", "AutonGate"]),
        .executableTarget(name: "auton-validate", dependencies: ["AutonGate", "AutonCommand"]),
        .executableTarget(name: "auton-merge", dependencies: ["AutonGate", "AutonCommand"]),
        .executableTarget(name: "auton-compose", dependencies: ["AutonGate", "AutonCommand"]),
        .executableTarget(name: "auton-status", dependencies: ["AutonModel", "AutonCommand"]),
        .executableTarget(name: "auton-config", dependencies: ["AutonModel", "AutonCommand"]),
        .executableTarget(
            name: "auton-bench", dependencies: ["AutonModel", "AutonKit", "AutonMessages", argumentParser, system]),
        .executableTarget(name: "auton-answer", dependencies: ["AutonModel", "AutonCommand"]),
        .executableTarget(
            name: "fake-model", dependencies: ["AutonModel", "AutonKit", argumentParser, system], path: "Tests/FakeModel"),
        .testTarget(name: "AutonGateTests", dependencies: ["AutonGate", "auton-validate", system]),
        .target(
            name: "TestSupport", dependencies: ["AutonModel", "AutonKit", "AutonMessages", system], path: "Tests/TestSupport"),
        .testTarget(
            name: "AutonMessagesTests", dependencies: ["TestSupport", "AutonModel", "AutonKit", "AutonMessages", system],
            exclude: ["Golden"]),
        .testTarget(name: "AutonKitTests", dependencies: ["TestSupport", "AutonKit", "AutonMessages", system]),
        .testTarget(name: "AutonSettingsTests", dependencies: ["TestSupport", "AutonSettings", "AutonKit", system]),
        .testTarget(
            name: "AutonLoopTests",
            dependencies: ["TestSupport", "fake-model", "AutonModel", "AutonKit", "AutonMessages", system]),
        .executableTarget(
            name: "ledger-probe", dependencies: ["AutonModel", "AutonSettings", "AutonKit", "AutonMessages", system],
            path: "Tests/LedgerProbe"),
        .testTarget(
            name: "AutonModelTests",
            dependencies: ["TestSupport", "ledger-probe", "AutonModel", "AutonSettings", "AutonKit", "AutonMessages", system]),
        .testTarget(
            name: "AutonClientTests",
            dependencies: ["TestSupport", "AutonClient", "AutonModel", "AutonSettings", "AutonKit", system],
            exclude: ["Golden"]),
        .testTarget(name: "AutonAgentsTests", dependencies: ["TestSupport", "AutonAgents", "AutonModel", "AutonKit", system]),
        .testTarget(name: "AutonPlanTests", dependencies: ["TestSupport", "auton-plan", "AutonModel", "AutonKit", system]),
        .testTarget(name: "FakeModelTests", dependencies: ["TestSupport", "fake-model", "AutonModel", "AutonKit", system]),
        .testTarget(
            name: "AutonComposeTests",
            dependencies: ["TestSupport", "auton-compose", "AutonGate", "AutonKit", "AutonMessages", system]),
        .testTarget(name: "AutonAnswerTests", dependencies: ["auton-answer", "AutonModel", "AutonKit", system]),
    ],
    swiftLanguageModes: [.v6]
)

for target in package.targets where !["CLinux", "CCurl", "auton-sandbox"].contains(target.name) {
    target.swiftSettings = [
        // Members of what a file does not import are not seen, such as Foundation's, which a dependency imports: it would link ICU.
        .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"), .treatAllWarnings(as: .error),
    ]
}
