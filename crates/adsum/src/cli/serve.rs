//! `adsum serve`: the service.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;

use super::Global;
use crate::serve::{self, LogFormat, ServeOptions};
use crate::wire::Make;

/// The arguments of `serve`.
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen.
    #[arg(long, env = "ADSUM_LISTEN", default_value = "127.0.0.1:7878", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// How lines of the log on standard error are written.
    #[arg(long, env = "ADSUM_LOG_FORMAT", value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
    /// What is logged: a level, or levels by target, as in info,adsum::access=warn.
    #[arg(long, env = "ADSUM_LOG", value_name = "FILTER")]
    log: Option<String>,
}

/// Runs `adsum serve`.
pub fn run(global: &Global, args: Args) -> Result<()> {
    let config = global.config()?;
    let home = global.open(&config, Make::IfMissing)?;
    let options = ServeOptions {
        listen: args.listen,
        token_file: global.token_file.clone(),
        data_dir: global.data_dir().to_owned(),
        log_format: args.log_format,
        log_filter: args.log,
    };
    serve::run(home, Arc::new(config), options)
}
