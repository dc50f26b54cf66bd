//! `demo`: parse, run, stop. The story is in `system_tests::demo`.

use std::process::ExitCode;

use clap::Parser as _;
use system_tests::demo::{self, Options};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let options = Options::parse();
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the demo speaks to a person")]
            {
                eprintln!("demo: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options) -> anyhow::Result<()> {
    // What the daemons log goes to a file: the terminal belongs to the story.
    std::fs::create_dir_all(&options.directory)?;
    let log = std::fs::File::create(options.directory.join("demo.log"))?;
    let filter = EnvFilter::try_from_env("FIELDSEAL_LOG")
        .unwrap_or_else(|_unset| EnvFilter::new("info,sqlx=warn,rumqttc=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(log))
        .init();
    // The daemons bring their provider as a value; the demo's own client takes the process's.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_other| anyhow::anyhow!("another crypto provider is installed"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let stop = CancellationToken::new();
    runtime.block_on(async {
        let asked = stop.clone();
        tokio::spawn(async move {
            if asked_to_stop().await.is_ok() {
                asked.cancel();
            }
        });
        demo::run(options, stop).await
    })
}

/// Completes at Ctrl-C or SIGTERM.
async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}
