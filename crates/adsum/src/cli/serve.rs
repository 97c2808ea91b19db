//! `adsum serve`: the service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use super::Global;
use crate::serve::{self, ServeOptions};
use crate::wire::Make;

/// The arguments of `serve`.
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen.
    #[arg(long, env = "ADSUM_LISTEN", default_value = "127.0.0.1:7878", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The file with the admin token; made, readable by its owner alone, if it is not there.
    #[arg(long, env = "ADSUM_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Runs `adsum serve`.
pub fn run(global: &Global, args: Args) -> Result<()> {
    let config = global.config()?;
    let home = global.open(&config, Make::IfMissing)?;
    let options = ServeOptions { listen: args.listen, token_file: args.token_file, data_dir: global.data_dir.clone() };
    serve::run(home, Arc::new(config), options)
}
