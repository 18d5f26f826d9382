import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// A hundred rotations while clients connect without a break.
@Suite struct LoadTests {
    /// Several threads, each with a new TLS connection and one request at a time, until a file appears.
    static let client = """
        import json, os, socket, ssl, sys, threading, time
        port, stop, threads = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
        lock, good, bad = threading.Lock(), 0, []

        def one():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
                with context.wrap_socket(plain, server_hostname="messenger.example.com") as tls:
                    tls.sendall(b"GET / HTTP/1.1\\r\\nHost: messenger.example.com\\r\\nConnection: close\\r\\n\\r\\n")
                    answer = b""
                    while True:
                        more = tls.recv(4096)
                        if not more:
                            break
                        answer += more
            if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"ok"):
                raise ValueError(repr(answer[:80]))

        def loop():
            global good
            while not os.path.exists(stop):
                try:
                    one()
                    with lock:
                        good += 1
                except Exception as problem:
                    with lock:
                        bad.append(repr(problem))
                time.sleep(0.005)

        workers = [threading.Thread(target=loop) for _ in range(threads)]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
        print(json.dumps({"good": good, "bad": bad}))
        """

    private struct Tally: Decodable {
        let good: Int
        let bad: [String]
    }

    @Test func `no request fails while a hundred rotations happen, each seen served`() async throws {
        let scene = try await RotationScene.make()
        let script = try scene.directory.write(Self.client, to: "client.py")
        let stop = scene.directory.path("stop")
        let load = Program(arguments: ["python3", script, String(scene.balancer.port), stop, "3"], deadline: 300)
        async let ended = load.run()
        var seen: Set<String> = [try await scene.served()]
        var failure: String?
        for index in 1...100 {
            let run = try await scene.certs("rotate", "messenger")
            let served = try await scene.served()
            guard run.status == 0, try scene.onDisk().record.sha256 == served, seen.insert(served).inserted else {
                failure = "rotation \(index): \(served) is served; \(run.all)"
                break
            }
        }
        try scene.directory.write("", to: "stop")
        let outcome = try await ended
        #expect(failure == nil)
        #expect(seen.count == 101)
        let tally = try JSONDecoder().decode(Tally.self, from: outcome.output)
        #expect(tally.bad == [])
        #expect(tally.good > 500, "too little load to say anything")
        let status = try await scene.expectOneTruth()
        #expect(status.revision == 100)
    }
}
