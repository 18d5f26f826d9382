import CertsCore
import Foundation
import Synchronization

/// Draws ``LiveLines`` on the terminal behind stderr, several times a second until ``end()``.
final class LiveProgress: Sendable {
    private struct State {
        var lines: LiveLines
        var isEnded = false
    }

    private let state: Mutex<State>
    private let begin = ContinuousClock.now
    private let ticker = Mutex<Task<Void, Never>?>(nil)
    static let interval: Duration = .milliseconds(250)

    /// `nil` where nothing can be drawn: no terminal, one that cannot move its cursor, JSON, or a log between the lines.
    init?(_ global: GlobalOptions) {
        let isDumb = ProcessInfo.processInfo.environment["TERM"] == "dumb"
        guard isatty(STDERR_FILENO) == 1, !isDumb, !global.logFormat.isJSON, global.logLevel == nil else { return nil }
        var lines = LiveLines()
        lines.style = Terminal.errorStyle
        state = Mutex(State(lines: lines))
        let task = Task { [weak self] in
            while !Task.isCancelled {
                try? await Task.sleep(for: Self.interval)
                self?.draw([])
            }
        }
        ticker.withLock { $0 = task }
    }

    /// How many rotations there will be.
    func expect(_ total: Int) { state.withLock { $0.lines.total = total } }

    /// - Parameter findings: lines that stay below that of the rotation.
    func report(_ rotation: Rotation, findings: [String]) {
        let now = ContinuousClock.now - begin
        let width = TerminalStyle.now(STDERR_FILENO).width ?? 80
        draw(state.withLock { $0.lines.update(rotation, at: now, width: width) } + findings)
    }

    /// Takes the lines away; what stays, stays.
    func end() {
        ticker.withLock { $0?.cancel() }
        state.withLock { state in
            guard !state.isEnded else { return }
            Terminal.write(Array(Self.erase.utf8), to: STDERR_FILENO)
            state.isEnded = true
        }
    }

    private func draw(_ staying: [String]) {
        let style = TerminalStyle.now(STDERR_FILENO)
        let now = ContinuousClock.now - begin
        state.withLock { state in
            guard !state.isEnded else { return }
            // One column less than there are: some terminals begin a new line after the last one.
            let frame = state.lines.frame(
                at: now, width: max(20, (style.width ?? 80) - 1), height: max(4, (style.height ?? 24) - 1),
                mark: style.mark)
            let text = Self.erase + (staying + frame).map { $0 + "\n" }.joined() + "\u{1b}[\(frame.count)A"
            Terminal.write(Array(text.utf8), to: STDERR_FILENO)
        }
    }

    /// To the end of the screen (ECMA-48: ED, and CUU above). Between two drawings the cursor is at the first of the
    /// lines: what others write there, such as the answer to Ctrl-C, moves it on, and stays.
    private static let erase = "\r\u{1b}[J"
}
