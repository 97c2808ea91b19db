//! The demo's numbers: asked of the server like anyone's, and written for a screen, a line or a program.
//!
//! Invariant: nothing is counted here; every figure is one that an endpoint answered. Not here: where on the terminal
//! they go (screen).

use adsum_model::time::{MICROS_PER_SECOND, format_utc};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::client::Client;
use super::screen::Paint;
use crate::clock;

/// How many campaigns are shown.
const CAMPAIGNS_SHOWN: usize = 6;
const DAY_SECONDS: i64 = 86_400;
/// How long `2026-11-21T08:05:16` is.
const SECOND: usize = 19;
/// What stands before each figure of the equation.
const SIGNS: [&str; 5] = ["   ", " = ", " + ", " + ", " + "];

/// The numbers of one moment.
pub struct Numbers {
    seconds: u64,
    sums: Sums,
    balances: bool,
    meta: Meta,
    campaigns: Vec<Campaign>,
}

/// The answer of `/v1/conservation`.
#[derive(Deserialize)]
struct Conservation {
    sums: Sums,
    balances: bool,
    meta: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sums {
    received: i64,
    rejected: i64,
    counted: i64,
    duplicates: i64,
    quarantined: i64,
    future: i64,
    too_old: i64,
    conflicts: i64,
    foreign_currency: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    data_revision: String,
    freshness_seconds: i64,
    complete_through: Option<String>,
}

/// The answer of `/v1/reports`.
#[derive(Deserialize)]
struct Report {
    rows: Vec<Campaign>,
}

/// What a campaign came to today.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Campaign {
    campaign_id: Option<String>,
    currency: Option<String>,
    impressions: i64,
    clicks: i64,
    conversions: i64,
    spend_micros: i64,
}

impl Numbers {
    /// Asks the server; `seconds` is how long the demo has run.
    pub fn ask(client: &Client, seconds: u64) -> Result<Self> {
        let of = |path: &str| client.get_json(path).with_context(|| format!("GET {path}"));
        let ledger: Conservation = serde_json::from_value(of("/v1/conservation")?)?;
        let midnight = clock::now().seconds().div_euclid(DAY_SECONDS) * DAY_SECONDS;
        let day = |at: i64| format_utc(at * MICROS_PER_SECOND);
        let report: Report = serde_json::from_value(of(&format!(
            "/v1/reports?from={}&to={}&granularity=day&orderBy=-impressions&limit={CAMPAIGNS_SHOWN}",
            day(midnight),
            day(midnight + DAY_SECONDS)
        ))?)?;
        let Conservation { sums, balances, meta } = ledger;
        Ok(Self { seconds, sums, balances, meta, campaigns: report.rows })
    }

    /// For a terminal.
    pub fn screen(&self, paint: Paint, rate: u32) -> Vec<String> {
        let colours = [Paint::bold, Paint::red, Paint::green, Paint::yellow, Paint::yellow];
        let (mut names, mut figures) = (String::new(), String::new());
        for ((name, figure), (sign, colour)) in self.equation().into_iter().zip(SIGNS.into_iter().zip(colours)) {
            let colour = if figure == 0 { Paint::dim } else { colour };
            names.push_str(&format!("{sign}{name:>13}"));
            figures.push_str(&format!("{:3}{}", "", colour(paint, &format!("{:>13}", grouped(figure)))));
        }
        let verdict = match self.balances {
            true => paint.green("the ledger balances"),
            false => paint.red("THE LEDGER DOES NOT BALANCE"),
        };
        let title = format!("{} running, {rate} events a second; Ctrl-C ends it", self.running());
        let head =
            format!("  {:<18}{:>15}{:>10}{:>13}{:>18}", "today", "impressions", "clicks", "conversions", "spend");
        let campaign = |c: &Campaign| {
            let [impressions, clicks, conversions] = [c.impressions, c.clicks, c.conversions].map(grouped);
            format!("  {:<18}{impressions:>15}{clicks:>10}{conversions:>13}{:>18}", c.name(), c.spend())
        };
        let Meta { data_revision, freshness_seconds, complete_through } = &self.meta;
        // To the second: what is complete through a fraction of it is complete through its beginning.
        let complete =
            complete_through.as_deref().and_then(|at| at.get(..SECOND)).map_or("-".to_owned(), |at| format!("{at}Z"));
        let fresh = format!("  {data_revision}, {freshness_seconds} s behind, complete through {complete}");
        let nothing = String::new;
        let above = [paint.bold(&title), nothing(), paint.dim(&names), figures, nothing(), format!("  {verdict}")];
        let between = [paint.dim(&format!("  quarantined: {}", self.reasons())), nothing(), paint.dim(&head)];
        let below = [nothing(), paint.dim(&fresh)];
        above.into_iter().chain(between).chain(self.campaigns.iter().map(campaign)).chain(below).collect()
    }

    /// One plain line, for whoever keeps it.
    pub fn line(&self) -> String {
        let figures = self.equation().into_iter().zip(SIGNS);
        let equation: String = figures.map(|((name, figure), sign)| format!("{sign}{name} {figure}")).collect();
        let spend: Vec<String> = self.campaigns.iter().map(|c| format!("{} {}", c.name(), c.spend())).collect();
        format!("{}{equation}; {}", self.running(), spend.join(", "))
    }

    /// For a program.
    pub fn json(&self) -> Value {
        let campaign = |c: &Campaign| {
            json!({ "campaignId": c.campaign_id, "currency": c.currency, "impressions": c.impressions,
                "clicks": c.clicks, "conversions": c.conversions, "spendMicros": c.spend_micros })
        };
        let figures = self.equation().into_iter().map(|(name, figure)| (name.to_owned(), json!(figure)));
        let others = [
            ("elapsedSeconds", json!(self.seconds)),
            ("balances", json!(self.balances)),
            ("dataRevision", json!(self.meta.data_revision)),
            ("freshnessSeconds", json!(self.meta.freshness_seconds)),
            ("campaigns", self.campaigns.iter().map(campaign).collect()),
        ];
        Value::Object(figures.chain(others.map(|(name, value)| (name.to_owned(), value))).collect())
    }

    /// What was received is what became of it: the first figure is the sum of the others.
    fn equation(&self) -> [(&'static str, i64); 5] {
        let Sums { received, rejected, counted, duplicates, quarantined, .. } = self.sums;
        [
            ("received", received),
            ("rejected", rejected),
            ("counted", counted),
            ("duplicates", duplicates),
            ("quarantined", quarantined),
        ]
    }

    /// What is in quarantine, by reason.
    fn reasons(&self) -> String {
        let Sums { future, too_old, conflicts, foreign_currency, .. } = self.sums;
        let reasons = [
            (too_old, "too old"),
            (future, "too far ahead"),
            (conflicts, "in conflict"),
            (foreign_currency, "in a foreign currency"),
        ];
        let some: Vec<String> =
            reasons.iter().filter(|(n, _)| *n > 0).map(|(n, reason)| format!("{} {reason}", grouped(*n))).collect();
        if some.is_empty() { "nothing yet".to_owned() } else { some.join(", ") }
    }

    fn running(&self) -> String {
        let (hours, minutes, seconds) = (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        format!("{hours:02}:{minutes:02}:{seconds:02}")
    }
}

impl Campaign {
    fn name(&self) -> &str {
        self.campaign_id.as_deref().unwrap_or("(none)")
    }

    fn spend(&self) -> String {
        money(self.spend_micros, self.currency.as_deref())
    }
}

/// A number with its thousands apart.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// Micros as hundredths, rounded down, with the currency.
fn money(micros: i64, currency: Option<&str>) -> String {
    let (whole, hundredths) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000) / 10_000);
    format!("{}.{hundredths:02} {}", grouped(whole), currency.unwrap_or("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (number, want) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567"), (-12_345, "-12,345")]
        {
            assert_eq!(grouped(number), want);
        }
        for (micros, want) in
            [(0, "0.00 EUR"), (9_999, "0.00 EUR"), (1_230_000, "1.23 EUR"), (4_321_070_000, "4,321.07 EUR")]
        {
            assert_eq!(money(micros, Some("EUR")), want);
        }
    }
}
