import Foundation

/// Our side of the benchmarks: each command does one piece of work, measures it and prints the figures as one line of
/// JSON. `Benchmarks/run` starts it beside the peers and makes the table.
@main
struct Benchmarks {
    static let usage = """
        usage: CertsBenchmarks fixtures DIRECTORY COUNT
               CertsBenchmarks inventory DIRECTORY COUNT PASSES
               CertsBenchmarks keys rsa-2048|ecdsa-p256 COUNT
               CertsBenchmarks parallel rsa-2048|ecdsa-p256 COUNT WIDTH
               CertsBenchmarks fill DIRECTORY COUNT DUE
               CertsBenchmarks plan DIRECTORY COUNT
               CertsBenchmarks due DIRECTORY ROUNDS
               CertsBenchmarks tick COUNT
               CertsBenchmarks jobs COUNT PERIOD SECONDS spread|together
               CertsBenchmarks exposition COUNT ROUNDS
               CertsBenchmarks bundles DIRECTORY COUNT
               CertsBenchmarks probe LIST ROUNDS WIDTH
               CertsBenchmarks swaps SOCKET LIVE FRESH COUNT
        """

    /// Not `async`: a process that has a second thread pays for a lock in each allocation, and the C loops have none.
    static func main() throws {
        var arguments = CommandLine.arguments.dropFirst()
        func text() -> String { arguments.popFirst() ?? "" }
        func number() -> Int { arguments.popFirst().flatMap(Int.init) ?? 0 }
        switch text() {
        case "fixtures": try Fixtures.write(to: text(), count: number())
        case "inventory": try InventoryBenchmark.run(directory: text(), count: number(), passes: number())
        case "keys": try KeysBenchmark.run(text(), count: number())
        case "parallel":
            let (algorithm, count, width) = (text(), number(), number())
            wait { try await KeysBenchmark.runParallel(algorithm, count: count, width: width) }
        case "fill":
            let (directory, count, due) = (text(), number(), number())
            wait { try await PlannerBenchmark.fill(directory, count: count, due: due) }
        case "plan":
            let (directory, count) = (text(), number())
            wait { try await PlannerBenchmark.plan(directory, count: count) }
        case "due":
            let (directory, rounds) = (text(), number())
            wait { try await PlannerBenchmark.due(directory, rounds: rounds) }
        case "tick":
            let count = number()
            wait { try await TickBenchmark.run(count: count) }
        case "jobs":
            let (count, period, seconds, kind) = (number(), number(), number(), text())
            wait {
                try await JobsBenchmark.run(
                    count: count, period: Double(period), seconds: Double(seconds), isSpread: kind == "spread")
            }
        case "exposition":
            let (count, rounds) = (number(), number())
            wait { try await ExpositionBenchmark.run(count: count, rounds: rounds) }
        case "bundles": try BundleFixtures.write(to: text(), count: number())
        case "probe":
            let (list, rounds, width) = (text(), number(), number())
            wait { try await ProbeBenchmark.run(list, rounds: rounds, width: width) }
        case "swaps":
            let (socket, live, fresh, count) = (text(), text(), text(), number())
            wait { try await SwapBenchmark.run(socket: socket, live: live, fresh: fresh, count: count) }
        default: fail(usage, status: 64)
        }
    }

    private static func wait(_ body: @escaping @Sendable () async throws -> Void) {
        let done = DispatchSemaphore(value: 0)
        Task.detached {
            do { try await body() } catch { fail("\(error)", status: 1) }
            done.signal()
        }
        done.wait()
    }

    private static func fail(_ message: String, status: Int32) -> Never {
        FileHandle.standardError.write(Data((message + "\n").utf8))
        exit(status)
    }
}

/// Seconds of processor time that `body` takes: on one core the time that passes, less what the rest of the machine takes.
func processorSeconds(_ body: () throws -> Void) rethrows -> Double {
    let start = processorSecondsNow()
    try body()
    return processorSecondsNow() - start
}

/// Seconds of processor time that this process has used so far, on all cores.
func processorSecondsNow() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Seconds that pass while `body` runs.
func seconds(_ body: () async throws -> Void) async rethrows -> Double {
    let clock = ContinuousClock()
    let start = clock.now
    try await body()
    return start.duration(to: clock.now) / .seconds(1)
}

/// Prints the figures of a command.
func report(_ figures: some Encodable) throws {
    print(String(decoding: try JSONEncoder().encode(figures), as: UTF8.self))
}
