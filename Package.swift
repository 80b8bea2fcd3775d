// swift-tools-version: 6.2
import PackageDescription

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")
let toml: Target.Dependency = .product(name: "TOMLKit", package: "TOMLKit")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

// A target is rebuilt for what it names, not for what that is made of: each names all that it imports, or programs would go on with
// structures as they were before.
let base: [Target.Dependency] = ["AutonKit", "AutonMessages", system]
let program: [Target.Dependency] = base + ["AutonCommand", "AutonSettings", argumentParser]
let tests: [Target.Dependency] = base + ["TestSupport"]

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
        .target(name: "AutonSettings", dependencies: base + [toml]),
        .target(name: "AutonModel", dependencies: base + ["AutonSettings", "CLinux"]),
        .target(name: "AutonClient", dependencies: base + ["AutonModel", "AutonSettings", "CCurl"]),
        .target(name: "AutonAgents", dependencies: program + ["AutonClient", "AutonModel"]),
        .target(name: "AutonGate", dependencies: base + ["CLinux"]),
        .target(name: "AutonCommand", dependencies: base + ["AutonSettings", "CLinux", argumentParser]),
        .executableTarget(name: "auton-plan", dependencies: program + ["AutonAgents", "AutonModel"]),
        .executableTarget(name: "auton-agent", dependencies: program + ["AutonAgents", "AutonGate", "AutonModel"]),
        .executableTarget(name: "auton-validate", dependencies: program + ["AutonGate"]),
        .executableTarget(name: "auton-merge", dependencies: program + ["AutonGate"]),
        .executableTarget(name: "auton-compose", dependencies: program + ["AutonGate"]),
        .executableTarget(name: "auton-status", dependencies: program + ["AutonModel"]),
        .executableTarget(name: "auton-config", dependencies: program + ["AutonModel"]),
        .executableTarget(name: "auton-bench", dependencies: base + ["AutonModel", argumentParser]),
        .executableTarget(name: "auton-answer", dependencies: program + ["AutonModel"]),
        .executableTarget(
            name: "fake-model", dependencies: base + ["AutonModel", argumentParser], path: "Tests/FakeModel"),
        .testTarget(name: "AutonGateTests", dependencies: tests + ["AutonGate", "CLinux", "auton-validate"]),
        .target(
            name: "TestSupport", dependencies: base + ["AutonModel"], path: "Tests/TestSupport"),
        .testTarget(
            name: "AutonMessagesTests", dependencies: tests + ["AutonModel"],
            exclude: ["Golden"]),
        .testTarget(name: "AutonKitTests", dependencies: tests),
        .testTarget(name: "AutonSettingsTests", dependencies: tests + ["AutonSettings"]),
        .testTarget(
            name: "AutonLoopTests",
            dependencies: tests + ["AutonModel", "fake-model"]),
        .executableTarget(
            name: "ledger-probe", dependencies: base + ["AutonModel", "AutonSettings"],
            path: "Tests/LedgerProbe"),
        .testTarget(
            name: "AutonModelTests",
            dependencies: tests + ["AutonModel", "AutonSettings", "ledger-probe"]),
        .testTarget(
            name: "AutonClientTests",
            dependencies: tests + ["AutonClient", "AutonModel", "AutonSettings"],
            exclude: ["Golden"]),
        .testTarget(name: "AutonAgentsTests", dependencies: tests + ["AutonAgents", "AutonModel"]),
        .testTarget(name: "AutonPlanTests", dependencies: tests + ["AutonModel", "auton-plan"]),
        .testTarget(name: "FakeModelTests", dependencies: tests + ["AutonModel", "fake-model"]),
        .testTarget(
            name: "AutonComposeTests",
            dependencies: tests + ["AutonGate", "auton-compose"]),
        .testTarget(name: "AutonAnswerTests", dependencies: base + ["AutonModel", "auton-answer"]),
    ],
    swiftLanguageModes: [.v6]
)

for target in package.targets where !["CLinux", "CCurl", "auton-sandbox"].contains(target.name) {
    target.swiftSettings = [
        // Members of what a file does not import are not seen, such as Foundation's, which a dependency imports: it would link ICU.
        .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"), .treatAllWarnings(as: .error),
    ]
}
