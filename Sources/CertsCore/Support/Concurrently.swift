/// Runs the work for several items side by side, at most `width` at a time; the results in the order of the items.
package func concurrently<Item: Sendable, Output: Sendable>(
    _ items: [Item], width: Int, _ body: @escaping @Sendable (Item) async -> Output
) async -> [Output] {
    await withTaskGroup(of: (Int, Output).self) { group in
        var results: [Int: Output] = [:]
        for (index, item) in items.enumerated() {
            if index >= width, let (done, output) = await group.next() { results[done] = output }
            group.addTask { (index, await body(item)) }
        }
        for await (done, output) in group { results[done] = output }
        return items.indices.compactMap { results[$0] }
    }
}
