import CMalloc

/// The C library's allocator in a process that lives long.
enum Allocator {
    /// From this size on a block is mapped by itself, and unmapped when it is freed; in bytes.
    private static let mapped: Int32 = 1 << 16

    /// Renderings and scans leave nothing behind. By itself glibc raises its thresholds with each large block that is
    /// freed, and then keeps tens of megabytes for each thread (mallopt(3), `M_MMAP_THRESHOLD`).
    static func giveBackWhatIsFreed() { mallopt(M_MMAP_THRESHOLD, mapped) }
}
