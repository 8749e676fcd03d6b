//! How memory is given to a node.

/// Pages of 4 kB from here on. The allocator asks for huge ones (2 MB), and each of them is resident as a whole once a byte
/// of it is touched: a node's books and rings are wide and thinly filled, and three quarters of its memory would be zeros
/// that nobody ever reads. What is hot fits the TLB either way.
pub fn small() {
    // A system without huge pages refuses, and has none.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
