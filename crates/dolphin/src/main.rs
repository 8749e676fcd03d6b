//! `dolphin`: see [`dolphin::cli`].

use runtime::counting_alloc::Counting;

/// Counting costs a thread-local cell an allocation; `dolphin bench` tells by it what the hot threads allocate.
#[global_allocator]
static ALLOCATOR: Counting<mimalloc::MiMalloc> = Counting(mimalloc::MiMalloc);

fn main() -> std::process::ExitCode {
    dolphin::cli::main()
}
