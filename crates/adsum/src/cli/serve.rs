//! `adsum serve`: the service.

use std::net::SocketAddr;
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
}

/// Runs `adsum serve`.
pub fn run(global: &Global, args: Args) -> Result<()> {
    let config = global.config()?;
    let home = global.open(&config, Make::IfMissing)?;
    let options =
        ServeOptions { listen: args.listen, token_file: global.token_file.clone(), data_dir: global.data_dir.clone() };
    serve::run(home, Arc::new(config), options)
}
