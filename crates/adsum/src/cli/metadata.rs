//! `adsum metadata`: advertisers, campaigns, ads, publishers and placements of a running server, the site keys and the
//! click destinations.

#![allow(clippy::disallowed_methods, reason = "what is loaded is the operator's file, no part of log or store")]

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Global;
use super::listing::{every, list, one, segment, server};

/// The commands of `metadata`.
#[derive(clap::Subcommand)]
pub enum Args {
    /// List things of a kind.
    List {
        /// What.
        kind: Kind,
    },
    /// Show one.
    Show {
        /// What.
        kind: Put,
        /// Its id.
        id: String,
    },
    /// Make or replace one.
    Put {
        /// What.
        kind: Put,
        /// Its id.
        id: String,
        /// All of it as JSON: '{"advertiser":"adv_1","currency":"EUR","billable":"cpc"}'.
        object: String,
    },
    /// Every version of a campaign, by the moment from which it holds.
    History {
        /// The campaign's id.
        id: String,
    },
    /// Make or replace many: a line {"kind":"ad","id":"ad_1","campaignId":"camp_1"} each; all or nothing.
    Load {
        /// NDJSON; - is standard input.
        file: PathBuf,
    },
    /// Make a site key or a click destination.
    Create {
        /// What.
        kind: Made,
        /// All of it as JSON: '{"source":"web"}', '{"url":"https://shop.example/path"}'.
        object: String,
    },
    /// Revoke a site key, delete a click destination.
    Remove {
        /// What.
        kind: Made,
        /// Its id.
        id: String,
    },
}

/// What is put by id.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Put {
    Advertiser,
    Campaign,
    Ad,
    Publisher,
    Placement,
}

/// What is made and gets an id.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Made {
    SiteKey,
    ClickDestination,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Kind {
    Advertiser,
    Campaign,
    Ad,
    Publisher,
    Placement,
    SiteKey,
    ClickDestination,
    Audit,
}

impl Put {
    fn path(self) -> &'static str {
        match self {
            Self::Advertiser => "/v1/advertisers",
            Self::Campaign => "/v1/campaigns",
            Self::Ad => "/v1/ads",
            Self::Publisher => "/v1/publishers",
            Self::Placement => "/v1/placements",
        }
    }
}

impl Made {
    fn path(self) -> &'static str {
        match self {
            Self::SiteKey => "/v1/site-keys",
            Self::ClickDestination => "/v1/click-destinations",
        }
    }
}

const CAMPAIGN: [&str; 8] = ["id", "name", "advertiser", "currency", "billable", "status", "start", "end"];
const VERSION: [&str; 9] =
    ["effectiveFrom", "billable", "status", "start", "end", "currency", "advertiser", "changedAt", "changedBy"];

impl Kind {
    fn path_and_columns(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Advertiser => (Put::Advertiser.path(), &["id", "name", "timeZone"]),
            Self::Campaign => (Put::Campaign.path(), &CAMPAIGN),
            Self::Ad => (Put::Ad.path(), &["id", "name", "campaignId"]),
            Self::Publisher => (Put::Publisher.path(), &["id", "name"]),
            Self::Placement => (Put::Placement.path(), &["id", "name", "publisherId"]),
            Self::SiteKey => (Made::SiteKey.path(), &["id", "name", "source", "eventsPerSecond", "revokedAt"]),
            Self::ClickDestination => (Made::ClickDestination.path(), &["id", "url"]),
            Self::Audit => ("/v1/audit", &["at", "tokenId", "source", "action", "target", "requestId", "detail"]),
        }
    }
}

/// Runs `adsum metadata`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    let client = server(global)?;
    match args {
        Args::List { kind } => {
            let (path, columns) = kind.path_and_columns();
            list(global, columns, "items", &every(&client, path)?)
        }
        Args::Show { kind, id } => one(global, &client.get_json(&format!("{}/{}", kind.path(), segment(id)))?),
        Args::Put { kind, id, object } => {
            one(global, &client.send_json("PUT", &format!("{}/{}", kind.path(), segment(id)), &parse(object)?)?)
        }
        Args::History { id } => {
            let answer = client.get_json(&format!("/v1/campaigns/{}/history", segment(id)))?;
            list(global, &VERSION, "items", answer["items"].as_array().map_or(&[], Vec::as_slice))
        }
        Args::Load { file } => {
            let mut text = Vec::new();
            if file.as_os_str() == "-" {
                std::io::stdin().read_to_end(&mut text)?;
            } else {
                text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            }
            let answer = client.post("/v1/metadata/bulk", "application/x-ndjson", &[], &text)?;
            one(global, &answer.success()?.json()?)
        }
        Args::Create { kind, object } => one(global, &client.send_json("POST", kind.path(), &parse(object)?)?),
        Args::Remove { kind, id } => {
            let answer = client.send_json("DELETE", &format!("{}/{}", kind.path(), segment(id)), &Value::Null)?;
            if answer.is_null() { Ok(()) } else { one(global, &answer) }
        }
    }
}

fn parse(json: &str) -> Result<Value> {
    let value: Value = serde_json::from_str(json).context("this is no JSON")?;
    if !value.is_object() {
        bail!("a JSON object is expected");
    }
    Ok(value)
}
