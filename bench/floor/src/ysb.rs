//! Workload B: views by campaign and window of ten seconds.
//!
//! Two parsers: sonic-rs, and one that is fitted to the order of the fields and gives every other line to sonic-rs.
//! Invariant: both count the same. Not here: duplicates, which this benchmark does not have.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use hashbrown::HashMap;
use serde::Deserialize;

const WINDOW_MS: u64 = 10_000;
/// Campaigns that one window has room for.
const CAMPAIGNS_MAX: usize = 1 << 16;

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    View,
    Click,
    Purchase,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    ad_id: Cow<'a, str>,
    event_type: Kind,
    #[serde(borrow)]
    event_time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Declared {
    campaigns: BTreeMap<String, DeclaredCampaign>,
}

#[derive(Deserialize)]
struct DeclaredCampaign {
    ads: Vec<String>,
}

/// Which campaign an ad belongs to, by its place in the list of names.
#[derive(Debug)]
pub struct Campaigns {
    names: Vec<String>,
    of_ad: HashMap<Vec<u8>, u16>,
}

impl Campaigns {
    /// From the file that `adsum-gen ysb` wrote. Fails where it cannot be read or has too many campaigns.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let declared: Declared = toml::from_str(&text).with_context(|| format!("{} is wrong", path.display()))?;
        ensure!(declared.campaigns.len() < CAMPAIGNS_MAX, "more than {CAMPAIGNS_MAX} campaigns");
        let mut of_ad = HashMap::new();
        let mut names = Vec::new();
        for (name, campaign) in declared.campaigns {
            of_ad.extend(campaign.ads.into_iter().map(|ad| (ad.into_bytes(), names.len() as u16)));
            names.push(name);
        }
        Ok(Self { names, of_ad })
    }
}

/// A view that counts, or a line that does not, or one that is wrong.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    View { campaign: u16, window: u64 },
    Other,
    Wrong,
}

/// Views a window and campaign, as one thread saw them or as all did.
#[derive(Debug, Default)]
pub struct Windows {
    views_of: HashMap<u64, u64>,
    /// Lines.
    pub received: u64,
    /// Lines that are wrong.
    pub rejected: u64,
    /// Lines that count.
    pub views: u64,
}

impl Windows {
    /// Counts one line.
    #[inline]
    pub fn take(&mut self, campaigns: &Campaigns, line: &[u8], fitted: bool) {
        self.received += 1;
        let found = if fitted { by_place(campaigns, line) } else { None };
        match found.unwrap_or_else(|| by_sonic(campaigns, line)) {
            Found::View { campaign, window } => {
                self.views += 1;
                *self.views_of.entry(window * CAMPAIGNS_MAX as u64 + u64::from(campaign)).or_default() += 1;
            }
            Found::Other => {}
            Found::Wrong => self.rejected += 1,
        }
    }

    /// What all threads saw.
    pub fn sum(threads: Vec<Self>) -> Self {
        let mut all = Self::default();
        for thread in threads {
            all.received += thread.received;
            all.rejected += thread.rejected;
            all.views += thread.views;
            for (cell, views) in thread.views_of {
                *all.views_of.entry(cell).or_default() += views;
            }
        }
        all
    }

    /// Writes the rows, sorted by window; returns how many there are.
    pub fn write(&self, out: File, campaigns: &Campaigns) -> anyhow::Result<usize> {
        let mut cells: Vec<(u64, u64)> = self.views_of.iter().map(|(cell, views)| (*cell, *views)).collect();
        cells.sort_unstable();
        let mut out = BufWriter::with_capacity(1 << 20, out);
        out.write_all(b"bucketStart,campaignId,impressions\n")?;
        let (mut of_start, mut start) = (None, String::new());
        for (cell, views) in &cells {
            let (window, campaign) = (cell / CAMPAIGNS_MAX as u64, cell % CAMPAIGNS_MAX as u64);
            if of_start != Some(window) {
                let seconds = window * (WINDOW_MS / 1_000);
                start = crate::result::moment((seconds / 86_400) as i64, seconds % 86_400);
                of_start = Some(window);
            }
            writeln!(out, "{start},{},{views}", campaigns.names[campaign as usize])?;
        }
        out.flush()?;
        Ok(cells.len())
    }
}

fn found(campaigns: &Campaigns, ad: &[u8], ms: Option<u64>) -> Found {
    match (campaigns.of_ad.get(ad), ms) {
        (Some(campaign), Some(ms)) => Found::View { campaign: *campaign, window: ms / WINDOW_MS },
        _ => Found::Wrong,
    }
}

fn by_sonic(campaigns: &Campaigns, line: &[u8]) -> Found {
    let Ok(line) = sonic_rs::from_slice::<Line<'_>>(line) else { return Found::Wrong };
    if line.event_type != Kind::View {
        return Found::Other;
    }
    found(campaigns, line.ad_id.as_bytes(), line.event_time.parse().ok())
}

/// Reads a line whose fields stand where the generator puts them; none if they do not.
#[inline]
fn by_place(campaigns: &Campaigns, line: &[u8]) -> Option<Found> {
    let rest = line.strip_prefix(b"{\"user_id\":\"")?.get(36..)?;
    let rest = rest.strip_prefix(b"\",\"page_id\":\"")?.get(36..)?;
    let (ad, rest) = rest.strip_prefix(b"\",\"ad_id\":\"")?.split_at_checked(36)?;
    let rest = rest.strip_prefix(b"\",\"ad_type\":\"")?;
    let rest = &rest[memchr::memchr(b'"', rest)?..];
    let rest = rest.strip_prefix(b"\",\"event_type\":\"")?;
    let Some(rest) = rest.strip_prefix(b"view\",\"event_time\":\"") else {
        let known = rest.starts_with(b"click\"") || rest.starts_with(b"purchase\"");
        return known.then_some(Found::Other);
    };
    let (digits, rest) = rest.split_at_checked(13)?;
    if !rest.starts_with(b"\",\"ip_address\":\"") || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(found(campaigns, ad, Some(digits.iter().fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0')))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parsers_find_the_same() {
        let ad = "32340756-a035-470e-8ceb-269e3721fa29";
        let campaigns = Campaigns { names: vec!["c".to_owned()], of_ad: [(ad.as_bytes().to_vec(), 0)].into() };
        let line = |ad: &str, kind: &str, time: &str| {
            let id = "f4e0da0d-4906-4f68-9fa9-248a8c856b67";
            format!(
                r#"{{"user_id":"{id}","page_id":"{id}","ad_id":"{ad}","ad_type":"mail","event_type":"{kind}","event_time":"{time}","ip_address":"1.2.3.4"}}"#
            )
        };
        let view = Found::View { campaign: 0, window: 179_349_120 };
        let usual = line(ad, "view", "1793491209999");
        let stranger = usual.replace(ad, "00000000-a035-470e-8ceb-269e3721fa29");
        let cases = [
            (usual.clone(), true, view),
            (line(ad, "click", "1793491209999"), true, Found::Other),
            (line(ad, "purchase", "1793491209999"), true, Found::Other),
            (stranger, true, Found::Wrong),
            (line(ad, "view", "79349120999"), false, Found::View { campaign: 0, window: 7_934_912 }),
            (usual.replace(':', ": "), false, Found::View { campaign: 0, window: 179_349_120 }),
            (line(ad, "look", "1793491209999"), false, Found::Wrong),
            (line(ad, "view", "179349120999x"), false, Found::Wrong),
            (usual[..150].to_owned(), false, Found::Wrong),
        ];
        for (text, usual_place, want) in cases {
            let placed = by_place(&campaigns, text.as_bytes());
            assert_eq!(placed.is_some(), usual_place, "{text}");
            assert!(placed.is_none_or(|found| found == want), "{text}");
            assert_eq!(by_sonic(&campaigns, text.as_bytes()), want, "{text}");
        }
    }
}
