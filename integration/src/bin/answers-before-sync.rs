//! A gateway that is built to fail: it answers before its evidence is durable. The power-cut test must catch it.

fn main() -> std::process::ExitCode {
    gateway::cli::main()
}
