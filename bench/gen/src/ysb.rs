//! Workload B: events of the Yahoo streaming benchmark, the campaigns of its ads, and the views a window.
//!
//! Events are those of the benchmark's catch-up mode: ad, ad type and event type drawn independently and uniformly, evenly
//! spaced in event time, fresh users and pages. Invariant: as everywhere here, the truth never comes from a parser. Not
//! here: duplicates, which this benchmark cannot have, for its events have no id.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, ensure};

use crate::draw::{Draw, purpose};
use crate::line::{push_number, push_uuid};
use crate::sink::Sink;
use crate::time::Stamp;

const CAMPAIGNS: usize = 100;
const ADS_PER_CAMPAIGN: usize = 10;
const WINDOW_MS: i64 = 10_000;
const AD_TYPES: [&str; 5] = ["banner", "modal", "sponsored-search", "mail", "mobile"];
/// The first is the one that is counted.
const EVENT_TYPES: [&str; 3] = ["view", "click", "purchase"];
const LATE_ONE_IN: u64 = 100_000;
const LATE_MS_MAX: u64 = 60_000;

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Lines.
    pub events: u64,
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// When the first event occurs, in milliseconds since 1970.
    pub start_ms: i64,
    /// Milliseconds between two events.
    pub gap_ms: u64,
    /// Times jitter by -49 to +50 ms, and one event in 100,000 is up to 60 s late.
    pub skew: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Lines.
    pub received: u64,
    /// Those that are views.
    pub views: u64,
    /// Rows of the truth.
    pub groups: u64,
    /// Size of the lines' file.
    pub bytes: u64,
}

impl Outcome {
    /// As a JSON object.
    pub fn to_json(&self) -> String {
        let Self { received, views, groups, bytes } = self;
        format!("{{\"received\":{received},\"views\":{views},\"groups\":{groups},\"bytes\":{bytes}}}\n")
    }
}

fn text_of(uuid: &[u8; 16]) -> String {
    let mut text = Vec::with_capacity(36);
    push_uuid(uuid, &mut text);
    String::from_utf8(text).expect("hexadecimal digits and dashes are ASCII")
}

/// Writes the lines to `out`, the truth's rows to `truth` (CSV) with its totals beside it (`.json`), and which campaign has
/// which ads to `campaigns` (TOML, as adsum's configuration declares them).
///
/// # Errors
/// Where a file cannot be written, or `truth` is itself named `.json`.
pub fn write(plan: &Plan, out: &Path, truth: &Path, campaigns: &Path) -> anyhow::Result<Outcome> {
    let totals = truth.with_extension("json");
    ensure!(totals != truth, "the truth is a CSV: {} is the name of its totals", truth.display());
    let mut ids = Draw::at(purpose(plan.seed, 16), 0);
    let campaign_ids: Vec<[u8; 16]> = (0..CAMPAIGNS).map(|_| ids.uuid()).collect();
    let ads: Vec<[u8; 16]> = (0..CAMPAIGNS * ADS_PER_CAMPAIGN).map(|_| ids.uuid()).collect();
    write_campaigns(campaigns, &campaign_ids, &ads)?;

    let events = purpose(plan.seed, 17);
    let mut windows: BTreeMap<i64, [u64; CAMPAIGNS]> = BTreeMap::new();
    let mut sink = Sink::create(out)?;
    let mut views = 0;
    for index in 0..plan.events {
        let mut draw = Draw::at(events, index);
        let mut at_ms = plan.start_ms + (index * plan.gap_ms) as i64;
        if plan.skew {
            at_ms += draw.below(100) as i64 - 49;
            if draw.below(LATE_ONE_IN) == 0 {
                at_ms -= draw.below(LATE_MS_MAX) as i64;
            }
        }
        let ad = draw.below(ads.len() as u64) as usize;
        let event_type = draw.below(EVENT_TYPES.len() as u64) as usize;
        if event_type == 0 {
            views += 1;
            let start_ms = at_ms - at_ms.rem_euclid(WINDOW_MS);
            windows.entry(start_ms).or_insert([0; CAMPAIGNS])[ad / ADS_PER_CAMPAIGN] += 1;
        }
        print(&mut draw, &ads[ad], EVENT_TYPES[event_type], at_ms, &mut sink.block);
        sink.flush_if_full()?;
    }
    let bytes = sink.finish()?;
    let groups = write_truth(truth, &campaign_ids, &windows)?;
    let outcome = Outcome { received: plan.events, views, groups, bytes };
    File::create(&totals)
        .and_then(|mut file| file.write_all(outcome.to_json().as_bytes()))
        .with_context(|| format!("cannot write {}", totals.display()))?;
    Ok(outcome)
}

fn print(draw: &mut Draw, ad: &[u8; 16], event_type: &str, at_ms: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"user_id\":\"");
    push_uuid(&draw.uuid(), out);
    out.extend_from_slice(b"\",\"page_id\":\"");
    push_uuid(&draw.uuid(), out);
    out.extend_from_slice(b"\",\"ad_id\":\"");
    push_uuid(ad, out);
    out.extend_from_slice(b"\",\"ad_type\":\"");
    out.extend_from_slice(AD_TYPES[draw.below(AD_TYPES.len() as u64) as usize].as_bytes());
    out.extend_from_slice(b"\",\"event_type\":\"");
    out.extend_from_slice(event_type.as_bytes());
    out.extend_from_slice(b"\",\"event_time\":\"");
    push_number(u64::try_from(at_ms).unwrap_or_default(), out);
    out.extend_from_slice(b"\",\"ip_address\":\"");
    for part in 0..4 {
        if part > 0 {
            out.push(b'.');
        }
        push_number(draw.below(256), out);
    }
    out.extend_from_slice(b"\"}\n");
}

fn write_campaigns(path: &Path, campaigns: &[[u8; 16]], ads: &[[u8; 16]]) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut file = BufWriter::new(file);
    for (campaign, its_ads) in campaigns.iter().zip(ads.chunks(ADS_PER_CAMPAIGN)) {
        let ads: Vec<String> = its_ads.iter().map(|ad| format!("\"{}\"", text_of(ad))).collect();
        writeln!(
            file,
            "[campaigns.\"{}\"]\nbillable = \"cpm\"\ncurrency = \"USD\"\nads = [{}]\n",
            text_of(campaign),
            ads.join(", ")
        )?;
    }
    file.flush().context("cannot write the campaigns")
}

fn write_truth(path: &Path, campaigns: &[[u8; 16]], windows: &BTreeMap<i64, [u64; CAMPAIGNS]>) -> anyhow::Result<u64> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut file = BufWriter::new(file);
    file.write_all(b"bucketStart,campaignId,impressions\n")?;
    let mut by_text: Vec<(String, usize)> =
        campaigns.iter().enumerate().map(|(number, uuid)| (text_of(uuid), number)).collect();
    by_text.sort();
    let mut stamp = Stamp::default();
    let mut rows = 0;
    for (start_ms, views) in windows {
        let start = stamp.seconds(*start_ms);
        let start = std::str::from_utf8(&start).expect("a moment is ASCII");
        for (campaign, number) in by_text.iter().filter(|(_, number)| views[*number] > 0) {
            writeln!(file, "{start},{campaign},{}", views[*number])?;
            rows += 1;
        }
    }
    file.flush().context("cannot write the truth")?;
    Ok(rows)
}
