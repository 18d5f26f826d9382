import CertsTesting
import Foundation

@testable import CertsHAProxy

/// Where tests run systemd is seldom process 1: a small script stands for `systemctl`, beside the real HAProxy.
enum FakeSystemctl {
    /// - Parameters:
    ///   - state: what `show` prints.
    ///   - onReload: a line of shell.
    static func install(in directory: TemporaryDirectory, state: String, onReload: String) throws -> SystemdReloader {
        try directory.write(state + "\n", to: "state")
        try directory.write(onReload + "\n", to: "on-reload")
        let script = """
            #!/bin/sh
            echo "$*" >> \(directory.path("asked"))
            case " $* " in
            *" show "*) exec cat \(directory.path("state")) ;;
            *" reload "*) exec sh \(directory.path("on-reload")) ;;
            esac
            exit 9

            """
        let path = try directory.write(script, to: "systemctl")
        chmod(path, 0o700)
        return SystemdReloader(unit: "haproxy.service", systemctl: path)
    }

    static func state(
        load: String = "loaded", active: String = "active", pid: Int32, canReload: String = "yes"
    ) -> String {
        "MainPID=\(pid)\nLoadState=\(load)\nActiveState=\(active)\nCanReload=\(canReload)"
    }
}
