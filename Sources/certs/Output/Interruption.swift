import Foundation

/// Ctrl-C and SIGTERM during a rotation or a rollback.
enum Interruption {
    /// The first one lets it come to its end, forward or back, all of whose waits have deadlines; the second one
    /// ends the program at once, and the next start recovers.
    static func finishesFirst() {
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                // Nothing but calls that are safe in a signal handler (signal-safety(7)).
                let text: StaticString = "\nwhat has begun comes to its end first; once more ends certs at once\n"
                _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
                signal(number, SIG_DFL)
            }
        }
    }
}
