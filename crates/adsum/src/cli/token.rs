//! `adsum token`: the tokens of a running server.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::Global;
use super::listing::{every, list, one, segment, server};

/// The commands of `token`.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Make a token; its secret is shown this once.
    Create(Create),
    /// List tokens, revoked ones too; never their secrets.
    List,
    /// Revoke a token, at once.
    Revoke {
        /// Its id: tk_...
        id: String,
    },
}

/// What a token is made of.
#[derive(clap::Args)]
pub struct Create {
    /// What it is for: collector, reporter, fraud, finance, admin.
    #[arg(long)]
    role: String,
    /// The source of the events that are sent with it, and the issuer of its verdicts.
    #[arg(long)]
    source: String,
    /// A name for people.
    #[arg(long)]
    name: Option<String>,
    /// The advertiser whose campaigns alone it sees.
    #[arg(long, value_name = "ID")]
    advertiser: Option<String>,
    /// When it ends, as RFC 3339.
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Requests a second.
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u32>,
    /// Events a second.
    #[arg(long, value_name = "N")]
    events_per_second: Option<u32>,
}

const COLUMNS: [&str; 9] =
    ["id", "name", "role", "source", "advertiser", "expiresAt", "requestsPerSecond", "eventsPerSecond", "revokedAt"];

/// Runs `adsum token`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    let client = server(global)?;
    match args {
        Args::Create(create) => one(global, &client.send_json("POST", "/v1/tokens", &create.body())?),
        Args::List => list(global, &COLUMNS, "items", &every(&client, "/v1/tokens")?),
        Args::Revoke { id } => {
            one(global, &client.send_json("DELETE", &format!("/v1/tokens/{}", segment(id)), &Value::Null)?)
        }
    }
}

impl Create {
    fn body(&self) -> Value {
        let members = [
            ("role", json!(self.role)),
            ("source", json!(self.source)),
            ("name", json!(self.name)),
            ("advertiser", json!(self.advertiser)),
            ("expiresAt", json!(self.expires_at)),
            ("requestsPerSecond", json!(self.requests_per_second)),
            ("eventsPerSecond", json!(self.events_per_second)),
        ];
        let given = members.into_iter().filter(|(_, value)| !value.is_null());
        Value::Object(given.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
    }
}
