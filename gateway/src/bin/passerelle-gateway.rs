//! The gateway's program: see `passerelle-gateway --help`.

/// Exchanges allocate on one thread and free on another; the system's allocator keeps a third more memory then, and takes
/// more time (`benches/README.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    gateway::cli::main()
}
