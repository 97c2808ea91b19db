//! `adsum click`: links whose clicks are counted.
//!
//! Invariant: a link is signed with what the data directory's secret gives, so it works on that service alone.

use std::io::{self, Write};

use anyhow::{Result, bail};
use url::form_urlencoded::Serializer;

use super::Global;
use crate::{collect, wire};

/// What to do with links.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Print a link that counts a click and leads to a destination, registered or not. --url says how browsers reach the
    /// service.
    Sign {
        /// Where it leads.
        #[arg(value_name = "DESTINATION")]
        destination: String,
        /// The site key that names the source; without one the link lacks it.
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
}

/// Runs `adsum click`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    let Args::Sign { destination, key } = args;
    let url = global.url.as_deref().unwrap_or("http://127.0.0.1:7878");
    let secret = wire::secret(global.data_dir(), false)?;
    let Some(signature) = collect::sign(destination, &secret) else {
        bail!("{destination:?} is no address that a browser may be sent to: http or https, without credentials");
    };
    let mut query = Serializer::new(String::new());
    if let Some(key) = key {
        query.append_pair("key", key);
    }
    let query = query.append_pair("u", destination).append_pair("sig", &signature).finish();
    writeln!(io::stdout(), "{}/v1/click?{query}", url.trim_end_matches('/'))?;
    Ok(())
}
