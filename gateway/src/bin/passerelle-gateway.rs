//! The gateway's program: see `passerelle-gateway --help`.

fn main() -> std::process::ExitCode {
    gateway::cli::main()
}
