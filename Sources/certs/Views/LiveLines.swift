import CertsCore

/// Many rotations at once, as a person follows them: one line for each that is under way, with the time in its stage, and
/// a line or two that stay for each that has ended, with the time of its stages. It draws nothing itself.
struct LiveLines {
    /// How many rotations there will be; 0: not known yet.
    var total: Int
    /// Of the lines that stay.
    var style = TerminalStyle()
    private(set) var ended = 0
    private(set) var failed = 0
    private var running: [Running] = []

    private struct Running {
        let id: String
        let name: String
        let begin: Duration
        var sentence: String
        var step: Rotation.Step
        var stepBegin: Duration
        /// In the order in which they were first entered.
        var stages: [(step: Rotation.Step, time: Duration)] = []

        mutating func leaveStage(at now: Duration) {
            let time = now - stepBegin
            if let index = stages.firstIndex(where: { $0.step == step }) {
                stages[index].time += time
            } else {
                stages.append((step, time))
            }
        }
    }

    init(total: Int = 0) { self.total = total }

    /// Takes what a rotation has come to, `now` after the beginning.
    /// - Parameter width: of the terminal, in columns.
    /// - Returns: the lines that stay, if it has ended; without stages that took next to no time.
    mutating func update(_ rotation: Rotation, at now: Duration, width: Int) -> [String] {
        let index = running.firstIndex { $0.id == rotation.id } ?? running.count
        let sentence = RotationReporter.sentence(rotation)
        if index == running.count {
            let name = "\(rotation.certificate) #\(rotation.revision)"
            running.append(
                Running(id: rotation.id, name: name, begin: now, sentence: "", step: rotation.step, stepBegin: now))
        } else if running[index].step != rotation.step {
            running[index].leaveStage(at: now)
            running[index].stepBegin = now
        }
        running[index].step = rotation.step
        running[index].sentence = sentence
        guard rotation.isFinished else { return [] }
        let done = running.remove(at: index)
        ended += 1
        if rotation.outcome != .committed { failed += 1 }
        let head = "\(Self.aligned(now - done.begin))  \(done.name)  "
        let least = max(.milliseconds(10), (now - done.begin) / 50)
        let stages = done.stages.filter { $0.time >= least }
            .map { "\($0.step.rawValue) \(Self.seconds($0.time))" }.joined(separator: ", ")
        let painted = head + RotationReporter.painted(sentence, rotation, style)
        if stages.isEmpty { return [painted] }
        let fits = TextWidth.of("\(head)\(sentence)  (\(stages))") <= width
        return fits ? ["\(painted)  (\(stages))"] : [painted, String(repeating: " ", count: 11) + stages]
    }

    /// What is under way, the oldest first, in at most `height` lines that are each at most `width` columns wide.
    func frame(at now: Duration, width: Int, height: Int, mark: String) -> [String] {
        let failures = failed > 0 ? ", \(failed) not" : ""
        var lines = ["\(ended) of \(max(total, ended + running.count)) ended\(failures), \(Self.seconds(now))"]
        let room = max(0, height - 2)
        let shown = running.count > room + 1 ? Array(running.prefix(room)) : running
        let nameWidth = min(shown.map { TextWidth.of($0.name) }.max() ?? 0, max(8, width / 3))
        for one in shown {
            let name = TextWidth.cutInside(one.name, to: nameWidth, mark: mark)
            lines.append(
                "\(Self.aligned(now - one.stepBegin))  \(TextWidth.padded(name, to: nameWidth))  \(one.sentence)")
        }
        if shown.count < running.count { lines.append("and \(running.count - shown.count) more") }
        return lines.map { TextWidth.cut($0, to: width, mark: mark) }
    }

    /// `0.012s`, to the right in nine columns.
    private static func aligned(_ time: Duration) -> String {
        TextWidth.padded(seconds(time), to: 9, isNumber: true)
    }

    private static func seconds(_ time: Duration) -> String {
        let milliseconds = max(0, Int(time / .milliseconds(1)))
        let digits = String(milliseconds % 1000)
        return "\(milliseconds / 1000)." + String(repeating: "0", count: 3 - digits.count) + digits + "s"
    }
}
