package import CertsCore

/// Why a program did not do what it was run for.
package enum ProgramFailure: Error {
    /// There is no program in the vector.
    case empty
    case late(Duration)
    /// It could not be started, or what it printed could not be taken.
    case notRun(any Error, outputLimit: Int)
    /// - Parameters:
    ///   - status: `exit code 1`, `signal 9`.
    ///   - words: the last lines that it printed, fit for a terminal.
    case failed(status: String, words: String)

    /// As the product's error.
    ///
    /// - Parameters:
    ///   - program: begins the message: `the reload command 'systemctl reload haproxy'`.
    ///   - hint: for a program that failed, instead of the usual one.
    package func certsError(
        _ code: CertsError.Code, _ program: String, subject: String? = nil, hint: String? = nil
    ) -> CertsError {
        switch self {
        case .empty:
            CertsError(
                .configurationInvalid, "\(program) is empty", subject: subject,
                hint: "give the program and its arguments as a list")
        case .late(let deadline):
            CertsError(
                code, "\(program) did not end within \(deadline / .seconds(1)) s", subject: subject,
                hint: "look why it waits, or give it more time (timeout)", retry: .later)
        case .notRun(let error, let limit):
            CertsError(
                code, "\(program) could not be run", subject: subject,
                hint: "check its path and mode, and how much it prints (at most \(limit >> 10) KiB)", cause: error)
        case .failed(let status, let words):
            CertsError(
                code, "\(program) failed (\(status)): \(words)", subject: subject,
                hint: hint ?? "run it by hand as the user of certs and mend what it says", retry: .later)
        }
    }
}
