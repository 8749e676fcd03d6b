//! An allocator that counts, for tests that prove a path allocation-free.
//!
//! ```ignore
//! #[global_allocator]
//! static ALLOCATOR: runtime::counting_alloc::CountingAllocator = runtime::counting_alloc::CountingAllocator;
//! // warm up, then:
//! assert_eq!(runtime::counting_alloc::count(|| hot_path()), 0);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Of this thread only: the test harness allocates on its own threads meanwhile. Const-initialised and without a
    // destructor, so that the access itself never allocates.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system allocator, counting each allocation and reallocation of the calling thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountingAllocator;

fn count_one() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: every call goes to `System` with the arguments it came with; counting touches a thread-local cell only.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count_one();
        // SAFETY: the caller keeps the contract of `realloc`; `ptr` came from `System`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Any allocator, counting in the same way: for programs that tell of their own hot threads ([`so_far`]).
#[derive(Debug, Clone, Copy, Default)]
pub struct Counting<A>(pub A);

// SAFETY: every call goes to the inner allocator with the arguments it came with; counting touches a thread-local cell
// only.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count_one();
        // SAFETY: the caller keeps the contract of `realloc`; `ptr` came from the inner allocator.
        unsafe { self.0.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `ptr` came from the inner allocator.
        unsafe { self.0.dealloc(ptr, layout) }
    }
}

/// Allocations of this thread since it began; zero for ever unless one of these is the global allocator.
pub fn so_far() -> u64 {
    ALLOCATIONS.get()
}

/// Allocations of this thread while `work` runs. Zero for everything unless [`CountingAllocator`] is the global
/// allocator: let the test also count something that must allocate.
pub fn count<T>(work: impl FnOnce() -> T) -> u64 {
    let before = ALLOCATIONS.get();
    let result = work();
    let counted = ALLOCATIONS.get() - before;
    drop(result);
    counted
}
