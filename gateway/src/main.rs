//! `fieldseal-gateway`: parse, load, run, drain.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(64)
}
